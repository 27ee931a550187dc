"""The tripwire: worked numbers, an oracle, and simulated baselines whose truth is known."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from builders import make_launch, make_visit
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_ind

from scaleprof.records import Launch
from scaleprof.stats.tripwire import MIN_LAUNCHES, Tripped, launch_logs, trip, trip_logs

PROCESS_SD = 0.0105  # of what five launches ÷ reference say, as measured


def only(tripped: dict[str, Tripped]) -> Tripped:
    (one,) = tripped.values()
    return one


def launches(*latencies_s: float, reference_s: float = 0.001) -> list[Launch]:
    return [
        msgspec.structs.replace(
            make_launch(launch=n), visits=(make_visit(latency_s, reference_s=reference_s),)
        )
        for n, latency_s in enumerate(latencies_s)
    ]


def shares(change: float, *, runs: int, targets: int = 1, seed: int = 0) -> dict[str, float]:
    """How often each verdict falls on targets of simulated runs of five launches."""
    rng, counts = np.random.default_rng(seed), dict.fromkeys(("PASS", "WARN", "FAIL"), 0)
    for _ in range(runs):
        logs = PROCESS_SD * rng.standard_normal((targets, 2, 5)) + [[0.0], [math.log1p(change)]]
        for one in trip_logs(
            {str(n): (list(then), list(now)) for n, (then, now) in enumerate(logs)}
        ).values():
            counts[one.verdict] += 1
    return {name: count / (runs * targets) for name, count in counts.items()}


def test_a_launch_says_the_fifth_percentile_of_all_its_samples_over_the_references() -> None:
    visits = (
        msgspec.structs.replace(make_visit(), samples_s=tuple(0.01 * n for n in range(1, 51))),
        msgspec.structs.replace(
            make_visit(), samples_s=tuple(0.01 * n for n in range(51, 102)), reference_network_s=(0.003,) * 6
        ),
    )
    # 101 samples: the fifth percentile is the sixth smallest. Half of the twelve references are 0.001.
    logs = launch_logs([msgspec.structs.replace(make_launch(), visits=visits)])
    assert logs == [pytest.approx(math.log(0.06) - math.log(0.001))]


def test_a_launch_without_samples_says_nothing() -> None:
    assert launch_logs([msgspec.structs.replace(make_launch(), visits=())]) == []


def test_welch_over_processes_is_what_the_formulas_say() -> None:
    then, now = [0.00, 0.01, 0.02, 0.01, 0.01], [0.06, 0.08, 0.10, 0.08, 0.08]
    # Variances 0.00005 and 0.0002, of means 0.00001 and 0.00004: t = 0.07 / sqrt(0.00005) = 9.90 of
    # 0.00005² / (0.00001² / 4 + 0.00004² / 4) = 5.882 degrees of freedom.
    tripped = only(trip_logs({"it": (then, now)}))
    assert tripped.verdict == "FAIL"
    assert tripped.change == pytest.approx(math.expm1(0.07))
    assert tripped.p_slower == pytest.approx(student.sf(0.07 / math.sqrt(0.00005), 5.882353))
    assert tripped.interval is not None
    assert tripped.interval.high == pytest.approx(
        math.expm1(0.07 + student.ppf(0.975, 5.882353) * math.sqrt(0.00005))
    )


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(0.0, "PASS"), (0.029, "PASS"), (0.031, "WARN"), (0.049, "WARN"), (0.051, "FAIL"), (-0.1, "PASS")],
)
def test_what_is_surely_slower_is_warned_of_from_three_and_fails_from_five_percent(
    change: float, verdict: str
) -> None:
    then = [0.000, 0.001, -0.001, 0.001, -0.001]
    now = [log + math.log1p(change) for log in then]
    assert only(trip_logs({"it": (then, now)})).verdict == verdict


def test_what_is_slower_by_much_but_not_surely_passes() -> None:
    tripped = only(trip_logs({"it": ([0.0, 0.1, -0.1, 0.1, -0.1], [0.1, 0.2, 0.0, 0.2, 0.0])}))
    assert (tripped.verdict, tripped.reason) == ("PASS", "not slower beyond doubt")
    assert tripped.change == pytest.approx(math.expm1(0.1))


def test_targets_share_one_error_rate() -> None:
    then = [0.00, 0.01, 0.02, 0.01, 0.00]
    one = (then, [0.03, 0.08, 0.06, 0.04, 0.03])
    alone = only(trip_logs({"it": one}))
    assert alone.verdict == "WARN"
    assert alone.p_slower is not None
    assert 0.01 / 12 < alone.p_slower < 0.01
    among = trip_logs({"it": one} | {str(n): (then, then) for n in range(11)})
    assert among["it"].verdict == "PASS"


@pytest.mark.parametrize(("then", "now"), [(4, 5), (5, 4), (0, 9), (0, 0)])
def test_fewer_than_five_launches_on_a_side_are_invalid_and_say_so(then: int, now: int) -> None:
    slow = {"it": (launches(*[0.01] * then), launches(*[0.02] * now))}
    tripped = only(trip(slow))
    assert (tripped.verdict, tripped.change, tripped.p_slower) == ("INVALID", None, None)
    assert tripped.reason == f"{then} launches in the baseline and {now} now: 5 on both sides are needed"


def test_an_invalid_target_costs_the_others_nothing() -> None:
    then = [0.00, 0.01, 0.02, 0.01, 0.00]
    one = (then, [0.03, 0.08, 0.06, 0.04, 0.03])
    among = trip_logs({"it": one} | {str(n): ([], []) for n in range(11)})
    assert among["it"].verdict == "WARN"


def test_nothing_to_compare_is_no_verdict() -> None:
    assert trip({}) == {}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_an_error(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        trip_logs({"it": ([0.0] * 5, [0.0, 0.0, 0.0, 0.0, wrong])})


def test_launches_that_are_alike_to_the_last_digit_are_told_apart_by_their_means() -> None:
    verdicts = {
        now_s: only(trip({"it": (launches(*[0.01] * 5), launches(*[now_s] * 5))})).verdict
        for now_s in (0.01, 0.02)
    }
    assert verdicts == {0.01: "PASS", 0.02: "FAIL"}


def test_a_slower_machine_is_no_slower_model() -> None:
    then, now = [0.0100, 0.0101, 0.0102, 0.0101, 0.0100], [0.0200, 0.0202, 0.0204, 0.0202, 0.0200]
    slow = {"it": (launches(*then), launches(*now, reference_s=0.002))}
    assert only(trip(slow)).change == pytest.approx(0.0, abs=1e-12)


five_to_nine = st.lists(st.floats(-0.2, 0.2), min_size=MIN_LAUNCHES, max_size=9)


@given(then=five_to_nine, now=five_to_nine)
@settings(max_examples=50)
def test_the_p_value_is_scipys(then: list[float], now: list[float]) -> None:
    if min(np.std(then), np.std(now)) < 1e-6:
        return
    tripped = only(trip_logs({"it": (then, now)}))
    expected = ttest_ind(now, then, equal_var=False, alternative="greater").pvalue
    assert tripped.p_slower == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(then=five_to_nine, now=five_to_nine)
@settings(max_examples=50)
def test_never_are_both_of_two_runs_slower_than_the_other(then: list[float], now: list[float]) -> None:
    verdicts = [only(trip_logs({"it": sides})).verdict for sides in ((then, now), (now, then))]
    assert "PASS" in verdicts


def test_identical_code_hardly_ever_trips_and_never_ten_at_a_time() -> None:
    alone, among = shares(0.0, runs=1500), shares(0.0, runs=150, targets=10)
    assert alone["WARN"] + alone["FAIL"] <= 0.003
    assert among["WARN"] + among["FAIL"] <= 0.003


@pytest.mark.parametrize(("change", "low", "high"), [(0.05, 0.9, 1.0), (0.10, 0.99, 1.0), (0.02, 0.0, 0.15)])
def test_slowdowns_trip_as_often_as_they_should(change: float, low: float, high: float) -> None:
    found = shares(change, runs=400)
    assert low <= found["WARN"] + found["FAIL"] <= high


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_called_detectable_fails_in_nine_of_ten(seed: int) -> None:
    rng = np.random.default_rng(seed)
    then, now = PROCESS_SD * rng.standard_normal((2, 5000))
    # The spread of many launches for that of five: the least change of runs of five is greater.
    many = only(trip_logs({"it": (list(then), list(now))})).detectable
    assert many is not None
    assert math.log1p(many) == pytest.approx(
        math.log(1.05) + 1.2816 * PROCESS_SD * math.sqrt(2 / 5000), rel=0.01
    )
    typical = np.array([0.0, 1.0, -1.0, 1.0, -1.0]) * PROCESS_SD
    five = only(trip_logs({"it": (list(typical), list(typical))})).detectable
    assert five is not None
    assert 0.85 <= shares(five, runs=400, seed=seed)["FAIL"] <= 0.97

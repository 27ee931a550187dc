"""Intervals, summaries, fronts and interpolation."""

from __future__ import annotations

import math
import random
from statistics import median

import msgspec
import pytest
from builders import make_launch, make_visit
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from scaleprof.records import Launch, Sustained
from scaleprof.stats.contrasts import contrast, ratio
from scaleprof.stats.drift import best_decile_s
from scaleprof.stats.interpolation import loglog_at
from scaleprof.stats.intervals import (
    FLOOR_CONFIDENCE,
    Estimate,
    enclosing,
    exp_over_launches,
    launch_interval,
    median_interval,
    over_launches,
    relative_half_width,
    rounds_interval,
)
from scaleprof.stats.latency import Tail, summarise, tail
from scaleprof.stats.pareto import pareto_front
from scaleprof.stats.sustained import EnergyPerPass, energy_per_pass, throughput

launches_of_rounds = st.lists(st.lists(st.floats(0.001, 10), min_size=1, max_size=8), min_size=1, max_size=5)
points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def as_launches(rounds: list[list[float]], group: int = 0) -> list[Launch]:
    return [
        msgspec.structs.replace(
            make_launch(launch=number),
            group=group,
            visits=tuple(make_visit(value, round_number=n) for n, value in enumerate(values)),
        )
        for number, values in enumerate(rounds)
    ]


def with_visits(**fields: object) -> Launch:
    """A launch of a single visit with these fields."""
    return msgspec.structs.replace(make_launch(), visits=(msgspec.structs.replace(make_visit(), **fields),))


def with_sustained(**fields: object) -> Launch:
    """A launch of two chunks of ten passes, of two seconds each."""
    known: dict[str, object] = {"chunks_s": (2.0, 2.0), "energy_missing": "no counter here"}
    return msgspec.structs.replace(make_launch(), sustained=Sustained(10, **known | fields))  # type: ignore[arg-type]


def assert_close(one: Estimate, other: Estimate) -> None:
    assert one.value == pytest.approx(other.value, rel=1e-6)
    assert (one.interval is None) == (other.interval is None)
    if one.interval is not None:
        assert one.interval == pytest.approx(other.interval, rel=1e-6)


@pytest.mark.parametrize("n", range(6, 60))
def test_the_median_interval_is_the_narrowest_that_covers_95_percent(n: int) -> None:
    interval = median_interval(list(range(1, n + 1)))
    assert interval is not None
    k = int(interval.low)
    assert interval.high == n + 1 - k
    # The k-th smallest value lies above the median when fewer than k values fall below it.
    assert 2 * binom.cdf(k - 1, n, 0.5) <= 0.05 < 2 * binom.cdf(k, n, 0.5)


def test_fewer_than_six_values_have_no_interval() -> None:
    assert median_interval([]) is None
    assert median_interval([1, 2, 3, 4, 5]) is None


def test_the_launch_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = random.Random(7)
    trials = 4000
    covered = 0
    for _ in range(trials):
        interval = launch_interval([math.exp(rng.gauss(0, 0.1)) for _ in range(3)])
        assert interval is not None
        covered += interval.low <= 1 <= interval.high
    # Three standard errors of a proportion of 0.95.
    assert abs(covered / trials - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials)


@given(st.lists(st.floats(0.001, 10), min_size=2, max_size=8), st.floats(0.01, 100))
def test_the_launch_interval_scales_with_its_values(values: list[float], factor: float) -> None:
    interval, scaled = launch_interval(values), launch_interval([value * factor for value in values])
    assert interval is not None
    assert scaled is not None
    assert math.isclose(scaled.low, interval.low * factor, rel_tol=1e-6)
    assert math.isclose(scaled.high, interval.high * factor, rel_tol=1e-6)


def test_one_launch_has_no_interval_over_launches() -> None:
    assert launch_interval([1.0]) is None
    assert enclosing(None, None) is None


def test_the_interval_of_one_launch_is_that_of_its_median_while_rounds_are_independent() -> None:
    rounds = [random.Random(3).gauss(10, 1) for _ in range(20)]
    assert rounds_interval(rounds) == median_interval(rounds)
    assert over_launches([rounds]).interval == pytest.approx(median_interval(rounds))


def test_rounds_that_come_in_pairs_count_half() -> None:
    values = [3, 8, 1, 10, 6, 5, 12, 2, 9, 11, 4, 7]
    paired = [value for value in values for _ in range(2)]
    assert rounds_interval(paired) == median_interval(values) == (3, 10)
    assert median_interval(paired) == (4, 9)


def test_rounds_that_hang_together_however_merged_say_no_more_than_their_range() -> None:
    assert rounds_interval([float(n) for n in range(1, 21)]) == (1, 20)


@pytest.mark.parametrize("launches", [1, 2, 3])
def test_one_round_alone_has_no_interval_and_several_launches_have(launches: int) -> None:
    estimate = over_launches([[1.0 + n] for n in range(launches)])
    assert (estimate.interval is not None) == (launches > 1)


def test_fewer_than_six_rounds_of_one_launch_have_no_interval() -> None:
    assert over_launches([[1.0, 2.0, 3.0, 4.0, 5.0]]) == Estimate(3.0, None)
    assert math.isinf(relative_half_width([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert relative_half_width([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]) == pytest.approx(1 / 3)


def test_launches_that_agree_by_accident_are_no_narrower_than_their_pooled_rounds() -> None:
    rng = random.Random(5)
    launch = [math.exp(rng.gauss(0, 0.1)) for _ in range(15)]
    agreeing = [rng.sample(launch, 15) for _ in range(3)]
    interval = over_launches(agreeing).interval
    pooled = median_interval(launch * 3, FLOOR_CONFIDENCE)
    assert interval is not None
    assert pooled is not None
    assert interval == pytest.approx(pooled)
    assert pooled.high > pooled.low


@given(launches_of_rounds)
def test_a_headline_lies_inside_its_interval(rounds: list[list[float]]) -> None:
    value, interval = median(value for launch in rounds for value in launch), over_launches(rounds).interval
    assert interval is None or interval.low <= value <= interval.high


@given(launches_of_rounds, st.floats(0.01, 100))
def test_an_estimate_scales_with_its_values(rounds: list[list[float]], factor: float) -> None:
    scaled = over_launches([[value * factor for value in launch] for launch in rounds])
    assert_close(scaled, over_launches(rounds).scaled(factor))


@given(launches_of_rounds)
def test_an_estimate_of_inverse_values_is_the_inverse_estimate(rounds: list[list[float]]) -> None:
    logs = [[math.log(value) for value in launch] for launch in rounds]
    inverse = exp_over_launches([[-value for value in launch] for launch in logs])
    assert_close(inverse, exp_over_launches(logs).inverse())


def test_a_summary_is_the_median_over_launches_and_rounds_of_each_visits_median() -> None:
    launches = [make_launch(0.010, launch=0), make_launch(0.011, launch=1), make_launch(0.013, launch=2)]
    summary = summarise(launches)
    assert summary is not None
    assert summary.median_s == 0.011
    assert (summary.launches, summary.rounds, summary.samples) == (3, 18, 54)
    assert summary.relative == pytest.approx(11)
    assert summary.interval_s is not None
    # Student's t, two degrees of freedom, on the logarithms of the launch medians; its centre midway between
    # their mean and the headline.
    logs = [math.log(x) for x in (0.010, 0.011, 0.013)]
    mean = sum(logs) / 3
    half_width = 4.302653 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 2 / 3)
    centre = (mean + math.log(0.011)) / 2
    assert summary.interval_s == pytest.approx((math.exp(centre - half_width), math.exp(centre + half_width)))


@pytest.mark.parametrize(("share", "fewest"), [(0.90, 29), (0.95, 59), (0.99, 299)])
def test_a_tail_needs_enough_samples_for_a_bound(share: float, fewest: int) -> None:
    assert tail([1.0] * (fewest - 1), share) is None
    assert tail([*[1.0] * (fewest - 1), 2.0], share) == Tail(1.0, 2.0)


@pytest.mark.parametrize("share", [0.90, 0.95, 0.99])
@pytest.mark.parametrize("n", [299, 500, 1234])
def test_the_bound_of_a_tail_is_the_least_sample_that_is_above_it_with_95_percent(
    share: float, n: int
) -> None:
    found = tail([float(place) for place in range(n, 0, -1)], share)
    assert found is not None
    # The j-th smallest sample is above the quantile when fewer than j samples are below it.
    place = int(found.upper_s)
    assert binom.cdf(place - 1, n, share) >= 0.95 > binom.cdf(place - 2, n, share)
    assert found.value_s == math.ceil(share * n)


def test_the_95th_percentile_needs_59_samples() -> None:
    few, enough = (summarise([make_launch(0.01, rounds=rounds)]) for rounds in (19, 20))
    assert few is not None
    assert enough is not None
    assert (few.samples, few.p95_s) == (57, None)
    assert (enough.samples, enough.p95_s, enough.p99_s) == (60, 0.01, None)
    assert enough.p90_s == 0.01


def test_outliers_are_counted_by_the_fence_of_their_own_launch_and_kept() -> None:
    # Median 12.5 ms, deviation 1.5 ms: the fence is at 12.5 + 5 · 1.4826 · 1.5 = 23.6 ms.
    steady_s = (0.010, 0.011, 0.012, 0.013, 0.014)
    below, above = (with_visits(samples_s=(*steady_s, slowest_s)) for slowest_s in (0.0236, 0.0237))
    slow_process = with_visits(samples_s=tuple(10 * sample for sample in steady_s))
    summary = summarise([below, above, slow_process])
    assert summary is not None
    assert (summary.samples, summary.outlier_share) == (17, 1 / 17)


def test_equal_samples_hold_no_outlier() -> None:
    summary = summarise([make_launch()])
    assert summary is not None
    assert summary.outlier_share == 0


def test_what_disturbed_the_visits_is_reported_beside_the_latency() -> None:
    disturbed = with_visits(minor_faults=30, involuntary_switches=2, throttled_s=0.5)
    calm = with_visits(minor_faults=0, involuntary_switches=0, throttled_s=0.0)
    silent = with_visits()
    summary = summarise([disturbed, calm, silent])
    assert summary is not None
    assert (summary.preempted_share, summary.throttled_s) == (0.5, 0.5)
    assert summary.faults_per_pass == 30 / 6  # three passes a visit
    unknown = summarise([silent])
    assert unknown is not None
    assert (unknown.preempted_share, unknown.throttled_s, unknown.faults_per_pass) == (None, None, None)


def test_throughput_is_all_samples_over_all_seconds() -> None:
    launches = [
        with_sustained(chunks_s=(1.0, 1.0, 2.0)),
        with_sustained(chunks_s=(1.0, 2.0, 3.0)),
        make_launch(),
    ]
    rate = throughput(launches, batch_size=8)
    assert rate is not None
    assert rate.value == pytest.approx(6 * 10 * 8 / 10)
    assert rate.interval is not None
    assert rate.interval.low < rate.value < rate.interval.high
    assert throughput([make_launch()], batch_size=8) is None


def test_the_throughput_of_a_few_chunks_of_one_launch_has_no_interval() -> None:
    few, enough = (throughput([with_sustained(chunks_s=(1.0,) * n)], 1) for n in (5, 6))
    assert few == Estimate(10.0, None)
    assert enough is not None
    assert enough.interval == pytest.approx((10.0, 10.0))


def test_net_energy_is_what_is_drawn_beyond_the_idle_power() -> None:
    launches = [with_sustained(energy_j=energy_j, idle_power_w=2.0) for energy_j in (58.0, 60.0, 62.0)]
    energy = energy_per_pass(launches)
    assert energy is not None
    assert energy.net_j is not None
    # Two chunks of ten passes in two seconds each.
    assert energy.gross_j.value == pytest.approx(60 / 20)
    assert energy.net_j.value == pytest.approx((60 - 2 * 4) / 20)
    assert energy.gross_j.interval == pytest.approx(launch_interval([2.9, 3.0, 3.1]))
    assert energy.net_j.interval == pytest.approx(launch_interval([2.5, 2.6, 2.7]))


def test_one_launch_has_an_energy_without_interval_and_no_counter_none() -> None:
    assert energy_per_pass([with_sustained(energy_j=60.0)]) == EnergyPerPass(Estimate(3.0, None), None)
    assert energy_per_pass([with_sustained(), make_launch()]) is None


def test_a_net_energy_that_is_not_above_zero_has_no_interval() -> None:
    energy = energy_per_pass([with_sustained(energy_j=60.0, idle_power_w=watts) for watts in (2.0, 20.0)])
    assert energy is not None
    assert energy.net_j is not None
    assert energy.net_j.interval is None


def test_the_best_decile_of_the_reference_is_over_the_whole_run() -> None:
    slow, quick = (with_visits(reference_network_s=(time_s,) * n) for time_s, n in ((0.002, 17), (0.001, 3)))
    assert best_decile_s([slow, quick]) == 0.001
    assert best_decile_s([slow]) == 0.002
    assert best_decile_s([]) is None


@given(launches_of_rounds, launches_of_rounds)
def test_swapping_two_models_inverts_their_ratio(a: list[list[float]], b: list[list[float]]) -> None:
    first, second = as_launches(a), as_launches(b)
    one, other = ratio(first, second), ratio(second, first)
    assert one is not None
    assert other is not None
    assert_close(one, other.inverse())


@given(launches_of_rounds, st.lists(st.floats(0.1, 10), min_size=8, max_size=8))
def test_a_factor_on_all_samples_of_a_round_leaves_a_contrast_as_it_is(
    rounds: list[list[float]], factors: list[float]
) -> None:
    def slowed(values: list[list[float]]) -> list[Launch]:
        return as_launches([[x * f for x, f in zip(launch, factors, strict=False)] for launch in values])

    squares = [[value**2 for value in launch] for launch in rounds]
    cubes = [[value**3 + 1 for value in launch] for launch in rounds]
    weights = (0.5, 0.5, -1.0)
    models = (rounds, squares, cubes)
    calm = contrast([(weight, as_launches(it)) for weight, it in zip(weights, models, strict=True)])
    disturbed = contrast([(weight, slowed(it)) for weight, it in zip(weights, models, strict=True)])
    assert calm is not None
    assert disturbed is not None
    assert disturbed.value == pytest.approx(calm.value)


@given(launches_of_rounds)
def test_a_model_takes_once_as_long_as_itself(rounds: list[list[float]]) -> None:
    launches = as_launches(rounds)
    found = ratio(launches, launches)
    assert found is not None
    assert found.value == 1
    assert found.interval in (None, (1, 1))


def test_a_contrast_weighs_logarithms() -> None:
    models = [(weight, [make_launch(time_s)]) for weight, time_s in ((1.0, 0.08), (-2.0, 0.02), (1.0, 0.04))]
    found = contrast(models)
    assert found is not None
    assert found.value == pytest.approx(8)


def test_a_contrast_refuses_weights_that_a_slow_machine_would_show_in() -> None:
    with pytest.raises(ValueError, match=r"add up to zero: \[1.0, -0.5\]"):
        contrast([(1.0, [make_launch()]), (-0.5, [make_launch()])])


def test_only_rounds_that_are_shared_count_and_launches_without_are_left_out() -> None:
    a = [make_launch(0.03, launch=n) for n in range(3)]
    b = [
        msgspec.structs.replace(launch, visits=(*launch.visits[::4], make_visit(9.0, round_number=99)))
        for launch in (make_launch(0.01, launch=n) for n in range(2))
    ]
    elsewhere = msgspec.structs.replace(make_launch(9.0, launch=2), group=1)
    found = ratio(a, [*b, elsewhere])
    assert found is not None
    assert found.value == pytest.approx(3)
    assert found.interval == pytest.approx((3, 3))
    assert ratio(a, [elsewhere]) is None
    assert ratio(a, []) is None


def test_rounds_of_two_processes_are_never_shared() -> None:
    first, second = (msgspec.structs.replace(make_launch(), worker=name) for name in ("first", "second"))
    assert ratio([first], [second]) is None


def test_an_anchor_joins_groups_as_if_they_were_one() -> None:
    machine = (1.0, 1.4, 0.9, 2.0, 1.1, 1.0, 1.2)

    def launches(latency_s: float, group: int) -> list[Launch]:
        slow = group + 1
        return as_launches([[latency_s * slow * f for f in machine[launch:]] for launch in range(3)], group)

    together = ratio(launches(0.03, 0), launches(0.02, 0), anchor=launches(0.01, 0))
    apart = ratio(launches(0.03, 0), launches(0.02, 1), anchor=[*launches(0.01, 0), *launches(0.01, 1)])
    unjoined = ratio(launches(0.03, 0), launches(0.02, 1), anchor=launches(0.01, 0))
    assert together is not None
    assert apart is not None
    assert apart.value == pytest.approx(together.value) == pytest.approx(1.5)
    assert apart.interval == pytest.approx(together.interval)
    assert unjoined is None


def test_an_interval_that_spans_a_factor_of_two_is_unstable() -> None:
    steady = summarise([make_launch(0.01, launch=n) for n in range(3)])
    wild = summarise([make_launch(0.01 * 1.4**n, launch=n) for n in range(3)])
    assert steady is not None
    assert wild is not None
    assert (steady.unstable, wild.unstable) == (False, True)
    assert (steady.stop(0.05), wild.stop(0.05)) == ("target_met", "budget_exhausted")


def test_launches_without_samples_have_no_summary() -> None:
    assert summarise([]) is None


@given(points)
def test_the_front_is_every_point_that_no_other_beats(candidates: list[tuple[int, int]]) -> None:
    def beaten(point: tuple[int, int]) -> bool:
        return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in candidates)

    expected = {index for index, point in enumerate(candidates) if not beaten(point)}
    assert set(pareto_front(candidates)) == expected


@given(points)
def test_the_front_rises_with_cost(candidates: list[tuple[int, int]]) -> None:
    front = [candidates[index] for index in pareto_front(candidates)]
    assert front == sorted(front)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_front_refuses_points_that_are_nowhere(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        pareto_front([(1, 2), (bad, 1)])


@given(st.floats(0.1, 3), st.floats(0.1, 10), st.floats(1, 8))
def test_interpolation_is_exact_on_power_laws(exponent: float, scale: float, x: float) -> None:
    curve = [(float(value), scale * value**exponent) for value in (1, 2, 4, 8)]
    value = loglog_at(curve, x)
    assert value is not None
    assert math.isclose(value, scale * x**exponent, rel_tol=1e-9)


def test_interpolation_is_silent_outside_the_measured_range() -> None:
    assert loglog_at([(1, 1), (2, 2)], 0.99) is None
    assert loglog_at([(1, 1), (2, 2)], 2.01) is None
    assert loglog_at([], 1) is None
    assert loglog_at([(1, 5)], 1) == pytest.approx(5)

"""Verdicts on two arms: worked numbers, laws, and simulated checks whose truth is known."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import t as student

from scaleprof.records import ArmTimes, CheckPair, CheckRound, PairTarget
from scaleprof.stats.compare import (
    ALPHA,
    LOOKS,
    MIN_CHANGE_S,
    PASS_MARGIN,
    SPENDING,
    Comparison,
    Judged,
    comparison_of,
    decide,
    judge,
    minimum_detectable_effect,
)
from scaleprof.stats.effects import MIN_TAU, NU_0, TAU_0, Effect, PairTimes, effect, pseudo_median, tau_of
from scaleprof.stats.holm import holm

BEFORE_S = 0.012
Logs = NDArray[np.float64]  # [pairs, rounds]


def comparison(logs: Sequence[Sequence[float]] | Logs, *, limit: float = 0.02) -> Comparison:
    return Comparison([PairTimes(list(pair), BEFORE_S) for pair in logs], limit)


def constant(*estimates: float, rounds: int = 10) -> Comparison:
    """Pairs whose rounds all say the same."""
    return comparison([[estimate] * rounds for estimate in estimates])


def simulate(
    rng: np.random.Generator, change: float, *, pairs: int = 12, tau: float = TAU_0, noise: float = 0.065
) -> Logs:
    """Pairs that differ by `tau`, and 30 rounds of Student's noise with four degrees of freedom."""
    biases = tau * rng.standard_normal((pairs, 1))
    return math.log1p(change) + biases + noise / math.sqrt(2) * rng.standard_t(4, (pairs, 30))


def shares(
    change: float,
    *,
    checks: int,
    models: int = 1,
    seed: int = 0,
    limit: float = 0.02,
    tau: float = TAU_0,
    tau_0: float = TAU_0,
) -> dict[str, float]:
    """How often each verdict falls in simulated checks, per model; `any`: checks with any model SLOWER.

    `tau` is by how much pairs differ, `tau_0` by how much the rule believes that they do.
    """
    rng, counts = np.random.default_rng(seed), Counter[str]()
    for _ in range(checks):
        targets = {
            str(model): comparison(simulate(rng, change, tau=tau), limit=limit) for model in range(models)
        }
        verdicts = [judged.verdict for judged in decide(targets, tau_0=tau_0).values()]
        counts.update(verdicts)
        counts["any"] += models * ("SLOWER" in verdicts)
    return {name: counts[name] / (checks * models) for name in ("SLOWER", "FASTER", "PASS", "any")}


def only(targets: dict[str, Judged]) -> Judged:
    (judged,) = targets.values()
    return judged


def verdict(one: Comparison) -> str:
    return only(decide({"it": one})).verdict


seeds = st.integers(0, 2**32 - 1)
changes = st.floats(-0.12, 0.12)


# Worked by hand


def test_the_effect_of_three_pairs_is_what_the_formulas_say() -> None:
    found = effect(constant(0.02, 0.04, 0.09).measured)
    # Means of twos: 0.02 0.03 0.055 0.04 0.065 0.09, so the pseudo-median is (0.04 + 0.055) / 2. No round
    # differs from the next: v0 = 0.02². Σ(e − 0.05)² = 0.0009 + 0.0001 + 0.0016 = 0.0026.
    assert found.delta == pytest.approx(0.0475)
    assert found.freedom == 8
    assert found.se == pytest.approx(math.sqrt((6 * 0.0004 + 0.0026) / 8 / 3))
    assert found.p_slower == pytest.approx(student.sf(0.0475 / found.se, 8))
    assert found.p_faster == pytest.approx(1 - found.p_slower)
    assert found.upper == pytest.approx(math.exp(0.0475 + 1.8595 * found.se) - 1, abs=1e-5)
    assert found.interval.low == pytest.approx(math.exp(0.0475 - 2.3060 * found.se) - 1, abs=1e-5)
    assert (found.pairs, found.rounds, found.before_s) == (3, 10, BEFORE_S)


def test_the_noise_of_rounds_widens_what_a_pair_is_worth() -> None:
    # Deviations from the median 0 are 0.05 in all rounds: so is the MAD.
    rounds = [0.05, -0.05] * 5
    found = effect(comparison([rounds] * 3).measured)
    v0 = 0.02**2 + (1.05 * 1.4826 * 0.05) ** 2 / 10
    assert found.delta == pytest.approx(0, abs=1e-12)
    assert found.se == pytest.approx(math.sqrt(6 * v0 / 8 / 3))


def test_the_noise_of_rounds_is_that_of_the_middle_pair_over_the_fewest_rounds() -> None:
    pairs = [[0.01, -0.01] * 10, [0.05, -0.05] * 5, [0.3, -0.3] * 15]
    found = effect(comparison(pairs).measured)
    v0 = 0.02**2 + (1.05 * 1.4826 * 0.05) ** 2 / 10
    assert found.se == pytest.approx(math.sqrt(6 * v0 / 8 / 3))


def test_five_percent_in_three_quiet_pairs_is_slower_and_its_mirror_faster() -> None:
    # t = 0.05 / 0.01 = 5 of 8 degrees of freedom: p = 0.0005, below 0.003.
    slower, faster = decide({"it": constant(0.05, 0.05, 0.05)}), decide({"it": constant(-0.05, -0.05, -0.05)})
    assert (only(slower).verdict, only(faster).verdict) == ("SLOWER", "FASTER")
    assert not only(slower).open
    assert effect(constant(0.05, 0.05, 0.05).measured).se == pytest.approx(0.01)


@pytest.mark.parametrize(("delta", "expected"), [(0.0109, "PASS"), (0.0110, "INCONCLUSIVE")])
def test_a_target_passes_if_it_is_less_than_limit_and_margin_slower(delta: float, expected: str) -> None:
    # 1.8595 · 0.01 = 0.01860, and log 1.03 = 0.02956: passes below 0.01096.
    assert verdict(constant(delta, delta, delta)) == expected


def test_a_slowdown_below_its_limit_is_not_slower_however_sure() -> None:
    logs = [[0.015] * 30] * 12
    assert verdict(comparison(logs, limit=0.02)) == "PASS"
    assert verdict(comparison(logs, limit=0.01)) == "SLOWER"


def test_what_is_slower_alone_may_be_undecided_among_many() -> None:
    # t = 4.0 of 8 degrees of freedom: p = 0.002, below 0.003 and above 0.003 / 8.
    one = constant(0.04, 0.04, 0.04)
    assert verdict(one) == "SLOWER"
    among = decide({"it": one} | {str(n): constant(0.0, 0.0, 0.0) for n in range(7)})
    assert among["it"].verdict == "INCONCLUSIVE"
    assert among["it"].open


def test_only_models_that_are_still_open_share_a_look() -> None:
    one = constant(0.04, 0.04, 0.04, 0.04, 0.04)
    among = decide({"it": one} | {str(n): constant(0.0, 0.0, 0.0) for n in range(7)})
    # At the second look it is alone: t = 0.04 / sqrt(6 · 0.0004 / 10 / 5) = 5.77, p = 0.0001.
    assert among["it"].verdict == "SLOWER"
    assert among["it"].effect is not None
    assert among["it"].effect.pairs == 5


# Rules


def test_changes_that_a_call_could_make_are_not_called_slower() -> None:
    tiny = Comparison([PairTimes([0.1] * 10, MIN_CHANGE_S)] * 12)
    judged = only(decide({"it": tiny}))
    assert (judged.verdict, judged.more_pairs) == ("INCONCLUSIVE", None)
    assert "20 µs" in judged.reason
    assert verdict(Comparison([PairTimes([0.1] * 10, 10 * MIN_CHANGE_S)] * 3)) == "SLOWER"
    assert verdict(Comparison([PairTimes([-0.1] * 10, MIN_CHANGE_S)] * 3)) == "PASS"


@pytest.mark.parametrize(
    ("target", "reason", "stays_open"),
    [
        (Comparison([]), "not measured", True),
        (Comparison([None, None]), "not measured", True),
        (constant(0.2, 0.2), "2 of the 3 pairs", True),
        (constant(0.2, 0.2, 0.2, rounds=9), "9 rounds: at least 10", False),
        (comparison([[0.2] * 30] * 2 + [[0.2] * 4]), "4 rounds: at least 10", False),
        (Comparison([None] * 12), "not measured", False),
        (Comparison([*constant(0.2, 0.2).pairs, *[None] * 10]), "2 of the 3 pairs", False),
    ],
)
def test_too_little_is_invalid_and_never_a_verdict(target: Comparison, reason: str, stays_open: bool) -> None:
    judged = only(decide({"it": target}))
    assert (judged.verdict, judged.open, judged.effect) == ("INVALID", stays_open, None)
    assert reason in judged.reason


def test_nothing_to_judge_is_no_verdict() -> None:
    assert decide({}) == {}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 14, 29])
def test_what_is_not_finite_is_an_error(wrong: float, place: int) -> None:
    rounds = [0.0] * 30
    rounds[place] = wrong
    with pytest.raises(ValueError, match="finite"):
        decide({"it": comparison([[0.0] * 30, rounds, [0.0] * 30])})
    with pytest.raises(ValueError, match="finite"):
        tau_of(comparison([[0.0] * 30, rounds, [0.0] * 30]).measured)


@pytest.mark.parametrize("before_s", [math.nan, math.inf, 0.0, -1.0])
def test_a_latency_that_is_none_is_an_error(before_s: float) -> None:
    with pytest.raises(ValueError, match="before_s"):
        decide({"it": Comparison([PairTimes([0.0] * 30, before_s)] * 3)})


@pytest.mark.parametrize("tau_0", [math.nan, math.inf, 0.0, -0.01])
def test_a_tau_that_is_none_is_an_error(tau_0: float) -> None:
    with pytest.raises(ValueError, match="tau_0"):
        decide({"it": constant(0, 0, 0)}, tau_0=tau_0)


def test_an_effect_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="pair of processes"):
        effect([])
    with pytest.raises(ValueError, match="round"):
        effect([PairTimes([], BEFORE_S)])


def test_a_check_that_ends_between_looks_says_what_all_its_pairs_say() -> None:
    judged = only(decide({"it": constant(0.02, 0.02, 0.02, 0.02)}))
    assert (judged.verdict, judged.open) == ("INCONCLUSIVE", True)
    assert judged.effect is not None
    assert judged.effect.pairs == 4


def test_a_pair_that_missed_a_target_leaves_it_the_others() -> None:
    pairs = constant(0.05, 0.05, 0.05, 0.05).pairs
    waiting = decide({"it": Comparison([None, *pairs[:3]]), "other": constant(0, 0, 0, 0)})
    assert (waiting["it"].verdict, waiting["it"].open) == ("INCONCLUSIVE", True)  # three only since the look
    later = decide({"it": Comparison([None, *pairs])})
    assert only(later).verdict == "SLOWER"
    assert effect_of(only(later)).pairs == 4


def effect_of(judged: Judged) -> Effect:
    assert judged.effect is not None
    return judged.effect


def test_after_the_last_look_nothing_is_open() -> None:
    wide = comparison([[0.3 * (-1) ** n + 0.02] * 30 for n in range(12)])
    judged = only(decide({"it": wide}))
    assert (judged.verdict, judged.open) == ("INCONCLUSIVE", False)
    assert judged.more_pairs is not None
    assert f"about {judged.more_pairs} more" in judged.reason


@pytest.mark.parametrize("delta", [-0.005, 0.005, 0.015, 0.03, 0.05])
def test_the_pairs_that_are_said_to_be_needed_would_decide_and_one_less_would_not(delta: float) -> None:
    logs = [[0.1 * (-1) ** n + delta] * 30 for n in range(12)]
    judged = only(decide({"it": comparison(logs)}))
    assert judged.more_pairs is not None

    def is_decided(more: int) -> bool:
        found = effect_of(judged)
        pairs = found.pairs + more
        later = msgspec.structs.replace(
            found, pairs=pairs, freedom=NU_0 + pairs - 1, se=found.se * math.sqrt(found.pairs / pairs)
        )
        slower = later.delta >= math.log(1.02) and later.p_slower < ALPHA * SPENDING[-1]
        return slower or later.upper < 0.02 + PASS_MARGIN

    assert is_decided(judged.more_pairs)
    assert not is_decided(judged.more_pairs - 1)


def test_the_looks_spend_all_of_alpha_and_no_more() -> None:
    assert math.fsum(SPENDING) == pytest.approx(1)
    assert len(SPENDING) == len(LOOKS)


# Records


def check_pair(number: int, times_s: dict[str, list[tuple[list[float], list[float]]]]) -> CheckPair:
    """A pair of processes: per target the rounds' times before and after."""
    targets = [
        PairTarget(
            name,
            tuple(
                CheckRound(n, "before", ArmTimes(tuple(before)), ArmTimes(tuple(after)))
                for n, (before, after) in enumerate(rounds)
            ),
        )
        for name, rounds in times_s.items()
    ]
    return CheckPair(number, number, "2026-01-01T00:00:00Z", (0,), (1, 2), tuple(targets))


def test_a_comparison_holds_the_quickest_forwards_of_each_pair() -> None:
    pairs = [
        check_pair(0, {"a": [([2.0, 1.0], [3.0, 9.0])], "b": [([1.0], [1.0])]}),
        check_pair(1, {"b": [([1.0], [2.0]), ([4.0], [2.0])], "a": []}),
    ]
    a, b = comparison_of(pairs, "a"), comparison_of(pairs, "b", limit=0.05)
    assert [pair and list(pair.log_ratios) for pair in a.pairs] == [[math.log(3)], None]
    assert [list(pair.log_ratios) for pair in b.measured] == [[0.0], [math.log(2), math.log(2) - math.log(4)]]
    assert [pair.before_s for pair in (*a.measured, *b.measured)] == [1.0, 1.0, 2.5]
    assert (a.limit, b.limit) == (0.02, 0.05)
    assert comparison_of(pairs, "c").measured == []


# Laws


@given(seed=seeds, change=changes, look=st.integers(0, 3))
@settings(max_examples=50)
def test_swapping_the_arms_mirrors_what_a_look_finds(seed: int, change: float, look: int) -> None:
    rng = np.random.default_rng(seed)
    logs = [simulate(rng, change, pairs=LOOKS[look]) for _ in range(3)]
    one = judge({str(n): comparison(each) for n, each in enumerate(logs)}, look)
    other = judge({str(n): comparison(-each) for n, each in enumerate(logs)}, look)
    mirror = {"SLOWER": "FASTER", "FASTER": "SLOWER"}
    for name, judged in one.items():
        assert mirror.get(judged.verdict) == (other[name].verdict if other[name].verdict in mirror else None)
        ahead, back = effect_of(judged), effect_of(other[name])
        assert ahead.delta == pytest.approx(-back.delta)
        assert (ahead.se, ahead.p_slower) == pytest.approx((back.se, back.p_faster))


@given(seed=seeds, change=changes)
@settings(max_examples=25)
def test_swapping_the_arms_never_leaves_slower_slower(seed: int, change: float) -> None:
    # Something faster may pass before that is sure, so that whole checks are not mirrored to the letter.
    logs = simulate(np.random.default_rng(seed), change)
    assert {verdict(comparison(logs)), verdict(comparison(-logs))} not in ({"SLOWER"}, {"FASTER"})


@given(seed=seeds, change=changes, factor=st.floats(0.5, 1000))
@settings(max_examples=25)
def test_a_constant_factor_on_both_arms_changes_nothing(seed: int, change: float, factor: float) -> None:
    rng = np.random.default_rng(seed)
    logs = simulate(rng, change, pairs=5)
    before_s = BEFORE_S * np.exp(0.1 * rng.standard_normal(logs.shape))

    def judged(by: float) -> Judged:
        pairs = [
            check_pair(n, {"it": [([b], [b * math.exp(d)]) for b, d in zip(by * row_s, row, strict=True)]})
            for n, (row_s, row) in enumerate(zip(before_s, logs, strict=True))
        ]
        return only(decide({"it": comparison_of(pairs, "it")}))

    one, other = judged(1.0), judged(factor)
    assert (one.verdict, one.open, one.more_pairs) == (other.verdict, other.open, other.more_pairs)
    assert effect_of(one).interval == pytest.approx(effect_of(other).interval, abs=1e-9)


@given(seed=seeds, change=changes)
@settings(max_examples=25)
def test_the_order_of_pairs_within_a_look_and_of_rounds_does_not_matter(seed: int, change: float) -> None:
    rng = np.random.default_rng(seed)
    logs = simulate(rng, change)
    blocks = [rng.permutation(np.arange(start, end)) for start, end in itertools.pairwise((0, *LOOKS))]
    moved = rng.permuted(logs[np.concatenate(blocks)], axis=1)
    one, other = only(decide({"it": comparison(logs)})), only(decide({"it": comparison(moved)}))
    assert (one.verdict, one.more_pairs) == (other.verdict, other.more_pairs)
    assert effect_of(one).interval == pytest.approx(effect_of(other).interval)


@given(seed=seeds, change=changes, later=changes)
@settings(max_examples=25)
def test_a_decided_target_stays_decided_whatever_comes_after(seed: int, change: float, later: float) -> None:
    rng = np.random.default_rng(seed)
    logs, beside = simulate(rng, change), simulate(rng, change)
    first = {"it": comparison(logs[:5]), "other": comparison(beside[:5])}
    moved = np.vstack([logs[:5], simulate(rng, later)])
    second = {"it": comparison(moved), "other": comparison(beside)}
    judged = decide(first)["it"]
    assert judged.open or decide(second)["it"] == judged


@given(seed=seeds, change=changes)
@settings(max_examples=25)
def test_the_order_of_targets_does_not_matter(seed: int, change: float) -> None:
    rng = np.random.default_rng(seed)
    targets = {str(n): comparison(simulate(rng, change)) for n in range(4)}
    assert decide(targets) == decide(dict(reversed(targets.items())))


@given(seed=seeds, shift=st.floats(-1, 1))
@settings(max_examples=25)
def test_a_shift_of_all_rounds_shifts_the_effect_and_nothing_else(seed: int, shift: float) -> None:
    logs = simulate(np.random.default_rng(seed), 0)
    one, other = effect(comparison(logs).measured), effect(comparison(logs + shift).measured)
    assert other.delta == pytest.approx(one.delta + shift)
    assert other.se == pytest.approx(one.se)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=12))
def test_the_pseudo_median_is_the_median_of_the_means_of_all_twos(values: list[float]) -> None:
    twos = itertools.combinations_with_replacement(values, 2)
    assert pseudo_median(values) == pytest.approx(median((a + b) / 2 for a, b in twos), abs=1e-12)


@given(st.lists(st.floats(0, 0.1), max_size=7), st.sampled_from([0.01, 0.05]))
def test_holm_rejects_what_every_test_of_a_subset_rejects(p_values: list[float], alpha: float) -> None:
    # Closed testing: a hypothesis falls if Bonferroni rejects each intersection that it is part of.
    everything = range(len(p_values))
    subsets = [s for n in everything for s in itertools.combinations(everything, n + 1)]
    rejects = {s: min(p_values[i] for i in s) < alpha / len(s) for s in subsets}
    assert holm(p_values, alpha) == [all(rejects[s] for s in subsets if i in s) for i in everything]


# Simulated checks whose truth is known


def test_identical_code_is_called_slower_in_at_most_one_percent() -> None:
    found = shares(0.0, checks=1500)
    assert found["SLOWER"] <= 0.01
    assert found["FASTER"] <= 0.01
    assert found["PASS"] >= 0.97


def test_a_machine_noisier_than_is_believed_raises_few_alarms_and_hides_no_slowdown() -> None:
    assert shares(0.0, checks=1500, tau=0.026)["SLOWER"] <= 0.02
    assert shares(0.05, checks=400, tau=0.026)["SLOWER"] >= 0.98


def test_identical_models_raise_no_more_alarms_together() -> None:
    found = shares(0.0, checks=100, models=8)
    assert found["any"] <= 0.05
    assert found["SLOWER"] <= 0.01


@pytest.mark.parametrize(("models", "checks"), [(1, 400), (8, 50)])
@pytest.mark.parametrize(("change", "wanted"), [(0.05, 0.95), (0.10, 0.99)])
def test_slowdowns_of_five_percent_are_caught(models: int, checks: int, change: float, wanted: float) -> None:
    assert shares(change, checks=checks, models=models)["SLOWER"] >= wanted


@pytest.mark.parametrize(("change", "expected"), [(0.05, "FASTER"), (-0.05, "SLOWER")])
def test_a_change_is_never_called_by_the_other_name(change: float, expected: str) -> None:
    assert shares(change, checks=200)[expected] == 0


@pytest.mark.parametrize(("models", "checks"), [(1, 1500), (5, 300)])
def test_four_looks_together_raise_alarms_as_often_as_they_say(models: int, checks: int) -> None:
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(checks):
        targets = {
            str(model): comparison(simulate(rng, 0.0, tau=0.5)[:, :10], limit=0.0) for model in range(models)
        }
        # Nothing is taken out by passing, and there is no limit: all four looks are had.
        alarms += any(
            judged.verdict == "SLOWER"
            for look, pairs in enumerate(LOOKS)
            for judged in judge(
                {n: each.first(pairs) for n, each in targets.items()}, look, tau_0=0.5
            ).values()
        )
    # Less than the 5 % that are spent: looks share pairs, and what is believed of the noise is true here.
    assert 0.01 <= alarms / checks <= 0.05


@pytest.mark.parametrize("noise", [0.03, 0.12])
def test_the_minimum_detectable_effect_is_detected_as_often_as_it_says(noise: float) -> None:
    rng, caught, checks = np.random.default_rng(5), 0, 250
    typical = effect(comparison(simulate(rng, 0.0, pairs=300, noise=noise)).measured)
    change = minimum_detectable_effect(typical)
    for _ in range(checks):
        caught += verdict(comparison(simulate(rng, change, noise=noise))) == "SLOWER"
    assert 0.84 <= caught / checks <= 0.96


def test_the_minimum_detectable_effect_is_above_the_limit_and_falls_with_pairs() -> None:
    found = effect(comparison(simulate(np.random.default_rng(1), 0.0)).measured)
    by_pairs = [minimum_detectable_effect(found, pairs=pairs) for pairs in (3, 5, 8, 12)]
    assert by_pairs == sorted(by_pairs, reverse=True)
    assert by_pairs[-1] > 0.02
    assert minimum_detectable_effect(found, limit=0.08) > 0.08
    assert minimum_detectable_effect(found, models=24) > by_pairs[-1]


@pytest.mark.parametrize("tau", [0.01, 0.03])
def test_tau_is_found_again_in_identical_arms(tau: float) -> None:
    pairs = comparison(simulate(np.random.default_rng(2), 0.0, pairs=400, tau=tau)).measured
    assert tau_of(pairs) == pytest.approx(tau, rel=0.12)


def test_tau_is_never_below_half_a_percent_and_needs_three_pairs() -> None:
    assert tau_of(constant(0, 0, 0).measured) == MIN_TAU
    assert tau_of(constant(0.1, 0.1).measured) is None
    assert tau_of([]) is None
    assert tau_of([*constant(0.1, 0.1).measured, *constant(0.1, rounds=9).measured]) is None


def test_judging_at_a_look_leaves_open_what_it_does_not_decide() -> None:
    targets = {"slow": constant(0.2, 0.2, 0.2), "wide": constant(-0.3, 0.0, 0.3)}
    for look, is_last in ((0, False), (len(LOOKS) - 1, True)):
        judged = judge(targets, look)
        assert judged["slow"].verdict == "SLOWER"
        assert (judged["wide"].verdict, judged["wide"].open) == ("INCONCLUSIVE", not is_last)

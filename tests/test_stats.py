"""Intervals, summaries, fronts and interpolation."""

from __future__ import annotations

import math
import random
from statistics import median

import pytest
from builders import make_launch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from scaleprof.stats.interpolation import loglog_at
from scaleprof.stats.intervals import enclosing, launch_interval, median_interval
from scaleprof.stats.latency import summarise
from scaleprof.stats.pareto import pareto_front

finite = st.floats(-1e6, 1e6, allow_nan=False)
points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


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


def test_a_summary_is_the_median_over_launches_and_rounds_of_each_visits_median() -> None:
    launches = [make_launch(0.010, launch=0), make_launch(0.011, launch=1), make_launch(0.013, launch=2)]
    summary = summarise(launches)
    assert summary is not None
    assert summary.median_s == 0.011
    assert (summary.launches, summary.rounds, summary.samples) == (3, 18, 54)
    assert summary.relative == pytest.approx(11)
    assert summary.interval_s is not None
    # Student's t, two degrees of freedom, on the logarithms of the launch medians.
    logs = [math.log(x) for x in (0.010, 0.011, 0.013)]
    mean = sum(logs) / 3
    error = math.sqrt(sum((x - mean) ** 2 for x in logs) / 2 / 3)
    assert summary.interval_s.low == pytest.approx(math.exp(mean - 4.302653 * error))


def test_the_interval_is_never_narrower_than_the_pooled_rounds() -> None:
    launches = [make_launch(0.01, launch=n, spread=0.05) for n in range(3)]
    summary = summarise(launches)
    assert summary is not None
    assert summary.interval_s is not None
    pooled = median_interval([median(visit.samples_s) for launch in launches for visit in launch.visits])
    assert pooled is not None
    assert summary.interval_s.low <= pooled.low
    assert summary.interval_s.high >= pooled.high


def test_the_95th_percentile_needs_59_samples() -> None:
    few, enough = (summarise([make_launch(0.01, rounds=rounds)]) for rounds in (19, 20))
    assert few is not None
    assert enough is not None
    assert (few.samples, few.p95_s) == (57, None)
    assert (enough.samples, enough.p95_s) == (60, 0.01)


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
    assert loglog_at([(1, 1)], 1) is None

"""What the report reads out of measured points: places on fronts, power laws, equal cost, rooflines."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence

import moocore  # type: ignore[import-untyped]
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import linregress, pearsonr
from scipy.stats import t as student_t

from scaleprof.scaling.rules import Bases, factors
from scaleprof.scaling.theory import growth_exponents
from scaleprof.stats.equal import at_equal, common_range, read_at
from scaleprof.stats.hypervolume import hypervolume, hypervolumes, reference_point
from scaleprof.stats.interpolation import loglog_at
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.stats.pareto import Membership, memberships, pareto_front
from scaleprof.stats.powerlaw import fit_power_law, rank_predictors
from scaleprof.stats.roofline import Ceilings, roofline_point

Point = tuple[Estimate, Estimate]

# How many ways to be wrong a run of simulations allows: three standard errors.
STANDARD_ERRORS = 3


def exact(value: float) -> Estimate:
    return Estimate(value, Interval(value, value))


def within(low: float, value: float, high: float) -> Estimate:
    return Estimate(value, Interval(low, high))


def give_or_take(value: float, factor: float) -> Estimate:
    return within(value / factor, value, value * factor)


def exact_points(*pairs: tuple[float, float]) -> list[Point]:
    return [(exact(x), exact(y)) for x, y in pairs]


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.lists(st.integers(1, 6), min_size=3, max_size=3)))
    return within(low, value, high)


numbers = st.floats(0.01, 100)
whole_points = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=20)
uncertain_points = st.lists(st.tuples(estimates(), estimates()), max_size=4)
curves = st.lists(
    st.tuples(numbers, numbers), min_size=1, max_size=6, unique_by=lambda point: round(point[0], 3)
)


def is_beaten(point: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    return any(
        other[0] <= point[0] and other[1] >= point[1] and tuple(other) != tuple(point) for other in others
    )


# Places on a front


@given(whole_points, st.randoms())
def test_the_front_of_feasible_points_is_the_front_without_the_others(
    points: list[tuple[int, int]], rng: random.Random
) -> None:
    feasible = [rng.random() < 0.7 for _ in points]
    left = [index for index, is_there in enumerate(feasible) if is_there]
    front = pareto_front(points, feasible=feasible)
    assert front == [left[place] for place in pareto_front([points[index] for index in left])]


@given(uncertain_points)
def test_certain_is_on_the_front_and_dominated_off_it_for_all_values_inside_the_intervals(
    points: list[Point],
) -> None:
    """By trying every combination of ends of the intervals: nothing between them is more extreme."""
    corners = [
        list(itertools.product(cost.interval or (), quality.interval or ())) for cost, quality in points
    ]
    fronts = [
        [not is_beaten(point, world) for point in world] for world in map(list, itertools.product(*corners))
    ]
    for index, place in enumerate(memberships(points)):
        assert (place == "certain") == all(front[index] for front in fronts)
        assert (place == "dominated") == (not any(front[index] for front in fronts))


@given(uncertain_points)
def test_what_the_intervals_leave_open_is_likely_on_the_front_of_the_values_and_undecided_off_it(
    points: list[Point],
) -> None:
    front = pareto_front([(cost.value, quality.value) for cost, quality in points])
    for index, place in enumerate(memberships(points)):
        if place in ("likely", "undecided"):
            assert (place == "likely") == (index in front)


@given(whole_points)
def test_of_exact_points_the_front_is_certain_and_the_rest_dominated(points: list[tuple[int, int]]) -> None:
    front = pareto_front(points)
    expected = ["certain" if index in front else "dominated" for index in range(len(points))]
    assert memberships(exact_points(*points)) == expected


@given(uncertain_points, st.data())
def test_wider_intervals_settle_nothing(points: list[Point], data: st.DataObject) -> None:
    def wider(quantity: Estimate) -> Estimate:
        assert quantity.interval is not None
        down, up = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
        return within(quantity.interval.low - down, quantity.value, quantity.interval.high + up)

    before = memberships(points)
    after = memberships([(wider(cost), wider(quality)) for cost, quality in points])
    for old, new in zip(before, after, strict=True):
        assert new == old or new in ("likely", "undecided")


@given(uncertain_points)
def test_ratios_that_say_what_the_intervals_say_change_nothing(points: list[Point]) -> None:
    def ratio(i: int, j: int) -> Interval | None:
        mine, other = points[i][0].interval, points[j][0].interval
        assert mine is not None
        assert other is not None
        return Interval(mine.low / other.high, mine.high / other.low)

    assert memberships(points, ratio=ratio) == memberships(points)


def test_a_ratio_decides_what_two_intervals_leave_open() -> None:
    points = [(within(8, 10, 12), exact(75)), (within(9, 11, 13), exact(75))]
    ratios = {(0, 1): Interval(0.88, 0.94), (1, 0): Interval(1.06, 1.13)}
    assert memberships(points) == ["likely", "undecided"]
    assert memberships(points, ratio=lambda i, j: ratios[i, j]) == ["certain", "dominated"]


def test_a_ratio_that_cannot_tell_takes_back_what_two_intervals_decide() -> None:
    points = [(within(8, 9, 10), exact(75)), (within(11, 12, 13), exact(75))]
    assert memberships(points) == ["certain", "dominated"]
    assert memberships(points, ratio=lambda *_: Interval(0.5, 2.0)) == ["likely", "undecided"]
    assert memberships(points, ratio=lambda *_: None) == memberships(points)


def test_a_ratio_is_not_asked_for_where_quality_settles_it() -> None:
    asked = []

    def ratio(i: int, j: int) -> Interval | None:
        asked.append((i, j))
        return None

    memberships(exact_points((1, 70), (2, 80)), ratio=ratio)
    assert asked == [(1, 0)]


def test_a_cost_without_interval_may_be_anything_and_the_best_model_is_on_the_front_at_any_cost() -> None:
    points = [(exact(1), exact(70)), (Estimate(9, None), exact(70)), (Estimate(5, None), exact(80))]
    assert memberships(points) == ["likely", "undecided", "certain"]


def test_infeasible_points_are_called_so_and_beat_nothing() -> None:
    points = exact_points((1, 80), (2, 70), (3, 60))
    places: list[Membership] = ["infeasible", "certain", "dominated"]
    assert memberships(points, feasible=[False, True, True]) == places


@pytest.mark.parametrize(
    "bad", [Estimate(math.nan, None), within(2, 1, 3), within(math.nan, 1, 2), within(0, 1, math.nan)]
)
def test_places_are_refused_to_points_that_are_nowhere(bad: Estimate) -> None:
    with pytest.raises(ValueError, match=r"finite|hold its value"):
        memberships([(bad, exact(1))])


# Hypervolume


@given(whole_points, st.tuples(st.integers(1, 9), st.integers(1, 9)), st.booleans(), st.booleans())
def test_hypervolume_agrees_with_moocore(
    points: list[tuple[int, int]], reference: tuple[int, int], log_cost: bool, log_quality: bool
) -> None:
    def drawn(point: tuple[int, int]) -> tuple[float, float]:
        cost, quality = point
        return (math.log10(cost) if log_cost else cost, math.log10(quality) if log_quality else quality)

    expected = (
        moocore.hypervolume([drawn(point) for point in points], ref=drawn(reference), maximise=[False, True])
        if points
        else 0.0
    )
    area = hypervolume(points, reference, log_cost=log_cost, log_quality=log_quality)
    assert area == pytest.approx(expected, abs=1e-9)


@given(whole_points)
def test_hypervolume_counts_the_squares_that_some_point_beats(points: list[tuple[int, int]]) -> None:
    squares = itertools.product(range(10), range(10))
    beaten = sum(any(cost <= x and quality > y for cost, quality in points) for x, y in squares)
    assert hypervolume(points, (10, 0)) == beaten


@given(whole_points.filter(bool), st.floats(0.001, 1000))
def test_on_a_logarithmic_axis_the_unit_of_cost_does_not_matter(
    points: list[tuple[int, int]], factor: float
) -> None:
    before = hypervolumes({"a": points}, log_cost=True)
    after = hypervolumes({"a": [(factor * cost, quality) for cost, quality in points]}, log_cost=True)
    assert after.by_name["a"] == pytest.approx(before.by_name["a"], abs=1e-9)


def test_strategies_share_one_reference_which_is_told() -> None:
    lines = {"width": [(1.0, 10.0), (2.0, 20.0)], "depth": [(1.0, 10.0), (4.0, 20.0), (8.0, 40.0)]}
    found = hypervolumes(lines)
    assert found.reference == reference_point([*lines["width"], *lines["depth"]]) == (8.0, 10.0)
    assert found.by_name == {"width": 6 * 10.0, "depth": 4 * 10.0}
    fixed = hypervolumes(lines, reference=(16.0, 5.0), log_cost=True)
    assert fixed.reference == (16.0, 5.0)
    assert fixed.by_name["width"] == pytest.approx(5 * math.log10(16) + 10 * math.log10(8))


def test_a_reference_needs_points_and_a_logarithmic_axis_values_above_zero() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        hypervolumes({"width": []})
    with pytest.raises(ValueError, match="above zero, got 0"):
        hypervolume([(0, 5)], (10, 1), log_cost=True)


# Power laws


@given(
    st.floats(0.1, 3) | st.floats(-2, -0.1),
    st.floats(0.1, 10),
    st.lists(st.integers(1, 50), min_size=3, max_size=9, unique=True),
)
def test_a_power_law_is_found_as_it_is(exponent: float, scale: float, xs: list[int]) -> None:
    law = fit_power_law([(x, exact(scale * x**exponent)) for x in xs])
    assert law is not None
    assert law.exponent.value == pytest.approx(exponent, abs=1e-9)
    assert law.exponent.interval == pytest.approx((exponent, exponent), abs=1e-6)
    assert law.scale == pytest.approx(scale, rel=1e-9)
    assert law.at(7.0) == pytest.approx(scale * 7.0**exponent, rel=1e-9)
    assert law.spread == pytest.approx(1)
    assert law.r_squared == pytest.approx(1)
    assert law.points == len(xs)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12, unique_by=lambda point: point[0]))
def test_the_fit_of_exact_points_is_the_regression_of_their_logarithms(
    points: list[tuple[float, float]],
) -> None:
    xs, ys = ([math.log(value) for value in axis] for axis in zip(*points, strict=True))
    assume(max(xs) - min(xs) > 0.1)
    assume(max(ys) - min(ys) > 0.1)
    expected = linregress(xs, ys)
    law = fit_power_law([(x, exact(y)) for x, y in points])
    assert law is not None
    assert law.exponent.interval is not None
    assert law.exponent.value == pytest.approx(expected.slope, abs=1e-7)
    half_width = student_t.ppf(0.975, len(points) - 2) * expected.stderr
    assert law.exponent.interval.high - law.exponent.value == pytest.approx(half_width, abs=1e-5)
    assert law.r_squared == pytest.approx(expected.rvalue**2, abs=1e-7)
    assert law.scale == pytest.approx(math.exp(expected.intercept), rel=1e-6)


def test_points_on_a_line_are_believed_no_further_than_their_own_intervals() -> None:
    points = [(math.exp(x), give_or_take(math.exp(2 * x), math.exp(0.1))) for x in (0, 1, 2)]
    law = fit_power_law(points)
    assert law is not None
    # Weights -1/2, 0 and 1/2, each with a half-width of 0.1.
    assert law.exponent.interval == pytest.approx((2 - 0.1 / math.sqrt(2), 2 + 0.1 / math.sqrt(2)))


@pytest.mark.parametrize("ends", [(1 / 1.2, 1.05), (1 / 1.05, 1.2)])
def test_of_a_lopsided_interval_the_wider_side_counts(ends: tuple[float, float]) -> None:
    low, high = ends
    law = fit_power_law([(x, within(low * x, x, high * x)) for x in (1.0, math.e, math.e**2)])
    assert law is not None
    half_width = math.log(1.2) / math.sqrt(2)
    assert law.exponent.interval == pytest.approx((1 - half_width, 1 + half_width))


@given(st.lists(st.tuples(st.integers(1, 99), numbers), min_size=3, max_size=8), st.floats(1, 2))
def test_wider_intervals_of_the_points_never_narrow_that_of_the_exponent(
    points: list[tuple[int, float]], factor: float
) -> None:
    law = fit_power_law([(x, exact(y)) for x, y in points])
    wider = fit_power_law([(x, give_or_take(y, factor)) for x, y in points])
    if law is None or wider is None:
        assert law == wider
        assert len({x for x, _ in points}) == 1
        return
    assert law.exponent.interval is not None
    assert wider.exponent.interval is not None
    assert wider.exponent.value == law.exponent.value
    assert wider.exponent.interval.low <= law.exponent.interval.low
    assert wider.exponent.interval.high >= law.exponent.interval.high


def test_a_slow_machine_leaves_the_exponent_as_it_is() -> None:
    points = [(1.0, 2.0), (2.0, 3.0), (4.0, 7.0), (8.0, 11.0)]
    law = fit_power_law([(x, give_or_take(y, 1.1)) for x, y in points])
    slowed = fit_power_law([(x, give_or_take(1.7 * y, 1.1)) for x, y in points])
    assert law is not None
    assert slowed is not None
    assert slowed.exponent.value == pytest.approx(law.exponent.value)
    assert slowed.exponent.interval == pytest.approx(law.exponent.interval)
    assert slowed.scale == pytest.approx(1.7 * law.scale)


@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_the_interval_of_an_exponent_covers_the_truth_as_often_as_it_says(spread: float) -> None:
    rng = random.Random(11)
    trials, covered = 2000, 0
    for _ in range(trials):
        law = fit_power_law([(x, exact(math.exp(rng.gauss(0, spread)) * x**0.8)) for x in (1, 2, 4, 8, 16)])
        assert law is not None
        assert law.exponent.interval is not None
        covered += law.exponent.interval.low <= 0.8 <= law.exponent.interval.high
    assert abs(covered / trials - 0.95) < STANDARD_ERRORS * math.sqrt(0.95 * 0.05 / trials)


def test_two_points_have_no_law_nor_have_points_at_one_x() -> None:
    assert fit_power_law([(1, exact(1)), (2, exact(2))]) is None
    assert fit_power_law([(3, exact(1)), (3, exact(2)), (3, exact(4))]) is None


def test_a_quantity_that_does_not_vary_has_the_exponent_zero_and_no_r_squared() -> None:
    law = fit_power_law([(x, exact(5)) for x in (1, 2, 3)])
    assert law is not None
    assert law.exponent.value == pytest.approx(0)
    assert law.r_squared is None


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_power_law_refuses_what_has_no_logarithm(bad: float) -> None:
    with pytest.raises(ValueError, match="finite values above zero"):
        fit_power_law([(1, exact(1)), (2, exact(2)), (bad, exact(3))])
    with pytest.raises(ValueError, match="finite values above zero"):
        fit_power_law([(1, exact(1)), (2, exact(2)), (3, Estimate(bad, None))])


# What predicts time


@given(st.lists(st.tuples(numbers, numbers), min_size=4, max_size=12, unique_by=lambda point: point[0]))
def test_a_correlation_and_its_interval_are_those_of_the_logarithms(
    points: list[tuple[float, float]],
) -> None:
    times_s, counts = zip(*points, strict=True)
    logs = [[math.log(value) for value in axis] for axis in (times_s, counts)]
    assume(all(max(axis) - min(axis) > 0.1 for axis in logs))
    expected = pearsonr(*logs)
    (predictor,) = rank_predictors(times_s, {"macs": counts})
    assert predictor.correlation is not None
    assert predictor.correlation.value == pytest.approx(expected.statistic, abs=1e-7)
    assert predictor.correlation.interval == pytest.approx(tuple(expected.confidence_interval()), abs=1e-5)
    assert predictor.rank == 1


def told_apart(models: int, draw: Callable[[random.Random], tuple[float, float, float]]) -> float:
    """In what share of trials two counts are told apart; draws are logarithms of a time and two counts."""
    rng = random.Random(23)
    trials = 1500
    told = 0
    for _ in range(trials):
        draws = [draw(rng) for _ in range(models)]
        times_s, macs, params = ([math.exp(value) for value in axis] for axis in zip(*draws, strict=True))
        told += rank_predictors(times_s, {"macs": macs, "params": params})[-1].rank == 2
    return told / trials


@pytest.mark.parametrize("models", [5, 12])
def test_two_counts_that_predict_equally_well_are_rarely_told_apart(models: int) -> None:
    def time_and_two_shadows(rng: random.Random) -> tuple[float, float, float]:
        time = rng.gauss(0, 1)
        return (time, time + rng.gauss(0, 0.3), time + rng.gauss(0, 0.3))

    def product_of_two(rng: random.Random) -> tuple[float, float, float]:
        one, other = rng.gauss(0, 1), rng.gauss(0, 1)
        return (one + other, one, other)

    most = 0.05 + STANDARD_ERRORS * math.sqrt(0.05 * 0.95 / 1500)
    assert told_apart(models, time_and_two_shadows) < most
    assert told_apart(models, product_of_two) < most


def test_a_count_that_predicts_better_than_another_is_ranked_before_it() -> None:
    rng = random.Random(29)
    times_s = [2.0**step for step in range(12)]
    counts = {
        "params": [time * math.exp(rng.gauss(0, 1.5)) for time in times_s],
        "activations": [time**0.7 * math.exp(rng.gauss(0, 0.05)) for time in times_s],
        "macs": [time * math.exp(rng.gauss(0, 0.5)) for time in times_s],
    }
    ranked = rank_predictors(times_s, counts)
    assert [(predictor.name, predictor.rank) for predictor in ranked] == [
        ("activations", 1),
        ("macs", 2),
        ("params", 3),
    ]


@given(
    st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12), st.floats(0.01, 100), st.floats(0.2, 3)
)
def test_counts_that_are_a_power_of_each_other_share_a_rank(
    points: list[tuple[float, float]], factor: float, power: float
) -> None:
    times_s, counts = zip(*points, strict=True)
    ranked = rank_predictors(times_s, {"macs": counts, "other": [factor * n**power for n in counts]})
    assert len({predictor.rank for predictor in ranked}) == 1


def test_a_count_that_does_not_vary_predicts_nothing_and_stands_last() -> None:
    ranked = rank_predictors([1, 2, 4, 9], {"params": [5, 5, 5, 5], "macs": [1, 2, 4, 8]})
    assert [predictor.name for predictor in ranked] == ["macs", "params"]
    assert (ranked[1].correlation, ranked[1].rank) == (None, None)


def test_three_models_have_a_correlation_without_interval_and_tell_no_counts_apart() -> None:
    ranked = rank_predictors([1, 2, 4], {"macs": [1, 2, 4], "params": [1, 9, 2]})
    assert [predictor.rank for predictor in ranked] == [1, 1]
    assert all(p.correlation is not None and p.correlation.interval is None for p in ranked)
    assert rank_predictors([1, 2], {"macs": [1, 2]})[0].correlation is None


def test_counts_must_be_of_the_same_models_as_the_times() -> None:
    with pytest.raises(ValueError, match="zip"):
        rank_predictors([1, 2, 3, 4], {"macs": [1, 2, 3]})


# Theory


@pytest.mark.parametrize(
    ("strategy", "params", "activations"),
    # Table of complexities of Dollár et al.: all have s times the MACs.
    [
        ("depth", 1, 1),
        ("width", 1, 0.5),
        ("resolution", 0, 1),
        ("dw", 1, 0.75),
        ("dr", 0.5, 1),
        ("wr", 0.5, 0.75),
        ("dwr", 2 / 3, 5 / 6),
        ("fast", 0.9, 0.6),
        ("d1_w2_r1", 0.75, 0.75),
    ],
)
def test_theory_has_the_exponents_of_its_source(strategy: str, params: float, activations: float) -> None:
    found = growth_exponents(strategy)
    assert found is not None
    assert (found.macs, found.params, found.activations) == pytest.approx((1, params, activations))
    assert found.of_macs == found


@given(
    st.sampled_from(["depth", "width", "resolution", "dwr", "fast", "d1_w2_r1", "compound"]),
    st.floats(0.5, 5),
    st.builds(Bases, st.floats(1.05, 2), st.floats(1.05, 2), st.floats(1.05, 2)),
)
def test_a_stack_of_plain_convolutions_grows_as_theory_says(strategy: str, phi: float, bases: Bases) -> None:
    def stack(depth: float, channels: float, side_px: float) -> tuple[float, float, float]:
        params = depth * 9 * channels**2
        return (params * side_px**2, params, depth * channels * side_px**2)

    scaled = factors(strategy, phi, bases)
    grown = stack(8 * scaled.depth, 64 * scaled.width, 32 * scaled.resolution)
    growths = [math.log2(now / then) for now, then in zip(grown, stack(8, 64, 32), strict=True)]
    found = growth_exponents(strategy, bases)
    assert found is not None
    assert growths == pytest.approx([phi * found.macs, phi * found.params, phi * found.activations], abs=1e-9)
    assert found.of_macs.params == pytest.approx(growths[1] / growths[0], abs=1e-9)


@pytest.mark.parametrize("strategy", ["published", "base", "imagenet"])
def test_theory_is_silent_on_what_has_no_formula(strategy: str) -> None:
    assert growth_exponents(strategy) is None


# Equal cost


@given(curves, numbers)
def test_a_reading_is_the_curve_between_its_points_and_nothing_outside_them(
    points: list[tuple[float, float]], x: float
) -> None:
    reading = read_at(exact_points(*points), x)
    expected = loglog_at(points, x)
    if expected is None:
        assert reading.value is None
        assert reading.silence == ("below its range" if x < min(points)[0] else "above its range")
        return
    assert reading.silence is None
    assert reading.value is not None
    assert reading.value.value == pytest.approx(expected)
    assert reading.value.interval == pytest.approx((expected, expected))
    read = [(share, math.log(points[place][1])) for place, share in reading.weights]
    assert math.exp(sum(share * y for share, y in read)) == pytest.approx(expected)


@given(curves, st.floats(1, 1.5), st.integers(0, 5))
def test_at_a_measured_x_the_reading_is_that_point_and_its_interval(
    points: list[tuple[float, float]], factor: float, place: int
) -> None:
    x, y = points[place % len(points)]
    reading = read_at([(exact(x), give_or_take(y, factor)) for x, y in points], x)
    assert reading.value is not None
    assert reading.value.value == pytest.approx(y)
    assert reading.value.interval == pytest.approx((y / factor, y * factor))


@given(
    st.lists(
        st.tuples(st.integers(1, 40), numbers), min_size=2, max_size=6, unique_by=lambda point: point[0]
    ),
    st.floats(1.001, 1.5),
    st.floats(-1, 1),
    st.floats(0, 1),
)
def test_a_reading_holds_what_the_curve_says_wherever_it_lies_inside_its_points_intervals(
    points: list[tuple[int, float]], factor: float, shift: float, share: float
) -> None:
    """The whole curve moved to the side, and read on the same piece."""
    points.sort()
    x = points[0][0] * (points[-1][0] / points[0][0]) ** share
    reading = read_at([(give_or_take(x, factor), exact(y)) for x, y in points], x)
    assume(reading.value is not None)
    moved = loglog_at([(x * factor**shift, y) for x, y in points], x)
    bends = any(min(x, x / factor**shift) <= px <= max(x, x / factor**shift) for px, _ in points[1:-1])
    assume(moved is not None and not bends)
    assert moved is not None
    assert reading.value is not None
    assert reading.value.interval is not None
    assert reading.value.interval.low <= moved * (1 + 1e-9)
    assert reading.value.interval.high >= moved * (1 - 1e-9)


def test_an_uncertain_latency_makes_the_macs_at_equal_latency_uncertain() -> None:
    """MACs that grow with the square of latency: 10 % of the one are 21 % of the other."""
    line = [(give_or_take(10.0, 1.1), exact(100.0)), (give_or_take(40.0, 1.1), exact(1600.0))]
    value = read_at(line, 20.0).value
    assert value is not None
    assert value.value == pytest.approx(400)
    assert value.interval == pytest.approx((400 / 1.21, 400 * 1.21))


@pytest.mark.parametrize("ys", [(1.0, 2.0, 16.0), (1.0, 8.0, 16.0)])
def test_at_a_point_the_steeper_side_of_the_curve_counts(ys: tuple[float, float, float]) -> None:
    line = [(give_or_take(x, 1.1), exact(y)) for x, y in zip((1.0, 2.0, 4.0), ys, strict=True)]
    value = read_at(line, 2.0).value
    assert value is not None
    assert value.interval == pytest.approx((ys[1] / 1.1**3, ys[1] * 1.1**3))


@pytest.mark.parametrize(("slope", "ends"), [(2, (1.1**-2, 1.3**2)), (-2, (1.3**-2, 1.1**2))])
def test_what_may_be_slower_may_deliver_less_where_the_curve_rises_and_more_where_it_falls(
    slope: int, ends: tuple[float, float]
) -> None:
    line = [(within(x / 1.3, x, x * 1.1), exact(100 * x**slope)) for x in (1.0, 4.0)]
    value = read_at(line, 2.0).value
    assert value is not None
    assert value.interval == pytest.approx([value.value * end for end in ends])


@pytest.mark.parametrize("bare", [(Estimate(1.0, None), exact(1.0)), (exact(1.0), Estimate(1.0, None))])
def test_a_reading_from_a_point_without_interval_has_none(bare: Point) -> None:
    line = [bare, (exact(4.0), exact(4.0)), (exact(9.0), exact(9.0))]
    near, far = read_at(line, 2.0).value, read_at(line, 5.0).value
    assert near is not None
    assert far is not None
    assert near.interval is None
    assert far.interval is not None


def test_a_single_point_of_uncertain_x_is_no_curve_to_be_moved_along() -> None:
    reading = read_at([(give_or_take(2.0, 1.1), exact(5.0))], 2.0)
    assert reading.value is not None
    assert reading.value.value == pytest.approx(5)
    assert reading.value.interval is None


def test_a_line_without_points_says_nothing() -> None:
    assert read_at([], 1.0).silence == "no points"
    assert common_range([]) is None
    assert common_range([exact_points((1, 1)), []]) is None


@given(st.lists(curves, min_size=1, max_size=4))
def test_the_common_range_is_where_every_line_can_be_read(curves: list[list[tuple[float, float]]]) -> None:
    lines = {str(number): exact_points(*points) for number, points in enumerate(curves)}
    shared = common_range(lines.values())
    for x in {x for points in curves for x, _ in points}:
        is_read_everywhere = all(reading.value is not None for reading in at_equal(lines, x).values())
        assert is_read_everywhere == (shared is not None and shared.low <= x <= shared.high)


@pytest.mark.parametrize("bad", [0.0, -2.0, math.nan])
def test_a_curve_on_logarithmic_axes_refuses_what_has_no_logarithm(bad: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        read_at(exact_points((1, 1), (4, 4)), bad)
    with pytest.raises(ValueError, match="above zero"):
        read_at(exact_points((1, 1), (4, bad)), 2)


# Roofline


@given(st.floats(1, 1e12), st.floats(1, 1e12), st.floats(1e-6, 10), st.floats(1, 1e15), st.floats(1, 1e12))
def test_a_share_of_one_is_a_call_as_long_as_the_slower_of_its_arithmetic_and_its_traffic(
    macs: float, moved_bytes: float, latency_s: float, macs_per_s: float, bytes_per_s: float
) -> None:
    point = roofline_point(
        macs=macs,
        moved_bytes=moved_bytes,
        latency_s=exact(latency_s),
        ceilings=Ceilings(macs_per_s, bytes_per_s),
    )
    arithmetic_s, traffic_s = macs / macs_per_s, moved_bytes / bytes_per_s
    assert point.share.value * latency_s == pytest.approx(max(arithmetic_s, traffic_s), rel=1e-9)
    assert point.macs_per_s.value * latency_s == pytest.approx(macs, rel=1e-9)
    assert point.share.value * point.ceiling_macs_per_s == pytest.approx(point.macs_per_s.value, rel=1e-9)
    if not math.isclose(arithmetic_s, traffic_s):
        assert point.bound == ("compute" if arithmetic_s > traffic_s else "memory")


def test_the_share_has_the_interval_of_the_latency_turned_round() -> None:
    ceilings = Ceilings(macs_per_s=1e11, bytes_per_s=1e10)
    point = roofline_point(macs=1e9, moved_bytes=1e7, latency_s=within(0.016, 0.02, 0.04), ceilings=ceilings)
    assert (point.bound, point.macs_per_byte) == ("compute", 100)
    assert point.share.value == pytest.approx(0.5)
    assert point.share.interval == pytest.approx((0.25, 0.625))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_roofline_refuses_what_is_not_above_zero(bad: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Ceilings(bad, 1e10)
    with pytest.raises(ValueError, match="above zero"):
        roofline_point(macs=1e9, moved_bytes=bad, latency_s=exact(1), ceilings=Ceilings(1e11, 1e10))

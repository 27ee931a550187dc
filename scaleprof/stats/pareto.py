"""Pareto fronts over a cost to be small and a quality to be large, and how sure each place on one is.

A point beats another if it is no worse in both and better in one, so that equal points stay together. With
only costs there is no such front: the smallest model beats all others in every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from scaleprof.stats.intervals import Estimate, Interval

Membership = Literal["certain", "likely", "undecided", "dominated", "infeasible"]

# `ratio(i, j)`: how many times point j's cost point i's is, by a comparison of the two; None without one.
Ratio = Callable[[int, int], Interval | None]

_Beats = Literal["always", "perhaps", "never"]


def pareto_front(
    points: Sequence[tuple[float, float]], *, feasible: Sequence[bool] | None = None
) -> list[int]:
    """Indices of the points `(cost, quality)` that no other point beats, by ascending cost.

    Args:
        points: each with its cost and its quality.
        feasible: which points are there to be chosen; all, unless given. The others beat nothing.

    >>> pareto_front([(1, 1), (2, 3), (2, 2), (3, 3), (1, 1)])
    [0, 4, 1]
    >>> pareto_front([(1, 1), (2, 3), (2, 2)], feasible=[True, False, True])
    [0, 2]

    Raises:
        ValueError: a coordinate is NaN or infinite; such a point has no place on a front.
    """
    for cost, quality in points:
        if not (math.isfinite(cost) and math.isfinite(quality)):
            raise ValueError(f"a front needs finite points, got ({cost}, {quality})")
    front: list[int] = []
    best = -math.inf
    for index in sorted(_chosen(len(points), feasible), key=lambda i: (points[i][0], -points[i][1])):
        cost, quality = points[index]
        is_tie = bool(front) and points[front[-1]] == (cost, quality)
        if quality > best or is_tie:
            front.append(index)
            best = quality
    return front


def memberships(
    points: Sequence[tuple[Estimate, Estimate]],
    *,
    ratio: Ratio | None = None,
    feasible: Sequence[bool] | None = None,
) -> list[Membership]:
    """How sure the place of each point `(cost, quality)` is, whatever the true values in the intervals.

    - `certain`: no other point beats it, for any values inside the intervals.
    - `dominated`: another point beats it, for all values inside the intervals.
    - `likely`: neither, and by the points' own values it is on the front.
    - `undecided`: neither, and by the points' own values it is off the front.

    Wider intervals make points likely or undecided, never certain or dominated; where all are exact, certain
    is the front and dominated the rest. Each interval holds with 95 %, not all of them at once. A quantity
    without an interval may be anything; an exact one has the interval `[value, value]`.

    Args:
        points: each with its cost and its quality.
        ratio: where it knows the ratio of two costs, as from rounds that both models are in, that decides
            which of the two is cheaper, and not their own intervals. It is asked only where it matters.
        feasible: which points are there to be chosen; all, unless given. The others are `infeasible`, and
            beat nothing.

    >>> def exact(x): return Estimate(x, Interval(x, x))
    >>> fast, slow = Estimate(1.0, Interval(0.8, 1.4)), Estimate(1.3, Interval(1.1, 1.5))
    >>> memberships([(fast, exact(75.0)), (slow, exact(75.0)), (slow, exact(70.0)), (exact(2), exact(60))])
    ['likely', 'undecided', 'undecided', 'dominated']
    >>> in_shared_rounds = {(0, 1): Interval(0.7, 0.8), (1, 0): Interval(1.25, 1.4)}
    >>> memberships(
    ...     [(fast, exact(75.0)), (slow, exact(75.0))], ratio=lambda i, j: in_shared_rounds[i, j]
    ... )
    ['certain', 'dominated']

    Raises:
        ValueError: a value is NaN or infinite, or an interval does not hold its value.
    """
    on_front = set(pareto_front([(cost.value, quality.value) for cost, quality in points], feasible=feasible))
    boxes = [_Box(_ends(cost), _ends(quality)) for cost, quality in points]
    chosen = _chosen(len(points), feasible)
    places: list[Membership] = ["infeasible"] * len(points)
    for i in chosen:
        rivals = _rivals(i, chosen, boxes, any_cost=ratio is not None)
        beaten = (_beats(boxes[j], boxes[i], ratio and ratio(j, i)) for j in rivals)
        places[i] = _membership(beaten, on_front=i in on_front)
    return places


class _Box(NamedTuple):
    """Where the true point may lie."""

    cost: Interval
    quality: Interval


def _rivals(i: int, chosen: Sequence[int], boxes: Sequence[_Box], *, any_cost: bool) -> list[int]:
    """The other points that are perhaps as good as point i and, where their intervals tell, as cheap."""
    dearest, worst = boxes[i].cost.high, boxes[i].quality.low
    return [
        j
        for j in chosen
        if boxes[j].quality.high >= worst and (any_cost or boxes[j].cost.low <= dearest) and j != i
    ]


def _membership(beaten: Iterable[_Beats], *, on_front: bool) -> Membership:
    """The place of a point that each of its rivals beats always, perhaps or never."""
    may_be_beaten = False
    for beats in beaten:
        if beats == "always":
            return "dominated"
        may_be_beaten = may_be_beaten or beats == "perhaps"
    if not may_be_beaten:
        return "certain"
    return "likely" if on_front else "undecided"


def _beats(rival: _Box, point: _Box, ratio: Interval | None) -> _Beats:
    """Whether a rival beats a point: its worst corner the other's best, its best the other's worst, or none.

    `ratio` is that of the rival's cost to the point's, instead of the two costs.
    """
    cost, against = (rival.cost, point.cost) if ratio is None else (ratio, Interval(1.0, 1.0))
    if not _is_better(cost.low, rival.quality.high, against.high, point.quality.low):
        return "never"
    always = _is_better(cost.high, rival.quality.low, against.low, point.quality.high)
    return "always" if always else "perhaps"


def _is_better(cost: float, quality: float, other_cost: float, other_quality: float) -> bool:
    """Whether the first point is no worse in both and better in one."""
    no_worse = cost <= other_cost and quality >= other_quality
    return no_worse and (cost < other_cost or quality > other_quality)


def _ends(quantity: Estimate) -> Interval:
    if quantity.interval is None:
        return Interval(-math.inf, math.inf)
    if not quantity.interval.low <= quantity.value <= quantity.interval.high:
        raise ValueError(f"an interval must hold its value: {quantity.value} is not in {quantity.interval}")
    return quantity.interval


def _chosen(count: int, feasible: Sequence[bool] | None) -> list[int]:
    """The indices of the points that are there to be chosen."""
    if feasible is None:
        return list(range(count))
    return [index for index, is_there in zip(range(count), feasible, strict=True) if is_there]

"""How much of the chart a front has under it: one number a strategy, to set strategies in order by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from scaleprof.stats.pareto import pareto_front

Point = tuple[float, float]


class Hypervolumes(msgspec.Struct, frozen=True):
    """Hypervolumes by name, and what they were measured against, without which they say nothing.

    `reference` is a cost and a quality; a logarithmic axis is measured in decades.
    """

    by_name: dict[str, float]
    reference: Point
    log_cost: bool
    log_quality: bool


def hypervolumes(
    lines: Mapping[str, Sequence[Point]],
    *,
    reference: Point | None = None,
    log_cost: bool = False,
    log_quality: bool = False,
) -> Hypervolumes:
    """The hypervolume of each set of points `(cost, quality)` against one reference point for all of them.

    Args:
        lines: points by name, at least one in all.
        reference: the largest cost and the smallest quality of all points, unless given; to compare with
            another report, give the reference that it printed.
        log_cost: as in `hypervolume`.
        log_quality: as in `hypervolume`.

    >>> hypervolumes({"width": [(1, 10), (2, 20)], "depth": [(1, 10), (4, 15)]})
    Hypervolumes(by_name={'width': 20.0, 'depth': 0.0}, reference=(4, 10), log_cost=False, log_quality=False)
    """
    against = reference or reference_point([point for line in lines.values() for point in line])
    by_name = {
        name: hypervolume(line, against, log_cost=log_cost, log_quality=log_quality)
        for name, line in lines.items()
    }
    return Hypervolumes(by_name, against, log_cost, log_quality)


def reference_point(points: Sequence[Point]) -> Point:
    """The largest cost and the smallest quality of the points.

    >>> reference_point([(1, 70), (5, 80), (6, 75)])
    (6, 70)

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError("a reference point needs at least one point")
    return (max(cost for cost, _ in points), min(quality for _, quality in points))


def hypervolume(
    points: Sequence[Point], reference: Point, *, log_cost: bool = False, log_quality: bool = False
) -> float:
    """The area of all that some point beats and that itself beats the reference.

    That is the area between the front's staircase and the reference, in the unit of cost times that of
    quality. Points that do not beat the reference add nothing (Zitzler and Thiele 1999,
    doi:10.1109/4235.797969; for two objectives it is a sum of rectangles).

    Logarithms go with logarithmic axes: then it is the area that the chart shows, a doubling counts alike
    wherever it lies, and the unit of cost does not matter. On plain axes the dearest models are all of it.

    >>> hypervolume([(1, 2), (2, 3), (3, 1)], reference=(4, 0))
    8.0
    >>> hypervolume([(1, 2), (10, 3)], reference=(100, 0), log_cost=True)
    5.0

    Raises:
        ValueError: a logarithmic axis has a value that is not above zero.
    """
    at_cost, at_quality = _scale(log_cost), _scale(log_quality)
    edge, floor = at_cost(reference[0]), at_quality(reference[1])
    area = 0.0
    for cost, quality in (points[index] for index in pareto_front(points)):
        step, width = at_quality(quality) - floor, edge - at_cost(cost)
        if step > 0 and width > 0:
            area += step * width
            floor += step
    return area


def _scale(is_log: bool) -> Callable[[float], float]:
    return _decades if is_log else float


def _decades(value: float) -> float:
    if value <= 0:
        raise ValueError(f"a logarithmic axis needs values above zero, got {value}")
    return math.log10(value)

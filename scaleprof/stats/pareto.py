"""Pareto fronts over a cost to be small and a quality to be large."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points `(cost, quality)` that no other point beats, by ascending cost.

    A point is beaten by one that is no worse in both and better in one; so equal points stay together.

    >>> pareto_front([(1, 1), (2, 3), (2, 2), (3, 3), (1, 1)])
    [0, 4, 1]

    Raises:
        ValueError: a coordinate is NaN or infinite; such a point has no place on a front.
    """
    for cost, quality in points:
        if not (math.isfinite(cost) and math.isfinite(quality)):
            raise ValueError(f"a front needs finite points, got ({cost}, {quality})")
    front: list[int] = []
    best = -math.inf
    by_cost = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    for index in by_cost:
        cost, quality = points[index]
        is_tie = bool(front) and points[front[-1]] == (cost, quality)
        if quality > best or is_tie:
            front.append(index)
            best = quality
    return front

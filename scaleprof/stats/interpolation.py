"""What a curve says between its points: straight on log–log axes, and silent outside its range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def loglog_weights(xs: Sequence[float], x: float) -> list[tuple[int, float]] | None:
    """Between which points the curve is read at `x`, and with what share of each; None outside its range.

    The logarithm of the curve's value at `x` is the sum of the shares times the logarithms of the values at
    these points. `xs` may be in any order; a point at `x` itself has it all.

    >>> loglog_weights([1, 4, 16], 8)
    [(1, 0.5), (2, 0.5)]
    >>> loglog_weights([1, 4], 5) is None
    True
    """
    places = sorted(range(len(xs)), key=lambda place: xs[place])
    for place in places:
        if xs[place] == x:
            return [(place, 1.0)]
    for before, after in itertools.pairwise(places):
        if xs[before] < x < xs[after]:
            share = math.log(x / xs[before]) / math.log(xs[after] / xs[before])
            return [(before, 1 - share), (after, share)]
    return None


def loglog_at(points: Sequence[tuple[float, float]], x: float) -> float | None:
    """The curve's value at `x`, by straight lines between points on log–log axes; None outside its range.

    >>> round(loglog_at([(1, 10), (4, 40)], 2), 9)
    20.0
    >>> loglog_at([(1, 10), (4, 40)], 5) is None
    True
    """
    weights = loglog_weights([point[0] for point in points], x)
    if weights is None:
        return None
    return math.exp(sum(share * math.log(points[place][1]) for place, share in weights))

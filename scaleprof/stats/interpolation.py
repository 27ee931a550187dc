"""What a curve says between its points: straight on log–log axes, and silent outside its range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def loglog_at(points: Sequence[tuple[float, float]], x: float) -> float | None:
    """The curve's value at `x`, by straight lines between points on log–log axes; None outside its range.

    >>> loglog_at([(1, 10), (4, 40)], 2)
    20.0
    >>> loglog_at([(1, 10), (4, 40)], 5) is None
    True
    """
    ordered = sorted(points)
    for (x0, y0), (x1, y1) in itertools.pairwise(ordered):
        if x0 <= x <= x1:
            if x0 == x1:
                return float(y0)
            share = math.log(x / x0) / math.log(x1 / x0)
            return float(y0 * (y1 / y0) ** share)
    return None

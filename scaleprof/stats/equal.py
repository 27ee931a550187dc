"""What curves deliver at the same x: strategies at equal latency, equal MACs, equal memory.

A curve is straight between its points on log–log axes and says nothing outside their range: nothing is ever
extrapolated. Points need not have been measured at x, so that no model need have what is read here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from scaleprof.stats.interpolation import loglog_weights
from scaleprof.stats.intervals import Estimate, Interval

# Points `(x, y)`, all above zero, in any order.
Line = Sequence[tuple[Estimate, Estimate]]
Silence = Literal["no points", "below its range", "above its range"]


class Reading(msgspec.Struct, frozen=True):
    """What a curve says at some x: a value, or why there is none.

    `weights` tells between which points it was read, and the share of each in the value's logarithm: with
    them, two readings of times can be compared in the rounds that their models share, more sharply than by
    their intervals (`scaleprof.stats.contrasts.contrast`). `measured` is the range of the points' x.
    """

    value: Estimate | None
    silence: Silence | None
    weights: tuple[tuple[int, float], ...]
    measured: Interval | None


def at_equal(lines: Mapping[str, Line], x: float) -> dict[str, Reading]:
    """What each line delivers at x.

    >>> def exact(x): return Estimate(x, Interval(x, x))
    >>> width = [(exact(1.0), exact(10.0)), (exact(4.0), exact(40.0))]
    >>> readings = at_equal({"width": width, "depth": width[:1]}, 2.0)
    >>> round(readings["width"].value.value, 9), readings["depth"].silence
    (20.0, 'above its range')
    """
    return {name: read_at(line, x) for name, line in lines.items()}


def read_at(line: Line, x: float) -> Reading:
    """What the curve through a line's points says at x.

    The interval holds what the ends of the points' own intervals make of the reading, both ends together:

    - those of y, with the share that each point has in it;
    - those of x, each point's with the same share, turned into y by the slope there: a curve that lies
      farther to the right by a factor says at x what it said before it (the first order of it; at a point
      the steeper of the slopes on its two sides counts).

    There is none where a point that is read has none in x or y.

    Raises:
        ValueError: a value is not above zero.
    """
    _require_positive(x, line)
    xs = [point.value for point, _ in line]
    weights = loglog_weights(xs, x)
    if not xs:
        return Reading(None, "no points", (), None)
    measured = Interval(min(xs), max(xs))
    if weights is None:
        return Reading(None, "below its range" if x < measured.low else "above its range", (), measured)
    value = math.exp(math.fsum(share * math.log(line[place][1].value) for place, share in weights))
    interval = _interval(line, weights, _slopes(line, x))
    held = interval and Interval(min(value, interval.low), max(value, interval.high))
    return Reading(Estimate(value, held), None, tuple(weights), measured)


def common_range(lines: Iterable[Line]) -> Interval | None:
    """The x at which every line can be read; None if there is none such.

    >>> def exact(x): return Estimate(x, Interval(x, x))
    >>> def line(*xs): return [(exact(x), exact(1.0)) for x in xs]
    >>> common_range([line(1, 4, 9), line(2, 16)]), common_range([line(1, 2), line(3, 4)])
    (Interval(low=2, high=9), None)
    """
    ranges = [[point.value for point, _ in line] for line in lines]
    if not ranges or not all(ranges):
        return None
    low, high = max(map(min, ranges)), min(map(max, ranges))
    return Interval(low, high) if low <= high else None


def _interval(line: Line, weights: Sequence[tuple[int, float]], slopes: Sequence[float]) -> Interval | None:
    read = [(share, *line[place]) for place, share in weights]
    x_low = x_high = y_low = y_high = 0.0
    for share, x, y in read:
        if x.interval is None or y.interval is None:
            return None
        x_low += share * math.log(x.interval.low / x.value)
        x_high += share * math.log(x.interval.high / x.value)
        y_low += share * math.log(y.interval.low)
        y_high += share * math.log(y.interval.high)
    if not slopes and x_low < x_high:
        return None
    shifts = [0.0, *(-slope * end for slope in slopes for end in (x_low, x_high))]
    return Interval(math.exp(y_low + min(shifts)), math.exp(y_high + max(shifts)))


def _slopes(line: Line, x: float) -> list[float]:
    """The slopes on log–log axes of the pieces of the curve that x is on: one, or two at a point."""
    points = sorted((x.value, y.value) for x, y in line)
    return [
        math.log(y_after / y_before) / math.log(after / before)
        for (before, y_before), (after, y_after) in itertools.pairwise(points)
        if before <= x <= after and before < after
    ]


def _require_positive(x: float, line: Line) -> None:
    ends = [
        end for point in line for quantity in point for end in (quantity.value, *(quantity.interval or ()))
    ]
    for value in (x, *ends):
        if not 0 < value < math.inf:
            raise ValueError(f"a curve on log–log axes needs finite values above zero, got {value}")

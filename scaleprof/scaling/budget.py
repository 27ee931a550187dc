"""Finding the scale whose cost is nearest to a budget.

A strategy is a curve: to each requested growth `2^x` (x is called `growth_log2`; it is φ before matching)
it gives factors, and these give whole numbers. Along the curve the network changes in steps; the stretch
of x on which it stays the same is a cell. The search looks at cells, so that it never misses a nearer
neighbour, and counts as few of them as it can, since counting is the expensive part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import msgspec

from scaleprof.errors import UsageError

# Edges of cells are found to this share of a doubling; no two integers change that close to each other
# unless they change together.
_EDGE = 1e-11
_EDGE_STEPS = 60
# How far one step may jump, in doublings, and how small a slope it may assume.
_MAX_JUMP = 4.0
_MIN_SLOPE, _MAX_SLOPE = 0.25, 1.5
# How far on, in doublings, a cost is looked at again that has not moved yet.
_FIRST_STEPS = (0.5, 1.0, 2.0, 4.0)
# A step from one side of the target is to end on the other, not far from it.
_OVERSHOOT = 1.25
_MAX_STEPS = 600
# Where cost may fall as a factor grows, cells up to this far in cost are looked at, at most so many a side.
_SCAN_LOG2 = 0.1
_SCAN_CELLS = 8
# If that is not enough, growths up to a doubling away are tried in steps of this share of one.
_SCAN_PER_DOUBLING = 16
_TIE_DIGITS = 9
# Representatives of cells are rounded to this, where that stays inside the cell.
_TIDY_DIGITS = 4


# A matched model farther from its budget than this is not one of equal cost, and is marked.
TOLERANCE = 0.02


def is_off(requested: float, achieved: float) -> bool:
    """Whether a matched model missed its budget; both are growths against the base.

    >>> is_off(2.0, 2.03), is_off(2.0, 2.06)
    (False, True)
    """
    return abs(achieved / requested - 1) > TOLERANCE


class Nearest(msgspec.Struct, frozen=True):
    """What the search found.

    Attributes:
        growth_log2: the middle of the cell whose cost is nearest to the target.
        cost: that cost.
        moves: whether the cost changes along the curve at all.
        at_limit: whether the curve ends before it reaches the target.
    """

    growth_log2: float
    cost: float
    moves: bool = True
    at_limit: bool = False


@dataclass
class Curve:
    """A strategy's networks and their costs along `growth_log2`.

    Attributes:
        network: identifies the network at a growth; equal values are the same network. Raises `UsageError`
            where the architecture ends.
        cost: the network's cost at a growth; asked once for a network.
        is_monotone: whether cost never falls as growth rises.
    """

    network: Callable[[float], Hashable]
    cost: Callable[[float], float]
    is_monotone: bool = True
    _costs: dict[Hashable, float] = field(default_factory=dict, init=False)

    def cost_at(self, x: float) -> float:
        """The cost at x."""
        network = self.network(x)
        if network not in self._costs:
            self._costs[network] = self.cost(x)
        return self._costs[network]

    def ahead(self, x: float, target: float) -> float:
        """How far from x cost may be expected to meet the target, by the mean slope since the base."""
        slope = math.log2(self.cost_at(x) / self.cost_at(0.0)) / x if x else 1.0
        distance = math.log2(target / self.cost_at(x)) / min(max(slope, _MIN_SLOPE), _MAX_SLOPE)
        return math.copysign(min(abs(distance), _MAX_JUMP), distance)

    def exists(self, x: float) -> bool:
        """Whether the architecture can be had at x."""
        try:
            self.network(x)
        except UsageError:
            return False
        return True

    def reachable(self, x: float) -> float:
        """x, or the farthest that exists on the way there from the base (x = 0)."""
        return x if self.exists(x) else _last(self.exists, 0.0, x)

    def edge(self, x: float, towards: float) -> float:
        """The last point of x's cell on the way to another point."""
        network = self.network(x)
        if self.is_same(x, towards):
            return towards
        return _last(lambda y: self.exists(y) and self.network(y) == network, x, towards)

    def middle(self, x: float) -> float:
        """The middle of x's cell, as far as that reaches within a doubling, in few digits."""
        middle = (self.edge(x, x - 1) + self.edge(x, x + 1)) / 2
        # A cell may be a single point, where several roundings tie.
        same = (y for y in (round(middle, _TIDY_DIGITS), middle) if self.is_same(x, y))
        return next(same, x)

    def is_same(self, x: float, y: float) -> bool:
        """Whether the network at x is there at y too."""
        return self.exists(y) and self.network(y) == self.network(x)


def nearest(curve: Curve, target: float, guess: float) -> Nearest:
    """The network on the curve whose cost is nearest to `target`; of two equally near, the smaller.

    Args:
        curve: where to search.
        target: the cost wanted, above zero.
        guess: the growth, log2, at which it may be expected; not 0.
    """
    base = curve.cost_at(0.0)
    start = curve.reachable(guess)
    for step in _FIRST_STEPS:
        if curve.cost_at(start) == base:
            start = curve.reachable(start + math.copysign(step, guess))
    if curve.cost_at(start) == base:
        return Nearest(curve.reachable(guess), base, moves=False)
    low, high = _bracket(curve, target, start)
    if curve.cost_at(high) < target or curve.cost_at(low) > target:
        end = high if curve.cost_at(high) < target else low
        return Nearest(curve.middle(end), curve.cost_at(end), at_limit=True)
    low, high = _narrow(curve, target, low, high)
    found = [low, high] if curve.is_monotone else _neighbours(curve, target, low, high)
    found += [x for x in (guess, *_ties(curve, low, high)) if curve.exists(x)]
    best = _best(curve, target, found)
    if not curve.is_monotone and is_off(target, curve.cost_at(best)):
        around = [
            best + step / _SCAN_PER_DOUBLING for step in range(-_SCAN_PER_DOUBLING, _SCAN_PER_DOUBLING + 1)
        ]
        best = _best(curve, target, [best, *filter(curve.exists, around)])
    return Nearest(curve.middle(best), curve.cost_at(best))


def _best(curve: Curve, target: float, found: Sequence[float]) -> float:
    return min(found, key=lambda x: (abs(curve.cost_at(x) - target), curve.cost_at(x)))


def _ties(curve: Curve, low: float, high: float) -> list[float]:
    """Where low's cell ends and high's begins, to fewer digits: roundings that tie do so at round numbers."""
    return [round(edge, _TIE_DIGITS) for edge in (curve.edge(low, high), curve.edge(high, low))]


def _bracket(curve: Curve, target: float, start: float) -> tuple[float, float]:
    """Two points, close together, with the target's cost between them; or the last two before the end."""
    upwards = curve.cost_at(start) < target
    direction = 1.0 if upwards else -1.0
    inner = outer = start
    overshoot = _OVERSHOOT
    while (curve.cost_at(outer) < target) == upwards:
        # A hair beyond the own cell at least, or a step may stay in it for ever.
        beyond = curve.edge(outer, outer + direction * _MAX_JUMP) + 2 * direction * _EDGE
        aimed = outer + overshoot * curve.ahead(outer, target)
        ahead = curve.reachable(max(aimed, beyond) if upwards else min(aimed, beyond))
        if curve.network(ahead) == curve.network(outer):
            break
        inner, outer = outer, ahead
        overshoot *= 2
    return (inner, outer) if upwards else (outer, inner)


def _narrow(curve: Curve, target: float, low: float, high: float) -> tuple[float, float]:
    """Points in two adjacent cells with the target between their costs."""
    for step in range(_MAX_STEPS):
        above, below = curve.edge(low, high), curve.edge(high, low)
        if below - above <= 4 * _EDGE:
            break
        at_low, at_high = curve.cost_at(low), curve.cost_at(high)
        share = 0.5
        if at_low < target < at_high and step % 3 < 2:  # every third step halves, whatever the curve's bend
            share = math.log(target / at_low) / math.log(at_high / at_low)
        middle = low + share * (high - low)
        middle = min(max(middle, above + 2 * _EDGE), below - 2 * _EDGE)
        low, high = (middle, high) if curve.cost_at(middle) < target else (low, middle)
    return low, high


def _neighbours(curve: Curve, target: float, low: float, high: float) -> list[float]:
    """Points in these two cells and in those around whose cost may still come nearer."""
    found = [low, high]
    for x, direction in ((low, -1.0), (high, 1.0)):
        for _ in range(_SCAN_CELLS):
            beyond = curve.edge(x, x + direction) + direction * 2 * _EDGE
            if not curve.exists(beyond) or curve.network(beyond) == curve.network(x):
                break
            x = beyond
            found.append(x)
            if abs(math.log2(curve.cost_at(x) / target)) > _SCAN_LOG2:
                break
    return found


def _last(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last point from `inside`, where it holds, on the way to `outside`, where it does not."""
    for _ in range(_EDGE_STEPS):
        if abs(outside - inside) <= _EDGE:
            break
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside

"""Which φ to try next, so that a strategy comes as near to its budgets as whole numbers let it.

A strategy is a curve: to each φ it gives a network, and some of these have been measured. Of a measured
network the *prices* are known, each a quantity over its bound: 1 and below meets it. Prices are taken to grow
as powers along φ, so that their logarithms are read along straight lines between measured points; outside
these a search goes on by the last slope, and at most one in φ at a time. Nothing here measures, builds or
counts: it is told which φ have the same network, and asks no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Literal

import msgspec

from scaleprof.records import Phi
from scaleprof.scaling.rules import MAX_ABS_PHI

# A model that meets its budgets and takes this little less than the tightest of them is the answer.
TOLERANCE = 0.03
# What is aimed at: the middle of what is near enough, so that an error to either side is forgiven.
AIM = 1 - TOLERANCE / 2
# φ are tried in steps of this: closer ones ask for MACs that differ by less than 0.01 %.
PHI_DIGITS = 4
_PER_PHI: int = 10**PHI_DIGITS
_MAX_STEP = 1.0
# Of a curve with one point: cost about doubles with φ.
_USUAL_SLOPE = math.log(2)
# A price that grows less than this within one φ does not lead anywhere.
_MIN_SLOPE = 0.01
# Energy less what an idle machine draws may be zero or below; it has no logarithm, and is nothing.
_NEXT_TO_NOTHING = 1e-9

# What identifies the network at a φ, equal for equal networks; None where there is none to be had.
Network = Callable[[float], Hashable | None]

SearchStop = Literal["within_3_percent", "no_network_between", "largest_network", "out_of_reach"]
Direction = Literal[-1, 1]


class Point(msgspec.Struct, frozen=True):
    """A φ whose network was measured.

    `prices` are each budgeted quantity over its bound, None where the network was too much for the machine:
    then it misses. `proposed`: whether it was tried by the search, and not given to it.
    """

    phi: float
    prices: tuple[float, ...] | None
    proposed: bool = False

    @property
    def price(self) -> float:
        """The price by the tightest budget."""
        return math.inf if self.prices is None else max(self.prices)

    @property
    def meets(self) -> bool:
        """Whether it meets every budget."""
        return self.price <= 1


class Try(msgspec.Struct, frozen=True):
    """Measure the network at this φ next; it differs from all that were measured around it."""

    phi: Phi


class Ended(msgspec.Struct, frozen=True):
    """There is nothing more to try, and why."""

    stop: SearchStop


def answer(points: Sequence[Point]) -> Point | None:
    """The largest that meets, or else the smallest, which comes nearest; None if nothing has a price.

    >>> answer([Point(0, (0.5,)), Point(1, (0.9,)), Point(2, (1.6,))]).phi, answer([Point(0, (1.5,))]).phi
    (1, 0)
    """
    meeting = [point for point in points if point.meets]
    if meeting:
        return max(meeting, key=lambda point: point.phi)
    # Not the least price: of many that miss, that is the luckiest.
    priced = [point for point in points if point.prices is not None]
    return min(priced, key=lambda point: point.phi, default=None)


def decide(points: Sequence[Point], network: Network) -> Try | Ended:
    """The φ to try next, or why the search ends; `answer` then says at what.

    Args:
        points: what was measured, one at least, in the order in which it was first tried.
        network: tells networks apart; asked some dozens of times.

    >>> def thirds(phi): return math.floor(phi * 3)
    >>> decide([Point(0, (0.5,)), Point(1, (2.0,))], thirds)
    Try(phi=0.5)
    >>> decide([Point(0, (0.5,)), Point(0.4, (2.0,))], thirds)
    Ended(stop='no_network_between')
    """
    best = max((point for point in points if point.meets), key=lambda point: point.phi, default=None)
    if best is None:
        return _outwards(min(points, key=lambda point: point.phi), points, network, -1)
    if best.price >= 1 - TOLERANCE:
        return Ended("within_3_percent")
    least = min((p for p in points if p.phi > best.phi), key=lambda point: point.phi, default=None)
    if least is None:
        return _outwards(best, points, network, 1)
    return _between(best, least, points, network)


def _between(low: Point, high: Point, points: Sequence[Point], network: Network) -> Try | Ended:
    """A network between the best that meets and the least that misses."""
    first, last = _beyond_cell(low, high, network), _beyond_cell(high, low, network)
    if first > last:
        return Ended("no_network_between")
    aimed = (first + last) // 2 if _is_one_sided(points, low) else round(_crossing(low, high) * _PER_PHI)
    place = min(max(aimed, first), last)
    if network(_phi(place)) is None:  # a gap: the last network before it will do, if it is a new one
        place = _last(lambda at: network(_phi(at)) is not None, first, place)
        if network(_phi(place)) is None:
            return Ended("no_network_between")
    return Try(_tidy(place, first, last, network))


def _crossing(low: Point, high: Point) -> float:
    """Where the tightest budget is met to the aim, by straight lines between two points."""
    if low.prices is None or high.prices is None:
        return (low.phi + high.phi) / 2
    shares = [
        _log_ratio(AIM, below) / _log_ratio(above, below)
        for below, above in zip(low.prices, high.prices, strict=True)
        if above > max(below, AIM)
    ]
    return low.phi + min(shares, default=1.0) * (high.phi - low.phi)


def _is_one_sided(points: Sequence[Point], low: Point) -> bool:
    """Whether the last two tries came to the same side of the answer: lines lead nowhere, halving does."""
    tried = [point.phi <= low.phi for point in points if point.proposed][-2:]
    return len(tried) == 2 and tried[0] == tried[1]


def _outwards(end: Point, points: Sequence[Point], network: Network, sense: Direction) -> Try | Ended:
    """A network beyond all that were measured, up or down; the architecture's last, if that is nearer."""
    start, limit = _inner(end.phi, sense), sense * MAX_ABS_PHI * _PER_PHI
    step = _MAX_STEP if end.prices is None else _step(end, points, sense)
    aimed = start + sense * max(1, round(step * _PER_PHI))
    while True:
        aimed = min(aimed, limit) if sense > 0 else max(aimed, limit)
        # No farther than this is asked for: a network that is far too large takes long to look at.
        reached = _last(lambda at: network(_phi(at)) is not None, start, aimed)
        same = _last(lambda at: _is_same(network, _phi(at), end.phi), start, reached)
        if same != reached:
            first, last = sorted((same + sense, reached + sense * _PER_PHI))
            return Try(_tidy(reached, first, last, network))
        if reached != aimed or aimed == limit:
            return Ended("largest_network" if sense > 0 else "out_of_reach")
        start, aimed = reached, aimed + sense * _PER_PHI


def _step(end: Point, points: Sequence[Point], sense: Direction) -> float:
    """How far it is, in φ, to where the tightest budget is met, by the slopes at the end; at most one."""
    inner = min(
        (p for p in points if p.prices is not None and (end.phi - p.phi) * sense > 0),
        key=lambda point: abs(end.phi - point.phi),
        default=None,
    )
    distances = []
    for place, price in enumerate(end.prices or ()):
        slope = _USUAL_SLOPE
        if inner is not None and inner.prices is not None:
            slope = _log_ratio(price, inner.prices[place]) / (end.phi - inner.phi)
        distance = sense * _log_ratio(AIM, price)
        if slope >= _MIN_SLOPE:
            distances.append(max(0.0, distance / slope))
        elif distance > 0 and sense < 0:
            distances.append(_MAX_STEP)
    # Upwards the first bound that is met ends it, downwards the last.
    wanted = min(distances, default=_MAX_STEP) if sense > 0 else max(distances, default=_MAX_STEP)
    return min(wanted, _MAX_STEP)


def _beyond_cell(point: Point, towards: Point, network: Network) -> int:
    """The first place beyond the stretch of φ that has the point's network, on the way to another point."""
    sense: Direction = 1 if towards.phi > point.phi else -1
    inner = _inner(point.phi, sense)
    before = _inner(towards.phi, 1 if sense < 0 else -1) - sense
    return _last(lambda at: _is_same(network, _phi(at), point.phi), inner, before) + sense


def _inner(phi: float, sense: Direction) -> int:
    """The place at φ, or the one right before it when going in this sense."""
    scaled = round(phi * _PER_PHI, 6)
    return math.floor(scaled) if sense > 0 else math.ceil(scaled)


def _is_same(network: Network, phi: float, other: float) -> bool:
    found = network(phi)
    return found is not None and found == network(other)


def _last(holds: Callable[[int], bool], inside: int, outside: int) -> int:
    """The last place from `inside`, where it is taken to hold, on the way to `outside`."""
    if holds(outside):
        return outside
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside


def _tidy(place: int, first: int, last: int, network: Network) -> Phi:
    """φ of the network at a place, in as few digits as stay inside its stretch."""
    phi = _phi(place)
    for digits in range(1, PHI_DIGITS):
        short = round(phi, digits)
        if first <= short * _PER_PHI <= last and _is_same(network, short, phi):
            return int(short) if short == int(short) else short
    return int(phi) if phi == int(phi) else phi


def _log_ratio(price: float, other: float) -> float:
    return math.log(max(price, _NEXT_TO_NOTHING) / max(other, _NEXT_TO_NOTHING))


def _phi(place: int) -> float:
    return round(place / _PER_PHI, PHI_DIGITS)

"""How much of the machine a model gets: attained MACs a second against the ceiling at its intensity.

The roofline (Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785): a program that does `I`
operations for each byte it moves attains at most `min(peak, I · bandwidth)`. Operations are MACs here; makers
print FLOP/s, which are twice that. Ceilings are measured ones, as of a matrix product and a copy, so that the
share is of what this machine has been seen to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from scaleprof.records import Cost, Launch
from scaleprof.stats.intervals import Estimate

Bound = Literal["compute", "memory"]


class Ceilings(msgspec.Struct, frozen=True):
    """The most that a machine was seen to do: MACs a second and bytes a second, read and written together."""

    macs_per_s: float
    bytes_per_s: float

    def __post_init__(self) -> None:
        _require_positive("ceilings", self.macs_per_s, self.bytes_per_s)

    @property
    def ridge_macs_per_byte(self) -> float:
        """The intensity from which on arithmetic is the limit.

        >>> Ceilings(macs_per_s=1e11, bytes_per_s=1e10).ridge_macs_per_byte
        10.0
        """
        return self.macs_per_s / self.bytes_per_s

    def bound(self, macs_per_byte: float) -> Bound:
        """What limits a model of this intensity.

        >>> Ceilings(1e11, 1e10).bound(9.9), Ceilings(1e11, 1e10).bound(10)
        ('memory', 'compute')
        """
        return "compute" if macs_per_byte >= self.ridge_macs_per_byte else "memory"

    def at(self, macs_per_byte: float) -> float:
        """The most MACs a second at this intensity.

        >>> Ceilings(1e11, 1e10).at(5), Ceilings(1e11, 1e10).at(50)
        (50000000000.0, 100000000000.0)
        """
        return min(self.macs_per_s, macs_per_byte * self.bytes_per_s)


def ceilings_of(launches: Iterable[Launch]) -> Ceilings | None:
    """The ceilings that these launches saw, which are of one device, dtype and number of threads.

    The fastest product and the fastest copy of all: a ceiling is the most that a machine can do, and whatever
    disturbs a timing makes it longer. A median would be a ceiling that quiet moments go through. None where
    no launch has any.
    """
    seen = [launch.ceilings for launch in launches if launch.ceilings is not None]
    if not seen:
        return None
    return Ceilings(
        macs_per_s=max(one.matrix_side**3 / min(one.product_s) for one in seen),
        bytes_per_s=max(one.moved_bytes / min(one.copy_s) for one in seen),
    )


def moved_bytes(cost: Cost, batch_size: int) -> int | None:
    """Bytes that the operators of one forward pass of a batch read and write; None where they are not known.

    All that one sample moves but its weights is moved again for each sample; weights are read once a batch.
    A network need not read all of its weights, so that a sample moves what it writes at least.
    """
    if cost.read_bytes is None or cost.written_bytes is None:
        return None
    one = cost.read_bytes + cost.written_bytes
    each = max(one - cost.weight_bytes, cost.written_bytes)
    return one + (batch_size - 1) * each


class RooflinePoint(msgspec.Struct, frozen=True):
    """A model under its roof; `share` is what it attains of the ceiling at its intensity.

    The ceiling takes every operator's tensors to come from memory and go back to it. Where caches keep them,
    or a runtime fuses operators, a model may be above a memory ceiling: a share beyond 1 says so.
    """

    macs_per_byte: float
    macs_per_s: Estimate
    ceiling_macs_per_s: float
    share: Estimate
    bound: Bound


def roofline_point(
    *, macs: float, moved_bytes: float, latency_s: Estimate, ceilings: Ceilings
) -> RooflinePoint:
    """Where a model stands under the roof, from what one call does and how long it takes.

    The ceilings count as exact: they are common to all models of a machine.

    Args:
        macs: of the whole batch.
        moved_bytes: read and written by all operators for the whole batch; weights are read once a batch.
        latency_s: of the batch, in seconds.
        ceilings: of the same machine, dtype and number of threads.

    >>> point = roofline_point(
    ...     macs=4e8, moved_bytes=1e8, latency_s=Estimate(0.02, None), ceilings=Ceilings(1e11, 1e10)
    ... )
    >>> point.bound, point.macs_per_byte, round(point.macs_per_s.value), round(point.share.value, 9)
    ('memory', 4.0, 20000000000, 0.5)

    Raises:
        ValueError: a number is not above zero.
    """
    _require_positive("a roofline", macs, moved_bytes, latency_s.value)
    intensity = macs / moved_bytes
    ceiling = ceilings.at(intensity)
    attained = latency_s.inverse().scaled(macs)
    return RooflinePoint(
        intensity, attained, ceiling, attained.scaled(1 / ceiling), ceilings.bound(intensity)
    )


def _require_positive(what: str, *values: float) -> None:
    for value in values:
        if not 0 < value < math.inf:
            raise ValueError(f"{what} must be of finite numbers above zero, got {value}")

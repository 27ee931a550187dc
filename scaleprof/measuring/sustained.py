"""Passes back to back for throughput and energy: no synchronisation, no reference, nothing between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from scaleprof.measuring.timing import Call
from scaleprof.records import Sustained

# About this many chunks, so that the throughput has an interval inside a launch.
_CHUNKS = 12


class EnergyCounter(Protocol):
    """Counts joules."""

    def joules(self) -> float:
        """Joules so far."""


def sustain(
    call: Call,
    pass_s: float,
    at_least_s: float,
    *,
    synchronise: Callable[[], None] = lambda: None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    energy: EnergyCounter | None = None,
    idle_power_w: float | None = None,
    energy_missing: str | None = "not asked for",
) -> Sustained:
    """Run chunks of passes back to back for at least `at_least_s` seconds.

    The clock is read once a chunk. A device is waited for once at the end of each chunk, whose passes it has
    all been given by then.

    Args:
        call: one pass.
        pass_s: about how long it takes, for the size of a chunk.
        at_least_s: how long to go on.
        synchronise: waits until the device has finished.
        clock_ns: the clock.
        energy: the counter, where there is one.
        idle_power_w: what the machine draws while nothing runs.
        energy_missing: why there is no counter.
    """
    passes = max(1, math.ceil(at_least_s / _CHUNKS / pass_s))
    synchronise()
    began_j = energy.joules() if energy else None
    ticks_ns = [clock_ns()]
    while ticks_ns[-1] - ticks_ns[0] < at_least_s * 1e9:
        for _ in range(passes):
            call()
        synchronise()
        ticks_ns.append(clock_ns())
    ended_j = energy.joules() if energy else None
    return Sustained(
        passes_per_chunk=passes,
        chunks_s=tuple((end - begin) / 1e9 for begin, end in pairwise(ticks_ns)),
        energy_j=ended_j - began_j if ended_j is not None and began_j is not None else None,
        idle_power_w=idle_power_w if energy else None,
        energy_missing=None if energy else energy_missing,
    )

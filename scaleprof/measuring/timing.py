"""Timing one call: what a timer is, and that of the CPU (`scaleprof.measuring.cuda.timer` has the other)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

Call = Callable[[], object]

_NS_PER_S = 1e9
# A visit's median is known long before; more would only fill the run file.
MOST_SAMPLES = 500


class Timer(Protocol):
    """Times one call in seconds, from a caller's point of view."""

    def wall_s(self, call: Call) -> float:
        """Seconds from the call to its finished result."""

    def gpu_s(self, call: Call) -> float | None:
        """Seconds that the device spends on the call, launch gaps excluded; None if not to be had."""

    def synchronise(self) -> None:
        """Wait until all that was asked for has been done."""


class CpuTimer:
    """Wall time of a synchronous call."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock_ns = clock_ns

    def wall_s(self, call: Call) -> float:
        """Seconds that the call takes."""
        began_ns = self._clock_ns()
        call()
        return (self._clock_ns() - began_ns) / _NS_PER_S

    def gpu_s(self, call: Call) -> float | None:  # noqa: ARG002
        """None: there is no device beside the CPU."""
        return None

    def synchronise(self) -> None:
        """Nothing is left to wait for: calls return when they are done."""


def sample_s(timer: Timer, call: Call, at_least_s: float) -> list[float]:
    """Wall times of consecutive calls, as many as `at_least_s` seconds hold; one at least, 500 at most."""
    samples: list[float] = []
    total_s = 0.0
    while not samples or (total_s < at_least_s and len(samples) < MOST_SAMPLES):
        samples.append(timer.wall_s(call))
        total_s += samples[-1]
    return samples

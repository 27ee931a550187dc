"""Time of a call on one CUDA device: what a caller sees, and what the device itself spends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from scaleprof.measuring.timing import Call

_NS_PER_S = 1e9
_MS_PER_S = 1e3
# The spin must outlast enqueueing; it lasts longer where the clock is slower than this.
_SPIN_CYCLES_PER_S = 3.5e9
_SPIN_MARGIN = 1.5
_SPIN_EXTRA_S = 1e-3
# Two spins of known length: what starting and ending one takes is in both, and not in the difference, which
# lasts about a millisecond. That is short enough for the clock to be still that of what ran before.
_SHORT_SPIN_CYCLES, _LONG_SPIN_CYCLES = 1_000_000, 3_000_000
_KHZ_PER_MHZ = 1e3


class CudaTimer:
    """Wall time between synchronisations, and device time between events, on one CUDA device.

    Args:
        device: `cuda:N`.
        cuda: the module `torch.cuda`, or what stands in for it.
        clock_ns: the clock of the caller.
    """

    def __init__(
        self, device: str, *, cuda: Any = torch.cuda, clock_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._device = torch.device(device)
        self._cuda = cuda
        self._clock_ns = clock_ns

    def wall_s(self, call: Call) -> float:
        """Seconds from an idle device to an idle device: what a caller sees."""
        self.synchronise()
        began_ns = self._clock_ns()
        call()
        self.synchronise()
        return (self._clock_ns() - began_ns) / _NS_PER_S

    def gpu_s(self, call: Call) -> float | None:
        """Seconds between events around the call, enqueued while a spin kernel keeps the device busy.

        So the device finds the whole call queued and no launch gap is timed. None if enqueueing outlasted
        the spin (seen by the first event having passed), since gaps may then be in the number. That is always
        so for calls of more launches than the driver's queue takes, which is about a thousand.
        """
        with self._cuda.device(self._device):
            spin_s = _SPIN_MARGIN * self._enqueue_s(call) + _SPIN_EXTRA_S
            first, last = self._events(2)
            self._spin(spin_s)
            first.record()
            call()
            last.record()
            queue_was_full = not first.query()
            self.synchronise()
        return _seconds(first, last) if queue_was_full else None

    def block_s(self, call: Call) -> float:
        """Seconds between events around the call; the device is busy until the first of it is enqueued.

        What the device waits for in the middle of the call is in the number.
        """
        with self._cuda.device(self._device):
            first, last = self._events(2)
            self._spin(_SPIN_EXTRA_S)
            first.record()
            call()
            last.record()
            self.synchronise()
        return _seconds(first, last)

    def clock_mhz(self) -> float | None:
        """The clock of the device's multiprocessors now: spins of known cycles, timed by events.

        None if the longer one did not take longer.
        """
        with self._cuda.device(self._device):
            events = self._events(3)
            self._spin(_SPIN_EXTRA_S)
            events[0].record()
            self._cuda._sleep(_SHORT_SPIN_CYCLES)
            events[1].record()
            self._cuda._sleep(_LONG_SPIN_CYCLES)
            events[2].record()
            self.synchronise()
        longer_ms = events[1].elapsed_time(events[2]) - events[0].elapsed_time(events[1])
        if longer_ms <= 0:
            return None
        cycles_per_ms = (_LONG_SPIN_CYCLES - _SHORT_SPIN_CYCLES) / float(longer_ms)
        return cycles_per_ms / _KHZ_PER_MHZ

    def synchronise(self) -> None:
        """Wait until the device is idle."""
        self._cuda.synchronize(self._device)

    def _events(self, count: int) -> list[Any]:
        return [self._cuda.Event(enable_timing=True) for _ in range(count)]

    def _spin(self, at_least_s: float) -> None:
        self._cuda._sleep(int(at_least_s * _SPIN_CYCLES_PER_S))

    def _enqueue_s(self, call: Call) -> float:
        self.synchronise()
        began_ns = self._clock_ns()
        call()
        enqueue_s = (self._clock_ns() - began_ns) / _NS_PER_S
        self.synchronise()
        return enqueue_s


def _seconds(first: Any, last: Any) -> float:
    return float(first.elapsed_time(last)) / _MS_PER_S

"""Timing one call: wall clock on CPU and CUDA, and the device's own time on CUDA."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

Call = Callable[[], object]

_NS_PER_S = 1e9
_MS_PER_S = 1e3
# The spin must outlast enqueueing; it lasts longer where the clock is slower than this.
_SPIN_CYCLES_PER_S = 3.5e9
_SPIN_MARGIN = 1.5
_SPIN_EXTRA_S = 1e-3
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


class CudaTimer:
    """Wall time between synchronisations, and device time between events, on one CUDA device."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def wall_s(self, call: Call) -> float:
        """Seconds from an idle device to an idle device: what a caller sees."""
        torch.cuda.synchronize(self._device)
        began_ns = time.perf_counter_ns()
        call()
        torch.cuda.synchronize(self._device)
        return (time.perf_counter_ns() - began_ns) / _NS_PER_S

    def gpu_s(self, call: Call) -> float | None:
        """Seconds between events around the call, enqueued while a spin kernel keeps the device busy.

        So the device finds the whole call queued and no launch gap is timed. None if enqueueing outlasted
        the spin (seen by the first event having passed), since gaps may then be in the number.
        """
        with torch.cuda.device(self._device):
            enqueue_s = self._enqueue_s(call)
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(int((_SPIN_MARGIN * enqueue_s + _SPIN_EXTRA_S) * _SPIN_CYCLES_PER_S))
            first.record()
            call()
            last.record()
            queue_was_full = not first.query()
            torch.cuda.synchronize(self._device)
        return first.elapsed_time(last) / _MS_PER_S if queue_was_full else None

    def synchronise(self) -> None:
        """Wait until the device is idle."""
        torch.cuda.synchronize(self._device)

    def _enqueue_s(self, call: Call) -> float:
        torch.cuda.synchronize(self._device)
        began_ns = time.perf_counter_ns()
        call()
        enqueue_s = (time.perf_counter_ns() - began_ns) / _NS_PER_S
        torch.cuda.synchronize(self._device)
        return enqueue_s


def timer_for(device: str) -> Timer:
    """The timer of a device."""
    return CudaTimer(device) if device.startswith("cuda") else CpuTimer()


def sample_s(timer: Timer, call: Call, at_least_s: float) -> list[float]:
    """Wall times of consecutive calls, as many as `at_least_s` seconds hold; one at least, 500 at most."""
    samples: list[float] = []
    total_s = 0.0
    while not samples or (total_s < at_least_s and len(samples) < MOST_SAMPLES):
        samples.append(timer.wall_s(call))
        total_s += samples[-1]
    return samples

"""Energy of a whole GPU by NVML's counter, from one of its ticks to another.

The counter (of millijoules since the driver was loaded) moves in ticks of some 100 ms; what lies between two
readings at arbitrary moments may be short or long by a tick's worth. So a window begins when a tick is seen
and ends with the first tick after its length. Meanwhile the device is kept busy, one chunk of passes ahead,
and in between nobody looks at the counter: where launching is what takes time, looks would be in the passes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from scaleprof.measuring.cuda.state import read_temperature_c
from scaleprof.measuring.energy import IDLE_LOOK_S, EnergyUnavailableError
from scaleprof.measuring.nvml import NvmlGpu
from scaleprof.measuring.timing import Call

_MJ_PER_J = 1e3
_CHUNK_S = 0.005
# In the queue at any time: the chunk that runs, and one ahead.
_QUEUED_CHUNKS = 2
# Between looks at the counter or at a queue that was full; ticks and chunks are many times longer.
_PAUSE_S = 0.0005
# Ticks take a tenth of a second: a counter that stands still for this long does not count.
_STANDSTILL_S = 2.0


class EnergyWindow(NamedTuple):
    """What lies between two ticks of the energy counter.

    `passes` counts a pass that is under way by its share. `temperature_c` is the GPU's at the end.
    """

    joules: float
    passes: float
    window_s: float
    temperature_c: int | None


class _Tick(NamedTuple):
    millijoules: int
    at_s: float
    passes: float


class GpuEnergy:
    """The energy counter of one GPU; other processes' energy is in it, too.

    Args:
        device: `cuda:N`, which is kept busy.
        gpu: the same by NVML, None where it cannot be asked.
        cuda: the module `torch.cuda`, or what stands in for it.
        clock_s: the clock.
        sleep: waits where there is nothing to do.

    Raises:
        EnergyUnavailableError: there is no counter; the message says why.
    """

    def __init__(
        self,
        device: str,
        gpu: NvmlGpu | None,
        *,
        cuda: Any = torch.cuda,
        clock_s: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if gpu is None:
            raise EnergyUnavailableError("NVML, which has the GPU's energy counter, cannot be asked here")
        self._device = torch.device(device)
        self._gpu = gpu
        self._cuda = cuda
        self._clock_s = clock_s
        self._sleep = sleep
        self._read_mj()

    def idle_power_w(self, at_least_s: float = IDLE_LOOK_S) -> float:
        """Watts from tick to tick while nothing runs.

        Raises:
            EnergyUnavailableError: the counter stands still.
        """
        first, last = self._between_ticks(at_least_s, self._idle)
        return _joules(first, last) / (last.at_s - first.at_s)

    def window(self, call: Call, pass_s: float, at_least_s: float) -> EnergyWindow:
        """Run passes of about `pass_s` seconds back to back, and see what `at_least_s` seconds of them take.

        A tick is seen while a chunk of passes is under way, of about 5 ms, or one pass if that is longer. How
        much of the chunk has run by then is taken from the clock. So `passes` is wrong by no more than a
        chunk at each end, together 0.2 % of five seconds, and usually by far less. Where enqueueing a chunk
        takes longer than running it, a tick is seen late by as much as that.

        Raises:
            EnergyUnavailableError: the counter stands still.
        """
        with self._cuda.device(self._device):  # where events are recorded
            conveyor = _Conveyor(call, pass_s, self._cuda, self._clock_s, self._sleep)
            try:
                first, last = self._between_ticks(at_least_s, conveyor.passes)
                temperature_c = read_temperature_c(self._gpu)
            finally:
                conveyor.drain()
        return EnergyWindow(
            _joules(first, last), last.passes - first.passes, last.at_s - first.at_s, temperature_c
        )

    def _idle(self) -> float:
        self._sleep(_PAUSE_S)
        return 0.0

    def _between_ticks(self, at_least_s: float, passes: Callable[[], float]) -> tuple[_Tick, _Tick]:
        """Two ticks; `passes` is called again and again between them, and says how many have been run."""
        first = self._next_tick(passes)
        while self._clock_s() - first.at_s < at_least_s:
            passes()
        return first, self._next_tick(passes)

    def _next_tick(self, passes: Callable[[], float]) -> _Tick:
        before_mj, began_s = self._read_mj(), self._clock_s()
        while True:
            run, now_mj, now_s = passes(), self._read_mj(), self._clock_s()
            if now_mj != before_mj:
                return _Tick(now_mj, now_s, run)
            if now_s - began_s > _STANDSTILL_S:
                raise EnergyUnavailableError(f"the GPU's energy counter stood still for {_STANDSTILL_S:g} s")

    def _read_mj(self) -> int:
        millijoules: int | None = self._gpu.ask("nvmlDeviceGetTotalEnergyConsumption")
        if millijoules is None:
            raise EnergyUnavailableError(
                "this GPU has no energy counter that NVML tells of (they came with Volta; slices have none)"
            )
        return millijoules


class _Conveyor:
    """Keeps a device busy with chunks of passes, one ahead, and knows how many passes have been run."""

    def __init__(
        self,
        call: Call,
        pass_s: float,
        cuda: Any,
        clock_s: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._call = call
        self._chunk_passes = max(1, round(_CHUNK_S / pass_s))
        self._cuda = cuda
        self._clock_s = clock_s
        self._sleep = sleep
        self._ends: deque[Any] = deque()
        self._ended_chunks = 0
        self._chunk_s = self._chunk_passes * pass_s
        self._began_s = self._chunk_began_s = clock_s()

    def passes(self) -> float:
        """How many passes have been run by now; it waits if nothing can be enqueued, and fills the queue."""
        if len(self._ends) == _QUEUED_CHUNKS and not self._ends[0].query():
            self._sleep(_PAUSE_S)
        self._note_ended()
        while len(self._ends) < _QUEUED_CHUNKS:
            self._enqueue()
        share = min(1.0, (self._clock_s() - self._chunk_began_s) / self._chunk_s)
        return (self._ended_chunks + share) * self._chunk_passes

    def _note_ended(self) -> None:
        while self._ends and self._ends[0].query():
            self._ends.popleft()
            self._ended_chunks += 1
            self._chunk_began_s = self._clock_s()
            self._chunk_s = (self._chunk_began_s - self._began_s) / self._ended_chunks

    def drain(self) -> None:
        """Wait until all that is in the queue has been run."""
        for end in self._ends:
            end.synchronize()

    def _enqueue(self) -> None:
        for _ in range(self._chunk_passes):
            self._call()
        end = self._cuda.Event()
        end.record()
        self._ends.append(end)


def _joules(first: _Tick, last: _Tick) -> float:
    return (last.millijoules - first.millijoules) / _MJ_PER_J

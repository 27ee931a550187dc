"""What a worker has of its GPU: timer, graphs, state, energy and memory behind one door."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from scaleprof.measuring.cuda.energy import EnergyWindow, GpuEnergy
from scaleprof.measuring.cuda.graphs import CaptureError, Captures, Graph, GraphTimer
from scaleprof.measuring.cuda.memory import CudaPeakMeter, Peak, create_context
from scaleprof.measuring.cuda.state import read_state
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.energy import IDLE_LOOK_S, EnergyUnavailableError
from scaleprof.measuring.nvml import Nvml, NvmlGpu, gpu_by_index, gpu_by_uuid, initialised
from scaleprof.measuring.timing import Call
from scaleprof.records import GpuState

_NS_PER_S = 1e9


class CudaSide:
    """The GPU of one worker process.

    Make it before anything else in the process touches the GPU: it creates the context, whose size can be
    told only then, and watches the idle GPU for about a second. NVML stays open for as long as the process
    lives.

    Args:
        device: `cuda:N`.
        nvml: the module `pynvml` (`scaleprof.measuring.nvml.find_nvml`), None where there is none.
        cuda: the module `torch.cuda`, or what stands in for it.
        clock_ns: the clock.
        sleep: waits where there is nothing to do.

    Attributes:
        timer: of calls on this device.
        idle_power_w: what the idle GPU draws with a context on it; None without an energy counter.
        energy_missing: why there is no energy counter; None if there is one.
    """

    def __init__(
        self,
        device: str,
        *,
        nvml: Nvml | None,
        cuda: Any = torch.cuda,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._cuda = cuda
        nvml = nvml if nvml is not None and initialised(nvml) else None
        self._gpu, self._context_bytes = _gpu_and_context(device, nvml, cuda)
        self.timer = CudaTimer(device, cuda=cuda, clock_ns=clock_ns)
        self._captures = Captures(device, cuda=cuda)
        self._graphs: dict[int, GraphTimer] = {}
        self._meter: CudaPeakMeter | None = None
        self._energy: GpuEnergy | None = None
        self.idle_power_w: float | None = None
        self.energy_missing: str | None = None
        try:
            energy = GpuEnergy(
                device, self._gpu, cuda=cuda, clock_s=lambda: clock_ns() / _NS_PER_S, sleep=sleep
            )
            self.idle_power_w = energy.idle_power_w(IDLE_LOOK_S)
            self._energy = energy
        except EnergyUnavailableError as error:
            self.energy_missing = str(error)

    def before_build(self) -> None:
        """Note how much tensors hold before the next model is built; `peak` is taken against that."""
        self._meter = CudaPeakMeter(self._device, context_bytes=self._context_bytes, cuda=self._cuda)

    def peak(self, call: Call) -> Peak:
        """Run two passes of the model that was built last, after its first call, and see what they hold.

        Raises:
            RuntimeError: nothing was noted before the model was built.
        """
        if self._meter is None:
            raise RuntimeError("before_build comes before peak")
        meter, self._meter = self._meter, None
        return meter.peak(call)

    def capture(self, call: Call) -> Graph:
        """The graph of a pass that has run before; a graph is a call, too.

        Raises:
            CaptureError: the pass cannot be captured.
        """
        return self._captures.capture(call)

    def ready(self, number: int, call: Call) -> str | None:
        """Have a graph of a model's pass for its visits (its own, if the pass is a graph), or the reason."""
        try:
            graph = call if isinstance(call, Graph) else self.capture(call)
        except CaptureError as error:
            return str(error)
        self._graphs[number] = GraphTimer(graph, self.timer)
        return None

    def graph_samples_s(self, number: int) -> tuple[float, ...] | None:
        """Seconds a pass in each of three blocks of graph replays; None without a graph."""
        graph = self._graphs.get(number)
        return graph.samples_s() if graph else None

    def state(self) -> GpuState:
        """The GPU right now; between visits, right after one's samples. The clock is timed first."""
        return read_state(self._gpu, self.timer.clock_mhz())

    def energy(self, call: Call, pass_s: float, at_least_s: float) -> EnergyWindow | str:
        """What passes of about `pass_s` seconds take over a window between two ticks, or the reason."""
        if self._energy is None:
            return self.energy_missing or "not measured"
        try:
            return self._energy.window(call, pass_s, at_least_s)
        except EnergyUnavailableError as error:
            return str(error)

    def forget(self, number: int) -> None:
        """Free what is kept of a model."""
        timer = self._graphs.pop(number, None)
        if timer is not None:
            self._captures.release(timer.graph)
        self._meter = None


def _gpu_and_context(device: str, nvml: Nvml | None, cuda: Any) -> tuple[NvmlGpu | None, int | None]:
    """The GPU as NVML knows it, and the bytes of this process's context, which is there from now on.

    Before there is a context, a GPU is known by its number alone; whether that was the right one is checked
    by its UUID afterwards.
    """
    numbered = _numbered_gpu(device, nvml, cuda)
    context_bytes = create_context(device, numbered, cuda=cuda)
    uuid = str(cuda.get_device_properties(device).uuid)
    was_right = numbered is not None and numbered.ask("nvmlDeviceGetUUID") == f"GPU-{uuid}"
    return gpu_by_uuid(nvml, uuid), context_bytes if was_right else None


def _numbered_gpu(device: str, nvml: Nvml | None, cuda: Any) -> NvmlGpu | None:
    """By its place in the order of the PCI bus, which is torch's in a worker; None if torch cannot tell."""
    try:
        index = cuda._get_nvml_device_index(device)  # no part of torch's documented interface
    except (AttributeError, LookupError, RuntimeError):
        return None
    return gpu_by_index(nvml, index)

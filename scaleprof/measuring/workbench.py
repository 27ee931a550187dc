"""The models of one launch on one device: built, checked, visited, and run back to back."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from scaleprof.measuring import host, references
from scaleprof.measuring.ceilings import DeviceKernels, copied_bytes, fastest_fp32, measure_ceilings
from scaleprof.measuring.counters import counting
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.denormals import denormal_share
from scaleprof.measuring.energy import EnergyUnavailableError, Rapl
from scaleprof.measuring.inspection import Inspector
from scaleprof.measuring.making import Checked, make_checked
from scaleprof.measuring.memory import give_back_freed_memory
from scaleprof.measuring.messages import Built, Job, Made, Open, Ran, Tried, Visited
from scaleprof.measuring.passes import TrainingStep, recording
from scaleprof.measuring.preparing import Prepared, Preparer
from scaleprof.measuring.presets import min_visit_s
from scaleprof.measuring.sustained import sustain
from scaleprof.measuring.timing import Call, CpuTimer, Timer, sample_s
from scaleprof.measuring.twin import Inspection
from scaleprof.measuring.warmup import warm_up
from scaleprof.measuring.weights import output_std
from scaleprof.records import DType, MachineCeilings, Mode, Status, Sustained

# A throughput to a few percent: enough to tell which batches are worth measuring.
_TRIAL_S = 0.5
_LONG_PASS_S = 5.0
# Of a GPU: in the rounds that follow, other models are in memory beside the one that is tried here.
_TRIAL_MEMORY_SHARE = 0.9
_NOT_INSPECTED = "peak memory is taken in a model's first launch"


class _Made(NamedTuple):
    """A model whose runtime has its form of it."""

    prepared: Prepared
    checked: Checked


class _Ready(NamedTuple):
    """A model that can be timed, and about how long a pass takes."""

    call: Call
    pass_s: float
    mode: Mode


class WeighingEndedError(Exception):
    """The process that takes a model's peak memory was ended by a signal."""

    def __init__(self, signal_name: str) -> None:
        # The kernel ends with SIGKILL what asks for more memory than there is.
        is_memory = signal_name == "SIGKILL"
        self.status: Status = "oom" if is_memory else "killed"
        cause = "; the system may have run out of memory" if is_memory else ""
        super().__init__(f"the process that takes its peak memory was ended by {signal_name}{cause}")


class Workbench:
    """The models of one launch on one device, and the references beside them.

    Args:
        opening: device and seed.
        inspector: takes peak memory on the CPU.
        gpu: the GPU that is measured.
    """

    def __init__(
        self, opening: Open, inspector: Inspector | None = None, gpu: CudaSide | None = None
    ) -> None:
        self.device = opening.device
        self._gpu = gpu
        self.timer: Timer = self._gpu.timer if self._gpu else CpuTimer()
        self._inspector = inspector
        self._preparer = Preparer(self.device, opening.seed)
        self._ready: dict[int, _Ready] = {}
        self._made: dict[int, _Made] = {}
        self._folder = Path(opening.folder)
        self._energy, self._idle_power_w, self._energy_missing = _processor_energy(self.device)
        self._references = {
            "reference_network_s": references.reference_network(self.device),
            "matrix_product_s": references.matrix_product(self.device),
        }
        for call in self._references.values():
            warm_up(self.timer, call)
        self._last_reference_s = self._time_references()
        self.host = host.describe_host(self.device, opening.allocator)

    def make(self, job: Job) -> Made:
        """Build one model and its runtime's form of it, whose outputs are near eager's.

        Raises:
            RuntimeUnsupportedError: the runtime cannot take it.
            OutputsDifferError: its outputs are another network's.
        """
        if self._gpu is not None:
            self._gpu.before_build()
        with recording(job.workload.mode):
            prepared = self._preparer.prepare(job)
            made = make_checked(prepared, self._folder / f"{job.number}-{job.workload.batch_size}")
        self._made[job.number] = _Made(prepared, made)
        return Made(made.compiled)

    def build(self, job: Job, *, inspect: bool) -> Built:
        """Build, prepare, check and warm up one model; with `inspect`, take its peak memory before.

        A model that was made for its runtime before is as good as built.
        """
        made = self._made.pop(job.number, None)
        artifact = made.checked.artifact if made else None
        inspection = self._inspect(job, artifact) if inspect else Inspection(missing=_NOT_INSPECTED)
        memory = None
        with recording(job.workload.mode):
            began_s = time.perf_counter()
            if self._gpu is not None and made is None:
                self._gpu.before_build()
            prepared = made.prepared if made else self._preparer.prepare(job)
            call = made.checked.call if made else prepared.call()
            build_s = time.perf_counter() - began_s
            outputs: list[object] = []
            cold_s = self.timer.wall_s(lambda: outputs.append(call()))
            std = output_std(outputs.pop())
            if self._gpu is not None:
                peak = self._gpu.peak(call)
                inspection, memory = Inspection(peak.baseline_bytes, (peak.peak_bytes,)), peak.device_memory
            share = denormal_share(prepared.network, call) if inspect and _may_be_looked_into(job) else None
            warmup = warm_up(self.timer, call)
            no_graph = self._capture(self._gpu, job, call) if self._gpu else None
        self._ready[job.number] = _Ready(call, warmup.seconds / warmup.passes, job.workload.mode)
        _hide_from_collector()
        self._last_reference_s = self._time_references()  # right before the first visit, too
        return Built(
            build_s=build_s,
            cold_s=cold_s,
            warmup=warmup,
            peak_memory_bytes=max(inspection.peaks_bytes, default=None),
            peak_memory_missing=inspection.missing,
            output_std=std,
            peak_memory_low_bytes=min(inspection.peaks_bytes, default=None),
            baseline_memory_bytes=inspection.baseline_bytes,
            input_bytes=prepared.input_bytes,
            denormal_share=share,
            compiled=made.checked.compiled if made else None,
            device_memory=memory,
            graph_missing=no_graph,
        )

    def visit(self, number: int) -> Visited:
        """Time a model between two timings of the references."""
        call, _, mode = self._ready[number]
        before = self._last_reference_s
        gc.disable()
        try:
            with recording(mode):
                with counting() as counted:
                    samples = sample_s(self.timer, call, min_visit_s(self.device))
                gpu_sample = self.timer.gpu_s(call)
                parts = call.time_parts(self.timer, len(samples)) if isinstance(call, TrainingStep) else None
                graph_samples = self._gpu.graph_samples_s(number) if self._gpu else None
        finally:
            gc.enable()
        state = self._gpu.state() if self._gpu else None
        self._last_reference_s = after = self._time_references()
        return Visited(
            samples_s=_to_ns(samples),
            reference_network_s=_to_ns(before["reference_network_s"] + after["reference_network_s"]),
            matrix_product_s=_to_ns(before["matrix_product_s"] + after["matrix_product_s"]),
            gpu_samples_s=self._gpu_samples(gpu_sample),
            graph_samples_s=None if graph_samples is None else _to_ns(graph_samples),
            gpu=state,
            parts=parts,
            **counted,  # type: ignore[arg-type]
        )

    def sustain(self, number: int, at_least_s: float, energy_s: float) -> Ran:
        """Run a model back to back; on a GPU once more for its energy, over `energy_s` seconds."""
        call, pass_s, mode = self._ready[number]
        gc.disable()
        try:
            with recording(mode):
                ran = sustain(
                    call,
                    pass_s,
                    at_least_s,
                    synchronise=self.timer.synchronise,
                    energy=self._energy,
                    idle_power_w=self._idle_power_w,
                    energy_missing=self._energy_missing,
                )
                if self._gpu is not None:
                    ran = _with_energy(ran, self._gpu, call, pass_s, energy_s)
        finally:
            gc.enable()
        return Ran(ran)

    def try_out(self, job: Job) -> Tried:
        """Run a model for a moment, back to back, and forget it."""
        if self.device != "cpu":
            torch.cuda.set_per_process_memory_fraction(_TRIAL_MEMORY_SHARE, self.device)
        made = self._made.pop(job.number, None)
        with recording(job.workload.mode):
            call = made.checked.call if made else self._preparer.prepare(job).call()
            pass_s = self.timer.wall_s(call)
            if pass_s < _LONG_PASS_S:  # else what only a first pass does is small beside it
                ran = sustain(call, self.timer.wall_s(call), _TRIAL_S, synchronise=self.timer.synchronise)
                pass_s = sum(ran.chunks_s) / len(ran.chunks_s) / ran.passes_per_chunk
        del call, made
        self.forget(job.number)
        return Tried(pass_s)

    def forget(self, number: int) -> None:
        """Free a model that failed."""
        self._ready.pop(number, None)
        self._made.pop(number, None)
        if self._gpu is not None:
            self._gpu.forget(number)
        give_back_freed_memory()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def ceilings(self, dtype: DType) -> MachineCeilings:
        """What the machine does at most in a dtype; all models are freed before, so that there is room.

        Raises:
            CeilingsUnavailableError: there is no room all the same.
        """
        gc.unfreeze()
        for number in {*self._ready, *self._made}:
            self.forget(number)
        with torch.inference_mode(), fastest_fp32(self.device):
            return measure_ceilings(self.timer, DeviceKernels(self.device, dtype), copied_bytes(self.device))

    def _inspect(self, job: Job, artifact: Path | None) -> Inspection:
        if self._inspector is None:
            return Inspection(missing="measured in the worker itself")
        if job.workload.runtime == "compile":
            return Inspection(
                missing="a process that compiles holds its compiler, too: nothing tells them apart"
            )
        inspection = self._inspector.inspect(job, artifact)
        if inspection.killed_by:
            raise WeighingEndedError(inspection.killed_by)
        return inspection

    def _capture(self, gpu: CudaSide, job: Job, call: Call) -> str | None:
        """Have a graph of the pass for its visits; the reason if there is none."""
        if job.workload.mode == "train":
            return "a training step is not captured"
        if job.workload.runtime not in ("eager", "cudagraph"):
            return "taken of eager passes: compiled ones launch kernels of their own"
        return gpu.ready(job.number, call)

    def _time_references(self) -> dict[str, list[float]]:
        passes = range(references.PASSES_PER_TIMING)
        with torch.inference_mode():
            return {
                name: [self.timer.wall_s(call) for _ in passes] for name, call in self._references.items()
            }

    def _gpu_samples(self, sample: float | None) -> tuple[float, ...] | None:
        if self._gpu is None:
            return None
        return () if sample is None else _to_ns([sample])


def _with_energy(ran: Sustained, gpu: CudaSide, call: Call, pass_s: float, at_least_s: float) -> Sustained:
    """The run with the energy of passes of their own, from one tick of the counter to another."""
    window = gpu.energy(call, pass_s, at_least_s)
    if isinstance(window, str):
        return msgspec.structs.replace(ran, energy_missing=window)
    return msgspec.structs.replace(
        ran,
        energy_j=window.joules,
        energy_passes=window.passes,
        energy_window_s=window.window_s,
        temperature_c=window.temperature_c,
        idle_power_w=gpu.idle_power_w,
        energy_missing=None,
    )


def _processor_energy(device: str) -> tuple[Rapl | None, float | None, str | None]:
    """The processor's energy counter, what the machine draws while idle, and the reason if there is none."""
    if device != "cpu":
        return None, None, "the GPU's energy is taken apart"
    try:
        counter = Rapl()
    except EnergyUnavailableError as error:
        return None, None, str(error)
    return counter, counter.idle_power_w(), None


def _may_be_looked_into(job: Job) -> bool:
    """Whether the modules of the network run as such, whose outputs can be looked at."""
    workload = job.workload
    return workload.device == "cpu" and workload.runtime == "eager" and workload.mode != "train"


def _hide_from_collector() -> None:
    """Keep what is alive out of later collections: a full one takes longer than a visit."""
    gc.collect()
    gc.freeze()


def _to_ns(times_s: Sequence[float]) -> tuple[float, ...]:
    """The clock's own resolution; more digits would be noise in the file."""
    return tuple(round(value, 9) for value in times_s)

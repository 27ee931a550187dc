"""The worker process: builds models, times them, answers one command at a time.

Run as `python -m scaleprof.measuring.worker REPLY_FD`; commands come on standard input, replies go to
REPLY_FD, and whatever a model prints goes to standard error.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from typing import BinaryIO

import msgspec
import torch
from torch import nn

from scaleprof.errors import NETWORK_ERRORS, ModelError
from scaleprof.measuring import host, references
from scaleprof.measuring.memory import CpuPeakMeter, CudaPeakMeter, PeakMeter, give_back_freed_memory
from scaleprof.measuring.messages import (
    Build,
    Built,
    Command,
    Job,
    Open,
    Opened,
    Refused,
    Reply,
    Visit,
    Visited,
)
from scaleprof.measuring.presets import min_visit_s
from scaleprof.measuring.timing import Call, CpuTimer, Timer, sample_s, timer_for
from scaleprof.measuring.warmup import warm_up
from scaleprof.measuring.weights import (
    CALIBRATION_BATCH,
    joined,
    needs_settling,
    output_std,
    settle_batch_norms,
)
from scaleprof.models import find_model
from scaleprof.models.family import Model
from scaleprof.units import format_bytes

# What torch says when memory runs out on the CPU; on CUDA it has an exception of its own.
_CPU_OOM = "can't allocate memory"
# Passes whose peak is taken: the first may still hold one-time workspaces.
_MEMORY_PASSES = 2


class Worker:
    """The models of one launch on one device, and the references beside them."""

    def __init__(self, opening: Open) -> None:
        _use_threads(opening.threads)
        self.device = opening.device
        self.timer: Timer = timer_for(self.device)
        self._seed = opening.seed
        self._calls: dict[int, Call] = {}
        self._models: dict[str, Model] = {}
        self._references = {
            "reference_network_s": references.reference_network(self.device),
            "matrix_product_s": references.matrix_product(self.device),
        }
        for call in self._references.values():
            warm_up(self.timer, call)
        self._last_reference_s = self._time_references()
        self.host = host.describe_host(self.device, opening.allocator)

    def build(self, job: Job) -> Built:
        """Build, prepare, check and warm up one model, and take its peak memory."""
        began_s = time.perf_counter()
        meter, missing = self._peak_meter()
        torch.manual_seed(self._seed)
        model = self._model(job)
        with torch.inference_mode(False):  # a builder may take gradients on its way
            network = model.build(job.spec).eval().to(self.device)
        _check_params(job, network)
        inputs = self._inputs(model, job, job.workload.batch_size)
        if needs_settling(network):
            settle_batch_norms(network, self._calibration_inputs(model, job, inputs))

        def call() -> object:
            return network(*inputs)

        build_s = time.perf_counter() - began_s
        outputs: list[object] = []
        cold_s = self.timer.wall_s(lambda: outputs.append(call()))
        std = output_std(outputs.pop())
        peak_bytes, missing = self._peak_bytes(meter, call, missing)
        warmup = warm_up(self.timer, call)
        self._calls[job.number] = call
        _hide_from_collector()
        self._last_reference_s = self._time_references()  # right before the first visit, too
        return Built(build_s, cold_s, warmup, peak_bytes, missing, std)

    def visit(self, number: int) -> Visited:
        """Time a model between two timings of the references."""
        call = self._calls[number]
        before = self._last_reference_s
        gc.disable()
        try:
            samples = sample_s(self.timer, call, min_visit_s(self.device))
            gpu_sample = self.timer.gpu_s(call)
        finally:
            gc.enable()
        self._last_reference_s = after = self._time_references()
        return Visited(
            samples_s=_to_ns(samples),
            reference_network_s=_to_ns(before["reference_network_s"] + after["reference_network_s"]),
            matrix_product_s=_to_ns(before["matrix_product_s"] + after["matrix_product_s"]),
            gpu_samples_s=self._gpu_samples(gpu_sample),
        )

    def forget(self, number: int) -> None:
        """Free a model that failed."""
        self._calls.pop(number, None)
        give_back_freed_memory()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def _model(self, job: Job) -> Model:
        """The job's model; a person's code is loaded once a process."""
        if job.locator not in self._models:
            self._models[job.locator] = find_model(job.locator)
        return self._models[job.locator]

    def _inputs(self, model: Model, job: Job, batch_size: int) -> tuple[torch.Tensor, ...]:
        return tuple(tensor.to(self.device) for tensor in model.inputs(job.spec, batch_size))

    def _calibration_inputs(
        self, model: Model, job: Job, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """The timed inputs, with more samples beside them where there is but one."""
        missing = CALIBRATION_BATCH - job.workload.batch_size
        return joined(inputs, self._inputs(model, job, missing)) if missing > 0 else inputs

    def _peak_meter(self) -> tuple[PeakMeter | None, str | None]:
        if self.device != "cpu":
            return CudaPeakMeter(self.device), None
        try:
            meter = CpuPeakMeter()
            meter.start()
        except OSError as error:
            return None, f"the kernel does not let the memory high-water mark be reset ({error.strerror})"
        return meter, None

    def _peak_bytes(
        self, meter: PeakMeter | None, call: Call, missing: str | None
    ) -> tuple[int | None, str | None]:
        if meter is None:
            return None, missing
        meter.start()
        for _ in range(_MEMORY_PASSES):
            call()
        return meter.peak_bytes(), None

    def _time_references(self) -> dict[str, list[float]]:
        passes = range(references.PASSES_PER_TIMING)
        return {name: [self.timer.wall_s(call) for _ in passes] for name, call in self._references.items()}

    def _gpu_samples(self, sample: float | None) -> tuple[float, ...] | None:
        if isinstance(self.timer, CpuTimer):
            return None
        return () if sample is None else _to_ns([sample])


def _check_params(job: Job, network: nn.Module) -> None:
    """What is timed must be what was counted."""
    params = sum(parameter.numel() for parameter in network.parameters())
    if job.params is not None and params != job.params:
        raise ModelError(
            f"{params} parameters were built here and {job.params} counted before: "
            f"the builder's code has changed, or its result depends on more than the scale"
        )


def answer(worker: Worker, command: Build | Visit) -> Reply:
    """Carry out a command; a failure of the model becomes a `Refused` that says how it failed."""
    number = command.job.number if isinstance(command, Build) else command.job
    try:
        with torch.inference_mode():
            return worker.build(command.job) if isinstance(command, Build) else worker.visit(number)
    except torch.OutOfMemoryError as error:
        refused = Refused("oom", _first_line(error), fatal=False)
    except MemoryError:
        refused = Refused("oom", "Python could not allocate memory", fatal=False)
    except NETWORK_ERRORS as error:
        refused = _refused(worker, error)
    if not refused.fatal:
        worker.forget(number)
    return refused


def _refused(worker: Worker, error: Exception) -> Refused:
    # A person's builder is told of in our words; what it raised is the cause.
    raised = error.__cause__ or error
    if isinstance(raised, (torch.OutOfMemoryError, MemoryError)):
        return Refused("oom", _first_line(error), fatal=False)
    if _CPU_OOM in str(raised):
        free = format_bytes(host.available_memory_bytes())
        return Refused("oom", f"memory ran out on the CPU ({free} available)", fatal=False)
    # After a CUDA error other than OOM the context may be unusable: nothing timed in it could be trusted.
    return Refused("failed", f"{type(error).__name__}: {_first_line(error)}", fatal=worker.device != "cpu")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _use_threads(threads: int) -> None:
    """Pin the process to as many CPUs as it has threads; set before any operation runs."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def _hide_from_collector() -> None:
    """Keep what is alive out of later collections: a full one takes longer than a visit."""
    gc.collect()
    gc.freeze()


def _to_ns(times_s: list[float]) -> tuple[float, ...]:
    """The clock's own resolution; more digits would be noise in the file."""
    return tuple(round(value, 9) for value in times_s)


def serve(commands: BinaryIO, replies: BinaryIO) -> None:
    """Answer commands until there are no more."""
    decoder = msgspec.json.Decoder(Command)
    opening = decoder.decode(commands.readline())
    if not isinstance(opening, Open):
        raise TypeError(f"the first command opens the worker, got {opening}")
    with torch.inference_mode():
        worker = Worker(opening)
    _send(replies, Opened(worker.host))
    for line in commands:
        command = decoder.decode(line)
        if isinstance(command, Open):
            raise TypeError("a worker is opened once")
        _send(replies, answer(worker, command))


def _send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C reaches the whole terminal group; the scheduler decides what happens to this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()

"""One arm of a check in this process: its targets built, warm, and timed when asked."""

from __future__ import annotations

import gc
import importlib
import os
import resource
from importlib.metadata import distributions
from pathlib import Path
from typing import BinaryIO

import msgspec
import torch

from scaleprof.errors import ScaleprofError
from scaleprof.measuring import host
from scaleprof.measuring.arm_messages import (
    BuildTarget,
    Described,
    OpenArm,
    TargetBuilt,
    TargetRefused,
    TargetTimed,
)
from scaleprof.measuring.cuda.memory import CudaPeakMeter
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.origins import Tree
from scaleprof.measuring.passes import recording
from scaleprof.measuring.targets import AbsentError, Targets
from scaleprof.measuring.timing import Call, CpuTimer, Timer
from scaleprof.measuring.twin import Inspection, Twin, inspect_call
from scaleprof.measuring.warmup import warm_up
from scaleprof.models.user import place_of
from scaleprof.records import ArmTimes, CheckTarget

ALLOCATOR = "glibc pinned"
_TORCHVISION = "torchvision:"


class ArmBench:
    """The targets of one arm; made before torch has run anything.

    Args:
        opening: what the arm is.
        replies: the pipe that must not stay open in a process that this one makes.
    """

    def __init__(self, opening: OpenArm, replies: BinaryIO) -> None:
        self._device = opening.device
        self._by_name = {target.name: target for target in opening.targets}
        self._calls: dict[str, Call] = {}
        tree = Tree(Path(opening.root), Path(opening.person_root))
        self.targets = Targets(opening.device, opening.seed, tree, Path(opening.folder))
        use_cpus(opening.cpus, opening.threads)
        self._twin = self._make_twin(replies) if opening.weigh and opening.device == "cpu" else None
        self._timer: Timer = CpuTimer() if opening.device == "cpu" else CudaTimer(opening.device)

    def target(self, name: str) -> CheckTarget:
        """A target by its name."""
        return self._by_name[name]

    def describe(self) -> Described:
        """The machine, and what is installed."""
        packages = {one.metadata["Name"]: one.version for one in distributions() if one.metadata["Name"]}
        return Described(host.describe_host(self._device, ALLOCATOR), packages)

    def build(self, name: str) -> TargetBuilt:
        """Take a target's peak memory, build it, and warm it up."""
        target = self.target(name)
        peak_bytes = self._weighed(target)
        with recording(target.workload.mode):
            meter = None if self._device == "cpu" else CudaPeakMeter(self._device)
            call = self.targets.call(target)
            call()
            if meter is not None:
                peak_bytes = meter.peak(call).peak_bytes
            warmup = warm_up(self._timer, call)
        self._calls[name] = call
        return TargetBuilt(warmup.seconds / warmup.passes, peak_bytes)

    def settle(self) -> None:
        """End the twin, and keep what is alive out of later collections."""
        if self._twin is not None:
            self._twin.close()
            self._twin = None
        gc.collect()
        gc.freeze()

    def time(self, name: str, forwards: int) -> TargetTimed:
        """The times of consecutive forwards, their CPU time, and how often the kernel took the CPU away."""
        call = self._calls[name]
        gc.disable()
        try:
            with recording(self.target(name).workload.mode):
                before = resource.getrusage(resource.RUSAGE_SELF)
                samples = [self._timer.wall_s(call) for _ in range(forwards)]
                after = resource.getrusage(resource.RUSAGE_SELF)
        finally:
            gc.enable()
        return TargetTimed(
            ArmTimes(
                samples_s=tuple(round(sample, 9) for sample in samples),
                cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                involuntary_switches=after.ru_nivcsw - before.ru_nivcsw,
            )
        )

    def refused(self, error: Exception) -> TargetRefused:
        """A failure of a target's code, in words."""
        if isinstance(error, ScaleprofError):
            return TargetRefused(str(error), absent=isinstance(error, AbsentError))
        words = " ".join(str(error).split()) or "without words"
        reason = f"{type(error).__name__}: {words}{place_of(error)}"
        # After a CUDA error other than lack of memory the context may be unusable.
        fatal = self._device != "cpu" and not isinstance(error, torch.OutOfMemoryError)
        return TargetRefused(reason, fatal=fatal)

    def _make_twin(self, replies: BinaryIO) -> Twin:
        if any(_needs_torchvision(target) for target in self._by_name.values()):
            importlib.import_module("torchvision")  # once here instead of once for each target
        return Twin(lambda line: self._inspect(msgspec.json.decode(line, type=BuildTarget).name), replies)

    def _inspect(self, name: str) -> Inspection:
        target = self.target(name)
        return inspect_call(
            lambda: self.targets.load(target),
            lambda: self.targets.call(target, settled=False),
            target.workload.mode,
        )

    def _weighed(self, target: CheckTarget) -> int | None:
        """Peak memory on the CPU; None where it was not asked for or cannot be told from a compiler's."""
        if self._twin is None or target.workload.runtime != "eager":
            return None
        return max(self._twin.ask(BuildTarget(target.name)).peaks_bytes, default=None)


def use_cpus(cpus: tuple[int, ...], threads: int) -> None:
    """Pin this process; before any operation runs."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def _needs_torchvision(target: CheckTarget) -> bool:
    return target.model is not None and (":" not in target.model or target.model.startswith(_TORCHVISION))

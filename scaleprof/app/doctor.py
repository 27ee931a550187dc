"""What disturbs measuring on this machine: facts to findings, and a self-test with two copies of a model."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import msgspec

from scaleprof.app.choosing import DEFAULT_MODEL
from scaleprof.engines.local import open_worker, worker_environment
from scaleprof.errors import MeasuringError
from scaleprof.measuring import host
from scaleprof.measuring.doctor import gpu, limits, neighbours, processor, software
from scaleprof.measuring.doctor.finding import Finding
from scaleprof.measuring.messages import Job
from scaleprof.measuring.nvml import find_nvml, opened
from scaleprof.measuring.presets import DEFAULT_TIMEOUT_S, PRESETS
from scaleprof.measuring.processor import read_processor
from scaleprof.measuring.rounds import Bench, JobFailedError, LaunchLog, Step, run_launch
from scaleprof.models import FAMILIES
from scaleprof.records import Launch, Plan, Workload
from scaleprof.scaling.sweep import base_spec
from scaleprof.stats.noise import Verdict, noise_spread, noise_verdict
from scaleprof.stats.resolution import resolution

SELF_TEST_LAUNCHES = PRESETS["default"].launches
SELF_TEST_S = 10.0

# Rounds end by the clock alone: no interval is narrow enough, and nothing runs back to back.
_PLAN = Plan("self-test", launches=SELF_TEST_LAUNCHES, min_rounds=6, max_rounds=10_000, target_ci=0.0)

OpenBench = Callable[[], AbstractContextManager[Bench]]


class Examination(msgspec.Struct, frozen=True):
    """What was found for measuring on `device` with so many threads."""

    device: str
    threads: int
    findings: tuple[Finding, ...]


class SelfTest(msgspec.Struct, frozen=True):
    """What two copies of `model`, timed as two models would be, say of this machine.

    `resolves`, `apart` and `latency_spread` are shares (see `scaleprof.stats.resolution`). `noise_spread` is
    the 90th over the 10th percentile of a matrix product's times.
    """

    model: str
    resolves: float
    apart: float
    latency_spread: float
    noise: Verdict
    noise_spread: float
    launches: int
    rounds: int


def examine(device: str = "auto", threads: int | None = None) -> Examination:
    """Look at this machine without changing it.

    Raises:
        UsageError: a device or a number of threads that cannot be.
    """
    os.environ.update(host.DEVICE_ORDER)
    # First of all, and before torch is imported: what this program does must not be taken for a neighbour.
    around = neighbours.read_neighbours(os.cpu_count() or 1)
    usable = host.usable_cpus()
    installed = software.read_software(os.environ, worker_environment(os.environ, threads or usable))
    workload = _workload(device, threads, works=installed.torch.torch is not None)
    cpu = read_processor(workload.threads)
    allowed = limits.read_limits(workload.threads)
    return Examination(
        workload.device,
        workload.threads,
        (
            *(check(cpu) for check in processor.PROCESSOR_CHECKS),
            *(check(around) for check in neighbours.NEIGHBOUR_CHECKS),
            *(check(allowed) for check in limits.LIMIT_CHECKS),
            *(check(installed) for check in software.SOFTWARE_CHECKS),
            *_gpu_findings(workload.device, installed.torch.gpu_uuids),
        ),
    )


def self_test(
    examined: Examination,
    *,
    seed: int = 0,
    open_bench: OpenBench | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SelfTest:
    """Time two copies of one model in three fresh workers, as a sweep would two models.

    Raises:
        MeasuringError: a worker does not start, or the model fails in it.
    """
    workload = Workload(examined.device, threads=examined.threads)
    spec = base_spec(FAMILIES[DEFAULT_MODEL])
    jobs = [Job(number, spec, workload, DEFAULT_MODEL) for number in range(2)]
    start = open_bench or partial(
        open_worker,
        device=workload.device,
        threads=workload.threads,
        seed=seed,
        timeout_s=DEFAULT_TIMEOUT_S,
    )
    launches = [
        _launch(number, jobs, start, random.Random(f"{seed}/{number}"), clock)
        for number in range(SELF_TEST_LAUNCHES)
    ]
    first, second = ([launch[job.number] for launch in launches] for job in jobs)
    seen, spread = resolution(first, second), noise_spread([*first, *second])
    if seen is None or spread is None:
        raise MeasuringError("the self-test's launches hold too few rounds: a pass takes too long here")
    return SelfTest(
        model=spec.spec_id,
        noise=noise_verdict(spread),
        noise_spread=spread,
        **msgspec.structs.asdict(seen),
    )


def _workload(device: str, threads: int | None, *, works: bool) -> Workload:
    """The device and threads that are meant; where torch is broken, nothing can be asked of it."""
    if not works:
        resolved = "cpu" if device == "auto" else device
        return Workload(resolved, threads=threads or host.usable_cpus())
    from scaleprof.app.workloads import list_workloads  # imports torch

    return list_workloads(host.resolve_device(device), threads=threads)[0]


def _gpu_findings(device: str, uuids: tuple[str, ...]) -> list[Finding]:
    with opened(find_nvml()) as nvml:
        found = [gpu.check_presence(device, gpu.count_gpus(nvml), len(uuids))]
        if not device.startswith("cuda"):
            return found
        number = int(device.partition(":")[2] or 0)
        uuid = uuids[number] if number < len(uuids) else ""
        facts = gpu.read_gpu(nvml, uuid)
    return [*found, *(check(facts) for check in gpu.GPU_CHECKS)]


def _launch(
    number: int,
    jobs: list[Job],
    open_bench: OpenBench,
    rng: random.Random,
    clock: Callable[[], float],
) -> list[Launch]:
    """One launch of the jobs; its share of the time begins when the last of them is built."""
    log = LaunchLog(number)
    ends_s = 0.0

    def observe(step: Step) -> None:
        nonlocal ends_s
        if step.doing == "build":
            ends_s = clock() + SELF_TEST_S / SELF_TEST_LAUNCHES

    try:
        with open_bench() as bench:
            run_launch(
                bench,
                jobs,
                _PLAN,
                log,
                rng=rng,
                out_of_time=lambda: clock() >= ends_s,
                observe=observe,
                inspect=lambda _job: False,
            )
    except JobFailedError as failure:
        raise MeasuringError(f"the self-test's model failed: {failure.reason}") from failure
    for failed in log.failed.values():
        raise MeasuringError(f"the self-test's model failed: {failed.reason}") from failed
    return [launch for job in jobs if (launch := log.result(job, complete=True))]

"""Deciding what a sweep will do before anything runs: models, costs, fit, groups and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar, get_args

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.counting import Counted, OnDone, count_choice, make_record, with_accuracies
from scaleprof.engines.local import ALLOCATORS, AllocatorPolicy
from scaleprof.errors import UsageError, suggestion
from scaleprof.measuring import estimate, host
from scaleprof.measuring.messages import Job
from scaleprof.measuring.presets import compile_s, launch_s, make_plan, model_s, setup_s, sustain_s, visit_s
from scaleprof.measuring.rounds import Doing
from scaleprof.measuring.weights import CALIBRATION_BATCH
from scaleprof.records import BatchSearch, Cast, DType, MemoryFormat, Mode, Plan, Record, Runtime, Workload
from scaleprof.reporting.accuracy import AccuracyTable
from scaleprof.stats.batches import best_batch
from scaleprof.units import format_bytes

_Value = TypeVar("_Value", bound=int | str)

# Seen: resident peaks are up to twice the counted activations, by the workspaces of convolutions.
_ACTIVATION_SLACK = 2.0
_MEMORY_SHARE = 0.8


# Exported runtimes hold weights of their own, packed for their kernels beside the ones they were given.
_WEIGHT_COPIES: dict[Runtime, int] = {"onnxruntime": 2, "openvino": 2}


class Forecast(msgspec.Struct, frozen=True):
    """What a job is expected to take: seconds a pass, and bytes that stay held and that a pass adds."""

    pass_s: float
    held_bytes: int
    pass_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes that the job holds at once."""
        return self.held_bytes + self.pass_bytes


class Searched(msgspec.Struct, frozen=True):
    """What was found of the batches of a network under a workload (whose own batch says nothing)."""

    network: tuple[object, ...]
    workload: Workload
    found: BatchSearch

    def is_of(self, job: Job) -> bool:
        """Whether this is the job's network, under its workload but for the batch."""
        workload = msgspec.structs.replace(job.workload, batch_size=self.workload.batch_size)
        return self.network == job.spec.identity and workload == self.workload

    def has_run(self, job: Job) -> bool:
        """Whether the job's batch ran in the search: then no forecast can say that it does not fit."""
        size = job.workload.batch_size
        return self.is_of(job) and any(t.batch_size == size and t.reason is None for t in self.found.trials)

    @property
    def sizes(self) -> list[int]:
        """The batches to measure: the one with the best throughput, and the largest."""
        return sorted({best_batch(self.found), self.found.largest})


class SweepPlan(msgspec.Struct, frozen=True):
    """Everything that is decided before anything runs; `unfit` jobs are not run, with the reason.

    The jobs of a group are in memory together, in a worker with as many threads as they ask for. Where the
    models of one number of threads need several groups, their smallest one is the anchor: it is in each.
    `doubts`: rows of the table of `accuracies` that are left out, and models without an accuracy, in words.
    """

    jobs: tuple[Job, ...]
    counted: dict[int, Counted]
    forecasts: dict[int, Forecast]
    unfit: dict[int, Record]
    groups: tuple[tuple[int, ...], ...]
    plan: Plan
    device: str
    seed: int
    allocator: AllocatorPolicy = "pinned"
    available_bytes: int = 0
    networks: tuple[Counted, ...] = ()
    searched: tuple[Searched, ...] = ()
    accuracies: AccuracyTable | None = None
    doubts: tuple[str, ...] = ()

    def expected_s(self, held: Mapping[int, int] | None = None) -> tuple[float, float]:
        """Least and most seconds that the sweep is expected to take, within a factor of about two.

        Compiling is in it, though no budget counts it. `held` gives the launches, by job, that a resumed run
        already holds.
        """
        bounds = (self.plan.min_rounds, self.plan.max_rounds)
        least, most = (
            sum(
                launch_s(passes_s, launch, rounds, self.plan, self.device)
                for launch, passes_s in self._passes_s(held or {})
            )
            for rounds in bounds
        )
        limit_s = self.plan.max_time_s or most
        compiling_s = self.compiling_s(held)
        return min(least, limit_s) + compiling_s, min(most, limit_s) + compiling_s

    def compiling_s(self, held: Mapping[int, int] | None = None) -> float:
        """Seconds that compiling and exporting is expected to take, within a factor of about three."""
        return sum(
            compile_s(self.jobs[number].workload.runtime, launch)
            for launch in range(self.plan.launches)
            for group in self.groups
            for number in group
            if (held or {}).get(number, 0) <= launch
        )

    def work_s(self, held: Mapping[int, int]) -> float:
        """Seconds of building, visiting and running if no launch stops early; the measure of progress."""
        measuring_s = sum(
            model_s(pass_s, launch, self.plan.max_rounds, self.plan, self.device)
            for launch, passes_s in self._passes_s(held)
            for pass_s in passes_s
        )
        return measuring_s + self.compiling_s(held)

    def step_s(self, job: Job, doing: Doing, launch: int) -> float:
        """Seconds of that work that one step with one model is."""
        pass_s = self.forecasts[job.number].pass_s
        if doing == "visit":
            return visit_s(pass_s, self.device)
        if doing == "sustain":
            return sustain_s(pass_s, self.plan, self.device)
        return setup_s(pass_s, launch, self.device) + compile_s(job.workload.runtime, launch)

    def largest_batch(self, job: Job) -> int:
        """The largest batch of the job's network that fits by the forecast of memory; 0 if none does."""
        cost = self.counted[job.number].cost
        if cost is None or not cost.peak_activation_bytes:
            return 0
        held_bytes = self.forecasts[job.number].held_bytes + cost.gradient_bytes
        free_bytes = _MEMORY_SHARE * self.available_bytes - held_bytes
        return max(0, int(free_bytes / (_ACTIVATION_SLACK * cost.peak_activation_bytes)))

    def search_of(self, job: Job) -> BatchSearch | None:
        """What a search of batches found for the job's network under its workload."""
        return next((one.found for one in self.searched if one.is_of(job)), None)

    def _passes_s(self, held: Mapping[int, int]) -> list[tuple[int, list[float]]]:
        """Launch, and the pass times of its models that are not held yet, for each launch and group."""
        return [
            (launch, [self.forecasts[number].pass_s for number in group if held.get(number, 0) <= launch])
            for launch in range(self.plan.launches)
            for group in self.groups
        ]


def plan_sweep(
    choice: Choice,
    *,
    device: str = "auto",
    batch_size: int | Sequence[int] = 1,
    threads: int | Sequence[int] | None = None,
    dtype: str | Sequence[str] = "fp32",
    memory_format: str | Sequence[str] = "contiguous",
    mode: str = "infer",
    runtime: str | Sequence[str] = "eager",
    cast: str | Sequence[str] = "weights",
    allocator: AllocatorPolicy = "pinned",
    plan: Plan | None = None,
    seed: int = 0,
    counted: Sequence[Counted] | None = None,
    searched: Sequence[Searched] = (),
    accuracies: AccuracyTable | None = None,
    known: Sequence[Record] = (),
    on_done: OnDone = lambda _done, _total: None,
) -> SweepPlan:
    """Expand, match, count and forecast a sweep without running a model.

    `counted`: the models, if they are counted already. `searched`: batches that are measured beside those of
    `batch_size`. `known`: records of a run that is resumed, with the accuracies that they hold; those of
    the table `accuracies` come before them. `on_done` is called with (models done, models in all); the rest
    is as for `sweep`.

    Raises:
        UsageError: a scale, device, batch size or number of threads that cannot be.
    """
    resolved = host.resolve_device(device)
    workloads = list_workloads(
        resolved,
        batch_size=batch_size or 1,
        threads=threads,
        dtype=dtype,
        memory_format=memory_format,
        mode=mode,
        runtime=runtime,
        cast=cast,
    )
    _known(allocator, tuple(ALLOCATORS), option="--allocator")
    if counted is None:
        counted = count_choice(choice, on_done, mode=workloads[0].mode)
    counted, doubts = with_accuracies(counted, accuracies, known)
    asked = [] if searched and not batch_size else workloads
    pairs = _pairs(asked, counted, searched)
    jobs = tuple(
        Job(
            number,
            one.spec,
            workload,
            choice.models[one.spec.model].locator,
            one.cost.params if one.cost else None,
        )
        for number, (workload, one) in enumerate(pairs)
    )
    costs = {job.number: _counted_as(one, job.workload) for job, (_, one) in zip(jobs, pairs, strict=True)}
    rates = {count: estimate.macs_per_s(resolved, count) for count in {w.threads for w in workloads}}
    forecasts = {job.number: _forecast(job, costs[job.number], rates[job.workload.threads]) for job in jobs}
    available = host.device_memory_bytes(resolved)
    tried = {number for number, job in enumerate(jobs) if any(one.has_run(job) for one in searched)}
    unfit = {
        job.number: record
        for job in jobs
        if job.number not in tried
        and (record := _unfit(job, costs[job.number], forecasts[job.number], available))
    }
    return SweepPlan(
        jobs=jobs,
        counted=costs,
        forecasts=forecasts,
        unfit=unfit,
        groups=_group([job for job in jobs if job.number not in unfit], forecasts, available),
        plan=plan or make_plan(),
        device=resolved,
        seed=seed,
        allocator=allocator,
        available_bytes=available,
        networks=tuple(counted),
        searched=tuple(searched),
        accuracies=accuracies,
        doubts=doubts,
    )


def _pairs(
    workloads: Sequence[Workload], counted: Sequence[Counted], searched: Sequence[Searched]
) -> list[tuple[Workload, Counted]]:
    """What is measured: every network under every workload, and with the batches that were found for it."""
    found = [
        (msgspec.structs.replace(one.workload, batch_size=size), network)
        for network in counted
        for one in searched
        if one.network == network.spec.identity
        for size in one.sizes
    ]
    all_ = [*((workload, network) for workload in workloads for network in counted), *found]
    return list(
        {(workload, network.spec.identity): (workload, network) for workload, network in all_}.values()
    )


def list_workloads(
    device: str,
    *,
    batch_size: int | Sequence[int] = 1,
    threads: int | Sequence[int] | None = None,
    dtype: str | Sequence[str] = "fp32",
    memory_format: str | Sequence[str] = "contiguous",
    mode: str = "infer",
    runtime: str | Sequence[str] = "eager",
    cast: str | Sequence[str] = "weights",
) -> list[Workload]:
    """Every combination of these, in order and each once; without `threads`, all CPUs of this process.

    In fp32 nothing is cast, so that it is there once whatever `cast` says.

    Raises:
        UsageError: a batch, a number of threads, or a name of these that cannot be.
    """
    sizes = _distinct(batch_size)
    if not sizes or min(sizes) < 1:
        raise UsageError(f"--batch-size {','.join(map(str, sizes))}: every batch has at least 1 image")
    usable = host.usable_cpus()
    counts = [usable] if threads is None else _distinct(threads)
    if not counts or not 1 <= min(counts) <= max(counts) <= usable:
        raise UsageError(f"--threads {','.join(map(str, counts))}: this process may use 1 to {usable} CPUs")
    dtypes = _known(dtype, get_args(DType), option="--dtype")
    layouts = _known(memory_format, get_args(MemoryFormat), option="--memory-format")
    (step,) = _known(mode, get_args(Mode), option="--mode")
    runtimes = _known(runtime, get_args(Runtime), option="--runtime")
    casts = _known(cast, get_args(Cast), option="--cast")
    axes = product(counts, runtimes, dtypes, casts, layouts, sizes)
    workloads = [
        Workload(
            device,
            batch_size=size,
            threads=count,
            dtype=kind,
            mode=step,
            runtime=form,
            memory_format=layout,
            cast="weights" if kind == "fp32" else how,
        )
        for count, form, kind, how, layout, size in axes
    ]
    return list(dict.fromkeys(workloads))


def _known(values: str | Sequence[str], known: Sequence[str], *, option: str) -> list[Any]:
    """The values, each one of `known`, and one at least."""
    names = _distinct(values)
    for name in names or [""]:
        if name not in known:
            hint = suggestion(name, known) or " is not known"
            raise UsageError(f"{option} '{name}'{hint} ({', '.join(known)})")
    return names


def _distinct(values: _Value | Sequence[_Value]) -> list[_Value]:
    """One value or several, each once."""
    one = isinstance(values, (int, str)) or not isinstance(values, Sequence)
    return [values] if one else list(dict.fromkeys(values))  # type: ignore[arg-type, list-item]


def _counted_as(counted: Counted, workload: Workload) -> Counted:
    """The cost in the bytes of a dtype that weights are cast to: networks are counted in fp32."""
    if counted.cost is None or workload.dtype == "fp32" or workload.cast == "autocast":
        return counted
    return msgspec.structs.replace(counted, cost=counted.cost.with_half_the_bytes())


def _forecast(job: Job, counted: Counted, rate_macs_per_s: float) -> Forecast:
    if counted.cost is None:
        return Forecast(0.0, 0, 0)
    cost, workload = counted.cost, job.workload
    most_images = max(workload.batch_size, CALIBRATION_BATCH)
    return Forecast(
        pass_s=estimate.pass_s(cost.macs * workload.batch_size, rate_macs_per_s, workload.device),
        held_bytes=_WEIGHT_COPIES.get(workload.runtime, 1) * cost.weight_bytes + cost.optimizer_bytes,
        pass_bytes=int(_ACTIVATION_SLACK * cost.peak_activation_bytes * most_images) + cost.gradient_bytes,
    )


def _unfit(job: Job, counted: Counted, forecast: Forecast, available_bytes: int) -> Record | None:
    """The record of a job that is not run: it could not be counted or matched, or does not fit."""
    record = make_record(counted, job.workload)
    if counted.status != "ok":
        return record
    refused = _why_refused(job.workload)
    if refused is not None:
        return msgspec.structs.replace(record, status="unsupported", reason=refused)
    if forecast.peak_bytes <= _MEMORY_SHARE * available_bytes:
        return None
    reason = (
        f"needs about {format_bytes(forecast.peak_bytes)} of memory, "
        f"{format_bytes(_MEMORY_SHARE * available_bytes)} may be used"
    )
    return msgspec.structs.replace(record, status="skipped", reason=reason)


def _why_refused(workload: Workload) -> str | None:
    """Why a workload is never run, if so."""
    if (workload.mode, workload.dtype, workload.cast) == ("train", "fp16", "weights"):
        return "gradients vanish in fp16 weights: use --cast autocast, which scales the loss, or bf16"
    return None


def _group(
    jobs: Sequence[Job], forecasts: Mapping[int, Forecast], available_bytes: int
) -> tuple[tuple[int, ...], ...]:
    """Jobs that are measured together: of one number of threads, and as many as fit in memory."""
    groups: list[tuple[int, ...]] = []
    for threads in dict.fromkeys(job.workload.threads for job in jobs):
        numbers = [job.number for job in jobs if job.workload.threads == threads]
        groups.extend(_pack(numbers, forecasts, available_bytes))
    return tuple(groups)


def _pack(
    numbers: Sequence[int], forecasts: Mapping[int, Forecast], available_bytes: int
) -> list[tuple[int, ...]]:
    """Jobs in order, in as few groups as hold all weights and the largest activations.

    If there are several, the job that needs the least memory is in each of them, first: it joins the ratios
    of one group to those of another.
    """
    limit_bytes = _MEMORY_SHARE * available_bytes
    together = [*numbers]
    if _held_bytes(together, forecasts) <= limit_bytes:
        return [tuple(together)] if together else []
    anchor = min(numbers, key=lambda number: forecasts[number].peak_bytes)
    groups = [[anchor]]
    for number in (number for number in numbers if number != anchor):
        if len(groups[-1]) > 1 and _held_bytes([*groups[-1], number], forecasts) > limit_bytes:
            groups.append([anchor])
        groups[-1].append(number)
    return [tuple(group) for group in groups]


def _held_bytes(numbers: Sequence[int], forecasts: Mapping[int, Forecast]) -> int:
    """What these jobs hold at once: all weights and optimizers, and the activations of one at a time."""
    return sum(forecasts[number].held_bytes for number in numbers) + max(
        (forecasts[number].pass_bytes for number in numbers), default=0
    )

"""Deciding what a sweep will do before anything runs: models, costs, fit, groups and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar, get_args

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.counting import Counted, OnDone, count_choice, make_record
from scaleprof.engines.local import ALLOCATORS, AllocatorPolicy
from scaleprof.errors import UsageError, suggestion
from scaleprof.measuring import estimate, host
from scaleprof.measuring.messages import Job
from scaleprof.measuring.presets import launch_s, make_plan, model_s, setup_s, sustain_s, visit_s
from scaleprof.measuring.rounds import Doing
from scaleprof.measuring.weights import CALIBRATION_BATCH
from scaleprof.records import DType, MemoryFormat, Plan, Record, Workload
from scaleprof.units import format_bytes

_Value = TypeVar("_Value", bound=int | str)

# Seen: resident peaks are up to twice the counted activations, by the workspaces of convolutions.
_ACTIVATION_SLACK = 2.0
_MEMORY_SHARE = 0.8


class Forecast(msgspec.Struct, frozen=True):
    """What a job is expected to take: seconds a pass, and bytes of weights and of activations."""

    pass_s: float
    weight_bytes: int
    activation_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes that the job holds at once."""
        return self.weight_bytes + self.activation_bytes


class SweepPlan(msgspec.Struct, frozen=True):
    """Everything that is decided before anything runs; `unfit` jobs are not run, with the reason.

    The jobs of a group are in memory together, in a worker with as many threads as they ask for. Where the
    models of one number of threads need several groups, their smallest one is the anchor: it is in each.
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

    def expected_s(self, held: Mapping[int, int] | None = None) -> tuple[float, float]:
        """Least and most seconds that the sweep is expected to take, within a factor of about two.

        `held` gives the launches, by job, that a resumed run already holds.
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
        return min(least, limit_s), min(most, limit_s)

    def work_s(self, held: Mapping[int, int]) -> float:
        """Seconds of building, visiting and running if no launch stops early; the measure of progress."""
        return sum(
            model_s(pass_s, launch, self.plan.max_rounds, self.plan, self.device)
            for launch, passes_s in self._passes_s(held)
            for pass_s in passes_s
        )

    def step_s(self, job: Job, doing: Doing, launch: int) -> float:
        """Seconds of that work that one step with one model is."""
        pass_s = self.forecasts[job.number].pass_s
        if doing == "visit":
            return visit_s(pass_s, self.device)
        if doing == "sustain":
            return sustain_s(pass_s, self.plan)
        return setup_s(pass_s, launch, self.device)

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
    allocator: AllocatorPolicy = "pinned",
    plan: Plan | None = None,
    seed: int = 0,
    on_done: OnDone = lambda _done, _total: None,
) -> SweepPlan:
    """Expand, match, count and forecast a sweep without running a model.

    `on_done` is called with (models done, models in all); the rest is as for `sweep`.

    Raises:
        UsageError: a scale, device, batch size or number of threads that cannot be.
    """
    resolved = host.resolve_device(device)
    workloads = list_workloads(
        resolved, batch_size=batch_size, threads=threads, dtype=dtype, memory_format=memory_format
    )
    _known(allocator, tuple(ALLOCATORS), option="--allocator")
    counted = count_choice(choice, on_done)
    jobs = tuple(
        Job(
            number,
            one.spec,
            workload,
            choice.models[one.spec.model].locator,
            one.cost.params if one.cost else None,
        )
        for number, (workload, one) in enumerate((w, c) for w in workloads for c in counted)
    )
    costs = {
        job.number: _counted_as(one, job.workload.dtype)
        for job, one in zip(jobs, counted * len(workloads), strict=True)
    }
    rates = {count: estimate.macs_per_s(resolved, count) for count in {w.threads for w in workloads}}
    forecasts = {job.number: _forecast(job, costs[job.number], rates[job.workload.threads]) for job in jobs}
    available = host.device_memory_bytes(resolved)
    unfit = {
        job.number: record
        for job in jobs
        if (record := _unfit(job, costs[job.number], forecasts[job.number], available))
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
    )


def list_workloads(
    device: str,
    *,
    batch_size: int | Sequence[int] = 1,
    threads: int | Sequence[int] | None = None,
    dtype: str | Sequence[str] = "fp32",
    memory_format: str | Sequence[str] = "contiguous",
) -> list[Workload]:
    """Every combination of these, in order; without `threads`, the CPUs that this process may use.

    Raises:
        UsageError: a batch, a number of threads, a dtype or a memory format that cannot be.
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
    return [
        Workload(device, batch_size=size, threads=count, dtype=kind, memory_format=layout)
        for count, kind, layout, size in product(counts, dtypes, layouts, sizes)
    ]


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


def _counted_as(counted: Counted, dtype: DType) -> Counted:
    """The cost in the bytes of a dtype: networks are counted in fp32."""
    if counted.cost is None or dtype == "fp32":
        return counted
    return msgspec.structs.replace(counted, cost=counted.cost.with_half_the_bytes())


def _forecast(job: Job, counted: Counted, rate_macs_per_s: float) -> Forecast:
    if counted.cost is None:
        return Forecast(0.0, 0, 0)
    batch_size = job.workload.batch_size
    most_images = max(batch_size, CALIBRATION_BATCH)
    return Forecast(
        pass_s=estimate.pass_s(counted.cost.macs * batch_size, rate_macs_per_s, job.workload.device),
        weight_bytes=counted.cost.weight_bytes,
        activation_bytes=int(_ACTIVATION_SLACK * counted.cost.peak_activation_bytes * most_images),
    )


def _unfit(job: Job, counted: Counted, forecast: Forecast, available_bytes: int) -> Record | None:
    """The record of a job that is not run: it could not be counted or matched, or does not fit."""
    record = make_record(counted, job.workload)
    if counted.status != "ok":
        return record
    if forecast.peak_bytes <= _MEMORY_SHARE * available_bytes:
        return None
    reason = (
        f"needs about {format_bytes(forecast.peak_bytes)} of memory, "
        f"{format_bytes(_MEMORY_SHARE * available_bytes)} may be used"
    )
    return msgspec.structs.replace(record, status="skipped", reason=reason)


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
    """What these jobs hold at once: all weights, and the activations of one at a time."""
    return sum(forecasts[number].weight_bytes for number in numbers) + max(
        (forecasts[number].activation_bytes for number in numbers), default=0
    )

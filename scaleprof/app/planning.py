"""Deciding what a sweep will do before anything runs: models, costs, fit, groups and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.counting import Counted, OnDone, count_choice, make_record
from scaleprof.errors import UsageError
from scaleprof.measuring import estimate, host
from scaleprof.measuring.messages import Job
from scaleprof.measuring.presets import build_s, launch_s, make_plan, visit_s
from scaleprof.measuring.weights import CALIBRATION_BATCH
from scaleprof.records import Plan, Record, Workload
from scaleprof.units import format_bytes

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
    """Everything that is decided before anything runs; `unfit` jobs are not run, with the reason."""

    jobs: tuple[Job, ...]
    counted: dict[int, Counted]
    forecasts: dict[int, Forecast]
    unfit: dict[int, Record]
    groups: tuple[tuple[int, ...], ...]
    plan: Plan
    device: str
    threads: int
    seed: int

    def expected_s(self, held: Mapping[int, int] | None = None) -> tuple[float, float]:
        """Least and most seconds that the sweep is expected to take, within a factor of about two.

        `held` gives the launches, by job, that a resumed run already holds.
        """
        bounds = (self.plan.min_rounds, self.plan.max_rounds)
        least, most = (sum(launch_s(p, n, self.device) for p in self._passes_s(held or {})) for n in bounds)
        limit_s = self.plan.max_time_s or most
        return min(least, limit_s), min(most, limit_s)

    def work_s(self, held: Mapping[int, int]) -> float:
        """Seconds of building and visiting if no launch stops early; the measure of progress."""
        return sum(
            build_s(pass_s) + self.plan.max_rounds * visit_s(pass_s, self.device)
            for passes_s in self._passes_s(held)
            for pass_s in passes_s
        )

    def step_s(self, job: Job, *, building: bool) -> float:
        """Seconds of that work that building, or visiting, one model is."""
        pass_s = self.forecasts[job.number].pass_s
        return build_s(pass_s) if building else visit_s(pass_s, self.device)

    def _passes_s(self, held: Mapping[int, int]) -> list[list[float]]:
        """Pass times of the models of each launch and group that are not held yet."""
        return [
            [self.forecasts[number].pass_s for number in group if held.get(number, 0) <= launch]
            for launch in range(self.plan.launches)
            for group in self.groups
        ]


def plan_sweep(
    choice: Choice,
    *,
    device: str = "auto",
    batch_size: int | Sequence[int] = 1,
    threads: int | None = None,
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
    workloads = _workloads(resolved, batch_size, threads)
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
    costs = dict(enumerate(counted * len(workloads)))
    rate = estimate.macs_per_s(resolved, workloads[0].threads)
    forecasts = {job.number: _forecast(job, costs[job.number], rate) for job in jobs}
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
        groups=_pack([job.number for job in jobs if job.number not in unfit], forecasts, available),
        plan=plan or make_plan("default"),
        device=resolved,
        threads=workloads[0].threads,
        seed=seed,
    )


def _workloads(device: str, batch_size: int | Sequence[int], threads: int | None) -> list[Workload]:
    sizes = [batch_size] if isinstance(batch_size, int) else list(dict.fromkeys(batch_size))
    if not sizes or min(sizes) < 1:
        raise UsageError(f"--batch-size {','.join(map(str, sizes))}: every batch has at least 1 image")
    usable = host.usable_cpus()
    if threads is not None and not 1 <= threads <= usable:
        raise UsageError(f"--threads {threads}: this process may use 1 to {usable} CPUs")
    return [Workload(device, size, threads or usable) for size in sizes]


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


def _pack(
    numbers: Sequence[int], forecasts: dict[int, Forecast], available_bytes: int
) -> tuple[tuple[int, ...], ...]:
    """Jobs in order, in as few groups as hold their weights and the largest activations together."""
    groups: list[list[int]] = []
    weights = largest = 0
    for number in numbers:
        forecast = forecasts[number]
        weights += forecast.weight_bytes
        largest = max(largest, forecast.activation_bytes)
        if not groups or weights + largest > _MEMORY_SHARE * available_bytes:
            groups.append([])
            weights, largest = forecast.weight_bytes, forecast.activation_bytes
        groups[-1].append(number)
    return tuple(map(tuple, groups))

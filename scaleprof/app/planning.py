"""Deciding what a sweep will do before anything runs: models, costs, fit, groups and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from scaleprof.app import fitting
from scaleprof.app.choosing import Choice
from scaleprof.app.counting import Counted, OnDone, count_choice, with_accuracies
from scaleprof.app.fitting import Forecast
from scaleprof.app.workloads import known_names, list_workloads
from scaleprof.engines.local import ALLOCATORS, AllocatorPolicy
from scaleprof.measuring import estimate, host
from scaleprof.measuring.messages import Job
from scaleprof.measuring.presets import compile_s, launch_s, make_plan, model_s, setup_s, sustain_s, visit_s
from scaleprof.measuring.rounds import Doing
from scaleprof.records import BatchSearch, Plan, Record, Workload
from scaleprof.reporting.accuracy import AccuracyTable
from scaleprof.stats.batches import best_batch


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
        return fitting.largest_batch(
            self.counted[job.number], self.forecasts[job.number], self.available_bytes
        )

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
    known_names(allocator, tuple(ALLOCATORS), option="--allocator")
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
    forecasts = {
        job.number: fitting.forecast(job, costs[job.number], rates[job.workload.threads]) for job in jobs
    }
    available = host.device_memory_bytes(resolved)
    tried = {number for number, job in enumerate(jobs) if any(one.has_run(job) for one in searched)}
    unfit = {
        job.number: record
        for job in jobs
        if job.number not in tried
        and (record := fitting.unfit(job, costs[job.number], forecasts[job.number], available))
    }
    return SweepPlan(
        jobs=jobs,
        counted=costs,
        forecasts=forecasts,
        unfit=unfit,
        groups=fitting.group([job for job in jobs if job.number not in unfit], forecasts, available),
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


def _counted_as(counted: Counted, workload: Workload) -> Counted:
    """The cost in the bytes of a dtype that weights are cast to: networks are counted in fp32."""
    if counted.cost is None or workload.dtype == "fp32" or workload.cast == "autocast":
        return counted
    return msgspec.structs.replace(counted, cost=counted.cost.with_half_the_bytes())

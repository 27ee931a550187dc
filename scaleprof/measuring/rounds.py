"""One launch: every model built once in a fresh worker, then visited in rounds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import Literal, Protocol

import msgspec

from scaleprof.measuring.messages import Built, CeilingsMeasured, Job, Visited
from scaleprof.records import DType, Launch, Plan, Status, Sustained, Visit
from scaleprof.stats.intervals import relative_half_width

# Models that met their target are still visited in every so-manieth round.
SETTLED_EVERY = 4
LOOK_GROWTH = 4 / 3


class Bench(Protocol):
    """What a launch runs on: a worker process, or a simulated one.

    Its methods raise `JobFailedError` if the model fails and the bench can go on, `BenchLostError` if it
    cannot. `worker` names it among all workers.
    """

    @property
    def worker(self) -> str:
        """What tells this worker from any other."""

    def build(self, job: Job, *, inspect: bool) -> Built:
        """Build and warm up a model; with `inspect`, take its peak memory too."""

    def visit(self, job: Job) -> Visited:
        """Time a model that has been built."""

    def sustain(self, job: Job, at_least_s: float, energy_s: float) -> Sustained:
        """Run a model that has been built back to back."""

    def ceilings(self, dtype: DType) -> CeilingsMeasured:
        """Free all models and measure the machine's ceilings; or say why not. It never raises."""


class JobFailedError(Exception):
    """A model could not be built or run."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class BenchLostError(JobFailedError):
    """The worker died, hung or became useless while this model was in hand."""


Doing = Literal["build", "visit", "sustain"]


class Step(msgspec.Struct, frozen=True):
    """One thing that has been done, for whoever shows progress; `round` counts the visits from 0."""

    launch: int
    doing: Doing
    round: int | None
    job: Job


Observer = Callable[[Step], None]


class LaunchLog:
    """What one launch has gathered so far; readable at any moment, also after an interruption."""

    def __init__(self, launch: int, group: int = 0) -> None:
        self.launch = launch
        self.group = group
        self.worker = ""
        self.failed: dict[int, JobFailedError] = {}
        self._built: dict[int, Built] = {}
        self._visits: dict[int, list[Visit]] = {}
        self._sustained: dict[int, Sustained] = {}
        self._ceilings: dict[DType, CeilingsMeasured] = {}

    def add_built(self, job: Job, built: Built) -> None:
        """Note that a model is ready."""
        self._built[job.number] = built
        self._visits[job.number] = []

    def add_visit(self, job: Job, round_number: int, visited: Visited) -> None:
        """Note the samples of a visit."""
        self._visits[job.number].append(Visit(round=round_number, **msgspec.structs.asdict(visited)))

    def add_sustained(self, job: Job, sustained: Sustained) -> None:
        """Note how a model ran back to back."""
        self._sustained[job.number] = sustained

    def add_ceilings(self, dtype: DType, measured: CeilingsMeasured) -> None:
        """Note the machine's ceilings for models of a dtype."""
        self._ceilings[dtype] = measured

    def warmup_s(self, job: Job) -> float:
        """Seconds that the model was warmed up for; none before it is built."""
        built = self._built.get(job.number)
        return built.warmup.seconds if built else 0.0

    @property
    def compiled_s(self) -> float:
        """Seconds that compiling and exporting models has taken, which no time budget counts."""
        return sum(built.compiled.seconds for built in self._built.values() if built.compiled)

    def visited_s(self, job: Job) -> float:
        """Seconds that the model's samples have taken so far."""
        return sum(sum(visit.samples_s) for visit in self._visits[job.number])

    def half_width(self, job: Job) -> float:
        """Half the width of the interval of this launch's median, as a share of it."""
        return relative_half_width([median(visit.samples_s) for visit in self._visits[job.number]])

    def result(self, job: Job, *, complete: bool) -> Launch | None:
        """The model's part of this launch; None before its first visit."""
        if not self._visits.get(job.number):
            return None
        seen = self._ceilings.get(job.workload.dtype)
        return Launch(
            launch=self.launch,
            complete=complete,
            visits=tuple(self._visits[job.number]),
            group=self.group,
            worker=self.worker,
            sustained=self._sustained.get(job.number),
            ceilings=seen.ceilings if seen else None,
            ceilings_missing=seen.missing if seen else None,
            **msgspec.structs.asdict(self._built[job.number]),
        )


class Attendance:
    """Which models a round visits.

    Every model is visited in the least number of rounds. Then one whose interval meets the target is visited
    in every fourth round only, so that others can still be compared with it in the same round; one that has
    had the time of a heavy model is visited no more. Intervals are looked at after numbers of rounds that
    grow by a third: looking after each would stop at the luckiest.
    """

    def __init__(self, jobs: Sequence[Job], plan: Plan) -> None:
        self._plan = plan
        self._restless = {job.number: job for job in jobs}
        self._settled: dict[int, Job] = {}
        self._next_look = plan.min_rounds

    def leave(self, job: Job) -> None:
        """A model failed: it is visited no more."""
        self._restless.pop(job.number, None)
        self._settled.pop(job.number, None)

    def of_round(self, round_number: int) -> list[Job]:
        """The models to visit in this round."""
        extra = self._settled if round_number % SETTLED_EVERY == 0 else {}
        return [*self._restless.values(), *extra.values()]

    def look(self, rounds_done: int, log: LaunchLog) -> None:
        """Sort the models after a round, if it is time to."""
        if rounds_done < self._next_look:
            return
        self._next_look = max(rounds_done + 1, math.ceil(rounds_done * LOOK_GROWTH))
        for job in list(self._restless.values()):
            if log.half_width(job) <= self._plan.target_ci:
                self._settled[job.number] = self._restless.pop(job.number)
            elif self._plan.heavy_s is not None and log.visited_s(job) >= self._plan.heavy_s:
                del self._restless[job.number]

    @property
    def is_over(self) -> bool:
        """Whether nobody has to be visited any more."""
        return not self._restless


def run_launch(
    bench: Bench,
    jobs: Sequence[Job],
    plan: Plan,
    log: LaunchLog,
    *,
    rng: random.Random,
    out_of_time: Callable[[], bool],
    observe: Observer,
    inspect: Callable[[Job], bool] = lambda _job: True,
) -> None:
    """Build all jobs, visit them round by round in random order, then run each back to back, filling `log`.

    Rounds end when every model met the plan's target or has had its time, at their most, or after the round
    in which the time ran out; then nothing is run back to back either. A model that fails is noted in
    `log.failed` and left out from then on.

    Raises:
        BenchLostError: the worker is gone; the model in hand is noted in `log.failed`.
    """
    log.worker = bench.worker
    attendance = Attendance(jobs, plan)

    def attempt(job: Job, doing: Doing, work: Callable[[], None], round_number: int | None = None) -> None:
        try:
            work()
        except JobFailedError as failure:
            log.failed[job.number] = failure
            attendance.leave(job)
            if isinstance(failure, BenchLostError):
                raise
        observe(Step(log.launch, doing, round_number, job))

    for job in jobs:
        attempt(job, "build", lambda job=job: log.add_built(job, bench.build(job, inspect=inspect(job))))  # type: ignore[misc]
    for number in range(plan.max_rounds):
        if attendance.is_over:
            break
        for job in _shuffled(attendance.of_round(number), rng):
            attempt(
                job,
                "visit",
                lambda job=job, number=number: log.add_visit(job, number, bench.visit(job)),  # type: ignore[misc]
                number,
            )
        attendance.look(number + 1, log)
        if out_of_time():
            return
    if plan.sustained_s:
        for job in _shuffled([job for job in jobs if job.number not in log.failed], rng):
            if out_of_time():
                return
            attempt(
                job,
                "sustain",
                lambda job=job: log.add_sustained(job, bench.sustain(job, plan.sustained_s, plan.energy_s)),  # type: ignore[misc]
            )


def _shuffled(jobs: list[Job], rng: random.Random) -> list[Job]:
    rng.shuffle(jobs)
    return jobs

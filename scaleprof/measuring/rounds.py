"""One launch: every model built once in a fresh worker, then visited in rounds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import Protocol

import msgspec

from scaleprof.measuring.messages import Built, Job, Visited
from scaleprof.records import Launch, Plan, Status, Visit
from scaleprof.stats.intervals import relative_half_width


class Bench(Protocol):
    """What a launch runs on: a worker process, or a simulated one.

    Both methods raise `JobFailedError` if the model fails and the bench can go on, `BenchLostError` if it
    cannot.
    """

    def build(self, job: Job) -> Built:
        """Build and warm up a model."""

    def visit(self, job: Job) -> Visited:
        """Time a model that has been built."""


class JobFailedError(Exception):
    """A model could not be built or run."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class BenchLostError(JobFailedError):
    """The worker died, hung or became useless while this model was in hand."""


class Step(msgspec.Struct, frozen=True):
    """One thing that has been done, for whoever shows progress: a model built, or visited in a round."""

    launch: int
    round: int | None
    job: Job


Observer = Callable[[Step], None]


class LaunchLog:
    """What one launch has gathered so far; readable at any moment, also after an interruption."""

    def __init__(self, launch: int) -> None:
        self.launch = launch
        self.failed: dict[int, JobFailedError] = {}
        self._built: dict[int, Built] = {}
        self._visits: dict[int, list[Visit]] = {}

    def add_built(self, job: Job, built: Built) -> None:
        """Note that a model is ready."""
        self._built[job.number] = built
        self._visits[job.number] = []

    def add_visit(self, job: Job, round_number: int, visited: Visited) -> None:
        """Note the samples of a visit."""
        self._visits[job.number].append(Visit(round=round_number, **msgspec.structs.asdict(visited)))

    def half_width(self, job: Job) -> float:
        """Half the width of the interval of this launch's median, as a share of it."""
        return relative_half_width([median(visit.samples_s) for visit in self._visits[job.number]])

    def result(self, job: Job, *, complete: bool) -> Launch | None:
        """The model's part of this launch; None before its first visit."""
        if not self._visits.get(job.number):
            return None
        return Launch(
            launch=self.launch,
            complete=complete,
            visits=tuple(self._visits[job.number]),
            **msgspec.structs.asdict(self._built[job.number]),
        )


def run_launch(
    bench: Bench,
    jobs: Sequence[Job],
    plan: Plan,
    log: LaunchLog,
    *,
    rng: random.Random,
    out_of_time: Callable[[], bool],
    observe: Observer,
) -> None:
    """Build all jobs, then visit them round by round in random order, filling `log`.

    Ends when every model met the plan's target after its least number of rounds, at its most, or after the
    round in which the time ran out. A model that fails is noted in `log.failed` and left out from then on.

    Raises:
        BenchLostError: the worker is gone; the model in hand is noted in `log.failed`.
    """
    open_jobs = {job.number: job for job in jobs}

    def attempt(job: Job, round_number: int | None) -> None:
        try:
            if round_number is None:
                log.add_built(job, bench.build(job))
            else:
                log.add_visit(job, round_number, bench.visit(job))
        except JobFailedError as failure:
            log.failed[job.number] = failure
            del open_jobs[job.number]
            if isinstance(failure, BenchLostError):
                raise
        observe(Step(log.launch, round_number, job))

    for job in jobs:
        attempt(job, None)
    for round_number in range(plan.max_rounds):
        order = list(open_jobs.values())
        rng.shuffle(order)
        for job in order:
            attempt(job, round_number)
        enough = round_number + 1 >= plan.min_rounds and all(
            log.half_width(job) <= plan.target_ci for job in open_jobs.values()
        )
        if enough or out_of_time():
            break

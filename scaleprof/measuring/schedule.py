"""All launches of a sweep: groups that fit in memory, workers that may be lost, results kept as they come."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import msgspec

from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import Bench, BenchLostError, JobFailedError, LaunchLog, Observer, run_launch
from scaleprof.records import Launch, Plan


class Progress(msgspec.Struct, frozen=True):
    """How a job stands: its launches so far, and how it failed if it did."""

    job: Job
    launches: tuple[Launch, ...]
    failure: JobFailedError | None = None


@dataclass
class Schedule:
    """Measures jobs under a plan and hands each job's progress to `keep` after every launch.

    Launches go over all groups before the next begins, so that a slow spell of the machine falls on one
    launch of every model. A group has a worker of its own, with as many threads as its models ask for; an
    anchor model that is in several groups gets a launch in each. A launch whose worker is lost is begun again
    with the models that are left: half a launch is not one. On any other exception (an interruption) what the
    launch in hand has gathered is kept as an incomplete launch, and the exception goes on.

    Attributes:
        plan: launches, rounds and limits.
        open_bench: starts a fresh worker with so many threads.
        keep: takes what is known of jobs after their launch.
        observe: told of each step; runs between samples, never beside one.
        clock: seconds, monotonic.
        seed: of the visiting order.
    """

    plan: Plan
    open_bench: Callable[[int], AbstractContextManager[Bench]]
    keep: Callable[[Sequence[Progress]], None]
    observe: Observer
    clock: Callable[[], float]
    seed: int
    _held: dict[int, tuple[Launch, ...]] = field(default_factory=dict, init=False)
    _home: dict[int, int] = field(default_factory=dict, init=False)
    _compiled_s: float = field(default=0.0, init=False)

    def run(
        self, groups: Sequence[Sequence[Job]], done: Mapping[int, tuple[Launch, ...]] | None = None
    ) -> None:
        """Measure all jobs; those of a group are in memory together.

        Args:
            groups: the jobs.
            done: complete launches that a resumed run already holds, by job number.
        """
        self._held = {job.number: (done or {}).get(job.number, ()) for group in groups for job in group}
        for number, group in enumerate(groups):
            for job in group:
                self._home.setdefault(job.number, number)
        started_s = self._clock_s()
        for launch in range(self.plan.launches):
            if launch and self.plan.max_time_s and self._clock_s() >= started_s + self.plan.max_time_s:
                return
            share_s = (self.plan.max_time_s or 0.0) * (launch + 1) / self.plan.launches
            for number, group in enumerate(groups):
                self._run_group(launch, number, group, started_s + share_s)

    def _run_group(self, launch: int, number: int, group: Sequence[Job], ends_s: float) -> None:
        """One launch of one group, begun again with the rest as often as a model takes the worker down."""
        attempt = 0
        while left := self._left(launch, number, group):
            log = LaunchLog(launch, number)
            rng = random.Random(f"{self.seed}/{launch}/{number}/{attempt}")
            lost = self._run_once(log, left, rng, ends_s)
            self.keep(
                [self._give_up(job, log.failed[job.number]) for job in left if job.number in log.failed]
            )
            left = [job for job in left if job.number not in log.failed]
            if not lost:
                finished = self._progress(left, log, complete=True)
                self._held.update({progress.job.number: progress.launches for progress in finished})
                self.keep(finished)
                return
            attempt += 1

    def _left(self, launch: int, number: int, group: Sequence[Job]) -> list[Job]:
        """The group's models that lack this launch, and its anchor, if another model lacks it.

        A model that failed is held no more.
        """
        lacking = [
            job
            for job in group
            if self._home[job.number] == number
            and job.number in self._held
            and launch not in {held.launch for held in self._held[job.number]}
        ]
        guests = [job for job in group if self._home[job.number] != number and job.number in self._held]
        return [*guests, *lacking] if lacking else []

    def _run_once(self, log: LaunchLog, jobs: Sequence[Job], rng: random.Random, ends_s: float) -> bool:
        """Fill `log` from one worker; True if that was lost on the way."""
        limited = self.plan.max_time_s is not None
        try:
            with self.open_bench(jobs[0].workload.threads) as bench:
                run_launch(
                    bench,
                    jobs,
                    self.plan,
                    log,
                    rng=rng,
                    out_of_time=lambda: limited and self._clock_s() - log.compiled_s >= ends_s,
                    observe=self.observe,
                    inspect=self._lacks_memory,
                )
                # Last: after it nothing is timed that it could disturb, and no model needs its memory.
                for dtype in dict.fromkeys(job.workload.dtype for job in jobs):
                    log.add_ceilings(dtype, bench.ceilings(dtype))
        except BenchLostError:
            return True
        except BaseException:  # kept, not swallowed: an interruption must not cost what was measured
            self.keep(
                [self._give_up(job, log.failed[job.number]) for job in jobs if job.number in log.failed]
            )
            left = [job for job in jobs if job.number not in log.failed]
            self.keep(self._progress(left, log, complete=False))
            raise
        finally:
            self._compiled_s += log.compiled_s
        return False

    def _clock_s(self) -> float:
        """The clock without what compiling took: no budget counts that."""
        return self.clock() - self._compiled_s

    def _lacks_memory(self, job: Job) -> bool:
        """Whether no launch has its peak memory: it hardly differs between processes, and takes a build."""
        return all(launch.peak_memory_bytes is None for launch in self._held[job.number])

    def _give_up(self, job: Job, failure: JobFailedError) -> Progress:
        return Progress(job, self._held.pop(job.number), failure)

    def _progress(self, jobs: Sequence[Job], log: LaunchLog, *, complete: bool) -> list[Progress]:
        """Each job's earlier launches with what `log` adds; a job without any samples is left out."""
        progress = []
        for job in jobs:
            new = log.result(job, complete=complete)
            launches = (*self._held[job.number], *([new] if new else []))
            if launches:
                progress.append(Progress(job, launches))
        return progress

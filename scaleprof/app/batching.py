"""`--batch-size max`: for each network the largest batch that fits, and the one with the best throughput."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec

from scaleprof.app.planning import Searched, SweepPlan
from scaleprof.engines.local import open_worker
from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import BenchLostError, JobFailedError
from scaleprof.records import BatchSearch, BatchTrial, Record, Workload
from scaleprof.stats.batches import search_batches


class TrialBench(Protocol):
    """What batches are tried on: a worker process, or a simulated one."""

    def try_out(self, job: Job) -> float:
        """Seconds a pass, roughly.

        Raises:
            JobFailedError: the model does not run.
        """


OpenBench = Callable[[int], AbstractContextManager[TrialBench]]
# Told of each trial, between trials.
OnTrial = Callable[[Job, BatchTrial], None]


def find_batches(
    planned: SweepPlan,
    *,
    known: Sequence[Record] = (),
    open_bench: OpenBench | None = None,
    on_trial: OnTrial = lambda _job, _trial: None,
) -> list[Searched]:
    """Search batches for every network of a plan under each of its workloads, whatever their batch.

    A network of which not even one sample runs has none: its row will say why.

    Args:
        planned: the networks and workloads, with what they are forecast to take.
        known: records of a run that is resumed: what was found there is not searched again.
        open_bench: opens a worker with so many threads.
        on_trial: told of each trial.
    """
    found_before = {
        (record.spec.identity, of_one(record.workload)): record.batch_search
        for record in known
        if record.batch_search is not None
    }
    with TemporaryDirectory(prefix="scaleprof-") as folder:
        opener = open_bench or (lambda threads: _worker(planned, threads, Path(folder)))
        return [
            Searched(job.spec.identity, job.workload, found)
            for job in _subjects(planned).values()
            if (
                found := found_before.get((job.spec.identity, job.workload))
                or _search(job, planned, opener, on_trial)
            )
        ]


def of_one(workload: Workload) -> Workload:
    """The workload with a batch of one: what a search of batches is known by."""
    return msgspec.structs.replace(workload, batch_size=1)


def _subjects(planned: SweepPlan) -> Mapping[object, Job]:
    """Each network under each workload once, of those that can be built."""
    return {
        (job.spec.identity, of_one(job.workload)): msgspec.structs.replace(job, workload=of_one(job.workload))
        for job in planned.jobs
        if planned.counted[job.number].status == "ok"
    }


def _search(job: Job, planned: SweepPlan, opener: OpenBench, on_trial: OnTrial) -> BatchSearch | None:
    with _Trials(job, opener) as trials:

        def attempt(size: int) -> BatchTrial:
            trial = trials.run(size)
            on_trial(job, trial)
            return trial

        try:
            return search_batches(
                attempt, limit=max(1, planned.largest_batch(job)), beyond=job.workload.on_cuda
            )
        except ValueError:  # not even one sample runs
            return None


class _Trials(AbstractContextManager["_Trials"]):
    """Batches of one model, one after another in one worker; in a new one where a batch took it down."""

    def __init__(self, job: Job, opener: OpenBench) -> None:
        self._job = job
        self._opener = opener
        self._stack = ExitStack()
        self._bench: TrialBench | None = None

    def run(self, size: int) -> BatchTrial:
        """Try a batch; why it did not run is in the trial."""
        workload = msgspec.structs.replace(self._job.workload, batch_size=size)
        try:
            self._bench = self._bench or self._stack.enter_context(self._opener(workload.threads))
            pass_s = self._bench.try_out(msgspec.structs.replace(self._job, workload=workload))
        except JobFailedError as failure:
            if isinstance(failure, BenchLostError):
                self.close()
            return BatchTrial(size, None, f"{failure.status}: {failure.reason}")
        return BatchTrial(size, size / pass_s)

    def close(self) -> None:
        """End the worker, if there is one."""
        self._stack.close()
        self._bench = None

    def __exit__(self, *_error: object) -> None:
        self.close()


def _worker(planned: SweepPlan, threads: int, folder: Path) -> AbstractContextManager[TrialBench]:
    return open_worker(
        device=planned.device,
        threads=threads,
        seed=planned.seed,
        timeout_s=planned.plan.timeout_s,
        allocator=planned.allocator,
        folder=folder,
    )

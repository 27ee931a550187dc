"""The records of a sweep in the making: in memory, and in the run file if there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import scaleprof
from scaleprof.app.counting import make_record, now_utc
from scaleprof.app.planning import SweepPlan
from scaleprof.engines.local import LocalBench, open_worker
from scaleprof.engines.worktrees import count_changed_files, find_repository, head_of
from scaleprof.errors import HostMismatchError, MeasuringError, UsageError
from scaleprof.measuring.messages import Job
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.measuring.rounds import Step
from scaleprof.measuring.schedule import Progress
from scaleprof.records import BASE_STRATEGY, Host, Launch, ModelSpec, Plan, Record, RunHeader, RunLog
from scaleprof.stats.latency import summarise
from scaleprof.store import RunWriter


class Watcher:
    """Told how a sweep goes on; does nothing by itself. Called between samples, never beside one."""

    def began(self, path: Path | None) -> None:
        """The first worker runs and the run file, if any, has its header."""

    def stepped(self, step: Step, share_done: float) -> None:
        """A model was built or visited; `share_done` of the work is behind, if no early stop comes."""

    def kept(self, records: Sequence[Record]) -> None:
        """These records are final or better than before, and on disk."""


@dataclass(frozen=True)
class Given:
    """Records that a new run begins with, of another run on this machine."""

    path: Path
    header: RunHeader
    records: tuple[Record, ...]


@dataclass
class Ledger:
    """Takes what is measured, begins or continues the run, and keeps every record at once.

    Use it as a context manager: it opens a run to resume, and closes the file. Workers keep in `folder` what
    they compile and export, for the workers of later launches. Where a run has several parts, one after
    another (`go_on`), its header tells `header_plan`; `given` are records that it begins with.
    """

    planned: SweepPlan
    output: Path | None
    resume: bool
    overwrite: bool
    command: tuple[str, ...]
    watcher: Watcher
    folder: Path
    header_plan: Plan | None = None
    given: Given | None = None
    _header: RunHeader | None = None
    _writer: RunWriter | None = None
    _records: dict[tuple[object, ...], Record] = field(default_factory=dict)
    _unsettled: list[Record] = field(default_factory=list)
    _done_s: float = 0.0
    _work_s: float = 1.0

    def __enter__(self) -> Ledger:
        if self.resume:
            if self.output is None:
                raise UsageError("--resume needs the run to go on with: give it with -o")
            with ExitStack() as on_error:
                self._writer = RunWriter.resume(self.output)
                on_error.callback(self._writer.close)
                if self._writer.done is not None:
                    self._take_over(self._writer.done)
                on_error.pop_all()
        self._work_s = self.planned.work_s(launches_held(self.planned, self._records.values()))
        return self

    def __exit__(self, *_error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def go_on(self, planned: SweepPlan, watcher: Watcher) -> None:
        """Take the next part of the run: models that it lacks, and some that are measured once more.

        A record that is measured again replaces its earlier one.
        """
        self.planned, self.watcher = planned, watcher
        self._done_s, self._work_s = 0.0, planned.work_s({})
        self._unsettled = [*self._renamed(), *self._new_unfit()]

    def finished_launches(self) -> dict[int, tuple[Launch, ...]]:
        """The complete launches that a resumed run holds of each job."""
        return {
            job.number: complete_launches(record)
            for job in self.planned.jobs
            if (record := self._records.get(_key(job))) is not None
        }

    @contextmanager
    def open_bench(self, threads: int) -> Iterator[LocalBench]:
        """A fresh worker; the first one's host begins the run, or is checked against it."""
        planned = self.planned
        with open_worker(
            device=planned.device,
            threads=threads,
            seed=planned.seed,
            timeout_s=planned.plan.timeout_s,
            allocator=planned.allocator,
            folder=self.folder,
        ) as bench:
            self._begin(bench.host)
            yield bench

    def observe(self, step: Step) -> None:
        """Pass a step on with the share of the work that is behind."""
        self._done_s += self.planned.step_s(step.job, step.doing, step.launch)
        self.watcher.stepped(step, min(1.0, self._done_s / self._work_s))

    def keep(self, progress: Sequence[Progress]) -> None:
        """Make records of what is known and put them on disk.

        What an interruption cut off in its first launch does not replace what was measured whole.
        """
        self._store([self._record(one) for one in progress if not self._is_cut_short(one)])

    def _is_cut_short(self, progress: Progress) -> bool:
        held = self._records.get(_key(progress.job))
        if held is None or progress.failure is not None:
            return False
        then, now = (any(launch.complete for launch in one.launches) for one in (held, progress))
        return then and not now

    def log(self) -> RunLog:
        """The header and all records, in the sweep's order."""
        if self._header is None:
            raise MeasuringError("nothing was measured")
        self._settle()  # where nothing was left to measure, no worker has asked for it
        order = {_key(job): job.number for job in self.planned.jobs}
        last = len(order)
        records = sorted(self._records.values(), key=lambda record: order.get(record.key, last))
        return RunLog(self._header, tuple(records))

    def _begin(self, described: Host) -> None:
        if self._header is not None:
            _check_same(self.output, self._header, described, "begin a new run with another -o")
            self._settle()
            return
        planned, given = self.planned, self.given
        if given is not None:
            _check_same(given.path, given.header, described, "leave out --run")
        self._header = RunHeader(
            scaleprof=scaleprof.__version__,
            command=self.command,
            started_at=now_utc(),
            host=described,
            protocol=PROTOCOL_VERSION,
            seed=planned.seed,
            plan=self.header_plan or planned.plan,
            revision=_revision_here(),
        )
        if self.output is not None:
            self._writer = RunWriter.create(self.output, self._header, overwrite=self.overwrite)
        self.watcher.began(self.output)
        if given is not None:
            self._write(given.records)
        self._store([*self._renamed(), *self._new_unfit()])

    def _take_over(self, done: RunLog) -> None:
        """Go on with a run: its records, under the names that this sweep asks for.

        Raises:
            HostMismatchError: the run was measured by another plan.
            UsageError: a name of this sweep means another model there.
        """
        check_protocol(self.output, done.header, "begin a new run with another -o")
        _check_plan(self.output, done.header.plan, self.planned.plan)
        self._header = done.header
        self._records = {record.key: record for record in done.records}
        named = {(record.spec.spec_id, record.workload): record for record in done.records}
        for job in self.planned.jobs:
            other = named.get((job.spec.spec_id, job.workload))
            if other is not None and (other.key != _key(job) or _rule(other.spec) != _rule(job.spec)):
                raise UsageError(
                    f"{self.output} holds another {job.spec.spec_id} ({_size(other)}; other bases, "
                    f"rounding, matching or code?): begin a new run with another -o"
                )
            self._check_cost(job)
        self._unsettled = [*self._renamed(), *self._new_unfit()]

    def _check_cost(self, job: Job) -> None:
        """A person's builder may have changed since; its factors are the same, its network is not."""
        record, cost = self._records.get(_key(job)), self.planned.counted[job.number].cost
        if record is None or record.cost is None or cost is None:
            return
        then, now = ((c.macs, c.params) for c in (record.cost, cost))
        if then != now:
            raise UsageError(
                f"{self.output} holds {job.spec.spec_id} with {then[0]} MACs and {then[1]} parameters, "
                f"it now has {now[0]} and {now[1]}: begin a new run with another -o"
            )

    def _settle(self) -> None:
        """Write what a resumed sweep changes without measuring; not before the host has been checked."""
        unsettled, self._unsettled = self._unsettled, []
        self._store(unsettled)

    def _new_unfit(self) -> list[Record]:
        """Why models of this plan are not run, of which nothing better is known."""
        return [record for record in self.planned.unfit.values() if record.key not in self._records]

    def _renamed(self) -> list[Record]:
        """Records of networks that this sweep knows by another name, with both names."""
        renamed = []
        for job in self.planned.jobs:
            record = self._records.get(_key(job))
            known = {record.spec.spec_id, *record.spec.also} if record else set()
            wanted = {job.spec.spec_id, *job.spec.also}
            if record is not None and not wanted <= known:
                spec = min(record.spec, job.spec, key=lambda spec: spec.strategy != BASE_STRATEGY)
                also = tuple(sorted((known | wanted) - {spec.spec_id}))
                spec = msgspec.structs.replace(spec, also=also)
                renamed.append(msgspec.structs.replace(record, spec=spec))
        return renamed

    def _store(self, records: Sequence[Record]) -> None:
        if records:
            self._write(records)
            self.watcher.kept(records)

    def _write(self, records: Sequence[Record]) -> None:
        if self._writer is not None:
            self._writer.append(records)
        self._records.update({record.key: record for record in records})

    def _record(self, progress: Progress) -> Record:
        job, failure = progress.job, progress.failure
        summary = summarise(progress.launches)
        counted = self.planned.counted[job.number]
        held = self._records.get(_key(job))
        return msgspec.structs.replace(
            make_record(counted, job.workload),
            spec=held.spec if held else job.spec,
            status=failure.status if failure else "ok",
            reason=failure.reason if failure else None,
            launches=progress.launches,
            stop=summary.stop(self.planned.plan.target_ci) if summary else None,
            batch_search=self.planned.search_of(job),
        )


def _revision_here() -> str | None:
    """The commit that the current folder is at, if it is in a git repository without changed files."""
    try:
        repository = find_repository(Path.cwd())
    except UsageError:
        return None
    return None if count_changed_files(repository) else head_of(repository)


def launches_held(planned: SweepPlan, records: Iterable[Record]) -> dict[int, int]:
    """How many launches of each job these records already hold, by job number."""
    held = {record.key: len({one.launch for one in complete_launches(record)}) for record in records}
    return {job.number: held[_key(job)] for job in planned.jobs if _key(job) in held}


def complete_launches(record: Record) -> tuple[Launch, ...]:
    """The launches of a record that need not be done again."""
    return tuple(launch for launch in record.launches if launch.complete)


def _key(job: Job) -> tuple[object, ...]:
    return (*job.spec.identity, job.workload)


def _rule(spec: ModelSpec) -> tuple[object, ...]:
    """How a spec was asked for; the base is the base under every rule."""
    return () if spec.strategy == BASE_STRATEGY else (spec.match, spec.rounding)


def _size(record: Record) -> str:
    spec = record.spec
    return "inputs of its own" if spec.input_size is None else f"{spec.input_size} {spec.input_unit}"


def check_protocol(path: Path | None, header: RunHeader, way_out: str) -> None:
    """Refuse to set measurements of another protocol beside those of this one.

    Raises:
        HostMismatchError: the run was measured by another protocol.
    """
    if header.protocol != PROTOCOL_VERSION:
        raise HostMismatchError(
            f"{path} was measured by protocol {header.protocol}, this is {PROTOCOL_VERSION}: "
            f"the two are not comparable, {way_out}"
        )


def _check_same(path: Path | None, header: RunHeader, described: Host, way_out: str) -> None:
    """Hold the machine that a run was measured on against this one.

    Raises:
        HostMismatchError: they differ in what measurements depend on.
    """
    then, now = header.host.stable_part(), described.stable_part()
    for name, value in then.items():
        if now[name] != value:
            raise HostMismatchError(
                f"{path} was measured with {name} {value}, this is {now[name]}: "
                f"the two are not comparable, {way_out}"
            )


def _check_plan(path: Path | None, then: Plan, now: Plan) -> None:
    names = ("preset", "launches", "min_rounds", "max_rounds", "target_ci", "heavy_s", "sustained_s")
    for name in names:
        before, after = getattr(then, name), getattr(now, name)
        if before != after:
            raise HostMismatchError(
                f"{path} was measured with {name} {before}, this asks for {after}: "
                f"resume it with the options it was begun with, or begin a new run with another -o"
            )

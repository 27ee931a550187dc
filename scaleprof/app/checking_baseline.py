"""A check against a kept run: the same models measured again by the same plan, and held against it.

A kept run was measured on another day, and that is no fair race. It takes five launches on both sides,
latencies ÷ reference network, and the same machine and software; what is flagged can be raced properly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec

import scaleprof
from scaleprof.app.baseline_lines import Line, is_by_formula, line_up, target_of
from scaleprof.app.choosing import Choice
from scaleprof.app.comparing_arms import ArmsRequest, CheckWatcher, compare_revisions
from scaleprof.app.counting import now_utc
from scaleprof.app.ledger import Watcher
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.sweeping import run_sweep
from scaleprof.engines.local import ALLOCATORS
from scaleprof.errors import MeasuringError, NothingToShowError, ScaleprofError, UsageError
from scaleprof.measuring.host import describe_host, usable_cpus
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.records import (
    ArmFacts,
    BaselineLog,
    CheckHeader,
    CheckTarget,
    Host,
    Record,
    RunLog,
    Workload,
)
from scaleprof.reporting.checks_baseline import differences, flagged, target_name
from scaleprof.stats.tripwire import MIN_LAUNCHES
from scaleprof.store import read_run

_Key = tuple[str, Workload]

_AXES = ("batch_size", "threads", "dtype", "memory_format", "mode", "runtime", "cast")


class BaselineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to hold against a kept run.

    Args:
        path: the run.
        models: which of its models, as `-m` names them, all if empty; a person's own are found by it.
        exact_only: count, and time nothing.
        update: put what is measured now in the place of the run.
        confirm: measure what is flagged again, beside the run's own revision.
        max_time_s: as for a sweep, and again for what is confirmed.
        limits, budgets, accepted, fail_on, command: go into the header as they are.
    """

    path: Path
    models: tuple[str, ...] = ()
    exact_only: bool = False
    update: bool = False
    confirm: bool = True
    max_time_s: float | None = None
    limits: tuple[tuple[str, str, float], ...] = ()
    budgets: tuple[str, ...] = ()
    accepted: tuple[tuple[str, str, str, str], ...] = ()
    fail_on: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def check_baseline(
    request: BaselineRequest,
    *,
    watch: Callable[[SweepPlan], Watcher] = lambda _planned: Watcher(),
    check_watcher: CheckWatcher | None = None,
) -> BaselineLog:
    """The record of a check against a kept run.

    Raises:
        UsageError: the run cannot serve as a baseline: it is none, or has too few launches.
        NothingToShowError: it holds none of the models that are asked for.
        MeasuringError: nothing could be measured.
    """
    baseline = _read(request)
    lines, choice, new = line_up(baseline, request.path, request.models)
    header = _header(request, baseline)
    log = BaselineLog(
        header=header,
        name=str(request.path),
        baseline=baseline,
        targets=(*(target_of(line, baseline) for line in lines), *new),
        mismatch=differences(baseline.header, header.after.host, PROTOCOL_VERSION),
    )
    if request.exact_only or (log.mismatch and not request.update):
        return log
    if request.update:
        kept = {_key(line.record) for line in lines if line.counted is not None and line.counted.cost}
        _require_all(request, baseline, kept, "cannot")
    log = msgspec.structs.replace(log, candidate=_measure(request, baseline, lines, choice, watch))
    log = _told_by_workers(log)
    names = flagged(log) if request.confirm else []
    return _retest(log, request, lines, names, check_watcher) if names else log


def list_baseline(request: BaselineRequest) -> tuple[CheckTarget, ...]:
    """What would be checked, without measuring anything.

    Raises:
        UsageError, NothingToShowError: as `check_baseline`.
    """
    baseline = _read(request)
    lines, _, new = line_up(baseline, request.path, request.models)
    return tuple(one.target for one in (*(target_of(line, baseline) for line in lines), *new))


def _read(request: BaselineRequest) -> RunLog:
    path = request.path
    log = read_run(path)
    if not log.records:
        raise NothingToShowError(f"{path} holds no rows: nothing can be compared with it")
    launches = log.header.plan.launches
    if launches < MIN_LAUNCHES and not request.exact_only:
        raise UsageError(
            f"{path} has {launches} launches a model, a baseline needs {MIN_LAUNCHES}: "
            f"make it with scaleprof sweep --preset rigorous"
        )
    return log


def _header(request: BaselineRequest, baseline: RunLog) -> CheckHeader:
    device = baseline.records[0].workload.device
    return CheckHeader(
        scaleprof=scaleprof.__version__,
        command=request.command,
        started_at=now_utc(),
        mode="baseline",
        protocol=PROTOCOL_VERSION,
        seed=baseline.header.seed,
        before=ArmFacts(str(request.path), baseline.header.revision, baseline.header.host, {}),
        after=ArmFacts("what is here now", None, _this_host(device, baseline.header.host), {}),
        limits=request.limits,
        budgets=request.budgets,
        accepted=request.accepted,
        fail_on=request.fail_on,
        exact_only=request.exact_only,
        max_time_s=request.max_time_s,
    )


def _this_host(device: str, then: Host) -> Host:
    """This machine, as far as it is known before a worker tells; a GPU that is not there is none."""
    from scaleprof.measuring.host import resolve_device

    try:
        here = resolve_device(device)
    except UsageError:
        here = "cpu"
    host = describe_host(here, then.allocator)
    # How threads wait, and to how many CPUs they are pinned, is the workers' to know.
    return msgspec.structs.replace(
        host,
        openmp_wait_policy=then.openmp_wait_policy,
        usable_cpus=min(host.usable_cpus, then.usable_cpus),
    )


def _measure(
    request: BaselineRequest,
    baseline: RunLog,
    lines: Sequence[Line],
    choice: Choice,
    watch: Callable[[SweepPlan], Watcher],
) -> RunLog:
    """The same models under the same workloads by the same plan; in place of the baseline, if so asked."""
    counted = [line.counted for line in lines if line.counted is not None]
    if not counted:
        raise MeasuringError(f"none of the models of {request.path} can be built now")
    planned = _plan(request, baseline, lines, choice)
    path = request.path
    part = path.with_name(f".{path.name}.new") if request.update else None
    try:
        run = run_sweep(
            planned, output=part, overwrite=True, command=_command(request, baseline), watcher=watch(planned)
        )
        if part is not None:
            measured = {_key(record) for record in run.log.records if record.measured}
            _require_all(request, baseline, measured, "could not")
            part.replace(path)
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return run.log


def _plan(request: BaselineRequest, baseline: RunLog, lines: Sequence[Line], choice: Choice) -> SweepPlan:
    workloads = list(dict.fromkeys(line.record.workload for line in lines))
    axes: dict[str, Any] = {
        name: list(dict.fromkeys(getattr(workload, name) for workload in workloads)) for name in _AXES
    }
    modes = axes.pop("mode")
    specs = {line.counted.spec.identity: line.counted for line in lines if line.counted is not None}
    most_threads = max(axes["threads"])
    if most_threads > usable_cpus():
        raise UsageError(f"{request.path} was measured with {most_threads} threads: this process has fewer")
    header = baseline.header
    planned = plan_sweep(
        choice,
        device=workloads[0].device,
        **axes,
        mode=modes[0],
        allocator=next(
            (name for name, (text, _) in ALLOCATORS.items() if text == header.host.allocator), "pinned"
        ),
        plan=msgspec.structs.replace(header.plan, max_time_s=request.max_time_s or header.plan.max_time_s),
        seed=header.seed,
        counted=list(specs.values()),
    )
    asked = {_key(line.record) for line in lines}
    beyond = [job for job in planned.jobs if (job.spec.spec_id, job.workload) not in asked]
    if beyond:
        raise UsageError(
            f"{request.path} does not hold every model under every workload (batches that a search found?): "
            f"make the baseline with fixed workloads"
        )
    return planned


def _command(request: BaselineRequest, baseline: RunLog) -> tuple[str, ...]:
    """A run that takes the baseline's place is resumed by the command that made it."""
    return baseline.header.command if request.update else request.command


def _require_all(request: BaselineRequest, baseline: RunLog, now: Set[_Key], why: str) -> None:
    """A baseline is not replaced by a run that lacks what it holds.

    Raises:
        MeasuringError: it would be.
    """
    lacking = {_key(record) for record in baseline.records if record.measured} - now
    if lacking:
        names = ", ".join(sorted(name for name, _ in lacking))
        raise MeasuringError(f"{request.path} is left as it was: {names} {why} be measured now")


def _key(record: Record) -> _Key:
    return record.spec.spec_id, record.workload


def _told_by_workers(log: BaselineLog) -> BaselineLog:
    """The facts as the workers told them, which are what was measured with."""
    if log.candidate is None:
        return log
    host = log.candidate.header.host
    after = msgspec.structs.replace(log.header.after, host=host, revision=log.candidate.header.revision)
    header = msgspec.structs.replace(log.header, after=after)
    mismatch = differences(log.baseline.header, host, log.candidate.header.protocol)
    return msgspec.structs.replace(log, header=header, mismatch=mismatch)


def _retest(
    log: BaselineLog,
    request: BaselineRequest,
    lines: Sequence[Line],
    names: Sequence[str],
    watcher: CheckWatcher | None,
) -> BaselineLog:
    """What was flagged, raced against the baseline's own revision; or why that cannot be."""
    revision = log.baseline.header.revision
    if revision is None:
        reason = "the run does not tell its revision (it was made outside git, or with changed files)"
        return msgspec.structs.replace(log, not_retested=reason)
    specs = {target_name(line.record, log.baseline): line.record.spec for line in lines}
    targets = [one.target for one in log.targets if one.target.name in names]
    own = [target.name for target in targets if not is_by_formula(specs[target.name])]
    if own:
        return msgspec.structs.replace(log, not_retested=f"{', '.join(own)} has bases or matching of its own")
    try:
        retested = compare_revisions(
            ArmsRequest(
                folder=Path.cwd(),
                revision=revision,
                targets=tuple(targets),
                limits=request.limits,
                seed=log.header.seed,
                max_time_s=request.max_time_s,
                command=request.command,
            ),
            watcher,
        )
    except ScaleprofError as error:
        return msgspec.structs.replace(log, not_retested=str(error))
    return msgspec.structs.replace(log, retested=retested)

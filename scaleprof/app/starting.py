"""What a solve starts from: a coarse sweep of its own, or the rows of a given run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.app.counting import Counted, OnDone, count_choice, count_specs
from scaleprof.app.ledger import Given, check_protocol
from scaleprof.app.tracks import Track
from scaleprof.errors import UsageError
from scaleprof.records import BASE_STRATEGY, ModelSpec, Phi, Record, RunLog, Workload
from scaleprof.reporting.workloads import FIELDS
from scaleprof.store import read_run

_FLAGS = {"memory_format": "--memory-format", "batch_size": "--batch-size"}


def count_start(choice: Choice, tracks: Sequence[Track], costs: CostBook, on_done: OnDone) -> list[Counted]:
    """The models of the starting curve, each base first; the tracks are told which of them are theirs."""
    counted = count_choice(choice, on_done, costs=costs)
    held = {one.spec.identity: one for one in counted}
    bases = {track.model.name: track.specs[0] for track in tracks}
    lacking = [spec for spec in bases.values() if spec.identity not in held]
    for track in tracks:
        for one in counted:
            if one.spec.model == track.model.name and one.spec.unmatched is None:
                for phi in _phis(one.spec, track.strategy):
                    track.add(phi, one.spec)
    return [*count_specs(choice, lacking, costs), *counted]


def read_start(given: RunLog | Path, choice: Choice, tracks: Sequence[Track], workload: Workload) -> Given:
    """The rows of a run, or of its file, that are on the tracks and were measured under this workload.

    Raises:
        RunFileError: the file is no run.
        HostMismatchError: it was measured by another protocol.
        UsageError: it was measured under another workload, with other rules or code, or holds no such model.
    """
    log = read_run(given) if isinstance(given, Path) else given
    path = given if isinstance(given, Path) else Path("RUN")
    check_protocol(path, log.header, "leave out --run")
    _check_workload(path, log, workload)
    records = [record for record in log.records if record.workload == workload]
    used = {
        record.key: record
        for track in tracks
        for record in _on_track(path, track, [r for r in records if r.spec.model == track.model.name])
    }
    _check_costs(path, choice, tracks, list(used.values()))
    return Given(path, log.header, tuple(used.values()))


def _on_track(path: Path, track: Track, records: Sequence[Record]) -> list[Record]:
    """The track's records, told to it."""
    found = []
    for record in records:
        phis = [0, *_phis(record.spec, track.strategy)] if _is_base(record) else None
        for phi in phis or _phis(record.spec, track.strategy):
            _check_spec(path, track, phi, record)
            track.add(phi, record.spec)
            found.append(record)
    if not any(record.measured for record in found):
        raise UsageError(
            f"--run {path} holds no measured {track.model.name} for --strategy {track.strategy} under these "
            f"options: name another strategy, or leave out --run"
        )
    return found


def _is_base(record: Record) -> bool:
    names = (record.spec.spec_id, *record.spec.also)
    return any(name.rsplit("/", 2)[1] == BASE_STRATEGY for name in names)


def _phis(spec: ModelSpec, strategy: str) -> list[Phi]:
    """Every φ at which the strategy has this network, by its names."""
    names = [name.rsplit("/", 2) for name in (spec.spec_id, *spec.also)]
    values = [float(value) for _, named, value in names if named == strategy]
    return [int(value) if value == int(value) else value for value in values]


def _check_spec(path: Path, track: Track, phi: Phi, record: Record) -> None:
    wanted = track.spec(phi)
    own = record.spec
    is_base = phi == 0
    if (
        wanted is None
        or wanted.identity != own.identity
        or (
            not is_base
            and not _is_base(record)
            and (wanted.match, wanted.rounding) != (own.match, own.rounding)
        )
    ):
        raise UsageError(
            f"--run {path} holds another {track.model.name}/{track.strategy}/{phi:g} (other bases, rounding, "
            f"matching or code): give the options that it was made with, or leave out --run"
        )


def _check_workload(path: Path, log: RunLog, wanted: Workload) -> None:
    """Name the first field in which the run's nearest workload differs."""
    fields = ("device", *FIELDS)
    held = dict.fromkeys(record.workload for record in log.records)
    if wanted in held:
        return
    if not held:
        raise UsageError(f"--run {path} holds no rows: leave it out")

    def differing(workload: Workload) -> list[str]:
        return [name for name in fields if getattr(workload, name) != getattr(wanted, name)]

    nearest = min(held, key=lambda workload: len(differing(workload)))
    name = differing(nearest)[0]
    then, now = getattr(nearest, name), getattr(wanted, name)
    raise UsageError(
        f"--run {path} was measured with {name} {then}, this asks for {now}: "
        f"give {_FLAGS.get(name, f'--{name}')} {then}, or leave out --run"
    )


def _check_costs(path: Path, choice: Choice, tracks: Sequence[Track], records: Sequence[Record]) -> None:
    """A person's builder may import what has changed since."""
    for track in {track.model.name: track for track in tracks}.values():
        own = [record for record in records if record.spec.model == track.model.name]
        counted = count_specs(choice, [record.spec for record in own], track.costs)
        for record, now in zip(own, counted, strict=True):
            then = record.cost
            if then is not None and now.cost is not None and then.macs != now.cost.macs:
                raise UsageError(
                    f"--run {path} holds {record.spec.spec_id} with {then.macs} MACs, it now has "
                    f"{now.cost.macs}: leave out --run"
                )

"""Models of several runs against the first run: ratios with intervals, and what they decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from scaleprof.records import Record, RunLog, Workload
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.pairing import Lineup, is_same_network
from scaleprof.reporting.rows import MeasuredRow, measured_row
from scaleprof.stats.contention import allowing_for, is_contended
from scaleprof.stats.independent import latency_ratio, quotient
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.stats.latency import cpu_share

# Less is not worth a decision: a second run of the same code is off by a percent and more, and where batches
# are chosen, throughputs within 3 % count as equal too.
LIMIT = 0.03

Verdict = Literal["faster", "slower", "undecided"]


class Cell(msgspec.Struct, frozen=True):
    """One model in one run, and against the first run; `row` is None where the run does not have it.

    `ratio`: how many times as long as in the first run it takes. `throughput` and `memory`: how many times as
    many samples a second and bytes. `missing`: why a run other than the first has no ratio for a model that
    it or the first has. `alone`: one of the two measured a single launch; `contended`: other processes had
    part of the CPUs.
    """

    row: MeasuredRow | None
    ratio: Estimate | None = None
    throughput: Estimate | None = None
    memory: Estimate | None = None
    missing: str | None = None
    alone: bool = False
    contended: bool = False

    @property
    def verdict(self) -> Verdict | None:
        """What the whole interval of the ratio says; None without a ratio."""
        if self.ratio is None:
            return None
        if self.ratio.interval is None or self.ratio.interval.low <= 1 <= self.ratio.interval.high:
            return "undecided"
        return "faster" if self.ratio.interval.high < 1 else "slower"

    @property
    def within_limits(self) -> bool:
        """Whether the whole interval of the ratio is within ±`LIMIT`, either way round."""
        ends = None if self.ratio is None else self.ratio.interval
        return ends is not None and ends.low >= 1 / (1 + LIMIT) and ends.high <= 1 + LIMIT


class Line(msgspec.Struct, frozen=True):
    """One network in each run that is compared; the first cell is that of the first run.

    `label` is its name without the family, where all are of one.
    """

    name: str
    label: str
    cells: tuple[Cell, ...]


class Run(NamedTuple):
    """A run that takes part in a comparison, by its name and its place among all of them."""

    place: int
    name: str
    log: RunLog
    comparer: RunComparer

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Of the run, in order."""
        return self.comparer.workloads

    def records(self, workload: Workload) -> list[Record]:
        """Those under one of its workloads."""
        return [record for record in self.log.records if record.workload == workload]


def on_one_machine(a: Run, b: Run, workloads: tuple[Workload, Workload]) -> bool:
    """Whether latencies of two runs are to be compared ÷ reference network, which then is one divisor."""
    return not apart_by(a, b, workloads)


def apart_by(a: Run, b: Run, workloads: tuple[Workload, Workload]) -> list[str]:
    """What makes the reference network another divisor in the other run; nothing on one machine."""
    then, now = (run.log.header.host.stable_part() for run in (a, b))
    fields = ("device", "threads")
    return [
        *(name for name in fields if getattr(workloads[0], name) != getattr(workloads[1], name)),
        *(name for name in then if then[name] != now[name]),
    ]


def compare_line(lineup: Lineup, runs: Sequence[Run], by_reference: Sequence[bool]) -> Line:
    """A network's cells; `by_reference` says of each run how its latencies are set against the first's."""
    rows = [
        None if record is None else measured_row(record, run.comparer)
        for record, run in zip(lineup, runs, strict=True)
    ]
    first = _Entry(runs[0], lineup[0], rows[0])
    cells = [Cell(rows[0])]
    for place in range(1, len(runs)):
        entry = _Entry(runs[place], lineup[place], rows[place])
        cells.append(_cell(first, entry, by_reference=by_reference[place]))
    names = dict.fromkeys(record.spec.spec_id for record in lineup if record is not None)
    name = " = ".join(names)
    return Line(name, name, tuple(cells))


class _Entry(NamedTuple):
    run: Run
    record: Record | None
    row: MeasuredRow | None


def _cell(first: _Entry, other: _Entry, *, by_reference: bool) -> Cell:
    missing = _why_missing(first, other)
    if missing or first.record is None or other.record is None or first.row is None or other.row is None:
        return Cell(other.row, missing=missing)
    return Cell(
        other.row,
        ratio=_latency(first.record, other.record, by_reference=by_reference),
        throughput=_throughput(first.row, other.row),
        memory=_memory(first.record, first.row, other.record, other.row),
        alone=1 in (first.row.launches, other.row.launches),
        contended=any(is_contended(_cpu_share(record)) for record in (first.record, other.record)),
    )


def _why_missing(first: _Entry, other: _Entry) -> str | None:
    for here, there in ((first, other), (other, first)):
        if here.record is not None and there.record is None:
            return _why_alone(here.record, here.run, there.run)
    unmeasured = [
        f"{entry.row.status} in {entry.run.name}"
        for entry in (first, other)
        if entry.row is not None and entry.row.latency_ms is None
    ]
    return ", ".join(unmeasured) or None


def _why_alone(record: Record, here: Run, there: Run) -> str:
    """Why a network is in one run only: the name may stand for another one in the other."""
    mode = record.workload.mode
    namesakes = [
        other
        for other in there.log.records
        if other.spec.spec_id == record.spec.spec_id and other.workload.mode == mode
    ]
    if namesakes and not any(is_same_network(record, other) for other in namesakes):
        return f"another network in {there.name}, by its integers or its MACs"
    return f"only in {here.name}"


def _latency(first: Record, other: Record, *, by_reference: bool) -> Estimate | None:
    found = latency_ratio(other.launches, first.launches, by_reference=by_reference)
    return found and allowing_for(found, [_cpu_share(first), _cpu_share(other)])


def _cpu_share(record: Record) -> float | None:
    """The share of its CPUs' work that was its own; None where the CPU does not compute."""
    return None if record.workload.on_cuda else cpu_share(record.launches)


def _throughput(first: MeasuredRow, other: MeasuredRow) -> Estimate | None:
    a, b = (_rate(row) for row in (first, other))
    return None if a is None or b is None else quotient(b, a)


def _rate(row: MeasuredRow) -> Estimate | None:
    low, high = row.throughput_ci_low_per_s, row.throughput_ci_high_per_s
    if row.throughput_per_s is None:
        return None
    known = None if low is None or high is None else Interval(low, high)
    return Estimate(row.throughput_per_s, known)


def _memory(first: Record, a: MeasuredRow, other: Record, b: MeasuredRow) -> Estimate | None:
    """The ratio of peaks, from the least that their ranges allow to the most.

    None between a CPU, where it is the process's resident memory, and a GPU, where it is the allocator's.
    """
    low_a, high_a, low_b, high_b = (
        *(a.peak_memory_min_bytes, a.peak_memory_max_bytes),
        *(b.peak_memory_min_bytes, b.peak_memory_max_bytes),
    )
    alike = first.workload.on_cuda == other.workload.on_cuda
    if not alike or not (
        a.peak_memory_bytes and low_a and high_a and b.peak_memory_bytes and low_b and high_b
    ):
        return None
    return Estimate(b.peak_memory_bytes / a.peak_memory_bytes, Interval(low_b / high_a, high_b / low_a))

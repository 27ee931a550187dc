"""Workloads of one run side by side: the same models under several runtimes, dtypes, batches or threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from scaleprof.records import Record, RunLog, Workload
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.rows import MeasuredRow, measured_row
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.intervals import Estimate
from scaleprof.units import plural, three_digits


class Cell(msgspec.Struct, frozen=True):
    """One model under one workload: its row, and its latency over that under the first workload.

    `ratio` is taken in rounds that both are in; None where there are none, and under the first itself.
    """

    row: MeasuredRow
    ratio: Estimate | None


class Line(msgspec.Struct, frozen=True):
    """One model under each workload; None where the run has no record of it."""

    spec_id: str
    cells: tuple[Cell | None, ...]


class SideBySide(msgspec.Struct, frozen=True):
    """The models of a run as lines, its workloads as columns by what tells them apart."""

    key: str
    title: str
    columns: tuple[str, ...]
    sentences: tuple[str, ...]
    lines: tuple[Line, ...]


def set_side_by_side(log: RunLog, comparer: RunComparer, *, key: str) -> SideBySide | None:
    """The workloads of a run side by side; None if there is but one, or each model has batches of its own."""
    workloads = comparer.workloads
    axes = varying(workloads)
    if not axes or any(record.batch_search for record in log.records):
        return None
    columns = tuple(", ".join(words(workload, axes)) for workload in workloads)
    records = {(record.spec.spec_id, record.workload): record for record in log.records}
    names = dict.fromkeys(record.spec.spec_id for record in log.records)
    lines = tuple(
        Line(
            name,
            tuple(_cell(records.get((name, workload)), workloads[0], comparer) for workload in workloads),
        )
        for name in names
    )
    return SideBySide(
        key=key,
        title=f"Side by side: {', '.join(axis.replace('_', ' ') for axis in axes)}",
        columns=columns,
        sentences=tuple(_sentences(columns, lines)),
        lines=lines,
    )


def _cell(record: Record | None, first: Workload, comparer: RunComparer) -> Cell | None:
    if record is None:
        return None
    return Cell(measured_row(record, comparer), comparer.to_workload(record, first))


def _sentences(columns: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    """One for each further workload: how it compares over all models, and for how many that is decided."""
    for place, column in enumerate(columns[1:], start=1):
        cells = [cell for line in lines if (cell := line.cells[place]) is not None]
        ratios = [cell.ratio for cell in cells if cell.ratio is not None]
        if ratios:
            yield _sentence(column, columns[0], ratios)
        lost = [cell.row for cell in cells if cell.row.latency_ms is None]
        if lost:
            reason = next(row.reason for row in lost)
            models = plural(len(lost), "model", "models")
            yield f"{column}: {models} not measured ({lost[0].status}: {reason})."


def _sentence(column: str, first: str, ratios: Sequence[Estimate]) -> str:
    ends = [ratio.interval for ratio in ratios if ratio.interval is not None]
    faster, slower = sum(end.high < 1 for end in ends), sum(end.low > 1 for end in ends)
    values = [ratio.value for ratio in ratios]
    over = "" if len(values) == 1 else f", {three_digits(min(values))} to {three_digits(max(values))}"
    return (
        f"{column} takes {three_digits(median(values))} times as long as {first} (median of "
        f"{plural(len(values), 'model', 'models')}{over}): faster for {faster}, slower for {slower}, "
        f"undecided for {len(values) - faster - slower} (95 %, in the same rounds)."
    )

"""Several runs beside each other: each against the first, model by model, with what differs told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from scaleprof.records import MEASURED_STATUSES, RunLog, Workload
from scaleprof.reporting.analysis_tables import TextTable
from scaleprof.reporting.compared import LIMIT, Line, Run, apart_by, compare_line
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.comparison_words import (
    Standing,
    basis_sentence,
    comparison_table,
    front_sentence,
    lists,
    ratio_sentences,
    shown_names,
)
from scaleprof.reporting.differing import left_out, what_differs
from scaleprof.reporting.facts import device_name
from scaleprof.reporting.fronts import front_of, front_on
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.pairing import line_up, pair_workloads
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.intervals import Estimate
from scaleprof.units import plural

# More lines than these in one plot cannot be read, nor their names printed.
MOST_DRAWN = 60
AXES = (METRICS["latency_ms"], METRICS["macs"])


class Series(msgspec.Struct, frozen=True):
    """One run under one workload: what a chart draws of it, and its front of MACs against latency.

    `place` is the run's among all runs of the report, by which it has its colour everywhere.
    """

    name: str
    device: str
    place: int
    rows: tuple[MeasuredRow, ...]
    front: tuple[str, ...]
    front_labels: tuple[str, ...]


class Part(msgspec.Struct, frozen=True):
    """What is compared under one workload of the first run; `title` tells it from the others, if any.

    `drawn`: the lines in the plot of ratios, those farthest from 1 first. `numbers`: of the table, the number
    behind each cell, None for a text.
    """

    key: str
    title: str
    series: tuple[Series, ...]
    lines: tuple[Line, ...]
    drawn: tuple[int, ...]
    sentences: tuple[str, ...]
    table: TextTable
    numbers: tuple[tuple[float | None, ...], ...]
    ratio_words: str
    chart_words: str


class Comparison(msgspec.Struct, frozen=True):
    """Several runs against the first one.

    `sentences` are all there is to say, those of the parts among them; `general` those that are of no part.
    `differing` is the table of what the runs differ in, None where they tell of no difference.
    """

    names: tuple[str, ...]
    differing: TextTable | None
    general: tuple[str, ...]
    parts: tuple[Part, ...]
    key: str = "comparison"

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences, in the order in which they are to be read, each part's after its title."""
        told = [sentence for part in self.parts for sentence in (f"{part.title}:", *part.sentences)]
        return (*self.general, *(sentence for sentence in told if sentence != ":"))

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """What differs, and then the models of each part."""
        return (*filter(None, [self.differing]), *(part.table for part in self.parts))


def compare_runs(logs: Sequence[RunLog], names: Sequence[str]) -> Comparison | None:
    """Each run against the first one; None for one run alone.

    Workloads and models are paired by what they are. On one machine, latencies are compared ÷ reference
    network, elsewhere in milliseconds; runs of different protocols are not compared.

    Args:
        logs: the runs; the others are compared to the first.
        names: a name for each run, all different.
    """
    runs = [
        Run(place, name, log, RunComparer(log))
        for place, (log, name) in enumerate(zip(logs, names, strict=True))
    ]
    if len(runs) < 2:
        return None
    first, *others = runs
    pairs = {run.place: _pairs(first, run) for run in others}
    general = [sentence for run in others for sentence in _general(first, run, pairs[run.place])]
    shared = [w for w in first.workloads if any(w in paired for paired in pairs.values())]
    parts = tuple(
        _part(
            f"comparison-{number}",
            ", ".join(words(workload, varying(shared))),
            [
                (first, workload),
                *((run, pairs[run.place][workload]) for run in others if workload in pairs[run.place]),
            ],
        )
        for number, workload in enumerate(shared, start=1)
    )
    return Comparison(tuple(names), what_differs(runs), tuple(general), parts)


def _pairs(first: Run, other: Run) -> dict[Workload, Workload]:
    if first.log.header.protocol != other.log.header.protocol or first.log == other.log:
        return {}
    return pair_workloads(first.workloads, other.workloads)


def _general(first: Run, other: Run, pairs: dict[Workload, Workload]) -> list[str]:
    """What is to be said of two runs before any model: why they are not compared, or which part is not."""
    protocols = [run.log.header.protocol for run in (first, other)]
    if protocols[0] != protocols[1]:
        return [
            f"{other.name} was measured by protocol {protocols[1]}, {first.name} by protocol {protocols[0]}: "
            f"measurements of two protocols are not compared."
        ]
    if first.log == other.log:
        return [f"{other.name} and {first.name} are one and the same run: there is nothing to compare."]
    alone = [
        found
        for run, taken in ((first, set(pairs)), (other, set(pairs.values())))
        if (found := left_out(run, other if run is first else first, taken))
    ]
    if not alone:
        return []
    whole = "" if pairs else f"{other.name} and {first.name} have no workload in common. "
    return [f"{whole}Not compared, for the other run has no such workload: {'. '.join(alone)}."]


def _part(key: str, title: str, members: Sequence[tuple[Run, Workload]]) -> Part:
    """The comparison under one workload of the first run, with the workload of each other that is paired."""
    runs = [run for run, _ in members]
    (first, workload), *others = members
    apart = [apart_by(first, run, (workload, other)) for run, other in members]
    records = [run.records(other) for run, other in members]
    by_reference = [not one for one in apart]
    lines = _labelled([compare_line(lineup, runs, by_reference) for lineup in line_up(records)])
    sentences: list[str] = []
    for place, (run, _) in enumerate(others, start=1):
        sentences.append(basis_sentence(first, run, apart[place]))
        sentences += _sentences(members, lines, place, by_reference=by_reference[place])
    names = [run.name for run in runs]
    table, numbers = comparison_table(f"Models{': ' + title if title else ''}", names, lines)
    series = tuple(_series(run, lines, place) for place, run in enumerate(runs))
    drawn = _farthest(lines)
    return Part(
        key=key,
        title=title,
        series=series,
        lines=lines,
        drawn=drawn,
        sentences=tuple(sentences),
        table=table,
        numbers=numbers,
        ratio_words=_ratio_words(names, lines, drawn),
        chart_words=_chart_words(series),
    )


def _labelled(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Lines with short names, where all models are of one family."""
    families = {cell.row.model for line in lines for cell in line.cells if cell.row is not None}
    prefix = f"{families.pop()}/" if len(families) == 1 else ""
    return tuple(
        msgspec.structs.replace(line, label=line.name.replace(prefix, "") if prefix else line.name)
        for line in lines
    )


def _sentences(
    members: Sequence[tuple[Run, Workload]], lines: Sequence[Line], place: int, *, by_reference: bool
) -> list[str]:
    """What is to be said of one run against the first."""
    first, run = members[0][0].name, members[place][0].name
    cells = [line.cells[place] for line in lines]
    fronts = _shared_fronts(members, lines, place)
    return [
        *ratio_sentences(first, run, cells, by_reference=by_reference),
        *([front_sentence(*fronts)] if fronts else []),
        *lists(first, run, list(zip(lines, cells, strict=True))),
    ]


def _shared_fronts(
    members: Sequence[tuple[Run, Workload]], lines: Sequence[Line], place: int
) -> tuple[Standing, Standing] | None:
    """The fronts of the models that the first run and another both measured; None without any."""
    shared = [line for line in lines if line.cells[place].ratio is not None]
    one, other = (_standing(*members[index], shared, index) for index in (0, place))
    return None if one is None or other is None else (one, other)


def _standing(run: Run, workload: Workload, lines: Sequence[Line], place: int) -> Standing | None:
    names = {row.spec_id: line.label for line in lines if (row := line.cells[place].row) is not None}
    rows = [row for line in lines if (row := line.cells[place].row) is not None]

    def ratio_of(row: MeasuredRow, other: MeasuredRow) -> Estimate | None:
        return run.comparer.contrast(workload, {row.spec_id: 1.0, other.spec_id: -1.0})

    front = front_on(rows, *AXES, ratio_of)
    if front is None:
        return None
    unsure = {names[spec_id] for spec_id in (*front.likely, *front.undecided)}
    return Standing(run.name, [names[spec_id] for spec_id in front.spec_ids], unsure)


def _series(run: Run, lines: Sequence[Line], place: int) -> Series:
    rows = [row for line in lines if (row := line.cells[place].row) is not None]
    measured = tuple(row for row in rows if row.status in MEASURED_STATUSES)
    labels = {row.spec_id: line.label for line in lines if (row := line.cells[place].row) is not None}
    front = tuple(row.spec_id for row in front_of(measured, *AXES))
    told = tuple(labels[spec_id] for spec_id in front)
    return Series(run.name, device_name(run.log), run.place, measured, front, told)


def _farthest(lines: Sequence[Line]) -> tuple[int, ...]:
    """The lines that have a ratio, by how far the farthest of each is from 1; `MOST_DRAWN` at most."""

    def distance(index: int) -> float:
        return max((abs(math.log(ratio.value)) for ratio in _ratios(lines[index])), default=0.0)

    known = [index for index, line in enumerate(lines) if _ratios(line)]
    return tuple(sorted(known, key=distance, reverse=True)[:MOST_DRAWN])


def _ratios(line: Line) -> list[Estimate]:
    return [cell.ratio for cell in line.cells if cell.ratio is not None]


def _ratio_words(names: Sequence[str], lines: Sequence[Line], drawn: Sequence[int]) -> str:
    """The plot of ratios in words."""
    first, *others = names
    known = sum(bool(_ratios(line)) for line in lines)
    which = (
        f"the {len(drawn)} of {known} models whose ratio is farthest from 1"
        if len(drawn) < known
        else plural(known, "model", "models")
    )
    return (
        f"How many times as long as in {first} a pass takes in {' and in '.join(others)}, with 95 % "
        f"intervals: {which}, the farthest from 1 on top. A line stands at 1, dashed ones at "
        f"±{100 * LIMIT:g} %; left of 1 is faster. The numbers are in the table below."
    )


def _chart_words(series: Sequence[Series]) -> str:
    """The chart of latencies in words."""
    runs = "; ".join(
        f"{one.name} on {one.device}: {plural(len(one.rows), 'model', 'models')}, "
        f"front {shown_names(one.front_labels) or 'of none'}"
        for one in series
    )
    return (
        f"MACs (capacity proxy) against latency, a series a run with the staircase of its front. {runs}. "
        f"Latencies are those of each run's own machine and day."
    )

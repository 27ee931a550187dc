"""Several runs in words: how each takes its time against the first, and the table of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from scaleprof.reporting.analysis_tables import TextTable
from scaleprof.reporting.compared import LIMIT, Cell, Line, Run
from scaleprof.reporting.differing import LABELS
from scaleprof.reporting.tables import estimate_text, latency_text
from scaleprof.stats.independent import PROCESS_SD_MS, PROCESS_SD_RELATIVE
from scaleprof.stats.intervals import Estimate
from scaleprof.units import plural, three_digits

# More names than these are a list for the table, not for a sentence.
_MOST_NAMES = 6


def basis_sentence(first: Run, other: Run, apart: Sequence[str]) -> str:
    """What the ratios of a run to the first are of, and why."""
    if not apart:
        return (
            f"{other.name} and {first.name} were measured on one machine, or two of one kind: their ratios "
            f"are of latencies ÷ reference network, so that a change of the machine's speed drops out."
        )
    named = ", ".join(dict.fromkeys(LABELS.get(name, name) for name in apart))
    return (
        f"{other.name} and {first.name} differ in {named}, and so in what the reference network takes: their "
        f"ratios are of milliseconds."
    )


def ratio_sentences(first: str, other: str, cells: Sequence[Cell], *, by_reference: bool) -> Iterator[str]:
    """How a run takes its time against the first over all models, and what that rests on."""
    ratios = [cell.ratio for cell in cells if cell.ratio is not None]
    if not ratios:
        yield f"{other} and {first} have no model that both measured: there is no ratio."
        return
    verdicts = [cell.verdict for cell in cells]
    values = [ratio.value for ratio in ratios]
    within = sum(cell.within_limits for cell in cells)
    yield (
        f"{other} takes {three_digits(median(values))} times as long as {first} ({_over(values)}): "
        f"faster for {verdicts.count('faster')}, slower for {verdicts.count('slower')}, undecided for "
        f"{verdicts.count('undecided')} (95 %); within ±{100 * LIMIT:g} % for {within}."
    )
    beside = [
        f"{name} {three_digits(median(found))} times"
        for name, found in (
            ("throughput is", [cell.throughput.value for cell in cells if cell.throughput]),
            ("peak memory is", [cell.memory.value for cell in cells if cell.memory]),
        )
        if found
    ]
    if beside:
        yield f"Its {' and its '.join(beside)} that of {first} (medians)."
    yield from _doubts(cells, by_reference=by_reference)


def _doubts(cells: Sequence[Cell], *, by_reference: bool) -> Iterator[str]:
    """What makes intervals wider than the samples alone would."""
    compared = [cell for cell in cells if cell.ratio is not None]
    if any(cell.alone for cell in compared):
        spread = PROCESS_SD_RELATIVE if by_reference else PROCESS_SD_MS
        yield (
            f"Where a model was measured in a single launch, what processes differ by (standard deviation "
            f"{100 * spread:g} %) is added to its interval."
        )
    contended = sum(cell.contended for cell in compared)
    if contended:
        models = plural(contended, "model", "models")
        yield f"For {models} other processes had part of the CPUs; the intervals allow for what that cost."


def lists(first: str, other: str, lines: Sequence[tuple[Line, Cell]]) -> Iterator[str]:
    """The models of two runs that have no ratio, by the reason; and those that differ in what they are."""
    reasons: dict[str, list[str]] = {}
    for line, cell in lines:
        if cell.missing is not None:
            reasons.setdefault(cell.missing, []).append(line.label)
    for reason, names in reasons.items():
        yield f"{reason[0].upper()}{reason[1:]}: {shown_names(names)}."
    changed = [line.label for line, cell in lines if cell.ratio is not None and _changed(line.cells[0], cell)]
    if changed:
        yield f"{other} counts other parameters than {first} for {shown_names(changed)}."


class Standing(NamedTuple):
    """The models on a run's front, from the cheapest up, and those whose place is not certain."""

    run: str
    names: list[str]
    unsure: set[str]


def front_sentence(first: Standing, other: Standing) -> str:
    """Which of the models that both runs have are on the front of each, and how sure that is."""
    both = [name for name in first.names if name in other.names]
    parts = [
        f"On both fronts (MACs against latency, of the models that both have): {shown_names(both) or 'none'}"
    ]
    for here, there in ((first, other), (other, first)):
        only = [name for name in here.names if name not in there.names]
        decided = [name for name in only if name not in first.unsure | other.unsure]
        rest = [name for name in only if name not in decided]
        parts += [f"only in {here.run}: {shown_names(decided)}"] if decided else []
        parts += [f"perhaps only in {here.run}: {shown_names(rest)}"] if rest else []
    return "; ".join(parts) + "."


def comparison_table(
    title: str, names: Sequence[str], lines: Sequence[Line]
) -> tuple[TextTable, tuple[tuple[float | None, ...], ...]]:
    """Each model's latencies, ratios and verdicts, a line a model; and the numbers behind the cells."""
    first, *others = names
    columns: list[tuple[str, list[str], list[float | None]]] = [
        (f"{name} [95 %]", *_latencies([line.cells[place] for line in lines]))
        for place, name in enumerate(names)
    ]
    for place, other in enumerate(others, start=1):
        cells = [line.cells[place] for line in lines]
        columns.append((f"{other} ÷ {first} [95 %]", *_estimates([cell.ratio for cell in cells])))
        columns.append(("Verdict", [_verdict_text(cell) for cell in cells], [None] * len(cells)))
        for label, found in (
            ("Samples/s", [cell.throughput for cell in cells]),
            ("Peak memory", [cell.memory for cell in cells]),
        ):
            if any(found):
                columns.append((f"{label}, {other} ÷ {first}", *_estimates(found)))
    caption = (
        f"Latency in milliseconds and its ratio to that of {first}, each with its 95 % interval; of memory, "
        f"what the ranges allow. Intervals know what differs between the launches of a run, not what differs "
        f"from one day to another."
    )
    header = ("Model", *(title for title, _, _ in columns))
    texts = tuple((line.name, *(column[1][n] for column in columns)) for n, line in enumerate(lines))
    numbers = tuple((None, *(column[2][n] for column in columns)) for n in range(len(lines)))
    return TextTable("comparison", title, caption, header, texts), numbers


def _latencies(cells: Sequence[Cell]) -> tuple[list[str], list[float | None]]:
    rows = [cell.row for cell in cells]
    texts = [
        "–" if row is None else row.status if row.latency_ms is None else latency_text(row) for row in rows
    ]
    return texts, [None if row is None else row.latency_ms for row in rows]


def _estimates(found: Sequence[Estimate | None]) -> tuple[list[str], list[float | None]]:
    return [estimate_text(one) for one in found], [None if one is None else one.value for one in found]


def _verdict_text(cell: Cell) -> str:
    if cell.verdict is None:
        return cell.missing or "–"
    return f"{cell.verdict}, within ±{100 * LIMIT:g} %" if cell.within_limits else cell.verdict


def _changed(first: Cell, other: Cell) -> bool:
    a, b = (cell.row.params if cell.row else None for cell in (first, other))
    return a is not None and b is not None and a != b


def _over(values: Sequence[float]) -> str:
    models = f"median of {plural(len(values), 'model', 'models')}"
    ends = f", {three_digits(min(values))} to {three_digits(max(values))}" if len(values) > 1 else ""
    return models + ends


def shown_names(names: Sequence[str]) -> str:
    """Names in a sentence; of many the first, and how many more there are."""
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown

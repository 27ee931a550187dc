"""The report as Markdown for a pull request: short whatever the run's size, and inert whatever its names.

It tells the page's own decisions (`reporting/view.py`): the verdict, how far to trust it, what budgets
recommend, the front and the baseline, and what is missing. Rows are there only where they are few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.comparison import Comparison
from scaleprof.reporting.metrics import METRICS, Metric
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.searches import SearchView
from scaleprof.reporting.table import Table, to_markdown
from scaleprof.reporting.tables import (
    accuracy_text,
    estimate_text,
    latency_text,
    memory_text,
    text_cells,
)
from scaleprof.reporting.view import RunView
from scaleprof.text import for_markdown
from scaleprof.units import plural

# Workloads that are told in full, by number and characters; of further ones the titles. GitHub takes 65,536
# characters in all.
_MOST_PARTS = 6
_LONGEST_PARTS = 30_000
_MOST_TITLES = 10
_MOST_DOUBTS = 15
# Rows of all tables of fronts together, but for the few that every one has.
_MOST_FRONT_ROWS = 12
_FEWEST_FRONT_ROWS = 3
# Families whose bases have rows of their own.
_MOST_BASES = 3
_MOST_SENTENCES = 5
_MOST_REASONS = 3
_MOST_RECIPES = 3
_MOST_CAUTIONS = 6
_MOST_COMPARED = 20
# All rows are there where they are no more than this, and their table no longer.
_MOST_ROWS = 30
_LONGEST_TABLE = 12_000
# Characters of one text, such as a sentence, and of a name or a cell.
_LONGEST_TEXT = 700
_LONGEST_CELL = 160
_LONGEST_RECIPE = 300

# How a metric stands in a column, where not as its bare value, and what its title says of the interval.
_INTERVALS: dict[str, tuple[str, Callable[[MeasuredRow], str]]] = {
    "latency_ms": (" [95 %]", latency_text),
    "peak_memory_bytes": (" [range]", memory_text),
    "accuracy": ("", accuracy_text),
}
# Columns beside the two of the axes.
_BESIDE = ("latency_ms", "macs", "peak_memory_bytes", "accuracy")


def render(
    views: Sequence[RunView],
    *,
    names: Sequence[str] = (),
    doubts: Sequence[str] = (),
    comparison: Comparison | None = None,
) -> str:
    """The text for these views.

    Args:
        views: one or several, of one or several runs.
        names: of each view's run, where there are several runs.
        doubts: further doubts, a short line each.
        comparison: of several runs; it comes before them.
    """
    titles = [_title(view, name) for view, name in zip(views, names or [""] * len(views), strict=True)]
    blocks = [f"## scaleprof: {titles[0] if len(views) == 1 else _counted(views, names)}"]
    blocks += _comparison(comparison) if comparison is not None else []
    told = _parts(views)
    for part, title in zip(told, titles, strict=False):
        blocks += [f"### {title}", part] if len(views) > 1 else [part]
    if len(views) > len(told):
        blocks.append(_list([f"**{title}**" for title in titles[len(told) :]], _MOST_TITLES, "workloads"))
    if doubts:
        blocks.append(_list([f"Accuracies: {_inline(line)}" for line in doubts], _MOST_DOUBTS, "lines"))
    return "\n\n".join([*blocks, *_all_rows(views, titles)]) + "\n"


def render_search(view: SearchView) -> str:
    """The text for a search: what was found, and the candidates where they are few."""
    title = f"{view.title} ({view.name})" if view.name else view.title
    trust = " · ".join(_fact(fact.label, fact.value, fact.alarming) for fact in view.trust)
    told = "\n".join(f"- {_inline(sentence)}" for sentence in view.verdict)
    tables = [table for table in (view.table, view.transfer) if table is not None]
    texts = [
        f"**{_inline(table.title)}.** {_inline(table.caption)}\n\n{_table(table.header, table.rows)}"
        if len(table.rows) <= _MOST_ROWS
        else f"{_inline(table.title)}: {plural(len(table.rows), 'line', 'lines')}, in the page."
        for table in tables
    ]
    return "\n\n".join([f"## scaleprof: {_inline(title, _LONGEST_CELL)}", trust, told, *texts]) + "\n"


def _title(view: RunView, name: str) -> str:
    return _inline(f"{name}: {view.title}" if name else view.title, _LONGEST_CELL)


def _counted(views: Sequence[RunView], names: Sequence[str]) -> str:
    workloads = plural(len(views), "workload", "workloads")
    return f"{plural(len(set(names)), 'run', 'runs')}, {workloads}" if names else workloads


def _parts(views: Sequence[RunView]) -> list[str]:
    """The first workload, and others as long as they are few and short."""
    most_rows = max(_FEWEST_FRONT_ROWS, _MOST_FRONT_ROWS // min(len(views), _MOST_PARTS))
    parts: list[str] = []
    for view in views[:_MOST_PARTS]:
        part = "\n\n".join(_part(view, most_rows))
        if parts and sum(map(len, parts)) + len(part) > _LONGEST_PARTS:
            break
        parts.append(part)
    return parts


def _part(view: RunView, most_rows: int) -> Iterator[str]:
    """The blocks of one workload."""
    yield " · ".join(_fact(fact.label, fact.value, fact.alarming) for fact in view.trust)
    yield "\n".join(f"- {_inline(sentence)}" for sentence in _few(view.verdict))
    if view.budget.advice is not None:
        versus = [view.budget.versus] if view.budget.versus else []
        yield f"**Budget.** {_inline(' '.join([view.budget.advice.words, *versus]), 2 * _LONGEST_TEXT)}"
    if view.first is not None:
        yield from _front(view, most_rows)
    yield from _missing(view)


def _fact(label: str, value: str, alarming: bool) -> str:
    text = f"{label} {_inline(value, _LONGEST_CELL)}"
    return f"**{text}**" if alarming else text


def _few(sentences: Sequence[str]) -> list[str]:
    """A verdict of many models cut in its middle: what qualifies it comes last."""
    if len(sentences) <= _MOST_SENTENCES:
        return list(sentences)
    first, last = sentences[: _MOST_SENTENCES - 2], sentences[-2:]
    return [*first, f"… {len(sentences) - _MOST_SENTENCES} more sentences are in the page.", *last]


# ---- several runs ----


def _comparison(comparison: Comparison) -> Iterator[str]:
    """Each run against the first: the sentences, and the models where they are few."""
    yield "### Comparison"
    yield _list([_inline(sentence) for sentence in comparison.sentences], _MOST_COMPARED, "sentences")
    room = _LONGEST_TABLE
    for table in comparison.tables[:_MOST_PARTS]:
        text = _table(table.header, table.rows) if len(table.rows) <= _MOST_ROWS else ""
        if not text or len(text) > room:
            yield f"{_inline(table.title)}: {plural(len(table.rows), 'line', 'lines')}, in the page."
        else:
            room -= len(text)
            summary = f"<details><summary>{_inline(table.title)}</summary>"
            yield "\n\n".join([summary, _inline(table.caption), text, "</details>"])
    if len(comparison.tables) > _MOST_PARTS:
        yield f"{len(comparison.tables) - _MOST_PARTS} more tables of models are in the page."


# ---- the front ----


def _front(view: RunView, most: int) -> Iterator[str]:
    """What no other model beats, with what may be taken and what it is compared to."""
    front = view.first
    if front is None:
        return
    x, y = METRICS[front.x], METRICS[front.y]
    members = [row for row in view.rows if row.spec_id in set(front.spec_ids)]
    rows = _chosen(view, sorted(members, key=lambda row: x.value(row) or 0.0), most)
    left_out = len(members) - sum(row.spec_id in front.spec_ids for row in rows)
    drawn = sum(
        row.status in MEASURED_STATUSES and x.value(row) is not None and y.value(row) is not None
        for row in view.rows
    )
    parts = [
        f"{len(members)} of {plural(drawn, 'model', 'models')}",
        *([f"{len(front.likely)} of them not certain"] if front.likely else []),
        *([f"{len(front.undecided)} more undecided"] if front.undecided else []),
        *([f"{left_out} left out here"] if left_out else []),
    ]
    yield f"**Front** of {y.quality_label} against {x.label.lower()}: {', '.join(parts)}."
    yield _table(*_front_cells(view, rows, x, y))
    yield from _recipes(rows)


def _chosen(view: RunView, members: Sequence[MeasuredRow], most: int) -> list[MeasuredRow]:
    """The table's rows by cost: what may be taken, what it is compared to, and the front in the room left.

    Of a long front they are spread over it, its ends among them.
    """
    standings = {row.spec_id: standing for row in view.rows if (standing := _standing(view, row))}
    bases = [name for name, standing in standings.items() if standing == "base"]
    wanted = {*standings} - {*(bases if len(bases) > _MOST_BASES else [])}
    named = [row for row in view.rows if row.spec_id in wanted]
    others = [row for row in members if row.spec_id not in wanted]
    room = min(len(others), max(0, most - len(named)))
    if room == 1:
        spread = [others[-1]]
    else:
        spread = [others[round(place * (len(others) - 1) / (room - 1))] for place in range(room)]
    x = METRICS[view.first.x] if view.first else METRICS["latency_ms"]
    return sorted([*named, *spread], key=lambda row: x.value(row) or 0.0)


def _standing(view: RunView, row: MeasuredRow) -> str:
    """What a row is beside a member of the front."""
    advice = view.budget.advice
    if row.status not in MEASURED_STATUSES:
        return ""
    if advice is not None and advice.refused is None:
        if advice.row is not None and row.spec_id == advice.row.spec_id:
            return "recommended"
        if advice.runner_up is not None and row.spec_id == advice.runner_up.spec_id:
            return "runner-up"
    if row.spec_id == view.baseline.spec_id:
        return "baseline" if view.baseline.given else "base"
    return "base" if row.strategy == BASE_STRATEGY and view.baseline.spec_id is None else ""


def _front_cells(
    view: RunView, rows: Sequence[MeasuredRow], x: Metric, y: Metric
) -> tuple[list[str], list[list[str]]]:
    beside = [METRICS[name] for name in _BESIDE if name not in (x.name, y.name)]
    shown = [x, y, *(metric for metric in beside if any(metric.value(row) is not None for row in rows))]
    compared = "÷ baseline [95 %]" if view.baseline.given else "÷ base [95 %]"
    header = ["model", "", *(_heading(metric, rows, is_quality=metric is y) for metric in shown), compared]
    ratios = {row.spec_id: ratio for row, ratio in zip(view.rows, view.baseline.ratios, strict=True)}
    body = [
        [
            row.spec_id,
            _place(view, row),
            *(_metric_text(metric, row) for metric in shown),
            "1.00" if row.spec_id == view.baseline.spec_id else estimate_text(ratios[row.spec_id]),
        ]
        for row in rows
    ]
    return header, body


def _place(view: RunView, row: MeasuredRow) -> str:
    """Whether a row is on the front, and what else it is."""
    front = view.first
    if front is None or row.spec_id not in front.spec_ids:
        return _standing(view, row)
    certainty = "front?" if row.spec_id in front.likely else "front"
    return ", ".join(filter(None, [_standing(view, row), certainty]))


def _heading(metric: Metric, rows: Sequence[MeasuredRow], *, is_quality: bool) -> str:
    label = metric.quality_label if is_quality else metric.label
    if metric.name == "accuracy":
        return f"{label} [95 %]" if any(row.accuracy_error is not None for row in rows) else label
    return label + (_INTERVALS[metric.name][0] if metric.name in _INTERVALS else "")


def _metric_text(metric: Metric, row: MeasuredRow) -> str:
    if metric.name in _INTERVALS:
        return _INTERVALS[metric.name][1](row)
    return metric.text(metric.value(row))


def _recipes(rows: Sequence[MeasuredRow]) -> Iterator[str]:
    """Where the accuracies come from: nobody measured them here."""
    recipes = list(dict.fromkeys(row.accuracy_recipe for row in rows if row.accuracy_recipe))
    if recipes:
        more = [f"{len(recipes) - _MOST_RECIPES} more"] if len(recipes) > _MOST_RECIPES else []
        told = "; ".join([*(_inline(one, _LONGEST_RECIPE) for one in recipes[:_MOST_RECIPES]), *more])
        yield f"Accuracy, not measured here: {told}."


# ---- what is missing or doubtful ----


def _missing(view: RunView) -> Iterator[str]:
    """Models that were not measured or are unstable, with the first reasons; and counts of warnings."""
    lost = [row for row in view.rows if row.status != "ok"]
    if lost:
        counts = Counter(row.status for row in lost)
        told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        reasons = [f"{row.status}: {_cell(row.spec_id)}: {_inline(row.reason or '')}" for row in lost]
        yield f"**Not ok**, of {len(view.rows)}: {told}.\n{_list(reasons, _MOST_REASONS, 'models')}"
    pairs = {(group.caution.code, name) for group in view.cautions for name in group.spec_ids}
    warned = Counter(code for code, _ in sorted(pairs) if code != "unstable")  # counted above
    if warned:
        parts = [f"{code} {count}" for code, count in warned.most_common(_MOST_CAUTIONS)]
        more = [f"{len(warned) - _MOST_CAUTIONS} more kinds"] if len(warned) > _MOST_CAUTIONS else []
        yield f"Warnings, by the number of models: {', '.join([*parts, *more])}."


def _all_rows(views: Sequence[RunView], titles: Sequence[str]) -> Iterator[str]:
    """Every row, folded, where they are few; else how to get them."""
    count = sum(len(view.rows) for view in views)
    tables = []
    if count <= _MOST_ROWS:
        for view, title in zip(views, titles, strict=True):
            header, *body = text_cells(view.rows)
            tables += [f"**{title}**"] if len(views) > 1 else []
            tables.append(_table(header, body))
    if not tables or sum(map(len, tables)) > _LONGEST_TABLE:
        yield f"All {plural(count, 'row', 'rows')}: `scaleprof report RUN --format csv`."
        return
    summary = f"<details><summary>All {plural(count, 'row', 'rows')}</summary>"
    yield "\n\n".join([summary, *tables, "</details>"])


# ---- text that is only text ----


def _list(lines: Sequence[str], most: int, what: str) -> str:
    """Bullets, and how many more there are; the lines are inert already."""
    more = [f"- … {len(lines) - most} more {what}"] if len(lines) > most else []
    return "\n".join([*(f"- {line}" for line in lines[:most]), *more])


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    text = [place for place, title in enumerate(header) if title in ("model", "", "status")]
    return to_markdown(Table(header, body, text), longest=_LONGEST_CELL)


def _cell(text: str) -> str:
    return for_markdown(text, _LONGEST_CELL)


def _inline(text: str, longest: int = _LONGEST_TEXT) -> str:
    return for_markdown(text, longest)

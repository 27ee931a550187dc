"""From a search's log to what a page shows of it: plain data, every decision taken, nothing drawn."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from scaleprof.records import CostMetric, SearchHeader, SearchLog
from scaleprof.reporting.analysis_tables import TextTable
from scaleprof.reporting.facts import Fact
from scaleprof.reporting.searches_ranked import Judged, judge
from scaleprof.reporting.searches_rows import (
    CandidateRow,
    cells,
    cost_text,
    cost_value,
    interval_text,
    reason_groups,
    score_text,
    standing_text,
)
from scaleprof.reporting.searches_surface import Surface, surface_map
from scaleprof.stats.pareto import pareto_front
from scaleprof.units import format_duration, plural


class SearchPoint(msgspec.Struct, frozen=True):
    """A candidate in the chart: its cost and score, and how it is drawn.

    `shown` is the label beside it, empty for most; `hover` has the lines of what a pointer is told.
    """

    candidate: int
    cost: float
    score: float
    low: float | None
    high: float | None
    style: str
    shown: str
    hover: tuple[str, ...]
    on_front: bool


class DoubtGroup(msgspec.Struct, frozen=True):
    """One reason for which candidates have no score, and who they are."""

    words: str
    names: tuple[str, ...]


class SearchView(msgspec.Struct, frozen=True):
    """Everything that a report shows of one search; `name` is what it is called where there is more."""

    key: str
    name: str
    title: str
    trust: tuple[Fact, ...]
    verdict: tuple[str, ...]
    cost_metric: CostMetric
    score_label: str
    rows: tuple[CandidateRow, ...]
    surface: Surface | None
    points: tuple[SearchPoint, ...]
    chart_words: str
    table: TextTable
    transfer: TextTable | None
    transfer_words: tuple[str, ...]
    doubts: tuple[DoubtGroup, ...]
    facts: tuple[Fact, ...]
    command: str


def view_searches(logs: Sequence[SearchLog], names: Sequence[str] = ()) -> list[SearchView]:
    """A view of each search; `names` where the page holds more than one thing."""
    return [
        view_search(log, key=f"search{place}", name=name)
        for place, (log, name) in enumerate(zip(logs, names or [""] * len(logs), strict=True), start=1)
    ]


def view_search(log: SearchLog, *, key: str = "search1", name: str = "") -> SearchView:
    """The view of a search, finished or not."""
    judged = judge(log)
    header, percent = log.header, judged.percent
    first = [row for row in judged.rows if row.phi == 1]
    tried = [row for row in first if row.status != "excluded"]
    points = _points(tried, header.cost_metric, percent)
    table = cells(tried, header.cost_metric, percent=percent)
    return SearchView(
        key=key,
        name=name,
        title=f"Which bases to grow {header.model} by",
        trust=_trust(log, judged),
        verdict=judged.sentences,
        cost_metric=header.cost_metric,
        score_label=score_label(header),
        rows=judged.rows,
        surface=surface_map(first, percent=percent, target_growth=header.target_growth),
        points=points,
        chart_words=_chart_words(points, tried, header, percent),
        table=TextTable("tried", "All candidates", _table_caption(header), *_texts(table)),
        transfer=_transfer_table(judged),
        transfer_words=(judged.transfer,) if judged.transfer else (),
        doubts=tuple(_doubts(judged.rows)),
        facts=_facts(log),
        command=shlex.join(header.command),
    )


def score_label(header: SearchHeader) -> str:
    """What the score is, for an axis."""
    if header.objective == "train":
        return "Validation accuracy (%)"
    return f"Score ({header.objective.rpartition('/')[2]})"


def _texts(
    table: tuple[tuple[str, ...], list[tuple[str, ...]]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    header, body = table
    # The name stands first: it is the heading of its row.
    order = [header.index("bases"), *(place for place, title in enumerate(header) if title != "bases")]
    return tuple(header[i] for i in order), tuple(tuple(row[i] for i in order) for row in body)


def _table_caption(header: SearchHeader) -> str:
    metric = "latency" if header.cost_metric == "latency_ms" else "MACs"
    return (
        f"Bases are depth/width/resolution. Asked is D · W² · R²; growth is that of {metric} against the "
        f"base as the network has it. Brackets are 95 % intervals over seeds; [?]: one score tells of none."
    )


# ---- the chart ----


def _points(rows: Sequence[CandidateRow], metric: CostMetric, percent: bool) -> tuple[SearchPoint, ...]:
    """Candidates that have both a score and a cost, by ascending cost."""
    scored = [
        (cost, row.score, row)
        for row in rows
        if row.score is not None and (cost := cost_value(row, metric)) is not None
    ]
    scored.sort(key=lambda one: (one[0], -one[1]))
    front = set(pareto_front([(cost, score) for cost, score, _ in scored]))
    return tuple(
        SearchPoint(
            candidate=row.candidate,
            cost=cost,
            score=score,
            low=row.score_ci_low,
            high=row.score_ci_high,
            style=_style(row),
            shown=_label(row),
            hover=(
                row.name,
                f"score {interval_text(row, percent=percent)}",
                f"{cost_text(row, metric)}, {row.cost_growth or 0:.2f}× the base",
                standing_text(row),
            ),
            on_front=place in front,
        )
        for place, (cost, score, row) in enumerate(scored)
    )


def _style(row: CandidateRow) -> str:
    if row.standing == "chosen":
        return "chosen"
    if row.is_published:
        return "published"
    return "control" if row.is_single else "candidate"


def _label(row: CandidateRow) -> str:
    if row.standing == "chosen":
        return f"chosen {row.name}"
    if row.is_single:
        return row.name
    return "published" if row.is_published else ""


def _chart_words(
    points: Sequence[SearchPoint], rows: Sequence[CandidateRow], header: SearchHeader, percent: bool
) -> str:
    """The chart in words."""
    if not points:
        return ""
    names = {row.candidate: row for row in rows}
    metric = "latency" if header.cost_metric == "latency_ms" else "MACs"
    front = "; ".join(
        f"{names[point.candidate].name} at {cost_text(names[point.candidate], header.cost_metric)}: "
        f"{score_text(point.score, percent=percent)}"
        for point in points
        if point.on_front
    )
    return (
        f"Score against {metric} at φ = 1 of {plural(len(points), 'candidate', 'candidates')}, with 95 % "
        f"intervals over seeds. By their means no other is as good for less: {front}."
    )


# ---- trust, doubts, facts ----


def _trust(log: SearchLog, judged: Judged) -> tuple[Fact, ...]:
    header = log.header
    ok = sum(trial.status == "ok" for trial in log.trials)
    lost = len(log.trials) - ok
    missing = sum(row.status == "planned" for row in judged.rows if row.phi == 1)
    grid = sum(row.kind == "grid" and row.status != "excluded" for row in judged.rows if row.phi == 1)
    excluded = sum(row.status == "excluded" for row in judged.rows if row.phi == 1)
    metric = "latency" if header.cost_metric == "latency_ms" else "MACs"
    return (
        Fact("Objective", _objective(header)),
        *([Fact("Data", _data(header))] if header.dataset else []),
        Fact("Cost", f"{header.target_growth:g}× the base's {metric}, within {header.tolerance:.0%}"),
        Fact("Candidates", str(grid)),
        Fact("Excluded", str(excluded), more="doubts" if excluded else ""),
        Fact("Seeds", str(len(header.seeds))),
        Fact("Trials", str(ok)),
        Fact("Failed", str(lost), lost > 0, "doubts" if lost else ""),
        *([Fact("Without a score", str(missing), True, "doubts")] if missing else []),
        Fact("Date", header.started_at[:10]),
    )


def _objective(header: SearchHeader) -> str:
    if header.objective != "train" or header.recipe is None:
        return header.objective
    recipe = header.recipe
    return f"training, {plural(recipe.epochs, 'epoch', 'epochs')}, {recipe.optimizer}"


def _data(header: SearchHeader) -> str:
    facts = header.dataset
    if facts is None:
        return "–"
    return f"{facts.name}, {facts.train:,} images, {facts.classes} classes, {facts.base_input_size} px"


def _doubts(rows: Sequence[CandidateRow]) -> Iterator[DoubtGroup]:
    """Why candidates have no score: those that failed, those that nobody tried yet, those excluded."""
    groups = reason_groups(rows)
    for words in sorted(groups, key=lambda words: words.startswith("excluded")):
        yield DoubtGroup(words, tuple(groups[words]))
    waiting = [row.name for row in rows if row.status == "planned"]
    if waiting:
        yield DoubtGroup("no trial yet", tuple(waiting))


def _facts(log: SearchLog) -> tuple[Fact, ...]:
    """Data, recipe, machine, and what the trials took."""
    header = log.header
    seconds = sum(trial.seconds for trial in log.trials)
    devices = Counter(trial.device for trial in log.trials)
    on = ", ".join(devices) or "nothing yet"
    facts = [
        Fact("Base", f"{header.base.spec_id}, {header.base.input_size or '–'} {header.base.input_unit}"),
        Fact("Grid", f"step {header.grid_step:g}, bases of at least 1"),
        Fact("Trials took", f"{format_duration(seconds)} together, on {on}"),
    ]
    if header.dataset is not None:
        data = header.dataset
        facts.append(
            Fact(
                "Data",
                f"{data.name}: {data.train:,} images to train on, {data.validation:,} that choose, "
                f"{data.held_out:,} held back from choices; digest {data.digest}",
            )
        )
    if header.recipe is not None:
        facts.append(Fact("Recipe", recipe_text(header)))
    if header.host is not None:
        host = header.host
        facts.append(Fact("Machine", host.gpu_name or f"{host.cpu_model} ({host.cpu_capability})"))
        facts.append(Fact("Software", f"Python {host.python}, torch {host.torch}"))
    facts.append(Fact("scaleprof", header.scaleprof))
    facts.append(Fact("Started", header.started_at))
    return tuple(facts)


def recipe_text(header: SearchHeader) -> str:
    """The recipe in a line."""
    recipe = header.recipe
    if recipe is None:
        return "–"
    momentum = f", momentum {recipe.momentum:g}" if recipe.optimizer == "sgd" else ""
    return (
        f"{plural(recipe.epochs, 'epoch', 'epochs')}, batches of {recipe.batch_size}, {recipe.optimizer}"
        f"{momentum}, learning rate {recipe.learning_rate:g} with a cosine schedule and "
        f"{recipe.warmup_epochs:g} warm-up epochs, weight decay {recipe.weight_decay:g}, label smoothing "
        f"{recipe.label_smoothing:g}, {recipe.precision}, {recipe.augmentation}"
    )


# ---- transfer ----


def _transfer_table(judged: Judged) -> TextTable | None:
    """Strategies by φ, each score with its interval; None where nothing was tried beyond φ = 1."""
    phis = sorted({row.phi for row in judged.rows})
    if len(phis) < 2:
        return None
    by = {(row.candidate, row.phi): row for row in judged.rows}
    carried = list(dict.fromkeys(row.candidate for row in judged.rows if row.phi != 1))
    rows = []
    for candidate in carried:
        there = [by.get((candidate, phi)) for phi in phis]
        name = next(row.name for row in there if row is not None)
        texts = ["–" if row is None else interval_text(row, percent=judged.percent) for row in there]
        rows.append((name, *texts))
    caption = "Score with its 95 % interval over seeds of what was carried to larger φ."
    return TextTable(
        "transfer", "At larger φ", caption, ("Bases", *(f"φ = {phi:g}" for phi in phis)), tuple(rows)
    )

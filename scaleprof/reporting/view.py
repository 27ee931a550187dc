"""From a run to what a page shows of it: plain data, every decision taken, nothing drawn."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import (
    BASE_STRATEGY,
    MEASURED_STATUSES,
    PUBLISHED_STRATEGY,
    UNTRIED_STATUSES,
    Host,
    RunLog,
    Workload,
)
from scaleprof.reporting.analysis import analyse
from scaleprof.reporting.analysis_tables import TextTable, analysis_tables
from scaleprof.reporting.batches import BatchLine, batch_lines
from scaleprof.reporting.budgets import QUANTITIES, Budget
from scaleprof.reporting.cautions import Caution
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.metrics import COSTS, METRICS, QUALITIES, Metric
from scaleprof.reporting.placing import RatioOf, places
from scaleprof.reporting.recommending import Recommendation, advise, require_any, why_unknown
from scaleprof.reporting.rows import MeasuredRow, measured_row
from scaleprof.reporting.side_by_side import SideBySide, set_side_by_side
from scaleprof.reporting.verdict import verdict
from scaleprof.reporting.workloads import FIELDS, varying, words
from scaleprof.stats.intervals import Estimate
from scaleprof.stats.noise import noise_spread, noise_verdict
from scaleprof.stats.pareto import pareto_front
from scaleprof.units import format_bytes, format_count, plural

# An axis is logarithmic when its values span more than this.
_LOG_RATIO = 10.0


class Fact(msgspec.Struct, frozen=True):
    """A label and its text; `alarming` facts are set apart."""

    label: str
    value: str
    alarming: bool = False


class Front(msgspec.Struct, frozen=True):
    """What no other model beats on one pair of axes, and the chart in words.

    `likely`: those of `spec_ids` that another could yet beat, within the intervals. `undecided`: models off
    the front that no other beats for certain.
    """

    x: str
    y: str
    spec_ids: tuple[str, ...]
    likely: tuple[str, ...]
    undecided: tuple[str, ...]
    words: str
    log_x: bool
    log_y: bool


class Curve(msgspec.Struct, frozen=True):
    """A scaling curve: one quantity against MACs, a line a strategy."""

    y: str
    title: str
    words: str


class CautionGroup(msgspec.Struct, frozen=True):
    """One kind of doubt and the rows that it is about."""

    caution: Caution
    spec_ids: tuple[str, ...]


class BudgetBox(msgspec.Struct, frozen=True):
    """A page's field for budgets before anyone types in it, and what that recommends.

    `unknown` has the reason of every quantity that no model here has.
    """

    text: str
    advice: Recommendation | None
    unknown: dict[str, str]


class RunView(msgspec.Struct, frozen=True):
    """Everything that one run's part of a report shows."""

    key: str
    title: str
    verdict: tuple[str, ...]
    trust: tuple[Fact, ...]
    strategies: tuple[str, ...]
    rows: tuple[MeasuredRow, ...]
    costs: tuple[Metric, ...]
    qualities: tuple[Metric, ...]
    fronts: tuple[Front, ...]
    first: Front | None
    curves: tuple[Curve, ...]
    constant: tuple[Fact, ...]
    cautions: tuple[CautionGroup, ...]
    failed: tuple[MeasuredRow, ...]
    environment: tuple[Fact, ...]
    command: str
    growth_of: str = "MACs"
    budget: BudgetBox = BudgetBox("", None, {})
    side_by_side: SideBySide | None = None
    batches: tuple[BatchLine, ...] = ()
    analysis: tuple[TextTable, ...] = ()


def view_runs(
    logs: Sequence[RunLog],
    *,
    x: Metric | None = None,
    y: Metric | None = None,
    budgets: Sequence[Budget] = (),
    names: Sequence[str] = (),
) -> list[RunView]:
    """A view of each run, and of each workload in it: latencies of two workloads are never on one axis.

    The first view of a run with several workloads sets them side by side, too, and has what was found of
    batches.
    The first chart of each is on the axes `x` and `y` (by default latency and quality), and recommends what
    is best on `y` within the budgets. `names` of the runs tell recommendations apart.

    Raises:
        UsageError: axes that no chart has, or a budget on what no run tells.
    """
    views: list[RunView] = []
    for number, log in enumerate(logs, start=1):
        comparer = RunComparer(log)
        beside = set_side_by_side(log, comparer, key=f"side{number}")
        batches = batch_lines(log)
        for workload in comparer.workloads:
            part = msgspec.structs.replace(
                log, records=tuple(r for r in log.records if r.workload == workload)
            )
            view = view_workload(part, comparer, key=f"run{len(views) + 1}", x=x, y=y)
            apart = [*names[number - 1 : number], *words(workload, varying(comparer.workloads))]
            box = _budget_box(view, budgets, ", ".join(apart))
            views.append(msgspec.structs.replace(view, budget=box, side_by_side=beside, batches=batches))
            beside, batches = None, ()
    if budgets:
        require_any([view.budget.advice for view in views if view.budget.advice is not None])
    return views


def view_workload(
    log: RunLog, comparer: RunComparer, *, key: str, x: Metric | None = None, y: Metric | None = None
) -> RunView:
    """The view of records that share one workload; the comparer knows the whole run."""
    rows = tuple(measured_row(record, comparer) for record in log.records)
    points = [row for row in rows if row.status in MEASURED_STATUSES]
    workload = log.records[0].workload

    def ratio_of(row: MeasuredRow, other: MeasuredRow) -> Estimate | None:
        return comparer.contrast(workload, {row.spec_id: 1.0, other.spec_id: -1.0})

    costs = tuple(metric for metric in COSTS if _any_value(metric, points))
    qualities = tuple(metric for metric in QUALITIES if _any_value(metric, points))
    fronts = tuple(
        front
        for cost in costs
        for quality in qualities
        if cost != quality and (front := _front(points, cost, quality, ratio_of))
    )
    return RunView(
        key=key,
        title=_title(rows, comparer.workloads),
        verdict=verdict(rows, partial(comparer.contrast, workload)),
        trust=_trust(log, rows),
        strategies=tuple(dict.fromkeys(row.strategy for row in rows)),
        rows=rows,
        costs=costs,
        qualities=qualities,
        fronts=fronts,
        first=_first_front(fronts, points, x, y),
        curves=_curves(points),
        analysis=analysis_tables(analyse(rows)),
        constant=_constant(rows),
        cautions=_group_cautions(rows),
        failed=tuple(row for row in rows if row.status not in MEASURED_STATUSES),
        environment=_environment(log),
        command=shlex.join(log.header.command),
        growth_of=next((METRICS[row.match].label for row in rows if row.match), "MACs"),
    )


def front_of(rows: Sequence[MeasuredRow], x: Metric, y: Metric) -> list[MeasuredRow]:
    """The measured rows that no other beats: `x` small, `y` large, ties kept, by ascending `x`."""
    usable = [
        row
        for row in rows
        if row.status in MEASURED_STATUSES and x.value(row) is not None and y.value(row) is not None
    ]
    points = [(float(x.value(row) or 0), float(y.value(row) or 0)) for row in usable]
    return [usable[index] for index in pareto_front(points)]


def _budget_box(view: RunView, budgets: Sequence[Budget], workload: str) -> BudgetBox:
    quality = METRICS[view.first.y] if view.first else None
    reasons = {name: why_unknown(view.rows, name) for name in QUANTITIES}
    return BudgetBox(
        text=", ".join(str(budget) for budget in budgets),
        advice=advise(view.rows, budgets, quality=quality, workload=workload) if budgets else None,
        unknown={name: reason for name, reason in reasons.items() if reason is not None},
    )


def _any_value(metric: Metric, rows: Sequence[MeasuredRow]) -> bool:
    return any(metric.value(row) is not None for row in rows)


def _front(points: Sequence[MeasuredRow], x: Metric, y: Metric, ratio_of: RatioOf) -> Front | None:
    members = front_of(points, x, y)
    if not members:
        return None
    shown = [row for row in points if x.value(row) is not None and y.value(row) is not None]
    names = _names(members)
    found = places(points, x, y, ratio_of)
    likely = [row for row in members if found.get(row.spec_id) != "certain"]
    undecided = [row for row in points if found.get(row.spec_id) == "undecided"]
    unsure = "".join(
        f" {what}: {_names(rows)}."
        for what, rows in (("Not certain", likely), ("Undecided", undecided))
        if rows
    )
    left_out = len(points) - len(shown)
    recipes = dict.fromkeys(row.accuracy_recipe for row in shown if y.name == "accuracy")
    source = "".join(f" Accuracy: {recipe}." for recipe in recipes)
    without = f" {left_out} models have no such value and are not drawn." if left_out else ""
    return Front(
        x=x.name,
        y=y.name,
        spec_ids=tuple(row.spec_id for row in members),
        likely=tuple(row.spec_id for row in likely),
        undecided=tuple(row.spec_id for row in undecided),
        words=(
            f"{y.quality_label} against {x.label.lower()} of {len(shown)} models. "
            f"No other model beats these {len(members)}, from the cheapest up: {names}."
            f"{unsure}{without}{source}"
        ),
        log_x=_wide(x, shown),
        log_y=_wide(y, shown),
    )


def _first_front(
    fronts: Sequence[Front], points: Sequence[MeasuredRow], x: Metric | None, y: Metric | None
) -> Front | None:
    """The asked axes; left to itself latency against accuracy if every model has one, else against MACs.

    Raises:
        UsageError: the asked axes are one quantity, or no model here has a value on them.
    """
    accuracy = METRICS["accuracy"]
    accurate = bool(points) and all(accuracy.value(row) is not None for row in points)
    costs = [x] if x else [METRICS["latency_ms"], *COSTS]
    qualities = [y] if y else [accuracy] * accurate + [METRICS["macs"], METRICS["params"]]
    by_axes = {(front.x, front.y): front for front in fronts}
    for cost in costs:
        for quality in qualities:
            if (cost.name, quality.name) in by_axes:
                return by_axes[cost.name, quality.name]
    if points and (x or y):
        asked = " and ".join(f"--{axis} {metric.name}" for axis, metric in (("x", x), ("y", y)) if metric)
        has = ", ".join(dict.fromkeys(front.x for front in fronts))
        raise UsageError(f"{asked}: no chart of these, a cost against another quality; this run has {has}")
    return fronts[0] if fronts else None


def _wide(metric: Metric, rows: Sequence[MeasuredRow]) -> bool:
    values = [value for row in rows if (value := metric.value(row))]
    return bool(values) and max(values) / min(values) > _LOG_RATIO


def _curves(points: Sequence[MeasuredRow]) -> tuple[Curve, ...]:
    curves = []
    for name in ("latency_ms", "peak_memory_bytes"):
        metric = METRICS[name]
        if _any_value(metric, points):
            ends = "; ".join(
                _curve_words(strategy, line, metric) for strategy, line in strategy_lines(points).items()
            )
            curves.append(
                Curve(name, f"{metric.label} against MACs", f"{metric.label} against MACs. {ends}.")
            )
    return tuple(curves)


def _title(rows: Sequence[MeasuredRow], workloads: Sequence[Workload]) -> str:
    """Models, device and batch, and what else tells this workload from the run's others."""
    *others, last = dict.fromkeys(row.model for row in rows)
    models = f"{', '.join(others)} and {last}" if others else last
    first = rows[0]
    others = [name for name in varying(workloads) if name != "batch_size"]
    apart = ", ".join(["", *words(first, others)])
    training = ", training" if first.mode == "train" else ""
    return f"{models} on {first.device} at batch {first.batch_size}{training}{apart}"


def _curve_words(strategy: str, line: Sequence[MeasuredRow], metric: Metric) -> str:
    first, last = line[0], line[-1]
    return (
        f"{strategy}: {metric.text(metric.value(first))} at {format_count(first.macs or 0)} "
        f"to {metric.text(metric.value(last))} at {format_count(last.macs or 0)}"
    )


def _trust(log: RunLog, rows: Sequence[MeasuredRow]) -> tuple[Fact, ...]:
    header = log.header
    counts = Counter(row.status for row in rows)
    untried = {status: counts[status] for status in sorted(UNTRIED_STATUSES) if counts[status]}
    failures = len(rows) - sum(counts[status] for status in (*MEASURED_STATUSES, *untried))
    workload = log.records[0].workload
    told = [name for name in FIELDS if name != "cast" or workload.dtype != "fp32"]
    strategies = len({row.strategy for row in rows} - {BASE_STRATEGY})
    missed = sum(row.stop == "budget_exhausted" for row in rows)
    within = len([row for row in rows if row.stop]) - missed
    matched = next((METRICS[row.match].label for row in rows if row.match), None)
    return (
        Fact("Device", device_name(log)),
        Fact("Workload", ", ".join(words(workload, told))),
        Fact("Models", f"{len(rows)} in {plural(strategies, 'strategy', 'strategies')}"),
        Fact("Growth", f"equal {matched} at each φ" if matched else "as the formulas give it"),
        Fact(
            "Measured", f"{header.plan.preset} preset, {plural(header.plan.launches, 'launch', 'launches')}"
        ),
        Fact("Machine", _noise_words(log)),
        Fact("Within target", f"{within} of {within + missed} (±{100 * header.plan.target_ci:.3g} %)"),
        Fact("Date", header.started_at[:10]),
        Fact("Unstable", str(counts["unstable"]), alarming=counts["unstable"] > 0),
        Fact("Failed", str(failures), alarming=failures > 0),
        *(Fact(status.capitalize(), str(number)) for status, number in untried.items()),
    )


def _noise_words(log: RunLog) -> str:
    """How quiet the machine was, from the matrix product timed between all visits."""
    spread = noise_spread([launch for record in log.records for launch in record.launches])
    return "unknown" if spread is None else f"{noise_verdict(spread)} (p90/p10 {spread:.2f})"


def device_name(log: RunLog) -> str:
    """The device that the run measured, by the name its maker gave it."""
    host = log.header.host
    return host.gpu_name or f"{host.cpu_model} ({host.cpu_capability})"


def _constant(rows: Sequence[MeasuredRow]) -> tuple[Fact, ...]:
    """Columns with one value for all rows, for the table's caption."""
    names = ("model", "device", "dtype", "batch_size", "threads", "mode", "runtime", "memory_format")
    facts = []
    for name in names:
        values = {str(getattr(row, name)) for row in rows}
        if len(values) == 1:
            facts.append(Fact(name.replace("_", " "), values.pop()))
    return tuple(facts)


def _group_cautions(rows: Sequence[MeasuredRow]) -> tuple[CautionGroup, ...]:
    groups: dict[Caution, list[str]] = {}
    for row in rows:
        for caution in row.warnings:
            groups.setdefault(caution, []).append(row.spec_id)
        if row.status == "unstable":
            caution = Caution(
                "unstable", "a number's interval is too wide to be used", "use --preset rigorous"
            )
            groups.setdefault(caution, []).append(row.spec_id)
    return tuple(CautionGroup(caution, tuple(ids)) for caution, ids in groups.items())


def _environment(log: RunLog) -> tuple[Fact, ...]:
    header, host = log.header, log.header.host
    gpu = (
        f"{host.gpu_name}, {format_bytes(host.gpu_memory_bytes or 0)}, "
        f"driver {host.gpu_driver or 'unknown'}, CUDA {host.cuda}, cuDNN {host.cudnn}"
        if host.gpu_name
        else "none used"
    )
    return (
        Fact(
            "CPU",
            f"{host.cpu_model}, {host.usable_cpus} of {host.logical_cpus} CPUs usable, {host.cpu_capability}",
        ),
        Fact("GPU", gpu),
        Fact("Clock and load", _conditions(host)),
        Fact("Memory", format_bytes(host.memory_bytes)),
        Fact("System", host.system),
        Fact("Python", host.python),
        Fact("torch", f"{host.torch}, torchvision {host.torchvision}"),
        Fact("Threads", f"{host.openmp or 'OpenMP'}, waiting {host.openmp_wait_policy or 'as it does'}"),
        Fact("Allocator", host.allocator),
        Fact("scaleprof", f"{header.scaleprof}, protocol {header.protocol}, seed {header.seed}"),
        Fact("Started", header.started_at),
    )


def _conditions(host: Host) -> str:
    """What the machine's speed hung on when the run began, as far as the system tells."""
    switches = {None: "not told", True: "on", False: "off"}
    parts = [
        f"governor {host.governor or 'not told'}",
        f"turbo {switches[host.turbo]}",
        f"hyper-threads {switches[host.smt]}",
        f"quota {'none' if host.cgroup_cpus is None else f'{host.cgroup_cpus:.3g} CPUs'}",
    ]
    if host.load_1m is not None:
        parts.append(f"load {host.load_1m:.2f}")
    if host.cpu_pressure is not None:
        parts.append(f"{host.cpu_pressure:.0%} of the last 10 s waited for a CPU")
    return ", ".join(parts)


def _short(row: MeasuredRow) -> str:
    value = row.published if row.strategy == PUBLISHED_STRATEGY else row.phi
    return BASE_STRATEGY if row.strategy == BASE_STRATEGY else f"{row.strategy} {value}"


def _names(rows: Sequence[MeasuredRow]) -> str:
    """Rows in few words; the model is named where there are several."""
    several = len({row.model for row in rows}) > 1
    return ", ".join(f"{row.model} {_short(row)}" if several else _short(row) for row in rows)

"""From a run to what a page shows of it: plain data, every decision taken, nothing drawn."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial

import msgspec

from scaleprof.records import (
    MEASURED_STATUSES,
    RunLog,
    Workload,
)
from scaleprof.reporting.analysis import analyse
from scaleprof.reporting.analysis_tables import TextTable, analysis_tables
from scaleprof.reporting.batches import BatchLine, batch_lines
from scaleprof.reporting.budgets import QUANTITIES, Budget
from scaleprof.reporting.cautions import Caution
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.facts import Fact, constant_facts, environment_facts, trust_facts
from scaleprof.reporting.fronts import Front, any_value, first_front, front_on
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.metrics import COSTS, METRICS, QUALITIES, Metric
from scaleprof.reporting.recommending import Recommendation, advise, require_any, why_unknown
from scaleprof.reporting.rows import MeasuredRow, measured_row
from scaleprof.reporting.side_by_side import SideBySide, set_side_by_side
from scaleprof.reporting.verdict import verdict
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.intervals import Estimate
from scaleprof.units import format_count


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

    costs = tuple(metric for metric in COSTS if any_value(metric, points))
    qualities = tuple(metric for metric in QUALITIES if any_value(metric, points))
    fronts = tuple(
        front
        for cost in costs
        for quality in qualities
        if cost != quality and (front := front_on(points, cost, quality, ratio_of))
    )
    return RunView(
        key=key,
        title=_title(rows, comparer.workloads),
        verdict=verdict(rows, partial(comparer.contrast, workload)),
        trust=trust_facts(log, rows),
        strategies=tuple(dict.fromkeys(row.strategy for row in rows)),
        rows=rows,
        costs=costs,
        qualities=qualities,
        fronts=fronts,
        first=first_front(fronts, points, x, y),
        curves=_curves(points),
        analysis=analysis_tables(analyse(rows)),
        constant=constant_facts(rows),
        cautions=_group_cautions(rows),
        failed=tuple(row for row in rows if row.status not in MEASURED_STATUSES),
        environment=environment_facts(log),
        command=shlex.join(log.header.command),
        growth_of=next((METRICS[row.match].label for row in rows if row.match), "MACs"),
    )


def _budget_box(view: RunView, budgets: Sequence[Budget], workload: str) -> BudgetBox:
    quality = METRICS[view.first.y] if view.first else None
    reasons = {name: why_unknown(view.rows, name) for name in QUANTITIES}
    return BudgetBox(
        text=", ".join(str(budget) for budget in budgets),
        advice=advise(view.rows, budgets, quality=quality, workload=workload) if budgets else None,
        unknown={name: reason for name, reason in reasons.items() if reason is not None},
    )


def _curves(points: Sequence[MeasuredRow]) -> tuple[Curve, ...]:
    curves = []
    for name in ("latency_ms", "peak_memory_bytes"):
        metric = METRICS[name]
        if any_value(metric, points):
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

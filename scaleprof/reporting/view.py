"""From a run to what a page shows of it: plain data, every decision taken, nothing drawn."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from statistics import median

import msgspec

from scaleprof.records import (
    MEASURED_STATUSES,
    RunLog,
    Workload,
)
from scaleprof.reporting.analysis import analyse
from scaleprof.reporting.analysis_tables import TextTable, analysis_tables
from scaleprof.reporting.baseline import Baseline, against, baseline_of, find_baseline, require_baseline
from scaleprof.reporting.batches import BatchLine, batch_lines
from scaleprof.reporting.budgets import QUANTITIES, Budget
from scaleprof.reporting.cautions import Caution
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.curves import Curve, scaling_curves
from scaleprof.reporting.distributions import Distribution, distribution
from scaleprof.reporting.facts import Fact, constant_facts, environment_facts, spread_of, trust_facts
from scaleprof.reporting.fronts import Front, any_value, first_front, front_on
from scaleprof.reporting.metrics import COSTS, METRICS, QUALITIES, Metric
from scaleprof.reporting.recommending import Recommendation, advise, require_any, why_unknown
from scaleprof.reporting.roofline import RooflineView, roofline_view
from scaleprof.reporting.rows import MeasuredRow, measured_row
from scaleprof.reporting.side_by_side import SideBySide, set_side_by_side
from scaleprof.reporting.verdict import verdict
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.intervals import Estimate
from scaleprof.units import MIB

# Distributions drawn at first: as many as fit beside each other on a screen.
_FIRST_PINS = 5


class CautionGroup(msgspec.Struct, frozen=True):
    """One kind of doubt and the rows that it is about."""

    caution: Caution
    spec_ids: tuple[str, ...]


class BudgetBox(msgspec.Struct, frozen=True):
    """A page's field for budgets before anyone types in it, and what that recommends.

    `unknown` has the reason of every quantity that no model here has; `versus` is what the recommended model
    costs beside the baseline; `example` is a budget that some models here meet and others do not.
    """

    text: str
    advice: Recommendation | None
    unknown: dict[str, str]
    versus: str | None = None
    example: str = ""


class RunView(msgspec.Struct, frozen=True):
    """Everything that one run's part of a report shows.

    `run` is the run's place, from 1, and `name` what it is called where there are several; `apart` is what
    tells this workload from the others of its run.
    """

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
    baseline: Baseline
    spreads: tuple[Distribution | None, ...]
    roofline: RooflineView | str
    pins: tuple[int, ...]
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
    run: int = 1
    name: str = ""
    apart: str = ""


def view_runs(
    logs: Sequence[RunLog],
    *,
    x: Metric | None = None,
    y: Metric | None = None,
    budgets: Sequence[Budget] = (),
    names: Sequence[str] = (),
    baseline: str | None = None,
    embed_samples: bool = False,
) -> list[RunView]:
    """A view of each run, and of each workload in it: latencies of two workloads are never on one axis.

    The first view of a run with several workloads sets them side by side, too, and has what was found of
    batches.
    The first chart of each is on the axes `x` and `y` (by default latency and quality), and recommends what
    is best on `y` within the budgets. `names` of the runs tell recommendations apart. Models are compared to
    the `baseline`, by default to the base of each. `embed_samples` keeps the times of single passes.

    Raises:
        UsageError: axes that no chart has, a budget on what no run tells, or a baseline that no run has.
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
            view = view_workload(
                part,
                comparer,
                key=f"run{len(views) + 1}",
                x=x,
                y=y,
                baseline=baseline,
                embed_samples=embed_samples,
            )
            name = "".join(names[number - 1 : number])
            apart = words(workload, varying(comparer.workloads))
            box = _budget_box(view, budgets, ", ".join([*filter(None, [name]), *apart]))
            views.append(
                msgspec.structs.replace(
                    view,
                    budget=box,
                    pins=_first_pins(view, box.advice),
                    side_by_side=beside,
                    batches=batches,
                    run=number,
                    name=name,
                    apart=", ".join(apart),
                )
            )
            beside, batches = None, ()
    if baseline is not None:
        require_baseline([row for view in views for row in view.rows], baseline)
    if budgets:
        require_any([view.budget.advice for view in views if view.budget.advice is not None])
    return views


def view_workload(
    log: RunLog,
    comparer: RunComparer,
    *,
    key: str,
    x: Metric | None = None,
    y: Metric | None = None,
    baseline: str | None = None,
    embed_samples: bool = False,
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
    first = first_front(fronts, points, x, y)
    return RunView(
        key=key,
        title=_title(rows, comparer.workloads),
        verdict=verdict(rows, partial(comparer.contrast, workload), spread_of(log)),
        trust=trust_facts(log, rows, first),
        strategies=tuple(dict.fromkeys(row.strategy for row in rows)),
        rows=rows,
        costs=costs,
        qualities=qualities,
        fronts=fronts,
        first=first,
        curves=scaling_curves(points),
        baseline=find_baseline(rows, ratio_of, baseline),
        spreads=tuple(distribution(record, embed_samples=embed_samples) for record in log.records),
        pins=(),
        roofline=roofline_view(rows, comparer.ceilings(workload)),
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
    advice = advise(view.rows, budgets, quality=quality, workload=workload) if budgets else None
    return BudgetBox(
        text=", ".join(str(budget) for budget in budgets),
        advice=advice,
        unknown={name: reason for name, reason in reasons.items() if reason is not None},
        versus=None if advice is None or advice.row is None else _versus(view, advice.row),
        example=_example_budget(view.rows),
    )


def _example_budget(rows: Sequence[MeasuredRow]) -> str:
    """Budgets in round numbers near the middle of what was measured, to be typed over."""
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    memories = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
    parts = [f"latency_ms<={_rounded(median(latencies))}"] if latencies else []
    parts += [f"peak_memory_bytes<={_rounded(median(memories) / MIB)}MiB"] if memories else []
    return ", ".join(parts)


def _rounded(value: float) -> str:
    """To its first digit: a limit that a person might type."""
    return f"{float(f'{value:.1g}'):g}"


def _versus(view: RunView, row: MeasuredRow) -> str | None:
    compared = baseline_of(row, view.rows, view.baseline)
    place = next(index for index, other in enumerate(view.rows) if other is row)
    return None if compared is None else against(row, compared, view.baseline.ratios[place])


def _first_pins(view: RunView, advice: Recommendation | None) -> tuple[int, ...]:
    """The rows whose times are drawn before anyone pins others: the baseline, and what may be taken."""
    wanted = [view.baseline.spec_id]
    if advice is not None and advice.refused is None:
        wanted += [row.spec_id for row in (advice.row, advice.runner_up, advice.nearest) if row is not None]
    elif view.first is not None:
        wanted += view.first.spec_ids
    places = {row.spec_id: index for index, row in enumerate(view.rows) if view.spreads[index] is not None}
    found = [places[name] for name in dict.fromkeys(wanted) if name in places]
    return tuple(found[:_FIRST_PINS])


def _title(rows: Sequence[MeasuredRow], workloads: Sequence[Workload]) -> str:
    """Models, device and batch, and what else tells this workload from the run's others."""
    *others, last = dict.fromkeys(row.model for row in rows)
    models = f"{', '.join(others)} and {last}" if others else last
    first = rows[0]
    others = [name for name in varying(workloads) if name != "batch_size"]
    apart = ", ".join(["", *words(first, others)])
    mode = {"train": ", training", "decode": ", decoding one token"}.get(first.mode, "")
    return f"{models} on {first.device} at batch {first.batch_size}{mode}{apart}"


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

"""Fronts on each pair of axes: their members, how sure their places are, and the chart in words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES, PUBLISHED_STRATEGY
from scaleprof.reporting.metrics import COSTS, METRICS, Metric
from scaleprof.reporting.placing import RatioOf, places
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.pareto import pareto_front

# An axis is logarithmic when its values span more than this.
_LOG_RATIO = 10.0
# A file may have a recipe for every model: more than these are only counted.
_NAMED_RECIPES = 3


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


def front_of(rows: Sequence[MeasuredRow], x: Metric, y: Metric) -> list[MeasuredRow]:
    """The measured rows that no other beats: `x` small, `y` large, ties kept, by ascending `x`."""
    usable = [
        row
        for row in rows
        if row.status in MEASURED_STATUSES and x.value(row) is not None and y.value(row) is not None
    ]
    points = [(float(x.value(row) or 0), float(y.value(row) or 0)) for row in usable]
    return [usable[index] for index in pareto_front(points)]


def front_on(points: Sequence[MeasuredRow], x: Metric, y: Metric, ratio_of: RatioOf) -> Front | None:
    """The front on two axes; None where no model has a value on both."""
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
    source = "".join(f" Accuracy: {recipe}." for recipe in [*recipes][:_NAMED_RECIPES])
    more = len(recipes) - _NAMED_RECIPES
    source += f" Accuracy: {more} more recipes." if more > 0 else ""
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


def first_front(
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


def any_value(metric: Metric, rows: Sequence[MeasuredRow]) -> bool:
    """Whether any of the rows has a value of the quantity."""
    return any(metric.value(row) is not None for row in rows)


def _short(row: MeasuredRow) -> str:
    value = row.published if row.strategy == PUBLISHED_STRATEGY else row.phi
    return BASE_STRATEGY if row.strategy == BASE_STRATEGY else f"{row.strategy} {value}"


def _names(rows: Sequence[MeasuredRow]) -> str:
    """Rows in few words; the model is named where there are several."""
    several = len({row.model for row in rows}) > 1
    return ", ".join(f"{row.model} {_short(row)}" if several else _short(row) for row in rows)

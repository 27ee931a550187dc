"""What the page's scripts draw from: rows by columns, and decisions already taken; plain data for JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.budgets import QUANTITIES
from scaleprof.reporting.distributions import Distribution
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.metrics import METRICS, Metric
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.view import RunView
from scaleprof.stats.intervals import Estimate

# Okabe–Ito blue, vermillion, green and purple, then colours that keep 3:1 contrast on both backgrounds.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#7A6FD0", "#C0392B", "#4F8A8B")
# Never colour alone: each line has its own symbol and dash too.
_MARKS = (
    ("circle", "solid"),
    ("square", "dash"),
    ("diamond", "dot"),
    ("triangle-up", "dashdot"),
    ("cross", "longdash"),
    ("x", "longdashdot"),
    ("pentagon", "solid"),
    ("hexagon", "dash"),
    ("triangle-down", "dot"),
    ("triangle-left", "dashdot"),
    ("triangle-right", "longdash"),
    ("bowtie", "longdashdot"),
)

# More digits than anything here is known to, and few enough for a page of thousands of rows.
_DIGITS = 7
# Of samples: a page draws them, and no number is read off.
_SAMPLE_DIGITS = 4

# What the scripts read of every row, null or not: axes and their whiskers.
_ENDS = {metric: QUANTITIES[metric].ends or QUANTITIES[metric].given_ends for metric in METRICS}
_DRAWN = {name for metric in METRICS for name in (metric, *(_ENDS[metric] or ()))}
# Long and the same in most rows: reasons and warnings are told in groups on the page, the integers of a
# network in `scaleprof report --format json`.
_LEFT_OUT = {"nulls", "warnings", "uncounted", "shape"}


def page_data(views: Sequence[RunView]) -> list[dict[str, object]]:
    """What the page's script draws from: rows as other programs read them, and decisions already taken."""
    return [
        {
            "key": view.key,
            "rows": _by_columns(view.rows),
            "lines": line_styles(view),
            "axes": [axis_data(metric) for metric in METRICS.values()],
            "fronts": msgspec.to_builtins(view.fronts),
            "first": msgspec.to_builtins(view.first),
            "curves": msgspec.to_builtins(view.curves),
            "baseline": {
                "spec_id": view.baseline.spec_id,
                "ratios": [three_numbers(ratio) for ratio in view.baseline.ratios],
            },
            "spreads": [_spread(spread) for spread in view.spreads],
            "pins": view.pins,
            "budget": {"text": view.budget.text, "unknown": view.budget.unknown},
            "roofline": _page_roofline(view),
            "side": _page_side(view),
            "batches": _page_batches(view),
        }
        for view in views
    ]


def _by_columns(rows: Sequence[MeasuredRow]) -> dict[str, object]:
    """Rows as other programs read them, by columns: a name stands once, and so does what all rows share.

    Columns of nulls are left out but for what is drawn.
    """
    fields = [name for name in MeasuredRow.__struct_fields__ if name not in _LEFT_OUT]
    columns = {name: [short_number(getattr(row, name)) for row in rows] for name in fields}
    constants = {name: values[0] for name, values in columns.items() if all(v == values[0] for v in values)}
    return {
        "count": len(rows),
        "constants": {
            name: value for name, value in constants.items() if value is not None or name in _DRAWN
        },
        "columns": {name: values for name, values in columns.items() if name not in constants},
    }


def short_number(value: object) -> object:
    """A float to as many digits as are worth keeping; whole numbers and texts as they are."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else msgspec.to_builtins(value)


def three_numbers(ratio: Estimate | None) -> list[object] | None:
    """Value and both ends; null without."""
    return (
        None
        if ratio is None
        else [short_number(one) for one in (ratio.value, *(ratio.interval or (None, None)))]
    )


def _spread(spread: Distribution | None) -> list[object] | None:
    """Quantiles, medians of launches, the number of passes, and samples where they were asked for."""
    if spread is None:
        return None
    series = [spread.quantiles_ms, spread.launch_medians_ms]
    numbers: list[object] = [[_sample(one) for one in values] for values in series]
    samples = [[_sample(one) for one in launch] for launch in spread.samples_ms or ()]
    return [*numbers, spread.count, *([samples] if samples else [])]


def _sample(value: float) -> float:
    return float(f"{value:.{_SAMPLE_DIGITS}g}")


def _page_roofline(view: RunView) -> dict[str, object] | None:
    """The roof, and which rows stand under it; their places are in the rows. None without a roof."""
    roofline = view.roofline
    if isinstance(roofline, str):
        return None
    return {
        "macs_per_s": short_number(roofline.macs_per_s),
        "bytes_per_s": short_number(roofline.bytes_per_s),
        "ridge_macs_per_byte": short_number(roofline.ridge_macs_per_byte),
        "rows": [point.row for point in roofline.points],
        "waiting": [point.row for point in roofline.points if point.launch_bound],
    }


def _page_batches(view: RunView) -> list[dict[str, object]]:
    """The throughput of each batch that was tried, a line a model."""
    return [
        {
            "name": line.name,
            "trials": line.trials,
            "best": line.best,
            "colour": _COLOURS[place % len(_COLOURS)],
            "symbol": _MARKS[place % len(_MARKS)][0],
            "dash": _MARKS[place % len(_MARKS)][1],
        }
        for place, line in enumerate(view.batches)
    ]


def _page_side(view: RunView) -> dict[str, object] | None:
    """The latencies of each workload that is set beside others, with their intervals."""
    beside = view.side_by_side
    if beside is None:
        return None
    names = ("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms")
    return {
        "key": beside.key,
        "names": [line.spec_id for line in beside.lines],
        "columns": [
            {
                "name": column,
                "colour": _COLOURS[place % len(_COLOURS)],
                "symbol": _MARKS[place % len(_MARKS)][0],
                "cells": [
                    None if cell is None else [getattr(cell.row, name) for name in names]
                    for cell in (line.cells[place] for line in beside.lines)
                ],
            }
            for place, column in enumerate(beside.columns)
        ],
    }


def axis_data(metric: Metric) -> dict[str, object]:
    """What a script knows of a quantity on an axis; `ends` are the fields of its interval or range."""
    return {
        "name": metric.name,
        "label": metric.label,
        "quality_label": metric.quality_label,
        "kind": metric.kind,
        "ends": _ENDS[metric.name],
    }


def place_style(place: int) -> dict[str, str]:
    """Colour, symbol and dash of the one at a place; where there are more than styles, they come again."""
    symbol, dash = _MARKS[place % len(_MARKS)]
    return {"colour": _COLOURS[place % len(_COLOURS)], "symbol": symbol, "dash": dash}


def line_styles(view: RunView) -> list[dict[str, object]]:
    """How each line is drawn: with several models, a colour a strategy and a symbol a model."""
    measured = [row for row in view.rows if row.status in MEASURED_STATUSES]
    lines = strategy_lines(measured)
    position = {id(row): index for index, row in enumerate(view.rows)}
    owners = [next(row for row in line if row.strategy != BASE_STRATEGY) for line in lines.values()]
    strategies = list(dict.fromkeys(row.strategy for row in owners))
    models = list(dict.fromkeys(row.model for row in owners))
    styles: list[dict[str, object]] = []
    for owner, (name, line) in zip(owners, lines.items(), strict=True):
        colour = strategies.index(owner.strategy)
        mark = models.index(owner.model) if len(models) > 1 else colour
        styles.append(
            {
                "name": name,
                "colour": _COLOURS[colour % len(_COLOURS)],
                "symbol": _MARKS[mark % len(_MARKS)][0],
                "dash": _MARKS[mark % len(_MARKS)][1],
                "rows": [position[id(row)] for row in line],
            }
        )
    return styles

"""The report as one HTML file that opens offline, for ever: no request leaves it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.budgets import QUANTITIES
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.metrics import METRICS, Metric
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.tables import (
    estimate_text,
    growth_text,
    input_text,
    latency_text,
    memory_text,
    ratio_text,
)
from scaleprof.reporting.view import RunView
from scaleprof.units import STEPS, SUFFIXES, three_digits

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
)

# In the order in which they rest on each other.
_SCRIPTS = ("budgets.js", "charting.js", "budget_marks.js", "workloads.js", "report.js")

# What the script reads of every row, null or not: axes and their whiskers.
_DRAWN = {
    *METRICS,
    *("latency_ci_low_ms", "latency_ci_high_ms", "peak_memory_min_bytes", "peak_memory_max_bytes"),
}


def render(views: Sequence[RunView], *, version: str) -> str:
    """The page for these runs, each in a section of its own."""
    environment = Environment(
        loader=PackageLoader("scaleprof.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Data keep their order: budgets' suffixes are told in it.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals.update(
        metrics=METRICS,
        growth_text=growth_text,
        input_text=input_text,
        latency_text=latency_text,
        memory_text=memory_text,
        ratio_text=ratio_text,
        estimate_text=estimate_text,
        three_digits=three_digits,
        sort_value=_sort_value,
    )
    scripts = [get_plotlyjs(), *(_asset(name) for name in _SCRIPTS)]
    return environment.get_template("report.html.j2").render(
        views=views,
        data=_page_data(views),
        grammar=_grammar(),
        version=version,
        css=Markup(_asset("report.css")),
        scripts=[Markup(_inline_script(script)) for script in scripts],
        policy=_policy([_inline_script(script) for script in scripts]),
        styles={view.key: _line_styles(view) for view in views},
        marks={view.key: _marks(view) for view in views},
    )


def _page_data(views: Sequence[RunView]) -> list[dict[str, object]]:
    """What the page's script draws from: rows as other programs read them, and decisions already taken."""
    return [
        {
            "key": view.key,
            "rows": [_page_row(row) for row in view.rows],
            "lines": _line_styles(view),
            "axes": [_axis(metric) for metric in METRICS.values()],
            "fronts": msgspec.to_builtins(view.fronts),
            "first": msgspec.to_builtins(view.first),
            "curves": msgspec.to_builtins(view.curves),
            "budget": {"text": view.budget.text, "unknown": view.budget.unknown},
            "side": _page_side(view),
            "batches": _page_batches(view),
        }
        for view in views
    ]


def _grammar() -> dict[str, object]:
    """What the page's script reads and writes budgets by."""
    quantities = [msgspec.to_builtins(quantity) for quantity in QUANTITIES.values()]
    return {"quantities": quantities, "suffixes": SUFFIXES, "steps": STEPS}


def _marks(view: RunView) -> list[str]:
    """What the first budgets make of each row, in a word; empty without any, or for no candidate."""
    advice = view.budget.advice
    if advice is None or advice.refused is not None:
        return [""] * len(view.rows)
    names = {id(advice.row): "recommended", id(advice.runner_up): "runner-up"}
    return [
        names.get(id(row), standing or "") for row, standing in zip(view.rows, advice.standings, strict=True)
    ]


def _page_row(row: MeasuredRow) -> dict[str, object]:
    """A row without the reasons of its nulls: most are the same in every row, and long.

    Nor has it the nulls themselves, but for what the script draws. `scaleprof report --format json` has both.
    """
    fields: dict[str, object] = msgspec.to_builtins(row)
    del fields["nulls"]
    return {name: value for name, value in fields.items() if value is not None or name in _DRAWN}


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


def _axis(metric: Metric) -> dict[str, str]:
    return {
        "name": metric.name,
        "label": metric.label,
        "quality_label": metric.quality_label,
        "kind": metric.kind,
    }


def _line_styles(view: RunView) -> list[dict[str, object]]:
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


def _sort_value(row: MeasuredRow, name: str) -> object:
    value = getattr(row, name)
    return "" if value is None else value


def _asset(name: str) -> str:
    return (files("scaleprof.reporting") / "templates" / name).read_text(encoding="utf-8")


def _inline_script(source: str) -> str:
    """The source as an element's text: an end tag inside it would end the element."""
    return source.replace("</script", "<\\/script")


def _policy(scripts: Sequence[str]) -> str:
    """A content-security policy under which only these scripts run and nothing is fetched.

    Styles are inline because plotly sets them so; images are data or blobs for its picture download.
    """
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

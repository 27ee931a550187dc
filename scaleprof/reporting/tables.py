"""Rows as CSV, Markdown and terminal tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from scaleprof.records import BASE_STRATEGY
from scaleprof.reporting import table
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.rows import CostRow, MeasuredRow, Row
from scaleprof.reporting.table import Table
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.intervals import Estimate
from scaleprof.text import for_terminal
from scaleprof.units import format_bytes, format_bytes_range, three_digits

_WIDE = 140
_LEFT_OUT_WHEN_NARROW = ("input", "params", "activations", "÷ base [95 %]")
# Without errors, and with some.
_ACCURACY_TITLES = ("accuracy", "accuracy [95 %]")
# What tells workloads apart, as columns where it varies.
_WORKLOAD_COLUMNS = {
    "threads": "threads",
    "mode": "mode",
    "runtime": "runtime",
    "cast": "cast",
    "dtype": "dtype",
    "memory_format": "layout",
    "batch_size": "batch",
}
# Doubts about what a model is; those about its timing are in the report.
_COST_CAUTIONS = ("match_off", "uncounted", "counted_on_cpu", "assumed")
_ACCENTS = {"ok": "green", "unstable": "yellow"}


def to_csv(rows: Sequence[Row]) -> str:
    """One line a row, the contract's fields as columns; nested values as JSON, missing ones empty."""
    names = (type(rows[0]) if rows else CostRow).__struct_fields__
    return table.to_csv(names, ([getattr(row, name) for name in names] for row in rows))


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table for a pull request."""
    header, *body = text_cells(rows)
    return table.to_markdown(Table(header, body, (0, len(header) - 1))) + "\n"


def to_terminal(rows: Sequence[Row], *, width: int | None = None) -> Group:
    """A rich table of the same cells, and below it the reason of each row that is not `ok`.

    On a terminal of less than `_WIDE` columns, what the model's name and factors imply is left out, and the
    name of a single family moves to the title.
    """
    narrow = width is not None and width < _WIDE
    header, *body = text_cells(rows, ranges=not narrow)
    dropped = _dropped(rows) if narrow else ()
    shown = [i for i, title in enumerate(header) if title not in dropped]
    families = {row.model for row in rows}
    prefix = f"{next(iter(families))}/" if narrow and len(families) == 1 else ""
    texts = [
        [cells[0].removeprefix(prefix), *cells[1:-1], row.status]
        for row, cells in zip(rows, body, strict=True)
    ]
    last = len(shown) - 1
    cells = Table(
        [header[index] for index in shown], [[line[index] for index in shown] for line in texts], (0, last)
    )
    accents = {(place, last): _ACCENTS.get(row.status, "red") for place, row in enumerate(rows)}
    title = [Text(prefix.rstrip("/"))] if prefix else []
    axes = varying(row for row in rows if isinstance(row, MeasuredRow))
    reasons = [
        Text(for_terminal(f"{_named(row, axes)} {row.status}: {row.reason}")) for row in rows if row.reason
    ]
    doubts = [
        Text(for_terminal(f"{_named(row, axes)}: {caution.message}"))
        for row in rows
        for caution in row.warnings
        if caution.code in _COST_CAUTIONS
    ]
    return Group(*title, table.to_terminal(cells, accents), *reasons, *doubts)


def _named(row: Row, axes: Sequence[str]) -> str:
    """The model, with what tells its workload apart."""
    return " ".join([row.spec_id, *(words(row, axes) if isinstance(row, MeasuredRow) else [])])


def _dropped(rows: Sequence[Row]) -> tuple[str, ...]:
    """Columns that a narrow terminal has no room for."""
    some_lack = any(row.accuracy is None for row in rows)
    return (*_LEFT_OUT_WHEN_NARROW, *_ACCURACY_TITLES) if some_lack else _LEFT_OUT_WHEN_NARROW


def latency_text(row: MeasuredRow) -> str:
    """Latency with its interval, or a dash."""
    if row.latency_ms is None:
        return "–"
    text = METRICS["latency_ms"].text(row.latency_ms)
    if row.latency_ci_low_ms is None or row.latency_ci_high_ms is None:
        return f"{text} [?]"
    return f"{text} [{three_digits(row.latency_ci_low_ms)}–{three_digits(row.latency_ci_high_ms)}]"


def ratio_text(row: MeasuredRow) -> str:
    """Latency against the base in the same rounds, with its interval, or a dash."""
    if row.strategy == BASE_STRATEGY:
        return bracketed(row.ratio_to_base, None, None)
    return bracketed(row.ratio_to_base, row.ratio_ci_low, row.ratio_ci_high)


def eager_ratio_text(row: MeasuredRow) -> str:
    """Latency against eager's in the same rounds, with its interval, or a dash."""
    return bracketed(row.ratio_to_eager, row.eager_ratio_ci_low, row.eager_ratio_ci_high)


def estimate_text(estimate: Estimate | None) -> str:
    """A number with its interval, or a dash."""
    if estimate is None:
        return "–"
    return bracketed(estimate.value, *(estimate.interval or (None, None)))


def bracketed(value: float | None, low: float | None, high: float | None) -> str:
    """A number to three digits with the ends of its interval, if there is one; a dash for none."""
    if value is None:
        return "–"
    text = three_digits(value)
    return text if low is None or high is None else f"{text} [{three_digits(low)}–{three_digits(high)}]"


def memory_text(row: MeasuredRow) -> str:
    """Peak memory with its range over launches, or a dash."""
    text = METRICS["peak_memory_bytes"].text(row.peak_memory_bytes)
    low, high = row.peak_memory_min_bytes, row.peak_memory_max_bytes
    if low is None or high is None or low == high:
        return text
    return format_bytes_range(row.peak_memory_bytes or 0, low, high)


def accuracy_text(row: Row) -> str:
    """Accuracy with its interval, where its error is known, or a dash."""
    text = METRICS["accuracy"].text(row.accuracy)
    low, high = row.accuracy_ci_low, row.accuracy_ci_high
    return text if low is None or high is None else f"{text} [{low:.1f}–{high:.1f}]"


def input_text(row: Row) -> str:
    """The input's size with its unit; inputs of a person's own making have none that we know."""
    return "own" if row.input_size is None else f"{row.input_size} {row.input_unit}"


def growth_text(row: Row) -> str:
    """Growth that was achieved: of MACs, or of the metric that the sweep was matched on."""
    growth = row.achieved_growth if row.matched_growth is None else row.matched_growth
    return "–" if growth is None else f"{growth:.2f}×"


def text_cells(rows: Sequence[Row], *, ranges: bool = True) -> list[list[str]]:
    """Header and body, as text; the first column names the model, the last says how it went.

    `ranges`: whether memory stands with its range.
    """
    measured = any(isinstance(row, MeasuredRow) for row in rows)
    axes = varying(row for row in rows if isinstance(row, MeasuredRow))
    accurate = any(row.accuracy is not None for row in rows)
    header = ["model", "input", "asked", "growth", "MACs", "params", "activations"]
    header += [_WORKLOAD_COLUMNS[name] for name in axes]
    beside = any(isinstance(row, MeasuredRow) and row.ratio_to_eager is not None for row in rows)
    header += ["latency [95 %]", "÷ base [95 %]"] * measured + ["÷ eager [95 %]"] * beside
    header += ["memory [range]" if ranges else "memory"] * measured
    header += ["forecast"] * (not measured)
    title = _ACCURACY_TITLES[any(row.accuracy_error is not None for row in rows)]
    header += [title] * accurate + ["status"]
    return [header, *(_row_cells(row, axes, accurate, beside, ranges=ranges) for row in rows)]


def _row_cells(row: Row, axes: Sequence[str], accurate: bool, beside: bool, *, ranges: bool) -> list[str]:
    cells = [
        row.spec_id,
        input_text(row),
        f"{row.requested_growth:.2f}×",
        growth_text(row),
        METRICS["macs"].text(row.macs),
        METRICS["params"].text(row.params),
        METRICS["activations"].text(row.activations),
    ]
    if isinstance(row, MeasuredRow):
        memory = memory_text(row) if ranges else METRICS["peak_memory_bytes"].text(row.peak_memory_bytes)
        cells += [str(getattr(row, name)) for name in axes]
        cells += [latency_text(row), ratio_text(row), *[eager_ratio_text(row)] * beside, memory]
    else:
        cells.append("–" if row.forecast_bytes is None else format_bytes(row.forecast_bytes))
    cells += [accuracy_text(row)] * accurate
    return [*cells, row.status if row.reason is None else f"{row.status}: {row.reason}"]

"""What the page's script draws a comparison from: plain data for JSON, and how each run is drawn."""

from __future__ import annotations

from scaleprof.reporting.compared import LIMIT
from scaleprof.reporting.comparison import AXES, Comparison, Part, Series
from scaleprof.reporting.page_data import axis_data, place_style, short_number, three_numbers
from scaleprof.reporting.rows import MeasuredRow

# What a point has: its place, and the whiskers of its latency.
_FIELDS = ("spec_id", "macs", "latency_ms", "latency_ci_low_ms", "latency_ci_high_ms")


def comparison_data(comparison: Comparison) -> dict[str, object]:
    """The parts of a comparison with their runs, points, and the ratios that are drawn."""
    return {
        "limit": LIMIT,
        "axes": [axis_data(metric) for metric in AXES],
        "parts": [_part(part) for part in comparison.parts],
    }


def comparison_styles(part: Part) -> list[dict[str, str]]:
    """The colour, symbol and dash of each run in a part: those of its place among all runs."""
    return [place_style(series.place) for series in part.series]


def _part(part: Part) -> dict[str, object]:
    drawn = [part.lines[index] for index in part.drawn]
    return {
        "key": part.key,
        "names": [line.label for line in drawn],
        "ratios": [[three_numbers(cell.ratio) for cell in line.cells[1:]] for line in drawn],
        "series": [_series(one) for one in part.series],
    }


def _series(series: Series) -> dict[str, object]:
    places = {row.spec_id: place for place, row in enumerate(series.rows)}
    return {
        "name": series.name,
        "device": series.device,
        **place_style(series.place),
        "points": [_point(row) for row in series.rows],
        "front": [places[spec_id] for spec_id in series.front],
    }


def _point(row: MeasuredRow) -> dict[str, object]:
    return {name: short_number(getattr(row, name)) for name in _FIELDS}

"""What the page's script draws of searches: plain data for JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.reporting.page_data import place_style, short_number
from scaleprof.reporting.searches import SearchPoint, SearchView

# What points are, in the order in which they are drawn, and the place of each in the page's colours.
_LABELS = {"candidate": "candidate", "control": "control of one dimension", "published": "published bases"}
_LABELS |= {"chosen": "chosen"}


def searches_data(searches: Sequence[SearchView]) -> list[dict[str, object]]:
    """The points of each search with how they are drawn, and the labels of the axes."""
    return [
        {
            "key": search.key,
            "cost_label": "Latency" if search.cost_metric == "latency_ms" else "MACs",
            "cost_kind": "ms" if search.cost_metric == "latency_ms" else "count",
            "score_label": search.score_label,
            "styles": _styles(search.points),
            "points": [_point(point) for point in search.points],
            "rows": [
                {name: short_number(value) for name, value in msgspec.structs.asdict(row).items()}
                for row in search.rows
            ],
        }
        for search in searches
    ]


def _styles(points: Sequence[SearchPoint]) -> list[dict[str, str]]:
    """How each kind that is there is drawn; the chosen one is a star."""
    known = {name: place_style(place) for place, name in enumerate(_LABELS)}
    known["chosen"] |= {"colour": "currentColor", "symbol": "star"}
    known["published"] |= {"colour": "#CC79A7", "symbol": "diamond"}
    drawn = {point.style for point in points}
    return [{"name": name, "label": _LABELS[name], **known[name]} for name in _LABELS if name in drawn]


def _point(point: SearchPoint) -> dict[str, object]:
    values = msgspec.structs.asdict(point)
    return {
        name: list(value) if isinstance(value, tuple) else short_number(value)
        for name, value in values.items()
    }

"""The constraint surface as a map: depth base by width base, with the resolution that goes with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from scaleprof.reporting.searches_rows import CandidateRow, score_text

# Shares of a colour over the paper, from the worst score to the best: a text on them stays readable in both
# themes, which more would not allow.
_FAINTEST, _STRONGEST = 0.05, 0.42

_SAME = "same network as "

Look = Literal["heat", "heat tied", "heat tied chosen", "heat chosen", "out", "unscored"]


class Cell(msgspec.Struct, frozen=True):
    """What stands for a depth base and a width base: the best candidate there, or why there is none.

    `note` has the resolution base, and how many other candidates share the cell; of one that is excluded,
    why.
    """

    candidate: int
    text: str
    note: str
    look: Look
    heat: float | None = None
    mark: str = ""


class SurfaceLine(msgspec.Struct, frozen=True):
    """A depth base, and a cell for each width base; None where no candidate lies."""

    depth: str
    cells: tuple[Cell | None, ...]


class Surface(msgspec.Struct, frozen=True):
    """The map."""

    caption: str
    widths: tuple[str, ...]
    lines: tuple[SurfaceLine, ...]


def surface_map(rows: Sequence[CandidateRow], *, percent: bool, target_growth: float) -> Surface | None:
    """The map of a search's grid at φ = 1; None where nothing of the grid is there.

    Rows and columns are there where some candidate was tried, or was left out though it is on the grid.
    """
    grid = [row for row in rows if not row.is_single and row.phi == 1]
    if not grid:
        return None
    scores = [row.score for row in grid if row.score is not None]
    ends = (min(scores), max(scores)) if scores else (0.0, 0.0)
    at: dict[tuple[float, float], list[CandidateRow]] = {}
    for row in grid:
        at.setdefault((row.depth, row.width), []).append(row)
    widths = sorted({row.width for row in grid})
    lines = tuple(
        SurfaceLine(
            format(depth, ".4g"),
            tuple(_cell(at.get((depth, w), []), ends, percent, target_growth) for w in widths),
        )
        for depth in sorted({row.depth for row in grid})
    )
    return Surface(_caption(rows, percent, target_growth), tuple(format(w, ".4g") for w in widths), lines)


def _cell(
    there: Sequence[CandidateRow], ends: tuple[float, float], percent: bool, target: float
) -> Cell | None:
    if not there:
        return None
    shown = min(there, key=lambda row: _importance(row, target))
    others = sum(row.status != "excluded" for row in there if row is not shown)
    resolution = f"r {shown.resolution:.4g}" + (f" (+{others})" if others else "")
    mark = "◆" if shown.is_published else ""
    if shown.status == "excluded":
        return Cell(shown.candidate, "–", why_short(shown), "out", mark=mark)
    if shown.score is None:
        return Cell(shown.candidate, shown.status, resolution, "unscored", mark=mark)
    text = score_text(shown.score, percent=percent).removesuffix(" %")
    tied = shown.standing == "tied"
    look: Look = "heat tied" if tied else "heat"
    if shown.standing == "chosen":
        look, mark = "heat chosen", f"★{mark}"
    elif tied:
        mark = f"≈{mark}"
    return Cell(shown.candidate, text, resolution, look, _heat(shown.score, ends), mark)


def _importance(row: CandidateRow, target: float) -> tuple[bool, bool, float, bool, float]:
    """What a cell shows of several: the best score, then another's network, then the nearest growth."""
    return (
        row.standing != "chosen",
        row.status == "excluded",
        math.inf if row.score is None else -row.score,
        _SAME not in (row.reason or ""),
        abs((row.cost_growth or row.nominal_growth) / target - 1),
    )


def why_short(row: CandidateRow) -> str:
    """Why a candidate is excluded, as short as a cell needs: its growth, or that it is another's network."""
    _, same, other = (row.reason or "").partition(_SAME)
    if same:
        return f"= {other}"
    return f"grows {row.cost_growth or row.nominal_growth:.2f}×"


def _heat(score: float, ends: tuple[float, float]) -> float:
    low, high = ends
    share = (score - low) / (high - low) if high > low else 0.5
    return round(_FAINTEST + share * (_STRONGEST - _FAINTEST), 3)


def _caption(rows: Sequence[CandidateRow], percent: bool, target_growth: float) -> str:
    unit = " in percent" if percent else ""
    controls = [
        f"{row.name} {score_text(row.score, percent=percent)}"
        for row in rows
        if row.is_single and row.phi == 1 and row.score is not None
    ]
    told = (
        f"Mean score over seeds{unit} at φ = 1, by depth base (down) and width base (across); below it the "
        f"resolution base r that brings the growth to about {target_growth:g} times."
    )
    return f"{told} Controls: {', '.join(controls)}." if controls else told

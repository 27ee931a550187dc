"""A search's candidates as rows, a row a candidate and φ: as data, for a terminal, for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from rich.console import Group
from rich.text import Text

from scaleprof.records import Candidate, CandidateKind, CostMetric
from scaleprof.reporting import table
from scaleprof.reporting.table import Table
from scaleprof.scaling.rules import Bases
from scaleprof.text import for_terminal
from scaleprof.units import MS_PER_S, format_count, format_duration, three_digits

# `scored`: at least one trial has a score. `planned`: no trial has been run yet.
RowStatus = Literal["scored", "failed", "planned", "excluded"]
Standing = Literal["chosen", "tied", "behind", "ahead", "undecided"]

PUBLISHED_BASES = Bases()


class CandidateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate at one φ, with what its seeds say together.

    Attributes:
        name: its bases, `depth/width/resolution`, or the one dimension that a control grows (`depth-only`).
        rank: by score among those that are ranked at its φ, from 1; None without a score.
        standing: `chosen`; `tied` with it within noise; `behind` it beyond noise; `ahead` of it, which only
            one that may not be chosen can be; `undecided` where nothing tells how large noise is.
        nominal_growth: `depth · width² · resolution²`, that its bases ask for at φ = 1.
        cost_growth: of the cost metric against the base, as achieved at φ = 1.
        score: mean over seeds; the interval is 95 %, None where nothing tells how large noise is.
        behind: the chosen one's score less this one's over the seeds that both have, with its interval.
        held_out: mean over seeds on the images that no choice was made on.
        seeds: how many trials have a score.
        seconds: what all its trials took together.
    """

    name: str
    candidate: int
    kind: CandidateKind
    model: str
    phi: float
    depth: float
    width: float
    resolution: float
    input_size: int | None
    nominal_growth: float
    macs: int | None
    latency_ms: float | None
    cost_growth: float | None
    status: RowStatus
    reason: str | None
    rank: int | None = None
    standing: Standing | None = None
    score: float | None = None
    score_ci_low: float | None = None
    score_ci_high: float | None = None
    behind: float | None = None
    behind_ci_low: float | None = None
    behind_ci_high: float | None = None
    held_out: float | None = None
    seeds: int = 0
    seconds: float = 0.0

    @property
    def is_single(self) -> bool:
        """Whether this is a control that grows one dimension alone."""
        return self.kind == "control" and not self.is_published

    @property
    def is_published(self) -> bool:
        """Whether these are Tan & Le's bases, 1.2, 1.1 and 1.15."""
        mine = (self.depth, self.width, self.resolution)
        theirs = (PUBLISHED_BASES.depth, PUBLISHED_BASES.width, PUBLISHED_BASES.resolution)
        return all(abs(a - b) < 1e-6 for a, b in zip(mine, theirs, strict=True))


def score_text(value: float | None, *, percent: bool) -> str:
    """A score: percent of images, or a number of the objective's own."""
    if value is None:
        return "–"
    return f"{value:.1f} %" if percent else format(value, ".4g")


def interval_text(row: CandidateRow, *, percent: bool) -> str:
    """A score with its 95 % interval; `[?]` where a single seed gives none."""
    text = score_text(row.score, percent=percent)
    if row.score is None:
        return row.status if row.status != "scored" else "–"
    if row.score_ci_low is None or row.score_ci_high is None:
        return f"{text} [?]"
    ends = (
        score_text(end, percent=percent).removesuffix(" %") for end in (row.score_ci_low, row.score_ci_high)
    )
    return f"{text} [{'–'.join(ends)}]"


def cost_text(row: CandidateRow, metric: CostMetric) -> str:
    """MACs or latency, as the search counts cost."""
    if metric == "latency_ms":
        return "–" if row.latency_ms is None else f"{three_digits(row.latency_ms)} ms"
    return "–" if row.macs is None else format_count(row.macs)


def cost_value(row: CandidateRow, metric: CostMetric) -> float | None:
    """The cost as a number: MACs or milliseconds."""
    return row.latency_ms if metric == "latency_ms" else row.macs


def latency_ms_of(candidate: Candidate, metric: CostMetric) -> float | None:
    """Milliseconds, where the search measured them."""
    return None if metric != "latency_ms" or candidate.cost is None else candidate.cost * MS_PER_S


_TEXT_COLUMNS = ("bases", "standing")


def cells(
    rows: Sequence[CandidateRow],
    metric: CostMetric,
    *,
    percent: bool,
    times_s: Mapping[int, float] | None = None,
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and body as text, the best first; columns that no row has are left out.

    Args:
        rows: candidates.
        metric: what their cost is.
        percent: whether scores are percentages.
        times_s: of a search that was not begun, the seconds that a trial of each is expected to take.
    """
    titles = ["rank", "bases", *(["φ"] if len({row.phi for row in rows}) > 1 else []), "input"]
    titles += ["asked", "growth", "latency" if metric == "latency_ms" else "MACs", "score [95 %]"]
    if all(row.status == "planned" for row in rows):
        titles = [title for title in titles if title not in ("rank", "score [95 %]")]
        titles += ["a trial"] if times_s else []
        return tuple(titles), [
            tuple(_cell(row, title, metric, percent, times_s) for title in titles) for row in rows
        ]
    titles += [*(["held out"] if any(row.held_out is not None for row in rows) else []), "seeds", "standing"]
    return tuple(titles), [tuple(_cell(row, title, metric, percent) for title in titles) for row in rows]


def _cell(
    row: CandidateRow,
    title: str,
    metric: CostMetric,
    percent: bool,
    times_s: Mapping[int, float] | None = None,
) -> str:
    texts = {
        "rank": "–" if row.rank is None else str(row.rank),
        "bases": row.name,
        "φ": format(row.phi, ".10g"),
        "input": "–" if row.input_size is None else str(row.input_size),
        "asked": f"{row.nominal_growth:.2f}×",
        "growth": "–" if row.cost_growth is None else f"{row.cost_growth:.2f}×",
        "score [95 %]": interval_text(row, percent=percent),
        "held out": score_text(row.held_out, percent=percent),
        "seeds": str(row.seeds),
        "standing": standing_text(row),
        "a trial": format_duration((times_s or {}).get(row.candidate, 0.0)),
    }
    return texts.get(title) or cost_text(row, metric)


def standing_text(row: CandidateRow) -> str:
    """Where a row stands, in a word or two."""
    words = {
        "chosen": "★ chosen",
        "tied": "≈ tied",
        "ahead": "ahead, not comparable",
        "undecided": "one score",
    }
    standing = words.get(row.standing, row.standing) if row.standing else row.status
    return f"{standing}, published" if row.is_published else standing


def to_json(rows: Sequence[CandidateRow]) -> str:
    """One JSON array, a row a candidate and φ."""
    return table.to_json(rows)


def to_csv(rows: Sequence[CandidateRow]) -> str:
    """One line a row; missing values are empty."""
    return table.to_csv(CandidateRow.__struct_fields__, map(msgspec.structs.astuple, rows))


def to_markdown(rows: Sequence[CandidateRow], metric: CostMetric, *, percent: bool) -> str:
    """A Markdown table of the terminal's cells."""
    return table.to_markdown(_titled(*cells(rows, metric, percent=percent)))


def to_terminal(
    rows: Sequence[CandidateRow],
    metric: CostMetric,
    *,
    percent: bool,
    times_s: Mapping[int, float] | None = None,
    list_excluded: bool = False,
) -> Group:
    """A rich table of what is tried, and below it why others have no score.

    All that are excluded are told with `list_excluded`, else their number.
    """
    tried = [row for row in rows if row.status != "excluded"]
    titled = _titled(*cells(tried, metric, percent=percent, times_s=times_s))
    bold = {place: "bold" for place, row in enumerate(tried) if row.standing == "chosen"}
    shown = rows if list_excluded else tried
    told = [f"{words}: {', '.join(names)}" for words, names in reason_groups(shown).items()]
    if len(tried) < len(rows) and not list_excluded:
        told.append(
            f"{len(rows) - len(tried)} more bases are excluded (--dry-run lists them with the reason)"
        )
    return Group(table.to_terminal(titled, row_styles=bold), *(Text(for_terminal(line)) for line in told))


def _titled(titles: Sequence[str], body: Sequence[Sequence[str]]) -> Table:
    return Table(titles, body, [place for place, title in enumerate(titles) if title in _TEXT_COLUMNS])


def reason_groups(rows: Sequence[CandidateRow]) -> dict[str, list[str]]:
    """Why candidates are not tried, or have no score, and who they are.

    Those whose cost is off are told together, each with its growth.
    """
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.reason is None:
            continue
        named = row.name if row.phi == 1 else f"{row.name} at φ {row.phi:g}"
        if row.status == "excluded" and row.cost_growth is not None and "same network" not in row.reason:
            _, _, asked = row.reason.partition("after rounding, ")
            words = f"excluded by cost{f', {asked}' if asked else ''}"
            groups.setdefault(words, []).append(f"{named} ({row.cost_growth:.3g}×)")
        else:
            groups.setdefault(f"{row.status}, {row.reason}", []).append(named)
    return groups

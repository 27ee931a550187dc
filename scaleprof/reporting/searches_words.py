"""What a search found, in sentences: the bases, who is tied with them, the alternatives, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scaleprof.records import CostMetric, SearchLog
from scaleprof.reporting.searches_rows import CandidateRow, cost_text, interval_text, score_text
from scaleprof.stats.ranking import FIRST_PHI
from scaleprof.units import plural

_MOST_NAMED = 6
_DIFFERENCE_DIGITS = 3


def search_sentences(log: SearchLog, rows: Sequence[CandidateRow], *, percent: bool) -> tuple[str, ...]:
    """The result at φ = 1, the most important first."""
    first = [row for row in rows if row.phi == FIRST_PHI]
    chosen = next((row for row in first if row.standing == "chosen"), None)
    if chosen is None:
        return (_nothing_yet(first),)
    others = [row for row in first if row.score is not None and row is not chosen]
    return (
        _best(chosen, first, log.header.cost_metric, percent),
        *_ties(others),
        *_ahead(others, percent),
        *_published(chosen, first, percent),
        *_controls(others, percent),
        *_held_out(chosen, percent),
        *_missing(log, first),
    )


def _nothing_yet(rows: Sequence[CandidateRow]) -> str:
    tried = sum(row.status != "excluded" for row in rows)
    return f"None of {plural(tried, 'candidate', 'candidates')} has a score: nothing was chosen."


def _best(chosen: CandidateRow, rows: Sequence[CandidateRow], metric: CostMetric, percent: bool) -> str:
    scored = sum(row.score is not None for row in rows)
    unit = " MACs" if metric == "macs" else ""
    growth = "" if chosen.cost_growth is None else f", {chosen.cost_growth:.2f}× the base"
    kind = " (it grows that dimension alone)" if chosen.is_single else ""
    return (
        f"{chosen.name}{kind} is chosen: the best mean of {plural(scored, 'candidate', 'candidates')} at "
        f"φ = 1, {interval_text(chosen, percent=percent)} at {cost_text(chosen, metric)}{unit}{growth}."
    )


def _ties(others: Sequence[CandidateRow]) -> Iterator[str]:
    """Who may as well be the best."""
    if not others:
        return
    if any(row.standing == "undecided" for row in others):
        yield (
            "Nothing tells how large noise is (one score a candidate, without an error): the order is a "
            "first look, and --seeds 3 tells more."
        )
        return
    tied = [row.name for row in others if row.standing == "tied"]
    if tied:
        verb = "is" if len(tied) == 1 else "are"
        yield f"{_named(tied)} {verb} tied with it: noise may have made the difference."
    else:
        yield "No other is tied with it: the differences are beyond noise."


def _ahead(others: Sequence[CandidateRow], percent: bool) -> Iterator[str]:
    """Those that score higher and cost something else."""
    ahead = [row for row in others if row.behind is not None and row.behind < 0 and row.standing != "tied"]
    if ahead:
        told = [f"{row.name} ({score_text(row.score, percent=percent)})" for row in ahead]
        yield (
            f"{_named(told)} {'scores' if len(told) == 1 else 'score'} higher, and may not be chosen: the "
            f"cost is not that asked for, or seeds are missing."
        )


def _published(chosen: CandidateRow, rows: Sequence[CandidateRow], percent: bool) -> Iterator[str]:
    """How Tan & Le's own bases do."""
    row = next((row for row in rows if row.is_published), None)
    if row is chosen:
        yield "These are the published bases."
    elif row is None:
        yield "The published bases 1.2/1.1/1.15 are not on this grid."
    elif row.status == "excluded":
        yield f"The published bases {row.name} are excluded: {row.reason}."
    elif row.score is not None:
        yield f"The published bases {row.name} are {_distance(row, percent)}."


def _controls(others: Sequence[CandidateRow], percent: bool) -> Iterator[str]:
    """Whether growing all three is worth it."""
    told = [f"{row.name} is {_distance(row, percent)}" for row in others if row.is_single]
    if told:
        yield f"Of those that grow one dimension, {', '.join(told)}."


def _distance(row: CandidateRow, percent: bool) -> str:
    """How far a row lies from the chosen one, and whether that is more than noise."""
    behind = row.behind or 0.0
    unit = " points" if percent else ""
    ends = ""
    if row.behind_ci_low is not None and row.behind_ci_high is not None:
        low, high = row.behind_ci_low, row.behind_ci_high
        if behind < 0:
            low, high = -high, -low
        ends = f" [{_number(low)}–{_number(high)}]"
    where = "ahead" if behind < 0 else "behind"
    doubt = {"tied": ", which may be noise", "undecided": ""}.get(row.standing or "", "")
    return f"{_number(abs(behind))}{unit} {where}{ends}{doubt}"


def _number(value: float) -> str:
    return format(value, f".{_DIFFERENCE_DIGITS}g").replace("-", "−")


def _held_out(chosen: CandidateRow, percent: bool) -> Iterator[str]:
    if chosen.held_out is not None:
        yield (
            f"On the images that no choice was made on, {chosen.name} has "
            f"{score_text(chosen.held_out, percent=percent)}."
        )


def _missing(log: SearchLog, rows: Sequence[CandidateRow]) -> Iterator[str]:
    missing = sum(row.status in ("planned", "failed") for row in rows)
    partial = sum(0 < row.seeds < len(log.header.seeds) for row in rows)
    if missing:
        yield f"{plural(missing, 'candidate is', 'candidates are')} without a score."
    if partial:
        yield f"{plural(partial, 'candidate lacks', 'candidates lack')} the score of a seed."


def _named(names: Sequence[str]) -> str:
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    *first, last = [*names[:_MOST_NAMED], *more]
    return f"{', '.join(first)} and {last}" if first else last

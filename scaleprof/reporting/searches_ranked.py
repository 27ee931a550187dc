"""A search judged: its rows with ranks and standings, and what is to be said of them in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from scaleprof.records import Candidate, SearchHeader, SearchLog, Trial
from scaleprof.reporting.searches_rows import CandidateRow, RowStatus, Standing, latency_ms_of
from scaleprof.reporting.searches_words import search_sentences
from scaleprof.stats.ranking import FIRST_PHI, Ranked, bases_words, judge_transfer, rank_search


class Judged(msgspec.Struct, frozen=True):
    """What a search comes to.

    Attributes:
        rows: candidates at φ = 1, the best first, then those without a score; then those at larger φ.
        chosen: what was chosen; None where nothing may be yet.
        percent: whether scores are percentages.
        sentences: the result in words, the most important first.
        transfer: whether it holds at larger φ, in a sentence; empty where that was not tried.
    """

    rows: tuple[CandidateRow, ...]
    chosen: Candidate | None
    percent: bool
    sentences: tuple[str, ...]
    transfer: str


def judge(log: SearchLog) -> Judged:
    """The rows and sentences of a search, finished or not."""
    header = log.header
    phis = sorted({FIRST_PHI, *(trial.phi for trial in log.trials)})
    rows = tuple(row for phi in phis for row in _rows_at(log, phi))
    number = rank_search(log).chosen
    chosen = next((one for one in header.candidates if one.number == number), None)
    verdict = judge_transfer(log)
    transfer = "" if verdict is None else f"{verdict.words[:1].upper()}{verdict.words[1:]}."
    percent = header.objective == "train"
    sentences = search_sentences(log, rows, percent=percent)
    return Judged(rows, chosen, percent, (*sentences, *filter(None, [transfer])), transfer)


def _rows_at(log: SearchLog, phi: float) -> list[CandidateRow]:
    """Candidates at a φ, ranked ones first; at larger φ only those that were tried."""
    by_candidate = rank_search(log, phi).by_candidate
    trials: dict[int, list[Trial]] = {}
    for trial in log.trials:
        if trial.phi == phi:
            trials.setdefault(trial.candidate, []).append(trial)
    rows = [
        _row(log.header, one, phi, trials.get(one.number, []), by_candidate.get(one.number))
        for one in log.header.candidates
        if phi == FIRST_PHI or one.number in trials
    ]
    return sorted(rows, key=_order)


def _order(row: CandidateRow) -> tuple[bool, bool, float, bool]:
    return (row.score is None, row.status == "excluded", row.rank or 0, row.standing != "chosen")


def _row(
    header: SearchHeader, candidate: Candidate, phi: float, trials: Sequence[Trial], ranked: Ranked | None
) -> CandidateRow:
    held_out = [trial.held_out for trial in trials if trial.held_out is not None]
    macs = next((trial.macs for trial in trials if trial.macs is not None), None)
    ends = None if ranked is None else ranked.mean.interval
    behind = None if ranked is None else ranked.behind
    is_first = phi == FIRST_PHI
    return CandidateRow(
        name=bases_words(candidate),
        candidate=candidate.number,
        kind=candidate.kind,
        model=header.model,
        phi=phi,
        depth=candidate.depth,
        width=candidate.width,
        resolution=candidate.resolution,
        input_size=candidate.spec.input_size if is_first else None,
        nominal_growth=candidate.nominal_growth,
        macs=candidate.macs if is_first else macs,
        latency_ms=latency_ms_of(candidate, header.cost_metric) if is_first else None,
        cost_growth=candidate.cost_growth if is_first else None,
        status=_status(candidate, trials, ranked),
        reason=_reason(candidate, trials),
        rank=None if ranked is None else ranked.rank,
        standing=None if ranked is None else _standing(ranked),
        score=None if ranked is None else ranked.mean.value,
        score_ci_low=None if ends is None else ends.low,
        score_ci_high=None if ends is None else ends.high,
        behind=None if behind is None else behind.value,
        behind_ci_low=None if behind is None or behind.interval is None else behind.interval.low,
        behind_ci_high=None if behind is None or behind.interval is None else behind.interval.high,
        held_out=fmean(held_out) if held_out else None,
        seeds=0 if ranked is None else ranked.seeds,
        seconds=sum(trial.seconds for trial in trials),
    )


def _status(candidate: Candidate, trials: Sequence[Trial], ranked: Ranked | None) -> RowStatus:
    if candidate.excluded is not None:
        return "excluded"
    if ranked is not None:
        return "scored"
    return "failed" if trials else "planned"


def _reason(candidate: Candidate, trials: Sequence[Trial]) -> str | None:
    """Why there is no score, or not one of every seed."""
    if candidate.excluded is not None:
        return candidate.excluded
    lost = [f"seed {trial.seed} {trial.status}: {trial.reason}" for trial in trials if trial.status != "ok"]
    return "; ".join(lost) or None


def _standing(ranked: Ranked) -> Standing:
    if ranked.is_chosen:
        return "chosen"
    if ranked.tied is None:
        return "undecided"
    if ranked.tied:
        return "tied"
    return "ahead" if ranked.behind.value < 0 else "behind"

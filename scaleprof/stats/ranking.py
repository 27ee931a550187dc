"""Which candidate of a search is best, and which cannot be told from it by what few seeds show.

Scores are taken as `candidate + seed + noise`: what a seed does to all candidates alike drops out of their
differences, and the noise is alike for all, so that its variance is pooled over all of them; two or three
seeds a candidate alone would tell next to nothing. Raw scores go in; nothing here is stored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

import msgspec
import numpy as np

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import ndtri, stdtrit

from scaleprof.records import Candidate, SearchLog, Trial
from scaleprof.stats.intervals import CONFIDENCE, Estimate, Interval

# Seeds by candidate, and what each of them scored.
_Scores = dict[int, dict[int, Trial]]

Transfers = Literal["yes", "no", "undecided"]
# φ at which the bases are found; `--transfer` tries them at others.
FIRST_PHI = 1.0


class Ranked(msgspec.Struct, frozen=True):
    """A candidate's place.

    Attributes:
        rank: from 1, by mean; equal means have equal ranks.
        candidate: its number in the search.
        mean: over its seeds, with the 95 % interval of that mean; None without one (a single seed for every
            candidate, and no error of the score's own).
        seeds: how many scores the mean is of.
        behind: how much the chosen one's mean lies above this one's over the seeds that both have; below zero
            where this one is ahead. Its interval has the width that decides ties, which allows for as many
            comparisons as there are candidates. Of the chosen one itself it is 0.
        tied: whether noise may have made that difference; None where nothing tells how large noise is.
        is_chosen: whether this is the one that the search chose.
    """

    rank: int
    candidate: int
    mean: Estimate
    seeds: int
    behind: Estimate
    tied: bool | None
    is_chosen: bool


class Ranking(msgspec.Struct, frozen=True):
    """Candidates that have a score at one φ, the best first; `chosen` is None where none may be chosen."""

    phi: float
    ranked: tuple[Ranked, ...]
    chosen: int | None

    @property
    def by_candidate(self) -> dict[int, Ranked]:
        """Each by its candidate's number."""
        return {one.candidate: one for one in self.ranked}

    @property
    def tied(self) -> tuple[int, ...]:
        """Candidates that noise may hide as the best beside the chosen one, the best first."""
        return tuple(one.candidate for one in self.ranked if one.tied and not one.is_chosen)

    @property
    def is_undecided(self) -> bool:
        """Whether nothing tells how large noise is, so that no order here is more than a first look."""
        return any(one.tied is None for one in self.ranked)


class Standing(NamedTuple):
    """The chosen bases against one comparator at one φ.

    `ahead`: how much the chosen ones lie above it. `decided`: 1 where the chosen ones are better beyond
    noise, -1 where the comparator is, 0 where noise may have done it. `comparable`: whether both networks
    cost the same, within the search's tolerance, so that a difference says something of the bases.
    """

    phi: float
    comparator: int
    ahead: Estimate
    decided: int
    comparable: bool


class TransferVerdict(msgspec.Struct, frozen=True):
    """Whether what won at φ = 1 still wins at larger φ, and what it stands on, in words."""

    transfers: Transfers
    words: str
    standings: tuple[Standing, ...]


def rank_search(log: SearchLog, phi: float = FIRST_PHI) -> Ranking:
    """The ranking of a search's trials at a φ.

    At φ = 1 the chosen one is the candidate with the best mean among those that cost what was asked for
    (`may_be_chosen`); at any other φ it is the same one as at φ = 1, if that has a score there.
    """
    trials = [trial for trial in log.trials if trial.phi == phi and trial.status == "ok"]
    header = log.header
    choosable = [one.number for one in header.candidates if may_be_chosen(one, log)]
    growths = {one.number: one.cost_growth or math.inf for one in header.candidates}
    if phi != FIRST_PHI:
        first = rank_search(log).chosen
        choosable = [] if first is None else [first]
    ranking = rank(trials, growths, choosable=choosable)
    return msgspec.structs.replace(ranking, phi=phi)


def may_be_chosen(candidate: Candidate, log: SearchLog) -> bool:
    """Whether a candidate costs what the search asked for, within its tolerance; a control may, too."""
    header = log.header
    if candidate.excluded is not None:
        return False
    if candidate.cost_growth is None:
        return candidate.kind == "grid"  # nothing could be counted, so that nothing was excluded by it
    return abs(candidate.cost_growth / header.target_growth - 1) <= header.tolerance + 1e-9


def rank(
    trials: Sequence[Trial],
    growths: Mapping[int, float] | None = None,
    *,
    choosable: Collection[int] | None = None,
) -> Ranking:
    """Candidates by the mean of their scores, with what noise allows to be said.

    The chosen one has the best mean among `choosable` candidates with the most seeds; of exactly equal
    means the cheapest, then the first. Candidates tied with it within noise do not lose to cheaper ones: all
    of them cost about the same by construction, and the best mean is the best guess. Who is tied is told.

    A candidate is tied with the chosen one unless its difference over common seeds exceeds what noise does
    in 95 % of searches with as many candidates (Gupta's subset selection, with Bonferroni's bound on
    Student's t): the truly best candidate is the chosen one or tied with it in at least 95 % of searches.

    Args:
        trials: of one φ; those without a score are passed over.
        growths: cost of each candidate against the base, to decide between equal means.
        choosable: candidates that may be chosen; all of them if left out.
    """
    scores = _by_candidate(trials)
    means = {number: _mean(of) for number, of in scores.items()}
    chosen = _choose(scores, means, growths or {}, choosable)
    noise = _residual_variance(scores)
    intervals = _mean_intervals(scores)
    order = sorted(means, key=lambda number: (-means[number], number != chosen, number))
    ranked = []
    for number in order:
        behind, tied = _behind(scores, chosen, number, noise)
        ranked.append(
            Ranked(
                rank=1 + sum(other > means[number] for other in means.values()),
                candidate=number,
                mean=Estimate(means[number], intervals[number]),
                seeds=len(scores[number]),
                behind=behind,
                tied=tied,
                is_chosen=number == chosen,
            )
        )
    phi = trials[0].phi if trials else FIRST_PHI
    return Ranking(phi, tuple(ranked), chosen)


def judge_transfer(log: SearchLog) -> TransferVerdict | None:
    """Whether the order that chose the bases at φ = 1 holds at the search's larger φ; None without trials.

    Only networks of about equal cost (`Trial.macs`, within the search's tolerance) are compared. `no`: a
    comparator is better than the chosen bases beyond noise at a larger φ. `yes`: there is one that the
    chosen bases beat beyond noise at φ = 1, and they beat every such one at every larger φ, too. Otherwise
    `undecided`. `standings` are those of candidates that were tried at a larger φ.
    """
    phis = [phi for phi in log.header.transfer_phis if phi != FIRST_PHI]
    first = rank_search(log)
    at = [ranking for phi in phis if (ranking := rank_search(log, phi)).chosen is not None]
    if first.chosen is None or not at:
        return None
    after = [one for ranking in at for one in _standings(log, ranking)]
    carried = {one.comparator for one in after}
    before = {one.comparator: one for one in _standings(log, first) if one.comparator in carried}
    lost = [one for one in after if one.comparable and one.decided < 0]
    if lost:
        transfers: Transfers = "no"
    else:
        beaten = {number for number, one in before.items() if one.comparable and one.decided > 0}
        tests = [one for one in after if one.comparator in beaten]
        complete = len(tests) == len(beaten) * len(phis)
        holds = all(one.comparable and one.decided > 0 for one in tests)
        transfers = "yes" if beaten and complete and holds else "undecided"
    standings = (*before.values(), *after)
    return TransferVerdict(transfers, _words(transfers, log, before, after), standings)


# ---- what is in a score ----


def _by_candidate(trials: Sequence[Trial]) -> _Scores:
    """Scored trials by candidate and seed, both ascending; the order of trials says nothing."""
    scores: _Scores = {}
    for trial in sorted(trials, key=lambda one: (one.candidate, one.seed)):
        if trial.score is not None:
            scores.setdefault(trial.candidate, {})[trial.seed] = trial
    return scores


def _value(trial: Trial) -> float:
    if trial.score is None:
        raise TypeError(f"candidate {trial.candidate} has no score at seed {trial.seed}")
    return trial.score


def _mean(of: Mapping[int, Trial]) -> float:
    return fmean(_value(trial) for trial in of.values())


def _choose(
    scores: _Scores,
    means: Mapping[int, float],
    growths: Mapping[int, float],
    choosable: Collection[int] | None,
) -> int | None:
    able = [number for number in scores if choosable is None or number in choosable]
    most = max((len(scores[number]) for number in able), default=0)
    whole = [number for number in able if len(scores[number]) == most]
    return min(whole, key=lambda n: (-means[n], growths.get(n, math.inf), n), default=None)


# ---- how large noise is ----


class _Noise(NamedTuple):
    """Variance of a score's noise, and the degrees of freedom that it was estimated with."""

    variance: float
    freedom: int


def _residual_variance(scores: _Scores) -> _Noise | None:
    """Of what candidates and seeds leave unexplained together; None where nothing is left to tell it by."""
    if not scores:
        return None
    seeds = sorted({seed for of in scores.values() for seed in of})
    values, columns = [], []
    for of in scores.values():
        # What a candidate is drops out within it: only seeds are left to be fitted.
        own = np.array([_value(trial) for trial in of.values()])
        met = np.array([[float(seed == one) for one in seeds] for seed in of])
        values.append(own - own.mean())
        columns.append(met - met.mean(axis=0))
    centred, design = np.concatenate(values), np.concatenate(columns)
    solution, _, fitted, _ = np.linalg.lstsq(design, centred, rcond=None)
    freedom = len(centred) - len(scores) - int(fitted)
    if freedom < 1:
        return None
    residuals = centred - design @ solution
    return _Noise(float(residuals @ residuals) / freedom, freedom)


def _mean_intervals(scores: _Scores) -> dict[int, Interval | None]:
    """Student's t over seeds, with the variance within candidates pooled over all of them.

    Where scores have errors of their own, an interval is never narrower than these make it.
    """
    within = [(_value(trial) - _mean(of)) ** 2 for of in scores.values() for trial in of.values()]
    freedom = len(within) - len(scores)
    sd = math.sqrt(math.fsum(within) / freedom) if freedom > 0 else None
    intervals: dict[int, Interval | None] = {}
    for number, of in scores.items():
        halves = [] if sd is None else [_t(freedom) * sd / math.sqrt(len(of))]
        own = _own_variance(list(of.values()))
        halves += [] if own is None else [_z() * math.sqrt(own)]
        mean = _mean(of)
        intervals[number] = Interval(mean - max(halves), mean + max(halves)) if halves else None
    return intervals


def _own_variance(trials: Sequence[Trial]) -> float | None:
    """Variance of the mean of scores by their own errors (half of a 95 % interval each); None without."""
    errors = [trial.error for trial in trials if trial.error is not None]
    if len(errors) < len(trials):
        return None
    return math.fsum((error / _z()) ** 2 for error in errors) / len(trials) ** 2


def _behind(
    scores: _Scores, chosen: int | None, number: int, noise: _Noise | None
) -> tuple[Estimate, bool | None]:
    """How far a candidate lies behind the chosen one over common seeds, and whether noise may do that."""
    if chosen is None:
        return Estimate(0.0, None), None
    if number == chosen:
        return Estimate(0.0, Interval(0.0, 0.0)), True
    best, own = scores[chosen], scores[number]
    common = sorted(best.keys() & own.keys())
    if not common:
        return Estimate(_mean(best) - _mean(own), None), None
    difference = fmean(_value(best[seed]) - _value(own[seed]) for seed in common)
    half = _half_of_difference(
        [best[s] for s in common], [own[s] for s in common], noise, comparisons=len(scores) - 1
    )
    if half is None:
        return Estimate(difference, None), None
    return Estimate(difference, Interval(difference - half, difference + half)), abs(difference) <= half


def _half_of_difference(
    first: Sequence[Trial], second: Sequence[Trial], noise: _Noise | None, *, comparisons: int
) -> float | None:
    """What noise does to a difference of means in 95 % of searches with so many comparisons.

    One-sided, since the truly best can only be hidden by looking worse than it is.
    """
    tail = 1 - (1 - CONFIDENCE) / comparisons
    halves = []
    if noise is not None:
        halves.append(_t(noise.freedom, tail) * math.sqrt(2 * noise.variance / len(first)))
    variances = [_own_variance(first), _own_variance(second)]
    known = [variance for variance in variances if variance is not None]
    if len(known) == len(variances):
        halves.append(float(ndtri(tail)) * math.sqrt(math.fsum(known)))
    return max(halves, default=None)


def _t(freedom: int, tail: float = (1 + CONFIDENCE) / 2) -> float:
    return float(stdtrit(freedom, tail))


def _z() -> float:
    return float(ndtri((1 + CONFIDENCE) / 2))


# ---- what holds at larger φ ----


def _standings(log: SearchLog, ranking: Ranking) -> list[Standing]:
    costs = _macs(log, ranking.phi)
    own = costs.get(ranking.chosen or 0)
    found = []
    for one in ranking.ranked:
        if one.is_chosen:
            continue
        sign = 0 if one.tied or one.tied is None else int(math.copysign(1, one.behind.value))
        other = costs.get(one.candidate)
        known = own is not None and other is not None
        comparable = not known or abs(math.log((other or 1) / (own or 1))) <= 2 * math.log1p(
            log.header.tolerance
        )
        found.append(Standing(ranking.phi, one.candidate, one.behind, sign, comparable))
    return found


def _macs(log: SearchLog, phi: float) -> dict[int, int]:
    """MACs of the networks that were tried at a φ."""
    planned = {one.number: one.macs for one in log.header.candidates} if phi == FIRST_PHI else {}
    tried = {trial.candidate: trial.macs for trial in log.trials if trial.phi == phi}
    return {number: macs for number, macs in (planned | tried).items() if macs is not None}


def _words(
    transfers: Transfers, log: SearchLog, before: Mapping[int, Standing], after: Sequence[Standing]
) -> str:
    names = {one.number: bases_words(one) for one in log.header.candidates}
    if transfers == "no":
        worst = min((one for one in after if one.comparable), key=lambda one: one.ahead.value)
        return (
            f"what won at φ = 1 does not win at φ = {worst.phi:g}: {names[worst.comparator]} scores "
            f"{-worst.ahead.value:.3g} higher there, beyond noise"
        )
    at = " and ".join(f"{phi:g}" for phi in dict.fromkeys(one.phi for one in after))
    if transfers == "yes":
        beaten = [names[n] for n, one in before.items() if one.comparable and one.decided > 0]
        return f"what won at φ = 1 wins at φ = {at}, too, beyond noise: against {', '.join(beaten)}"
    if any(one.ahead.interval is None for one in after):
        why = "nothing tells how large noise is (give more seeds)"
    elif not any(one.comparable for one in after):
        why = "no two networks cost the same there"
    else:
        why = "the differences there are within noise (more seeds may tell)"
    return f"whether what won at φ = 1 wins at φ = {at}, too, is undecided: {why}"


def bases_words(candidate: Candidate) -> str:
    """A candidate by its bases, depth, width and resolution, or by the one dimension that it grows.

    `1.2/1.1/1.15`, or `depth-only`.
    """
    grown = [name for name in ("depth", "width", "resolution") if getattr(candidate, name) != 1]
    if candidate.kind == "control" and len(grown) == 1:
        return f"{grown[0]}-only"
    return "/".join(f"{value:.4g}" for value in (candidate.depth, candidate.width, candidate.resolution))

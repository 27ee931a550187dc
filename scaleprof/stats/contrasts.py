"""Comparisons of models inside the same rounds, where whatever slows the machine slows them all.

A contrast is `Σ wᵢ·log xᵢ` with `Σ wᵢ = 0`, xᵢ the median sample of model i's visit in a round. A factor on
all samples of the round drops out of it. Weights (+1, -1) make the logarithm of a ratio.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from scaleprof.records import Launch
from scaleprof.stats.intervals import Estimate, exp_over_launches

Party = tuple[float, Sequence[Launch]]
_LogRounds = dict[int, list[float]]


def contrast(parties: Sequence[Party]) -> Estimate | None:
    """`exp(Σ wᵢ·log xᵢ)` of models weighed by wᵢ, with its interval; None if they share no round.

    The median over launches and rounds, by the machinery of `scaleprof.stats.intervals.over_launches`. Rounds
    count that have a visit to every party in the same process; launches without such are left out.

    Raises:
        ValueError: the weights do not add up to zero.
    """
    weights = [weight for weight, _ in parties]
    if not math.isclose(math.fsum(weights), 0, abs_tol=1e-9):
        raise ValueError(f"the weights of a contrast must add up to zero: {weights}")
    return _estimate(_log_rounds(parties))


def ratio(a: Sequence[Launch], b: Sequence[Launch], *, anchor: Sequence[Launch] = ()) -> Estimate | None:
    """How many times as long as `b` `a` takes, in the rounds that they share; None without any.

    In a launch whose groups keep them apart, `anchor`, a model that is in both groups, joins them: a/anchor
    of the one group times anchor/b of the other. The k-th round of the one is paired with the k-th of the
    other, as far as both go: their noise is independent, so any pairing has the same spread.
    """
    joined = _joined(_log_rounds([(1, a), (-1, anchor)]), _log_rounds([(1, anchor), (-1, b)]))
    return _estimate(joined | _log_rounds([(1, a), (-1, b)]))


def _joined(first: _LogRounds, second: _LogRounds) -> _LogRounds:
    """Sums of two contrasts, launch by launch."""
    return {
        launch: [x + y for x, y in zip(first[launch], second[launch], strict=False)]
        for launch in first
        if launch in second
    }


def _estimate(log_rounds: _LogRounds) -> Estimate | None:
    return exp_over_launches([log_rounds[launch] for launch in sorted(log_rounds)]) if log_rounds else None


def _log_rounds(parties: Sequence[Party]) -> _LogRounds:
    """The contrast in each shared round, in their order, by the number of the launch; none are empty."""
    medians = [_medians_s(launches) for _, launches in parties]
    rounds: _LogRounds = defaultdict(list)
    for place in sorted(set(medians[0]).intersection(*medians[1:])):
        terms = (weight * math.log(of[place]) for (weight, _), of in zip(parties, medians, strict=True))
        rounds[place[0]].append(math.fsum(terms))
    return dict(rounds)


def _medians_s(launches: Sequence[Launch]) -> Mapping[tuple[int, int, str, int], float]:
    """The median sample of each visit in seconds, by (launch, group, process, round)."""
    return {
        (launch.launch, launch.group, launch.process, visit.round): median(visit.samples_s)
        for launch in launches
        for visit in launch.visits
    }

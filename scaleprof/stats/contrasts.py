"""Comparisons of models inside the same rounds, where whatever slows the machine slows them all.

A contrast is `Σ wᵢ·log xᵢ` with `Σ wᵢ = 0`, xᵢ the median sample of model i's visit in a round. A factor on
all samples of the round drops out of it. Weights (+1, -1) make the logarithm of a ratio.

What slows one visit of a round and not the next is seen by the reference network around each visit. The same
contrast of the references' logarithms is zero but for that, since the order of visits is random; so β times
it is taken off, with the β that leaves the least variance (a control variate), between 0 and 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from scaleprof.records import Launch, Visit
from scaleprof.stats.intervals import Estimate, exp_over_launches

Party = tuple[float, Sequence[Launch]]


class _Round(NamedTuple):
    """A contrast in one round: of the models, and of the references around their visits."""

    models: float
    references: float


_Rounds = dict[int, list[_Round]]


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
    return _estimate(_rounds(parties))


def ratio(a: Sequence[Launch], b: Sequence[Launch], *, anchor: Sequence[Launch] = ()) -> Estimate | None:
    """How many times as long as `b` `a` takes, in the rounds that they share; None without any.

    In a launch whose groups keep them apart, `anchor`, a model that is in both groups, joins them: a/anchor
    of the one group times anchor/b of the other. The k-th round of the one is paired with the k-th of the
    other, as far as both go: their noise is independent, so any pairing has the same spread.
    """
    joined = _joined(_rounds([(1, a), (-1, anchor)]), _rounds([(1, anchor), (-1, b)]))
    return _estimate(joined | _rounds([(1, a), (-1, b)]))


def _joined(first: _Rounds, second: _Rounds) -> _Rounds:
    """Sums of two contrasts, launch by launch."""
    return {
        launch: [
            _Round(x.models + y.models, x.references + y.references)
            for x, y in zip(first[launch], second[launch], strict=False)
        ]
        for launch in first
        if launch in second
    }


def _estimate(rounds: _Rounds) -> Estimate | None:
    if not rounds:
        return None
    launches = [rounds[launch] for launch in sorted(rounds)]
    beta = _control(launches)
    return exp_over_launches([[one.models - beta * one.references for one in launch] for launch in launches])


def _control(launches: Sequence[Sequence[_Round]]) -> float:
    """How much of the references' contrast is to be taken off: its regression coefficient, in [0, 1].

    About each launch's own means, all launches together. Beyond 1 the references would be taken for more than
    the machine's speed, below 0 for its opposite. It is shrunk by `1 - 1/F`, F its squared signal-to-noise
    ratio (James and Stein's positive part): on a quiet machine there is nothing to take off, and a
    coefficient that is noise itself would only add some.
    """
    models = [one for launch in launches for one in _centred([one.models for one in launch])]
    references = [one for launch in launches for one in _centred([one.references for one in launch])]
    squares = _product(references, references)
    freedom = len(models) - len(launches) - 1
    if squares == 0 or freedom < 1:
        return 0.0
    beta = min(1.0, max(0.0, _product(models, references) / squares))
    left = math.fsum((x - beta * z) ** 2 for x, z in zip(models, references, strict=True)) / freedom
    signal = beta**2 * squares
    return beta * max(0.0, 1 - left / signal) if signal > 0 else 0.0


def _product(x: Sequence[float], y: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def _centred(values: Sequence[float]) -> list[float]:
    centre = fmean(values)
    return [value - centre for value in values]


def _rounds(parties: Sequence[Party]) -> _Rounds:
    """The contrast in each shared round, in their order, by the number of the launch; none are empty."""
    visits = [_visits(launches) for _, launches in parties]
    rounds: _Rounds = defaultdict(list)
    for place in sorted(set(visits[0]).intersection(*visits[1:])):
        pairs = [(weight, of[place]) for (weight, _), of in zip(parties, visits, strict=True)]
        rounds[place[0]].append(
            _Round(
                math.fsum(weight * math.log(median(visit.samples_s)) for weight, visit in pairs),
                math.fsum(weight * math.log(median(visit.reference_network_s)) for weight, visit in pairs),
            )
        )
    return dict(rounds)


def _visits(launches: Sequence[Launch]) -> Mapping[tuple[int, int, str, int], Visit]:
    """Visits by (launch, group, process, round)."""
    return {
        (launch.launch, launch.group, launch.process, visit.round): visit
        for launch in launches
        for visit in launch.visits
    }

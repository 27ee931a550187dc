"""Verdicts on two arms that were timed side by side: whether a change made a target slower.

Targets are looked at after `LOOKS` pairs, and one that is decided stays so. Each look spends its part of 2 %,
so that all looks together raise false alarms in at most 2 % of checks, however many targets they have.

Nothing here is a verdict by default: what was not measured, or too little, is `INVALID`, and what is not
finite is an error.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

# scipy.special rather than scipy.stats: the same function without its half second of import.
from scipy.special import stdtrit

from scaleprof.records import CheckPair, PairTarget
from scaleprof.stats.effects import MIN_PAIRS, MIN_ROUNDS, NU_0, TAU_0, Effect, PairTimes, effect
from scaleprof.stats.holm import holm
from scaleprof.stats.intervals import CONFIDENCE

Verdict = Literal["PASS", "FASTER", "SLOWER", "INCONCLUSIVE", "INVALID"]

# Pairs of processes after which verdicts are sought, and the part of `ALPHA` that each look spends. Unchanged
# targets mostly pass at the first looks; the last one keeps the most for slowdowns near the limit.
LOOKS = (MIN_PAIRS, 5, 8, 12)
ALPHA = 0.02
SPENDING = (0.15, 0.20, 0.25, 0.40)

DEFAULT_LIMIT = 0.02
# Nothing passes unless it is likely less than this above its limit.
PASS_MARGIN = 0.01
# A forward's own call takes some ten microseconds: changes below this are not the network's.
MIN_CHANGE_S = 20e-6

# Beyond this many pairs nobody waits.
_MOST_PAIRS = 2000
# Checks that are simulated for the least effect that is detected: a share of 90 % is then known to 0.5 %.
_SIMULATED = 4000


class Comparison(NamedTuple):
    """A target as it was measured; `limit` is the share by which it may become slower.

    `pairs`: in the order of the check's pairs; None where the target was not measured in one. A target that
    was decided may have fewer than others.
    """

    pairs: Sequence[PairTimes | None]
    limit: float = DEFAULT_LIMIT

    @property
    def measured(self) -> list[PairTimes]:
        """The pairs that hold a time."""
        return [pair for pair in self.pairs if pair is not None]

    def first(self, pairs: int) -> Comparison:
        """The comparison as it was after so many pairs of the check."""
        return Comparison(self.pairs[:pairs], self.limit)


class Judged(msgspec.Struct, frozen=True):
    """A verdict, why, and on what.

    `open`: more pairs of the same check may still decide it; so long as it is, `verdict` is what it would be
    if the check ended now. `more_pairs`: of an inconclusive target, about how many more pairs would decide it
    if it goes on like this; None where none would.
    """

    verdict: Verdict
    reason: str
    effect: Effect | None = None
    open: bool = False
    more_pairs: int | None = None


def comparison_of(pairs: Sequence[CheckPair], name: str, *, limit: float = DEFAULT_LIMIT) -> Comparison:
    """What recorded pairs of processes, in their order, hold of one target."""
    found = [next((target for target in pair.targets if target.target == name), None) for pair in pairs]
    return Comparison([_times(target) if target and target.rounds else None for target in found], limit)


def judge(targets: Mapping[str, Comparison], look: int, *, tau_0: float = TAU_0) -> dict[str, Judged]:
    """What the open targets are found to be at a look (from 0), all tested together; some stay open.

    Raises:
        ValueError: as `effect`.
    """
    goes_on = look + 1 < len(LOOKS)
    judged = {name: fault for name, target in targets.items() if (fault := _fault(target, goes_on))}
    effects = {name: effect(targets[name].measured, tau_0=tau_0) for name in targets if name not in judged}
    alpha = ALPHA * SPENDING[look]
    # One that has too few pairs so far is among those that are tested, with nothing to show.
    waiting = [1.0] * sum(fault.open for fault in judged.values())
    slower = holm([*(each.p_slower for each in effects.values()), *waiting], alpha)
    faster = holm([*(each.p_faster for each in effects.values()), *waiting], alpha)
    models = len(effects) + len(waiting)
    for place, (name, found) in enumerate(effects.items()):
        limit = targets[name].limit
        judged[name] = _verdict(found, limit, slower[place], faster[place]) or _undecided(
            found, limit, models, goes_on
        )
    return {name: judged[name] for name in targets}


def decide(targets: Mapping[str, Comparison], *, tau_0: float = TAU_0) -> dict[str, Judged]:
    """The verdict on each target so far, by all looks that its pairs allow, in their order.

    A target that is decided at one look is out of all later ones, whatever else was measured of it. A check
    that goes on measures what is `open`; one that ends takes the verdicts as they are.

    Raises:
        ValueError: as `effect`.
    """
    done = max((len(target.pairs) for target in targets.values()), default=0)
    looks = [pairs for pairs in LOOKS if pairs <= done]
    decided: dict[str, Judged] = {}
    for look, pairs in enumerate(looks):
        rest = {name: target.first(pairs) for name, target in targets.items() if name not in decided}
        decided |= {name: found for name, found in judge(rest, look, tau_0=tau_0).items() if not found.open}
    still_open = {name: target for name, target in targets.items() if name not in decided}
    for name, target in still_open.items():
        decided[name] = _fault(target, goes_on=True) or _undecided(
            effect(target.measured, tau_0=tau_0), target.limit, len(still_open), goes_on=True
        )
    return {name: decided[name] for name in targets}


def minimum_detectable_effect(
    found: Effect,
    *,
    limit: float = DEFAULT_LIMIT,
    models: int = 1,
    pairs: int = LOOKS[-1],
    power: float = 0.9,
) -> float:
    """The least true slowdown, as a share, that checks with this noise call SLOWER as often as `power`.

    Found by going through the looks of simulated checks whose pairs spread like these: one that passes by
    accident at an early look is not caught, and one of `models` open ones has the least p-value of them.

    Args:
        found: where the noise and the latency are taken from.
        limit: of the target.
        models: how many are tested together.
        pairs: that a check may have at most.
        power: the share of checks in which it is caught.
    """
    spread = found.se * math.sqrt(found.pairs)
    threshold = math.log1p(max(limit, MIN_CHANGE_S / found.before_s))
    looks = [look for look, needed in enumerate(LOOKS) if needed <= pairs]

    def is_enough(delta: float) -> bool:
        caught, passed = np.zeros((2, _SIMULATED), dtype=bool)
        for look in looks:
            centres, errors = _simulated(LOOKS[look])
            delta_hat, se, freedom = delta + spread * centres, spread * errors, NU_0 + LOOKS[look] - 1
            sure = delta_hat > stdtrit(freedom, 1 - ALPHA * SPENDING[look] / models) * se
            caught |= sure & (delta_hat >= threshold) & ~passed
            upper = delta_hat + stdtrit(freedom, CONFIDENCE) * se
            passed |= ~caught & (upper < math.log1p(limit + PASS_MARGIN))
        return bool(caught.mean() >= power)

    high = threshold
    while not is_enough(high):
        high *= 2
    low = 0.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return math.expm1(high)


@functools.cache
def _simulated(pairs: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimates and standard errors in simulated checks: no effect, and pairs that spread by 1 as expected.

    The pairs of an earlier look are among those of a later one.
    """
    logs = np.random.default_rng(0).standard_normal((LOOKS[-1], _SIMULATED))[:pairs]
    one, other = np.triu_indices(pairs)
    squares = ((logs - logs.mean(axis=0)) ** 2).sum(axis=0)
    errors = np.sqrt((NU_0 + squares) / (NU_0 + pairs - 1) / pairs)
    return np.median((logs[one] + logs[other]) / 2, axis=0), errors


def _times(target: PairTarget) -> PairTimes:
    before_s = [min(each.before.samples_s) for each in target.rounds]
    return PairTimes([each.log_ratio for each in target.rounds], float(np.median(before_s)))


def _fault(target: Comparison, goes_on: bool) -> Judged | None:
    """Why this target cannot be judged yet, or at all; None if it can."""
    measured = target.measured
    fewest = min((len(pair.log_ratios) for pair in measured), default=MIN_ROUNDS)
    if fewest < MIN_ROUNDS:
        return Judged("INVALID", f"a pair of processes has {fewest} rounds: at least {MIN_ROUNDS} are needed")
    if not measured:
        return Judged("INVALID", "it was not measured", open=goes_on)
    if len(measured) < MIN_PAIRS:
        reason = f"{len(measured)} of the {MIN_PAIRS} pairs of processes that a verdict needs"
        return Judged("INVALID", reason, open=goes_on)
    return None


def _verdict(found: Effect, limit: float, slower: bool, faster: bool) -> Judged | None:
    """The verdict on a target; None if it stays open. `slower`, `faster`: so it is, of whatever size."""
    threshold = math.log1p(limit)
    is_felt = abs(found.change_s) >= MIN_CHANGE_S
    if slower and found.delta >= threshold and is_felt:
        return Judged("SLOWER", f"slower by more than {_percent(limit)}", found)
    if faster and found.delta <= -threshold and is_felt:
        return Judged("FASTER", f"faster by more than {_percent(limit)}", found)
    if found.upper < limit + PASS_MARGIN:
        return Judged("PASS", f"slower by less than {_percent(limit + PASS_MARGIN)}", found)
    return None


def _undecided(found: Effect, limit: float, models: int, goes_on: bool) -> Judged:
    """An inconclusive target, with about how many more pairs would decide it."""
    if found.delta >= math.log1p(limit) and found.change_s < MIN_CHANGE_S:
        reason = (
            f"slower by {found.change_s * 1e6:.3g} µs: {MIN_CHANGE_S * 1e6:.0f} µs can be told from a call"
        )
        return Judged("INCONCLUSIVE", reason, found, goes_on)
    more = _more_pairs(found, limit, models)
    needed = f"more than {_MOST_PAIRS}" if more is None else f"about {more}"
    reason = f"undecided after {found.pairs} pairs: {needed} more ({found.rounds} rounds each) would decide"
    return Judged("INCONCLUSIVE", reason, found, goes_on, more)


def _more_pairs(found: Effect, limit: float, models: int) -> int | None:
    """How many more pairs decide at the last look, if this effect and its noise stay as they are."""
    alpha = ALPHA * SPENDING[-1] / models

    def is_decided(more: int) -> bool:
        pairs = found.pairs + more
        later = msgspec.structs.replace(
            found, pairs=pairs, freedom=NU_0 + pairs - 1, se=found.se * math.sqrt(found.pairs / pairs)
        )
        is_sure = min(later.p_slower, later.p_faster) < alpha and abs(found.delta) >= math.log1p(limit)
        return is_sure or later.upper < limit + PASS_MARGIN

    # More pairs only ever make it surer, so that halving finds the first that are enough.
    more = bisect_left(range(_MOST_PAIRS), True, lo=1, key=is_decided)
    return more if more < _MOST_PAIRS else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

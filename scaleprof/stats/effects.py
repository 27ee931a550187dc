"""How far two arms that were timed side by side differ, and how sure that is.

In each round both arms run right after each other, and `d = log(quickest after) − log(quickest before)`:
whatever slows the machine for longer than a round drops out of it. A pair of processes has a bias of its own
that more rounds do not remove, so pairs are the unit of inference: rounds make each pair's estimate sharp,
and only pairs make the effect certain.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import stdtr, stdtrit

from scaleprof.stats.intervals import CONFIDENCE, Interval

# Rounds in a pair: as many as are planned, and the fewest whose pseudo-median is worth its name. Pairs: the
# fewest that show by how much they differ.
ROUNDS = 30
MIN_ROUNDS = 10
MIN_PAIRS = 3

# Identical code in fresh pairs of processes differs by this standard deviation (on logarithms) beyond the
# noise of the rounds; what is believed before the pairs have spoken weighs as much as `NU_0` of them.
TAU_0 = 0.02
NU_0 = 6
# Fewer than a dozen pairs cannot show that a machine is better than this.
MIN_TAU = 0.005

_SD_PER_MAD = 1.4826
# The standard error of the Hodges–Lehmann estimate of normal values is √(π/3) = 1.02 times that of their
# mean; few rounds and ties widen it a little more.
_HODGES_LEHMANN = 1.05


class PairTimes(NamedTuple):
    """One target in one pair of processes: `d` of each round, and the before arm's median latency.

    Of each round the quickest forward counts, in both.
    """

    log_ratios: Sequence[float]
    before_s: float


class Effect(msgspec.Struct, frozen=True):
    """How the arms differ: `delta` on logarithms (above zero is slower), and its standard error.

    `rounds` are those of the shortest pair, `before_s` is the before arm's median latency.
    """

    delta: float
    se: float
    freedom: int
    pairs: int
    rounds: int
    before_s: float

    @property
    def change(self) -> float:
        """The share by which the target became slower; below zero if it became faster."""
        return math.expm1(self.delta)

    @property
    def change_s(self) -> float:
        """The change in seconds."""
        return self.change * self.before_s

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the change, as shares."""
        half_width = self._quantile((1 + CONFIDENCE) / 2) * self.se
        return Interval(math.expm1(self.delta - half_width), math.expm1(self.delta + half_width))

    @property
    def lower(self) -> float:
        """The change is greater than this share with 95 % (one-sided)."""
        return math.expm1(self.delta - self._quantile(CONFIDENCE) * self.se)

    @property
    def upper(self) -> float:
        """The change is less than this share with 95 % (one-sided)."""
        return math.expm1(self.delta + self._quantile(CONFIDENCE) * self.se)

    @property
    def p_slower(self) -> float:
        """How often no change would look at least as much slower."""
        return float(stdtr(self.freedom, -self.delta / self.se))

    @property
    def p_faster(self) -> float:
        """How often no change would look at least as much faster."""
        return float(stdtr(self.freedom, self.delta / self.se))

    def _quantile(self, share: float) -> float:
        return float(stdtrit(self.freedom, share))


def effect(pairs: Sequence[PairTimes], *, tau_0: float = TAU_0) -> Effect:
    """How the arms differ by all of these pairs.

    Each pair says the Hodges–Lehmann pseudo-median of its rounds, and the pairs together that of what they
    say. The variance of a pair is what `tau_0` and the noise of the rounds let expect, at the weight of
    `NU_0` pairs, together with what the pairs show.

    Raises:
        ValueError: there is no pair, one has no rounds, or a number is not what it must be.
    """
    _require(pairs, tau_0)
    estimates = np.array([_said(tuple(pair.log_ratios)).estimate for pair in pairs])
    freedom = NU_0 + len(pairs) - 1
    squares = float(((estimates - estimates.mean()) ** 2).sum())
    variance = (NU_0 * (tau_0**2 + _noise(pairs) ** 2) + squares) / freedom
    return Effect(
        delta=pseudo_median(estimates),
        se=math.sqrt(variance / len(pairs)),
        freedom=freedom,
        pairs=len(pairs),
        rounds=_rounds(pairs),
        before_s=float(np.median([pair.before_s for pair in pairs])),
    )


def tau_of(pairs: Iterable[PairTimes]) -> float | None:
    """The standard deviation by which pairs of identical code differ, beyond what their rounds' noise makes.

    For `tau_0` of later checks on the machine where these were timed. Both arms must have been the same code,
    so that the truth is zero; pairs of several targets may stand together. Pairs of fewer than `MIN_ROUNDS`
    are left out. Never below 0.5 %; None for fewer than `MIN_PAIRS`.

    Raises:
        ValueError: as `effect`.
    """
    whole = [pair for pair in pairs if len(pair.log_ratios) >= MIN_ROUNDS]
    if len(whole) < MIN_PAIRS:
        return None
    _require(whole, TAU_0)
    noise = [_noise([pair]) ** 2 for pair in whole]
    squares = [_said(tuple(pair.log_ratios)).estimate ** 2 for pair in whole]
    return max(MIN_TAU, math.sqrt(max(0.0, float(np.mean(squares) - np.mean(noise)))))


def pseudo_median(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Hodges and Lehmann's estimate of the centre: the median of the means of all twos, each with itself too.

    >>> pseudo_median([0.0, 1.0, 5.0])
    1.75
    """
    array = np.asarray(values, dtype=np.float64)
    one, other = _twos(len(array))
    return float(np.median((array[one] + array[other]) / 2))


@functools.cache
def _twos(values: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    one, other = np.triu_indices(values)
    return one, other


def _rounds(pairs: Sequence[PairTimes]) -> int:
    return min(len(pair.log_ratios) for pair in pairs)


def _noise(pairs: Sequence[PairTimes]) -> float:
    """Standard deviation that the rounds' own noise leaves in what a pair says."""
    mads = [_said(tuple(pair.log_ratios)).mad for pair in pairs]
    return _HODGES_LEHMANN * _SD_PER_MAD * float(np.median(mads)) / math.sqrt(_rounds(pairs))


class _Said(NamedTuple):
    """A pair's estimate, and the median absolute deviation of its rounds about their median."""

    estimate: float
    mad: float


# Every look reads all pairs again.
@functools.lru_cache(maxsize=8192)
def _said(log_ratios: tuple[float, ...]) -> _Said:
    array = np.array(log_ratios)
    return _Said(pseudo_median(array), float(np.median(np.abs(array - np.median(array)))))


def _require(pairs: Sequence[PairTimes], tau_0: float) -> None:
    """Refuse what no effect can be computed from; nothing of it may end as a verdict."""
    if not pairs or not all(len(pair.log_ratios) for pair in pairs):
        raise ValueError("an effect needs a pair of processes, and each pair a round")
    if not 0 < tau_0 < math.inf:
        raise ValueError(f"tau_0 must be finite and above zero: {tau_0}")
    for pair in pairs:
        if not 0 < pair.before_s < math.inf:
            raise ValueError(f"before_s must be finite and above zero: {pair.before_s}")
        if not np.isfinite(pair.log_ratios).all():
            raise ValueError(f"log-ratios must be finite: {list(pair.log_ratios)}")

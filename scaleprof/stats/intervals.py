"""Confidence intervals of what launches and rounds say together, honest about rounds that hang together.

Values come as one sequence of rounds for each launch. A launch (a fresh process) is the unit of replication:
its rounds share its memory layout and its spell of the machine. `benchmarks/coverage.py` holds the intervals
against simulated machines whose truth is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import NamedTuple

import msgspec

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import bdtr, stdtrit

CONFIDENCE = 0.95

# Rounds count as independent below this lag-1 autocorrelation: what is left narrows an interval by less than
# the few rounds of a launch could tell.
CORRELATED_FROM = 0.2

# Six values are the fewest whose median has a 95 % interval.
MIN_MERGED = 6

# Confidence of the interval of the pooled rounds, than which the interval over launches is never narrower: a
# protection from launches that agree by accident. Of the values tried it is the most that keeps coverage
# below 98 % in all scenarios of benchmarks/coverage.py (its --floor tries others): 0.95 covers about 99 %
# where 95 % is meant.
FLOOR_CONFIDENCE = 0.6


class Interval(NamedTuple):
    """A confidence interval; `low <= high`, in the unit of the values."""

    low: float
    high: float

    @property
    def ratio(self) -> float:
        """`high / low`: how many times the upper end exceeds the lower."""
        return self.high / self.low

    def scaled(self, factor: float) -> Interval:
        """The interval of `factor` (above zero) times the quantity."""
        return Interval(self.low * factor, self.high * factor)


class Estimate(msgspec.Struct, frozen=True):
    """A number and its 95 % interval, which holds it; None where the data are too few for one."""

    value: float
    interval: Interval | None

    def scaled(self, factor: float) -> Estimate:
        """The estimate of `factor` (above zero) times the quantity.

        >>> Estimate(2.0, Interval(1.0, 4.0)).scaled(3)
        Estimate(value=6.0, interval=Interval(low=3.0, high=12.0))
        """
        return Estimate(self.value * factor, self.interval and self.interval.scaled(factor))

    def inverse(self) -> Estimate:
        """The estimate of one over the quantity, which is above zero.

        >>> Estimate(2.0, Interval(1.0, 4.0)).inverse()
        Estimate(value=0.5, interval=Interval(low=0.25, high=1.0))
        """
        turned = self.interval and Interval(1 / self.interval.high, 1 / self.interval.low)
        return Estimate(1 / self.value, turned)


def over_launches(rounds: Sequence[Sequence[float]]) -> Estimate:
    """The median over launches and rounds of values above zero, with its 95 % interval.

    Several launches: Student's t on the logarithms of the launch medians, never narrower than the interval of
    the pooled rounds at `FLOOR_CONFIDENCE`, so that launches which agree by accident are not believed. Its
    centre lies midway (on logarithms) between the median of all rounds and the mean of the launch medians.
    Either alone is worse: medians of a few rounds lie too high where the machine is slow for a minority of
    them, and the median of all wastes launches that differ as wholes. With spells of rounds that are slow by
    25 %, ten launches cover the truth in 89 to 94 % of trials around the mean of the launch medians, and five
    in 90 to 95 % around the median of all; midway both do in 91 to 97 %.

    A single launch: `rounds_interval`; what differs from process to process is not in it.

    Args:
        rounds: for each launch its values in the order of its rounds; at least one launch, none empty.

    >>> over_launches([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    Estimate(value=1.0, interval=Interval(low=1.0, high=1.0))
    """
    estimate = exp_over_launches([[math.log(value) for value in launch] for launch in rounds])
    value = median(value for launch in rounds for value in launch)
    return Estimate(value, _holding(value, estimate.interval))


def exp_over_launches(log_rounds: Sequence[Sequence[float]]) -> Estimate:
    """`over_launches` for values given by their logarithms.

    Changing the sign of all logarithms inverts the value and turns the interval round: the mean of the two
    middle ones is taken on logarithms too.
    """
    value = median(value for launch in log_rounds for value in launch)
    interval: Interval | None
    if len(log_rounds) == 1:
        interval = rounds_interval(log_rounds[0])
    else:
        medians = [median(launch) for launch in log_rounds]
        shift = (value - fmean(medians)) / 2
        across = _t_interval(medians, CONFIDENCE)
        interval = enclosing(Interval(across.low + shift, across.high + shift), pooled_interval(log_rounds))
    held = _holding(value, interval)
    return Estimate(math.exp(value), held and Interval(math.exp(held.low), math.exp(held.high)))


def mean_over_launches(rounds: Sequence[Sequence[float]], value: float) -> Estimate:
    """`value`, the mean over all rounds, with its 95 % interval; for what is a total by its nature.

    Several launches: Student's t on the logarithms of the launch means, never narrower than Student's t of
    the pooled merged rounds at `FLOOR_CONFIDENCE`. A single launch: Student's t of its merged rounds, if they
    are `MIN_MERGED` or more.
    """
    merged = _merged(rounds, _merge_size(rounds) or _most_merged(rounds))
    across = launch_interval([fmean(launch) for launch in rounds])
    if across is None and len(merged) < MIN_MERGED:
        return Estimate(value, None)
    low, high = _t_interval(merged, FLOOR_CONFIDENCE if across else CONFIDENCE)
    # No mean is below the least value, whatever Student says of a few wild ones.
    inner = Interval(max(low, min(merged)), high)
    return Estimate(value, _holding(value, enclosing(across, inner)))


def rounds_interval(rounds: Sequence[float]) -> Interval | None:
    """The 95 % order-statistic interval of the median of one launch's rounds; None if they are too few.

    Rounds hang together: as many neighbours are merged as bring the autocorrelation of the means below
    `CORRELATED_FROM`, and each m merged rounds count as one. The ranks are then those of n / m independent
    values, taken among the unmerged rounds: the median of merged ones is another number where rounds are
    skewed. Where merging down to `MIN_MERGED` values does not help, the range of all rounds: the most that
    they can say, and with strong correlation still too little.
    """
    size = _merge_size([rounds])
    rank = 1 if size is None else _rank(len(rounds) // size, CONFIDENCE) * size
    return _between_ranks(rounds, rank) if len(rounds) >= MIN_MERGED else None


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The order-statistic interval of the median of independent values, or None if there are too few.

    With k the largest number for which `P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2`, the k-th smallest
    and the k-th largest value enclose the median with at least `confidence`, whatever the distribution. Six
    values are the fewest for 95 %.

    >>> median_interval([1, 2, 3, 4, 5, 6])
    Interval(low=1, high=6)
    >>> median_interval([1, 2, 3, 4, 5]) is None
    True
    """
    return _between_ranks(values, _rank(len(values), confidence))


def launch_interval(launch_values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval over launches, on the logarithms of their values; None for a single launch.

    The logarithm makes the interval multiplicative, as slowdowns are.

    >>> low, high = launch_interval([1.0, 1.0, 1.0]); (low, high)
    (1.0, 1.0)
    """
    if len(launch_values) < 2:
        return None
    low, high = _t_interval([math.log(value) for value in launch_values], confidence)
    return Interval(math.exp(low), math.exp(high))


def enclosing(first: Interval | None, second: Interval | None) -> Interval | None:
    """The narrowest interval that holds both; None only if both are None.

    >>> enclosing(Interval(1, 3), Interval(2, 4)), enclosing(None, Interval(2, 4))
    (Interval(low=1, high=4), Interval(low=2, high=4))
    """
    if first is None or second is None:
        return first or second
    return Interval(min(first.low, second.low), max(first.high, second.high))


def relative_half_width(rounds: Sequence[float]) -> float:
    """Half the width of one launch's interval as a share of its median; infinite with too few rounds."""
    interval = rounds_interval(rounds)
    return math.inf if interval is None else (interval.high - interval.low) / 2 / median(rounds)


def _holding(value: float, interval: Interval | None) -> Interval | None:
    return enclosing(interval, Interval(value, value)) if interval else None


def _t_interval(values: Sequence[float], confidence: float) -> Interval:
    n = len(values)
    half_width = float(stdtrit(n - 1, (1 + confidence) / 2)) * stdev(values) / math.sqrt(n)
    centre = fmean(values)
    return Interval(centre - half_width, centre + half_width)


def pooled_interval(rounds: Sequence[Sequence[float]]) -> Interval | None:
    """The order-statistic interval of all rounds together, at `FLOOR_CONFIDENCE`; None for too few."""
    pooled = [value for launch in rounds for value in launch]
    size = _merge_size(rounds) or _most_merged(rounds)
    return _between_ranks(pooled, _rank(len(pooled) // size, FLOOR_CONFIDENCE) * size)


@cache
def _rank(n: int, confidence: float) -> int:
    """The k of `median_interval`: zero if n values are too few."""
    tail = (1 - confidence) / 2
    k = 0
    while k < n // 2 and bdtr(k, n, 0.5) <= tail:  # P(X < k + 1)
        k += 1
    return k


def _between_ranks(values: Sequence[float], rank: int) -> Interval | None:
    """From the `rank`-th smallest to the `rank`-th largest value; None for rank zero."""
    if rank == 0:
        return None
    ordered = sorted(values)
    return Interval(ordered[rank - 1], ordered[-rank])


def _most_merged(rounds: Sequence[Sequence[float]]) -> int:
    """How many neighbours can be merged with `MIN_MERGED` values left in every launch; at least one."""
    return max(1, min(map(len, rounds)) // MIN_MERGED)


def _merge_size(rounds: Sequence[Sequence[float]]) -> int | None:
    """The fewest neighbouring rounds whose means are uncorrelated; None if there is no such number."""
    for size in range(1, _most_merged(rounds) + 1):
        if _autocorrelation([_merged([launch], size) for launch in rounds]) < CORRELATED_FROM:
            return size
    return None


def _merged(rounds: Sequence[Sequence[float]], size: int) -> list[float]:
    """Means of `size` neighbouring rounds, all launches in a row; a rest at the start is dropped."""
    return [
        fmean(launch[start : start + size])
        for launch in rounds
        for start in range(len(launch) % size, len(launch), size)
    ]


def _autocorrelation(rounds: Sequence[Sequence[float]]) -> float:
    """Lag-1 autocorrelation about each launch's own mean, all launches together; zero without variation."""
    together = squares = 0.0
    for launch in rounds:
        centre = fmean(launch)
        deviations = [value - centre for value in launch]
        squares += sum(deviation * deviation for deviation in deviations)
        together += sum(before * after for before, after in pairwise(deviations))
    return together / squares if squares > 0 else 0.0

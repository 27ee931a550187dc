"""Confidence intervals of medians, inside one launch and over several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import bdtr, stdtrit

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A confidence interval; `low <= high`, in the unit of the values."""

    low: float
    high: float

    @property
    def ratio(self) -> float:
        """`high / low`: how many times the upper end exceeds the lower."""
        return self.high / self.low


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
    n = len(values)
    tail = (1 - confidence) / 2
    k = 0
    while k < n // 2 and bdtr(k, n, 0.5) <= tail:  # P(X < k + 1)
        k += 1
    if k == 0:
        return None
    ordered = sorted(values)
    return Interval(ordered[k - 1], ordered[n - k])


def launch_interval(launch_medians: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval over launches, on the logarithms of their medians; None for a single launch.

    A launch (a fresh process) is the unit of replication: values inside one are correlated and share
    its memory layout. The logarithm makes the interval multiplicative, as slowdowns are.

    >>> low, high = launch_interval([1.0, 1.0, 1.0]); (low, high)
    (1.0, 1.0)
    """
    n = len(launch_medians)
    if n < 2:
        return None
    logs = [math.log(value) for value in launch_medians]
    half_width = float(stdtrit(n - 1, (1 + confidence) / 2)) * stdev(logs) / math.sqrt(n)
    centre = fmean(logs)
    return Interval(math.exp(centre - half_width), math.exp(centre + half_width))


def enclosing(first: Interval | None, second: Interval | None) -> Interval | None:
    """The narrowest interval that holds both; None only if both are None.

    >>> enclosing(Interval(1, 3), Interval(2, 4)), enclosing(None, Interval(2, 4))
    (Interval(low=1, high=4), Interval(low=2, high=4))
    """
    if first is None or second is None:
        return first or second
    return Interval(min(first.low, second.low), max(first.high, second.high))


def relative_half_width(values: Sequence[float]) -> float:
    """Half the width of the median's interval as a share of the median; infinite with too few values."""
    interval = median_interval(values)
    return math.inf if interval is None else (interval.high - interval.low) / 2 / median(values)

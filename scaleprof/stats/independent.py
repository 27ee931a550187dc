"""Ratios of what two runs measured apart from each other: they share no rounds, nor the moment.

Nothing drops out of such a ratio by itself, so both sides' doubts add up; where two models are in the same
rounds, `scaleprof.stats.contrasts` tells them apart far more sharply. What differs from one day to the next
is in neither run, and in no interval here. On one machine, dividing both latencies by their reference
networks takes most of it off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, variance
from typing import NamedTuple

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import ndtri, stdtrit

from scaleprof.records import Launch
from scaleprof.stats.intervals import (
    CONFIDENCE,
    Estimate,
    Interval,
    enclosing,
    exp_over_launches,
    pooled_interval,
)

# How far one process lies from the next (standard deviation on logarithms): what a run of a single launch
# cannot know of itself. The spread of scaleprof's own latencies between processes in docs/measuring.md
# (benchmarks/repeatability.py): 2.8 % ÷ reference, 6.4 % in milliseconds.
PROCESS_SD_RELATIVE = 0.03
PROCESS_SD_MS = 0.065


class _Side(NamedTuple):
    """One run's part of a ratio, on logarithms.

    `value`: the median of all rounds. `centre`: midway between it and the mean of the launch medians.
    `variance` of that mean, with its degrees of freedom. `pooled`: the interval of all rounds together.
    """

    value: float
    centre: float
    variance: float
    freedom: int
    pooled: Interval | None


def latency_ratio(a: Sequence[Launch], b: Sequence[Launch], *, by_reference: bool) -> Estimate | None:
    """How many times as long as `b` of another run `a` takes; None where either holds no samples.

    Args:
        a: launches of one model in one run.
        b: launches of a model in another run.
        by_reference: compare latencies divided by the reference network around each visit (on one machine
            only: elsewhere it is another divisor) rather than seconds.
    """
    rounds = [_rounds(launches, by_reference=by_reference) for launches in (a, b)]
    if not all(rounds):
        return None
    process_sd = PROCESS_SD_RELATIVE if by_reference else PROCESS_SD_MS
    return ratio_over_launches(*rounds, process_sd=process_sd)


def ratio_over_launches(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], *, process_sd: float = 0.0
) -> Estimate:
    """The median of `a` over that of `b`, values above zero of independent runs, with its 95 % interval.

    Two launches or more on both sides: Welch's t on the logarithms of the launch medians, with the degrees of
    freedom of Satterthwaite, never narrower than both pooled intervals (at `FLOOR_CONFIDENCE`) together by
    `quotient`'s rule. Values and centres are those of `over_launches`. The quotient of the two estimates' own
    intervals would be wider than it need be: it takes each side's t at its own degrees of freedom, two at
    three launches, where both together have about four. Coverage is tested by simulation.

    A single launch on a side: the quotient of both estimates, the single one's interval widened by
    `process_sd`, what processes differ by.

    Args:
        a: for each launch its values in the order of its rounds; at least one launch, none empty.
        b: the same of the other run.
        process_sd: standard deviation, on logarithms, of one launch among many.

    >>> ratio_over_launches([[2.0, 2.0], [2.0, 2.0]], [[4.0, 4.0], [4.0, 4.0]])
    Estimate(value=0.5, interval=Interval(low=0.5, high=0.5))
    """
    logs_a, logs_b = ([[math.log(value) for value in launch] for launch in side] for side in (a, b))
    if min(len(a), len(b)) == 1:
        return quotient(_estimate(logs_a, process_sd), _estimate(logs_b, process_sd))
    one, other = _side(logs_a), _side(logs_b)
    value = one.value - other.value
    interval = enclosing(_welch(one, other), _floor(one, other))
    held = enclosing(interval, Interval(value, value))
    return Estimate(math.exp(value), held and Interval(math.exp(held.low), math.exp(held.high)))


def quotient(a: Estimate, b: Estimate) -> Estimate:
    """`a` over `b`, independent estimates of quantities above zero, by their own intervals.

    The distances of the ends on logarithms add up as squares: the upper one of `a` with the lower one of `b`,
    and the other way round. So far as each interval covers what it says, theirs does; with few degrees of
    freedom it covers more. Without both intervals there is none.

    References:
        Zou and Donner (2008), Construction of confidence limits about effect measures: a general approach.

    >>> low, high = quotient(Estimate(6.0, Interval(3.0, 12.0)), Estimate(2.0, Interval(2.0, 2.0))).interval
    >>> round(low, 9), round(high, 9)
    (1.5, 6.0)
    """
    value = a.value / b.value
    if a.interval is None or b.interval is None:
        return Estimate(value, None)
    below = math.hypot(math.log(a.value / a.interval.low), math.log(b.interval.high / b.value))
    above = math.hypot(math.log(a.interval.high / a.value), math.log(b.value / b.interval.low))
    return Estimate(value, Interval(value * math.exp(-below), value * math.exp(above)))


def _rounds(launches: Sequence[Launch], *, by_reference: bool) -> list[list[float]]:
    """Each visit's median sample, in seconds or divided by its references' median; launches with any."""
    return [
        [
            median(visit.samples_s) / (median(visit.reference_network_s) if by_reference else 1.0)
            for visit in launch.visits
        ]
        for launch in launches
        if launch.visits
    ]


def _estimate(logs: Sequence[Sequence[float]], process_sd: float) -> Estimate:
    """The estimate of one run; where it is of a single launch, with what processes differ by."""
    estimate = exp_over_launches(logs)
    if len(logs) > 1:
        return estimate
    apart = math.exp(float(ndtri((1 + CONFIDENCE) / 2)) * process_sd)
    return quotient(estimate, Estimate(1.0, Interval(1 / apart, apart)))


def _side(logs: Sequence[Sequence[float]]) -> _Side:
    medians = [median(launch) for launch in logs]
    value = median(value for launch in logs for value in launch)
    centre = (value + fmean(medians)) / 2
    return _Side(value, centre, variance(medians) / len(logs), len(logs) - 1, pooled_interval(logs))


def _welch(a: _Side, b: _Side) -> Interval:
    """Welch's t interval of the difference of two means, about the difference of the centres."""
    centre = a.centre - b.centre
    together = a.variance + b.variance
    if together == 0:
        return Interval(centre, centre)
    freedom = together**2 / (a.variance**2 / a.freedom + b.variance**2 / b.freedom)
    half_width = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(together)
    return Interval(centre - half_width, centre + half_width)


def _floor(a: _Side, b: _Side) -> Interval | None:
    """The difference of the values by both pooled intervals; None where a side has too few rounds for one."""
    if a.pooled is None or b.pooled is None:
        return None
    value = a.value - b.value
    below = math.hypot(a.value - a.pooled.low, b.pooled.high - b.value)
    above = math.hypot(a.pooled.high - a.value, b.value - b.pooled.low)
    return Interval(value - below, value + above)

"""How small a difference a machine can show: two copies of one model, compared as two models would be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from scaleprof.records import Launch
from scaleprof.stats.contrasts import ratio


class Resolution(msgspec.Struct, frozen=True):
    """What an A/A comparison came to; all of it shares, so that 0.02 is 2 %.

    `resolves`: the smallest difference that could have been told from none. `apart`: by how much the two
    copies differed, which is nothing but error. `latency_spread`: by how much the slowest launch's latency
    exceeded the fastest's, which is what ratios inside rounds save.
    """

    resolves: float
    apart: float
    latency_spread: float
    launches: int
    rounds: int


def resolution(a: Sequence[Launch], b: Sequence[Launch]) -> Resolution | None:
    """The resolution shown by two copies, `a` and `b`, of one model; None if their rounds give no interval.

    It is half the width of the interval of a/b that `scaleprof.stats.contrasts.ratio` gives two models of one
    sweep: Student's t over launches on the in-round logarithms, with the pooled rounds' as the floor. Where
    that interval leaves out 1, the machine tells two equal models apart, and its farther end counts instead.
    """
    estimate = ratio(a, b)
    if estimate is None or estimate.interval is None:
        return None
    low, high = map(math.log, estimate.interval)
    holds_none = low <= 0 <= high
    half_width = (high - low) / 2 if holds_none else max(abs(low), abs(high))
    medians_s = [_median_s(launch) for launch in a]
    return Resolution(
        resolves=math.expm1(half_width),
        apart=estimate.value - 1,
        latency_spread=max(medians_s) / min(medians_s) - 1,
        launches=len(a),
        rounds=sum(len(launch.visits) for launch in a),
    )


def _median_s(launch: Launch) -> float:
    return median(median(visit.samples_s) for visit in launch.visits)

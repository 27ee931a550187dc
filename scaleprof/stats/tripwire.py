"""A kept baseline as a tripwire: whether targets look slower than they were on another day.

The two runs share no moment, so that whatever changed on the machine since is in the comparison too; what is
flagged should be measured again side by side (`scaleprof.stats.compare`). Dividing by a small reference
network that was timed in the same process takes most of the machine off, and a low percentile of both the
spells of noise. A process is the unit of inference: each launch says one number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance
from typing import Literal

import msgspec
import numpy as np

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import stdtr, stdtrit

from scaleprof.records import Launch
from scaleprof.stats.holm import holm
from scaleprof.stats.intervals import CONFIDENCE, Interval

TripVerdict = Literal["PASS", "WARN", "FAIL", "INVALID"]

# Fewer processes a side do not show by how much processes differ.
MIN_LAUNCHES = 5
ALPHA = 0.01
WARN_FROM = 0.03
FAIL_FROM = 0.05

_LOW_PERCENTILE = 5.0
_POWER = 0.9


class Tripped(msgspec.Struct, frozen=True):
    """What the tripwire says of a target, and on what.

    `change`: the share by which the latency divided by the reference network's grew, with its 95 %
    `interval`; `p_slower`: how often no change would look at least as much slower; `detectable`: the least
    true slowdown that two such runs call FAIL in 90 of 100. All are None if it is invalid.
    """

    verdict: TripVerdict
    reason: str
    change: float | None = None
    interval: Interval | None = None
    p_slower: float | None = None
    detectable: float | None = None


class _Welch(msgspec.Struct, frozen=True):
    """The difference of two means, on logarithms, with the degrees of freedom of Satterthwaite."""

    delta: float
    se: float
    freedom: float

    @property
    def p_slower(self) -> float:
        if self.se == 0:
            return 0.0 if self.delta > 0 else 1.0
        return float(stdtr(self.freedom, -self.delta / self.se))

    def quantile(self, share: float) -> float:
        """That of the error of the difference."""
        return float(stdtrit(self.freedom, share)) * self.se


def trip(targets: Mapping[str, tuple[Sequence[Launch], Sequence[Launch]]]) -> dict[str, Tripped]:
    """What the tripwire says of each target, given its launches in the baseline and now.

    Raises:
        ValueError: as `trip_logs`.
    """
    return trip_logs({name: (launch_logs(then), launch_logs(now)) for name, (then, now) in targets.items()})


def launch_logs(launches: Sequence[Launch]) -> list[float]:
    """Of each launch with samples, `log p5(samples) − log p5(the reference network's)` in its process."""
    logs = []
    for launch in launches:
        samples_s = [sample for visit in launch.visits for sample in visit.samples_s]
        references_s = [sample for visit in launch.visits for sample in visit.reference_network_s]
        if samples_s:
            low, reference = (
                np.percentile(times_s, _LOW_PERCENTILE) for times_s in (samples_s, references_s)
            )
            logs.append(math.log(low) - math.log(reference))
    return logs


def trip_logs(targets: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> dict[str, Tripped]:
    """What the tripwire says of each target, given its launches' logarithms in the baseline and now.

    Welch's t over processes, one-sided, under Holm over all targets: WARN where p < 1 % and the target is
    slower by 3 % or more, FAIL from 5 % on. Fewer than `MIN_LAUNCHES` on a side are INVALID.

    Raises:
        ValueError: a logarithm is not finite.
    """
    tripped: dict[str, Tripped] = {}
    found: dict[str, _Welch] = {}
    for name, (then, now) in targets.items():
        if min(len(then), len(now)) < MIN_LAUNCHES:
            tripped[name] = Tripped("INVALID", _too_few(then, now))
        else:
            found[name] = _welch(then, now)
    is_slower = holm([each.p_slower for each in found.values()], ALPHA)
    for (name, each), slower in zip(found.items(), is_slower, strict=True):
        tripped[name] = _judge(each, slower)
    return {name: tripped[name] for name in targets}


def _judge(found: _Welch, slower: bool) -> Tripped:
    change = math.expm1(found.delta)
    verdict: TripVerdict = "PASS"
    reason = "not slower beyond doubt" if not slower else f"slower by less than {100 * WARN_FROM:.0f} %"
    if slower and change >= WARN_FROM:
        verdict = "FAIL" if change >= FAIL_FROM else "WARN"
        reason = f"slower by {100 * (FAIL_FROM if verdict == 'FAIL' else WARN_FROM):.0f} % or more"
    half_width = found.quantile((1 + CONFIDENCE) / 2)
    needed = max(math.log1p(FAIL_FROM), found.quantile(1 - ALPHA))
    return Tripped(
        verdict,
        reason,
        change=change,
        interval=Interval(math.expm1(found.delta - half_width), math.expm1(found.delta + half_width)),
        p_slower=found.p_slower,
        detectable=math.expm1(needed + found.quantile(_POWER)),
    )


def _too_few(then: Sequence[float], now: Sequence[float]) -> str:
    return f"{len(then)} launches in the baseline and {len(now)} now: {MIN_LAUNCHES} on both sides are needed"


def _welch(then: Sequence[float], now: Sequence[float]) -> _Welch:
    for value in (*then, *now):
        if not math.isfinite(value):
            raise ValueError(f"logarithms of latencies must be finite: {value}")
    parts = [variance(side) / len(side) for side in (then, now)]
    together = math.fsum(parts)
    squares = math.fsum(part**2 / (len(side) - 1) for part, side in zip(parts, (then, now), strict=True))
    freedom = together**2 / squares if squares else float(len(then) + len(now) - 2)
    return _Welch(fmean(now) - fmean(then), math.sqrt(together), freedom)

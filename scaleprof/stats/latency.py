"""From the raw samples of one model to the numbers that are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from scaleprof.records import Launch, Stop, Visit
from scaleprof.stats.intervals import Interval, enclosing, launch_interval, median_interval

# With fewer samples than this the 95th percentile has no 95 % bound: n >= ln 0.05 / ln 0.95.
MIN_SAMPLES_P95 = math.ceil(math.log(0.05) / math.log(0.95))

# An interval that spans a factor of two cannot tell a model from the next φ.
UNSTABLE_RATIO = 2.0


class LatencySummary(msgspec.Struct, frozen=True):
    """Latency of one model in seconds, with its 95 % interval, and how it was come by.

    `relative` is the latency divided by the reference network's, timed right before and after each visit.
    """

    median_s: float
    interval_s: Interval | None
    p95_s: float | None
    relative: float
    relative_interval: Interval | None
    cold_s: float
    launches: int
    rounds: int
    samples: int
    gpu_median_s: float | None = None

    @property
    def unstable(self) -> bool:
        """Whether neither the latency nor its ratio to the reference network is known to a factor of two.

        One of them may be wide for the machine's sake: the latency by a slow launch, the ratio by one that
        slowed the model and the reference network differently.
        """
        return min(self.interval_ratios, default=0.0) > UNSTABLE_RATIO

    @property
    def interval_ratios(self) -> list[float]:
        """How many times the upper end exceeds the lower, of the intervals that there are."""
        return [interval.ratio for interval in (self.interval_s, self.relative_interval) if interval]

    def stop(self, target_ci: float) -> Stop:
        """Whether the interval met the target (half its width over the median) or the budget ran out."""
        if self.interval_s is None:
            return "budget_exhausted"
        half_width = (self.interval_s.high - self.interval_s.low) / 2 / self.median_s
        return "target_met" if half_width <= target_ci else "budget_exhausted"


def summarise(launches: Sequence[Launch]) -> LatencySummary | None:
    """The summary of all launches that hold samples; None if there is none.

    Headline: the median over launches and rounds of each visit's median. Interval: Student's t over
    launches, never narrower than the order-statistic interval of the pooled rounds.
    """
    used = [launch for launch in launches if launch.visits]
    if not used:
        return None
    visits = [visit for launch in used for visit in launch.visits]
    latency_s, interval_s = _over_launches([[median(v.samples_s) for v in launch.visits] for launch in used])
    relative, relative_interval = _over_launches([[_relative(v) for v in launch.visits] for launch in used])
    samples = sorted(sample for visit in visits for sample in visit.samples_s)
    gpu = [sample for visit in visits for sample in visit.gpu_samples_s or ()]
    return LatencySummary(
        median_s=latency_s,
        interval_s=interval_s,
        p95_s=samples[math.ceil(0.95 * len(samples)) - 1] if len(samples) >= MIN_SAMPLES_P95 else None,
        relative=relative,
        relative_interval=relative_interval,
        cold_s=median(launch.cold_s for launch in used),
        launches=len(used),
        rounds=len(visits),
        samples=len(samples),
        gpu_median_s=median(gpu) if gpu else None,
    )


def _over_launches(rounds: Sequence[Sequence[float]]) -> tuple[float, Interval | None]:
    """The median over launches and rounds, and its interval."""
    pooled = [value for launch in rounds for value in launch]
    across = launch_interval([median(launch) for launch in rounds])
    return median(pooled), enclosing(across, median_interval(pooled))


def _relative(visit: Visit) -> float:
    return median(visit.samples_s) / median(visit.reference_network_s)

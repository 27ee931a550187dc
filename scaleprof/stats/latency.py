"""From the raw samples of one model to the numbers that are shown; nothing is ever left out of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import msgspec

# scipy.special rather than scipy.stats: the same functions without its half second of import.
from scipy.special import bdtr

from scaleprof.records import Launch, Stop, Visit
from scaleprof.stats.intervals import CONFIDENCE, Interval, over_launches

# An interval that spans a factor of two cannot tell a model from the next φ.
UNSTABLE_RATIO = 2.0

# The median absolute deviation times this estimates the standard deviation of normal values.
_SD_PER_MAD = 1.4826
# One in 3.5 million normal samples lies as far above the median.
_OUTLIER_SDS = 5.0


def min_tail_samples(share: float) -> int:
    """The fewest samples whose largest is above the quantile `share` with 95 %: n >= ln 0.05 / ln share.

    >>> min_tail_samples(0.9), min_tail_samples(0.95), min_tail_samples(0.99)
    (29, 59, 299)
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share))


MIN_SAMPLES_P90 = min_tail_samples(0.90)
MIN_SAMPLES_P95 = min_tail_samples(0.95)
MIN_SAMPLES_P99 = min_tail_samples(0.99)


class Tail(msgspec.Struct, frozen=True):
    """A high quantile of the samples in seconds, and its upper 95 % bound."""

    value_s: float
    upper_s: float


class LatencySummary(msgspec.Struct, frozen=True):
    """Latency of one model in seconds, with its 95 % interval, and how it was come by.

    `relative` is the latency divided by the reference network's, timed right before and after each visit.
    `outlier_share`: of samples more than five robust standard deviations above their launch's median.
    `preempted_share`: of visits in which the process lost its CPU. `faults_per_pass`: minor page faults.
    `throttled_s`: for how long a quota held the samples back, in all. `cpu_share`: its own share of
    the work of its CPUs. The last four are None where no visit says. What they tell of is in the latency too.
    """

    median_s: float
    interval_s: Interval | None
    relative: float
    relative_interval: Interval | None
    cold_s: float
    launches: int
    rounds: int
    samples: int
    outlier_share: float
    p90: Tail | None = None
    p95: Tail | None = None
    p99: Tail | None = None
    preempted_share: float | None = None
    faults_per_pass: float | None = None
    throttled_s: float | None = None
    cpu_share: float | None = None

    @property
    def p90_s(self) -> float | None:
        """The 90th percentile of all samples; None below `MIN_SAMPLES_P90`."""
        return None if self.p90 is None else self.p90.value_s

    @property
    def p95_s(self) -> float | None:
        """The 95th percentile of all samples; None below `MIN_SAMPLES_P95`."""
        return None if self.p95 is None else self.p95.value_s

    @property
    def p99_s(self) -> float | None:
        """The 99th percentile of all samples; None below `MIN_SAMPLES_P99`."""
        return None if self.p99 is None else self.p99.value_s

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

    Headline: the median over launches and rounds of each visit's median, with the interval of
    `scaleprof.stats.intervals.over_launches`.
    """
    used = [launch for launch in launches if launch.visits]
    if not used:
        return None
    visits = [visit for launch in used for visit in launch.visits]
    latency = over_launches([[median(visit.samples_s) for visit in launch.visits] for launch in used])
    relative = over_launches([[_relative(visit) for visit in launch.visits] for launch in used])
    samples_s = sorted(sample for visit in visits for sample in visit.samples_s)
    return LatencySummary(
        median_s=latency.value,
        interval_s=latency.interval,
        relative=relative.value,
        relative_interval=relative.interval,
        cold_s=median(launch.cold_s for launch in used),
        launches=len(used),
        rounds=len(visits),
        samples=len(samples_s),
        outlier_share=sum(map(_outliers, used)) / len(samples_s),
        p90=tail(samples_s, 0.90),
        p95=tail(samples_s, 0.95),
        p99=tail(samples_s, 0.99),
        preempted_share=_preempted_share(visits),
        faults_per_pass=_faults_per_pass(visits),
        throttled_s=_throttled_s(visits),
        cpu_share=cpu_share(used),
    )


def tail(samples_s: Sequence[float], share: float) -> Tail | None:
    """The quantile `share` of the samples with its upper 95 % bound; None if no sample can bound it.

    The bound is the j-th smallest sample with the least j for which `P(Binomial(n, share) < j)` is 95 %: so
    often do fewer than j samples lie below the quantile. It takes samples for independent; those of a visit
    are not quite, and what the tail of another run may be is less certain than it says.

    >>> tail([float(n) for n in range(1, 101)], 0.9)
    Tail(value_s=90.0, upper_s=96.0)
    >>> tail([1.0] * 28, 0.9) is None
    True
    """
    n = len(samples_s)
    if n < min_tail_samples(share):
        return None
    ordered = sorted(samples_s)
    place = math.ceil(share * n)
    bound = place
    while bdtr(bound - 1, n, share) < CONFIDENCE:
        bound += 1
    return Tail(ordered[place - 1], ordered[bound - 1])


def _relative(visit: Visit) -> float:
    return median(visit.samples_s) / median(visit.reference_network_s)


def _outliers(launch: Launch) -> int:
    """How many samples lie above the launch's fence."""
    samples_s = [sample for visit in launch.visits for sample in visit.samples_s]
    centre_s = median(samples_s)
    deviation_s = _SD_PER_MAD * median(abs(sample - centre_s) for sample in samples_s)
    return sum(sample > centre_s + _OUTLIER_SDS * deviation_s for sample in samples_s)


def _preempted_share(visits: Sequence[Visit]) -> float | None:
    counted = [n for visit in visits if (n := visit.involuntary_switches) is not None]
    return sum(n > 0 for n in counted) / len(counted) if counted else None


def _faults_per_pass(visits: Sequence[Visit]) -> float | None:
    counted = [(n, len(visit.samples_s)) for visit in visits if (n := visit.minor_faults) is not None]
    return sum(faults for faults, _ in counted) / sum(passes for _, passes in counted) if counted else None


def _throttled_s(visits: Sequence[Visit]) -> float | None:
    counted_s = [seconds for visit in visits if (seconds := visit.throttled_s) is not None]
    return sum(counted_s) if counted_s else None


def cpu_share(launches: Sequence[Launch]) -> float | None:
    """What share of the work of its CPUs was the process's own; None where no visit tells."""
    visits = [visit for launch in launches for visit in launch.visits]
    told = [
        (own, other)
        for v in visits
        if (own := v.cpu_s) is not None and (other := v.foreign_cpu_s) is not None
    ]
    own_s = sum(own for own, _ in told)
    all_s = own_s + sum(other for _, other in told)
    return min(1.0, own_s / all_s) if own_s > 0 and all_s > 0 else None

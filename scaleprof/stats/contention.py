"""What it does to ratios when another process has the CPUs that a network's threads were to run on.

Ratios inside the same rounds rest on one assumption: whatever slows the machine slows all models alike.
Threads that wait for a CPU at every layer break it: layers then count and arithmetic does not, so a deep
model loses less than a wide one. No statistic of such rounds tells what the ratio is without the other
process. What is known is the share of the CPUs' work that was the network's, hence how much one model could
have lost that another did not.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaleprof.stats.intervals import Estimate, Interval

# Seen: 0.99 and more on a quiet machine, 0.6 beside a process that wants one of two CPUs
# (benchmarks/neighbour.py).
LEAST_CPU_SHARE = 0.9


def is_contended(cpu_share: float | None) -> bool:
    """Whether others had so much of the threads' CPUs that ratios may be others too."""
    return cpu_share is not None and cpu_share < LEAST_CPU_SHARE


def allowing_for(estimate: Estimate, shares: Sequence[float | None]) -> Estimate:
    """A ratio of models with the shares of CPU time that they got, its interval as wide as that makes it.

    Below `LEAST_CPU_SHARE` both ends move by the factor `1/share` of the model that got least: as if it alone
    had lost what was lost. A sensitivity bound, not a coverage: benchmarks/neighbour.py shows what it holds.

    >>> allowing_for(Estimate(1.2, Interval(1.1, 1.3)), [0.9, 0.5]).interval
    Interval(low=0.55, high=2.6)
    >>> allowing_for(Estimate(1.2, Interval(1.1, 1.3)), [0.9, None]).interval
    Interval(low=1.1, high=1.3)
    """
    least = min((share for share in shares if share is not None), default=None)
    if least is None or not is_contended(least) or estimate.interval is None:
        return estimate
    low, high = estimate.interval
    return Estimate(estimate.value, Interval(low * least, high / least))

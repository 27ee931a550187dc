"""What other tools' rules say of the same samples that `scaleprof check` judges."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import numpy as np
from gate_recording import ORDERS, Rate, Recording, Seconds
from scipy.stats import mannwhitneyu, ttest_ind

# What they are given: about as many pairs as ours takes.
RIVAL_PAIRS = 5


def pyperf(before_s: Seconds, after_s: Seconds) -> bool:
    """`pyperf compare_to`: Student's t of all values, two-sided at 95 %, of one variance."""
    return bool(after_s.mean() > before_s.mean() and ttest_ind(before_s, after_s).pvalue < 0.05)


def pytest_benchmark(before_s: Seconds, after_s: Seconds) -> bool:
    """`--benchmark-compare-fail=median:5%`."""
    return bool(np.median(after_s) > 1.05 * np.median(before_s))


def google_benchmark(before_s: Seconds, after_s: Seconds) -> bool:
    """`compare.py`: Mann and Whitney's U, two-sided at 5 %."""
    return bool(np.median(after_s) > np.median(before_s) and mann_whitney(before_s, after_s) < 0.05)


def asv(before_s: Seconds, after_s: Seconds, factor: float = 1.1) -> bool:
    """`asv continuous`: medians that differ by the factor, and Mann and Whitney's U at 0.2 %."""
    return bool(np.median(after_s) > factor * np.median(before_s) and mann_whitney(before_s, after_s) < 0.002)


def asv_of_five(before_s: Seconds, after_s: Seconds) -> bool:
    return asv(before_s, after_s, 1.05)


def mann_whitney(before_s: Seconds, after_s: Seconds) -> float:
    return float(mannwhitneyu(before_s, after_s, alternative="two-sided").pvalue)


Rule = Callable[[Seconds, Seconds], bool]
RIVALS: dict[str, Rule] = {
    "pyperf compare_to: t-test of all values": pyperf,
    "pytest-benchmark: median +5 %": pytest_benchmark,
    "Google Benchmark: Mann–Whitney, 5 %": google_benchmark,
    "asv continuous: factor 1.1": asv,
    "the same with factor 1.05": asv_of_five,
}


def rival_rate(recording: Recording, rule: Rule, change: int, orders: int = ORDERS) -> Rate:
    rng, flags = np.random.default_rng(0), []
    recording = recording.holding(change)
    for network in recording.networks:
        series = recording.series(network, change)
        for _ in range(orders):
            order = rng.permutation(len(recording.pairs))
            for start in range(0, len(order) - RIVAL_PAIRS + 1, RIVAL_PAIRS):
                places = order[start : start + RIVAL_PAIRS]
                sides = (
                    np.concatenate([times_s[place] for place in places])
                    for times_s in (series.before_s, series.after_s)
                )
                flags.append(rule(*sides))
    return Rate(fmean(flags), len(flags) / orders)


def rival_rate_apart(recording: Recording, rule: Rule, change: int) -> Rate:
    """The same where the forwards after are of the pairs that were recorded behind those of before."""
    flags = []
    recording = recording.holding(change)
    for network in recording.networks:
        series = recording.series(network, change)
        for start in range(0, len(recording.pairs) - 2 * RIVAL_PAIRS + 1, 2 * RIVAL_PAIRS):
            middle, end = start + RIVAL_PAIRS, start + 2 * RIVAL_PAIRS
            before_s, after_s = series.before_s[start:middle], series.after_s[middle:end]
            flags.append(rule(np.concatenate(before_s), np.concatenate(after_s)))
    return Rate(fmean(flags), len(flags))

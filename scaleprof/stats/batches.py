"""Which batches are tried for a model's throughput, and which of them is worth most."""

from __future__ import annotations

from collections.abc import Callable

from scaleprof.records import BatchSearch, BatchTrial

# Throughputs of short runs are known to a few percent: a larger batch must be worth more than that.
WORTH_MORE = 0.03
# The largest batch is known to one part in this many.
_PRECISION = 16

Trial = Callable[[int], BatchTrial]


def search_batches(attempt: Trial, *, limit: int, beyond: bool) -> BatchSearch:
    """Try batches 1, 2, 4 … up to `limit`, and between the last that ran and the first that did not.

    Args:
        attempt: runs a batch, or says why it did not run.
        limit: the largest batch that fits by the forecast of memory.
        beyond: go on past the limit until memory runs out, where that is harmless (a GPU's allocator refuses;
            a computer's kernel may end other programs).

    Raises:
        ValueError: not even a batch of 1 ran.
    """
    trials: list[BatchTrial] = []

    def runs(size: int) -> bool:
        trials.append(attempt(size))
        return trials[-1].throughput_per_s is not None

    size, fits = 1, 0
    while runs(size):
        fits = size
        if size == limit and not beyond:
            return BatchSearch(tuple(trials), limit)
        size = 2 * size if beyond else min(2 * size, limit)
    fails = size
    while fits and fails - fits > max(1, fits // _PRECISION):
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if runs(middle) else (fits, middle)
    return BatchSearch(tuple(trials))


def best_batch(search: BatchSearch) -> int:
    """The smallest batch whose throughput is within 3 % of the best seen."""
    ran = [(trial.batch_size, trial.throughput_per_s) for trial in search.trials if trial.throughput_per_s]
    best_per_s = max(rate for _, rate in ran)
    return min(size for size, rate in ran if rate >= (1 - WORTH_MORE) * best_per_s)

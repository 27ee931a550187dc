"""Which batches are tried for a model's throughput, and which of them is worth most."""

from __future__ import annotations

from collections.abc import Callable

from scaleprof.records import BatchSearch, BatchTrial

# Throughputs of short runs are known to a few percent: a larger batch must be worth more than that.
WORTH_MORE = 0.03
# A larger batch is not the best one any more where throughput has fallen so far below the best seen.
_FALLEN = 0.8
# The largest batch is known to one part in this many.
_PRECISION = 16

Trial = Callable[[int], BatchTrial]


def search_batches(attempt: Trial, *, limit: int, beyond: bool) -> BatchSearch:
    """Try batches 1, 2, 4 … up to `limit`, and between the last that ran and the first that did not.

    Where throughput has fallen clearly, those between are left out and only the limit is tried: they would
    not be the best, and on a CPU large batches take long.

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
        if beyond:
            size *= 2
        else:
            size = limit if _has_fallen(trials) else min(2 * size, limit)
    fails = size
    while fits and fails - fits > max(1, fits // _PRECISION):
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if runs(middle) else (fits, middle)
    return BatchSearch(tuple(trials))


def _has_fallen(trials: list[BatchTrial]) -> bool:
    """Whether the last batch's throughput is clearly below the best."""
    rates = [trial.throughput_per_s for trial in trials if trial.throughput_per_s is not None]
    return rates[-1] < _FALLEN * max(rates)


def best_batch(search: BatchSearch) -> int:
    """The smallest batch whose throughput is within 3 % of the best seen."""
    ran = [(trial.batch_size, trial.throughput_per_s) for trial in search.trials if trial.throughput_per_s]
    best_per_s = max(rate for _, rate in ran)
    return min(size for size, rate in ran if rate >= (1 - WORTH_MORE) * best_per_s)

"""How quiet the machine was: the spread of a matrix product that does the same work every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scaleprof.records import Launch

Verdict = Literal["quiet", "noisy", "very noisy"]

_QUIET_BELOW = 1.05
_NOISY_BELOW = 1.25


def noise_spread(launches: Sequence[Launch]) -> float | None:
    """The 90th over the 10th percentile of all timings of the matrix product; None without any."""
    times_s = sorted(
        time_s for launch in launches for visit in launch.visits for time_s in visit.matrix_product_s
    )
    if not times_s:
        return None
    last = len(times_s) - 1
    return times_s[round(0.9 * last)] / times_s[round(0.1 * last)]


def noise_verdict(spread: float) -> Verdict:
    """The spread in words.

    >>> [noise_verdict(spread) for spread in (1.02, 1.1, 1.6)]
    ['quiet', 'noisy', 'very noisy']
    """
    if spread < _QUIET_BELOW:
        return "quiet"
    return "noisy" if spread < _NOISY_BELOW else "very noisy"

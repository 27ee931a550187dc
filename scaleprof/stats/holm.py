"""Several tests at once, with one error rate for all of them together."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected, so that any true one among them is rejected with at most `alpha`.

    The least p-value must lie below `alpha / M`, the next one below `alpha / (M - 1)`, and so on until the
    first that does not; it and all greater ones stand. The hypotheses may depend on each other in any way.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure.

    >>> holm([0.03, 0.01, 0.02], 0.05)
    [True, True, True]
    >>> holm([0.03, 0.02, 0.02], 0.05)
    [False, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not p_values[place] < alpha / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected

"""How sure each model's place on a front is, by intervals and by ratios in shared rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scaleprof.reporting.analysis import estimate_of
from scaleprof.reporting.metrics import Metric
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.stats.pareto import Membership, memberships

# Of two rows, how many times as long the first takes; None where they share no rounds.
RatioOf = Callable[[MeasuredRow, MeasuredRow], Estimate | None]
# Every pair may be asked for, and a ratio takes a millisecond: beyond this intervals alone decide.
_MOST_BY_RATIOS = 60


def places(rows: Sequence[MeasuredRow], x: Metric, y: Metric, ratio_of: RatioOf) -> dict[str, Membership]:
    """The place of each row that has a value on both axes, by its name.

    Latencies are compared by their ratio in the rounds that both models are in; whatever else is compared by
    the intervals of the two.
    """
    points = [
        (row, cost, quality)
        for row in rows
        if (cost := estimate_of(row, x.name)) is not None
        and (quality := estimate_of(row, y.name)) is not None
    ]
    known: dict[tuple[int, int], Interval | None] = {}

    def ratio(i: int, j: int) -> Interval | None:
        if (i, j) not in known:
            estimate = ratio_of(points[i][0], points[j][0])
            known[i, j] = None if estimate is None else estimate.interval
            turned = None if estimate is None else estimate.inverse().interval
            known[j, i] = turned
        return known[i, j]

    by_ratios = x.name == "latency_ms" and len(points) <= _MOST_BY_RATIOS
    found = memberships([(cost, quality) for _, cost, quality in points], ratio=ratio if by_ratios else None)
    return {row.spec_id: place for (row, _, _), place in zip(points, found, strict=True)}

"""Strategies' curves read at equal MACs, and compared there in the rounds that their models share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from scaleprof.records import BASE_STRATEGY
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.interpolation import loglog_weights
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.units import three_digits

# Models by name, weighed, to their contrast in the rounds that all are in; see `RunComparer.contrast`.
Contrast = Callable[[Mapping[str, float]], Estimate | None]


class Reading(msgspec.Struct, frozen=True):
    """A strategy's curve read at some MACs: milliseconds, and latency relative to the reference network.

    `weights`: the models between which it was read, and the share of each in the logarithm.
    """

    name: str
    weights: dict[str, float]
    latency_ms: float
    latency_low_ms: float | None
    latency_high_ms: float | None
    relative: float
    low: float
    high: float


def read_at(name: str, line: Sequence[MeasuredRow], macs: float) -> Reading | None:
    """A line read at some MACs; None outside its measured range, or where a model there has no time.

    Curves are straight between models on log–log axes.
    """
    weights = loglog_weights([float(row.macs or 0) for row in line], macs)
    if weights is None:
        return None

    def read(field: str) -> float | None:
        values = [getattr(line[place], field) for place, _ in weights]
        if any(value is None for value in values):
            return None
        return math.exp(sum(w * math.log(value) for (_, w), value in zip(weights, values, strict=True)))

    latency_ms, relative = read("latency_ms"), read("relative_latency")
    if latency_ms is None or relative is None:
        return None
    return Reading(
        name,
        {line[place].spec_id: weight for place, weight in weights},
        latency_ms,
        read("latency_ci_low_ms"),
        read("latency_ci_high_ms"),
        relative,
        # Without an interval nothing is decided: it is as wide as it can be.
        read("relative_ci_low") or 0.0,
        read("relative_ci_high") or math.inf,
    )


class Comparison(msgspec.Struct, frozen=True):
    """All strategies at the same MACs: the fastest, and how many times as long each other takes."""

    macs: float
    best: Reading
    others: tuple[tuple[Reading, Estimate], ...]

    @property
    def tied(self) -> list[str]:
        """Those that cannot be told apart from the fastest."""
        return [
            other.name for other, ratio in self.others if ratio.interval is None or ratio.interval.low <= 1
        ]

    @property
    def by_latency(self) -> list[Reading]:
        """All of them, the fastest in milliseconds first."""
        return sorted([self.best, *(other for other, _ in self.others)], key=lambda one: one.latency_ms)


def compare_at(
    lines: Mapping[str, Sequence[MeasuredRow]], macs: float, contrast: Contrast
) -> Comparison | None:
    """The lines that reach these MACs, compared in shared rounds; None for fewer than two."""
    reached = [reading for name, line in lines.items() if (reading := read_at(name, line, macs))]
    if len(reached) < 2:
        return None
    best = fastest(reached, contrast)
    others = tuple((other, ratio_of(other, best, contrast)) for other in reached if other is not best)
    return Comparison(macs, best, others)


def fastest(reached: Sequence[Reading], contrast: Contrast) -> Reading:
    """The reading that no other is faster than, by their ratios."""
    best = reached[0]
    for reading in reached[1:]:
        if ratio_of(reading, best, contrast).value < 1:
            best = reading
    return best


def ratio_of(reading: Reading, other: Reading, contrast: Contrast) -> Estimate:
    """How many times as long one curve takes as the other.

    Where they share no rounds (groups that did not fit in memory together), the quotient of their relative
    latencies, whose interval is as wide as both ends allow.
    """
    weights = dict(reading.weights)
    for spec_id, weight in other.weights.items():
        weights[spec_id] = weights.get(spec_id, 0.0) - weight
    # Models that both curves rest on cancel; a rest in the last digits is none.
    weights = {spec_id: weight for spec_id, weight in weights.items() if abs(weight) > 1e-12}
    if not weights:
        return Estimate(1.0, Interval(1.0, 1.0))
    measured = contrast(weights)
    if measured is not None:
        return measured
    ends = Interval(reading.low / other.high, reading.high / other.low if other.low else math.inf)
    return Estimate(reading.relative / other.relative, ends)


def in_ms(reading: Reading) -> str:
    """A reading's milliseconds with their interval."""
    text = f"{three_digits(reading.latency_ms)} ms"
    if reading.latency_low_ms is None or reading.latency_high_ms is None:
        return text
    return f"{text} [{three_digits(reading.latency_low_ms)}–{three_digits(reading.latency_high_ms)}]"


def common_macs(lines: Sequence[Sequence[MeasuredRow]]) -> int:
    """The largest MACs that all lines reach; the smallest, if that is only the base that they share."""
    largest = min(line[-1].macs or 0 for line in lines)
    smallest = max(line[0].macs or 0 for line in lines)
    only_shared = all(line[-1].strategy == BASE_STRATEGY for line in lines)
    return smallest if only_shared else largest

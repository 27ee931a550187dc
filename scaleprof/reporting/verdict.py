"""The report's first sentences: which strategy is fastest at equal cost, and what that does not say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.contention import is_contended
from scaleprof.stats.interpolation import loglog_weights
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.units import format_count, three_digits

# Models by name, weighed, to their contrast in the rounds that all are in; see `RunComparer.contrast`.
Contrast = Callable[[Mapping[str, float]], Estimate | None]


def verdict(rows: Sequence[MeasuredRow], contrast: Contrast) -> tuple[str, ...]:
    """Which strategy is fastest at the same MACs, inside the measured range, and what that leaves open."""
    points = [row for row in rows if row.status in MEASURED_STATUSES]
    sentences = []
    for model in dict.fromkeys(row.model for row in points):
        sentence = _equal_macs_sentence([row for row in points if row.model == model], contrast)
        if sentence:
            sentences.append(sentence)
    missing = _missing_sentence(rows)
    if not sentences:
        return (*missing, "Strategies are compared where two or more were measured, at --phi 1 and beyond.")
    return (*sentences, *missing, _verdict_doubts(points))


def _missing_sentence(rows: Sequence[MeasuredRow]) -> tuple[str, ...]:
    """Strategies of which nothing was measured: a verdict must not hide them."""
    lost = [row for row in rows if row.status not in MEASURED_STATUSES]
    named = {(row.model, row.strategy): row.status for row in lost}
    for row in rows:
        if row.status in MEASURED_STATUSES:
            named.pop((row.model, row.strategy), None)
    if not named:
        return ()
    several = len({row.model for row in rows}) > 1
    words = [
        f"{model + ' ' if several else ''}{strategy} ({status})"
        for (model, strategy), status in named.items()
    ]
    return (f"Not among them, since nothing of it was measured: {', '.join(words)}.",)


def _verdict_doubts(points: Sequence[MeasuredRow]) -> str:
    """What the comparison does not say."""
    doubts = (
        "Read off each strategy's curve between its measured models, so that no row need have these numbers."
    )
    if any(row.accuracy is None for row in points):
        doubts += " Accuracy is not part of it: equal MACs stand in for equal quality"
        several = len({row.model for row in points}) > 1
        doubts += ", within one model's rows and not between models." if several else "."
    if any(row.device == "cpu" and is_contended(row.cpu_share) for row in points):
        doubts += " The threads did not have their CPUs to themselves: intervals of ratios allow for it."
    if max(row.launches for row in points) == 1:
        doubts += " One launch only: another process may differ by more than these intervals say."
    return doubts


def _equal_macs_sentence(rows: Sequence[MeasuredRow], contrast: Contrast) -> str | None:
    """Compares strategies at the largest MACs that all of them reached.

    Each strategy's curve is straight between its models on log–log axes, so that the ratio of two curves is a
    contrast of at most four models. It is taken in the rounds that they share, in which whatever slows the
    machine slows them all, and told beside the milliseconds.
    """
    lines = {name: line for name, line in strategy_lines(rows).items() if len(line) > 1}
    if len(lines) < 2:
        return None
    macs = _common_macs(list(lines.values()))
    reached = [reading for name, line in lines.items() if (reading := _read_at(name, line, macs))]
    if len(reached) < 2:
        return None
    best = _fastest(reached, contrast)
    others = [(other, _ratio(other, best, contrast)) for other in reached if other is not best]
    where = f"At {format_count(macs)} MACs"
    tied = [other.name for other, ratio in others if ratio.interval is None or ratio.interval.low <= 1]
    in_ms = sorted(reached, key=lambda reading: reading.latency_ms)
    listed = ", ".join(f"{reading.name} {_ms(reading)}" for reading in in_ms)
    if len(tied) == len(others):
        return (
            f"{where}, the strategies cannot be told apart for {rows[0].model} ({listed}): "
            f"more launches may decide (--preset default or rigorous)."
        )
    if tied:
        names = " or ".join([best.name, *tied])
        return f"{where}, {names} is the fastest way to scale {rows[0].model}, undecided which ({listed})."
    second, ratio = min(others, key=lambda pair: pair[1].value)
    low, high = ratio.interval or (1.0, math.inf)
    return (
        f"{where}, {best.name} is the fastest way to scale {rows[0].model}: {listed}. "
        f"{second.name.capitalize()} takes {low:.2f}–{high:.2f} times as long as {best.name} "
        f"(95 %, in the same rounds)."
    )


def _fastest(reached: Sequence[_Reading], contrast: Contrast) -> _Reading:
    """The reading that no other is faster than, by their ratios."""
    best = reached[0]
    for reading in reached[1:]:
        if _ratio(reading, best, contrast).value < 1:
            best = reading
    return best


def _ratio(reading: _Reading, other: _Reading, contrast: Contrast) -> Estimate:
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


def _common_macs(lines: Sequence[Sequence[MeasuredRow]]) -> int:
    """The largest MACs that all lines reach; the smallest, if that is only the base that they share."""
    largest = min(line[-1].macs or 0 for line in lines)
    smallest = max(line[0].macs or 0 for line in lines)
    only_shared = all(line[-1].strategy == BASE_STRATEGY for line in lines)
    return smallest if only_shared else largest


class _Reading(msgspec.Struct, frozen=True):
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


def _read_at(name: str, line: Sequence[MeasuredRow], macs: float) -> _Reading | None:
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
    return _Reading(
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


def _ms(reading: _Reading) -> str:
    text = f"{three_digits(reading.latency_ms)} ms"
    if reading.latency_low_ms is None or reading.latency_high_ms is None:
        return text
    return f"{text} [{three_digits(reading.latency_low_ms)}–{three_digits(reading.latency_high_ms)}]"

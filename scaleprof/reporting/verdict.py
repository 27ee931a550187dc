"""The report's first sentences: which strategy is fastest at equal cost, and what that does not say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.interpolation import loglog_at
from scaleprof.units import format_count, three_digits


def verdict(rows: Sequence[MeasuredRow]) -> tuple[str, ...]:
    """Which strategy is fastest at the same MACs, inside the measured range, and what that leaves open."""
    points = [row for row in rows if row.status in MEASURED_STATUSES]
    sentences = []
    for model in dict.fromkeys(row.model for row in points):
        sentence = _equal_macs_sentence([row for row in points if row.model == model])
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
    if max(row.launches for row in points) == 1:
        doubts += " One launch only: another process may differ by more than these intervals say."
    return doubts


def _equal_macs_sentence(rows: Sequence[MeasuredRow]) -> str | None:
    """Compares strategies at the largest MACs that all of them reached.

    Decided on latencies relative to the reference network, whose intervals the machine's drift does not
    widen; told in milliseconds.
    """
    lines = {name: line for name, line in strategy_lines(rows).items() if len(line) > 1}
    if len(lines) < 2:
        return None
    macs = _common_macs(list(lines.values()))
    reached = [reading for name, line in lines.items() if (reading := _read_at(name, line, macs))]
    if len(reached) < 2:
        return None
    best, *others = sorted(reached, key=lambda reading: reading.relative)
    where = f"At {format_count(macs)} MACs"
    tied = [other.name for other in others if not best.high < other.low]
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
    ratios = f"{others[0].low / best.high:.2f}–{others[0].high / best.low:.2f}"
    return (
        f"{where}, {best.name} is the fastest way to scale {rows[0].model}: {listed}. "
        f"{others[0].name.capitalize()} takes {ratios} times as long as {best.name} (95 %)."
    )


def _common_macs(lines: Sequence[Sequence[MeasuredRow]]) -> int:
    """The largest MACs that all lines reach; the smallest, if that is only the base that they share."""
    largest = min(line[-1].macs or 0 for line in lines)
    smallest = max(line[0].macs or 0 for line in lines)
    only_shared = all(line[-1].strategy == BASE_STRATEGY for line in lines)
    return smallest if only_shared else largest


class _Reading(msgspec.Struct, frozen=True):
    """A strategy's curve read at some MACs: milliseconds, and latency relative to the reference network."""

    name: str
    latency_ms: float
    latency_low_ms: float | None
    latency_high_ms: float | None
    relative: float
    low: float
    high: float


def _read_at(name: str, line: Sequence[MeasuredRow], macs: float) -> _Reading | None:
    fields = (
        *("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"),
        *("relative_latency", "relative_ci_low", "relative_ci_high"),
    )
    values = [
        loglog_at([(float(row.macs or 0), value) for row in line if (value := getattr(row, field))], macs)
        for field in fields
    ]
    latency_ms, low_ms, high_ms, relative, low, high = values
    if latency_ms is None or relative is None:
        return None
    # Without an interval nothing is decided: it is as wide as it can be.
    return _Reading(name, latency_ms, low_ms, high_ms, relative, low or 0.0, high or math.inf)


def _ms(reading: _Reading) -> str:
    text = f"{three_digits(reading.latency_ms)} ms"
    if reading.latency_low_ms is None or reading.latency_high_ms is None:
        return text
    return f"{text} [{three_digits(reading.latency_low_ms)}–{three_digits(reading.latency_high_ms)}]"

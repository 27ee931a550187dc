"""What a model is compared to: the baseline that was asked for, or else the base of its own family."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.placing import RatioOf
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.units import three_digits


class Baseline(msgspec.Struct, frozen=True):
    """The model that the others are compared to, and for each row its latency over the baseline's.

    Ratios are taken in shared rounds; None where there are none. `spec_id` is None where each model is
    compared to the base of its own family; `given` if it was asked for.
    """

    spec_id: str | None
    given: bool
    ratios: tuple[Estimate | None, ...]


def find_baseline(rows: Sequence[MeasuredRow], ratio_of: RatioOf, asked: str | None) -> Baseline:
    """The baseline of rows that share one workload; where it does not have the asked one, their bases."""
    chosen = next((row for row in rows if row.spec_id == asked and row.status in MEASURED_STATUSES), None)
    if chosen is None:
        bases = [row.spec_id for row in rows if row.strategy == BASE_STRATEGY]
        return Baseline(bases[0] if len(bases) == 1 else None, False, tuple(map(_to_base, rows)))
    return Baseline(chosen.spec_id, True, tuple(_to_chosen(row, chosen, ratio_of) for row in rows))


def require_baseline(rows: Sequence[MeasuredRow], asked: str) -> None:
    """Refuse a baseline that no run has.

    Raises:
        UsageError: no row that was measured has this name.
    """
    names = [row.spec_id for row in rows if row.status in MEASURED_STATUSES]
    if asked not in names:
        ends = [name for name in names if name.endswith(f"/{asked}")]
        hint = f": did you mean '{ends[0]}'?" if ends else suggestion(asked, names)
        hint = hint or ": scaleprof show lists them"
        raise UsageError(f"--baseline {asked} is no measured model of these runs{hint}")


def baseline_of(row: MeasuredRow, rows: Sequence[MeasuredRow], baseline: Baseline) -> MeasuredRow | None:
    """The row that this one is compared to; None where it was not measured."""
    candidates = (
        other
        for other in rows
        if other.status in MEASURED_STATUSES
        and (
            other.spec_id == baseline.spec_id
            if baseline.spec_id is not None
            else (other.model, other.strategy) == (row.model, BASE_STRATEGY)
        )
    )
    return next(candidates, None)


def against(row: MeasuredRow, baseline: MeasuredRow, ratio: Estimate | None) -> str:
    """What a model costs beside the baseline, in a sentence; the page (`pins.js`) writes the same."""
    if row.spec_id == baseline.spec_id:
        return f"{row.spec_id} is the baseline."
    parts = [_latency_words(ratio)]
    for name, noun in (("macs", "MACs"), ("peak_memory_bytes", "peak memory")):
        value, of = getattr(row, name), getattr(baseline, name)
        if value and of:
            parts.append(f"{three_digits(value / of)} times its {noun}")
    gained = _accuracy_words(row, baseline)
    name = f"{baseline.spec_id} ({METRICS['latency_ms'].text(baseline.latency_ms)})"
    return f"Against the baseline {name}: {', '.join([*parts, *gained])}."


def _latency_words(ratio: Estimate | None) -> str:
    if ratio is None:
        return "no shared rounds to compare latencies in"
    text = three_digits(ratio.value)
    if ratio.interval is None:
        return f"{text} [?] times as long, undecided"
    text = f"{text} [{three_digits(ratio.interval.low)}–{three_digits(ratio.interval.high)}] times as long"
    return f"{text}, undecided" if ratio.interval.low <= 1 <= ratio.interval.high else text


def _accuracy_words(row: MeasuredRow, baseline: MeasuredRow) -> list[str]:
    if row.accuracy is None or baseline.accuracy is None:
        return []
    errors = [row.accuracy_error, baseline.accuracy_error]
    # Independent errors: half-widths of 95 % intervals add up by their squares.
    known = [error for error in errors if error is not None]
    error = f" ± {math.hypot(*known):.1f}" if len(known) == len(errors) else ""
    return [f"{row.accuracy - baseline.accuracy:+.1f}{error} points of accuracy, which was not measured here"]


def _to_chosen(row: MeasuredRow, chosen: MeasuredRow, ratio_of: RatioOf) -> Estimate | None:
    if row is chosen:
        return Estimate(1.0, Interval(1.0, 1.0))
    return ratio_of(row, chosen) if row.status in MEASURED_STATUSES else None


def _to_base(row: MeasuredRow) -> Estimate | None:
    if row.ratio_to_base is None:
        return None
    low, high = row.ratio_ci_low, row.ratio_ci_high
    return Estimate(row.ratio_to_base, None if low is None or high is None else Interval(low, high))

"""The analysis of a run as small tables in words, for a page or a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.reporting.analysis import Analysis, AtEqual, Exponent
from scaleprof.reporting.metrics import METRICS
from scaleprof.stats.equal import Reading
from scaleprof.stats.hypervolume import Hypervolumes
from scaleprof.stats.intervals import Estimate
from scaleprof.stats.powerlaw import Predictor
from scaleprof.units import three_digits

_LABELS = {"energy_j": "Energy"}
# An interval whose ends are further apart tells nothing: two points of nearly the same x have any slope.
_TELLING_RATIO = 10.0


class TextTable(msgspec.Struct, frozen=True):
    """A table of texts; the first cell of each row names it."""

    topic: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def analysis_tables(analysis: Analysis) -> tuple[TextTable, ...]:
    """The tables that there is something for, in the order in which a reader wants them."""
    tables = (
        _equal_table(analysis.equals, analysis.volumes),
        _exponent_table(analysis.exponents),
        _predictor_table(analysis.predictors),
    )
    return tuple(table for table in tables if table is not None)


def _equal_table(equals: Sequence[AtEqual], volumes: Hypervolumes | None) -> TextTable | None:
    if not equals:
        return None
    names = list(dict.fromkeys(name for one in equals for name in one.readings))
    header = [f"at {_named(one.equal, one.at)}: {METRICS[one.read].label}" for one in equals]
    rows = [[name, *(_reading_text(one.readings.get(name), one.read) for one in equals)] for name in names]
    caption = (
        "Read off each strategy's curve between its measured models, never beyond them. Brackets are what "
        "the intervals of those models allow ([?]: above a factor of ten); the verdict's ratios, taken in "
        "the same rounds, are sharper."
    )
    if volumes is not None:
        header.append("dominated area")
        rows = [[*row, _volume_text(volumes.by_name.get(row[0]))] for row in rows]
        latency, macs = volumes.reference
        caption += (
            f" The dominated area is that between a strategy's front and the point at "
            f"{METRICS['latency_ms'].text(latency)} and {METRICS['macs'].text(macs)}, in decades of latency "
            f"times decades of MACs."
        )
    return TextTable(
        "equal", "Strategies at equal cost", caption, ("Strategy", *header), tuple(map(tuple, rows))
    )


def _named(name: str, value: float) -> str:
    """A value that says what it is: counts have no unit."""
    metric = METRICS[name]
    return f"{metric.text(value)} {metric.label}" if metric.kind == "count" else metric.text(value)


def _reading_text(reading: Reading | None, name: str) -> str:
    if reading is None:
        return "–"
    if reading.value is None:
        return reading.silence or "–"
    metric = METRICS[name]
    text = metric.text(reading.value.value)
    ends = reading.value.interval
    if ends is None:
        return text
    if ends.high > _TELLING_RATIO * ends.low:
        return f"{text} [?]"
    # Milliseconds keep their unit at any size; the multiples of counts differ from one end to the other.
    low, high = (three_digits(end) if metric.kind == "ms" else metric.text(end) for end in ends)
    return f"{text} [{low}–{high}]"


def _volume_text(volume: float | None) -> str:
    return "–" if volume is None else f"{volume:.3f}"


def _exponent_table(exponents: Sequence[Exponent]) -> TextTable | None:
    if not exponents:
        return None
    lines = list(dict.fromkeys(one.line for one in exponents))
    quantities = list(dict.fromkeys(one.quantity for one in exponents))
    found = {(one.line, one.quantity): one for one in exponents}
    rows = [(line, *(_exponent_text(found.get((line, name))) for name in quantities)) for line in lines]
    return TextTable(
        "growth",
        "How steeply each strategy grows",
        "The power of MACs that a quantity grows with, fitted with its 95 % interval: 1 is in proportion, "
        f"below 1 each MAC costs less than the last. {_whose_theory(exponents)}",
        ("Strategy", *(_LABELS.get(name) or METRICS[name].label for name in quantities)),
        tuple(rows),
    )


def _whose_theory(exponents: Sequence[Exponent]) -> str:
    """Whose law the theory is, and what departs from it."""
    told = [one for one in exponents if one.theory is not None]
    own = list(dict.fromkeys(one.law_of for one in told if one.law_of))
    own_words = (
        f"Theory of {', '.join(own)} is the family's own at its base, with attention and with what no depth "
        "repeats, such as vocabularies and embeddings; away from the base their shares shift, and rounding "
        "departs from it."
    )
    plain_words = (
        f"Theory {'of the others ' if own else ''}is that of plain convolutions; depthwise ones, stems, "
        "heads and rounding depart from it."
    )
    is_plain = not own or any(not one.law_of for one in told)
    return " ".join([own_words] * bool(own) + [plain_words] * is_plain)


def _exponent_text(one: Exponent | None) -> str:
    if one is None:
        return "–"
    theory = "" if one.theory is None else f" (theory {one.theory:.2f})"
    return _two_digits(one.fitted) + theory


def _predictor_table(predictors: Sequence[Predictor]) -> TextTable | None:
    if not predictors:
        return None
    rows = [
        (
            METRICS[one.name].label,
            "does not vary" if one.correlation is None else _two_digits(one.correlation),
            "–" if one.rank is None else str(one.rank),
        )
        for one in predictors
    ]
    return TextTable(
        "predictors",
        "What predicts time here",
        "Correlation of logarithms with the latency over all models of this run, with its 95 % interval. "
        "Counts that cannot be told apart share a rank. It differs between devices.",
        ("Count", "Correlation [95 %]", "Rank"),
        tuple(rows),
    )


def _two_digits(estimate: Estimate) -> str:
    text = f"{estimate.value:.2f}"
    ends = estimate.interval
    # An exact count's interval is a point up to rounding.
    if ends is None or ends.high - ends.low < 5e-3:
        return text
    return f"{text} [{ends.low:.2f}–{ends.high:.2f}]"

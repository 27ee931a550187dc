"""What measured rows say about scaling: exponents, predictors of time, and strategies at equal cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.scaling.laws import law_of
from scaleprof.scaling.rules import COMPOUND, Bases, is_named
from scaleprof.scaling.theory import PLAIN_CONVOLUTIONS, growth_exponents
from scaleprof.stats.equal import Line, Reading, at_equal, common_range
from scaleprof.stats.hypervolume import Hypervolumes, hypervolumes
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.stats.powerlaw import Predictor, fit_power_law, rank_predictors

# Where intervals of what was measured are kept: 95 % for times and energy, the range of passes for memory.
_ENDS = {
    "latency_ms": ("latency_ci_low_ms", "latency_ci_high_ms"),
    "peak_memory_bytes": ("peak_memory_min_bytes", "peak_memory_max_bytes"),
    "energy_j": ("energy_ci_low_j", "energy_ci_high_j"),
    "accuracy": ("accuracy_ci_low", "accuracy_ci_high"),
}
_GROWING = ("latency_ms", "peak_memory_bytes", "energy_j", "activations", "params")
_COUNTS = ("macs", "activations", "params")
# What is read where strategies are equal in something: what they deliver there, or what they take.
_EQUALS = (("latency_ms", "macs"), ("macs", "latency_ms"), ("peak_memory_bytes", "macs"))


class Exponent(msgspec.Struct, frozen=True):
    """The power of MACs that a quantity grows with along a line; `theory` where there is one.

    `law_of` is the family whose own law the theory is, empty for that of plain convolutions.
    """

    line: str
    quantity: str
    fitted: Estimate
    theory: float | None
    points: int
    law_of: str = ""


class AtEqual(msgspec.Struct, frozen=True):
    """What each line delivers, or takes, of `read` where all are equal in `equal`, at the value `at`."""

    equal: str
    read: str
    at: float
    readings: Mapping[str, Reading]


class Analysis(msgspec.Struct, frozen=True):
    """All of it, of one workload; empty where there are too few models."""

    exponents: tuple[Exponent, ...] = ()
    predictors: tuple[Predictor, ...] = ()
    equals: tuple[AtEqual, ...] = ()
    volumes: Hypervolumes | None = None


def analyse(rows: Sequence[MeasuredRow]) -> Analysis:
    """The analysis of rows that share one workload; those that were not measured are left out."""
    points = [row for row in rows if row.status in MEASURED_STATUSES]
    lines = strategy_lines(points)
    return Analysis(
        exponents=tuple(_exponents(lines)),
        predictors=tuple(_predictors(points)),
        equals=tuple(_equals(lines)),
        volumes=_volumes(lines),
    )


def estimate_of(row: MeasuredRow, name: str) -> Estimate | None:
    """A quantity of a row with its interval; counts are exact, and None stays None.

    An accuracy that came without an error is taken as it stands.
    """
    value: float | None = getattr(row, name)
    if value is None:
        return None
    if name not in _ENDS or (name == "accuracy" and row.accuracy_error is None):
        return Estimate(value, Interval(value, value))
    low, high = (getattr(row, end) for end in _ENDS[name])
    # An interval over launches may leave out the headline by a rounding.
    return Estimate(
        value, None if low is None or high is None else Interval(min(low, value), max(high, value))
    )


def _exponents(lines: Mapping[str, Sequence[MeasuredRow]]) -> Iterator[Exponent]:
    for name, line in lines.items():
        for quantity in _GROWING:
            law = fit_power_law(
                [
                    (float(row.macs), y)
                    for row in line
                    if row.macs and (y := estimate_of(row, quantity)) is not None and y.value > 0
                ]
            )
            if law is not None:
                yield Exponent(
                    name, quantity, law.exponent, _theory(line, quantity), law.points, _lawgiver(line)
                )


def _theory(line: Sequence[MeasuredRow], quantity: str) -> float | None:
    """The power of MACs by the formula of the strategy, for what a formula counts."""
    if quantity not in ("activations", "params"):
        return None
    scaled = next((row for row in line if row.strategy != BASE_STRATEGY), None)
    if scaled is None:
        return None
    law = law_of(scaled.model, scaled.mode) or PLAIN_CONVOLUTIONS
    growth = growth_exponents(scaled.strategy, _bases(scaled), law)
    return None if growth is None else float(getattr(growth.of_macs, quantity))


def _lawgiver(line: Sequence[MeasuredRow]) -> str:
    """The line's model, if it has a law of its own."""
    return line[0].model if law_of(line[0].model, line[0].mode) else ""


def _bases(row: MeasuredRow) -> Bases | None:
    """The compound bases that a row was scaled with, from its factors.

    A matched row's are those of its strategy to some power, which its growth by MACs does not depend on.
    """
    if not (row.strategy == COMPOUND or is_named(row.strategy)) or not row.phi:
        return None
    depth, width, resolution = (factor ** (1 / row.phi) for factor in (row.depth, row.width, row.resolution))
    grows = depth * width**2 * resolution**2 > 1  # else its factors are not powers of bases
    return Bases(depth, width, resolution) if grows else None


def _predictors(points: Sequence[MeasuredRow]) -> list[Predictor]:
    """Counts by how well they go with the latency, over all models."""
    usable = [row for row in points if row.latency_ms and all(getattr(row, name) for name in _COUNTS)]
    if len(usable) < len(_COUNTS):
        return []
    times_s = [row.latency_ms or 0.0 for row in usable]
    return rank_predictors(times_s, {name: [float(getattr(row, name)) for row in usable] for name in _COUNTS})


def _equals(lines: Mapping[str, Sequence[MeasuredRow]]) -> Iterator[AtEqual]:
    """At the largest value that all lines reach, and halfway to it from the least, on a logarithmic axis."""
    for equal, read in _EQUALS:
        drawn = {name: _line(line, equal, read) for name, line in lines.items()}
        drawn = {name: line for name, line in drawn.items() if len(line) > 1}
        shared = common_range(drawn.values()) if len(drawn) > 1 else None
        if shared is None or shared.low == shared.high:
            continue
        for at in (math.sqrt(shared.low * shared.high), shared.high):
            yield AtEqual(equal, read, at, at_equal(drawn, at))


def _line(line: Sequence[MeasuredRow], x: str, y: str) -> Line:
    pairs = ((estimate_of(row, x), estimate_of(row, y)) for row in line)
    return [(a, b) for a, b in pairs if a is not None and b is not None and a.value > 0 and b.value > 0]


def _volumes(lines: Mapping[str, Sequence[MeasuredRow]]) -> Hypervolumes | None:
    """The area that each line dominates, MACs against latency on logarithmic axes."""
    drawn = {
        name: [(row.latency_ms, float(row.macs)) for row in line if row.latency_ms and row.macs]
        for name, line in lines.items()
    }
    drawn = {name: points for name, points in drawn.items() if points}
    return hypervolumes(drawn, log_cost=True, log_quality=True) if len(drawn) > 1 else None

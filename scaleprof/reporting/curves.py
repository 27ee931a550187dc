"""Scaling curves: what grows with a network, against MACs and against φ, and each chart in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from scaleprof.reporting.fronts import any_value
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.metrics import METRICS, Metric
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.units import format_count

# What grows with a network, each drawn where the run has it.
_GROWING = ("latency_ms", "throughput_per_s", "peak_memory_bytes", "energy_j", "activations", "params")


class Curve(msgspec.Struct, frozen=True):
    """A scaling curve: one quantity against MACs or φ, a line a strategy; `words` for either."""

    y: str
    words: dict[str, str]


def scaling_curves(points: Sequence[MeasuredRow]) -> tuple[Curve, ...]:
    """The curves of every quantity that these measured rows have."""
    lines = strategy_lines(points)
    found = []
    for metric in map(METRICS.__getitem__, _GROWING):
        if any_value(metric, points):
            words = {against: _curve_words(lines, metric, against) for against in ("macs", "phi")}
            found.append(Curve(metric.name, words))
    return tuple(found)


def _curve_words(lines: Mapping[str, Sequence[MeasuredRow]], metric: Metric, against: str) -> str:
    """A curve for those who do not see it: where each of its lines begins and ends."""
    ends = (
        (name, [row for row in line if metric.value(row) is not None and getattr(row, against) is not None])
        for name, line in lines.items()
    )
    parts = [
        f"{name}: {metric.text(metric.value(line[0]))} at {_place(line[0], against)} "
        f"to {metric.text(metric.value(line[-1]))} at {_place(line[-1], against)}"
        for name, line in ends
        if line
    ]
    return f"{metric.label} against {'MACs' if against == 'macs' else 'φ'}. {'; '.join(parts)}."


def _place(row: MeasuredRow, against: str) -> str:
    return format_count(row.macs or 0) if against == "macs" else f"φ = {row.phi:g}"

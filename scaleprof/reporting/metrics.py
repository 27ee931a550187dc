"""The quantities that rows carry, as axes, columns and option values know them."""

from __future__ import annotations

from typing import Literal

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.reporting.rows import Row
from scaleprof.units import format_bytes, format_count, three_digits

Kind = Literal["ms", "count", "bytes", "percent", "joules", "rate"]
Role = Literal["cost", "quality", "proxy"]

# What stands after a number that has no multiples.
_UNITS: dict[Kind, str] = {"ms": "ms", "joules": "J", "rate": "samples/s"}


class Metric(msgspec.Struct, frozen=True):
    """A quantity by its field name; `kind` says how it is written.

    Roles: a `cost` is to be small; a `quality` is to be large; a `proxy` is a cost that may stand in for
    quality (a larger network of one family tends to be a better one), and is called so wherever it does.
    """

    name: str
    label: str
    kind: Kind
    roles: tuple[Role, ...]

    def value(self, row: Row) -> float | None:
        """The row's value, None where it has none."""
        value: float | None = getattr(row, self.name, None)
        return value

    def text(self, value: float | None) -> str:
        """The value for people, with its unit."""
        if value is None:
            return "–"
        if self.kind == "bytes":
            return format_bytes(value)
        if self.kind == "percent":
            return f"{value:.1f} %"
        if self.kind in _UNITS:
            return f"{three_digits(value)} {_UNITS[self.kind]}"
        return format_count(value)

    @property
    def quality_label(self) -> str:
        """The label on the axis that is to be large."""
        return self.label if "quality" in self.roles else f"{self.label} (capacity proxy)"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("latency_ms", "Latency", "ms", ("cost",)),
        Metric("gpu_ms", "GPU time", "ms", ("cost",)),
        Metric("macs", "MACs", "count", ("cost", "proxy")),
        Metric("params", "Parameters", "count", ("cost", "proxy")),
        Metric("activations", "Activations", "count", ("cost",)),
        Metric("peak_memory_bytes", "Peak memory", "bytes", ("cost",)),
        Metric("energy_j", "Energy", "joules", ("cost",)),
        Metric("throughput_per_s", "Throughput", "rate", ()),
        Metric("accuracy", "Accuracy", "percent", ("quality",)),
    )
}
COSTS = tuple(metric for metric in METRICS.values() if "cost" in metric.roles)
QUALITIES = tuple(m for m in METRICS.values() if {"quality", "proxy"} & set(m.roles))


def find_metric(name: str, *, option: str, among: tuple[Metric, ...]) -> Metric:
    """The metric called `name`.

    Raises:
        UsageError: there is none among those that the option takes.
    """
    names = [metric.name for metric in among]
    if name not in names:
        hint = suggestion(name, names)
        raise UsageError(f"{option} {name} is not a metric for this axis{hint} (known: {', '.join(names)})")
    return METRICS[name]

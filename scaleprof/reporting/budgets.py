"""Budgets such as `latency_ms<=10`: what a model may cost, read by a small grammar and never evaluated.

A budget is `METRIC<=QUANTITY`, or `METRIC>=QUANTITY` for what is to be large; commas separate several.
Metrics are fields of rows. The page reads the same grammar (`templates/budgets.js`) with the same errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.units import Unit, parse_quantity, plain_quantity, quantity_text

Sense = Literal["<=", ">="]
Standing = Literal["meets", "undecided", "misses"]


class Quantity(msgspec.Struct, frozen=True):
    """A field of rows that a budget may be about.

    `ends` are the fields of its interval's ends: of memory the range over passes and launches, of a quantile
    its value and the bound above it. A field without any is decided by its value alone. `given_ends` are
    those of what somebody else measured: where a row has none, its value is taken as exact.
    """

    name: str
    unit: Unit
    noun: str = ""
    ends: tuple[str, str] | None = None
    sense: Sense = "<="
    given_ends: tuple[str, str] | None = None

    def value(self, row: MeasuredRow) -> float | None:
        """The row's value, None where it has none."""
        value: float | None = getattr(row, self.name)
        return value

    def interval(self, row: MeasuredRow) -> tuple[float | None, float | None]:
        """Both ends of what the value may be."""
        low, high = (getattr(row, end) for end in self.ends or self.given_ends or (self.name, self.name))
        is_exact = self.given_ends is not None and (low is None or high is None)
        return (self.value(row), self.value(row)) if is_exact else (low, high)

    def text(self, row: MeasuredRow) -> str:
        """The row's value for people, with its interval."""
        ends = self.interval(row) if self.ends or self.given_ends else ()
        value = self.value(row) or 0.0
        known = ends if ends != (value, value) else ()
        return f"{quantity_text(value, self.unit, *known)} {self.noun}".rstrip()


def _timed(name: str, noun: str = "") -> Quantity:
    stem = name.removesuffix("_ms")
    return Quantity(name, "ms", noun, (f"{stem}_ci_low_ms", f"{stem}_ci_high_ms"))


def _tail(percent: int) -> Quantity:
    name = f"latency_p{percent}_ms"
    return Quantity(name, "ms", f"at p{percent}", (name, f"latency_p{percent}_upper_ms"))


def _ratio(name: str, noun: str, ends: str) -> Quantity:
    return Quantity(name, "ratio", noun, (f"{ends}_ci_low", f"{ends}_ci_high"))


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        _timed("latency_ms"),
        *(_tail(percent) for percent in (90, 95, 99)),
        _timed("gpu_ms", "on the GPU"),
        _timed("graph_ms", "as a graph"),
        _timed("forward_ms", "forward"),
        _timed("backward_ms", "backward"),
        _timed("optimizer_ms", "in the optimizer"),
        _timed("drift_corrected_ms", "at the machine's best"),
        Quantity("cold_ms", "ms", "cold"),
        Quantity("compile_s", "s", "to compile"),
        _ratio("relative_latency", "times the reference", "relative"),
        _ratio("ratio_to_base", "times the base", "ratio"),
        _ratio("ratio_to_eager", "times eager", "eager_ratio"),
        Quantity("energy_j", "joules", "", ("energy_ci_low_j", "energy_ci_high_j")),
        Quantity("energy_net_j", "joules", "net"),
        Quantity("peak_memory_bytes", "bytes", "", ("peak_memory_min_bytes", "peak_memory_max_bytes")),
        Quantity("reserved_memory_bytes", "bytes", "reserved"),
        Quantity("device_used_bytes", "bytes", "used on the device"),
        Quantity("forecast_bytes", "bytes", "forecast"),
        Quantity("weight_bytes", "bytes", "of weights"),
        Quantity("macs", "count", "MACs"),
        Quantity("params", "count", "parameters"),
        Quantity("activations", "count", "activations"),
        Quantity(
            "throughput_per_s", "rate", "", ("throughput_ci_low_per_s", "throughput_ci_high_per_s"), ">="
        ),
        Quantity(
            "accuracy", "percent", "accuracy", None, ">=", given_ends=("accuracy_ci_low", "accuracy_ci_high")
        ),
    )
}


class Budget(msgspec.Struct, frozen=True):
    """A bound on one quantity, in its base unit; as text it reads back as itself."""

    metric: str
    sense: Sense
    value: float

    def __str__(self) -> str:
        return f"{self.metric}{self.sense}{plain_quantity(self.value, self.quantity.unit)}"

    @property
    def quantity(self) -> Quantity:
        """What it bounds."""
        return QUANTITIES[self.metric]

    def standing(self, row: MeasuredRow) -> Standing:
        """Whether the row meets it, and `undecided` where its interval holds the bound, or is not known."""
        low, high = self.quantity.interval(row)
        if low is None or high is None:
            return "undecided"
        best, worst = (low, high) if self.sense == "<=" else (-high, -low)
        bound = self.value if self.sense == "<=" else -self.value
        return "meets" if worst <= bound else "misses" if best > bound else "undecided"

    def share(self, row: MeasuredRow) -> float:
        """The row's value over the budget: what is written as `1.23× the budget`."""
        return (self.quantity.value(row) or 0.0) / self.value

    def price(self, row: MeasuredRow) -> float:
        """How many times dearer than the budget the row is; 1 and below meets it, but for its interval."""
        share = self.share(row)
        return share if self.sense == "<=" else 1 / share if share else math.inf


def parse_budgets(texts: str | Sequence[str]) -> tuple[Budget, ...]:
    """Budgets from texts, each of which may hold several, separated by commas.

    >>> [str(budget) for budget in parse_budgets("latency_ms <= 10, peak_memory_bytes<=2 GiB")]
    ['latency_ms<=10', 'peak_memory_bytes<=2GiB']

    Raises:
        UsageError: a text that is no budget.
    """
    several = [texts] if isinstance(texts, str) else texts
    return tuple(_parse_budget(part) for text in several for part in text.split(","))


def _parse_budget(text: str) -> Budget:
    shown = f"budget '{' '.join(text.split())}'"
    found = re.fullmatch(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=)\s*(.*?)\s*", text)
    if found is None:
        raise UsageError(f"{shown} is not METRIC<=QUANTITY, nor METRIC>=QUANTITY: write latency_ms<=10")
    name, sense, amount = found.groups()
    quantity = QUANTITIES.get(name)
    if quantity is None:
        hint = suggestion(name, QUANTITIES) or f": it takes {', '.join(QUANTITIES)}"
        raise UsageError(f"{shown}: '{name}' is not a metric that can have a budget{hint}")
    if sense != quantity.sense:
        wanted = "small" if quantity.sense == "<=" else "large"
        raise UsageError(f"{shown}: {name} is to be {wanted}: write {name}{quantity.sense}{amount}")
    return Budget(name, quantity.sense, parse_quantity(amount, quantity.unit, option=f"{shown}:"))

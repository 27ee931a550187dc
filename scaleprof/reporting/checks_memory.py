"""Peak memory and budgets of a check: values against what they were, or against a bound."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from statistics import median

import msgspec
from msgspec.structs import replace

from scaleprof.reporting.budgets import Budget
from scaleprof.reporting.checks import Finding, Verdict
from scaleprof.reporting.checks_exact import as_increase
from scaleprof.reporting.checks_rules import Rules
from scaleprof.reporting.checks_words import budget_note, percent
from scaleprof.units import MIB, format_bytes, quantity_text

# The allocator of a GPU counts its own bytes; resident memory on a CPU comes in pages and arenas, and differs
# from process to process.
CUDA_SHARE, CUDA_SLACK_BYTES = 0.01, 1 * MIB
CPU_SHARE, CPU_SLACK_BYTES = 0.05, 8 * MIB


class Measured(msgspec.Struct, frozen=True):
    """A quantity as it is now, in a budget's unit, and the interval that holds it, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float) -> Measured:
        """The quantity in a unit that is so many times smaller."""
        ends = (None if end is None else factor * end for end in (self.low, self.high))
        return Measured(factor * self.value, *ends)


def memory_finding(
    name: str,
    before: Sequence[int],
    after: Sequence[int],
    *,
    on_cuda: bool,
    rules: Rules,
    today: date,
) -> Finding | None:
    """The median peak over processes against what it was; None where either is not known."""
    if not before or not after:
        return None
    then, now = float(median(before)), float(median(after))
    own, slack = (CUDA_SHARE, CUDA_SLACK_BYTES) if on_cuda else (CPU_SHARE, CPU_SLACK_BYTES)
    given = rules.limit(name, "peak_memory")
    limit = own if given is None else given
    found = Finding(
        target=name,
        metric="peak_memory",
        verdict="PASS",
        outcome="ok",
        words=f"within {100 * limit:.3g} % and {format_bytes(slack)}",
        unit="bytes",
        before=then,
        after=now,
        change=now / then - 1 if then else None,
        limit=limit,
    )
    told = f"{format_bytes(then)} → {format_bytes(now)} peak memory"
    told += f" ({percent(now / then - 1)})" if then else ""
    if now > then * (1 + limit) + slack:
        return as_increase(replace(found, words=f"{told}, {found.words} may be"), rules, today)
    if then > now * (1 + limit) + slack:
        return replace(found, verdict="LESS", outcome="good", words=told)
    return found


def budget_finding(name: str, budget: Budget, measured: Measured | None) -> Finding:
    """Whether a target is within a budget: broken only if all of its interval is beyond."""
    found = Finding(
        target=name, metric=str(budget), verdict="PASS", outcome="ok", words="", unit=budget.quantity.unit
    )
    if measured is None:
        words = f"budget {budget}: it has no {budget.metric} here, so nobody knows"
        return replace(found, verdict="INVALID", outcome="warning", words=words)
    ends = () if measured.low is None or measured.high is None else (measured.low, measured.high)
    told = quantity_text(measured.value, budget.quantity.unit, *ends)
    told += f", {budget_note(measured.value, budget.value)}"
    found = replace(found, after=measured.value, words=f"budget {budget}: {told}")
    low, high = ends or (measured.value, measured.value)
    if low > budget.value:
        return replace(found, verdict="FAIL", outcome="regression")
    verdict: Verdict = "WARN" if high > budget.value else "PASS"
    if verdict == "WARN":
        words = f"{found.words}: the bound lies inside the interval"
        return replace(found, verdict=verdict, outcome="warning", words=words)
    return found

"""Numbers of a check for people."""

from __future__ import annotations

from scaleprof.reporting.checks import Finding
from scaleprof.units import quantity_text, three_digits


def percent(share: float) -> str:
    """A change in percent with its sign.

    >>> percent(0.1024), percent(-0.0031), percent(0.0)
    ('+10.2 %', '-0.31 %', '0.0 %')
    """
    value = 100 * share
    if value == 0:
        return "0.0 %"
    digits = f"{value:+.1f}" if abs(value) >= 1 else f"{value:+.2f}"
    return f"{digits} %" if abs(value) >= 0.005 else f"{value:+.1g} %"


def plain_percent(share: float) -> str:
    """A limit in percent.

    >>> plain_percent(0.02), plain_percent(0.0346)
    ('2 %', '3.46 %')
    """
    return f"{100 * share:.3g} %"


def change_text(finding: Finding) -> str:
    """A finding's change with its interval, or a dash."""
    if finding.change is None:
        return "–"
    text = percent(finding.change)
    if finding.change_low is None or finding.change_high is None:
        return text
    return f"{text} [{100 * finding.change_low:+.1f}–{100 * finding.change_high:+.1f}]"


def value_text(value: float | None, finding: Finding) -> str:
    """A value of a finding in its unit, or a dash."""
    if value is None or finding.unit is None:
        return "–"
    if finding.metric == "operators":
        return f"{value:.0f}"
    return quantity_text(value, finding.unit)


def budget_note(value: float, bound: float) -> str:
    """How a value lies to its budget.

    >>> budget_note(12.0, 10.0)
    '1.20 times the budget'
    """
    return f"{three_digits(value / bound)} times the budget"

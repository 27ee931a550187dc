"""What is known by counting: MACs, parameters, activations and operators; any increase is a regression."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from msgspec.structs import replace

from scaleprof.records import Arm, CheckedTarget, ExactCost
from scaleprof.reporting.checks import WHOLE, Finding, Verdict
from scaleprof.reporting.checks_rules import EXACT_METRICS, NOUNS, Metric, Rules, parse_metric
from scaleprof.reporting.checks_words import percent
from scaleprof.units import format_count

# More operators than these are for the JSON, not for a sentence.
_MOST_OPERATORS = 4
_SIDES: dict[Arm, str] = {"before": "before", "after": "now"}


def exact_findings(target: CheckedTarget, rules: Rules, today: date) -> list[Finding]:
    """A finding for each exact metric of a target; where they are not to be had, one with the reason."""
    if target.absent:
        return [_absent(target)]
    if target.before is None or target.after is None:
        return [] if target.invalid else [_unknown(target)]
    findings = [
        _counted(target.target.name, metric, target.before, target.after, rules, today)
        for metric in EXACT_METRICS
    ]
    return [
        *findings,
        _operators(target.target.name, target.before, target.after, rules, today),
        *_uncounted(target.target.name, target.before, target.after),
    ]


def _absent(target: CheckedTarget) -> Finding:
    name, reason = target.target.name, target.invalid or "it is not there"
    in_neither = target.invalid_arm == "before" and target.after is None and "after" not in target.missing
    if in_neither:
        words = f"it is not there, neither then nor now: {reason}"
        return Finding(target=name, metric=WHOLE, verdict="MISSING", outcome="failed", words=words)
    if target.invalid_arm == "before":
        words = f"new: nothing to compare with ({reason})"
        return Finding(target=name, metric=WHOLE, verdict="NEW", outcome="good", words=words)
    return Finding(
        target=name, metric=WHOLE, verdict="MISSING", outcome="missing", words=f"missing now: {reason}"
    )


def _unknown(target: CheckedTarget) -> Finding:
    """No counts: a target that is no network has none; to have lost them is doubtful."""
    reasons = "; ".join(
        f"{_SIDES[arm]}: {target.missing[arm]}" for arm in _SIDES if target.missing.get(arm) is not None
    )
    lost = target.before is not None and target.after is None
    return Finding(
        target=target.target.name,
        metric="macs",
        verdict="INVALID",
        outcome="warning" if lost else "told",
        words=f"exact metrics could not be had ({reasons or 'nothing was counted'})",
    )


def _counted(
    name: str, metric: Metric, before: ExactCost, after: ExactCost, rules: Rules, today: date
) -> Finding:
    then, now = float(getattr(before, metric)), float(getattr(after, metric))
    limit = rules.limit(name, metric) or 0.0
    found = Finding(
        target=name,
        metric=metric,
        verdict="PASS",
        outcome="ok",
        words="unchanged"
        if now == then
        else f"{format_count(then)} → {format_count(now)} {NOUNS[metric]} ({_change_words(then, now)})",
        unit="count",
        before=then,
        after=now,
        change=now / then - 1 if then else None,
        limit=limit,
    )
    if now > then * (1 + limit):
        return as_increase(found, rules, today)
    return replace(found, verdict="LESS", outcome="good") if now < then else found


def _operators(name: str, before: ExactCost, after: ExactCost, rules: Rules, today: date) -> Finding:
    grown, shrunk = _moved(before, after), _moved(after, before)
    found = Finding(
        target=name,
        metric="operators",
        verdict="PASS",
        outcome="ok",
        words="unchanged",
        unit="count",
        before=float(sum(before.operators.values())),
        after=float(sum(after.operators.values())),
    )
    if grown:
        return as_increase(replace(found, words=f"more calls of {_told(grown, before, after)}"), rules, today)
    if shrunk:
        words = f"fewer calls of {_told(shrunk, before, after)}"
        return replace(found, verdict="LESS", outcome="good", words=words)
    return found


def as_increase(found: Finding, rules: Rules, today: date, *, verdict: Verdict = "FAIL") -> Finding:
    """The finding of something that grew too much: a regression, unless it is accepted for today."""
    metric = parse_metric(found.metric, what="a finding")
    accepted = rules.acceptance(found.target, metric, today)
    if accepted is not None:
        words = f"{found.words}; accepted until {accepted.until}: {accepted.reason}"
        return replace(found, verdict=verdict, outcome="good", words=words, accepted=accepted.reason)
    expired = rules.expired(found.target, metric, today)
    note = f"; its acceptance expired on {expired.until} ({expired.reason})" if expired else ""
    return replace(found, verdict=verdict, outcome="regression", words=found.words + note)


def _uncounted(name: str, before: ExactCost, after: ExactCost) -> Iterator[Finding]:
    new = sorted(set(after.uncounted) - set(before.uncounted))
    if new:
        words = f"MACs are too low now: {', '.join(new)} has no formula, and was not there before"
        yield Finding(target=name, metric="uncounted", verdict="WARN", outcome="warning", words=words)


def _moved(a: ExactCost, b: ExactCost) -> list[str]:
    """Operators that `b` calls more often than `a`."""
    return sorted(name for name, calls in b.operators.items() if calls > a.operators.get(name, 0))


def _told(names: list[str], before: ExactCost, after: ExactCost) -> str:
    shown = [
        f"{name} ({before.operators.get(name, 0)} → {after.operators.get(name, 0)})"
        for name in names[:_MOST_OPERATORS]
    ]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _change_words(then: float, now: float) -> str:
    return percent(now / then - 1) if then else f"{now - then:+.0f}"

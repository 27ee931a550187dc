"""What a check allows: limits, budgets and accepted changes, each for the targets that a pattern names.

A pattern is a shell's (`*`, `?`, `[ab]`) and names a target by its whole name or by its model:
`resnet*`, `resnet18` and `resnet18/width/1` all name `resnet18/width/1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from typing import Literal, TypeVar, get_args

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import CheckHeader
from scaleprof.reporting.budgets import Budget, parse_budgets
from scaleprof.units import parse_fraction

Metric = Literal["macs", "params", "activations", "operators", "latency", "peak_memory"]
METRICS: tuple[Metric, ...] = get_args(Metric)
EXACT_METRICS: tuple[Metric, ...] = ("macs", "params", "activations")
# A histogram has no share to grow by.
LIMITED_METRICS: tuple[Metric, ...] = (*EXACT_METRICS, "latency", "peak_memory")
NOUNS: dict[str, str] = {
    "macs": "MACs",
    "params": "parameters",
    "activations": "activations",
    "operators": "operators",
    "latency": "latency",
    "peak_memory": "peak memory",
}
EVERY_TARGET = "*"
# What a check has a number for; the rest of a row's quantities are a sweep's.
BUDGETED = ("latency_ms", "latency_p95_ms", "peak_memory_bytes", "macs", "params", "activations")

_Rule = TypeVar("_Rule", "Limit", "ScopedBudget", "Accepted")


class Limit(msgspec.Struct, frozen=True):
    """By which share a metric of these targets may grow."""

    pattern: str
    metric: Metric
    share: float


class ScopedBudget(msgspec.Struct, frozen=True):
    """A bound on a quantity of these targets; as text it reads back as itself."""

    pattern: str
    budget: Budget

    def __str__(self) -> str:
        return str(self.budget) if self.pattern == EVERY_TARGET else f"{self.pattern} {self.budget}"


class Accepted(msgspec.Struct, frozen=True):
    """A change of a metric of these targets that is no regression up to and with the day `until`."""

    pattern: str
    metric: Metric
    reason: str
    until: date


class Rules(msgspec.Struct, frozen=True):
    """All that a check allows. Of several limits that name a target, the last counts; budgets add up."""

    limits: tuple[Limit, ...] = ()
    budgets: tuple[ScopedBudget, ...] = ()
    accepted: tuple[Accepted, ...] = ()

    @classmethod
    def of(cls, header: CheckHeader) -> Rules:
        """The rules that a recorded check had."""
        return cls(
            limits=tuple(Limit(pattern, _metric(name), share) for pattern, name, share in header.limits),
            budgets=tuple(parse_scoped_budget(text) for text in header.budgets),
            accepted=tuple(
                Accepted(pattern, _metric(name), reason, date.fromisoformat(until))
                for pattern, name, reason, until in header.accepted
            ),
        )

    def limit(self, target: str, metric: Metric) -> float | None:
        """The share by which a metric of a target may grow, where one was given."""
        named = [one.share for one in _naming(self.limits, target) if one.metric == metric]
        return named[-1] if named else None

    def budgets_of(self, target: str) -> list[Budget]:
        """The budgets of a target."""
        return [one.budget for one in _naming(self.budgets, target)]

    def acceptance(self, target: str, metric: Metric, today: date) -> Accepted | None:
        """What accepts a change of a metric of a target; one that has expired counts no more."""
        valid = [one for one in self._about(target, metric) if one.until >= today]
        return valid[-1] if valid else None

    def expired(self, target: str, metric: Metric, today: date) -> Accepted | None:
        """An acceptance that would have covered it, had it not expired."""
        past = [one for one in self._about(target, metric) if one.until < today]
        return past[-1] if past else None

    def idle_patterns(self, targets: Iterable[str]) -> list[str]:
        """Patterns that name no target: misspelt, perhaps."""
        names = list(targets)
        patterns = dict.fromkeys(
            [rule.pattern for rule in self.limits]
            + [rule.pattern for rule in self.budgets]
            + [rule.pattern for rule in self.accepted]
        )
        return [pattern for pattern in patterns if not any(names_it(pattern, name) for name in names)]

    def _about(self, target: str, metric: Metric) -> list[Accepted]:
        return [one for one in _naming(self.accepted, target) if one.metric == metric]


def names_it(pattern: str, target: str) -> bool:
    """Whether a pattern names a target.

    >>> names_it("resnet18", "resnet18/width/1"), names_it("resnet18/base/*", "resnet18/width/1")
    (True, False)
    """
    model = target.rsplit("/", 2)[0]
    return fnmatchcase(target, pattern) or fnmatchcase(model, pattern)


def parse_limit(text: str, pattern: str = EVERY_TARGET) -> Limit:
    """A limit from `METRIC=SHARE`, such as `latency=2%`.

    Raises:
        UsageError: it is none.
    """
    name, equals, share = (part.strip() for part in text.partition("="))
    if not equals:
        raise UsageError(f"--limit '{text}' is not METRIC=SHARE: write latency=2%")
    return Limit(pattern, parse_metric(name, LIMITED_METRICS, what=f"--limit '{text}'"), _share(share, name))


def parse_scoped_budget(text: str) -> ScopedBudget:
    """A budget as `str` writes it: a pattern and a space before it, where it is not for every target.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(?:(.*\S)\s+)?(\w+\s*[<>]=.*)", text.strip())
    pattern, bound = (found[1] or EVERY_TARGET, found[2]) if found else (EVERY_TARGET, text)
    (budget,) = parse_check_budgets([bound], pattern)
    return budget


def parse_check_budgets(texts: Iterable[str], pattern: str = EVERY_TARGET) -> tuple[ScopedBudget, ...]:
    """Budgets on what a check has a number for, in the grammar of all budgets.

    Raises:
        UsageError: a text that is no budget, or one on something else.
    """
    budgets = parse_budgets(list(texts))
    for budget in budgets:
        if budget.metric not in BUDGETED:
            raise UsageError(f"budget '{budget}': check has no {budget.metric}: it has {', '.join(BUDGETED)}")
    return tuple(ScopedBudget(pattern, budget) for budget in budgets)


def parse_metric(name: str, known: Iterable[Metric] = METRICS, *, what: str) -> Metric:
    """A metric by its name; `what` is where it was written.

    Raises:
        UsageError: there is none of that name.
    """
    metrics = list(known)
    if name not in metrics:
        hint = suggestion(name, metrics) or f": it takes {', '.join(metrics)}"
        raise UsageError(f"{what}: '{name}' is not a metric of a check{hint}")
    return _metric(name)


def _metric(name: str) -> Metric:
    return next(metric for metric in METRICS if metric == name)


def _share(text: str, name: str) -> float:
    """A share that may be nothing at all: `0` lets an exact metric grow by nothing, as it is anyway."""
    if re.fullmatch(r"0+(\.0+)?\s*%?", text) and name in EXACT_METRICS:
        return 0.0
    return parse_fraction(text, option=f"--limit {name}")


def _naming(rules: Iterable[_Rule], target: str) -> list[_Rule]:
    return [rule for rule in rules if names_it(rule.pattern, target)]

"""The tables of `[check]` in a configuration file: limits, budgets and accepted changes for some targets.

```toml
[check]                       # every option of the command, as for other verbs
model = ["nets.py:build"]
limit = ["latency=2%"]

[[check.limits]]              # for the targets that a pattern names
models = "resnet*"
latency = "5%"

[[check.budgets]]
models = "resnet18"
budget = "latency_ms<=10"

[[check.accepted]]            # a change that is no regression, for a while
models = "resnet18"
metric = "macs"
reason = "a third stage (see the design note)"
until = 2026-12-31
```
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from scaleprof.errors import UsageError, suggestion
from scaleprof.reporting.checks_rules import (
    EVERY_TARGET,
    LIMITED_METRICS,
    Accepted,
    Limit,
    Rules,
    ScopedBudget,
    parse_check_budgets,
    parse_limit,
    parse_metric,
)

Table = Mapping[str, object]
# Lists of tables that may stand beside the options.
TABLES = ("limits", "budgets", "accepted")


def read_rules(
    *,
    limits: Sequence[str] = (),
    budgets: Sequence[str] = (),
    limits_win: bool = False,
    tables: Mapping[str, Sequence[Table]] | None = None,
) -> Rules:
    """The rules of a check, from its options and the tables of a configuration file.

    Args:
        limits: as `--limit` takes them; for every target.
        budgets: as `--budget` takes them; for every target, beside those of the tables.
        limits_win: whether the limits were typed, and so count before the file's tables.
        tables: the lists of tables by name (`TABLES`).

    Raises:
        UsageError: something of them is not what it must be; names the place.
    """
    given = tables or {}
    typed = tuple(parse_limit(text) for text in limits)
    written = tuple(limit for table in given.get("limits", ()) for limit in _limits(table))
    return Rules(
        limits=(*written, *typed) if limits_win else (*typed, *written),
        budgets=(
            *(parse_check_budgets(budgets) if budgets else ()),
            *(budget for table in given.get("budgets", ()) for budget in _budgets(table)),
        ),
        accepted=tuple(_accepted(table) for table in given.get("accepted", ())),
    )


def _limits(table: Table) -> list[Limit]:
    _known_keys("limits", table, ("models", *LIMITED_METRICS))
    pattern = _pattern("limits", table)
    shares = {name: value for name, value in table.items() if name != "models"}
    if not shares:
        raise UsageError(f"[[check.limits]] for '{pattern}' limits nothing: add latency = \"5%\"")
    return [parse_limit(f"{name}={value}", pattern) for name, value in shares.items()]


def _budgets(table: Table) -> tuple[ScopedBudget, ...]:
    _known_keys("budgets", table, ("models", "budget"))
    pattern = _pattern("budgets", table)
    value = table.get("budget")
    given = value if isinstance(value, list) else [value]
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given) or not texts:
        raise UsageError(f"[[check.budgets]] for '{pattern}' needs budget = \"latency_ms<=10\", or a list")
    return parse_check_budgets(texts, pattern)


def _accepted(table: Table) -> Accepted:
    _known_keys("accepted", table, ("models", "metric", "reason", "until"))
    pattern = _pattern("accepted", table)
    place = f"[[check.accepted]] for '{pattern}'"
    reason, until = table.get("reason"), table.get("until")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f'{place} needs a reason, such as reason = "a third stage"')
    metric = parse_metric(str(table.get("metric", "")), what=place)
    return Accepted(pattern, metric, " ".join(reason.split()), _day(until, place))


def _day(value: object, place: str) -> date:
    """The last day on which it is accepted."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        told = "no day" if value is None else f"'{value}', which is no day"
        raise UsageError(f"{place} has {told}: write until = 2026-12-31, its last one") from None


def _pattern(name: str, table: Table) -> str:
    pattern = table.get("models", EVERY_TARGET)
    if not isinstance(pattern, str) or not pattern:
        raise UsageError(f'[[check.{name}]] has models = {pattern!r}: write a pattern, such as "resnet*"')
    return pattern


def _known_keys(name: str, table: Table, known: Iterable[str]) -> None:
    keys = list(known)
    for key in table:
        if key not in keys:
            hint = suggestion(key, keys) or f": it takes {', '.join(keys)}"
            raise UsageError(f"[[check.{name}]] has no key '{key}'{hint}")

"""What `solve` found, a row a strategy: as data, as a table, and in sentences.

Whether a row meets its budgets is told by its intervals, as everywhere: a search that went by the medians may
end at a model of which that is undecided. Of two strategies the one with more MACs is said to buy more only
where its time per MAC, in the same rounds, does not allow for the opposite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import rich.table

from scaleprof.records import MEASURED_STATUSES, Phi, RunLog
from scaleprof.reporting import table
from scaleprof.reporting.budgets import Budget, Standing
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.table import Table
from scaleprof.reporting.tables import bracketed, ratio_text
from scaleprof.scaling.solving import SearchStop
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.units import format_count

SolveStop = SearchStop | Literal["iterations", "out_of_time", "failed"]

_FROM_GOOD_TO_BAD: tuple[Standing, ...] = ("meets", "undecided", "misses")
# Of these, quotients are those of times in shared rounds.
_TIMES = ("latency_ms", "relative_latency", "ratio_to_base")
# The row's own field of this name tells how measuring ended.
_RENAMED = {"stop": "measuring_stop"}


class SolvedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy buys within the budgets.

    Attributes:
        strategy: the strategy; its model may be the base, which all strategies share.
        model: the family.
        phi: of the answer; None if nothing on the strategy was measured.
        budgets: what was to be met.
        standing: whether the answer meets all of them, by its intervals; None without an answer.
        stop: why the search ended.
        stop_reason: the same in words.
        iterations: how many models were proposed and measured beyond the starting curve.
        row: the measured row of the answer; without an answer, of the model that was tried last.
    """

    strategy: str
    model: str
    phi: Phi | None
    budgets: tuple[Budget, ...]
    standing: Standing | None
    stop: SolveStop
    stop_reason: str
    iterations: int
    row: MeasuredRow

    @property
    def is_within(self) -> bool:
        """Whether the answer's own values are within all budgets; `standing` says how sure that is."""
        return self.standing is not None and all(budget.price(self.row) <= 1 for budget in self.budgets)

    @property
    def spec_id(self) -> str:
        """The name of the row's model."""
        return self.row.spec_id

    @property
    def fields(self) -> dict[str, Any]:
        """All of it under stable names: what the search found, then the measured row."""
        own = {
            "strategy": self.strategy,
            "model": self.model,
            "phi": self.phi,
            "spec_id": self.spec_id,
            "budgets": [str(budget) for budget in self.budgets],
            "standing": self.standing,
            "stop": self.stop,
            "stop_reason": self.stop_reason,
            "iterations": self.iterations,
        }
        row = {_RENAMED.get(name, name): value for name, value in msgspec.structs.asdict(self.row).items()}
        return own | {name: value for name, value in row.items() if name not in own}


def standing_of(row: MeasuredRow, budgets: Sequence[Budget]) -> Standing | None:
    """The worst of the row's standings; None if it was not measured."""
    if row.status not in MEASURED_STATUSES:
        return None
    return max((budget.standing(row) for budget in budgets), key=_FROM_GOOD_TO_BAD.index)


def to_json(rows: Sequence[SolvedRow]) -> str:
    """One JSON array, a row a strategy."""
    return table.to_json([row.fields for row in rows])


def to_csv(rows: Sequence[SolvedRow]) -> str:
    """One line a strategy; nested values as JSON, missing ones empty."""
    return table.to_csv(list(rows[0].fields), (row.fields.values() for row in rows)) if rows else ""


def to_markdown(rows: Sequence[SolvedRow]) -> str:
    """A Markdown table of the same cells as the terminal's."""
    return table.to_markdown(_table(rows))


def to_terminal(rows: Sequence[SolvedRow]) -> rich.table.Table:
    """A rich table."""
    return table.to_terminal(_table(rows))


def _table(rows: Sequence[SolvedRow]) -> Table:
    header, *body = _cells(rows)
    return Table(header, body, (0, len(header) - 1))


def sentences(rows: Sequence[SolvedRow], log: RunLog) -> Iterator[str]:
    """What each strategy buys within the budgets, what is not told apart, and who comes to nothing."""
    comparer = RunComparer(log)
    for model in dict.fromkeys(row.model for row in rows):
        part = [row for row in rows if row.model == model]
        within = sorted((row for row in part if row.is_within), key=lambda row: -(row.row.macs or 0))
        if within:
            yield _bought(within)
            yield from _not_told_apart(within, comparer)
        yield from _doubtful(within)
        for row in part:
            if not row.is_within:
                yield _missed(row)


def _bought(rows: Sequence[SolvedRow]) -> str:
    """Each strategy's MACs, the most first."""
    best, *others = rows
    budgets = ", ".join(map(str, best.budgets))
    said = (
        f"Within {budgets}, {best.strategy} buys the most MACs (capacity proxy) of {best.model}: "
        f"{_macs(best)} at φ {_phi_text(best)}"
    )
    accuracy = (
        "" if best.row.accuracy is None else f", accuracy {METRICS['accuracy'].text(best.row.accuracy)}"
    )
    rest = ", ".join(f"{row.strategy} {_macs(row)} at φ {_phi_text(row)}" for row in others)
    return f"{said}{accuracy}{f'; then {rest}' if rest else ''}."


def _not_told_apart(rows: Sequence[SolvedRow], comparer: RunComparer) -> Iterator[str]:
    """Strategies whose cost per MAC may as well be that of the best."""
    best = rows[0]
    tied = []
    for other in rows[1:]:
        ratio = None if other.spec_id == best.spec_id else _per_mac(best, other, comparer)
        if ratio is None:
            continue
        low, high = ratio.interval or (None, None)
        if low is None or high is None or low <= 1 <= high:
            tied.append(f"{other.strategy} {bracketed(ratio.value, low, high)}")
    if tied:
        noun = _noun(best.budgets[0])
        yield (
            f"Not told apart by {noun} per MAC, {best.strategy}'s over theirs: {', '.join(tied)}; "
            f"more launches may decide (--preset default or rigorous)."
        )


def _per_mac(best: SolvedRow, other: SolvedRow, comparer: RunComparer) -> Estimate | None:
    """How many times what the other takes of the first budget per MAC the best takes."""
    if not (best.row.macs and other.row.macs):
        return None
    growth = best.row.macs / other.row.macs
    budget = best.budgets[0]
    if budget.metric in _TIMES:
        ratio = comparer.contrast(comparer.workloads[0], {best.spec_id: 1.0, other.spec_id: -1.0})
        if ratio is not None:
            return ratio.scaled(1 / growth)
    mine, others = _estimate(best.row, budget), _estimate(other.row, budget)
    if mine is None or others is None:
        return None
    ends = None
    if mine.interval is not None and others.interval is not None:
        ends = Interval(mine.interval.low / others.interval.high, mine.interval.high / others.interval.low)
    return Estimate(mine.value / others.value, ends).scaled(1 / growth)


def _estimate(row: MeasuredRow, budget: Budget) -> Estimate | None:
    """What the row takes of a budget, as something that is to be small; None if that has no quotient."""
    value, ends = budget.quantity.value(row), budget.quantity.interval(row)
    low, high = (end if end is not None and end > 0 else None for end in ends)
    if value is None or value <= 0:
        return None
    interval = None if low is None or high is None else Interval(min(low, value), max(high, value))
    estimate = Estimate(value, interval)
    return estimate if budget.sense == "<=" else estimate.inverse()


def _doubtful(rows: Sequence[SolvedRow]) -> Iterator[str]:
    """Answers whose intervals hold a bound."""
    undecided = [f"{row.strategy} at {_taken(row)}" for row in rows if row.standing == "undecided"]
    if undecided:
        yield f"Undecided, since the bound lies inside the interval: {'; '.join(undecided)}."


def _missed(row: SolvedRow) -> str:
    """A strategy that has no answer within, and what it comes to."""
    if row.standing is None:
        return f"{row.strategy} was not solved: {row.stop_reason}."
    nearest = f"{row.spec_id} is at {_taken(row)}"
    if row.stop == "out_of_reach":
        return f"Out of reach of {row.strategy}: {nearest}, and {row.stop_reason}."
    return f"{row.strategy} was not brought within: {nearest} ({row.stop_reason})."


def _cells(rows: Sequence[SolvedRow]) -> list[list[str]]:
    """Header and body as text; the first column is the strategy, the last why the search ended."""
    several = len({row.model for row in rows}) > 1
    accurate = any(row.row.accuracy is not None for row in rows)
    budgets = rows[0].budgets if rows else ()
    beside = all(budget.metric != "ratio_to_base" for budget in budgets)
    header = ["strategy", "φ", "model", *(f"{budget} [95 %]" for budget in budgets), "standing", "MACs"]
    header += ["params", *["÷ base [95 %]"] * beside, *["accuracy"] * accurate, "iterations", "ended"]
    body = []
    for row in rows:
        cells = [f"{row.model} {row.strategy}" if several else row.strategy, _phi_text(row), row.spec_id]
        cells += ["–" if b.quantity.value(row.row) is None else b.quantity.text(row.row) for b in budgets]
        cells += [row.standing or row.row.status, METRICS["macs"].text(row.row.macs)]
        cells += [METRICS["params"].text(row.row.params), *[ratio_text(row.row)] * beside]
        cells += [METRICS["accuracy"].text(row.row.accuracy)] * accurate
        body.append([*cells, str(row.iterations), row.stop if row.stop != "failed" else row.stop_reason])
    return [header, *body]


def _macs(row: SolvedRow) -> str:
    return "– MACs" if row.row.macs is None else format_count(row.row.macs)


def _phi_text(row: SolvedRow) -> str:
    return "–" if row.phi is None else format(row.phi, ".10g")


def _taken(row: SolvedRow) -> str:
    """What the answer takes of each budget that it does not meet for certain."""
    return " and ".join(b.quantity.text(row.row) for b in row.budgets if b.standing(row.row) != "meets")


def _noun(budget: Budget) -> str:
    names = dict.fromkeys(_TIMES, "time") | {"peak_memory_bytes": "memory", "energy_j": "energy"}
    return names.get(budget.metric, budget.metric)


def _csv_cell(value: object) -> object:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return msgspec.json.encode(value).decode()

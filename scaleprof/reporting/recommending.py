"""Which of a run's models to take within budgets, the runner-up, and what the next step costs.

Intervals decide: a model is recommended only where the whole of them is within the budgets. The page comes to
the same decisions in the same words (`templates/budgets.js`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import MEASURED_STATUSES
from scaleprof.reporting.budgets import QUANTITIES, Budget, Standing
from scaleprof.reporting.metrics import METRICS, Metric
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.workloads import FIELDS, varying, words
from scaleprof.units import plural

# More undecided models than these are only counted.
_NAMED_UNDECIDED = 4
_FROM_GOOD_TO_BAD: tuple[Standing, ...] = ("meets", "undecided", "misses")


class NextStep(msgspec.Struct, frozen=True):
    """The cheapest better model that misses a budget; `price` is by how many times, at the worst of them."""

    row: MeasuredRow
    price: float


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """Which model to take within budgets, for one workload.

    Attributes:
        budgets: what all must be met.
        quality: the field that models are ordered by: accuracy, or a capacity proxy.
        workload: what tells this workload from the others; empty if there is but one.
        row: the best model that meets every budget for certain; None if none does.
        runner_up: the second best of them.
        next_step: the cheapest better model that misses.
        nearest: where no model is recommended, the one that comes nearest.
        undecided: models, better than the runner-up (where there is one), whose interval holds a bound; best
            first. They may be what the budget allows.
        standings: of each row in order; None for one that is no candidate, having no value.
        refused: why nothing can be recommended, a quantity being unknown here; None if something could be.
        sentences: all this in words.
    """

    budgets: tuple[Budget, ...]
    quality: str = ""
    workload: str = ""
    row: MeasuredRow | None = None
    runner_up: MeasuredRow | None = None
    next_step: NextStep | None = None
    nearest: MeasuredRow | None = None
    undecided: tuple[MeasuredRow, ...] = ()
    standings: tuple[Standing | None, ...] = ()
    refused: str | None = None
    sentences: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The sentences, after the workload where there are several."""
        return " ".join([*([f"{self.workload}:"] if self.workload else []), *self.sentences])


def advise_each(
    rows: Sequence[MeasuredRow], budgets: Sequence[Budget], *, quality: Metric | None = None, run: str = ""
) -> list[Recommendation]:
    """A recommendation for each workload among the rows, named by the run and what varies; see `advise`."""
    axes = varying(rows)
    parts: dict[tuple[object, ...], list[MeasuredRow]] = {}
    for row in rows:
        parts.setdefault(tuple(getattr(row, name) for name in FIELDS), []).append(row)
    return [
        advise(
            part,
            budgets,
            quality=quality,
            workload=", ".join([*([run] if run else []), *words(part[0], axes)]),
        )
        for part in parts.values()
    ]


def advise(
    rows: Sequence[MeasuredRow],
    budgets: Sequence[Budget],
    *,
    quality: Metric | None = None,
    workload: str = "",
) -> Recommendation:
    """What `recommend` says of a workload; where that is an error, a recommendation that is `refused`."""
    try:
        found = recommend(rows, budgets, quality=quality)
    except UsageError as error:
        found = Recommendation(budgets=tuple(budgets), refused=str(error), sentences=(str(error),))
    return msgspec.structs.replace(found, workload=workload)


def require_any(found: Sequence[Recommendation]) -> None:
    """One workload may lack what another has; where all lack it, that is an error.

    Raises:
        UsageError: there is no recommendation that is not refused.
    """
    refused = [one.refused for one in found if one.refused is not None]
    if len(refused) == len(found):
        raise UsageError(refused[0] if refused else "a recommendation needs a model, and there is no row")


def recommend(
    rows: Sequence[MeasuredRow], budgets: Sequence[Budget], *, quality: Metric | None = None
) -> Recommendation:
    """Which of the rows of one workload to take within all budgets.

    Candidates are the measured rows that have a value of every budget's quantity and of the quality. The best
    of those that meet every budget over their whole intervals is recommended; of equals the cheapest.

    Args:
        rows: of one workload.
        budgets: what all must be met.
        quality: what to order by; accuracy if every candidate has one, else the capacity proxy MACs.

    Raises:
        UsageError: there is no budget, or a quantity that is asked for is known of no row.
    """
    if not budgets:
        raise UsageError("a recommendation needs a budget, such as latency_ms<=10")
    for budget in budgets:
        _require(rows, budget.metric, f"budget '{budget}'")
    quality = quality or _usual_quality(rows, budgets)
    _require(rows, quality.name, "a recommendation")
    needed = _needed(budgets, quality.name)
    standings = tuple(_standing(row, budgets) if _has(row, needed) else None for row in rows)
    ranked = _ranked(rows, standings, budgets, quality)
    meeting = [row for row, standing in ranked if standing == "meets"]
    best = meeting[0] if meeting else None
    better = [(row, s) for row, s in ranked if best is None or _of(quality, row) > _of(quality, best)]
    floor = -math.inf if len(meeting) < 2 else _of(quality, meeting[1])
    unsure = [row for row, standing in ranked if standing == "undecided" and _of(quality, row) > floor]
    missing = [NextStep(row, _price(row, budgets)) for row, standing in better if standing == "misses"]
    found = Recommendation(
        budgets=tuple(budgets),
        quality=quality.name,
        row=best,
        runner_up=meeting[1] if len(meeting) > 1 else None,
        next_step=min(missing, key=lambda step: step.price) if best and missing else None,
        nearest=_nearest(ranked, budgets) if best is None else None,
        undecided=tuple(unsure),
        standings=standings,
    )
    return msgspec.structs.replace(found, sentences=tuple(_sentences(found, rows)))


def why_unknown(rows: Sequence[MeasuredRow], name: str) -> str | None:
    """Why none of the measured rows has this quantity; None if one has it."""
    measured = [row for row in rows if row.status in MEASURED_STATUSES]
    if any(getattr(row, name) is not None for row in measured):
        return None
    if not measured:
        return f"{rows[0].status}: {rows[0].reason}" if rows else "there is no model"
    return measured[0].nulls.get(name, "it is not known of these networks")


def _require(rows: Sequence[MeasuredRow], name: str, what: str) -> None:
    reason = why_unknown(rows, name)
    if reason is not None:
        raise UsageError(f"{what}: no model here has {name} ({reason}): leave it out")


def _usual_quality(rows: Sequence[MeasuredRow], budgets: Sequence[Budget]) -> Metric:
    able = [row for row in rows if _has(row, [budget.metric for budget in budgets])]
    is_accurate = bool(able) and all(row.accuracy is not None for row in able)
    return METRICS["accuracy" if is_accurate else "macs"]


def _needed(budgets: Sequence[Budget], quality: str) -> list[str]:
    """The fields that a candidate has."""
    return list(dict.fromkeys([*(budget.metric for budget in budgets), quality]))


def _has(row: MeasuredRow, names: Sequence[str]) -> bool:
    return row.status in MEASURED_STATUSES and all(getattr(row, name) is not None for name in names)


def _standing(row: MeasuredRow, budgets: Sequence[Budget]) -> Standing:
    """The worst of its standings."""
    return max((budget.standing(row) for budget in budgets), key=_FROM_GOOD_TO_BAD.index)


def _price(row: MeasuredRow, budgets: Sequence[Budget]) -> float:
    return max(budget.price(row) for budget in budgets)


def _of(quality: Metric, row: MeasuredRow) -> float:
    return quality.value(row) or 0.0


def _ranked(
    rows: Sequence[MeasuredRow],
    standings: Sequence[Standing | None],
    budgets: Sequence[Budget],
    quality: Metric,
) -> list[tuple[MeasuredRow, Standing]]:
    """The candidates from the best down; of equals the cheapest first."""
    candidates = [(row, s) for row, s in zip(rows, standings, strict=True) if s is not None]
    return sorted(candidates, key=lambda pair: (-_of(quality, pair[0]), _price(pair[0], budgets)))


def _nearest(ranked: Sequence[tuple[MeasuredRow, Standing]], budgets: Sequence[Budget]) -> MeasuredRow | None:
    """An undecided model before one that misses, and of those the cheapest."""
    near = sorted(ranked, key=lambda pair: (_FROM_GOOD_TO_BAD.index(pair[1]), _price(pair[0], budgets)))
    return near[0][0] if near else None


def _sentences(found: Recommendation, rows: Sequence[MeasuredRow]) -> Iterator[str]:
    asked = ", ".join(str(budget) for budget in found.budgets)
    needed = _needed(found.budgets, found.quality)
    undecided = _undecided_words(found, rows)
    if found.row is not None:
        label = _in_a_sentence(METRICS[found.quality].quality_label)
        yield f"Within {asked} for certain, the best by {label} is {_facts(found.row, found, rows)}."
        yield (
            "No other model meets it for certain."
            if found.runner_up is None
            else f"Runner-up: {_facts(found.runner_up, found, rows)}."
        )
        yield from undecided
        yield _next_step_words(found, rows)
        if len({row.model for row in rows}) > 1 and found.quality != "accuracy":
            label = METRICS[found.quality].label
            yield f"{label} stand in for quality among one model's rows, hardly between models."
    elif undecided:
        yield f"No model meets {asked} for certain."
        yield from undecided
    elif found.nearest is not None:
        nearest = f"{_name(found.nearest, rows)} comes nearest at {_beyond(found.nearest, found.budgets)}"
        yield f"No model meets {asked}; {nearest}."
    else:
        yield f"No model has a value of each of {', '.join(needed)}."
    yield from _left_out_words(rows, needed)


def _next_step_words(found: Recommendation, rows: Sequence[MeasuredRow]) -> str:
    if found.next_step is None:
        quality = METRICS[found.quality]
        best = _of(quality, found.row) if found.row else math.inf
        better = [row for row in found.undecided if _of(quality, row) > best]
        return "Every better model is undecided." if better else "No better model was measured."
    row = found.next_step.row
    missed = [budget.metric for budget in found.budgets if budget.standing(row) != "meets"]
    told = [] if found.quality in missed else [QUANTITIES[found.quality].text(row)]
    return f"Next step: {', '.join([_name(row, rows), *told])}, at {_beyond(row, found.budgets)}."


def _undecided_words(found: Recommendation, rows: Sequence[MeasuredRow]) -> list[str]:
    if not found.undecided:
        return []
    parts = [
        f"{_name(row, rows)} at {_beyond(row, found.budgets)}" for row in found.undecided[:_NAMED_UNDECIDED]
    ]
    more = len(found.undecided) - len(parts)
    parts += [f"{more} more"] if more else []
    return [f"Undecided, since the bound lies inside the interval: {'; '.join(parts)}."]


def _left_out_words(rows: Sequence[MeasuredRow], needed: Sequence[str]) -> list[str]:
    """Rows that are no candidates, counted."""
    lost = sum(row.status not in MEASURED_STATUSES for row in rows)
    lacking = [row for row in rows if row.status in MEASURED_STATUSES and not _has(row, needed)]
    parts = [plural(lost, "model that was not measured", "models that were not measured")] if lost else []
    if lacking:
        absent = [name for name in needed if any(getattr(row, name) is None for row in lacking)]
        parts.append(f"{plural(len(lacking), 'model', 'models')} without {' or '.join(absent)}")
    return [f"Left out: {', '.join(parts)}."] if parts else []


def _facts(row: MeasuredRow, found: Recommendation, rows: Sequence[MeasuredRow]) -> str:
    """A row's name, its quality, and what it takes of each budget."""
    names = dict.fromkeys([found.quality, *(budget.metric for budget in found.budgets)])
    return ", ".join([_name(row, rows), *(QUANTITIES[name].text(row) for name in names)])


def _beyond(row: MeasuredRow, budgets: Sequence[Budget]) -> str:
    """What a row takes of the budgets that it does not meet, and how many times the budget that is."""
    parts = []
    for budget in budgets:
        standing = budget.standing(row)
        if standing != "meets":
            times = f", {_times(budget.share(row))} the budget" if standing == "misses" else ""
            parts.append(budget.quantity.text(row) + times)
    return ", and ".join(parts)


def _times(share: float) -> str:
    """A factor with as many digits as tell it from one."""
    texts = [f"{share:.{digits}f}" for digits in range(2, 7)]
    return next((text for text in texts if float(text) != 1), texts[-1]) + "×"


def _name(row: MeasuredRow, rows: Sequence[MeasuredRow]) -> str:
    """A row in few words: without its model, if that is the only one."""
    several = len({other.model for other in rows}) > 1
    return row.spec_id if several else row.spec_id.removeprefix(f"{row.model}/")


def _in_a_sentence(label: str) -> str:
    """A label without its capital, unless it is an acronym."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]

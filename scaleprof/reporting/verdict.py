"""The report's first sentences: which strategy is fastest at equal cost, and what that does not say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby

from scaleprof.records import MEASURED_STATUSES
from scaleprof.reporting.lines import strategy_lines
from scaleprof.reporting.readings import Comparison, Contrast, common_macs, compare_at, in_ms
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.stats.contention import is_contended
from scaleprof.stats.noise import noise_verdict
from scaleprof.units import format_count, three_digits

# At how many sizes, evenly spaced in the logarithm, strategies are compared for the ranges of latency.
_PROBES = 6
# Of more models a first screen would hold nothing but their sentences.
_TOLD_AT_LENGTH = 3


def verdict(rows: Sequence[MeasuredRow], contrast: Contrast, spread: float | None = None) -> tuple[str, ...]:
    """Which strategy is fastest at the same MACs, inside the measured range, and what that leaves open.

    `spread` is how much a fixed piece of work varied meanwhile (`scaleprof.stats.noise`).
    """
    points = [row for row in rows if row.status in MEASURED_STATUSES]
    models = {
        model: [row for row in points if row.model == model]
        for model in dict.fromkeys(row.model for row in points)
    }
    if len(models) > _TOLD_AT_LENGTH:
        sentences = list(_sentence_of_many(models, contrast))
    else:
        sentences = [one for line in models.values() for one in _equal_macs_sentences(line, contrast)]
    missing = _missing_sentence(rows)
    if not sentences:
        return (*missing, "Strategies are compared where two or more were measured, at --phi 1 and beyond.")
    return (*sentences, *missing, *_noise_sentence(points, spread), _verdict_doubts(points))


def _noise_sentence(points: Sequence[MeasuredRow], spread: float | None) -> Iterator[str]:
    """On what to rely where the machine was not quiet, and intervals are wide for it."""
    missed = any(row.stop == "budget_exhausted" for row in points)
    if missed and spread is not None and (found := noise_verdict(spread)) != "quiet":
        yield f"The machine was {found}: milliseconds are rough, ratios taken in the same rounds hold better."


def _missing_sentence(rows: Sequence[MeasuredRow]) -> tuple[str, ...]:
    """Strategies of which nothing was measured: a verdict must not hide them."""
    lost = [row for row in rows if row.status not in MEASURED_STATUSES]
    named = {(row.model, row.strategy): row.status for row in lost}
    for row in rows:
        if row.status in MEASURED_STATUSES:
            named.pop((row.model, row.strategy), None)
    if not named:
        return ()
    several = len({row.model for row in rows}) > 1
    words = [
        f"{model + ' ' if several else ''}{strategy} ({status})"
        for (model, strategy), status in named.items()
    ]
    return (f"Not among them, since nothing of it was measured: {', '.join(words)}.",)


def _verdict_doubts(points: Sequence[MeasuredRow]) -> str:
    """What the comparison does not say."""
    doubts = (
        "These numbers lie on each strategy's line between its measured models; the chart's front is of "
        "measured models alone."
    )
    if any(row.accuracy is None for row in points):
        doubts += " Accuracy is not part of this comparison: equal MACs stand in for equal quality"
        several = len({row.model for row in points}) > 1
        doubts += ", within one model's rows and not between models." if several else "."
    if any(row.device == "cpu" and is_contended(row.cpu_share) for row in points):
        doubts += " The threads did not have their CPUs to themselves: intervals of ratios allow for it."
    if max(row.launches for row in points) == 1:
        doubts += " One launch only: another process may differ by more than these intervals say."
    return doubts


def _equal_macs_sentences(rows: Sequence[MeasuredRow], contrast: Contrast) -> Iterator[str]:
    """Compares one model's strategies at the largest MACs that all of them reached, and on the way there.

    Each strategy's curve is straight between its models on log–log axes, so that the ratio of two curves is a
    contrast of at most four models. It is taken in the rounds that they share, in which whatever slows the
    machine slows them all, and told beside the milliseconds.
    """
    lines = _compared_lines(rows)
    compared = _at_largest(lines, contrast)
    if compared is None:
        return
    yield _sentence(compared, rows[0].model)
    yield from _ranges_sentence(rows[0], lines, compared.macs, contrast)


def _sentence_of_many(models: Mapping[str, Sequence[MeasuredRow]], contrast: Contrast) -> Iterator[str]:
    """The same of many models, in few words each."""
    found = {model: _at_largest(_compared_lines(rows), contrast) for model, rows in models.items()}
    told = [
        f"{model} ({format_count(one.macs)}): {_who(one)}" for model, one in found.items() if one is not None
    ]
    if told:
        yield f"Fastest at the largest MACs that all strategies of a model reached: {'; '.join(told)}."


def _who(compared: Comparison) -> str:
    """The fastest strategy, or which may be."""
    if len(compared.tied) == len(compared.others):
        return "not told apart"
    names = " or ".join([compared.best.name, *compared.tied])
    return f"{names}, undecided which" if compared.tied else names


def _compared_lines(rows: Sequence[MeasuredRow]) -> dict[str, Sequence[MeasuredRow]]:
    """Strategies with two models or more, by name; none where there is nothing to compare one with."""
    lines: dict[str, Sequence[MeasuredRow]] = {
        name: line for name, line in strategy_lines(rows).items() if len(line) > 1
    }
    return lines if len(lines) > 1 else {}


def _at_largest(lines: Mapping[str, Sequence[MeasuredRow]], contrast: Contrast) -> Comparison | None:
    """The strategies at the largest MACs that all of them reached."""
    return compare_at(lines, common_macs(list(lines.values())), contrast) if lines else None


def _sentence(compared: Comparison, model: str) -> str:
    best, tied = compared.best, compared.tied
    where = f"At {format_count(compared.macs)} MACs"
    listed = ", ".join(f"{reading.name} {in_ms(reading)}" for reading in compared.by_latency)
    if len(tied) == len(compared.others):
        return (
            f"{where}, the strategies cannot be told apart for {model} ({listed}): "
            f"more launches may decide (--preset default or rigorous)."
        )
    if tied:
        names = " or ".join([best.name, *tied])
        return f"{where}, {names} is the fastest way to scale {model}, undecided which ({listed})."
    second, ratio = min(compared.others, key=lambda pair: pair[1].value)
    low, high = ratio.interval or (1.0, math.inf)
    return (
        f"{where}, {best.name} is the fastest way to scale {model}: {listed}. "
        f"{second.name.capitalize()} takes {low:.2f}–{high:.2f} times as long as {best.name} "
        f"(95 %, in the same rounds)."
    )


def _ranges_sentence(
    row: MeasuredRow, lines: Mapping[str, Sequence[MeasuredRow]], macs: float, contrast: Contrast
) -> Iterator[str]:
    """Which strategy is fastest in which range of latency, from the base to the largest common MACs.

    Neighbours with the same answer are one range, told by the fastest one's latencies at its ends.
    """
    least = max(line[0].macs or 0 for line in lines.values())
    if not 0 < least < macs:
        return
    steps = (least * (macs / least) ** (k / _PROBES) for k in range(1, _PROBES)), (macs,)
    found = [one for at in chain(*steps) if (one := compare_at(lines, at, contrast))]
    ranges = [list(part) for _, part in groupby(found, key=lambda one: {one.best.name, *one.tied})]
    told = "; ".join(map(_range_words, ranges))
    yield f"Fastest at equal MACs on {row.device} at batch {row.batch_size}: {told}."


def _range_words(part: Sequence[Comparison]) -> str:
    first, last = part[0], part[-1]
    names = [first.best.name, *first.tied]
    who = names[0] if len(names) == 1 else f"{' or '.join(names)}, undecided which,"
    low, high = (three_digits(one.best.latency_ms) for one in (first, last))
    least, most = (format_count(one.macs) for one in (first, last))
    if low == high:
        return f"{who} around {low} ms ({most} MACs)"
    return f"{who} from {low} to {high} ms ({least} to {most} MACs)"

"""How the times of single passes are spread: quantiles of all samples, and the median of each launch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from scaleprof.records import Record
from scaleprof.units import MS_PER_S, plural, three_digits

# Shares of passes that took at most so long; a page draws the middle half, 5–95 % and 1–99 %.
PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class Distribution(msgspec.Struct, frozen=True):
    """The times of all passes of one model, in milliseconds: a quantile for each of `PROBABILITIES`.

    `launch_medians_ms` shows how far fresh processes differ. `samples_ms` are the raw times by launch, where
    they were asked for.
    """

    quantiles_ms: tuple[float, ...]
    launch_medians_ms: tuple[float, ...]
    count: int
    samples_ms: tuple[tuple[float, ...], ...] | None = None


def distribution(record: Record, *, embed_samples: bool = False) -> Distribution | None:
    """The spread of a record's passes; None where nothing was measured.

    Quantiles are samples themselves (nearest rank), so that no number stands there that was not measured.
    """
    if not record.measured:
        return None
    launches = [
        [sample_s * MS_PER_S for visit in launch.visits for sample_s in visit.samples_s]
        for launch in record.launches
        if launch.visits
    ]
    pooled = sorted(sample for launch in launches for sample in launch)
    return Distribution(
        quantiles_ms=tuple(_at(pooled, share) for share in PROBABILITIES),
        launch_medians_ms=tuple(median(launch) for launch in launches),
        count=len(pooled),
        samples_ms=tuple(map(tuple, launches)) if embed_samples else None,
    )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def distribution_words(name: str, spread: Distribution) -> str:
    """The spread in a sentence: what stands beside its drawing."""
    _, low, _, middle, _, high, _ = map(three_digits, spread.quantiles_ms)
    medians = sorted(spread.launch_medians_ms)
    launches = (
        f"; launches' medians {three_digits(medians[0])}–{three_digits(medians[-1])} ms"
        if len(medians) > 1
        else ""
    )
    return (
        f"{name}: half of {plural(spread.count, 'pass', 'passes')} within {middle} ms, "
        f"nine in ten between {low} and {high} ms{launches}."
    )

"""What a search of batches found: for each model the best and the largest, and the way there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.records import BatchSearch, Record, RunLog, Workload
from scaleprof.reporting.tables import estimate_text
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.batches import best_batch
from scaleprof.stats.intervals import Estimate
from scaleprof.stats.sustained import throughput


class BatchLine(msgspec.Struct, frozen=True):
    """One model's search: `trials` are (batch, samples a second) of short runs, by ascending batch.

    `at_best` and `at_largest` are the throughputs as measured under the run's plan; None where it was not.
    """

    name: str
    best: int
    largest: int
    limited_by: str
    at_best: Estimate | None
    at_largest: Estimate | None
    trials: tuple[tuple[int, float], ...]

    @property
    def sentence(self) -> str:
        """The line in words, for a terminal."""
        rate = "" if self.at_best is None else f", {estimate_text(self.at_best)} samples/s"
        return (
            f"{self.name}: best throughput at batch {self.best}{rate}; "
            f"largest that fits {self.largest} ({self.limited_by})"
        )


def batch_lines(log: RunLog) -> tuple[BatchLine, ...]:
    """A line for each network and workload of the run whose batches were searched."""
    searched: dict[tuple[str, Workload], list[Record]] = {}
    for record in log.records:
        if record.batch_search is not None:
            workload = msgspec.structs.replace(record.workload, batch_size=1)
            searched.setdefault((record.spec.spec_id, workload), []).append(record)
    axes = varying(workload for _, workload in searched)
    return tuple(
        _line(" ".join([name, *words(workload, axes)]), records, search)
        for (name, workload), records in searched.items()
        if (search := records[0].batch_search) is not None
    )


def _line(name: str, records: Sequence[Record], search: BatchSearch) -> BatchLine:
    rates = {record.workload.batch_size: _rate(record) for record in records}
    best = best_batch(search)
    ran = [
        (one.batch_size, one.throughput_per_s) for one in search.trials if one.throughput_per_s is not None
    ]
    limited_by = "by trial" if search.limit is None else "by the forecast of memory"
    return BatchLine(
        name, best, search.largest, limited_by, rates.get(best), rates.get(search.largest), tuple(sorted(ran))
    )


def _rate(record: Record) -> Estimate | None:
    return throughput(record.launches, record.workload.batch_size) if record.measured else None

"""A run as people use it from Python: rows, a data frame, a front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import RunLog
from scaleprof.reporting.accuracy import join_logs, read_accuracies
from scaleprof.reporting.budgets import parse_budgets
from scaleprof.reporting.fronts import front_of
from scaleprof.reporting.metrics import COSTS, QUALITIES, find_metric
from scaleprof.reporting.recommending import Recommendation, advise_each, require_any
from scaleprof.reporting.rows import MeasuredRow, measured_rows
from scaleprof.stats.noise import noise_spread, noise_verdict

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A measured run: what `sweep` and `load` give. Its statistics are derived from the raw samples.

    Attributes:
        log: the header and the records, raw samples included.
        doubts: what a file of accuracies has that joined no model, in words, and how many models lack one.
    """

    def __init__(self, log: RunLog, doubts: Sequence[str] = ()) -> None:
        self.log = log
        self.doubts = tuple(doubts)

    @property
    def noise(self) -> float | None:
        """How the matrix product's time spread over the run (p90/p10); None without any."""
        return noise_spread([launch for record in self.log.records for launch in record.launches])

    @property
    def noise_verdict(self) -> str | None:
        """`quiet`, `noisy` or `very noisy`; None where nothing was timed."""
        return None if self.noise is None else noise_verdict(self.noise)

    @property
    def rows(self) -> list[MeasuredRow]:
        """One row per spec × workload."""
        return measured_rows(self.log)

    def with_accuracy(self, path: str | Path) -> Run:
        """The run with the accuracies of a CSV file, before any that its models have already.

        Raises:
            UsageError: the file is no table of accuracies.
        """
        (log,), doubts = join_logs(read_accuracies(path), [self.log])
        return Run(log, doubts)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas data frame, a column a field."""
        return rows_to_frame(self.rows)

    def front(self, x: str = "latency_ms", y: str = "macs") -> pd.DataFrame:
        """The rows that no other beats: `x` small, `y` large, ties kept, by ascending `x`.

        Raises:
            UsageError: `x` is no cost, or `y` neither a quality nor a capacity proxy.
        """
        cost = find_metric(x, option="x", among=COSTS)
        quality = find_metric(y, option="y", among=QUALITIES)
        return rows_to_frame(front_of(self.rows, cost, quality))

    def recommend(self, *budgets: str, quality: str | None = None) -> Recommendation:
        """The model to take within all budgets, its runner-up, and what the next step costs.

        Args:
            budgets: such as `latency_ms<=10`, `peak_memory_bytes<=2GiB` or `throughput_per_s>=100`.
            quality: what to order models by; accuracy if every candidate has one, else MACs.

        Raises:
            UsageError: a text that is no budget, a quantity that no model has, or a run of several workloads.
        """
        found = self.recommendations(*budgets, quality=quality)
        if len(found) > 1:
            names = "; ".join(one.workload for one in found)
            raise UsageError(f"the run has several workloads ({names}): recommendations() gives one for each")
        return found[0]

    def recommendations(self, *budgets: str, quality: str | None = None) -> list[Recommendation]:
        """As `recommend`, one for each workload of the run, with what tells it from the others.

        Raises:
            UsageError: a text that is no budget, or a quantity that no model has under any workload.
        """
        metric = None if quality is None else find_metric(quality, option="quality", among=QUALITIES)
        found = advise_each(self.rows, parse_budgets(budgets), quality=metric)
        require_any(found)
        return found

    def __len__(self) -> int:
        return len(self.log.records)

    def __repr__(self) -> str:
        header = self.log.header
        return f"<scaleprof.Run of {len(self)} models, {header.plan.preset} preset, {header.started_at}>"


def rows_to_frame(rows: list[MeasuredRow]) -> pd.DataFrame:
    """Rows as a data frame; columns are there even without rows."""
    import pandas as pd

    return pd.DataFrame(
        [msgspec.structs.asdict(row) for row in rows], columns=list(MeasuredRow.__struct_fields__)
    )

"""What the rows of a run are compared by: rounds that they share, and the machine at its best."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scaleprof.records import BASE_STRATEGY, Launch, Record, RunHeader, RunLog, Workload
from scaleprof.stats.contention import allowing_for
from scaleprof.stats.contrasts import contrast, ratio
from scaleprof.stats.drift import best_decile_s
from scaleprof.stats.intervals import Estimate
from scaleprof.stats.latency import LatencySummary, cpu_share
from scaleprof.stats.noise import noise_spread
from scaleprof.stats.roofline import Ceilings, ceilings_of


class RunComparer:
    """The records of a run, ready to be set against each other.

    Attributes:
        header: of the run.
        workloads: of the run, in order.
        noise: spread (p90/p10) of the matrix product over the whole run; None without any timing.
    """

    def __init__(self, log: RunLog) -> None:
        self.header: RunHeader = log.header
        self.workloads = tuple(dict.fromkeys(record.workload for record in log.records))
        self._bases, self._anchors = _bases(log), _anchors(log)
        self._records = {(record.workload, record.spec.spec_id): record for record in log.records}
        self.noise = noise_spread([launch for record in log.records for launch in record.launches])
        self._best_s = {
            key: best_decile_s(
                launch
                for record in log.records
                if _machine(record.workload) == key
                for launch in record.launches
            )
            for key in {_machine(record.workload) for record in log.records}
        }
        self._ceilings = {
            key: ceilings_of(
                launch
                for record in log.records
                if _arithmetic(record.workload) == key
                for launch in record.launches
            )
            for key in {_arithmetic(record.workload) for record in log.records}
        }

    def best_reference_s(self, workload: Workload) -> float | None:
        """The reference network's time when the machine was at its best (its 10th percentile), in seconds."""
        return self._best_s.get(_machine(workload))

    def ceilings(self, workload: Workload) -> Ceilings | None:
        """The most that the run's launches saw the machine do in the workload's dtype, on its threads."""
        return self._ceilings.get(_arithmetic(workload))

    def relative(self, record: Record, summary: LatencySummary) -> Estimate:
        """How many times as long as the reference network around its visits it takes."""
        return allowing_for(Estimate(summary.relative, summary.relative_interval), [_cpu_share(record)])

    def to_base(self, record: Record) -> Estimate | None:
        """How many times as long as its model's base it takes, in the rounds that both are in."""
        base = self._base(record)
        return None if base is None else self._ratio(record, base)

    def to_eager(self, record: Record) -> Estimate | None:
        """How many times as long as the same model in the eager runtime it takes, in shared rounds."""
        return self.to_workload(record, msgspec.structs.replace(record.workload, runtime="eager"))

    def to_workload(self, record: Record, workload: Workload) -> Estimate | None:
        """How many times as long as the same model under another workload it takes, in shared rounds."""
        other = self._records.get((workload, record.spec.spec_id))
        return None if other is None or other is record else self._ratio(record, other)

    def contrast(self, workload: Workload, weights: Mapping[str, float]) -> Estimate | None:
        """`exp(Σ wᵢ·log latencyᵢ)` of models by name, in the rounds that all are in; None without any."""
        parties = [
            (weight, self._records[workload, spec_id]) for spec_id, weight in weights.items() if weight
        ]
        estimate = contrast([(weight, record.launches) for weight, record in parties]) if parties else None
        return estimate and allowing_for(estimate, [_cpu_share(record) for _, record in parties])

    def _ratio(self, record: Record, other: Record) -> Estimate | None:
        """The ratio of two latencies in the rounds that both are in; None without any."""
        if not (record.measured and other.measured):
            return None
        estimate = ratio(record.launches, other.launches, anchor=self._anchor(record.workload))
        return estimate and allowing_for(estimate, [_cpu_share(record), _cpu_share(other)])

    def _base(self, record: Record) -> Record | None:
        return self._bases.get((record.workload, record.spec.model))

    def _anchor(self, workload: Workload) -> tuple[Launch, ...]:
        """The launches of the model that was measured in every group; none, if one group held all."""
        return self._anchors.get(_machine(workload), ())


def _bases(log: RunLog) -> dict[tuple[Workload, str], Record]:
    """The base of each model under each workload; of several the first."""
    bases = [record for record in log.records if record.spec.strategy == BASE_STRATEGY]
    return {(record.workload, record.spec.model): record for record in reversed(bases)}


def _anchors(log: RunLog) -> dict[tuple[str, int], tuple[Launch, ...]]:
    """By machine, the launches of the first model that was measured in several groups."""
    shared = [record for record in log.records if len({launch.group for launch in record.launches}) > 1]
    return {_machine(record.workload): record.launches for record in reversed(shared)}


def _cpu_share(record: Record) -> float | None:
    """The share of its CPUs' work that was its own; None where the CPU does not compute."""
    return None if record.workload.on_cuda else cpu_share(record.launches)


def _machine(workload: Workload) -> tuple[str, int]:
    """What the reference network's time depends on."""
    return (workload.device, workload.threads)


def _arithmetic(workload: Workload) -> tuple[str, int, str]:
    """What the machine's ceilings depend on."""
    return (*_machine(workload), workload.dtype)

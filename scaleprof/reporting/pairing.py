"""What belongs together in several runs: workloads by their fields, models by what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from scaleprof.records import Record, Workload
from scaleprof.reporting.workloads import FIELDS

ALL_FIELDS = ("device", *FIELDS)

Lineup = tuple[Record | None, ...]


def pair_workloads(first: Sequence[Workload], other: Sequence[Workload]) -> dict[Workload, Workload]:
    """For workloads of the first run those of the other that they are compared with.

    They are equal in every field, but for fields in which each run has one value throughout: there they may
    differ (the device, or an eager run beside a compiled one), and it is for the reader to be told. So two
    runs of one workload each are always paired.

    >>> cpu, gpu = Workload("cpu"), Workload("cuda")
    >>> pair_workloads([cpu], [gpu]) == {cpu: gpu}
    True
    >>> pair_workloads([cpu, Workload("cpu", batch_size=8)], [gpu]) == {cpu: gpu}
    True
    """
    compared = [name for name in ALL_FIELDS if max(_values(first, name), _values(other, name)) > 1]
    by_fields = {_fields(workload, compared): workload for workload in other}
    return {
        workload: by_fields[fields]
        for workload in first
        if (fields := _fields(workload, compared)) in by_fields
    }


def line_up(runs: Sequence[Sequence[Record]]) -> list[Lineup]:
    """A line for each network, with its record in each run, None where the run has none.

    Records of one workload a run. Lines are in the order of the first run, then of the others.
    """
    lines: list[list[Record | None]] = []
    by_identity: defaultdict[tuple[object, ...], list[list[Record | None]]] = defaultdict(list)
    for place, records in enumerate(runs):
        for record in records:
            known = by_identity[record.spec.identity]
            line = next((line for line in known if _belongs(record, place, line)), None)
            if line is None:
                line = [None] * len(runs)
                known.append(line)
                lines.append(line)
            line[place] = record
    return [tuple(line) for line in lines]


def is_same_network(a: Record, b: Record) -> bool:
    """Whether two records are of one network: its integers are the same, and so are its MACs.

    MACs tell where a family was built otherwise from the same integers. Those of a training step are not to
    be held against those of a forward pass.
    """
    if a.spec.identity != b.spec.identity:
        return False
    comparable = a.cost is not None and b.cost is not None and a.workload.mode == b.workload.mode
    return not comparable or (a.cost and a.cost.macs) == (b.cost and b.cost.macs)


def _belongs(record: Record, place: int, line: Sequence[Record | None]) -> bool:
    return line[place] is None and all(other is None or is_same_network(record, other) for other in line)


def _fields(workload: Workload, names: Sequence[str]) -> tuple[object, ...]:
    return tuple(getattr(workload, name) for name in names)


def _values(workloads: Sequence[Workload], name: str) -> int:
    """How many values a field has."""
    return len({getattr(workload, name) for workload in workloads})

"""From records to the numbers of a row, under the row's own names; missing ones are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, TypeVar

from scaleprof.records import Record, StepParts, Visit, Workload
from scaleprof.reporting.comparing import RunComparer
from scaleprof.stats.batches import best_batch
from scaleprof.stats.intervals import Estimate, Interval
from scaleprof.stats.latency import LatencySummary
from scaleprof.stats.parts import Reading, launch_bound_ratio, over_visits
from scaleprof.stats.roofline import moved_bytes, roofline_point
from scaleprof.stats.sustained import energy_per_pass, throughput
from scaleprof.units import MS_PER_S

_Number = TypeVar("_Number", int, float)


def number_fields(record: Record, summary: LatencySummary, comparer: RunComparer) -> dict[str, Any]:
    """All numbers that there are of a measured record."""
    return (
        _latency_fields(summary)
        | _part_fields(record)
        | _runtime_fields(record, comparer)
        | _gpu_fields(record)
        | _ratio_fields(record, summary, comparer)
        | _sustained_fields(record)
        | _roofline_fields(record, summary, comparer)
        | _memory_fields(record)
        | _disturbance_fields(record, summary)
        | _batch_fields(record)
    )


def _latency_fields(summary: LatencySummary) -> dict[str, Any]:
    values_s: dict[str, float | None] = {
        "latency_ms": summary.median_s,
        "cold_ms": summary.cold_s,
    }
    for name, tail in (("p90", summary.p90), ("p95", summary.p95), ("p99", summary.p99)):
        values_s[f"latency_{name}_ms"] = tail.value_s if tail else None
        values_s[f"latency_{name}_upper_ms"] = tail.upper_s if tail else None
    in_ms = {name: None if value is None else round(value * MS_PER_S, 6) for name, value in values_s.items()}
    return in_ms | _ends("latency_ci_{}_ms", summary.interval_s, MS_PER_S)


def _of_step(read: Callable[[StepParts], Sequence[float]]) -> Reading:
    """Reads a part of training steps; of a visit without such, nothing."""

    def of_visit(visit: Visit) -> Sequence[float] | None:
        return None if visit.parts is None else read(visit.parts)

    return of_visit


_PARTS: dict[str, Reading] = {
    "gpu": lambda visit: visit.gpu_samples_s,
    "graph": lambda visit: visit.graph_samples_s,
    "forward": _of_step(lambda parts: parts.forward_s),
    "backward": _of_step(lambda parts: parts.backward_s),
    "optimizer": _of_step(lambda parts: parts.optimizer_s),
}


def _part_fields(record: Record) -> dict[str, Any]:
    """What visits timed beside the whole pass: on the device, by replay, and a step's parts."""
    fields: dict[str, Any] = {}
    for name, read in _PARTS.items():
        timed = over_visits(record.launches, read)
        if timed is not None:
            fields[f"{name}_ms"] = round(timed.value * MS_PER_S, 6)
            fields |= _ends(f"{name}_ci_{{}}_ms", timed.interval, MS_PER_S)
    bound = launch_bound_ratio(record.launches)
    if bound is not None:
        fields |= {"launch_bound_ratio": round(bound.value, 6), **_ends("launch_bound_ci_{}", bound.interval)}
    return fields


def _runtime_fields(record: Record, comparer: RunComparer) -> dict[str, Any]:
    """What the runtime made of the network, and its latency against eager's in the same rounds."""
    made = [launch.compiled for launch in record.launches if launch.compiled is not None]
    fields: dict[str, Any] = {}
    if made:
        fields["compile_s"] = max(one.seconds for one in made)
        fields["runtime_version"] = made[0].version
        fields["output_error"] = max(one.output_error for one in made)
        fields["output_error_allowed"] = made[0].allowed_error
    to_eager = comparer.to_eager(record)
    if to_eager is not None:
        fields |= {
            "ratio_to_eager": round(to_eager.value, 6),
            **_ends("eager_ratio_ci_{}", to_eager.interval),
        }
    return fields


def _gpu_fields(record: Record) -> dict[str, Any]:
    """The GPU's state over visits, and its memory beside what tensors held: over launches the most."""
    states = [visit.gpu for launch in record.launches for visit in launch.visits if visit.gpu is not None]
    memory = [launch.device_memory for launch in record.launches if launch.device_memory is not None]
    read: dict[str, Sequence[float | None]] = {
        "gpu_clock_mhz": [state.clock_mhz for state in states],
        "gpu_temperature_c": [state.temperature_c for state in states],
        "gpu_power_w": [state.power_w for state in states],
    }
    held: dict[str, Sequence[int | None]] = {
        "reserved_memory_bytes": [one.reserved_bytes for one in memory],
        "device_used_bytes": [one.used_bytes for one in memory],
        "context_memory_bytes": [one.context_bytes for one in memory],
    }
    medians = {name: median(told) for name, values in read.items() if (told := _told(values))}
    return medians | {name: max(told) for name, values in held.items() if (told := _told(values))}


def _told(values: Sequence[_Number | None]) -> list[_Number]:
    return [value for value in values if value is not None]


def _batch_fields(record: Record) -> dict[str, Any]:
    search = record.batch_search
    if search is None:
        return {}
    return {"largest_batch_size": search.largest, "best_batch_size": best_batch(search)}


def _ratio_fields(record: Record, summary: LatencySummary, comparer: RunComparer) -> dict[str, Any]:
    """Against the reference network, at the machine's best, and against the base in the same rounds."""
    relative = comparer.relative(record, summary)
    fields: dict[str, Any] = {"relative_latency": round(relative.value, 6)}
    fields |= _ends("relative_ci_{}", relative.interval)
    best_s = comparer.best_reference_s(record.workload)
    if best_s is not None:
        corrected = relative.scaled(best_s)
        fields["drift_corrected_ms"] = round(corrected.value * MS_PER_S, 6)
        fields |= _ends("drift_corrected_ci_{}_ms", corrected.interval, MS_PER_S)
    to_base = comparer.to_base(record)
    if to_base is not None:
        fields |= {"ratio_to_base": round(to_base.value, 6), **_ends("ratio_ci_{}", to_base.interval)}
    return fields


def _sustained_fields(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    rate = throughput(record.launches, record.workload.batch_size)
    if rate is not None:
        fields |= {"throughput_per_s": rate.value, **_ends("throughput_ci_{}_per_s", rate.interval)}
    energy = energy_per_pass(record.launches)
    if energy is not None:
        fields |= {"energy_j": energy.gross_j.value, **_ends("energy_ci_{}_j", energy.gross_j.interval)}
        fields["energy_net_j"] = energy.net_j.value if energy.net_j else None
    return fields


def _roofline_fields(record: Record, summary: LatencySummary, comparer: RunComparer) -> dict[str, Any]:
    """MACs a second, and where they stand under the roof of the machine's ceilings."""
    cost, workload = record.cost, record.workload
    if cost is None or cost.uncounted or not cost.macs:
        return {}
    latency_s = Estimate(summary.median_s, summary.interval_s)
    macs = cost.macs * workload.batch_size
    attained = latency_s.inverse().scaled(macs)
    fields: dict[str, Any] = {"attained_macs_per_s": round(attained.value, 6)}
    fields |= _ends("attained_ci_{}_macs_per_s", attained.interval)
    traffic = moved_bytes(cost, workload.batch_size) if knows_traffic(workload) else None
    if not traffic:
        return fields
    fields["batch_macs_per_byte"] = macs / traffic
    ceilings = comparer.ceilings(workload)
    if ceilings is None:
        return fields
    point = roofline_point(macs=macs, moved_bytes=traffic, latency_s=latency_s, ceilings=ceilings)
    fields["ceiling_macs_per_s"] = round(point.ceiling_macs_per_s, 6)
    fields["ceiling_share"] = round(point.share.value, 6)
    return fields | _ends("ceiling_share_ci_{}", point.share.interval) | {"ceiling_bound": point.bound}


def knows_traffic(workload: Workload) -> bool:
    """Whether the bytes that are counted for one sample tell those of a pass.

    They do not of a training step, nor where autocast chooses each operator's dtype.
    """
    return workload.mode != "train" and (workload.cast != "autocast" or workload.dtype == "fp32")


def _memory_fields(record: Record) -> dict[str, Any]:
    """The most that a pass held, over launches the median; and the range over launches and passes."""
    weighed = [launch for launch in record.launches if launch.peak_memory_bytes is not None]
    peaks = sorted(launch.peak_memory_bytes or 0 for launch in weighed)
    if not peaks:
        return {}
    lows = [launch.peak_memory_low_bytes or launch.peak_memory_bytes or 0 for launch in weighed]
    names = ("peak_memory_bytes", "peak_memory_min_bytes", "peak_memory_max_bytes")
    return dict(zip(names, (peaks[len(peaks) // 2], min(lows), peaks[-1]), strict=True))


def _disturbance_fields(record: Record, summary: LatencySummary) -> dict[str, Any]:
    shares = [launch.denormal_share for launch in record.launches if launch.denormal_share is not None]
    sizes = [launch.input_bytes for launch in record.launches if launch.input_bytes is not None]
    return {
        "faults_per_pass": summary.faults_per_pass,
        "preempted_share": summary.preempted_share,
        "outlier_share": summary.outlier_share,
        "throttled_s": summary.throttled_s,
        "cpu_share": summary.cpu_share,
        "denormal_share": max(shares, default=None),
        "input_bytes": max(sizes, default=None),
    }


def _ends(name: str, interval: Interval | None, factor: float = 1.0) -> dict[str, float | None]:
    """Both ends of an interval, under `name` with `low` and `high` in its braces."""
    low, high = (None, None) if interval is None else interval
    return {
        name.format(end): None if value is None else round(value * factor, 6)
        for end, value in (("low", low), ("high", high))
    }

"""Why a number of a row is not there: a reason for every null."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from scaleprof.records import Record
from scaleprof.reporting.fields import knows_traffic
from scaleprof.stats.latency import MIN_SAMPLES_P90, MIN_SAMPLES_P95, MIN_SAMPLES_P99, LatencySummary

# Intervals whose value has a name of its own; the others are named after their value.
_VALUES = {
    "ratio": "ratio_to_base",
    "eager_ratio": "ratio_to_eager",
    "relative": "relative_latency",
    "launch_bound": "launch_bound_ratio",
}
_GPU_STATE = ("gpu_clock_mhz", "gpu_temperature_c", "gpu_power_w")
_GPU_MEMORY = ("reserved_memory_bytes", "device_used_bytes", "context_memory_bytes")
_ON_CUDA_ONLY = ("gpu_ms", "graph_ms", "launch_bound_ratio", *_GPU_STATE, *_GPU_MEMORY)
_STEP_PARTS = ("forward_ms", "backward_ms", "optimizer_ms")
_OF_RUNTIMES = ("compile_s", "runtime_version", "output_error", "output_error_allowed")
_DISTURBANCES = ("faults_per_pass", "preempted_share", "throttled_s", "cpu_share", "input_bytes")
_UNDER_A_ROOF = ("ceiling_macs_per_s", "ceiling_share", "ceiling_bound")
_PEAKS = ("peak_memory_bytes", "peak_memory_min_bytes", "peak_memory_max_bytes")


def why_missing(record: Record, summary: LatencySummary | None, numbers: Mapping[str, Any]) -> dict[str, str]:
    """The reason of every null among a row's numbers.

    An end of an interval is missing with its value, or where the value is there, for want of repetition.
    """
    missing = [name for name, value in numbers.items() if value is None]
    standing = _standing_reasons(record)
    if summary is None:
        why = f"{record.status}: {record.reason or 'no sample was taken'}"
        return {name: standing.get(value_of(name), why) for name in missing}
    reasons = _launch_reasons(record) | _tail_reasons(summary) | standing
    return {
        name: _no_interval(name, summary)
        if numbers.get(value_of(name)) is not None
        else reasons[value_of(name)]
        for name in missing
    }


def value_of(name: str) -> str:
    """The field whose interval an end belongs to; any other field is its own.

    >>> value_of("latency_ci_low_ms"), value_of("ratio_ci_high"), value_of("macs")
    ('latency_ms', 'ratio_to_base', 'macs')
    """
    found = re.fullmatch(r"(\w+)_ci_(?:low|high)(\w*)", name)
    return name if found is None else _VALUES.get(found[1], found[1] + found[2])


def _no_interval(name: str, summary: LatencySummary) -> str:
    if value_of(name) == "energy_j":
        return "the counter is read once a launch, and two launches are needed"
    if value_of(name) == "throughput_per_s":
        return "one launch had too few chunks"
    return f"{summary.rounds} rounds of one launch are too few for an interval"


def _standing_reasons(record: Record) -> dict[str, str]:
    """Why a number is not there whatever was measured."""
    reasons: dict[str, str] = {}
    if record.workload.runtime == "eager":
        reasons |= dict.fromkeys(_OF_RUNTIMES, "eager makes nothing of the network: it is the measure")
        reasons["ratio_to_eager"] = "this is eager"
    searched = "batches were not searched (--batch-size max)"
    reasons |= dict.fromkeys(("largest_batch_size", "best_batch_size"), searched)
    if record.workload.mode != "train":
        reasons |= dict.fromkeys(_STEP_PARTS, "only training has these parts (--mode train)")
    if not record.workload.on_cuda:
        reasons |= dict.fromkeys(_ON_CUDA_ONLY, "measured on CUDA only")
    return reasons


def _tail_reasons(summary: LatencySummary) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for name, least in (("p90", MIN_SAMPLES_P90), ("p95", MIN_SAMPLES_P95), ("p99", MIN_SAMPLES_P99)):
        words = f"{summary.samples} samples are too few: {least} are needed"
        reasons |= {f"latency_{name}_ms": words, f"latency_{name}_upper_ms": words}
    return reasons


def _launch_reasons(record: Record) -> dict[str, str]:
    """Why a number that launches bring is in none of them."""
    reasons = {
        "gpu_ms": "the call could not be queued whole ahead of the device: launch gaps would be in it",
        "ratio_to_base": "the model's base was not measured in the same rounds",
        "ratio_to_eager": "eager was not measured in the same rounds (--runtime eager,…)",
        "drift_corrected_ms": "the reference network was not timed",
        "denormal_share": "looked for on the CPU, in eager forward passes of fp32 or bf16",
    }
    reasons |= dict.fromkeys((*_GPU_STATE, *_GPU_MEMORY), "NVML does not tell it here")
    reasons |= dict.fromkeys(_OF_RUNTIMES, "no launch tells")
    reasons |= dict.fromkeys(_STEP_PARTS, "no visit timed them")
    no_graph = next((launch.graph_missing for launch in record.launches if launch.graph_missing), "not taken")
    reasons |= dict.fromkeys(("graph_ms", "launch_bound_ratio"), no_graph)
    no_memory = next((one.peak_memory_missing for one in record.launches if one.peak_memory_missing), None)
    reasons |= dict.fromkeys(_PEAKS, no_memory or "no launch took it")
    not_told = "the system does not count it, or the run is of an earlier version"
    reasons |= dict.fromkeys(_DISTURBANCES, not_told)
    return reasons | _sustained_reasons(record) | _roofline_reasons(record)


def _roofline_reasons(record: Record) -> dict[str, str]:
    """Why a model has no place under the roof: what stands in the way first of its rate, then of the rest."""
    no_rate = _why_no_rate(record)
    no_intensity = no_rate or _why_no_intensity(record)
    unseen = "the launches ended before the ceilings were measured, or the run is of an earlier version"
    told = (launch.ceilings_missing for launch in record.launches if launch.ceilings_missing)
    return {
        "attained_macs_per_s": no_rate or "",
        "batch_macs_per_byte": no_intensity or "",
        **dict.fromkeys(_UNDER_A_ROOF, no_intensity or next(told, unseen)),
    }


def _why_no_rate(record: Record) -> str | None:
    if record.cost is None:
        return "its MACs could not be counted"
    if record.cost.uncounted:
        names = ", ".join(one.operator for one in record.cost.uncounted)
        return f"its MACs leave out operators without a formula ({names}): the rate would be too low"
    return None if record.cost.macs else "it does no multiply-adds"


def _why_no_intensity(record: Record) -> str | None:
    if record.workload.mode == "train":
        return "what gradients and the optimizer move in a training step is not counted"
    if not knows_traffic(record.workload):
        return "autocast chooses each operator's dtype, so that the bytes it moves are not counted"
    cost = record.cost
    if cost is None or cost.read_bytes is None or cost.written_bytes is None:
        return "the bytes that it moves were not counted: the run is of an earlier version"
    return None


def _sustained_reasons(record: Record) -> dict[str, str]:
    ran = [launch.sustained for launch in record.launches if launch.sustained is not None]
    not_run = "it was not run back to back (the time ran out, or the sweep was interrupted before)"
    no_energy = next((one.energy_missing for one in ran if one.energy_missing), not_run)
    idle = "the idle machine's power is not known"
    known = any(one.energy_j is not None for one in ran)
    return {
        "throughput_per_s": not_run,
        "energy_j": no_energy,
        "energy_net_j": idle if known else no_energy,
    }

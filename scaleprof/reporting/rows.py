"""One row per spec × workload: the fields that other programs read, derived from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scaleprof.records import Phi, Quoted, Record, RunLog, Shape, Status, Stop, UncountedOperator
from scaleprof.reporting.cautions import Caution, cost_cautions, measuring_cautions
from scaleprof.reporting.comparing import RunComparer
from scaleprof.scaling.results import result_of
from scaleprof.stats.intervals import Interval
from scaleprof.stats.latency import (
    MIN_SAMPLES_P90,
    MIN_SAMPLES_P95,
    MIN_SAMPLES_P99,
    UNSTABLE_RATIO,
    LatencySummary,
    summarise,
)
from scaleprof.stats.sustained import energy_per_pass, throughput
from scaleprof.units import MS_PER_S

_NOT_YET = "this version of scaleprof does not measure it"


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is and what it costs before it runs, one sample at a time.

    `forecast_bytes` is the most memory that it is expected to hold: weights, optimizer, activations.

    `requested_growth` is what the factors ask for, or the budget of a matched sweep; `achieved_growth` is of
    MACs, `matched_growth` of the metric in `match`, all against the base. `accuracy` is the published top-1
    accuracy in percent, with its `accuracy_recipe`, where there is one.
    """

    spec_id: str
    model: str
    strategy: str
    phi: Phi | None
    published: str | None
    also: tuple[str, ...]
    depth: float
    width: float
    resolution: float
    input_size: int | None
    input_unit: str
    shape: Shape | None
    rounding: str
    match: str | None
    requested_growth: float
    achieved_growth: float | None
    matched_growth: float | None
    macs: int | None
    params: int | None
    activations: int | None
    weight_bytes: int | None
    peak_activation_bytes: int | None
    gradient_bytes: int | None
    optimizer_bytes: int | None
    forecast_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None
    macs_per_byte: float | None
    counted_on: str | None
    mode: str
    uncounted: tuple[UncountedOperator, ...]
    accuracy: float | None
    accuracy_recipe: str | None
    status: Status
    reason: str | None
    warnings: tuple[Caution, ...] = ()


class MeasuredRow(CostRow, frozen=True, kw_only=True):
    """A cost row with what was measured; a null measurement's reason stands in `nulls`.

    `relative_latency` is against the reference network, `ratio_to_base` against the model's base in the same
    rounds; `drift_corrected_ms` is the relative latency in the milliseconds of the run's best decile. Fields
    `…_ci_low…` and `…_ci_high…` are 95 % intervals, `…_upper_ms` an upper 95 % bound. `peak_memory_bytes` is
    the most that any pass held, between `peak_memory_min_bytes` and `peak_memory_max_bytes` over passes and
    launches. Shares and counts a pass tell of disturbances that are in the latency too; `cpu_share` is the
    share of the work of its CPUs that was the process's own.
    """

    device: str
    dtype: str
    batch_size: int
    threads: int
    runtime: str
    memory_format: str
    latency_ms: float | None
    latency_ci_low_ms: float | None
    latency_ci_high_ms: float | None
    latency_p90_ms: float | None
    latency_p90_upper_ms: float | None
    latency_p95_ms: float | None
    latency_p95_upper_ms: float | None
    latency_p99_ms: float | None
    latency_p99_upper_ms: float | None
    gpu_ms: float | None
    graph_ms: float | None
    launch_bound_ratio: float | None
    cold_ms: float | None
    compile_s: float | None
    relative_latency: float | None
    relative_ci_low: float | None
    relative_ci_high: float | None
    drift_corrected_ms: float | None
    drift_corrected_ci_low_ms: float | None
    drift_corrected_ci_high_ms: float | None
    ratio_to_base: float | None
    ratio_ci_low: float | None
    ratio_ci_high: float | None
    throughput_per_s: float | None
    throughput_ci_low_per_s: float | None
    throughput_ci_high_per_s: float | None
    peak_memory_bytes: int | None
    peak_memory_min_bytes: int | None
    peak_memory_max_bytes: int | None
    input_bytes: int | None
    energy_j: float | None
    energy_ci_low_j: float | None
    energy_ci_high_j: float | None
    energy_net_j: float | None
    faults_per_pass: float | None
    preempted_share: float | None
    outlier_share: float | None
    throttled_s: float | None
    cpu_share: float | None
    denormal_share: float | None
    launches: int
    rounds: int
    samples: int
    stop: Stop | None
    nulls: dict[str, str]


Row = CostRow | MeasuredRow


def cost_row(record: Record) -> CostRow:
    """The row of a model that was counted."""
    return CostRow(**_cost_fields(record))


def measured_rows(log: RunLog) -> list[MeasuredRow]:
    """A row for each record of a run."""
    comparer = RunComparer(log)
    return [measured_row(record, comparer) for record in log.records]


def measured_row(record: Record, comparer: RunComparer) -> MeasuredRow:
    """The row of a model that was measured, or could not be."""
    summary = summarise(record.launches) if record.measured else None
    fields = _cost_fields(record)
    if summary is not None and summary.unstable:
        fields |= {"status": "unstable", "reason": _unstable_reason(summary)}
    numbers: dict[str, Any] = dict.fromkeys(_NUMBERS)
    if summary is not None:
        numbers |= (
            _latency_fields(summary)
            | _ratio_fields(record, summary, comparer)
            | _sustained_fields(record)
            | _memory_fields(record)
            | _disturbance_fields(record, summary)
        )
    return MeasuredRow(
        **fields | {"warnings": (*cost_cautions(record), *measuring_cautions(record, summary, comparer))},
        **{name: getattr(record.workload, name) for name in _WORKLOAD_FIELDS},
        **numbers,
        launches=summary.launches if summary else 0,
        rounds=summary.rounds if summary else 0,
        samples=summary.samples if summary else 0,
        stop=summary.stop(comparer.header.plan.target_ci) if summary else None,
        nulls=_nulls(record, summary, numbers),
    )


def to_json(rows: Sequence[Row]) -> str:
    """One JSON array, a row an element, indented for people."""
    return msgspec.json.format(msgspec.json.encode(list(rows)), indent=2).decode()


def _cost_fields(record: Record) -> dict[str, Any]:
    spec, cost = record.spec, record.cost
    printed = result_of(spec)
    quoted = record.quoted or (Quoted(printed.accuracy, printed.label) if printed else None)
    return {
        "spec_id": spec.spec_id,
        **{name: getattr(spec, name) for name in _SPEC_FIELDS},
        "requested_growth": spec.requested_growth,
        "achieved_growth": record.achieved_growth,
        "matched_growth": record.matched_growth,
        **{name: getattr(cost, name) if cost else None for name in _COST_FIELDS},
        "mode": record.workload.mode,
        "uncounted": cost.uncounted if cost else (),
        "accuracy": quoted.accuracy if quoted else None,
        "accuracy_recipe": quoted.recipe if quoted else None,
        "status": record.status,
        "reason": record.reason,
        "warnings": cost_cautions(record),
    }


_WORKLOAD_FIELDS = ("device", "dtype", "batch_size", "threads", "runtime", "memory_format")
_COST_FIELDS = (
    *("macs", "params", "activations", "weight_bytes", "peak_activation_bytes", "gradient_bytes"),
    *("optimizer_bytes", "forecast_bytes", "read_bytes", "written_bytes", "macs_per_byte", "counted_on"),
)
_SPEC_FIELDS = (
    "model",
    "strategy",
    "phi",
    "published",
    "also",
    "depth",
    "width",
    "resolution",
    "input_size",
    "input_unit",
    "shape",
    "rounding",
    "match",
)


def _latency_fields(summary: LatencySummary) -> dict[str, Any]:
    values_s = {
        "latency_ms": summary.median_s,
        "gpu_ms": summary.gpu_median_s,
        "cold_ms": summary.cold_s,
    }
    for name, tail in (("p90", summary.p90), ("p95", summary.p95), ("p99", summary.p99)):
        values_s[f"latency_{name}_ms"] = tail.value_s if tail else None
        values_s[f"latency_{name}_upper_ms"] = tail.upper_s if tail else None
    in_ms = {name: None if value is None else round(value * MS_PER_S, 6) for name, value in values_s.items()}
    return in_ms | _ends("latency_ci_{}_ms", summary.interval_s, MS_PER_S)


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


_PLAIN = {"launches", "rounds", "samples", "stop", "nulls", *_WORKLOAD_FIELDS}
# What may be null, with its reason.
_NUMBERS = tuple(
    name
    for name in MeasuredRow.__struct_fields__
    if name not in CostRow.__struct_fields__ and name not in _PLAIN
)
_ON_CUDA_ONLY = ("gpu_ms", "graph_ms", "launch_bound_ratio")


def _nulls(record: Record, summary: LatencySummary | None, numbers: dict[str, Any]) -> dict[str, str]:
    """The reason of every measurement that is null."""
    missing = [name for name, value in numbers.items() if value is None]
    reasons = _standing_reasons(record)
    if summary is None:
        why = f"{record.status}: {record.reason or 'no sample was taken'}"
        return {name: reasons.get(name, why) for name in missing}
    reasons |= _interval_reasons(summary)
    reasons |= _launch_reasons(record)
    return {name: reasons[name] for name in missing}


def _standing_reasons(record: Record) -> dict[str, str]:
    """Why a number is not there whatever was measured."""
    reasons = {
        "gpu_ms": "the call could not be queued whole ahead of the device: launch gaps would be in it",
        "graph_ms": _NOT_YET,
        "launch_bound_ratio": _NOT_YET,
        "compile_s": "nothing is compiled in the eager runtime",
    }
    if not record.workload.on_cuda:
        reasons |= dict.fromkeys(_ON_CUDA_ONLY, "measured on CUDA only")
    return reasons


def _interval_reasons(summary: LatencySummary) -> dict[str, str]:
    too_few = f"{summary.rounds} rounds of one launch are too few for an interval"
    ends = [name for name in _NUMBERS if "_ci_" in name]
    reasons = dict.fromkeys(ends, too_few)
    needed = {"p90": MIN_SAMPLES_P90, "p95": MIN_SAMPLES_P95, "p99": MIN_SAMPLES_P99}
    for name, least in needed.items():
        words = f"{summary.samples} samples are too few: {least} are needed"
        reasons |= {f"latency_{name}_ms": words, f"latency_{name}_upper_ms": words}
    return reasons


def _launch_reasons(record: Record) -> dict[str, str]:
    """Why a number that launches bring is in none of them."""
    without_base = "the model's base was not measured in the same rounds"
    reasons = dict.fromkeys(("ratio_to_base", "ratio_ci_low", "ratio_ci_high"), without_base)
    drift = ("drift_corrected_ms", "drift_corrected_ci_low_ms", "drift_corrected_ci_high_ms")
    reasons |= dict.fromkeys(drift, "the reference network was not timed")
    ran = [launch.sustained for launch in record.launches if launch.sustained is not None]
    not_run = "it was not run back to back (the time ran out, or the sweep was interrupted before)"
    rates = ("throughput_per_s", "throughput_ci_low_per_s", "throughput_ci_high_per_s")
    reasons |= dict.fromkeys(rates, "one launch had too few chunks" if ran else not_run)
    no_energy = next((one.energy_missing for one in ran if one.energy_missing), not_run)
    reasons |= dict.fromkeys(("energy_j", "energy_net_j", "energy_ci_low_j", "energy_ci_high_j"), no_energy)
    if ran and any(one.energy_j is not None for one in ran):
        ends = ("energy_ci_low_j", "energy_ci_high_j")
        reasons |= dict.fromkeys(ends, "the counter is read once a launch, and two launches are needed")
        reasons["energy_net_j"] = "the idle machine's power is not known"
    unread = [launch.peak_memory_missing for launch in record.launches if launch.peak_memory_missing]
    no_memory = unread[0] if unread else "no launch took it"
    memory = ("peak_memory_bytes", "peak_memory_min_bytes", "peak_memory_max_bytes")
    reasons |= dict.fromkeys(memory, no_memory)
    not_told = "the system does not count it, or the run is of an earlier version"
    reasons |= dict.fromkeys(
        ("faults_per_pass", "preempted_share", "throttled_s", "cpu_share", "input_bytes"), not_told
    )
    reasons["denormal_share"] = "looked for on the CPU, between modules that put out fp32 or bf16"
    return reasons


def _unstable_reason(summary: LatencySummary) -> str:
    factors = " and ".join(f"{ratio:.1f}" for ratio in summary.interval_ratios)
    return (
        f"95 % intervals of milliseconds and of ÷ reference span factors of {factors} "
        f"(limit {UNSTABLE_RATIO:g} for one of them): "
        f"quieten the machine (scaleprof doctor), or use --preset rigorous"
    )

"""One row per spec × workload: the fields that other programs read, derived from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scaleprof.records import Phi, Quoted, Record, RunLog, Shape, Status, Stop, UncountedOperator
from scaleprof.reporting.cautions import Caution, cost_cautions, measuring_cautions
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.fields import number_fields
from scaleprof.reporting.missing import why_missing
from scaleprof.scaling.results import result_of
from scaleprof.stats.latency import UNSTABLE_RATIO, LatencySummary, summarise
from scaleprof.stats.roofline import Bound


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is and what it costs before it runs, one sample at a time.

    `forecast_bytes` is the most memory that it is expected to hold: weights, optimizer, activations.

    `requested_growth` is what the factors ask for, or the budget of a matched sweep; `achieved_growth` is of
    MACs, `matched_growth` of the metric in `match`, all against the base. `accuracy` is one that somebody
    else measured, in percent, with its `accuracy_recipe`: given by a file, or published. Where its error is
    known, `accuracy_error` is half the width of its 95 % interval in percentage points, and `accuracy_ci_low`
    and `accuracy_ci_high` are its ends.
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
    accuracy_error: float | None
    accuracy_ci_low: float | None
    accuracy_ci_high: float | None
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

    In training `latency_ms` is that of a whole step, and its parts are timed apart. `compile_s` is what the
    runtime took to make its form of the network, in the launch that took longest (later ones find its files),
    `output_error` how far its outputs are from eager's, `ratio_to_eager` its latency over eager's in the same
    rounds. `largest_batch_size` is the largest batch that ran and `best_batch_size` the smallest whose
    throughput was within 3 % of the best, both of a search by short runs (`--batch-size max`). GPU clock
    (timed), temperature and power are medians over visits.

    `attained_macs_per_s` are the MACs of the whole batch over the latency, in training those of forward and
    backward pass over the whole step's. `batch_macs_per_byte` is `macs_per_byte` of the whole batch, which
    reads weights once. `ceiling_macs_per_s` is the most that the machine was seen to do at that intensity,
    `ceiling_share` what was attained of it, and `ceiling_bound` which ceiling it is (`compute`, `memory`).
    """

    device: str
    dtype: str
    batch_size: int
    threads: int
    runtime: str
    memory_format: str
    cast: str
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
    gpu_ci_low_ms: float | None
    gpu_ci_high_ms: float | None
    graph_ms: float | None
    graph_ci_low_ms: float | None
    graph_ci_high_ms: float | None
    launch_bound_ratio: float | None
    launch_bound_ci_low: float | None
    launch_bound_ci_high: float | None
    forward_ms: float | None
    forward_ci_low_ms: float | None
    forward_ci_high_ms: float | None
    backward_ms: float | None
    backward_ci_low_ms: float | None
    backward_ci_high_ms: float | None
    optimizer_ms: float | None
    optimizer_ci_low_ms: float | None
    optimizer_ci_high_ms: float | None
    cold_ms: float | None
    compile_s: float | None
    runtime_version: str | None
    output_error: float | None
    output_error_allowed: float | None
    relative_latency: float | None
    relative_ci_low: float | None
    relative_ci_high: float | None
    drift_corrected_ms: float | None
    drift_corrected_ci_low_ms: float | None
    drift_corrected_ci_high_ms: float | None
    ratio_to_base: float | None
    ratio_ci_low: float | None
    ratio_ci_high: float | None
    ratio_to_eager: float | None
    eager_ratio_ci_low: float | None
    eager_ratio_ci_high: float | None
    throughput_per_s: float | None
    throughput_ci_low_per_s: float | None
    throughput_ci_high_per_s: float | None
    attained_macs_per_s: float | None
    attained_ci_low_macs_per_s: float | None
    attained_ci_high_macs_per_s: float | None
    batch_macs_per_byte: float | None
    ceiling_macs_per_s: float | None
    ceiling_share: float | None
    ceiling_share_ci_low: float | None
    ceiling_share_ci_high: float | None
    ceiling_bound: Bound | None
    peak_memory_bytes: int | None
    peak_memory_min_bytes: int | None
    peak_memory_max_bytes: int | None
    reserved_memory_bytes: int | None
    device_used_bytes: int | None
    context_memory_bytes: int | None
    input_bytes: int | None
    energy_j: float | None
    energy_ci_low_j: float | None
    energy_ci_high_j: float | None
    energy_net_j: float | None
    gpu_clock_mhz: float | None
    gpu_temperature_c: float | None
    gpu_power_w: float | None
    faults_per_pass: float | None
    preempted_share: float | None
    outlier_share: float | None
    throttled_s: float | None
    cpu_share: float | None
    denormal_share: float | None
    largest_batch_size: int | None
    best_batch_size: int | None
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
        numbers |= number_fields(record, summary, comparer)
    return MeasuredRow(
        **fields | {"warnings": (*cost_cautions(record), *measuring_cautions(record, summary, comparer))},
        **{name: getattr(record.workload, name) for name in _WORKLOAD_FIELDS},
        **numbers,
        launches=summary.launches if summary else 0,
        rounds=summary.rounds if summary else 0,
        samples=summary.samples if summary else 0,
        stop=summary.stop(comparer.header.plan.target_ci) if summary else None,
        nulls=why_missing(record, summary, numbers),
    )


def to_json(rows: Sequence[Row]) -> str:
    """One JSON array, a row an element, indented for people."""
    return msgspec.json.format(msgspec.json.encode(list(rows)), indent=2).decode()


def _cost_fields(record: Record) -> dict[str, Any]:
    spec, cost = record.spec, record.cost
    printed = result_of(spec)
    quoted = record.quoted or (Quoted(printed.accuracy, printed.label) if printed else None)
    error = quoted.error if quoted else None
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
        "accuracy_error": error,
        "accuracy_ci_low": max(0.0, quoted.accuracy - error) if quoted and error is not None else None,
        "accuracy_ci_high": min(100.0, quoted.accuracy + error) if quoted and error is not None else None,
        "status": record.status,
        "reason": record.reason,
        "warnings": cost_cautions(record),
    }


_WORKLOAD_FIELDS = ("device", "dtype", "batch_size", "threads", "runtime", "memory_format", "cast")
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


_PLAIN = {"launches", "rounds", "samples", "stop", "nulls", *_WORKLOAD_FIELDS}
# What may be null, with its reason.
_NUMBERS = tuple(
    name
    for name in MeasuredRow.__struct_fields__
    if name not in CostRow.__struct_fields__ and name not in _PLAIN
)


def _unstable_reason(summary: LatencySummary) -> str:
    factors = " and ".join(f"{ratio:.1f}" for ratio in summary.interval_ratios)
    return (
        f"95 % intervals of milliseconds and of ÷ reference span factors of {factors} "
        f"(limit {UNSTABLE_RATIO:g} for one of them): "
        f"quieten the machine (scaleprof doctor), or use --preset rigorous"
    )

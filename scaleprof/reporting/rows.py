"""One row per spec × workload: the fields that other programs read, derived from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scaleprof.records import Phi, Quoted, Record, RunHeader, Shape, Status, Stop, UncountedOperator
from scaleprof.scaling.budget import is_off
from scaleprof.scaling.results import result_of
from scaleprof.stats.latency import MIN_SAMPLES_P95, UNSTABLE_RATIO, LatencySummary, summarise
from scaleprof.units import MS_PER_S

_MATCH_NOUNS = {"macs": "MACs", "params": "parameters", "activations": "activations"}
# Outputs beyond these are not those of a trained network, and tiny ones may be slow to compute with.
_LEAST_OUTPUT_STD = 1e-3
_MOST_OUTPUT_STD = 1e3
_NOT_YET = "this version of scaleprof does not measure it"


class Caution(msgspec.Struct, frozen=True):
    """A doubt about a number, and what to do about it."""

    code: str
    message: str
    remedy: str


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
    """A cost row with what was measured; a null measurement's reason stands in `nulls`."""

    device: str
    dtype: str
    batch_size: int
    threads: int
    runtime: str
    memory_format: str
    latency_ms: float | None
    latency_ci_low_ms: float | None
    latency_ci_high_ms: float | None
    latency_p95_ms: float | None
    gpu_ms: float | None
    graph_ms: float | None
    launch_bound_ratio: float | None
    cold_ms: float | None
    compile_s: float | None
    relative_latency: float | None
    relative_ci_low: float | None
    relative_ci_high: float | None
    throughput_per_s: float | None
    peak_memory_bytes: int | None
    peak_memory_min_bytes: int | None
    peak_memory_max_bytes: int | None
    energy_j: float | None
    energy_net_j: float | None
    launches: int
    rounds: int
    samples: int
    stop: Stop | None
    nulls: dict[str, str]


Row = CostRow | MeasuredRow


def cost_row(record: Record) -> CostRow:
    """The row of a model that was counted."""
    return CostRow(**_cost_fields(record))


def measured_row(record: Record, header: RunHeader) -> MeasuredRow:
    """The row of a model that was measured, or could not be."""
    summary = summarise(record.launches) if record.measured else None
    fields = _cost_fields(record)
    if summary is not None and summary.unstable:
        fields |= {"status": "unstable", "reason": _unstable_reason(summary)}
    numbers = _latency_fields(summary) | _memory_fields(record, summary)
    if not record.workload.on_cuda:
        numbers |= dict.fromkeys(("gpu_ms", "graph_ms", "launch_bound_ratio"))
    return MeasuredRow(
        **fields | {"warnings": (*_cost_cautions(record), *_cautions(record, summary))},
        **{name: getattr(record.workload, name) for name in _WORKLOAD_FIELDS},
        **numbers,
        launches=summary.launches if summary else 0,
        rounds=summary.rounds if summary else 0,
        samples=summary.samples if summary else 0,
        stop=summary.stop(header.plan.target_ci) if summary else None,
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
        "warnings": _cost_cautions(record),
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


def _latency_fields(summary: LatencySummary | None) -> dict[str, Any]:
    if summary is None:
        return dict.fromkeys(_LATENCY_FIELDS)
    interval = summary.interval_s
    values = {
        "latency_ms": summary.median_s,
        "latency_ci_low_ms": interval.low if interval else None,
        "latency_ci_high_ms": interval.high if interval else None,
        "latency_p95_ms": summary.p95_s,
        "gpu_ms": summary.gpu_median_s,
        "cold_ms": summary.cold_s,
    }
    relative = summary.relative_interval
    ratios = {
        "relative_latency": summary.relative,
        "relative_ci_low": relative.low if relative else None,
        "relative_ci_high": relative.high if relative else None,
    }
    in_ms = {name: None if s is None else round(s * MS_PER_S, 6) for name, s in values.items()}
    rounded = {name: None if ratio is None else round(ratio, 6) for name, ratio in ratios.items()}
    return dict.fromkeys(_LATENCY_FIELDS) | in_ms | rounded


_LATENCY_FIELDS = (
    "latency_ms",
    "latency_ci_low_ms",
    "latency_ci_high_ms",
    "latency_p95_ms",
    "gpu_ms",
    "graph_ms",
    "launch_bound_ratio",
    "cold_ms",
    "compile_s",
    "relative_latency",
    "relative_ci_low",
    "relative_ci_high",
    "throughput_per_s",
    "energy_j",
    "energy_net_j",
)


def _memory_fields(record: Record, summary: LatencySummary | None) -> dict[str, Any]:
    """The median over launches and their range: one may reuse pages that another has to fetch."""
    peaks = sorted(
        launch.peak_memory_bytes for launch in record.launches if launch.peak_memory_bytes is not None
    )
    names = ("peak_memory_bytes", "peak_memory_min_bytes", "peak_memory_max_bytes")
    if summary is None or not peaks:
        return dict.fromkeys(names)
    return dict(zip(names, (peaks[len(peaks) // 2], peaks[0], peaks[-1]), strict=True))


def _nulls(record: Record, summary: LatencySummary | None, numbers: dict[str, Any]) -> dict[str, str]:
    """The reason of every measurement that is null."""
    reasons = {
        "gpu_ms": "the call could not be queued whole ahead of the device: launch gaps would be in it",
        "graph_ms": _NOT_YET,
        "launch_bound_ratio": _NOT_YET,
        "compile_s": "nothing is compiled in the eager runtime",
        "throughput_per_s": _NOT_YET,
        "energy_j": _NOT_YET,
        "energy_net_j": _NOT_YET,
    }
    if not record.workload.on_cuda:
        reasons |= dict.fromkeys(("gpu_ms", "graph_ms", "launch_bound_ratio"), "measured on CUDA only")
    if summary is None:
        why = record.reason or "no sample was taken"
        return {
            name: reasons.get(name, f"{record.status}: {why}") for name, v in numbers.items() if v is None
        }
    too_few = f"{summary.rounds} rounds of one launch are too few for an interval"
    ends = ("latency_ci_low_ms", "latency_ci_high_ms", "relative_ci_low", "relative_ci_high")
    reasons |= {
        **dict.fromkeys(ends, too_few),
        "latency_p95_ms": f"{summary.samples} samples are too few: {MIN_SAMPLES_P95} are needed",
    }
    unread = [launch.peak_memory_missing for launch in record.launches if launch.peak_memory_missing]
    if unread:
        names = ("peak_memory_bytes", "peak_memory_min_bytes", "peak_memory_max_bytes")
        reasons |= dict.fromkeys(names, unread[0])
    return {name: reasons[name] for name, value in numbers.items() if value is None}


def _unstable_reason(summary: LatencySummary) -> str:
    factors = " and ".join(f"{ratio:.1f}" for ratio in summary.interval_ratios)
    return (
        f"95 % intervals of milliseconds and of ÷ reference span factors of {factors} "
        f"(limit {UNSTABLE_RATIO:g} for one of them): "
        f"quieten the machine, or use --preset rigorous"
    )


def _cost_cautions(record: Record) -> tuple[Caution, ...]:
    cautions = []
    if record.cost and record.cost.uncounted:
        names = ", ".join(operator.operator for operator in record.cost.uncounted)
        cautions.append(
            Caution("uncounted", f"operators without a formula: {names}", "read MACs as a lower bound")
        )
    if record.cost and record.cost.counted_on == "cpu":
        cautions.append(
            Caution(
                "counted_on_cpu",
                "what it computes depends on values: it was run once on random ones",
                "other values may take other branches: read its counts as one example",
            )
        )
    asked, got = record.spec.requested_growth, record.matched_growth
    if got is not None and record.status != "unmatched" and is_off(asked, got):
        noun = _MATCH_NOUNS[record.spec.match or "macs"]
        cautions.append(
            Caution(
                "match_off",
                f"{noun} grew by {got:.3g} where {asked:.3g} was asked for: "
                f"along this strategy whole layers, channels and pixels come no nearer",
                "compare at the growth achieved, or choose another φ",
            )
        )
    return tuple(cautions)


def _cautions(record: Record, summary: LatencySummary | None) -> tuple[Caution, ...]:
    if summary is None:
        return ()
    cautions = []
    spreads = [launch.output_std for launch in record.launches]
    if not all(_LEAST_OUTPUT_STD <= std <= _MOST_OUTPUT_STD for std in spreads):
        cautions.append(
            Caution(
                "output_scale",
                f"random weights make outputs with a standard deviation of {spreads[0]:.3g}, far from one",
                "latency may be that of denormal numbers: initialise the network so that it keeps scale",
            )
        )
    if summary.launches == 1:
        cautions.append(
            Caution(
                "single_launch",
                "one process was measured; another may differ by more than the interval says",
                "use --preset default (3 launches) or rigorous (5)",
            )
        )
    if summary.interval_s and summary.interval_s.ratio > UNSTABLE_RATIO and not summary.unstable:
        cautions.append(
            Caution(
                "wide_interval",
                f"milliseconds are not known to a factor of {UNSTABLE_RATIO:g}, for the machine's speed "
                f"changed while it was measured; the ratio to the reference network is",
                "compare models by ÷ reference, or measure on a quieter machine",
            )
        )
    if not all(launch.warmup.stationary for launch in record.launches if launch.visits):
        cautions.append(
            Caution(
                "warmup_not_settled",
                "the time per pass was still moving when warming up ended",
                "quieten the machine, or use --preset rigorous",
            )
        )
    if not all(launch.complete for launch in record.launches):
        cautions.append(
            Caution("incomplete_launch", "the sweep was interrupted in this launch", "go on with --resume")
        )
    return tuple(cautions)

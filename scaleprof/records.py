"""The values that travel through scaleprof: frozen, plain, checked when they are made.

Nothing here computes; raw measurements are kept and statistics are derived from them elsewhere
(`scaleprof.stats`). Base units throughout: seconds, bytes, counts. Missing is `None`, and the record
says why; NaN and infinities are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

SCHEMA_VERSION = 1
BASE_STRATEGY = "base"
PUBLISHED_STRATEGY = "published"

Phi = int | float
Shape = dict[str, int | tuple[int, ...]]
Status = Literal[
    "ok", "unstable", "oom", "timeout", "killed", "failed", "unsupported", "unmatched", "skipped"
]
Stop = Literal["target_met", "budget_exhausted"]
MatchMetric = Literal["macs", "params", "activations"]
Mode = Literal["infer", "train"]
DType = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Cast = Literal["weights", "autocast"]
Runtime = Literal["eager", "compile", "cudagraph", "onnxruntime", "openvino"]
Device = str  # "cpu", "cuda" or "cuda:N"

MEASURED_STATUSES: frozenset[Status] = frozenset({"ok", "unstable"})
# Known before anything ran: there is no such model, or it is not to be run.
UNTRIED_STATUSES: frozenset[Status] = frozenset({"unmatched", "unsupported", "skipped"})


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the value types: immutable, and strict when read back."""


def spec_id(model: str, strategy: str, phi: Phi | None, published: str | None = None) -> str:
    """The name of a spec, `MODEL/STRATEGY/PHI`.

    >>> spec_id("efficientnet_b0", "compound", 2.0), spec_id("efficientnet_b0", "published", None, "L2")
    ('efficientnet_b0/compound/2', 'efficientnet_b0/published/L2')
    """
    value = published if phi is None else format(phi, ".10g")
    return f"{model}/{strategy}/{value}"


class ModelSpec(_Value, frozen=True):
    """One model of a family: what was asked for, and the integers it became.

    `depth`, `width` and `resolution` are factors against the base (solved ones under `match`); `input_size`
    is the side in `input_unit`, None for a user's own inputs; `shape` holds the family's integers, None for
    a user's network, which is known by its factors. `also` names the specs that coincide with this one;
    `unmatched` says why no factors bring the matched metric near its budget; `digest` tells one text of a
    person's own code from another.
    """

    model: str
    strategy: str
    phi: Phi | None
    depth: float
    width: float
    resolution: float
    input_size: int | None
    shape: Shape | None
    input_unit: Literal["px", "tokens"] = "px"
    published: str | None = None
    also: tuple[str, ...] = ()
    rounding: Literal["tf", "pycls"] = "tf"
    match: MatchMetric | None = None
    unmatched: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        _require_finite("factors", (self.depth, self.width, self.resolution, self.phi or 0))
        if min(self.depth, self.width, self.resolution) <= 0:
            raise ValueError(f"factors must be above zero: {self.depth}, {self.width}, {self.resolution}")
        if self.input_size is not None and self.input_size < 1:
            raise ValueError(f"input_size must be at least 1: {self.input_size}")
        if self.phi is None and self.published is None:
            raise ValueError("a spec without phi needs the name of its published row")

    @property
    def spec_id(self) -> str:
        """`MODEL/STRATEGY/PHI`, unique in a run for one workload."""
        return spec_id(self.model, self.strategy, self.phi, self.published)

    @property
    def requested_growth(self) -> float:
        """Growth against the base that was asked for.

        MAC growth `depth · width² · resolution²`, or under `match` the budget `2^φ` of the matched metric.
        """
        if self.match and self.phi is not None:
            return float(2.0**self.phi)
        return self.depth * self.width**2 * self.resolution**2

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes two specs the same network: the family and its integers, or else its factors.

        A spec that could not be matched is a request without a network, and equal to nothing else.
        """
        if self.unmatched is not None:
            return (self.model, self.spec_id, "unmatched")
        if self.shape is None:
            factors = (self.depth, self.width, self.resolution, self.rounding, self.digest)
            return (self.model, self.input_size, self.input_unit, factors)
        integers = tuple(
            (key, tuple(value) if isinstance(value, (list, tuple)) else value)
            for key, value in sorted(self.shape.items())
        )
        return (self.model, self.input_size, self.input_unit, integers)


class Workload(_Value, frozen=True):
    """How a model is run: everything that a latency is meaningless without.

    `dtype`: what is computed in; by `cast`, either weights and inputs are cast to it, or torch casts at each
    operator (autocast) and weights stay fp32. `memory_format`: of weights and of four-dimensional inputs.
    `mode`: a forward pass, or a training step of forward, backward and optimizer.
    """

    device: Device
    batch_size: int = 1
    threads: int = 1
    dtype: DType = "fp32"
    mode: Mode = "infer"
    runtime: Runtime = "eager"
    memory_format: MemoryFormat = "contiguous"
    cast: Cast = "weights"

    def __post_init__(self) -> None:
        if self.dtype == "fp32" and self.cast != "weights":
            raise ValueError("nothing is cast in fp32: cast must be weights")
        if self.batch_size < 1 or self.threads < 1:
            raise ValueError(f"batch_size and threads must be at least 1: {self.batch_size}, {self.threads}")

    @property
    def on_cuda(self) -> bool:
        """Whether this runs on an NVIDIA GPU."""
        return self.device.startswith("cuda")


class Quoted(_Value, frozen=True):
    """An accuracy that somebody else measured: top-1 in percent, and how and where it was got."""

    accuracy: float
    recipe: str


class OperatorCost(_Value, frozen=True):
    """What one operator contributes to a pass, summed over its calls; bytes are those of its tensors."""

    operator: str
    calls: int
    macs: int
    activations: int
    read_bytes: int | None = None
    written_bytes: int | None = None


class ModuleCost(_Value, frozen=True):
    """What a module and all that is inside it cost; the network itself has the path `""`."""

    path: str
    kind: str
    params: int
    macs: int
    activations: int
    read_bytes: int
    written_bytes: int


class UncountedOperator(_Value, frozen=True):
    """An operator that was seen, does arithmetic, and has no formula."""

    operator: str
    calls: int
    output_elements: int


class Cost(_Value, frozen=True):
    """What a model costs before it runs, for one sample.

    `macs`: multiply-adds; forward and backward in training. `activations`: output elements of convolutions,
    matrix products and linear layers of the forward pass. `peak_activation_bytes`: the most bytes alive at
    once besides the weights, input included, and in training the gradients alive then. `read_bytes` and
    `written_bytes`: of all operators' tensors, weights included. `optimizer_bytes`: AdamW's two moments.
    `counted_on`: `meta`, or `cpu` for a network that runs on real values only.
    """

    macs: int
    params: int
    activations: int
    weight_bytes: int
    peak_activation_bytes: int
    operators: tuple[OperatorCost, ...] = ()
    uncounted: tuple[UncountedOperator, ...] = ()
    read_bytes: int | None = None
    written_bytes: int | None = None
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    counted_on: Literal["meta", "cpu"] = "meta"

    @property
    def forecast_bytes(self) -> int:
        """The most memory that the model is expected to hold: weights, optimizer, activations, gradients."""
        return self.weight_bytes + self.optimizer_bytes + max(self.peak_activation_bytes, self.gradient_bytes)

    def with_half_the_bytes(self) -> Cost:
        """The cost of the same network in a dtype of two bytes instead of four.

        Of whole-number tensors, which keep their size, networks hold next to nothing.
        """
        names = (
            *("weight_bytes", "peak_activation_bytes", "read_bytes", "written_bytes"),
            *("gradient_bytes", "optimizer_bytes"),
        )
        sizes: dict[str, int | None] = {name: getattr(self, name) for name in names}
        halved = {name: None if size is None else size // 2 for name, size in sizes.items()}
        return msgspec.structs.replace(self, **halved)

    @property
    def macs_per_byte(self) -> float | None:
        """Arithmetic intensity: MACs a byte read or written."""
        if self.read_bytes is None or self.written_bytes is None:
            return None
        traffic = self.read_bytes + self.written_bytes
        return self.macs / traffic if traffic else None


class GpuState(_Value, frozen=True):
    """The GPU right after a visit's samples; None where it is not told.

    `clock_mhz` is timed (a spin of known cycles), the rest is NVML's: `reported_clock_mhz` and
    `memory_clock_mhz`, temperature in °C, power in watts, `events` that hold the clock down by name, and how
    many other processes hold the GPU.
    """

    clock_mhz: float | None = None
    reported_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    events: tuple[str, ...] | None = None
    other_processes: int | None = None

    def __post_init__(self) -> None:
        _require_finite("GPU state", (self.clock_mhz or 0.0, self.power_w or 0.0))


class StepParts(_Value, frozen=True):
    """The parts of training steps that were timed apart, in seconds: one value a step in each."""

    forward_s: tuple[float, ...]
    backward_s: tuple[float, ...]
    optimizer_s: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("forward_s", "backward_s", "optimizer_s"):
            values: tuple[float, ...] = getattr(self, name)
            _require_finite(name, values)
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must hold times above zero: {values}")


class Visit(_Value, frozen=True):
    """The samples of one model in one round, and the references timed right before and after it.

    All in seconds, in the order in which they were taken. `gpu_samples_s` are the device-side times of
    the same kind of call (CUDA only; None where a sample could not be verified), `graph_samples_s` times a
    pass of blocks of CUDA-graph replays, `gpu` the device's state after them. `parts` are those of training
    steps of the same visit, timed apart. Over the samples alone:
    `minor_faults` and `involuntary_switches` of the process, CPU time `cpu_s` of all its threads and
    `foreign_cpu_s` that its CPUs gave to others meanwhile (known to a hundredth of a second a CPU, so that
    it may be below zero), and `throttled_s`, for how long its cgroup was held back by its quota. None where
    the system does not say.
    """

    round: int
    samples_s: tuple[float, ...]
    reference_network_s: tuple[float, ...]
    matrix_product_s: tuple[float, ...]
    gpu_samples_s: tuple[float, ...] | None = None
    minor_faults: int | None = None
    involuntary_switches: int | None = None
    cpu_s: float | None = None
    foreign_cpu_s: float | None = None
    throttled_s: float | None = None
    graph_samples_s: tuple[float, ...] | None = None
    gpu: GpuState | None = None
    parts: StepParts | None = None

    def __post_init__(self) -> None:
        for name in ("samples_s", "reference_network_s", "matrix_product_s"):
            values: tuple[float, ...] = getattr(self, name)
            _require_finite(name, values)
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must hold times above zero: {values}")
        _require_finite("device samples", (*(self.gpu_samples_s or ()), *(self.graph_samples_s or ())))


class Warmup(_Value, frozen=True):
    """How a model was warmed up: passes, seconds, and whether its time had settled by then."""

    passes: int
    seconds: float
    stationary: bool


class Sustained(_Value, frozen=True):
    """Passes back to back, with nothing between them: what throughput and energy are taken from.

    `chunks_s` are the times of consecutive chunks of `passes_per_chunk` passes each. `energy_j` is what the
    energy counter grew by over all of them, `idle_power_w` what the machine drew while nothing ran. A counter
    that moves in slow ticks (NVML) is read from tick to tick in passes of their own instead: then
    `energy_passes` and `energy_window_s` are what lies between, and `temperature_c` the GPU's at the end.
    """

    passes_per_chunk: int
    chunks_s: tuple[float, ...]
    energy_j: float | None = None
    idle_power_w: float | None = None
    energy_missing: str | None = None
    energy_passes: float | None = None
    energy_window_s: float | None = None
    temperature_c: int | None = None

    def __post_init__(self) -> None:
        _require_finite("chunks_s", self.chunks_s)
        if self.passes_per_chunk < 1 or not self.chunks_s or min(self.chunks_s) <= 0:
            raise ValueError(f"chunks must hold passes and times: {self.passes_per_chunk}, {self.chunks_s}")
        _require_finite("energy", (self.energy_j or 0.0, self.idle_power_w or 0.0))
        if self.energy_j is None and not self.energy_missing:
            raise ValueError("a missing energy_j needs its reason")


class Compiled(_Value, frozen=True):
    """What a runtime made of the network: in how long, by which version, and how near its outputs are.

    `output_error` is the distance of its outputs from eager's over the size of eager's, both as root mean
    squares; it was checked to be at most `allowed_error`.
    """

    seconds: float
    version: str
    output_error: float
    allowed_error: float

    def __post_init__(self) -> None:
        _require_finite("compiled", (self.seconds, self.output_error, self.allowed_error))


class DeviceMemory(_Value, frozen=True):
    """Memory of a GPU beside what tensors hold (`Launch.peak_memory_bytes`), in bytes; None where not told.

    `reserved_bytes`: the most that torch's allocator had taken from the device during the passes.
    `used_bytes`: of the whole device, everybody's. `context_bytes`: what the process holds beside its
    allocator, for the driver's context and kernels.
    """

    reserved_bytes: int | None = None
    used_bytes: int | None = None
    context_bytes: int | None = None


class Launch(_Value, frozen=True):
    """One model's part of one fresh worker process.

    Models that do not fit in memory together are launched in groups, each `group` in a worker of its own; an
    anchor model is in all of them. `worker` names the process: only what one process measured stands in the
    same rounds. `baseline_memory_bytes` is what the process held before the model was built,
    `peak_memory_bytes` the most that it held beyond that in any pass, `peak_memory_low_bytes` in the pass
    that held the least. `denormal_share` is that of the numbers between the modules: denormals are slow.
    `compiled` is there for every runtime but eager; `graph_missing` says why there are no graph samples.
    """

    launch: int
    complete: bool
    build_s: float
    cold_s: float
    warmup: Warmup
    peak_memory_bytes: int | None
    peak_memory_missing: str | None
    output_std: float
    visits: tuple[Visit, ...]
    group: int = 0
    worker: str = ""
    peak_memory_low_bytes: int | None = None
    baseline_memory_bytes: int | None = None
    input_bytes: int | None = None
    denormal_share: float | None = None
    sustained: Sustained | None = None
    compiled: Compiled | None = None
    device_memory: DeviceMemory | None = None
    graph_missing: str | None = None

    def __post_init__(self) -> None:
        _require_finite("launch", (self.build_s, self.cold_s, self.warmup.seconds, self.output_std))
        if self.peak_memory_bytes is None and not self.peak_memory_missing:
            raise ValueError("a missing peak_memory_bytes needs its reason")

    @property
    def process(self) -> str:
        """What tells one worker process from another in a run."""
        return self.worker or f"{self.launch}/{self.group}"


class Host(_Value, frozen=True):
    """The machine and the software that a run was made with.

    `load_1m` and `cpu_pressure` (share of the last ten seconds in which some task waited for a CPU) are those
    when the first worker was ready.
    """

    system: str
    cpu_model: str
    cpu_capability: str
    logical_cpus: int
    usable_cpus: int
    memory_bytes: int
    python: str
    torch: str
    torchvision: str
    allocator: str
    openmp_wait_policy: str | None = None
    openmp: str | None = None
    onednn: bool | None = None
    native_dtypes: tuple[DType, ...] | None = None
    governor: str | None = None
    turbo: bool | None = None
    smt: bool | None = None
    cgroup_cpus: float | None = None
    load_1m: float | None = None
    cpu_pressure: float | None = None
    cuda: str | None = None
    cudnn: str | None = None
    gpu_name: str | None = None
    gpu_driver: str | None = None
    gpu_memory_bytes: int | None = None
    tf32_convolutions: bool | None = None
    tf32_matrix_products: bool | None = None
    cudnn_benchmark: bool | None = None

    def stable_part(self) -> dict[str, object]:
        """The facts that must be equal for two measurements to belong to one run."""
        names = (
            *("cpu_model", "cpu_capability", "usable_cpus", "torch", "allocator", "gpu_name", "gpu_driver"),
            "openmp_wait_policy",
            *("tf32_convolutions", "tf32_matrix_products", "cudnn_benchmark"),
        )
        return {name: getattr(self, name) for name in names}


class Plan(_Value, frozen=True):
    """How much measuring is enough: launches × rounds × samples, and when to stop early.

    `heavy_s`: a model gets fewer rounds, down to the least, where its visits of a launch would take longer
    than this. `sustained_s`: how long passes run back to back for throughput and energy, 0 for not at all.
    `energy_s`: for how long, where the counter moves in slow ticks.
    """

    preset: str
    launches: int
    min_rounds: int
    max_rounds: int
    target_ci: float
    max_time_s: float | None = None
    timeout_s: float = 600.0
    heavy_s: float | None = None
    sustained_s: float = 0.0
    energy_s: float = 5.0

    def __post_init__(self) -> None:
        if self.launches < 1 or not 1 <= self.min_rounds <= self.max_rounds:
            raise ValueError(f"not a plan: {self.launches} launches of {self.min_rounds}..{self.max_rounds}")


class RunHeader(_Value, frozen=True, tag_field="kind", tag="run"):
    """The first line of a run file."""

    scaleprof: str
    command: tuple[str, ...]
    started_at: str
    host: Host
    protocol: int
    seed: int
    plan: Plan
    schema: int = SCHEMA_VERSION


class BatchTrial(_Value, frozen=True):
    """One batch that was tried: the samples a second of a short run, or why it did not run."""

    batch_size: int
    throughput_per_s: float | None
    reason: str | None = None

    def __post_init__(self) -> None:
        _require_finite("throughput_per_s", (self.throughput_per_s or 0.0,))
        if (self.throughput_per_s is None) != (self.reason is not None):
            raise ValueError("a batch that did not run needs a reason, and only such")


class BatchSearch(_Value, frozen=True):
    """Batches that were tried for one model, in the order of trial; one of them ran at least.

    `limit`: the largest batch that was to be tried, by the forecast of memory; None where memory itself was
    the limit.
    """

    trials: tuple[BatchTrial, ...]
    limit: int | None = None

    def __post_init__(self) -> None:
        if all(trial.throughput_per_s is None for trial in self.trials):
            raise ValueError("a search in which no batch ran found nothing")

    @property
    def largest(self) -> int:
        """The largest batch that ran."""
        return max(trial.batch_size for trial in self.trials if trial.throughput_per_s is not None)


class Record(_Value, frozen=True, tag_field="kind", tag="record"):
    """One spec × workload: what it costs, what was measured, and how it ended.

    A record is whole: a later line for the same spec and workload replaces an earlier one. `achieved_growth`
    is of MACs against the base, `matched_growth` of the metric that the sweep was matched on.
    """

    spec: ModelSpec
    workload: Workload
    cost: Cost | None
    achieved_growth: float | None
    status: Status
    reason: str | None
    finished_at: str
    launches: tuple[Launch, ...] = ()
    stop: Stop | None = None
    matched_growth: float | None = None
    quoted: Quoted | None = None
    batch_search: BatchSearch | None = None

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.reason is None):
            raise ValueError(f"reason is null for status ok, and only then: {self.status}, {self.reason!r}")
        _require_finite("growth", (self.achieved_growth or 0.0, self.matched_growth or 0.0))

    @property
    def key(self) -> tuple[object, ...]:
        """What a resumed run recognises it by: the network's integers and the workload."""
        return (*self.spec.identity, self.workload)

    @property
    def measured(self) -> bool:
        """Whether it carries samples that may be shown as numbers."""
        return self.status in MEASURED_STATUSES and any(launch.visits for launch in self.launches)


class RunLog(_Value, frozen=True):
    """What a run file holds: its header, and the last record of each spec × workload in file order."""

    header: RunHeader
    records: tuple[Record, ...]


def _require_finite(name: str, values: Iterable[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite: {value}")

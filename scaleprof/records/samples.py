"""What was measured of one model in one fresh process: raw values, grouped by launch and round."""

from __future__ import annotations

from scaleprof.records.values import Value, require_finite


class GpuState(Value, frozen=True):
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
        require_finite("GPU state", (self.clock_mhz or 0.0, self.power_w or 0.0))


class StepParts(Value, frozen=True):
    """The parts of training steps that were timed apart, in seconds: one value a step in each."""

    forward_s: tuple[float, ...]
    backward_s: tuple[float, ...]
    optimizer_s: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("forward_s", "backward_s", "optimizer_s"):
            values: tuple[float, ...] = getattr(self, name)
            require_finite(name, values)
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must hold times above zero: {values}")


class Visit(Value, frozen=True):
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
            require_finite(name, values)
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must hold times above zero: {values}")
        require_finite("device samples", (*(self.gpu_samples_s or ()), *(self.graph_samples_s or ())))


class Warmup(Value, frozen=True):
    """How a model was warmed up: passes, seconds, and whether its time had settled by then."""

    passes: int
    seconds: float
    stationary: bool


class Sustained(Value, frozen=True):
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
        require_finite("chunks_s", self.chunks_s)
        if self.passes_per_chunk < 1 or not self.chunks_s or min(self.chunks_s) <= 0:
            raise ValueError(f"chunks must hold passes and times: {self.passes_per_chunk}, {self.chunks_s}")
        require_finite("energy", (self.energy_j or 0.0, self.idle_power_w or 0.0))
        if self.energy_j is None and not self.energy_missing:
            raise ValueError("a missing energy_j needs its reason")


class Compiled(Value, frozen=True):
    """What a runtime made of the network: in how long, by which version, and how near its outputs are.

    `output_error` is the distance of its outputs from eager's over the size of eager's, both as root mean
    squares; it was checked to be at most `allowed_error`.
    """

    seconds: float
    version: str
    output_error: float
    allowed_error: float

    def __post_init__(self) -> None:
        require_finite("compiled", (self.seconds, self.output_error, self.allowed_error))


class DeviceMemory(Value, frozen=True):
    """Memory of a GPU beside what tensors hold (`Launch.peak_memory_bytes`), in bytes; None where not told.

    `reserved_bytes`: the most that torch's allocator had taken from the device during the passes.
    `used_bytes`: of the whole device, everybody's. `context_bytes`: what the process holds beside its
    allocator, for the driver's context and kernels.
    """

    reserved_bytes: int | None = None
    used_bytes: int | None = None
    context_bytes: int | None = None


class MachineCeilings(Value, frozen=True):
    """What a worker saw its device do when its last sample was taken, in seconds.

    `product_s`: products of two matrices of `matrix_side` rows and columns in the models' dtype, each of
    `matrix_side`³ MACs. `copy_s`: copies that read and write `moved_bytes` in all.
    """

    matrix_side: int
    product_s: tuple[float, ...]
    moved_bytes: int
    copy_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.matrix_side < 1 or self.moved_bytes < 1:
            raise ValueError(f"ceilings are of work: {self.matrix_side}, {self.moved_bytes}")
        for name in ("product_s", "copy_s"):
            values: tuple[float, ...] = getattr(self, name)
            require_finite(name, values)
            if not values or min(values) <= 0:
                raise ValueError(f"{name} must hold times above zero: {values}")


class Launch(Value, frozen=True):
    """One model's part of one fresh worker process.

    Models that do not fit in memory together are launched in groups, each `group` in a worker of its own; an
    anchor model is in all of them. `worker` names the process: only what one process measured stands in the
    same rounds. `baseline_memory_bytes` is what the process held before the model was built,
    `peak_memory_bytes` the most that it held beyond that in any pass, `peak_memory_low_bytes` in the pass
    that held the least. `denormal_share` is that of the numbers between the modules: denormals are slow.
    `compiled` is there for every runtime but eager; `graph_missing` says why there are no graph samples, and
    `ceilings_missing` why the process did not measure the machine's ceilings, if it came to that.
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
    ceilings: MachineCeilings | None = None
    ceilings_missing: str | None = None

    def __post_init__(self) -> None:
        require_finite("launch", (self.build_s, self.cold_s, self.warmup.seconds, self.output_std))
        if self.peak_memory_bytes is None and not self.peak_memory_missing:
            raise ValueError("a missing peak_memory_bytes needs its reason")

    @property
    def process(self) -> str:
        """What tells one worker process from another in a run."""
        return self.worker or f"{self.launch}/{self.group}"

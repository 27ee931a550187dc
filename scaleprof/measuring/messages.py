"""What the scheduler and a worker say to each other, one JSON value a line.

The worker does nothing unasked, so nothing runs beside a sample that the scheduler did not start.
"""

from __future__ import annotations

import msgspec

from scaleprof.records import (
    Compiled,
    DeviceMemory,
    DType,
    GpuState,
    Host,
    MachineCeilings,
    ModelSpec,
    Status,
    StepParts,
    Sustained,
    Warmup,
    Workload,
)


class Job(msgspec.Struct, frozen=True):
    """One model under one workload; `number` is unique in a sweep.

    `locator` is what `scaleprof.models.find_model` finds the model by, in whatever process; `params` how many
    parameters it was counted with, if it was.
    """

    number: int
    spec: ModelSpec
    workload: Workload
    locator: str
    params: int | None = None


class Open(msgspec.Struct, frozen=True, tag=True):
    """Set up the process: device, threads, references; exported models are kept in `folder`."""

    device: str
    threads: int
    seed: int
    allocator: str
    folder: str


class Compile(msgspec.Struct, frozen=True, tag=True):
    """Build one model, make its runtime's form of it, and check that against eager's outputs."""

    job: Job


class Build(msgspec.Struct, frozen=True, tag=True):
    """Build, prepare, check and warm up one model; with `inspect`, take its peak memory on the CPU first.

    For a runtime that compiles, after `Compile`.
    """

    job: Job
    inspect: bool


class Visit(msgspec.Struct, frozen=True, tag=True):
    """Time one model that has been built, between two timings of the references."""

    job: int


class Sustain(msgspec.Struct, frozen=True, tag=True):
    """Run one model that has been built back to back for at least so many seconds.

    Where the energy counter moves in slow ticks, it is read in passes of their own over `energy_s` seconds.
    """

    job: int
    at_least_s: float
    energy_s: float


class Try(msgspec.Struct, frozen=True, tag=True):
    """Build one model, run a few passes of it back to back, and forget it."""

    job: Job


class MeasureCeilings(msgspec.Struct, frozen=True, tag=True):
    """Free all models and measure the machine's ceilings in a dtype: a worker's last work."""

    dtype: DType


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The worker is ready."""

    host: Host


class Built(msgspec.Struct, frozen=True, tag=True):
    """The model runs and is warm."""

    build_s: float
    cold_s: float
    warmup: Warmup
    peak_memory_bytes: int | None
    peak_memory_missing: str | None
    output_std: float
    peak_memory_low_bytes: int | None = None
    baseline_memory_bytes: int | None = None
    input_bytes: int | None = None
    denormal_share: float | None = None
    compiled: Compiled | None = None
    device_memory: DeviceMemory | None = None
    graph_missing: str | None = None


class Made(msgspec.Struct, frozen=True, tag=True):
    """The runtime has its form of the model."""

    compiled: Compiled


class Visited(msgspec.Struct, frozen=True, tag=True):
    """The samples of one visit, in seconds; references hold the times before and after it."""

    samples_s: tuple[float, ...]
    reference_network_s: tuple[float, ...]
    matrix_product_s: tuple[float, ...]
    gpu_samples_s: tuple[float, ...] | None
    minor_faults: int | None = None
    involuntary_switches: int | None = None
    cpu_s: float | None = None
    foreign_cpu_s: float | None = None
    throttled_s: float | None = None
    graph_samples_s: tuple[float, ...] | None = None
    gpu: GpuState | None = None
    parts: StepParts | None = None


class Ran(msgspec.Struct, frozen=True, tag=True):
    """The model has run back to back."""

    sustained: Sustained


class Tried(msgspec.Struct, frozen=True, tag=True):
    """The model ran: seconds a pass, roughly."""

    pass_s: float


class CeilingsMeasured(msgspec.Struct, frozen=True, tag=True):
    """The machine's ceilings, or why there are none."""

    ceilings: MachineCeilings | None
    missing: str | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The model failed; `fatal` when the worker cannot be used any more."""

    status: Status
    reason: str
    fatal: bool


Command = Open | Compile | Build | Visit | Sustain | Try | MeasureCeilings
Reply = Opened | Made | Built | Visited | Ran | Tried | CeilingsMeasured | Refused

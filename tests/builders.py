"""Values for tests; a test spells out only what it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from scaleprof.measuring.messages import Built, CeilingsMeasured, Job, Visited
from scaleprof.measuring.presets import make_plan
from scaleprof.models import FAMILIES
from scaleprof.records import (
    Cost,
    DType,
    Host,
    Launch,
    MachineCeilings,
    ModelSpec,
    Phi,
    Plan,
    Record,
    RunHeader,
    RunLog,
    Status,
    Sustained,
    Visit,
    Warmup,
    Workload,
)

HOST = Host(
    system="Linux 6.1",
    cpu_model="Test CPU",
    cpu_capability="AVX2",
    logical_cpus=4,
    usable_cpus=2,
    memory_bytes=8 * 2**30,
    python="3.11.7",
    torch="2.11.0",
    torchvision="0.26.0",
    allocator="glibc pinned",
)
CPU = Workload("cpu", batch_size=1, threads=2)

# A network of a person's own whose pass takes microseconds.
TINY_NETWORK = """
from torch import nn

def build(scale):
    channels = scale.channels(16)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10),
    )

build.input_size = 32
"""

# Families whose base runs in a second; those of sequences and of large images run in tests of their own.
QUICK_FAMILIES = [
    name for name, family in FAMILIES.items() if family.input_unit == "px" and family.base_input_size < 512
]


def make_spec(
    strategy: str = "compound",
    phi: Phi | None = 1,
    *,
    model: str = "efficientnet_b0",
    channels: int = 32,
    **fields: object,
) -> ModelSpec:
    defaults = {
        "depth": 1.2,
        "width": 1.1,
        "resolution": 1.15,
        "input_size": 258,
        "shape": {"stem_channels": channels, "stage_repeats": (1, 2)},
    }
    return ModelSpec(model=model, strategy=strategy, phi=phi, **defaults | fields)  # type: ignore[arg-type]


def make_cost(macs: int = 400_000_000, **fields: int) -> Cost:
    defaults = {
        "params": 5_000_000,
        "activations": 7_000_000,
        "weight_bytes": 20_000_000,
        "peak_activation_bytes": 11_000_000,
    }
    return Cost(macs=macs, **defaults | fields)  # type: ignore[arg-type]


def make_visit(
    latency_s: float = 0.01, *, round_number: int = 0, samples: int = 3, reference_s: float = 0.001
) -> Visit:
    return Visit(
        round=round_number,
        samples_s=(latency_s,) * samples,
        reference_network_s=(reference_s,) * 6,
        matrix_product_s=(reference_s / 2,) * 6,
    )


def make_launch(
    latency_s: float = 0.01,
    *,
    launch: int = 0,
    rounds: int = 6,
    complete: bool = True,
    spread: float = 0.0,
    peak_memory_bytes: int | None = 50_000_000,
) -> Launch:
    visits = tuple(
        make_visit(latency_s * (1 + spread * (n - rounds / 2)), round_number=n) for n in range(rounds)
    )
    return Launch(
        launch=launch,
        complete=complete,
        build_s=0.5,
        cold_s=0.05,
        warmup=Warmup(6, 0.1, stationary=True),
        peak_memory_bytes=peak_memory_bytes,
        peak_memory_missing=None if peak_memory_bytes else "no high-water mark here",
        output_std=0.1,
        visits=visits,
    )


def make_record(
    spec: ModelSpec | None = None,
    *,
    latency_s: float = 0.01,
    macs: int = 400_000_000,
    status: Status = "ok",
    reason: str | None = None,
    launches: int = 3,
    workload: Workload = CPU,
) -> Record:
    measured = tuple(make_launch(latency_s * (1 + 0.01 * n), launch=n) for n in range(launches))
    return Record(
        spec=spec or make_spec(),
        workload=workload,
        cost=make_cost(macs),
        achieved_growth=macs / 400_000_000,
        status=status,
        reason=reason,
        finished_at="2026-01-01T00:00:00+00:00",
        launches=measured if status == "ok" else (),
        stop="target_met" if status == "ok" else None,
    )


def make_header(**fields: object) -> RunHeader:
    defaults: dict[str, object] = {
        "scaleprof": "0.1.0",
        "command": ("scaleprof", "sweep", "--phi", "0..3"),
        "started_at": "2026-01-01T00:00:00+00:00",
        "host": HOST,
        "protocol": 1,
        "seed": 0,
        "plan": make_plan("default"),
    }
    return RunHeader(**defaults | fields)  # type: ignore[arg-type]


def make_log(*records: Record) -> RunLog:
    return RunLog(make_header(), records or (make_record(),))


def family_log(phis: range = range(1, 4), *, strategies: tuple[str, ...] = ("compound", "width")) -> RunLog:
    """A base and strategies that each grow MACs by 2^φ; later strategies are slower."""
    records = [make_record(make_spec("base", 0, depth=1, width=1, resolution=1, input_size=224))]
    for place, strategy in enumerate(strategies):
        for phi in phis:
            spec = make_spec(strategy, phi, channels=100 * place + phi)
            latency_s = 0.01 * 2**phi * (1 + 0.3 * place)
            records.append(make_record(spec, latency_s=latency_s, macs=400_000_000 * 2**phi))
    return make_log(*records)


def make_job(number: int = 0, spec: ModelSpec | None = None, workload: Workload = CPU) -> Job:
    spec = spec or make_spec("compound", number + 1, channels=8 * (number + 1))
    return Job(number, spec, workload, spec.model)


class SimulatedBench:
    """A bench whose models take exactly the times they are given; time passes on its clock alone."""

    def __init__(
        self,
        latency_s: Mapping[int, float],
        *,
        on_build: Callable[[Job], None] = lambda _job: None,
        on_visit: Callable[[Job], None] = lambda _job: None,
    ) -> None:
        self.now_s = 0.0
        self.visited: list[int] = []
        self.inspected: list[int] = []
        self.sustained: list[int] = []
        self.threads: list[int] = []
        self._latency_s = latency_s
        self._on_build = on_build
        self._on_visit = on_visit

    def clock(self) -> float:
        return self.now_s

    @property
    def opened(self) -> int:
        return len(self.threads)

    @property
    def worker(self) -> str:
        return f"worker {self.opened}"

    @contextmanager
    def open(self, threads: int) -> Iterator[SimulatedBench]:
        self.threads.append(threads)
        yield self

    def build(self, job: Job, *, inspect: bool) -> Built:
        self.now_s += 1.0
        self._on_build(job)
        if inspect:
            self.inspected.append(job.number)
        peak, missing = (1000, None) if inspect else (None, "taken before")
        return Built(1.0, 0.5, Warmup(6, 0.1, stationary=True), peak, missing, 0.1)

    def visit(self, job: Job) -> Visited:
        self.visited.append(job.number)
        self.now_s += self._latency_s[job.number]
        self._on_visit(job)
        return Visited((self._latency_s[job.number],), (0.001,), (0.0005,), None)

    def sustain(self, job: Job, at_least_s: float, energy_s: float = 0.0) -> Sustained:
        self.sustained.append(job.number)
        self.now_s += at_least_s
        return Sustained(1, (at_least_s,), energy_missing="simulated")

    def ceilings(self, dtype: DType) -> CeilingsMeasured:
        """A million MACs in 20 µs, two million bytes in 100 µs."""
        return CeilingsMeasured(MachineCeilings(100, (2e-5,), 2_000_000, (1e-4,)))


def make_plan_of(**fields: object) -> Plan:
    defaults: dict[str, object] = {
        "preset": "test",
        "launches": 2,
        "min_rounds": 6,
        "max_rounds": 8,
        "target_ci": 0.05,
        "timeout_s": 60.0,
    }
    return Plan(**defaults | fields)  # type: ignore[arg-type]

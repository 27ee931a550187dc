"""A run: the machine, the plan, and a record for each model under each workload."""

from __future__ import annotations

from typing import Literal

from scaleprof.records.costs import Cost
from scaleprof.records.samples import Launch
from scaleprof.records.specs import DType, ModelSpec, Workload
from scaleprof.records.values import Value, require_finite

SCHEMA_VERSION = 1
Status = Literal[
    "ok", "unstable", "oom", "timeout", "killed", "failed", "unsupported", "unmatched", "skipped"
]
Stop = Literal["target_met", "budget_exhausted"]

MEASURED_STATUSES: frozenset[Status] = frozenset({"ok", "unstable"})
# Known before anything ran: there is no such model, or it is not to be run.
UNTRIED_STATUSES: frozenset[Status] = frozenset({"unmatched", "unsupported", "skipped"})


class Quoted(Value, frozen=True):
    """An accuracy that somebody else measured, in percent, and how and where it was got.

    `error`: half the width of its 95 % interval in percentage points, where that is known.
    """

    accuracy: float
    recipe: str
    error: float | None = None

    def __post_init__(self) -> None:
        require_finite("accuracy", (self.accuracy, self.error or 0.0))
        if not 0 <= self.accuracy <= 100 or (self.error or 0.0) < 0:
            raise ValueError(f"not an accuracy in percent: {self.accuracy} ± {self.error}")


class Host(Value, frozen=True):
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


class Plan(Value, frozen=True):
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


class RunHeader(Value, frozen=True, tag_field="kind", tag="run"):
    """The first line of a run file; `revision`: of the git repository around it, if no file was changed."""

    scaleprof: str
    command: tuple[str, ...]
    started_at: str
    host: Host
    protocol: int
    seed: int
    plan: Plan
    schema: int = SCHEMA_VERSION
    revision: str | None = None


class BatchTrial(Value, frozen=True):
    """One batch that was tried: the samples a second of a short run, or why it did not run."""

    batch_size: int
    throughput_per_s: float | None
    reason: str | None = None

    def __post_init__(self) -> None:
        require_finite("throughput_per_s", (self.throughput_per_s or 0.0,))
        if (self.throughput_per_s is None) != (self.reason is not None):
            raise ValueError("a batch that did not run needs a reason, and only such")


class BatchSearch(Value, frozen=True):
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


class Record(Value, frozen=True, tag_field="kind", tag="record"):
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
        require_finite("growth", (self.achieved_growth or 0.0, self.matched_growth or 0.0))

    @property
    def key(self) -> tuple[object, ...]:
        """What a resumed run recognises it by: the network's integers and the workload."""
        return (*self.spec.identity, self.workload)

    @property
    def measured(self) -> bool:
        """Whether it carries samples that may be shown as numbers."""
        return self.status in MEASURED_STATUSES and any(launch.visits for launch in self.launches)


class RunLog(Value, frozen=True):
    """What a run file holds: its header, and the last record of each spec × workload in file order."""

    header: RunHeader
    records: tuple[Record, ...]

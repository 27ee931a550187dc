"""What differs between runs: machines, software, workloads, plans; so that nothing is mixed unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from scaleprof.records import Host, Plan, Workload
from scaleprof.reporting.analysis_tables import TextTable
from scaleprof.reporting.compared import Run
from scaleprof.reporting.workloads import FIELDS, varying, words
from scaleprof.stats.noise import noise_verdict
from scaleprof.units import format_bytes, plural

# Fields of a host's stable part, and of a workload, for people.
LABELS = {
    "device": "device",
    "threads": "threads",
    "cpu_model": "CPU",
    "cpu_capability": "CPU instructions",
    "usable_cpus": "usable CPUs",
    "torch": "torch",
    "allocator": "allocator",
    "openmp_wait_policy": "OpenMP waiting",
    "gpu_name": "GPU",
    "gpu_driver": "GPU driver",
    "tf32_convolutions": "TF32 in convolutions",
    "tf32_matrix_products": "TF32 in matrix products",
    "cudnn_benchmark": "cuDNN benchmark mode",
}


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "–" if value is None else str(value)


def _of_host(name: str) -> Callable[[Run], str]:
    return lambda run: _told(getattr(run.log.header.host, name))


def _cpu(host: Host) -> str:
    return f"{host.cpu_model} ({host.cpu_capability}), {host.usable_cpus} CPUs usable"


def _plan(plan: Plan) -> str:
    return f"{plan.preset}, {plural(plan.launches, 'launch', 'launches')}"


def _noise(spread: float | None) -> str:
    return "unknown" if spread is None else noise_verdict(spread)


_OF_RUNS: dict[str, Callable[[Run], str]] = {
    "CPU": lambda run: _cpu(run.log.header.host),
    "GPU": lambda run: run.log.header.host.gpu_name or "none used",
    "GPU driver": _of_host("gpu_driver"),
    "Memory": lambda run: format_bytes(run.log.header.host.memory_bytes),
    "System": _of_host("system"),
    "Python": _of_host("python"),
    "torch": _of_host("torch"),
    "torchvision": _of_host("torchvision"),
    "CUDA": _of_host("cuda"),
    "cuDNN": _of_host("cudnn"),
    "cuDNN benchmark mode": _of_host("cudnn_benchmark"),
    "TF32 in convolutions": _of_host("tf32_convolutions"),
    "TF32 in matrix products": _of_host("tf32_matrix_products"),
    "Allocator": _of_host("allocator"),
    "OpenMP": _of_host("openmp"),
    "OpenMP waiting": _of_host("openmp_wait_policy"),
    "Governor": _of_host("governor"),
    "scaleprof": lambda run: run.log.header.scaleprof,
    "Protocol": lambda run: str(run.log.header.protocol),
    "Preset": lambda run: _plan(run.log.header.plan),
    "Machine": lambda run: _noise(run.comparer.noise),
    "Started": lambda run: run.log.header.started_at[:16].replace("T", " "),
}


def what_differs(runs: Sequence[Run]) -> TextTable | None:
    """A table of what is not the same in all runs, a column a run; None if nothing is told apart."""
    rows = [
        ("Device", *(", ".join(dict.fromkeys(one.device for one in run.workloads)) for run in runs)),
        *((_label(name), *(_values(run, name) for run in runs)) for name in FIELDS),
        *((label, *(tell(run) for run in runs)) for label, tell in _OF_RUNS.items()),
    ]
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    if not differing:
        return None
    caption = "What differs between the runs; whatever else they tell of themselves is the same."
    return TextTable("differing", "What differs", caption, ("", *(run.name for run in runs)), differing)


def left_out(run: Run, other: Run, taken: Set[Workload]) -> str | None:
    """The workloads of a run that have no counterpart in another, in words; None if all have."""
    alone = [workload for workload in run.workloads if workload not in taken]
    if not alone:
        return None
    told = varying([*run.workloads, *other.workloads]) or ["batch_size"]
    names = "; ".join(", ".join(words(workload, told)) for workload in alone)
    return f"{run.name}: {names}"


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _values(run: Run, name: str) -> str:
    return ", ".join(dict.fromkeys(words(workload, [name])[0] for workload in run.workloads))

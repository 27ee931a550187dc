"""What the kernel tells of the processor: clock, turbo, hyper-threads, and the CPUs this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from scaleprof.measuring.cpus import parse_cpu_list
from scaleprof.measuring.kernel_files import read_int, read_text

_CPUS = Path("sys/devices/system/cpu")


class ProcessorFacts(msgspec.Struct, frozen=True):
    """What the kernel tells of the CPUs that this process may use.

    `threads`: how many of them a worker takes, on cores of their own as far as there are enough. `governors`
    and `siblings` are by CPU, the latter with all threads of its core, itself included.
    """

    logical_cpus: int
    allowed: tuple[int, ...]
    threads: int
    governors: dict[int, str]
    turbo: bool | None
    siblings: dict[int, tuple[int, ...]]


def read_processor(threads: int, root: Path = Path("/")) -> ProcessorFacts:
    """The facts for a worker of so many threads, from sysfs below `root`."""
    allowed = tuple(sorted(os.sched_getaffinity(0)))
    return processor_facts(os.cpu_count() or len(allowed), allowed, threads, root)


def processor_facts(logical_cpus: int, allowed: tuple[int, ...], threads: int, root: Path) -> ProcessorFacts:
    """What sysfs below `root` tells of these CPUs."""
    governors = _of_each(allowed, root, "cpufreq/scaling_governor")
    siblings = _of_each(allowed, root, "topology/thread_siblings_list")
    return ProcessorFacts(
        logical_cpus=logical_cpus,
        allowed=allowed,
        threads=threads,
        governors=governors,
        turbo=_turbo(root),
        siblings={cpu: parse_cpu_list(text) for cpu, text in siblings.items()},
    )


def _of_each(cpus: Iterable[int], root: Path, name: str) -> dict[int, str]:
    texts = {cpu: read_text(root / _CPUS / f"cpu{cpu}" / name) for cpu in cpus}
    return {cpu: text for cpu, text in texts.items() if text}


def _turbo(root: Path) -> bool | None:
    """Whether clocks above the nominal one are allowed: Intel's switch is the other way round."""
    no_turbo = read_int(root / _CPUS / "intel_pstate" / "no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = read_int(root / _CPUS / "cpufreq" / "boost")
    return None if boost is None else boost != 0

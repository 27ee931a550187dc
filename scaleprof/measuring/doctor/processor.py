"""The processor: clock, turbo, hyper-threads, and which CPUs this process may use."""

from __future__ import annotations

from collections import Counter

from scaleprof.measuring.doctor.finding import UNTOLD, Finding, cpu_ranges, fine, unknown, warn
from scaleprof.measuring.processor import ProcessorFacts


def check_governor(facts: ProcessorFacts) -> Finding:
    """A governor that follows the load makes the first samples after a pause slow."""
    name = "CPU governor"
    if not facts.governors:
        return unknown(
            name, UNTOLD, "in a virtual machine the host decides: the self-test shows what comes of it"
        )
    counts = Counter(facts.governors.values())
    seen = ", ".join(f"{governor} on {count}" for governor, count in counts.most_common())
    seen = f"{seen} of {len(facts.governors)} CPUs"
    if set(counts) == {"performance"}:
        return fine(name, seen)
    return warn(
        name, f"{seen}: the clock follows the load", "sudo cpupower frequency-set --governor performance"
    )


def check_turbo(facts: ProcessorFacts) -> Finding:
    """Turbo clocks depend on heat and on how many cores are busy."""
    name = "turbo"
    if facts.turbo is None:
        return unknown(name, UNTOLD, "where the firmware or the host decides, let the machine warm up first")
    if not facts.turbo:
        return fine(name, "off: the clock has one upper limit")
    return warn(
        name,
        "on: the clock depends on heat and on how many cores are busy",
        "for steadier numbers: echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo "
        "(or 0 into cpufreq/boost)",
    )


def check_smt(facts: ProcessorFacts) -> Finding:
    """Two threads of one core share its arithmetic units, so the second adds little but noise."""
    name = "hyper-threads"
    if len(facts.siblings) < len(facts.allowed):
        return unknown(name, UNTOLD, "if this machine has them, give --threads the number of its cores")
    cores = len(set(facts.siblings.values()))
    if facts.threads > cores:
        return warn(
            name,
            f"{facts.threads} threads on {cores} cores: two of them share one core's arithmetic",
            f"one thread a core: --threads {cores}",
        )
    if any(len(core) > 1 for core in facts.siblings.values()):
        return fine(name, "on; each thread gets a core of its own, whose other half is left to others")
    return fine(name, "none, as far as the kernel knows: every CPU is a core")


def check_affinity(facts: ProcessorFacts) -> Finding:
    """A process that may use part of the machine shares caches and memory with the rest."""
    name = "CPU affinity"
    if len(facts.allowed) >= facts.logical_cpus:
        return fine(name, f"all {facts.logical_cpus} CPUs")
    return warn(
        name,
        f"CPUs {cpu_ranges(facts.allowed)} of {facts.logical_cpus}: the rest may be busy with other work "
        f"and shares caches and memory",
        "lift it (taskset, the container's cpuset), or compare only with runs under the same limit",
    )


PROCESSOR_CHECKS = (check_governor, check_turbo, check_smt, check_affinity)

"""What this process is allowed: CPU time and memory of its cgroup, and the counters it may read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from scaleprof.measuring.cgroups import smallest_quota
from scaleprof.measuring.doctor.finding import (
    UNTOLD,
    Finding,
    fine,
    percent,
    unknown,
    warn,
)
from scaleprof.measuring.energy import EnergyUnavailableError, Rapl, packages
from scaleprof.measuring.host import available_memory_bytes
from scaleprof.measuring.kernel_files import read_text
from scaleprof.units import format_bytes, format_count

_POWERCAP = Path("sys/class/powercap")
_THROTTLED = 0.01
_SWAP = 0.01
# Free memory that is enough: a tenth, but not less than this and no more than that.
_FREE_MEMORY = 0.1
_LEAST_FREE_BYTES, _MOST_FREE_BYTES = 2**30, 8 * 2**30
_RESET_HIGH_WATER_MARK = "5"


class LimitFacts(msgspec.Struct, frozen=True):
    """What the kernel tells of limits; None where it does not.

    `quota_cpus` is the smallest CPU quota of this cgroup and those around it, infinite without one. `periods`
    and `throttled`: scheduling periods since that cgroup was made, and those in which it was held back.
    `clear_refs`: why the high-water mark of memory cannot be reset, `rapl`: why the energy counters cannot be
    read; None if they can.
    """

    threads: int
    quota_cpus: float | None
    periods: int | None
    throttled: int | None
    memory_bytes: int
    available_bytes: int
    swap_used_bytes: int
    clear_refs: str | None
    has_rapl: bool
    rapl: str | None


def read_limits(threads: int, root: Path = Path("/")) -> LimitFacts:
    """The facts, from procfs and sysfs below `root`."""
    quota = smallest_quota(root)
    memory = _meminfo(root)
    return LimitFacts(
        threads=threads,
        quota_cpus=quota.cpus if quota else None,
        periods=quota.periods if quota else None,
        throttled=quota.throttled if quota else None,
        memory_bytes=memory.get("MemTotal", 0),
        available_bytes=available_memory_bytes(),
        swap_used_bytes=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
        clear_refs=_clear_refs(root),
        has_rapl=bool(packages(root / _POWERCAP)),
        rapl=_rapl(root),
    )


def _meminfo(root: Path) -> dict[str, int]:
    """Bytes, by the kernel's names."""
    lines = (read_text(root / "proc" / "meminfo") or "").splitlines()
    pairs = [line.split(":", 1) for line in lines if line.endswith("kB")]
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def _clear_refs(root: Path) -> str | None:
    """Reset this process's own high-water mark, as a worker does before it takes a peak."""
    try:
        (root / "proc" / "self" / "clear_refs").write_text(_RESET_HIGH_WATER_MARK)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _rapl(root: Path) -> str | None:
    try:
        Rapl(root / _POWERCAP)
    except EnergyUnavailableError as error:
        return str(error)
    return None


def check_quota(facts: LimitFacts) -> Finding:
    """More threads than the quota allows are stopped together in every scheduling period."""
    name = "CPU quota"
    if facts.quota_cpus is None:
        return unknown(name, UNTOLD, "in a container, see that its CPU limit is at least --threads")
    if facts.quota_cpus == float("inf"):
        return fine(name, "no limit")
    seen = f"{facts.quota_cpus:.3g} CPUs for {facts.threads} threads"
    if facts.quota_cpus >= facts.threads:
        return fine(name, seen)
    most = int(facts.quota_cpus)
    fewer = f"--threads {most}, or " if most else ""
    return warn(
        name,
        f"{seen}: they are stopped when it is used up",
        f"{fewer}a higher CPU limit (docker --cpus, limits.cpu)",
    )


def check_throttling(facts: LimitFacts) -> Finding:
    """How often the quota held this cgroup back."""
    name = "throttling"
    if facts.quota_cpus == float("inf"):
        return fine(name, "none: there is no quota")
    if facts.periods is None or facts.throttled is None:
        return unknown(name)
    if not facts.throttled:
        return fine(name, "never since this cgroup was made")
    share = facts.throttled / max(facts.periods, facts.throttled)
    seen = f"held back in {percent(share)} of {format_count(facts.periods)} periods since it was made"
    if share < _THROTTLED:
        return fine(name, seen)
    return warn(name, seen, "fewer --threads, or a higher CPU limit (docker --cpus, limits.cpu)")


def check_memory(facts: LimitFacts) -> Finding:
    """A machine short of memory drops caches, and swaps, while it is measured."""
    name = "free memory"
    seen = f"{format_bytes(facts.available_bytes)} of {format_bytes(facts.memory_bytes)}"
    if not facts.memory_bytes:
        return unknown(name)
    enough = max(_LEAST_FREE_BYTES, min(_FREE_MEMORY * facts.memory_bytes, _MOST_FREE_BYTES))
    if facts.available_bytes >= enough:
        return fine(name, seen)
    return warn(name, seen, "stop what holds memory (ps aux --sort=-rss), or raise the container's limit")


def check_swap(facts: LimitFacts) -> Finding:
    """What was swapped out may be fetched in the middle of a pass."""
    name = "swap"
    if not facts.memory_bytes:
        return unknown(name)
    used = facts.swap_used_bytes
    if used <= _SWAP * facts.memory_bytes:
        return fine(name, f"{format_bytes(used)} in use" if used else "none in use")
    return warn(
        name,
        f"{format_bytes(used)} in use: pages may come back in the middle of a pass",
        "stop what holds memory, then: sudo swapoff -a (and swapon -a afterwards)",
    )


def check_clear_refs(facts: LimitFacts) -> Finding:
    """Peak memory on the CPU needs the kernel's own high-water mark."""
    name = "peak memory"
    if facts.clear_refs is None:
        return fine(name, "can be taken: the high-water mark can be reset (clear_refs)")
    return warn(
        name,
        f"cannot be taken: /proc/self/clear_refs refuses ({facts.clear_refs})",
        "a container or sandbox with a writable /proc, on a kernel with CONFIG_PROC_PAGE_MONITOR",
    )


def check_rapl(facts: LimitFacts) -> Finding:
    """Energy on the CPU needs the processor's energy counters."""
    name = "CPU energy"
    if facts.rapl is None:
        return fine(name, "can be taken: the RAPL counters are readable")
    if not facts.has_rapl:
        return unknown(name, f"stays empty: {facts.rapl}")
    return warn(
        name,
        "stays empty: the RAPL counters may not be read",
        "sudo chmod a+r /sys/class/powercap/*rapl*/energy_uj",
    )


LIMIT_CHECKS = (
    check_quota,
    check_throttling,
    check_memory,
    check_swap,
    check_clear_refs,
    check_rapl,
)

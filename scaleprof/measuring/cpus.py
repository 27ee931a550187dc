"""Which CPUs a worker is pinned to: idle ones, on physical cores of their own where there are enough."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STAT = Path("/proc/stat")
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_LOOK_S = 0.2
# user, nice, system, irq, softirq, steal: fields 0, 1, 2, 5, 6 and 7 of a line of /proc/stat.
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)


def quietest_cpus(count: int, look_s: float = _LOOK_S) -> tuple[int, ...]:
    """The `count` least busy CPUs of those that this process may use, after a look at the machine."""
    allowed = sorted(os.sched_getaffinity(0))
    if count >= len(allowed):
        return tuple(allowed)
    before = busy_ticks(_STAT.read_text())
    time.sleep(look_s)
    after = busy_ticks(_STAT.read_text())
    busy = {cpu: after.get(cpu, 0) - before.get(cpu, 0) for cpu in allowed}
    return choose_cpus(busy, {cpu: siblings(cpu) for cpu in allowed}, count)


def choose_cpus(
    busy: Mapping[int, float], core_of: Mapping[int, Sequence[int]], count: int
) -> tuple[int, ...]:
    """The `count` least busy CPUs; two hyper-threads of one core only once every core has one.

    A core is as busy as its threads together, since they share its units.

    Args:
        busy: how busy each allowed CPU is, in any unit.
        core_of: the CPUs on each CPU's physical core, itself among them.
        count: how many are wanted.

    >>> choose_cpus({0: 9, 1: 0, 2: 1, 3: 0}, {0: [0, 1], 1: [0, 1], 2: [2, 3], 3: [2, 3]}, 2)
    (1, 3)
    """
    load = {cpu: sum(busy.get(other, 0) for other in core_of[cpu]) for cpu in busy}
    ranked = sorted(busy, key=lambda cpu: (load[cpu], busy[cpu], cpu))
    firsts: list[int] = []
    seconds: list[int] = []
    for cpu in ranked:
        is_taken = any(other in firsts for other in core_of[cpu])
        (seconds if is_taken else firsts).append(cpu)
    return tuple(sorted([*firsts, *seconds][:count]))


def busy_ticks(stat: str) -> dict[int, int]:
    """Ticks that each CPU has spent on work, from the text of `/proc/stat`."""
    ticks = {}
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            ticks[int(name[3:])] = sum(int(fields[field]) for field in _BUSY_FIELDS if field < len(fields))
    return ticks


def siblings(cpu: int) -> tuple[int, ...]:
    """The CPUs that share this one's physical core, itself among them; alone if the system hides it."""
    try:
        return parse_cpu_list(Path(_SIBLINGS.format(cpu)).read_text())
    except (OSError, ValueError):
        return (cpu,)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers from the kernel's list format.

    >>> parse_cpu_list("0-2,8")
    (0, 1, 2, 8)
    """
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)

"""What the kernel counts beside samples: this process' faults, preemptions and CPU time, and who else ran."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scaleprof.measuring.cgroups import throttled_s
from scaleprof.measuring.cpus import busy_ticks
from scaleprof.measuring.kernel_files import read_text

_STAT = Path("/proc/stat")
# Five ticks: so much work of one process cannot fall between them.
_TICKS_MUST_MOVE_S = 0.05

# By the names that a visit has for them.
Counts = dict[str, int | float | None]


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts what happens to this process, all its threads, inside; filled when it ends.

    The kernel's files are read outside of what is counted, so that reading them is not.
    """
    counts: Counts = {}
    throttled_before_s = throttled_s()
    busy_before_s = busy_cpus_s()
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield counts
    after = resource.getrusage(resource.RUSAGE_SELF)
    busy_after_s = busy_cpus_s()
    throttled_after_s = throttled_s()
    cpu_s = max(0.0, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    told = throttled_before_s is not None and throttled_after_s is not None
    counts.update(
        minor_faults=after.ru_minflt - before.ru_minflt,
        involuntary_switches=after.ru_nivcsw - before.ru_nivcsw,
        cpu_s=cpu_s,
        foreign_cpu_s=_foreign_s(busy_before_s, busy_after_s, cpu_s),
        throttled_s=(throttled_after_s or 0.0) - (throttled_before_s or 0.0) if told else None,
    )


def busy_cpus_s() -> float | None:
    """Seconds that the CPUs this process may run on have worked for anyone, the machine's host included.

    None where the kernel does not tell of each of them. It counts in ticks of a hundredth of a second, so a
    difference is known to one tick a CPU, and on average exactly.
    """
    ticks = busy_ticks(read_text(_STAT) or "")
    mine = os.sched_getaffinity(0)
    if not mine <= ticks.keys():
        return None
    return sum(ticks[cpu] for cpu in mine) / os.sysconf("SC_CLK_TCK")


def _foreign_s(before_s: float | None, after_s: float | None, own_s: float) -> float | None:
    """CPU time that went to others: below zero where ticks fell so, which evens out over visits.

    None where the CPUs' counts stand still while this process works: a sandbox shows zeros.
    """
    if before_s is None or after_s is None or (after_s == before_s and own_s > _TICKS_MUST_MOVE_S):
        return None
    return after_s - before_s - own_s

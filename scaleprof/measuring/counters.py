"""What the kernel counts of this process beside samples: faults, preemptions, CPU time, throttling."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec

_CGROUP_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu"))
_US_PER_S = 1e6
_NS_PER_S = 1e9


class Counters(msgspec.Struct, frozen=True):
    """The kernel's counts so far; differences of two are what happened between them."""

    minor_faults: int
    involuntary_switches: int
    cpu_s: float
    throttled_s: float | None

    def since(self, before: Counters) -> Counters:
        """What was counted after `before`."""
        both = self.throttled_s is not None and before.throttled_s is not None
        return Counters(
            self.minor_faults - before.minor_faults,
            self.involuntary_switches - before.involuntary_switches,
            max(0.0, self.cpu_s - before.cpu_s),
            (self.throttled_s or 0.0) - (before.throttled_s or 0.0) if both else None,
        )


def read_counters() -> Counters:
    """The counts of this process, all its threads, now."""
    throttled = throttled_s()  # read first: it causes no fault inside the window that it closes
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Counters(usage.ru_minflt, usage.ru_nivcsw, usage.ru_utime + usage.ru_stime, throttled)


def throttled_s() -> float | None:
    """Seconds for which this process's cgroup was held back by its CPU quota; None if it is not told."""
    for root in _CGROUP_ROOTS:
        try:
            return parse_throttled_s((root / "cpu.stat").read_text())
        except OSError:
            continue
    return None


def parse_throttled_s(stat: str) -> float | None:
    """Throttled seconds from the text of a `cpu.stat`, of cgroup version 2 (µs) or 1 (ns).

    >>> parse_throttled_s("nr_periods 3\\nthrottled_usec 1500000"), parse_throttled_s("usage_usec 3")
    (1.5, None)
    """
    fields = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
    if "throttled_usec" in fields:
        return int(fields["throttled_usec"]) / _US_PER_S
    return int(fields["throttled_time"]) / _NS_PER_S if "throttled_time" in fields else None

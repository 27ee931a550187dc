"""What the kernel counts of this process beside samples: faults, preemptions, CPU time, throttling."""

from __future__ import annotations

import resource

import msgspec

from scaleprof.measuring.cgroups import throttled_s


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

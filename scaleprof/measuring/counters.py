"""What the kernel counts of this process beside samples: faults, preemptions, CPU time, throttling."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from scaleprof.measuring.cgroups import throttled_s

# By the names that a visit has for them.
Counts = dict[str, int | float | None]


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts what happens to this process, all its threads, inside; filled when it ends.

    The quota's file is read outside of what is counted, so that reading it is not.
    """
    counts: Counts = {}
    throttled_before_s = throttled_s()
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield counts
    after = resource.getrusage(resource.RUSAGE_SELF)
    throttled_after_s = throttled_s()
    told = throttled_before_s is not None and throttled_after_s is not None
    counts.update(
        minor_faults=after.ru_minflt - before.ru_minflt,
        involuntary_switches=after.ru_nivcsw - before.ru_nivcsw,
        cpu_s=max(0.0, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
        throttled_s=(throttled_after_s or 0.0) - (throttled_before_s or 0.0) if told else None,
    )

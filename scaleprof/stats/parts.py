"""What else a visit timed: device time, graph replays, parts of training steps; medians with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from scaleprof.records import Launch, Visit
from scaleprof.stats.intervals import Estimate, over_launches

Reading = Callable[[Visit], Sequence[float] | None]


def over_visits(launches: Sequence[Launch], read: Reading) -> Estimate | None:
    """The median over launches and rounds of each visit's median of what is read; None where no visit has it.

    Visits without such values are left out, as they are of visits whose sample could not be verified.
    """
    rounds = [[median(values) for visit in launch.visits if (values := read(visit))] for launch in launches]
    told = [values for values in rounds if values]
    return over_launches(told) if told else None


def launch_bound_ratio(launches: Sequence[Launch]) -> Estimate | None:
    """Wall time over a CUDA graph's replay of the same pass, visit by visit; None without any replay.

    A replay has no launch gaps, so that what is above 1 is time in which the device waits for the program.
    """

    def read(visit: Visit) -> Sequence[float] | None:
        if not visit.graph_samples_s:
            return None
        return (median(visit.samples_s) / median(visit.graph_samples_s),)

    return over_visits(launches, read)

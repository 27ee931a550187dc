"""The machine at its best, which relative latencies are turned back into seconds by.

Drift-corrected latency is relative latency times `best_decile_s`: what is left when the machine's drift,
which the reference network around each visit sees too, is taken out. The decile counts as exact: it is common
to all models of a run, and cancels between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from scaleprof.records import Launch

_BEST_DECILE = 0.1


def best_decile_s(launches: Iterable[Launch]) -> float | None:
    """The 10th percentile of all timings of the reference network, in seconds; None without any.

    Over all models of a run: the machine's best is not a matter of the model. The launches must be of one
    device and number of threads, as the reference network is.
    """
    times_s = sorted(
        time_s for launch in launches for visit in launch.visits for time_s in visit.reference_network_s
    )
    return times_s[math.ceil(_BEST_DECILE * len(times_s)) - 1] if times_s else None

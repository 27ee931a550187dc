"""Warming up until a model's time has settled, within bounds."""

from __future__ import annotations

from statistics import median

from scaleprof.measuring.timing import Call, Timer
from scaleprof.records import Warmup

# Settled: the median of the last window is within this share of that of the window before.
_WINDOW_PASSES = 3
_SETTLED_WITHIN = 0.05
_MIN_SECONDS = 0.1
_MAX_PASSES = 60
_MAX_SECONDS = 5.0


def warm_up(timer: Timer, call: Call) -> Warmup:
    """Call until two windows of passes agree, at least 0.1 s, at most 5 s or 60 passes."""
    times_s: list[float] = []
    total_s = 0.0
    while True:
        times_s.append(timer.wall_s(call))
        total_s += times_s[-1]
        if total_s >= _MIN_SECONDS and _settled(times_s):
            return Warmup(len(times_s), total_s, stationary=True)
        if len(times_s) >= _MAX_PASSES or total_s >= _MAX_SECONDS:
            return Warmup(len(times_s), total_s, stationary=False)


def _settled(times_s: list[float]) -> bool:
    if len(times_s) < 2 * _WINDOW_PASSES:
        return False
    last = median(times_s[-_WINDOW_PASSES:])
    before = median(times_s[-2 * _WINDOW_PASSES : -_WINDOW_PASSES])
    return abs(last / before - 1) <= _SETTLED_WITHIN

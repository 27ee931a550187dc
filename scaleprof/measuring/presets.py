"""How much measuring is enough, and what it will take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import Plan

# Six rounds are the fewest whose median has a 95 % interval (scaleprof.stats.intervals).
PRESETS: dict[str, Plan] = {
    "quick": Plan("quick", launches=1, min_rounds=6, max_rounds=10, target_ci=0.05),
    "default": Plan("default", launches=3, min_rounds=6, max_rounds=15, target_ci=0.05),
    "rigorous": Plan("rigorous", launches=5, min_rounds=10, max_rounds=40, target_ci=0.02),
}
DEFAULT_TIMEOUT_S = 600.0

MIN_VISIT_CPU_S = 0.05
MIN_VISIT_CUDA_S = 0.02

# Seen on a small x86 machine: importing torch and torchvision, and both references between visits.
_WORKER_START_S = 4.0
_REFERENCES_S = 0.02
# Building, calibrating, the memory passes and the warm-up cost about this many passes and seconds.
_BUILD_PASSES = 12
_BUILD_S = 0.8


def make_plan(
    preset: str,
    *,
    target_ci: float | None = None,
    max_time_s: float | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Plan:
    """The preset's plan with a person's own target, budget and time-out.

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in PRESETS:
        raise UsageError(
            f"unknown preset '{preset}'{suggestion(preset, PRESETS) or ':'} (known: {', '.join(PRESETS)})"
        )
    plan = PRESETS[preset]
    return msgspec.structs.replace(
        plan,
        target_ci=plan.target_ci if target_ci is None else target_ci,
        max_time_s=max_time_s,
        timeout_s=timeout_s,
    )


def min_visit_s(device: str) -> float:
    """How long one visit lasts at least, in seconds."""
    return MIN_VISIT_CUDA_S if device.startswith("cuda") else MIN_VISIT_CPU_S


def visit_s(pass_s: float, device: str) -> float:
    """How long one visit to a model takes, in seconds, references included."""
    return max(pass_s, min_visit_s(device) + pass_s / 2) + _REFERENCES_S


def build_s(pass_s: float) -> float:
    """How long setting up a model in a worker takes, in seconds."""
    return _BUILD_S + _BUILD_PASSES * pass_s


def launch_s(passes_s: Sequence[float], rounds: int, device: str) -> float:
    """Seconds of one launch of models with these pass times; none without models."""
    if not passes_s:
        return 0.0
    one_round = sum(visit_s(pass_s, device) for pass_s in passes_s)
    return _WORKER_START_S + sum(map(build_s, passes_s)) + rounds * one_round

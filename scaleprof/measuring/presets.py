"""How much measuring is enough, and what it will take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import Plan, Runtime

# Six rounds are the fewest whose median has a 95 % interval (scaleprof.stats.intervals).
PRESETS: dict[str, Plan] = {
    "quick": Plan(
        "quick",
        launches=1,
        min_rounds=6,
        max_rounds=10,
        target_ci=0.05,
        heavy_s=1.5,
        sustained_s=2.0,
        energy_s=2.0,
    ),
    "default": Plan(
        "default", launches=3, min_rounds=6, max_rounds=18, target_ci=0.05, heavy_s=2.0, sustained_s=2.0
    ),
    "rigorous": Plan(
        "rigorous", launches=5, min_rounds=10, max_rounds=40, target_ci=0.02, heavy_s=8.0, sustained_s=2.0
    ),
}
DEFAULT_TIMEOUT_S = 600.0

MIN_VISIT_CPU_S = 0.05
MIN_VISIT_CUDA_S = 0.02

# Seen on a small x86 machine: importing torch, and both references between visits.
_WORKER_START_S = 5.0
_REFERENCES_S = 0.02
# Both ceilings in one dtype; a sweep seldom has several.
_CEILINGS_S = 1.0
# By their lengths: three blocks of graph replays of 10 ms, a spin that times the clock, and NVML's answers.
_GPU_LOOK_S = 0.04
# Building, calibrating, the first call and the warm-up cost about this many passes and seconds; so does
# taking the peak memory in a process of its own.
_BUILD_PASSES = 14
_BUILD_S = 0.4
_INSPECT_PASSES = 6
_INSPECT_S = 0.4
# In the first launch, and in later ones. Seen on two cores with networks of the size of EfficientNet-B0.
_COMPILE_S: dict[Runtime, tuple[float, float]] = {
    "compile": (60.0, 15.0),
    "cudagraph": (1.0, 1.0),
    "onnxruntime": (10.0, 1.0),
    "openvino": (10.0, 2.0),
}


def make_plan(
    preset: str = "default",
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
    looked_at_s = _GPU_LOOK_S if device.startswith("cuda") else 0.0
    return max(pass_s, min_visit_s(device) + pass_s / 2) + _REFERENCES_S + looked_at_s


def build_s(pass_s: float) -> float:
    """How long setting up a model in a worker takes, in seconds."""
    return _BUILD_S + _BUILD_PASSES * pass_s


def compile_s(runtime: Runtime, launch: int) -> float:
    """How long a runtime takes to make its form of a model, in seconds; later launches find its files."""
    first_s, later_s = _COMPILE_S.get(runtime, (0.0, 0.0))
    return later_s if launch else first_s


def inspect_s(pass_s: float, device: str) -> float:
    """How long taking a model's peak memory takes, in seconds."""
    return 0.0 if device.startswith("cuda") else _INSPECT_S + _INSPECT_PASSES * pass_s


def sustain_s(pass_s: float, plan: Plan, device: str) -> float:
    """How long running a model back to back takes, in seconds; on a GPU once more for its energy."""
    if not plan.sustained_s:
        return 0.0
    return plan.sustained_s + pass_s + (plan.energy_s if device.startswith("cuda") else 0.0)


def rounds_of(pass_s: float, rounds: int, plan: Plan, device: str) -> int:
    """In how many of a launch's rounds a model is visited: a heavy one in fewer, never below the least."""
    if plan.heavy_s is None:
        return rounds
    return min(rounds, max(plan.min_rounds, math.ceil(plan.heavy_s / visit_s(pass_s, device))))


def setup_s(pass_s: float, launch: int, device: str) -> float:
    """How long a model takes before its first visit, in seconds; the first launch takes its peak memory."""
    return build_s(pass_s) + (inspect_s(pass_s, device) if launch == 0 else 0.0)


def model_s(pass_s: float, launch: int, rounds: int, plan: Plan, device: str) -> float:
    """How long one model takes in a launch of so many rounds, in seconds."""
    visits = rounds_of(pass_s, rounds, plan, device)
    return (
        setup_s(pass_s, launch, device) + visits * visit_s(pass_s, device) + sustain_s(pass_s, plan, device)
    )


def launch_s(passes_s: Sequence[float], launch: int, rounds: int, plan: Plan, device: str) -> float:
    """Seconds of one launch of models with these pass times; none without models."""
    if not passes_s:
        return 0.0
    return (
        _WORKER_START_S
        + _CEILINGS_S
        + sum(model_s(pass_s, launch, rounds, plan, device) for pass_s in passes_s)
    )

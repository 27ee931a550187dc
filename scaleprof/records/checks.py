"""What a check measured: two arms side by side, forward by forward, and what each of them costs.

Raw values are kept, so that every verdict can be derived again from them.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from scaleprof.records.runs import Host, RunLog
from scaleprof.records.specs import Workload
from scaleprof.records.values import Value, require_finite

CHECK_SCHEMA_VERSION = 1
Arm = Literal["before", "after"]
CheckMode = Literal["revision", "self_test", "baseline"]


class CheckTarget(Value, frozen=True):
    """What is checked: a model at a scale, or a function that returns a callable and its inputs.

    A model is told by what a person asked for, not by its integers: each arm scales it by its own rules.

    Args:
        name: unique in a check; of a model its `spec_id`.
        workload: what each forward is.
        model: the model as a person names it, such as `efficientnet_b0` or `bench/net.py:build`.
        strategy, phi: its scale; with the bases of the compound strategy.
        function: `package.module:function`, where it is no model.
    """

    name: str
    workload: Workload
    model: str | None = None
    strategy: str = "base"
    phi: float = 0.0
    depth_base: float = 1.2
    width_base: float = 1.1
    resolution_base: float = 1.15
    rounding: Literal["tf", "pycls"] = "tf"
    function: str | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (self.function is None):
            raise ValueError(f"{self.name}: a target is a model or a function")


class ExactCost(Value, frozen=True):
    """What one arm's network costs by counting: no device is needed, and nothing is uncertain.

    `operators`: calls of each operator by name; `uncounted`: operators that were seen and not counted.
    """

    macs: int
    params: int
    activations: int
    operators: dict[str, int]
    uncounted: tuple[str, ...] = ()


class CheckedTarget(Value, frozen=True):
    """A target and its exact costs in both arms; `missing` says per arm why there are none.

    `invalid`: why it could not be timed or compared in one of the arms; `invalid_arm` which. `absent`: that
    arm has no such model or function at all.
    """

    target: CheckTarget
    before: ExactCost | None = None
    after: ExactCost | None = None
    missing: dict[Arm, str] = msgspec.field(default_factory=dict)
    invalid: str | None = None
    invalid_arm: Arm | None = None
    absent: bool = False


class ArmTimes(Value, frozen=True):
    """Consecutive forwards of one arm in seconds, their CPU time and how often they were interrupted."""

    samples_s: tuple[float, ...]
    cpu_s: float | None = None
    involuntary_switches: int | None = None

    def __post_init__(self) -> None:
        require_finite("samples_s", self.samples_s)
        if not self.samples_s or min(self.samples_s) <= 0:
            raise ValueError(f"samples_s must hold times above zero: {self.samples_s}")


class CheckRound(Value, frozen=True):
    """Both arms of one target, one right after the other; `first` is the arm that ran first."""

    round: int
    first: Arm
    before: ArmTimes
    after: ArmTimes

    @property
    def log_ratio(self) -> float:
        """Logarithm of the quickest forward after over the quickest before; above zero is slower."""
        return math.log(min(self.after.samples_s)) - math.log(min(self.before.samples_s))


class PairTarget(Value, frozen=True):
    """One target in one pair of processes: its rounds, and each arm's peak memory in bytes, where known."""

    target: str
    rounds: tuple[CheckRound, ...]
    before_peak_memory_bytes: int | None = None
    after_peak_memory_bytes: int | None = None


class CheckPair(Value, frozen=True):
    """One pair of fresh processes, pinned to the same CPUs; the unit of inference.

    `paddings`: lengths of the random padding in each arm's environment, before and after.
    """

    pair: int
    seed: int
    started_at: str
    cpus: tuple[int, ...]
    paddings: tuple[int, int]
    targets: tuple[PairTarget, ...]


class ArmFacts(Value, frozen=True):
    """What one arm is: its revision, what differs from it in the folder, its machine and its packages.

    `label`: in a person's words, such as `HEAD~1 (1a2b3c4)` or `working tree`. `changed_files`: how many
    tracked files differ from the revision (the working tree's arm).
    """

    label: str
    revision: str | None
    host: Host
    packages: dict[str, str]
    changed_files: int = 0


class CheckHeader(Value, frozen=True):
    """How a check was asked for: enough to judge its samples again.

    `limits`: (pattern of target names, metric, limit as a share), the last that matches counts; `budgets` as
    they were written; `accepted`: (pattern, metric, reason, last day). `tau_0`: the standard deviation that
    fresh process pairs differ by, on logarithms. `fail_on`: what fails besides a regression; `exact_only`:
    nothing was to be timed.
    """

    scaleprof: str
    command: tuple[str, ...]
    started_at: str
    mode: CheckMode
    protocol: int
    seed: int
    before: ArmFacts
    after: ArmFacts
    tau_0: float = 0.02
    limits: tuple[tuple[str, str, float], ...] = ()
    budgets: tuple[str, ...] = ()
    accepted: tuple[tuple[str, str, str, str], ...] = ()
    max_time_s: float | None = None
    schema: int = CHECK_SCHEMA_VERSION
    fail_on: tuple[str, ...] = ()
    exact_only: bool = False


class CheckLog(Value, frozen=True, tag_field="kind", tag="check"):
    """A whole check in A/B mode: who the arms are, what they cost, and every sample.

    `ended`: why no more pairs were measured: `decided` (all targets), `looks` (the last look), `time`
    (the budget), `failed`, or `exact` (nothing was to be timed, or there is nothing that could be). `notes`:
    what is worth knowing of the arms and of how it went.
    """

    header: CheckHeader
    targets: tuple[CheckedTarget, ...]
    pairs: tuple[CheckPair, ...] = ()
    ended: Literal["decided", "looks", "time", "failed", "exact"] = "looks"
    notes: tuple[str, ...] = ()


class BaselineLog(Value, frozen=True, tag_field="kind", tag="baseline_check"):
    """A whole check against a kept run: the run, what was measured now, and what each model costs in both.

    `name`: what the baseline is called. `mismatch`: in which facts this machine and software differ from the
    baseline's, in words; then latencies are not compared. `candidate`: None where nothing was measured.
    `retested`: what was flagged, measured again in both revisions; `not_retested`: why that could not be.
    """

    header: CheckHeader
    name: str
    baseline: RunLog
    targets: tuple[CheckedTarget, ...]
    candidate: RunLog | None = None
    mismatch: tuple[str, ...] = ()
    retested: CheckLog | None = None
    not_retested: str | None = None

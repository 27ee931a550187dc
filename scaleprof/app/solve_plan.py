"""What `solve` decides before anything runs: the budgets, the one workload, and where it starts from."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.app.counting import OnDone, check_models
from scaleprof.app.ledger import Given
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.run import Run
from scaleprof.app.starting import count_start, read_start
from scaleprof.app.tracks import Track, make_tracks
from scaleprof.app.workloads import list_workloads
from scaleprof.engines.local import AllocatorPolicy
from scaleprof.errors import MeasuringError, UsageError
from scaleprof.measuring import host
from scaleprof.measuring.presets import compile_s, launch_s, make_plan
from scaleprof.records import PUBLISHED_STRATEGY, Plan, RunLog, Workload
from scaleprof.reporting.budgets import Budget, parse_budgets
from scaleprof.reporting.rows import measured_rows
from scaleprof.reporting.workloads import varying
from scaleprof.scaling.sweep import PhiValues
from scaleprof.units import MS_PER_S

# A search by straight lines is there after two or three; where noise leads it about, more do not help.
MAX_ITERATIONS = 6
_STARTING_PRESET = "quick"
_ON_CUDA_ONLY = ("gpu_ms", "graph_ms", "reserved_memory_bytes", "device_used_bytes")
_OF_TRAINING = ("forward_ms", "backward_ms", "optimizer_ms")


class SolvePlan(msgspec.Struct, frozen=True):
    """Everything that is decided before anything runs.

    Attributes:
        choice: models, strategies and rules.
        budgets: what is to be met.
        workload: the one workload.
        plan: how much measuring is enough in each iteration.
        tracks: the strategies to follow, with the networks of their starting curves.
        start: the sweep that makes the starting curve; None where a run gives it.
        given: the rows of that run.
        pass_s: about how long a pass of the answers takes, for the forecast of time.
    """

    choice: Choice
    budgets: tuple[Budget, ...]
    workload: Workload
    plan: Plan
    seed: int
    allocator: AllocatorPolicy
    costs: CostBook
    tracks: tuple[Track, ...]
    start: SweepPlan | None
    given: Given | None
    pass_s: float

    @property
    def models_per_iteration(self) -> int:
        """The most models that an iteration measures: bases, and two of each strategy."""
        return len(self.choice.models) + 2 * len(self.tracks)

    def expected_s(self) -> tuple[float, float]:
        """Least and most seconds that it is expected to take, within a factor of about two."""
        start = self.start.expected_s() if self.start else (0.0, 0.0)
        least, most = (
            sum(self._launch_s(launch, rounds) for launch in range(self.plan.launches))
            for rounds in (self.plan.min_rounds, self.plan.max_rounds)
        )
        limit_s = self.plan.max_time_s or start[1] + MAX_ITERATIONS * most
        return min(limit_s, start[0] + least), min(limit_s, start[1] + MAX_ITERATIONS * most)

    def _launch_s(self, launch: int, rounds: int) -> float:
        passes_s = [self.pass_s] * self.models_per_iteration
        compiling_s = len(passes_s) * compile_s(self.workload.runtime, launch)
        return launch_s(passes_s, launch, rounds, self.plan, self.workload.device) + compiling_s


def plan_solve(
    choice: Choice,
    budget: str | Sequence[str],
    *,
    given: str | Path | Run | None = None,
    plan: Plan | None = None,
    seed: int = 0,
    device: str = "auto",
    allocator: AllocatorPolicy = "pinned",
    on_done: OnDone = lambda _done, _total: None,
    **axes: Any,
) -> SolvePlan:
    """Check a request and lay out its starting curve, without running a model.

    `given`: a run whose rows are the starting curve. `axes`: the workload, as for `plan_sweep`, one value of
    each; the rest is as for `solve`.

    Raises:
        UsageError: a budget, strategy or workload that cannot be solved, or a given run that does not fit.
        HostMismatchError: the given run was measured by another protocol.
    """
    budgets = _check_budgets(budget)
    if PUBLISHED_STRATEGY in choice.sweep.strategies:
        raise UsageError("--strategy published has rows and no φ between them: solve cannot move along it")
    workload = _one_workload(host.resolve_device(device), axes)
    _check_measurable(budgets, workload)
    plan = plan or make_plan()
    costs = CostBook(workload.mode)
    tracks = tuple(make_tracks(choice, costs))
    parts = {"seed": seed, "allocator": allocator, "device": workload.device, **axes}
    check_models(_moving(choice), costs)
    start = known = None
    if given is None:
        counted = count_start(choice, tracks, costs, on_done)
        start = plan_sweep(choice, counted=counted, plan=_starting_plan(plan), **parts)
        if not start.groups:
            raise MeasuringError(f"no model can be measured: {next(iter(start.unfit.values())).reason}")
    else:
        known = read_start(given.log if isinstance(given, Run) else Path(given), choice, tracks, workload)
    pass_s = _typical_pass_s(budgets, start, known)
    return SolvePlan(choice, budgets, workload, plan, seed, allocator, costs, tracks, start, known, pass_s)


def _moving(choice: Choice) -> Choice:
    """The choice with a φ to move to, since a solve moves along its strategies whatever it starts from."""
    if any(choice.sweep.phi.numbers):
        return choice
    return msgspec.structs.replace(choice, sweep=msgspec.structs.replace(choice.sweep, phi=PhiValues((1,))))


def _starting_plan(plan: Plan) -> Plan:
    """One launch is enough of what is only read between."""
    if plan.launches == 1:
        return plan
    return make_plan(_STARTING_PRESET, max_time_s=plan.max_time_s, timeout_s=plan.timeout_s)


def _check_budgets(texts: str | Sequence[str]) -> tuple[Budget, ...]:
    """Budgets on what grows with a model, one at least."""
    budgets = parse_budgets(texts)
    if not budgets:
        raise UsageError('solve needs a budget: --budget "latency_ms<=10"')
    for budget in budgets:
        if budget.metric == "accuracy":
            raise UsageError(
                f"budget '{budget}': solve finds the largest model within budgets on what it takes, "
                f"and accuracy is not measured: leave it out"
            )
    return budgets


def _one_workload(device: str, axes: Mapping[str, Any]) -> Workload:
    """The workload that these name.

    Raises:
        UsageError: several, none, or one that cannot be.
    """
    size = axes.get("batch_size", 1)
    if isinstance(size, str):
        raise UsageError(f"--batch-size {size}: solve works on one workload, give one whole number")
    found = list_workloads(device, **axes)
    if len(found) > 1:
        name = varying(found)[0]
        values = ",".join(dict.fromkeys(str(getattr(workload, name)) for workload in found))
        raise UsageError(f"--{name.replace('_', '-')} {values}: solve works on one workload, give one value")
    return found[0]


def _check_measurable(budgets: Sequence[Budget], workload: Workload) -> None:
    """Refuse a budget on what is never measured under the workload before any time is spent."""
    never = {"ratio_to_eager": "solve works on one workload, and has no eager beside it"}
    if not workload.on_cuda:
        never |= dict.fromkeys(_ON_CUDA_ONLY, "it is measured on CUDA only")
    if workload.mode != "train":
        never |= dict.fromkeys(_OF_TRAINING, "only training has these parts (--mode train)")
    if workload.runtime == "eager":
        never["compile_s"] = "eager compiles nothing"
    for budget in budgets:
        if budget.metric in never:
            raise UsageError(
                f"budget '{budget}': no model here has {budget.metric} ({never[budget.metric]}): leave it out"
            )


def _typical_pass_s(budgets: Sequence[Budget], start: SweepPlan | None, given: Given | None) -> float:
    """About how long a pass of the answers takes, in seconds: the bound on it, or the middle of the start."""
    bounds_ms = [budget.value for budget in budgets if budget.metric == "latency_ms"]
    if bounds_ms:
        return min(bounds_ms) / MS_PER_S
    if start is not None:
        return statistics.median(forecast.pass_s for forecast in start.forecasts.values())
    rows = measured_rows(RunLog(given.header, given.records)) if given is not None else []
    known_ms = [row.latency_ms for row in rows if row.latency_ms is not None]
    return statistics.median(known_ms) / MS_PER_S if known_ms else 0.0

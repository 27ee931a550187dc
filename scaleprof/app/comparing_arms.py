"""Two revisions side by side: worktree, exact costs, pairs of processes until every target is decided."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

import scaleprof
from scaleprof.app.arm_places import Places, open_places
from scaleprof.app.counting import now_utc
from scaleprof.app.counting_arms import Counted, count_arms
from scaleprof.app.pair_loop import CheckWatcher, PairLoop, Wanted
from scaleprof.engines.arm_rounds import Rounds, run_rounds
from scaleprof.engines.arms import ARMS, TargetFaultError, draw_paddings, open_arms
from scaleprof.errors import UsageError
from scaleprof.measuring.cpus import quietest_cpus
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.records import (
    ArmFacts,
    CheckHeader,
    CheckLog,
    CheckPair,
    CheckTarget,
)
from scaleprof.reporting.checks_rules import Rules
from scaleprof.stats.compare import LOOKS
from scaleprof.stats.effects import MIN_ROUNDS, ROUNDS, TAU_0

__all__ = ["ArmsRequest", "CheckWatcher", "compare_revisions"]

_CPU_LOOK_S = 1.0
# A median of three processes is what memory is compared by; further ones would only cost time.
_WEIGHED_PAIRS = LOOKS[0]


class ArmsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare, and how long at most.

    Args:
        folder: where the person is: in the repository; arms run at the same place of their revisions.
        revision: what the working tree is compared with; None compares it with itself, the self-test.
        targets: what is checked, each name once; all of one device and number of threads.
        limits: (pattern of target names, metric, limit as a share); of those that match, the last counts.
        tau_0: what fresh pairs of processes differ by, on logarithms.
        seed: of weights, of the order of visits and of the padding.
        rounds: of each target in each pair; 10 at least.
        max_time_s: no further pair is begun that would end later than this.
        timeout_s: longest time that building or one visit of a target may take, compiling aside.
        exact_only: count, and time nothing.
        all_looks: measure every target until the last look, whatever was decided before (for a self-test).
        command, budgets, accepted, fail_on: go into the log's header as they are.
    """

    folder: Path
    revision: str | None
    targets: tuple[CheckTarget, ...]
    limits: tuple[tuple[str, str, float], ...] = ()
    tau_0: float = TAU_0
    seed: int = 0
    rounds: int = ROUNDS
    max_time_s: float | None = 600.0
    timeout_s: float = 600.0
    exact_only: bool = False
    all_looks: bool = False
    command: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    accepted: tuple[tuple[str, str, str, str], ...] = ()
    fail_on: tuple[str, ...] = ()


def compare_revisions(
    request: ArmsRequest,
    watcher: CheckWatcher | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> CheckLog:
    """The log of a whole check: exact costs of both arms, and rounds of pairs until all targets are decided.

    A target that one arm lacks, cannot build or cannot run is in the log as `invalid`. Where that arm has no
    such model or function at all, it is `absent`. Where every target is one of them, there are no pairs.
    No worktree and no process is left, however this ends.

    Raises:
        UsageError: `folder` is in no git repository, there is no such revision, or nothing can be asked so.
        MeasuringError: an arm does not start or cannot be had; the message names the revision and the reason.
        KeyboardInterrupt: nothing is kept.
    """
    _check_request(request)
    watcher = watcher or CheckWatcher()
    began_s = clock()
    started_at = now_utc()
    with open_places(request.folder, request.revision, watcher.preparing) as places:
        watcher.preparing("counting in both arms")
        counted = count_arms(
            places.by_arm,
            request.targets,
            seed=request.seed,
            timeout_s=request.timeout_s,
            device="cpu" if request.exact_only else None,  # the machine may have no other
        )
        watcher.counted(counted.targets)
        header = _header(request, places, counted, started_at)
        loop = PairLoop(
            targets=counted.targets,
            labels={arm: place.label for arm, place in places.by_arm.items()},
            limits=Rules.of(header),
            tau_0=request.tau_0,
            measure=partial(_measure, request, places, watcher),
            watcher=watcher,
            clock=clock,
            ends_s=None if request.max_time_s is None else began_s + request.max_time_s,
            all_looks=request.all_looks,
        )
        ended = loop.run(exact_only=request.exact_only)
    notes = (*places.notes, *(counted.notes if request.revision else ()), *loop.notes)
    return CheckLog(header, loop.targets, tuple(loop.pairs), ended, notes)


def _measure(
    request: ArmsRequest, places: Places, watcher: CheckWatcher, wanted: Wanted
) -> tuple[CheckPair | None, Mapping[str, TargetFaultError]]:
    """One pair of fresh processes, and the targets that failed in it."""
    seed = random.Random(f"{request.seed}/{wanted.number}/{wanted.attempt}").getrandbits(32)
    rng = random.Random(seed)
    paddings = draw_paddings(rng)
    cpus = quietest_cpus(wanted.targets[0].workload.threads, _CPU_LOOK_S)
    started_at = now_utc()
    with open_arms(
        places.by_arm,
        wanted.targets,
        paddings=dict(zip(ARMS, paddings, strict=True)),
        cpus=cpus,
        seed=request.seed,
        timeout_s=request.timeout_s,
        weigh=wanted.number <= _WEIGHED_PAIRS,
    ) as arms:
        rounds = Rounds(arms, wanted.targets, rng)
        measured = run_rounds(
            rounds,
            request.rounds,
            lambda done: watcher.round_ended(wanted.number, done, request.rounds),
        )
    pair = CheckPair(wanted.number, seed, started_at, cpus, paddings, measured) if measured else None
    return pair, rounds.faults


def _header(request: ArmsRequest, places: Places, counted: Counted, started_at: str) -> CheckHeader:
    facts = {
        arm: ArmFacts(
            label=place.label,
            revision=places.commits[arm],
            host=counted.described[arm].host,
            packages=counted.described[arm].packages,
            changed_files=places.changed_files if place.root == place.person_root else 0,
        )
        for arm, place in places.by_arm.items()
    }
    return CheckHeader(
        scaleprof=scaleprof.__version__,
        command=request.command,
        started_at=started_at,
        mode="revision" if request.revision else "self_test",
        protocol=PROTOCOL_VERSION,
        seed=request.seed,
        before=facts["before"],
        after=facts["after"],
        tau_0=request.tau_0,
        limits=request.limits,
        budgets=request.budgets,
        accepted=request.accepted,
        max_time_s=request.max_time_s,
        fail_on=request.fail_on,
        exact_only=request.exact_only,
    )


def _check_request(request: ArmsRequest) -> None:
    names = [target.name for target in request.targets]
    if not names:
        raise UsageError("nothing to check: name a model or a target")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two targets are called {twice}: rename one")
    if len({(target.workload.device, target.workload.threads) for target in request.targets}) > 1:
        raise UsageError("the targets of a check are of one device and one number of threads")
    if request.rounds < MIN_ROUNDS:
        raise UsageError(f"{request.rounds} rounds are too few to compare by: at least {MIN_ROUNDS}")

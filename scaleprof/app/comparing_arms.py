"""Two revisions side by side: worktree, exact costs, pairs of processes until every target is decided."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

import scaleprof
from scaleprof.app.arm_places import Places, open_places
from scaleprof.app.counting import now_utc
from scaleprof.app.counting_arms import Counted, count_arms, with_fault
from scaleprof.engines.arms import (
    ARMS,
    PairLostError,
    Rounds,
    TargetFaultError,
    draw_paddings,
    open_arms,
    run_rounds,
)
from scaleprof.errors import MeasuringError, UsageError
from scaleprof.measuring.cpus import quietest_cpus
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.records import (
    ArmFacts,
    CheckedTarget,
    CheckHeader,
    CheckLog,
    CheckPair,
    CheckTarget,
)
from scaleprof.reporting.checks_rules import Rules
from scaleprof.stats.compare import DEFAULT_LIMIT, LOOKS, Judged, comparison_of, decide
from scaleprof.stats.effects import MIN_ROUNDS, ROUNDS, TAU_0

Ended = Literal["decided", "looks", "time", "failed", "exact"]


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


class CheckWatcher:
    """Told how a check goes on; does nothing by itself. Called between visits, never beside one."""

    def preparing(self, what: str) -> None:
        """This is being done now, in words: `worktree of HEAD~1 (1a2b3c4)`, `counting HEAD~1 (1a2b3c4)`."""

    def counted(self, targets: Sequence[CheckedTarget]) -> None:
        """Exact costs are there, before anything is timed."""

    def pair_began(self, pair: int, of_at_most: int, targets: Sequence[str]) -> None:
        """Pair `pair` (from 1) of `of_at_most` begins, for the targets that are open."""

    def round_ended(self, pair: int, done: int, rounds: int) -> None:
        """So many rounds of the pair are behind; called once with 0 when all targets are warm."""

    def pair_ended(
        self, pair: CheckPair, judged: Mapping[str, Judged], elapsed_s: float, most_left_s: float
    ) -> None:
        """A pair is behind: what its targets are found to be by now, and how long the rest takes at most."""

    def noted(self, words: str) -> None:
        """Something that went wrong or is worth knowing, such as a worker that was killed."""


def compare_revisions(
    request: ArmsRequest,
    watcher: CheckWatcher | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> CheckLog:
    """The log of a whole check: exact costs of both arms, and rounds of pairs until all targets are decided.

    A target that one arm lacks, cannot build or cannot run is in the log as `invalid`. Where that arm has no
    such model or function at all, it is `absent`; a log in which every target is that has no pairs.
    No worktree and no process is left, however this ends.

    Raises:
        UsageError: `folder` is in no git repository, there is no such revision, or nothing can be asked so.
        MeasuringError: an arm does not start or cannot be had, or every target is invalid; the message names
            the revision and the reason.
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
        check = _Check(request, watcher, places, header, counted.targets, clock, began_s)
        ended = check.run()
    notes = (*places.notes, *(counted.notes if request.revision else ()), *check.notes)
    return CheckLog(header, check.targets, tuple(check.pairs), ended, notes)


class _Check:
    """A check while it is timed: the pairs so far, and which targets are still to be measured."""

    def __init__(
        self,
        request: ArmsRequest,
        watcher: CheckWatcher,
        places: Places,
        header: CheckHeader,
        targets: Sequence[CheckedTarget],
        clock: Callable[[], float],
        began_s: float,
    ) -> None:
        self._request = request
        self._watcher = watcher
        self._places = places
        self._limits = Rules.of(header)
        self._targets = {checked.target.name: checked for checked in targets}
        self._clock = clock
        self._began_s = began_s
        self._longest_s = 0.0
        self.pairs: list[CheckPair] = []
        self.notes: list[str] = []

    @property
    def targets(self) -> tuple[CheckedTarget, ...]:
        """All targets, with what became of them."""
        return tuple(self._targets.values())

    def run(self) -> Ended:
        """Measure pair after pair until there is nothing left to decide; why it ended.

        Raises:
            MeasuringError: no target is valid.
        """
        self._require_valid()
        if self._request.exact_only or not self._valid():
            return "exact"
        judged: dict[str, Judged] = {}
        for number in range(1, LOOKS[-1] + 1):
            wanted = [name for name in self._valid() if self._request.all_looks or _is_open(judged.get(name))]
            if not wanted:
                return "decided"
            if self.pairs and not self._fits(self._longest_s):
                return "time"
            began_s = self._clock()
            pair = self._pair(number, wanted)
            self._require_valid()
            self._longest_s = max(self._longest_s, self._clock() - began_s)
            if pair is not None:
                self.pairs.append(pair)
                judged = self._judge()
                self._watcher.pair_ended(
                    pair, judged, self._clock() - self._began_s, self._most_left_s(number)
                )
        return "looks" if any(_is_undecided(one) for one in judged.values()) else "decided"

    def _pair(self, number: int, names: Sequence[str]) -> CheckPair | None:
        """One pair of fresh processes; begun once more for the others, if a process is lost over a target."""
        try:
            return self._attempt(number, names, attempt=0)
        except PairLostError as lost:
            self._lose(lost.target, lost.fault)
            rest = [name for name in names if name in self._valid()]
        if not rest:
            return None
        try:
            return self._attempt(number, rest, attempt=1)
        except PairLostError as lost:  # over one target after another: it is not the targets
            for name in rest:
                self._lose(name, lost.fault)
            return None

    def _attempt(self, number: int, names: Sequence[str], *, attempt: int) -> CheckPair | None:
        request = self._request
        rng = random.Random(f"{request.seed}/{number}/{attempt}")
        seed = rng.getrandbits(32)
        rng = random.Random(seed)
        targets = [self._targets[name].target for name in names]
        self._watcher.pair_began(number, LOOKS[-1], names)
        cpus = quietest_cpus(targets[0].workload.threads, _CPU_LOOK_S)
        paddings = draw_paddings(rng)
        started_at = now_utc()
        with open_arms(
            self._places.by_arm,
            targets,
            paddings=dict(zip(ARMS, paddings, strict=True)),
            cpus=cpus,
            seed=request.seed,
            timeout_s=request.timeout_s,
            weigh=len(self.pairs) < _WEIGHED_PAIRS,
        ) as arms:
            rounds = Rounds(arms, targets, rng)
            measured = run_rounds(
                rounds, request.rounds, lambda done: self._watcher.round_ended(number, done, request.rounds)
            )
        for name, fault in rounds.faults.items():
            self._lose(name, fault)
        return CheckPair(number, seed, started_at, cpus, paddings, measured) if measured else None

    def _lose(self, name: str, fault: TargetFaultError) -> None:
        place = self._places.by_arm[fault.arm]
        self._targets[name] = with_fault(self._targets[name], place, fault)
        self._watcher.noted(f"{name} is out: {self._targets[name].invalid}")

    def _valid(self) -> list[str]:
        return [name for name, checked in self._targets.items() if checked.invalid is None]

    def _require_valid(self) -> None:
        """Refuse to go on with nothing; where all that is wrong is that targets are new, there is a log."""
        faulty = [checked for checked in self._targets.values() if not checked.absent]
        if not self._valid() and faulty:
            more = f" (and {len(faulty) - 1} more)" if len(faulty) > 1 else ""
            raise MeasuringError(
                f"nothing can be compared: {faulty[0].target.name}: {faulty[0].invalid}{more}"
            )

    def _judge(self) -> dict[str, Judged]:
        comparisons = {
            name: comparison_of(
                self.pairs, name, limit=_given(self._limits.limit(name, "latency"), DEFAULT_LIMIT)
            )
            for name in self._valid()
        }
        return decide(comparisons, tau_0=self._request.tau_0)

    def _fits(self, seconds: float) -> bool:
        budget_s = self._request.max_time_s
        return budget_s is None or self._clock() - self._began_s + seconds <= budget_s

    def _most_left_s(self, done: int) -> float:
        """How long the check takes at most from now on."""
        looks_s = (LOOKS[-1] - done) * self._longest_s
        if self._request.max_time_s is None:
            return looks_s
        return max(0.0, min(looks_s, self._request.max_time_s - (self._clock() - self._began_s)))


def _is_open(judged: Judged | None) -> bool:
    return judged is None or judged.open


def _is_undecided(judged: Judged) -> bool:
    return judged.verdict in ("INCONCLUSIVE", "INVALID")


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


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

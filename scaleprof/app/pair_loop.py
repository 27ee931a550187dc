"""Pair after pair until every target of a check is decided, or the looks or the time are at their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from scaleprof.app.counting_arms import with_fault
from scaleprof.engines.arm_rounds import PairLostError
from scaleprof.engines.arms import TargetFaultError
from scaleprof.records import Arm, CheckedTarget, CheckPair, CheckTarget
from scaleprof.reporting.checks_rules import Rules
from scaleprof.stats.compare import DEFAULT_LIMIT, LOOKS, Judged, comparison_of, decide

Ended = Literal["decided", "looks", "time", "failed", "exact"]


class Wanted(NamedTuple):
    """A pair that is to be measured, by its number (from 1); `attempt`: 1 if a first one was lost."""

    number: int
    targets: tuple[CheckTarget, ...]
    attempt: int


# Measures a pair: what it gave, None if nothing, and the targets that failed. Raises PairLostError.
Measure = Callable[[Wanted], tuple[CheckPair | None, Mapping[str, TargetFaultError]]]


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


class PairLoop:
    """A check while it is timed: the pairs so far, and which targets are still to be measured.

    Args:
        targets: as they were counted.
        labels: of the arms, in words.
        limits: by which targets may become slower.
        tau_0: what fresh pairs differ by, on logarithms.
        measure: measures one pair.
        watcher: told of all this.
        clock: in seconds.
        ends_s: when the clock shows this, no pair should run any more; None for never.
        all_looks: whether decided targets are measured on.
    """

    def __init__(
        self,
        *,
        targets: Sequence[CheckedTarget],
        labels: Mapping[Arm, str],
        limits: Rules,
        tau_0: float,
        measure: Measure,
        watcher: CheckWatcher,
        clock: Callable[[], float],
        ends_s: float | None,
        all_looks: bool = False,
    ) -> None:
        self._targets = {checked.target.name: checked for checked in targets}
        self._labels = labels
        self._limits = limits
        self._tau_0 = tau_0
        self._measure = measure
        self._watcher = watcher
        self._clock = clock
        self._ends_s = ends_s
        self._all_looks = all_looks
        self._began_s = clock()
        self._longest_s = 0.0
        self.pairs: list[CheckPair] = []
        self.notes: list[str] = []

    @property
    def targets(self) -> tuple[CheckedTarget, ...]:
        """All targets, with what became of them."""
        return tuple(self._targets.values())

    def run(self, *, exact_only: bool = False) -> Ended:
        """Measure until there is nothing left to decide; why it ended: `failed` if every target did."""
        if exact_only or all(checked.absent for checked in self._targets.values()):
            return "exact"
        judged: dict[str, Judged] = {}
        for number in range(1, LOOKS[-1] + 1):
            names = [name for name in self._valid() if self._all_looks or _is_open(judged.get(name))]
            if not names:
                break
            if self.pairs and not self._fits(self._longest_s):
                return "time"
            self._run_pair(number, names)
            judged = self._judge()
        if not self._valid():
            return "failed"
        return "looks" if any(_is_undecided(one) for one in judged.values()) else "decided"

    def _run_pair(self, number: int, names: Sequence[str]) -> None:
        began_s = self._clock()
        pair = self._pair(number, names)
        now_s = self._clock()
        self._longest_s = max(self._longest_s, now_s - began_s)
        if pair is not None:
            self.pairs.append(pair)
            self._watcher.pair_ended(pair, self._judge(), now_s - self._began_s, self._most_left_s(number))

    def _pair(self, number: int, names: Sequence[str]) -> CheckPair | None:
        """One pair of fresh processes; begun once more for the others, if a process is lost over a target."""
        try:
            return self._attempt(number, names, 0)
        except PairLostError as lost:
            self._lose(lost.target, lost.fault)
            rest = [name for name in names if name in self._valid()]
        if not rest:
            return None
        self.notes.append(f"pair {number} was begun again, since a process was lost in it")
        try:
            return self._attempt(number, rest, 1)
        except PairLostError as lost:  # over one target after another: it is not the targets
            for name in rest:
                self._lose(name, lost.fault)
            return None

    def _attempt(self, number: int, names: Sequence[str], attempt: int) -> CheckPair | None:
        self._watcher.pair_began(number, LOOKS[-1], names)
        targets = tuple(self._targets[name].target for name in names)
        pair, faults = self._measure(Wanted(number, targets, attempt))
        for name, fault in faults.items():
            self._lose(name, fault)
        return pair

    def _lose(self, name: str, fault: TargetFaultError) -> None:
        self._targets[name] = with_fault(self._targets[name], self._labels[fault.arm], fault)
        self._watcher.noted(f"{name} is out: {self._targets[name].invalid}")

    def _valid(self) -> list[str]:
        return [name for name, checked in self._targets.items() if checked.invalid is None]

    def _judge(self) -> dict[str, Judged]:
        comparisons = {}
        for name in self._valid():
            limit = self._limits.limit(name, "latency")
            limit = DEFAULT_LIMIT if limit is None else limit
            comparisons[name] = comparison_of(self.pairs, name, limit=limit)
        return decide(comparisons, tau_0=self._tau_0)

    def _fits(self, seconds: float) -> bool:
        return self._ends_s is None or self._clock() + seconds <= self._ends_s

    def _most_left_s(self, done: int) -> float:
        """How long the check takes at most from now on."""
        looks_s = (LOOKS[-1] - done) * self._longest_s
        return looks_s if self._ends_s is None else max(0.0, min(looks_s, self._ends_s - self._clock()))


def _is_open(judged: Judged | None) -> bool:
    return judged is None or judged.open


def _is_undecided(judged: Judged) -> bool:
    return judged.verdict in ("INCONCLUSIVE", "INVALID")

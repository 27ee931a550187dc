"""The rounds of a pair of processes: two arms that take turns, one of which runs at a time.

Noise lasts for a few forwards, so the arms take turns every one or two of them, in random order and on the
same CPUs; and a pair of processes has a bias of its own, so pairs come fresh (`scaleprof.stats.compare`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from scaleprof.engines.arms import ARMS, TargetFaultError
from scaleprof.measuring.arm_messages import TargetBuilt
from scaleprof.measuring.rounds import BenchLostError
from scaleprof.records import Arm, ArmTimes, CheckRound, CheckTarget, PairTarget

# A second forward finds the caches as this arm leaves them; where forwards are long that matters no more, and
# the arms would take turns too seldom.
_FORWARDS = 2
_LONG_FORWARD_S = 0.1


class PairLostError(Exception):
    """The pair can go on no more: a process was lost with this target in hand."""

    def __init__(self, target: str, fault: TargetFaultError) -> None:
        super().__init__(fault.reason)
        self.target = target
        self.fault = fault


class TimedArm(Protocol):
    """What rounds need of an arm: a process, or a simulated one.

    Its methods raise `TargetFaultError` if the target fails and the arm can go on, `BenchLostError` if it
    cannot.
    """

    def build(self, target: CheckTarget) -> TargetBuilt:
        """Build and warm up a target, and take its peak memory."""

    def settle(self) -> None:
        """All is built: do now what would disturb timing."""

    def time(self, target: CheckTarget, forwards: int) -> ArmTimes:
        """Run consecutive forwards of a target."""


def forwards_per_visit(*pass_s: float) -> int:
    """How many forwards an arm runs in its turn, the same in both: two, or one where they take long.

    >>> forwards_per_visit(0.012, 0.013), forwards_per_visit(0.099, 0.102)
    (2, 1)
    """
    return 1 if max(pass_s) > _LONG_FORWARD_S else _FORWARDS


class Rounds:
    """The rounds of one pair: builds the targets in both arms, and has them take turns.

    Args:
        arms: fresh ones.
        targets: what to time.
        rng: for the order of targets in a round, and of arms in a target.
    """

    def __init__(
        self, arms: Mapping[Arm, TimedArm], targets: Sequence[CheckTarget], rng: random.Random
    ) -> None:
        self._arms = arms
        self._targets = {target.name: target for target in targets}
        self._rng = rng
        self._rounds: dict[str, list[CheckRound]] = {}
        self._forwards: dict[str, int] = {}
        self._peaks: dict[str, dict[Arm, int | None]] = {}
        self.faults: dict[str, TargetFaultError] = {}

    def build(self) -> None:
        """Build and warm up all targets in one arm, and then in the other.

        Raises:
            PairLostError: a process is lost.
        """
        built: dict[str, dict[Arm, TargetBuilt]] = {name: {} for name in self._targets}
        for arm in self._shuffled_arms():
            for name in list(self._targets):
                with self._in_hand(name, arm):
                    built[name][arm] = self._arms[arm].build(self._targets[name])
        for name in self._targets:
            self._forwards[name] = forwards_per_visit(*(one.pass_s for one in built[name].values()))
            self._peaks[name] = {arm: one.peak_memory_bytes for arm, one in built[name].items()}
            self._rounds[name] = []
        self._settle()

    def run(self, number: int) -> None:
        """One round: each target once, both arms of it one right after the other.

        Raises:
            PairLostError: a process is lost.
        """
        for name in self._rng.sample(list(self._targets), len(self._targets)):
            order = self._shuffled_arms()
            times: dict[Arm, ArmTimes] = {}
            for arm in order:
                if name in self._targets:
                    with self._in_hand(name, arm):
                        times[arm] = self._arms[arm].time(self._targets[name], self._forwards[name])
            if name in self._targets:
                self._rounds[name].append(CheckRound(number, order[0], times["before"], times["after"]))

    def result(self) -> tuple[PairTarget, ...]:
        """What was measured of the targets that did not fail."""
        return tuple(
            PairTarget(
                name,
                tuple(self._rounds[name]),
                self._peaks[name]["before"],
                self._peaks[name]["after"],
            )
            for name in self._targets
        )

    def _settle(self) -> None:
        for arm in self._shuffled_arms():
            for name in list(self._targets)[-1:]:  # whatever goes wrong is told of the last that was built
                with self._in_hand(name, arm):
                    self._arms[arm].settle()

    def _shuffled_arms(self) -> tuple[Arm, Arm]:
        return ARMS if self._rng.random() < 0.5 else (ARMS[1], ARMS[0])

    @contextmanager
    def _in_hand(self, name: str, arm: Arm) -> Iterator[None]:
        """A target that fails inside is out of this pair."""
        try:
            yield
        except TargetFaultError as fault:
            self.faults[name] = fault
            del self._targets[name]
        except BenchLostError as lost:
            raise PairLostError(name, TargetFaultError(arm, lost.reason)) from lost


# Told of the rounds that are behind, first of none: all targets are warm.
OnRound = Callable[[int], None]


def run_rounds(rounds: Rounds, count: int, on_round: OnRound) -> tuple[PairTarget, ...]:
    """Build, and run so many rounds.

    Raises:
        PairLostError: a process is lost.
    """
    rounds.build()
    on_round(0)
    for number in range(count):
        rounds.run(number)
        on_round(number + 1)
    return rounds.result()

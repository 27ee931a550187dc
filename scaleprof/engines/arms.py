"""Two arms side by side: one process each, equal but for their revision, of which one runs at a time.

Noise lasts for a few forwards, so the arms take turns every one or two of them, in random order and on the
same CPUs; and a pair of processes has a bias of its own, so pairs come fresh (`scaleprof.stats.compare`).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from scaleprof.engines.local import worker_environment
from scaleprof.engines.workers import WorkerProcess
from scaleprof.errors import MeasuringError
from scaleprof.measuring.arm_messages import (
    ArmCommand,
    ArmOpened,
    ArmReply,
    BuildTarget,
    CountTarget,
    Describe,
    Described,
    OpenArm,
    Settle,
    Settled,
    TargetBuilt,
    TargetCounted,
    TargetRefused,
    TargetTimed,
    TimeTarget,
)
from scaleprof.measuring.rounds import BenchLostError
from scaleprof.records import Arm, ArmTimes, CheckRound, CheckTarget, PairTarget

ARMS: tuple[Arm, Arm] = ("before", "after")
# A second forward finds the caches as this arm leaves them; where forwards are long that matters no more, and
# the arms would take turns too seldom.
_FORWARDS = 2
_LONG_FORWARD_S = 0.1
# Where the stack begins changes speeds by some percent (Mytkowicz et al. 2009); so it is drawn anew for each
# process, by a variable that nothing reads.
_PADDING_VARIABLE = "ARM_PADDING"
_MOST_PADDING = 4096
_START_TIMEOUT_S = 300.0
_COMPILE_TIMEOUT_S = 3600.0

_Reply = TypeVar("_Reply", ArmOpened, Described, TargetBuilt, TargetCounted, Settled, TargetTimed)
_decoder = msgspec.json.Decoder(ArmReply)


class Place(msgspec.Struct, frozen=True):
    """Where an arm runs, and what it is called.

    Args:
        label: in a person's words.
        root: the folder of its tree.
        person_root: that of the person's own tree.
        folder: where its process is started: in its tree what the person's folder is in theirs.
        python: its interpreter.
        cache: a folder for what it compiles and exports.
    """

    label: str
    root: Path
    person_root: Path
    folder: Path
    python: Path
    cache: Path


class TargetFaultError(Exception):
    """A target that cannot be had or run in one arm; `absent`: that arm has no such model or function."""

    def __init__(self, arm: Arm, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.arm = arm
        self.reason = reason
        self.absent = absent


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


class ArmProcess:
    """A process that runs one arm's targets.

    Args:
        arm, place: which, and where.
        environment: all of its environment.
        timeout_s: longest time that an answer may take, compiling aside.
    """

    def __init__(self, arm: Arm, place: Place, environment: Mapping[str, str], timeout_s: float) -> None:
        self.arm = arm
        self.place = place
        self._timeout_s = timeout_s
        self._process = WorkerProcess(
            "scaleprof.engines.arm_process", environment, folder=place.folder, python=place.python
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def open(self, opening: OpenArm) -> None:
        """Tell it what it is; it is ready after `await_opened`."""
        try:
            self._process.send(opening)
        except BrokenPipeError:
            self._fail_to_start()

    def await_opened(self) -> None:
        """Wait until it is ready.

        Raises:
            MeasuringError: it does not start.
        """
        try:
            self._process.receive(_START_TIMEOUT_S)
        except (TimeoutError, EOFError):
            self._fail_to_start()

    def describe(self) -> Described:
        """The machine and the packages, as this arm's interpreter sees them.

        Raises:
            MeasuringError: it cannot tell.
        """
        try:
            return self._ask(Describe(), Described)
        except (TargetFaultError, BenchLostError) as error:
            raise MeasuringError(f"{self.place.label} cannot run here: {error}") from error

    def count(self, target: CheckTarget) -> TargetCounted:
        """Exact costs."""
        return self._ask(CountTarget(target.name), TargetCounted)

    def build(self, target: CheckTarget) -> TargetBuilt:
        """Build and warm up a target, and take its peak memory."""
        compiles = target.workload.runtime != "eager"
        return self._ask(BuildTarget(target.name), TargetBuilt, _COMPILE_TIMEOUT_S if compiles else None)

    def settle(self) -> None:
        """All is built: do now what would disturb timing."""
        self._ask(Settle(), Settled)

    def time(self, target: CheckTarget, forwards: int) -> ArmTimes:
        """Run consecutive forwards of a target."""
        return self._ask(TimeTarget(target.name, forwards), TargetTimed).times

    def end(self) -> None:
        """End it at once, with all that it started."""
        self._process.kill()
        self._process.close()

    def _ask(self, command: ArmCommand, wanted: type[_Reply], limit_s: float | None = None) -> _Reply:
        rule = "compiling may take no longer" if limit_s else "--timeout"
        reply = _decoder.decode(self._process.ask(command, limit_s or self._timeout_s, rule))
        if isinstance(reply, TargetRefused):
            if reply.fatal:
                raise BenchLostError("failed", reply.reason)
            raise TargetFaultError(self.arm, reply.reason, absent=reply.absent)
        if not isinstance(reply, wanted):
            raise MeasuringError(f"{self.place.label} answered {type(reply).__name__} to {command}")
        return reply

    def _fail_to_start(self) -> None:
        self._process.wait_or_kill()
        raise MeasuringError(
            f"the process of {self.place.label} does not start: {self._process.how_it_ended()}"
        )


@contextmanager
def open_arms(
    places: Mapping[Arm, Place],
    targets: Sequence[CheckTarget],
    *,
    paddings: Mapping[Arm, int],
    cpus: tuple[int, ...] = (),
    seed: int = 0,
    timeout_s: float,
    weigh: bool = False,
    device: str | None = None,
) -> Iterator[dict[Arm, ArmProcess]]:
    """Fresh processes for these arms, ended at once on the way out.

    They start at the same time, since torch takes seconds to load; from then on one waits while the other
    works. They are of the device and threads of the first target's workload.

    Raises:
        MeasuringError: one does not start.
    """
    workload = targets[0].workload
    with ExitStack() as stack:
        arms: dict[Arm, ArmProcess] = {}
        for arm, place in places.items():
            environment = arm_environment(os.environ, place, workload.threads, paddings[arm])
            arms[arm] = ArmProcess(arm, place, environment, timeout_s)
            stack.callback(arms[arm].end)
        for arm, place in places.items():
            arms[arm].open(
                OpenArm(
                    targets=tuple(targets),
                    device=device or workload.device,
                    threads=workload.threads,
                    seed=seed,
                    cpus=cpus,
                    root=str(place.root),
                    person_root=str(place.person_root),
                    folder=str(place.cache),
                    weigh=weigh,
                )
            )
        for process in arms.values():
            process.await_opened()
        yield arms


def arm_environment(
    parent: Mapping[str, str], place: Place, threads: int, padding: int = 0
) -> dict[str, str]:
    """The environment of an arm: a worker's, with its own tree before all else that Python searches.

    What the person has on PYTHONPATH within their tree is replaced by the same place of this one.
    """
    named = [entry for entry in parent.get("PYTHONPATH", "").split(os.pathsep) if entry]
    worker = worker_environment({**parent, "PYTHONPATH": ""}, threads, folder=place.cache)
    entries = [*named, *worker["PYTHONPATH"].split(os.pathsep)]
    own = [str(folder) for folder in (place.root, place.root / "src") if folder.is_dir()]
    search_path = dict.fromkeys([*own, *(_in_tree(place, entry) for entry in entries)])
    return {
        **worker,
        "PYTHONPATH": os.pathsep.join(search_path),
        "PWD": str(place.folder),
        _PADDING_VARIABLE: "x" * padding,
    }


def _in_tree(place: Place, entry: str) -> str:
    path = Path(entry).resolve()
    if not path.is_relative_to(place.person_root) or "site-packages" in path.parts:
        return str(path)
    return str(place.root / path.relative_to(place.person_root))


def draw_paddings(rng: random.Random) -> tuple[int, int]:
    """Random lengths of the padding in each arm's environment."""
    return rng.randrange(_MOST_PADDING), rng.randrange(_MOST_PADDING)


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

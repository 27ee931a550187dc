"""The processes of two arms, equal but for their revision. How they take turns is `engines/arm_rounds.py`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

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
from scaleprof.records import Arm, ArmTimes, CheckTarget

ARMS: tuple[Arm, Arm] = ("before", "after")
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

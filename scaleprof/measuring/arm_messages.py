"""What a check and one of its arms say to each other, one JSON value a line.

An arm may run the code of another revision of this package (where that is what is checked), so fields are
only ever added here, and have defaults.
"""

from __future__ import annotations

import msgspec

from scaleprof.records import ArmTimes, CheckTarget, ExactCost, Host


class OpenArm(msgspec.Struct, frozen=True, tag=True):
    """Set up the process for these targets.

    Args:
        targets: all that it will be asked about.
        device, threads, seed: as of the workload, and of weights.
        cpus: what to be pinned to; all that there are if empty.
        root: the folder of the tree that this arm is of.
        person_root: the folder of the person's own tree.
        folder: where compiled code and exported models are kept.
        weigh: whether peak memory will be asked for.
    """

    targets: tuple[CheckTarget, ...]
    device: str
    threads: int
    seed: int
    cpus: tuple[int, ...]
    root: str
    person_root: str
    folder: str
    weigh: bool = False


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Tell the machine and the packages."""


class CountTarget(msgspec.Struct, frozen=True, tag=True):
    """Load a target and count it."""

    name: str


class BuildTarget(msgspec.Struct, frozen=True, tag=True):
    """Build a target and warm it up, after its peak memory was taken if that was asked for at opening."""

    name: str


class Settle(msgspec.Struct, frozen=True, tag=True):
    """All is built: do now what would disturb timing."""


class TimeTarget(msgspec.Struct, frozen=True, tag=True):
    """Run so many forwards of a target, one right after another."""

    name: str
    forwards: int


class ArmOpened(msgspec.Struct, frozen=True, tag=True):
    """The process is ready."""


class Described(msgspec.Struct, frozen=True, tag=True):
    """The machine, and the versions of all installed distributions by name."""

    host: Host
    packages: dict[str, str]


class TargetCounted(msgspec.Struct, frozen=True, tag=True):
    """The exact costs, or why there are none; `note` is worth knowing of where its code came from."""

    cost: ExactCost | None
    missing: str | None = None
    note: str | None = None


class TargetBuilt(msgspec.Struct, frozen=True, tag=True):
    """The target is warm: seconds a forward, roughly, and its peak memory where that could be taken."""

    pass_s: float
    peak_memory_bytes: int | None = None


class Settled(msgspec.Struct, frozen=True, tag=True):
    """Nothing is left to do but timing."""


class TargetTimed(msgspec.Struct, frozen=True, tag=True):
    """The forwards' times."""

    times: ArmTimes


class TargetRefused(msgspec.Struct, frozen=True, tag=True):
    """The target cannot be had or run; `absent`: this revision has no such model or function.

    `fatal`: nothing that this process does can be trusted from now on.
    """

    reason: str
    absent: bool = False
    fatal: bool = False


ArmCommand = OpenArm | Describe | CountTarget | BuildTarget | Settle | TimeTarget
ArmReply = ArmOpened | Described | TargetCounted | TargetBuilt | Settled | TargetTimed | TargetRefused

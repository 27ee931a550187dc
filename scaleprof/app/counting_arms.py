"""Exact costs of a check's targets in both arms, and what the arms are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from scaleprof.engines.arms import ArmProcess, Place, TargetFaultError, open_arms
from scaleprof.measuring.arm_messages import Described, TargetCounted
from scaleprof.measuring.rounds import BenchLostError
from scaleprof.records import Arm, CheckedTarget, CheckTarget


class Counted(msgspec.Struct, frozen=True):
    """What the arms say of themselves and of each target before anything is timed."""

    described: Mapping[Arm, Described]
    targets: tuple[CheckedTarget, ...]
    notes: tuple[str, ...]


def count_arms(
    places: Mapping[Arm, Place],
    wanted: Sequence[CheckTarget],
    *,
    seed: int = 0,
    timeout_s: float,
    device: str | None = None,
) -> Counted:
    """Exact costs of all targets in both arms, by processes of their own.

    A process that is lost over a target is replaced for the others.

    Args:
        places: of both arms.
        wanted: what to count.
        seed: of weights, where a function makes some.
        timeout_s: longest time that one may take.
        device: the device that is described; the targets' if left out.

    Raises:
        MeasuringError: an arm does not start.
    """
    targets = {target.name: CheckedTarget(target) for target in wanted}
    described: dict[Arm, Described] = {}
    notes: list[str] = []
    todo = [(arm, name) for arm in places for name in targets]
    while todo:
        needed = {arm: places[arm] for arm in dict.fromkeys(arm for arm, _ in todo)}
        with open_arms(
            needed,
            wanted,
            paddings=dict.fromkeys(needed, 0),
            seed=seed,
            timeout_s=timeout_s,
            device=device,
        ) as arms:
            for arm in needed:
                described[arm] = described.get(arm) or arms[arm].describe()
            todo = _count(arms, todo, targets, notes)
    return Counted(described, tuple(targets.values()), tuple(dict.fromkeys(notes)))


def _count(
    arms: Mapping[Arm, ArmProcess],
    todo: Sequence[tuple[Arm, str]],
    targets: dict[str, CheckedTarget],
    notes: list[str],
) -> list[tuple[Arm, str]]:
    """Count one after another; what is left to do if a process was lost."""
    for place, (arm, name) in enumerate(todo):
        try:
            reply = arms[arm].count(targets[name].target)
        except TargetFaultError as fault:
            targets[name] = with_fault(targets[name], arms[arm].place.label, fault)
        except BenchLostError as lost:
            death = TargetFaultError(arm, lost.reason)
            targets[name] = with_fault(targets[name], arms[arm].place.label, death)
            return list(todo[place + 1 :])
        else:
            targets[name] = _with_cost(targets[name], arm, reply)
            notes += [reply.note] if reply.note else []
    return []


def with_fault(checked: CheckedTarget, label: str, fault: TargetFaultError) -> CheckedTarget:
    """The target as invalid; what was wrong with it first stays."""
    reason = f"{label}: {fault.reason}"
    if checked.invalid is not None:
        return checked
    missing: dict[Arm, str] = dict(checked.missing)
    if getattr(checked, fault.arm) is None:
        missing.setdefault(fault.arm, fault.reason)
    return msgspec.structs.replace(
        checked, missing=missing, invalid=reason, invalid_arm=fault.arm, absent=fault.absent
    )


def _with_cost(checked: CheckedTarget, arm: Arm, reply: TargetCounted) -> CheckedTarget:
    if reply.cost is None:
        missing: dict[Arm, str] = {**checked.missing, arm: reply.missing or "it was not counted"}
        return msgspec.structs.replace(checked, missing=missing)
    return msgspec.structs.replace(checked, **{arm: reply.cost})

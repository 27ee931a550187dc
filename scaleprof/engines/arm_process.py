"""The process of one arm: answers one command at a time about the targets of a check.

Run as `python -m scaleprof.engines.arm_process REPLY_FD`; commands come on standard input, replies go to
REPLY_FD, and whatever a model prints goes to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import BinaryIO

import msgspec

from scaleprof.counting import count, count_spec
from scaleprof.errors import NETWORK_ERRORS, CountingError, MeasuringError
from scaleprof.measuring.arm import ArmBench
from scaleprof.measuring.arm_messages import (
    ArmCommand,
    ArmOpened,
    ArmReply,
    BuildTarget,
    CountTarget,
    Describe,
    OpenArm,
    Settle,
    Settled,
    TargetCounted,
    TimeTarget,
)
from scaleprof.measuring.targets import AsNetwork, Targets
from scaleprof.records import CheckTarget, Cost, ExactCost


def answer(bench: ArmBench, command: ArmCommand) -> ArmReply:
    """Carry out a command; what a target's code raises becomes a `TargetRefused`."""
    try:
        return _carry_out(bench, command)
    except NETWORK_ERRORS as error:
        return bench.refused(error)


def _carry_out(bench: ArmBench, command: ArmCommand) -> ArmReply:
    match command:
        case Describe():
            return bench.describe()
        case CountTarget(name):
            return counted(bench.targets, bench.target(name))
        case BuildTarget(name):
            return bench.build(name)
        case TimeTarget(name, forwards):
            return bench.time(name, forwards)
        case Settle():
            bench.settle()
            return Settled()
        case OpenArm():
            raise MeasuringError("an arm is opened once")


def counted(targets: Targets, target: CheckTarget) -> TargetCounted:
    """The exact costs of a target, or why it cannot be counted; its code must be there and load."""
    targets.load(target)
    try:
        cost = _cost(targets, target)
    except CountingError as error:
        return TargetCounted(None, str(error), targets.note(target))
    targets.check_imports()  # a builder may import as late as this
    exact = ExactCost(
        macs=cost.macs,
        params=cost.params,
        activations=cost.activations,
        operators={one.operator: one.calls for one in cost.operators},
        uncounted=tuple(one.operator for one in cost.uncounted),
    )
    return TargetCounted(exact, note=targets.note(target))


def _cost(targets: Targets, target: CheckTarget) -> Cost:
    mode = target.workload.mode
    if target.function is None:
        return count_spec(targets.model(target), targets.spec(target), mode)
    returned = targets.returned(target.function)
    return count(AsNetwork(returned), *returned.inputs, mode=mode)


def serve(commands: BinaryIO, replies: BinaryIO) -> None:
    """Answer commands until there are no more."""
    decoder = msgspec.json.Decoder(ArmCommand)
    opening = decoder.decode(commands.readline())
    if not isinstance(opening, OpenArm):
        raise TypeError(f"the first command opens the arm, got {opening}")
    bench = ArmBench(opening, replies)
    _send(replies, ArmOpened())
    for line in commands:
        _send(replies, answer(bench, decoder.decode(line)))


def _send(replies: BinaryIO, reply: ArmReply) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C reaches the whole terminal group; the parent decides what happens to this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()

"""What one call holds, seen in a process that holds nothing else.

In a process that has run other networks, one finds their workspaces, code pages and freed heap ready, and its
own peak depends on its place in the order. So a worker keeps a twin of itself that has loaded torch and run
nothing: it is made before the first operation, while there is no thread to lose, and makes a child for each
network. The child runs the reference network first, so that what any network needs is not this one's.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO, NoReturn

import msgspec
import torch

from scaleprof.errors import NETWORK_ERRORS
from scaleprof.measuring import references
from scaleprof.measuring.memory import CpuPeakMeter, PeakUnavailableError, map_each_tensor
from scaleprof.measuring.passes import recording
from scaleprof.measuring.timing import Call
from scaleprof.records import Mode

# Peaks taken one after another; the first pass may still hold what only a first pass needs, and only the
# second training step holds what the optimizer keeps.
_MEMORY_PASSES = 2
_PRIMING_PASSES = 2
_GONE = "the process that takes peak memory is gone"


class Inspection(msgspec.Struct, frozen=True):
    """What a network held: the peak of each pass less the baseline, or why there is none."""

    baseline_bytes: int | None = None
    peaks_bytes: tuple[int, ...] = ()
    missing: str | None = None
    killed_by: str | None = None


class Twin:
    """A process that inspects one subject at a time, each in a child of its own.

    Make it before torch has run anything.

    Args:
        work: inspects the subject that a line of JSON tells of.
        not_ours: the worker's own reply pipe, which must not stay open here when the worker is gone.
    """

    def __init__(self, work: Callable[[bytes], Inspection], not_ours: BinaryIO) -> None:
        commands_read, commands_write = os.pipe()
        replies_read, replies_write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(commands_write)
            os.close(replies_read)
            os.close(not_ours.fileno())
            _serve(commands_read, replies_write, work)
        os.close(commands_read)
        os.close(replies_write)
        self._commands = os.fdopen(commands_write, "wb")
        self._replies = os.fdopen(replies_read, "rb")

    def ask(self, subject: msgspec.Struct) -> Inspection:
        """What a subject held; whatever happens to the child, there is an answer."""
        try:
            self._commands.write(msgspec.json.encode(subject) + b"\n")
            self._commands.flush()
        except BrokenPipeError:
            return Inspection(missing=_GONE)
        line = self._replies.readline()
        if not line:
            return Inspection(missing=_GONE)
        return msgspec.json.decode(line, type=Inspection)

    def close(self) -> None:
        """End the twin."""
        self._commands.close()
        self._replies.close()
        os.waitpid(self._pid, 0)


def _serve(commands_fd: int, replies_fd: int, work: Callable[[bytes], Inspection]) -> NoReturn:
    """The twin: a child for each line, until there are no more."""
    # Out of the collector's sight: looking through it would copy every page of it into each child.
    gc.collect()
    gc.freeze()
    with os.fdopen(commands_fd, "rb") as commands, os.fdopen(replies_fd, "wb") as replies:
        for line in commands:
            inspection = _in_a_child(lambda line=line: work(line))  # type: ignore[misc]
            replies.write(msgspec.json.encode(inspection) + b"\n")
            replies.flush()
    os._exit(0)


def _in_a_child(work: Callable[[], Inspection]) -> Inspection:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        with os.fdopen(write_fd, "wb") as reply:
            reply.write(msgspec.json.encode(work()))
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as reply:
        answer = reply.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return Inspection(killed_by=signal.Signals(os.WTERMSIG(status)).name)
    if not answer:
        return Inspection(missing="the process that took its peak memory ended without an answer")
    return msgspec.json.decode(answer, type=Inspection)


def inspect_call(load: Callable[[], object], make: Callable[[], Call], mode: Mode) -> Inspection:
    """Peak memory of a call and of all that making it takes, in this process, which must have run nothing.

    Args:
        load: loads the code that `make` needs.
        make: builds what is called.
        mode: whether gradients are recorded.
    """
    map_each_tensor()
    try:
        with torch.inference_mode():
            _prime()
        with recording(mode):
            load()
            loaded = len(sys.modules)
            inspection = _peaks(make)
            if len(sys.modules) > loaded:  # a builder loaded code, which is now in the figure: once more
                inspection = _peaks(make)
    except PeakUnavailableError as error:
        return Inspection(missing=str(error))
    except NETWORK_ERRORS as error:  # the worker meets it too when it builds the model, and tells it
        return Inspection(missing=f"the model failed in the process that takes its peak memory: {error}")
    return inspection


def _prime() -> None:
    prime = references.reference_network("cpu")
    for _ in range(_PRIMING_PASSES):
        prime()


def _peaks(make: Callable[[], Call]) -> Inspection:
    meter = CpuPeakMeter()
    meter.start()
    call = make()
    peaks = []
    for _ in range(_MEMORY_PASSES):
        meter.start()
        call()
        peaks.append(meter.peak_bytes())
    return Inspection(meter.baseline_bytes, tuple(peaks))

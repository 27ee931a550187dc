"""The training worker's process: carries out one trial at a time.

Run as `python -m scaleprof.search.worker REPLY_FD`; commands come on standard input, replies go to REPLY_FD,
and whatever a network or a function prints goes to standard error. It ends with the process that started
it, in the middle of a training too: what that has kept is enough to go on.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from typing import BinaryIO

import msgspec
import torch

from scaleprof.errors import NETWORK_ERRORS, ScaleprofError
from scaleprof.search.messages import Command, EpochDone, Prepare, Ready, Reply, Run, Scored, Unscored
from scaleprof.search.trials import Desk

# What torch says when memory runs out on the CPU; on CUDA it has an exception of its own.
_CPU_OOM = "can't allocate memory"


def answer(desk: Desk, command: Run, replies: BinaryIO, device: str) -> Scored | Unscored:
    """Carry out a trial; a failure becomes an `Unscored` that says why."""

    def observe(epochs: int, score: float | None, seconds: float) -> None:
        _send(replies, EpochDone(epochs, score, seconds))

    try:
        return desk.carry_out(command.request, observe)
    except torch.OutOfMemoryError as error:
        return Unscored("oom", _first_line(error))
    except MemoryError:
        return Unscored("oom", "Python could not allocate memory")
    except NETWORK_ERRORS as error:
        return _unscored(error, device)
    finally:
        if device != "cpu":
            torch.cuda.empty_cache()


def _unscored(error: Exception, device: str) -> Unscored:
    # A person's code is told of in our words; what it raised is the cause.
    raised = error.__cause__ or error
    if isinstance(raised, (torch.OutOfMemoryError, MemoryError)) or _CPU_OOM in str(raised):
        return Unscored("oom", _first_line(error))
    if isinstance(error, ScaleprofError):
        return Unscored("failed", _first_line(error))
    # After a CUDA error other than OOM the context may be unusable.
    return Unscored("failed", f"{type(error).__name__}: {_first_line(error)}", fatal=device != "cpu")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def serve(commands: BinaryIO, replies: BinaryIO) -> None:
    """Carry out trials until there are no more commands."""
    decoder = msgspec.json.Decoder(Command)
    first = decoder.decode(commands.readline())
    if not isinstance(first, Prepare):
        raise TypeError(f"the first command prepares the worker, got {first}")
    torch.set_num_threads(first.threads)
    torch.set_num_interop_threads(1)
    torch.backends.cudnn.deterministic = True  # otherwise resuming would be another training
    if first.device != "cpu":
        torch.cuda.set_device(first.device)  # a person's code that says "cuda" means this one
        torch.zeros(1, device=first.device)  # whether the GPU answers is known before a trial is lost to it
    desk = Desk(first.device)
    _send(replies, Ready())
    for line in commands:
        command = decoder.decode(line)
        if isinstance(command, Prepare):
            raise TypeError("a worker is prepared once")
        _send(replies, answer(desk, command, replies, first.device))


def _send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


def _end_with_parent() -> None:
    """End this process, and what it started, as soon as nobody can send commands any more."""
    watched = select.poll()
    watched.register(sys.stdin.fileno(), 0)  # a hang-up is always told of, and bytes do not matter here
    watched.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Entry point of the process, which leads a session of its own."""
    # The process that started this one decides what Ctrl-C means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with os.fdopen(int(sys.argv[1]), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()

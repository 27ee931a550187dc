"""The worker process: answers one command at a time about the models on its workbench.

Run as `python -m scaleprof.measuring.worker REPLY_FD`; commands come on standard input, replies go to
REPLY_FD, and whatever a model prints goes to standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import BinaryIO

import msgspec
import torch

from scaleprof.errors import NETWORK_ERRORS
from scaleprof.measuring import host
from scaleprof.measuring.ceilings import CeilingsUnavailableError
from scaleprof.measuring.cpus import quietest_cpus
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.inspection import Inspector
from scaleprof.measuring.messages import (
    Build,
    CeilingsMeasured,
    Command,
    Compile,
    MeasureCeilings,
    Open,
    Opened,
    Refused,
    Reply,
    Sustain,
    Try,
    Visit,
)
from scaleprof.measuring.nvml import find_nvml
from scaleprof.measuring.runtimes import OutputsDifferError, RuntimeUnsupportedError
from scaleprof.measuring.workbench import WeighingEndedError, Workbench
from scaleprof.records import DType
from scaleprof.units import format_bytes

# What torch says when memory runs out on the CPU; on CUDA it has an exception of its own.
_CPU_OOM = "can't allocate memory"
_ModelCommand = Compile | Build | Visit | Sustain | Try


def answer(bench: Workbench, command: _ModelCommand) -> Reply:
    """Carry out a command; a failure of the model becomes a `Refused` that says how it failed."""
    number = command.job.number if isinstance(command, (Compile, Build, Try)) else command.job
    try:
        return _carry_out(bench, command)
    except torch.OutOfMemoryError as error:
        refused = Refused("oom", _first_line(error), fatal=False)
    except WeighingEndedError as error:
        refused = Refused(error.status, str(error), fatal=False)
    except RuntimeUnsupportedError as error:
        refused = Refused("unsupported", str(error), fatal=False)
    except OutputsDifferError as error:
        refused = Refused("failed", str(error), fatal=False)
    except MemoryError:
        refused = Refused("oom", "Python could not allocate memory", fatal=False)
    except NETWORK_ERRORS as error:
        refused = _refused(bench, error)
    if not refused.fatal:
        bench.forget(number)
    return refused


def _carry_out(bench: Workbench, command: _ModelCommand) -> Reply:
    if isinstance(command, Compile):
        return bench.make(command.job)
    if isinstance(command, Build):
        return bench.build(command.job, inspect=command.inspect)
    if isinstance(command, Try):
        return bench.try_out(command.job)
    if isinstance(command, Visit):
        return bench.visit(command.job)
    return bench.sustain(command.job, command.at_least_s, command.energy_s)


def _refused(bench: Workbench, error: Exception) -> Refused:
    # A person's builder is told of in our words; what it raised is the cause.
    raised = error.__cause__ or error
    if isinstance(raised, (torch.OutOfMemoryError, MemoryError)):
        return Refused("oom", _first_line(error), fatal=False)
    if _CPU_OOM in str(raised):
        free = format_bytes(host.available_memory_bytes())
        return Refused("oom", f"memory ran out on the CPU ({free} available)", fatal=False)
    # After a CUDA error other than OOM the context may be unusable: nothing timed in it could be trusted.
    return Refused("failed", f"{type(error).__name__}: {_first_line(error)}", fatal=bench.device != "cpu")


def answer_ceilings(bench: Workbench, dtype: DType) -> CeilingsMeasured:
    """The machine's ceilings; where they cannot be had, the reason: the launch has all of its samples."""
    try:
        return CeilingsMeasured(bench.ceilings(dtype))
    except CeilingsUnavailableError as error:
        return CeilingsMeasured(None, str(error))
    except MemoryError:
        return CeilingsMeasured(None, "Python could not allocate memory")
    except RuntimeError as error:  # torch's own words: no memory, or no such product in this dtype
        return CeilingsMeasured(None, _first_line(error))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _use_threads(threads: int) -> None:
    """Pin the process to as many CPUs as it has threads; set before any operation runs."""
    os.sched_setaffinity(0, quietest_cpus(threads))
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def serve(commands: BinaryIO, replies: BinaryIO) -> None:
    """Answer commands until there are no more."""
    decoder = msgspec.json.Decoder(Command)
    opening = decoder.decode(commands.readline())
    if not isinstance(opening, Open):
        raise TypeError(f"the first command opens the worker, got {opening}")
    _use_threads(opening.threads)
    # Before the first operation: from then on there are threads, which a fork would lose.
    inspector = Inspector(opening.seed, replies) if opening.device == "cpu" else None
    # Before anything else touches the GPU: what its context takes can be told only then.
    gpu = None if opening.device == "cpu" else CudaSide(opening.device, nvml=find_nvml())
    with torch.inference_mode():
        bench = Workbench(opening, inspector, gpu)
    _send(replies, Opened(bench.host))
    for line in commands:
        command = decoder.decode(line)
        if isinstance(command, Open):
            raise TypeError("a worker is opened once")
        if isinstance(command, MeasureCeilings):
            _send(replies, answer_ceilings(bench, command.dtype))
        else:
            _send(replies, answer(bench, command))
    if inspector is not None:
        inspector.close()


def _send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C reaches the whole terminal group; the scheduler decides what happens to this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()

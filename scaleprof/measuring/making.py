"""From a prepared network to its runtime's form of it, held against eager's outputs before it is timed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch

from scaleprof.measuring.passes import forward_pass
from scaleprof.measuring.preparing import Prepared
from scaleprof.measuring.runtimes import (
    OutputsDifferError,
    Runnable,
    RuntimeUnsupportedError,
    allowed_error,
    compiled_network,
    make_runnable,
    open_artifact,
    output_error,
    prime_compiler,
    refusing,
    why_unsupported,
)
from scaleprof.measuring.timing import Call
from scaleprof.records import Compiled

# Of outputs that are random (dropout in training): how many times as far from eager's as eager's own next.
_RANDOM_SLACK = 2.0


class Checked(NamedTuple):
    """A pass through a runtime, whose outputs are near eager's, and the file that it came from if any."""

    call: Call
    compiled: Compiled
    artifact: Path | None


def make_checked(prepared: Prepared, folder: Path) -> Checked:
    """The runtime's form of a network, compiled or exported into `folder`, and checked.

    The time that it takes is that until its first outputs are there: torch compiles in the first call. What
    an earlier worker of the sweep has exported there is opened, and not exported again.

    Raises:
        RuntimeUnsupportedError: the runtime cannot take this network or workload.
        OutputsDifferError: its outputs are further from eager's than the dtype explains.
    """
    workload = prepared.workload
    if why := why_unsupported(workload.runtime, workload):
        raise RuntimeUnsupportedError(why)
    if workload.runtime == "compile":
        prime_compiler(workload)
    return _training_step(prepared) if workload.mode == "train" else _forward(prepared, folder)


def _forward(prepared: Prepared, folder: Path) -> Checked:
    workload = prepared.workload
    expected = prepared.call()()
    began_s = time.perf_counter()
    runnable = _opened(prepared, folder) or _made(prepared, folder)
    outputs = runnable.call()
    _wait_for(workload.device)
    seconds = time.perf_counter() - began_s
    compiled = _checked(expected, outputs, seconds, runnable.version, allowed_error(workload))
    return Checked(runnable.call, compiled, runnable.artifact)


def _made(prepared: Prepared, folder: Path) -> Runnable:
    network, inputs, workload = prepared
    runnable = make_runnable(workload.runtime, network, inputs, workload, folder)
    if runnable.artifact is not None:
        _note(folder).write_text(f"{runnable.version}\n{runnable.artifact}")
    return runnable


def _opened(prepared: Prepared, folder: Path) -> Runnable | None:
    """What an earlier worker exported, opened; None if there is nothing."""
    if not _note(folder).exists():
        return None
    version, path = _note(folder).read_text().splitlines()
    _, inputs, workload = prepared
    return Runnable(open_artifact(workload.runtime, Path(path), inputs, workload), version, Path(path))


def _note(folder: Path) -> Path:
    """Where a worker leaves word of the file that it exported, once that has run."""
    return folder / "exported.txt"


def _training_step(prepared: Prepared) -> Checked:
    """A training step through the compiled network.

    In training mode outputs may be random by dropout, and compiled code draws other numbers than eager's.
    Then they need be no nearer to eager's than twice as far as eager's are from eager's own.
    """
    network, inputs, workload = prepared
    eager = forward_pass(network, inputs, workload)
    expected = eager()
    own_error = output_error(expected, eager())
    began_s = time.perf_counter()
    step = prepared.call(compiled_network(network, workload))
    with refusing("torch.compile"):
        outputs = step()
    _wait_for(workload.device)
    seconds = time.perf_counter() - began_s
    allowed = max(allowed_error(workload), _RANDOM_SLACK * own_error)
    version = f"torch {torch.__version__} inductor"
    return Checked(step, _checked(expected, outputs, seconds, version, allowed), None)


def _checked(expected: object, outputs: object, seconds: float, version: str, allowed: float) -> Compiled:
    error = output_error(expected, outputs)
    if not error <= allowed:
        raise OutputsDifferError(
            f"its outputs are {error:.2g} of eager's size away from eager's ({allowed:.2g} allowed): "
            f"another network would be timed"
        )
    return Compiled(seconds, version, error, allowed)


def _wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)

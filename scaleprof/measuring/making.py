"""From a prepared network to its runtime's form of it, held against eager's outputs before it is timed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch

from scaleprof.measuring.passes import forward_pass
from scaleprof.measuring.preparing import Prepared
from scaleprof.measuring.runtimes import (
    Agreement,
    OutputsDifferError,
    Runnable,
    RuntimeUnsupportedError,
    allowed_error,
    check_outputs,
    compiled_network,
    compiler_version,
    make_runnable,
    open_artifact,
    output_error,
    prime_compiler,
    refusing,
    rounding_error,
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
    network, inputs, workload = prepared
    expected = prepared.call()()
    began_s = time.perf_counter()
    runnable = _opened(prepared, folder) or _made(prepared, folder)
    outputs = runnable.call()
    _wait_for(workload.device)
    seconds = time.perf_counter() - began_s
    agreement = check_outputs(
        expected, outputs, workload, lambda: rounding_error(network, inputs, workload, expected)
    )
    compiled = Compiled(seconds, runnable.version, agreement.error, agreement.allowed)
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
    began_s = time.perf_counter()
    compiled = compiled_network(network, workload)
    step = prepared.call(compiled)
    with refusing("torch.compile"):
        outputs = step()
    compiled.require_compiled()
    _wait_for(workload.device)
    seconds = time.perf_counter() - began_s

    agreement = _step_agreement(prepared, expected, outputs, eager)
    return Checked(step, Compiled(seconds, compiler_version(), agreement.error, agreement.allowed), None)


def _step_agreement(prepared: Prepared, expected: object, outputs: object, eager: Call) -> Agreement:
    """How far a step's outputs are from eager's, held against rounding and against eager's own chance."""
    network, inputs, workload = prepared
    error = output_error(expected, outputs)
    if error <= allowed_error(workload):
        return Agreement(error, allowed_error(workload))
    by_rounding = allowed_error(workload, rounding_error(network, inputs, workload, expected))
    allowed = max(by_rounding, _RANDOM_SLACK * output_error(expected, eager()))
    if not error <= allowed:
        raise OutputsDifferError(
            f"a step's outputs differ from eager's by {error:.2g} of their size; {allowed:.2g} is allowed"
        )
    return Agreement(error, allowed)


def _wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)

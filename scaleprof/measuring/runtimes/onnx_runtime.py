"""onnxruntime on the CPU: the exported model in a session of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from scaleprof.measuring.runtimes.exporting import export_onnx, named_inputs
from scaleprof.measuring.runtimes.runnable import Runnable, RuntimeUnsupportedError, refusing
from scaleprof.measuring.timing import Call
from scaleprof.records import Workload

NAME = "onnxruntime"
EXTRA = "onnx"
_ONLY_ERRORS = 3


def make_runnable(
    network: nn.Module, inputs: tuple[torch.Tensor, ...], workload: Workload, folder: Path
) -> Runnable:
    """Export the network, open it in onnxruntime, and run it once."""
    version = str(_onnxruntime().__version__)
    artifact = export_onnx(network, inputs, folder, extra=EXTRA)
    call = open_artifact(artifact, inputs, workload)
    with refusing(NAME):
        call()
    return Runnable(call, f"{NAME} {version}", artifact)


def open_artifact(artifact: Path, inputs: tuple[torch.Tensor, ...], workload: Workload) -> Call:
    """One pass of an exported model; nothing has run yet.

    Raises:
        RuntimeUnsupportedError: onnxruntime cannot run it.
    """
    onnxruntime = _onnxruntime()
    with refusing(NAME):
        session = onnxruntime.InferenceSession(
            str(artifact), _options(onnxruntime, workload.threads), providers=["CPUExecutionProvider"]
        )
        taken = {argument.name for argument in session.get_inputs()}
        named = named_inputs(inputs)
        feeds = {name: tensor.contiguous().numpy() for name, tensor in named.items() if name in taken}

    def call() -> object:
        return [torch.as_tensor(output) for output in session.run(None, feeds)]

    return call


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ONLY_ERRORS
    # Else its threads go on spinning for tens of milliseconds after a pass, beside what is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnsupportedError(
            f'onnxruntime is not installed: pip install "scaleprof[{EXTRA}]"'
        ) from error
    return onnxruntime

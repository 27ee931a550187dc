"""OpenVINO on the CPU: the exported model, compiled for this processor, in an infer request of its own.

The file is in fp32 whatever the dtype, and OpenVINO is told which dtype to compute in. So it is deployed, and
nothing is lost: fp32 holds each weight that was cast to bf16 or fp16.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scaleprof.measuring.runtimes.exporting import export_onnx, named_inputs
from scaleprof.measuring.runtimes.runnable import Runnable, RuntimeUnsupportedError, refusing
from scaleprof.measuring.timing import Call
from scaleprof.records import DType, Workload

NAME = "OpenVINO"
EXTRA = "openvino"
_PRECISIONS: dict[DType, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
# Imported with openvino, it sends a message to its makers and writes to the home folder.
_TELEMETRY = "openvino_telemetry"


def make_runnable(
    network: nn.Module, inputs: tuple[torch.Tensor, ...], workload: Workload, folder: Path
) -> Runnable:
    """Export the network, compile it with OpenVINO, and run it once."""
    version = str(_openvino().__version__).partition("-")[0]
    with refusing(NAME):
        widened = network if workload.dtype == "fp32" else copy.deepcopy(network).float()
    artifact = export_onnx(widened, _in_fp32(inputs), folder, extra=EXTRA)
    call = open_artifact(artifact, inputs, workload)
    with refusing(NAME):
        call()
    return Runnable(call, f"{NAME} {version}", artifact)


def open_artifact(artifact: Path, inputs: tuple[torch.Tensor, ...], workload: Workload) -> Call:
    """One pass of an exported model; nothing has run yet.

    Raises:
        RuntimeUnsupportedError: OpenVINO cannot run it, or not in this dtype or with so many threads.
    """
    openvino = _openvino()
    with refusing(NAME):
        compiled = openvino.Core().compile_model(str(artifact), "CPU", _options(workload))
        _require_asked_for(compiled, workload)
        return _Pass(openvino, compiled, named_inputs(_in_fp32(inputs)))


class _Pass:
    """One pass of a compiled model on fixed inputs; its outputs lie in memory that each pass reuses."""

    def __init__(self, openvino: Any, compiled: Any, inputs: dict[str, torch.Tensor]) -> None:
        taken = {name for one in compiled.inputs for name in one.get_names()}
        self._request = compiled.create_infer_request()
        self._outputs = range(len(compiled.outputs))
        # OpenVINO reads their memory and does not keep it alive.
        self._inputs = {name: inputs[name].contiguous().numpy() for name in inputs if name in taken}
        for name, array in self._inputs.items():
            self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def __call__(self) -> list[torch.Tensor]:
        self._request.infer(share_outputs=True)
        return [torch.from_numpy(self._request.get_output_tensor(number).data) for number in self._outputs]


def _options(workload: Workload) -> dict[str, Any]:
    return {
        # Else fp32 models are computed in bf16 wherever the processor has it.
        "INFERENCE_PRECISION_HINT": _PRECISIONS[workload.dtype],
        "INFERENCE_NUM_THREADS": workload.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }


def _require_asked_for(compiled: Any, workload: Workload) -> None:
    """Options are hints: OpenVINO takes another dtype or fewer threads without a word."""
    computes_in = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if computes_in != _PRECISIONS[workload.dtype]:
        raise RuntimeUnsupportedError(
            f"OpenVINO computes in {computes_in} on this processor when asked for {workload.dtype}: "
            f"choose another --dtype"
        )
    threads = compiled.get_property("INFERENCE_NUM_THREADS")
    if threads != workload.threads:
        raise RuntimeUnsupportedError(
            f"OpenVINO runs on {threads} threads here when asked for {workload.threads}: "
            f"use --threads {threads}"
        )


def _in_fp32(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in inputs)


def _openvino() -> Any:
    try:
        with _no_telemetry():
            import openvino
    except ImportError as error:
        raise RuntimeUnsupportedError(
            f'openvino is not installed: pip install "scaleprof[{EXTRA}]"'
        ) from error
    return openvino


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Make OpenVINO import its own stub in place of its telemetry, as where that is not installed."""
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if known is not None:
            sys.modules[_TELEMETRY] = known

"""The runtimes: a prepared network becomes one call, by torch itself, by a compiler, or by an exported file.

Each is one module that makes a `Runnable`. A runtime that cannot take a network or a workload says why in a
`RuntimeUnsupportedError`; none of them falls back to something else without a word. Packages that are not
torch's are imported when they are asked for, and need not be there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from scaleprof.measuring.passes import forward_pass
from scaleprof.measuring.runtimes import compiling, cudagraph, onnx_runtime, openvino_runtime
from scaleprof.measuring.runtimes.checking import (
    Agreement,
    OutputsDifferError,
    OutputStructureError,
    allowed_error,
    check_outputs,
    output_error,
    rounding_error,
)
from scaleprof.measuring.runtimes.compiling import (
    CompiledNetwork,
    compiled_network,
    compiler_version,
    prime_compiler,
)
from scaleprof.measuring.runtimes.limits import why_unsupported
from scaleprof.measuring.runtimes.runnable import Runnable, RuntimeUnsupportedError, refusing
from scaleprof.measuring.timing import Call
from scaleprof.records import Runtime, Workload

__all__ = [
    "Agreement",
    "CompiledNetwork",
    "OutputStructureError",
    "OutputsDifferError",
    "Runnable",
    "RuntimeUnsupportedError",
    "allowed_error",
    "check_outputs",
    "compiled_network",
    "compiler_version",
    "make_runnable",
    "open_artifact",
    "output_error",
    "prime_compiler",
    "refusing",
    "rounding_error",
    "why_unsupported",
]


def make_runnable(
    runtime: Runtime, network: nn.Module, inputs: tuple[torch.Tensor, ...], workload: Workload, folder: Path
) -> Runnable:
    """A network under a runtime: compiled or exported, and run once. In eager it is what it is.

    Args:
        runtime: which.
        network: as the workload wants it, on its device; it has run in eager.
        inputs: those that will be timed.
        workload: threads, dtype and mode, and how it is cast.
        folder: where an exported model is written, each in a new folder.

    Raises:
        RuntimeUnsupportedError: the runtime cannot take it.
    """
    if why := why_unsupported(runtime, workload):
        raise RuntimeUnsupportedError(why)
    if runtime == "compile":
        return compiling.make_runnable(network, inputs, workload)
    if runtime == "cudagraph":
        return cudagraph.make_runnable(network, inputs, workload)
    if runtime == "onnxruntime":
        return onnx_runtime.make_runnable(network, inputs, workload, folder)
    if runtime == "openvino":
        return openvino_runtime.make_runnable(network, inputs, workload, folder)
    return Runnable(forward_pass(network, inputs, workload), f"torch {torch.__version__}")


def open_artifact(
    runtime: Runtime, artifact: Path, inputs: tuple[torch.Tensor, ...], workload: Workload
) -> Call:
    """One pass of an exported model, as it is deployed: without the network and without the exporter.

    Raises:
        RuntimeUnsupportedError: the runtime cannot run it.
        ValueError: the runtime exports nothing.
    """
    if runtime == "onnxruntime":
        return onnx_runtime.open_artifact(artifact, inputs, workload)
    if runtime == "openvino":
        return openvino_runtime.open_artifact(artifact, inputs, workload)
    raise ValueError(f"{runtime} makes no file that could be opened: {artifact}")

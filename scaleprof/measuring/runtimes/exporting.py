"""A network as an ONNX file, which onnxruntime and OpenVINO both read.

OpenVINO can also convert what `torch.export` gives. That is no faster here, takes as long, needs the same
`torch.export`, and its converter reports each use to its makers (`openvino_runtime`); so there is one
exporter, and what one runtime is given the other one is given, too.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import nn

from scaleprof.measuring.runtimes.runnable import RuntimeUnsupportedError, refusing
from scaleprof.models.tensors import tensors_in


class _TensorsOnly(nn.Module):
    """A network that puts out its tensors alone, in order: ONNX knows nothing else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensors_in(self.network(*inputs)))


def export_onnx(network: nn.Module, inputs: tuple[torch.Tensor, ...], folder: Path, *, extra: str) -> Path:
    """Export a network into a new folder inside `folder`; inputs are named `input_0`, `input_1`, ….

    Args:
        network: in eval mode, on the CPU.
        inputs: whose shapes and types the exported model takes, and no others.
        folder: where everything is written.
        extra: scaleprof's extra that installs the exporter.

    Raises:
        RuntimeUnsupportedError: the network cannot be exported, or the exporter is not installed.
    """
    _require_exporter(extra)
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="onnx-", dir=folder)) / "model.onnx"
    names = list(named_inputs(inputs))
    wrapped = _TensorsOnly(network).eval()
    with refusing("torch.onnx.export"), _quiet(), torch.no_grad():
        program = torch.onnx.export(wrapped, inputs, input_names=names, dynamo=True, verbose=False)
        if program is None:
            raise RuntimeUnsupportedError("torch.onnx.export cannot take it: it made no program")
        program.save(path)
    return path


def named_inputs(inputs: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    """Inputs by their names in the exported model, which may lack one that the network does not use."""
    return {f"input_{number}": tensor for number, tensor in enumerate(inputs)}


def _require_exporter(extra: str) -> None:
    for name in ("onnx", "onnxscript"):
        try:
            __import__(name)
        except ImportError as error:
            raise RuntimeUnsupportedError(
                f'exporting needs the package {name}: pip install "scaleprof[{extra}]"'
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter: it prints each step, and warns of its own insides, in each version of others.

    Nothing is lost: if it fails it raises, and if what it made is wrong its outputs tell.
    """
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield

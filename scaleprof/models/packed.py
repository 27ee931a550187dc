"""A module's weights, those included that quantised layers pack out of sight of `parameters()`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

# Objects within objects: a layer's packed parameters hold a cell's, which hold a matrix's.
_DEEPEST = 6


class Held(NamedTuple):
    """The tensors that a module and all its parts hold as weights, each once.

    Attributes:
        parameters: what is trained, or could be.
        buffers: what goes with the parameters and is not trained.
        packed: the weights and biases of quantised layers, unpacked.
    """

    parameters: list[torch.Tensor]
    buffers: list[torch.Tensor]
    packed: list[torch.Tensor]

    @property
    def params(self) -> int:
        """How many parameters there are, packed ones included."""
        return sum(tensor.numel() for tensor in (*self.parameters, *self.packed))

    @property
    def weight_bytes(self) -> int:
        """Bytes of everything that is held."""
        own = sum(tensor.numel() * tensor.element_size() for tensor in (*self.parameters, *self.buffers))
        return own + sum(map(_packed_bytes, self.packed))


def held_by(module: nn.Module) -> Held:
    """The weights of a module, found in one walk over its parts.

    Quantised layers (`torch.ao.nn.quantized`, `quantize_dynamic`) hold a `ScriptObject` in place of their
    parameters. Scales and zero points are part of the weights.
    """
    parameters: dict[int, torch.Tensor] = {}
    buffers: dict[int, torch.Tensor] = {}
    packed: dict[int, torch.Tensor] = {}
    for part in module.modules():
        is_scripted = isinstance(part, torch.jit.ScriptModule)
        own: Iterable[torch.Tensor | None]
        own = part.parameters(recurse=False) if is_scripted else part._parameters.values()
        parameters |= {id(one): one for one in own if one is not None}
        own = part.buffers(recurse=False) if is_scripted else part._buffers.values()
        buffers |= {id(one): one for one in own if one is not None}
        if not is_scripted and not type(part).__module__.startswith("torch.nn."):
            packed |= {one.data_ptr(): one for one in _packed_in(part)}
    for number in parameters.keys() & buffers.keys():  # one tensor in two places counts once
        del buffers[number]
    return Held(list(parameters.values()), list(buffers.values()), list(packed.values()))


def count_params(module: nn.Module) -> int:
    """Parameters of a module, each once; those that quantised layers hold packed, too."""
    return held_by(module).params


def _packed_in(part: nn.Module) -> Iterator[torch.Tensor]:
    """What one layer holds packed; a cell's state names its biases twice, beside its matrices and within."""
    # A recurrent layer holds a wrapper for each of its cells.
    cells = [getattr(cell, "param", None) for cell in vars(part).get("_all_weight_values", ())]
    is_half = vars(part).get("dtype") is torch.float16  # matrices of 16 bits are unpacked to 32
    for value in (*vars(part).values(), *cells):
        if isinstance(value, torch.ScriptObject):
            for tensor in packed_tensors(value):
                yield tensor.half() if is_half and tensor.dim() > 1 else tensor


def packed_tensors(packed: Any, depth: int = 0) -> list[torch.Tensor]:
    """The tensors that a packed object gives when it is unpacked, or when it is saved."""
    if isinstance(packed, torch.Tensor):
        return [packed]
    if isinstance(packed, (list, tuple)):
        return [tensor for one in packed for tensor in packed_tensors(one, depth + 1)]
    if not isinstance(packed, torch.ScriptObject) or depth > _DEEPEST:
        return []
    read = getattr(packed, "unpack", None) or getattr(packed, "__getstate__", None)
    return packed_tensors(read(), depth + 1) if read is not None else []


def _packed_bytes(tensor: torch.Tensor) -> int:
    """Bytes of one packed tensor: its elements, and the scale and zero point of each channel."""
    size = tensor.numel() * tensor.element_size()
    if tensor.is_quantized and tensor.qscheme() in (
        torch.per_channel_affine,
        torch.per_channel_symmetric,
        torch.per_channel_affine_float_qparams,
    ):
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        size += scales.numel() * scales.element_size() + zeros.numel() * zeros.element_size()
    return size

"""The weights of quantised layers, which torch packs out of sight of `parameters()`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Objects within objects: a layer's packed parameters hold a cell's, which hold a matrix's.
_DEEPEST = 6


def count_params(module: nn.Module) -> int:
    """Parameters of a module, each once; those that quantised layers hold packed, too."""
    own = sum(parameter.numel() for parameter in module.parameters())
    return own + sum(tensor.numel() for tensor in packed_weights(module))


def packed_weights(module: nn.Module) -> list[torch.Tensor]:
    """The weights and biases that the layers of a module hold packed, each once.

    Quantised layers (`torch.ao.nn.quantized`, `quantize_dynamic`) hold a `ScriptObject` in place of their
    parameters. Scales and zero points are part of the weights.
    """
    objects: dict[int, tuple[torch.ScriptObject, bool]] = {}
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        # A recurrent layer holds a wrapper for each of its cells.
        cells = [getattr(cell, "param", None) for cell in getattr(part, "_all_weight_values", ())]
        for value in (*vars(part).values(), *cells):
            if isinstance(value, torch.ScriptObject):
                objects[id(value)] = (value, getattr(part, "dtype", None) is torch.float16)
    # A cell's state names its biases twice: beside its matrices and within them.
    found: dict[int, torch.Tensor] = {}
    for packed, is_half in objects.values():
        for tensor in packed_tensors(packed):
            # Matrices of 16 bits are unpacked to 32.
            found[tensor.data_ptr()] = tensor.half() if is_half and tensor.dim() > 1 else tensor
    return list(found.values())


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


def packed_bytes(tensor: torch.Tensor) -> int:
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

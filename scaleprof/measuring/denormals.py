"""Denormal numbers between the modules of a network, with which an x86 core is up to forty times slower."""

from __future__ import annotations

import torch
from torch import nn

from scaleprof.measuring.timing import Call
from scaleprof.models.tensors import tensors_in

# fp16 has no wider exponent to spare, and is computed with in fp32 on CPUs.
_LOOKED_AT = (torch.float32, torch.float64, torch.bfloat16)
_SAMPLE = 4096


def denormal_share(network: nn.Module, call: Call) -> float | None:
    """Share of denormals among numbers that modules put out in one pass, sampled; None without any."""
    seen = denormal = 0

    def look(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal seen, denormal
        for tensor in tensors_in(output):
            if tensor.dtype in _LOOKED_AT:
                some = _some_of(tensor)
                seen += some.numel()
                denormal += count_denormals(some)

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(look) for module in leaves]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return denormal / seen if seen else None


def _some_of(values: torch.Tensor) -> torch.Tensor:
    """A few thousand values, evenly spaced: enough for a share, and no second pass over them all."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLE)]


def count_denormals(values: torch.Tensor) -> int:
    """How many values are nonzero and below the dtype's smallest normal number."""
    magnitude = values.abs()
    return int(((magnitude > 0) & (magnitude < torch.finfo(values.dtype).tiny)).sum())

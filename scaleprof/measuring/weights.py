"""Weights as a trained network would have them in scale.

Fresh random weights in eval mode let EfficientNet-B0's outputs vanish (1e-14), which makes output checks
vacuous and brings denormals into the timing. So batch-norm statistics are taken from one seeded pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from scaleprof.models.tensors import tensors_in

# At least two images, since a last stage of one pixel has no variance over one; no more, to stay cheap.
CALIBRATION_BATCH = 2


class OutputError(ValueError):
    """The prepared model's outputs cannot be told from nonsense."""


def needs_settling(network: nn.Module) -> bool:
    """Whether it has batch norms, whose statistics are to be set."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def joined(first: Sequence[torch.Tensor], more: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Inputs with more samples behind them; as they are, if they do not fit on each other."""
    fits = all(a.dim() and a.shape[1:] == b.shape[1:] for a, b in zip(first, more, strict=True))
    return tuple(torch.cat(pair) for pair in zip(first, more, strict=True)) if fits else tuple(first)


def settle_batch_norms(network: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """Set batch-norm statistics from one pass over the inputs; everything else stays in eval mode.

    The inputs are those that will be timed, two samples at least: statistics of other sizes or of other
    noise drift apart from layer to layer, and deep models' outputs explode.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average: after one pass, that pass's own statistics
        norm.train()
    with torch.inference_mode():
        network(*inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def output_std(output: object) -> float:
    """Standard deviation of all the numbers that a model puts out, in whatever structure; of one, its size.

    Raises:
        OutputError: numbers that are not finite, or none at all.
    """
    tensors = [tensor for tensor in tensors_in(output) if tensor.numel()]
    if not tensors:
        raise OutputError(f"the model puts out no numbers ({type(output).__name__})")
    values = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
    std = float(values.std(correction=0)) if len(values) > 1 else float(values.abs())
    if not math.isfinite(std):
        raise OutputError("outputs are not finite numbers: a true timing needs values of order one")
    return std

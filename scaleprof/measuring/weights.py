"""Weights as a trained network would have them in scale.

Fresh random weights in eval mode let EfficientNet-B0's outputs vanish (1e-14), which makes output checks
vacuous and brings denormals into the timing. So batch-norm statistics are taken from one seeded pass.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

# At least two images, since a last stage of one pixel has no variance over one; no more, to stay cheap.
CALIBRATION_BATCH = 2

_MIN_OUTPUT_STD = 1e-3
_MAX_OUTPUT_STD = 1e3


class OutputError(ValueError):
    """The prepared model's outputs are not of order one."""


def settle_batch_norms(network: nn.Module, images: torch.Tensor) -> None:
    """Set batch-norm statistics from one pass over the images; everything else stays in eval mode.

    The images are those that will be timed (`[batch, 3, height_px, width_px]`, two are enough): statistics
    of other sizes or of other noise drift apart from layer to layer, and deep models' outputs explode.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average: after one pass, that pass's own statistics
        norm.train()
    missing = CALIBRATION_BATCH - len(images)
    extra = [torch.randn_like(images[:1])] * missing
    with torch.inference_mode():
        network(torch.cat([images[:CALIBRATION_BATCH], *extra]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def output_std(output: torch.Tensor) -> float:
    """Standard deviation of the outputs, checked to be of order one.

    Raises:
        OutputError: outputs that are not finite, vanish or explode.
    """
    std = float(output.float().std(correction=0))
    if not math.isfinite(std) or not _MIN_OUTPUT_STD <= std <= _MAX_OUTPUT_STD:
        raise OutputError(
            f"outputs have a standard deviation of {std:.3g}, of order one is needed for a true timing"
        )
    return std

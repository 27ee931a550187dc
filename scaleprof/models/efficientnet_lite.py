"""EfficientNet-Lite: EfficientNet for integer arithmetic, with ReLU6 and without squeeze-and-excitation.

Stem and head do not scale at all, and the first and the last stage keep their one layer
(google/automl, efficientdet/backbone/efficientnet_lite_builder.py, `fix_head_stem`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaleprof.models import efficientnet
from scaleprof.models.family import ModelFamily, many
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn


def shape_at(scale: Scale) -> Shape:
    """Stage channels and the repeats of the five inner stages scale; the rest is B0's.

    >>> shape_at(Scale(width=1.4, depth=1.8))["stage_repeats"]
    (1, 4, 4, 6, 6, 8, 1)
    """
    base, scaled = efficientnet.shape_at(Scale()), efficientnet.shape_at(scale)
    first, *_, last = many(base, "stage_repeats")
    inner = many(scaled, "stage_repeats")[1:-1]
    return {**base, "stage_channels": scaled["stage_channels"], "stage_repeats": (first, *inner, last)}


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from functools import partial

    from torch import nn
    from torchvision.models.efficientnet import MBConv

    network = efficientnet.assemble(shape, partial(MBConv, se_layer=lambda *_, **__: nn.Identity()))
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6(inplace=True))
    return network


EFFICIENTNET_LITE0 = ModelFamily(
    name="efficientnet_lite0",
    title="EfficientNet-Lite, scaled from lite0",
    depth_means="repeats of the five inner MBConv stages; stem, head, first and last stage stay",
    width_means="channels of the stages; stem and head stay",
    source="tensorflow/tpu models/official/efficientnet/lite",
    shape_at=shape_at,
    construct=construct,
    last_block=efficientnet.last_block,
)

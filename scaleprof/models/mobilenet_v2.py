"""MobileNetV2 (Sandler et al. 2018), built from torchvision's inverted residuals.

As its authors have it, the head grows in width but never shrinks below 1280 channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn


class _Stage(NamedTuple):
    expand_ratio: int
    channels: int
    repeats: int
    stride: int


# Sandler et al. 2018, table 2.
_STEM_CHANNELS = 32
_STAGES = (
    _Stage(1, 16, 1, 1),
    _Stage(6, 24, 2, 2),
    _Stage(6, 32, 3, 2),
    _Stage(6, 64, 4, 2),
    _Stage(6, 96, 3, 1),
    _Stage(6, 160, 3, 2),
    _Stage(6, 320, 1, 1),
)
_HEAD_CHANNELS = 1280
_CLASSES = 1000
_DROPOUT = 0.2


def shape_at(scale: Scale) -> Shape:
    """Stem, stage and head channels, and repeats per stage.

    >>> shape_at(Scale(width=0.5))["head_channels"], shape_at(Scale(width=2))["head_channels"]
    (1280, 2560)
    """
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(scale.channels(stage.channels) for stage in _STAGES),
        "stage_repeats": tuple(scale.repeats(stage.repeats) for stage in _STAGES),
        "head_channels": max(_HEAD_CHANNELS, scale.channels(_HEAD_CHANNELS)),
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block; blocks of all stages follow the stem in one row."""
    return (f"features.{sum(many(shape, 'stage_repeats')[: stage + 1])}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from collections import OrderedDict

    from torch import nn
    from torchvision.models.mobilenetv2 import InvertedResidual
    from torchvision.ops import Conv2dNormActivation

    c_in, head = one(shape, "stem_channels"), one(shape, "head_channels")
    layers: list[nn.Module] = [Conv2dNormActivation(3, c_in, stride=2, activation_layer=nn.ReLU6)]
    stages = zip(_STAGES, many(shape, "stage_channels"), many(shape, "stage_repeats"), strict=True)
    for stage, c_out, repeats in stages:
        for number in range(repeats):
            stride = stage.stride if number == 0 else 1
            layers.append(InvertedResidual(c_in, c_out, stride, stage.expand_ratio))
            c_in = c_out
    layers.append(Conv2dNormActivation(c_in, head, kernel_size=1, activation_layer=nn.ReLU6))
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(head, _CLASSES)),
        )
    )


MOBILENET_V2 = ModelFamily(
    name="mobilenet_v2",
    title="MobileNetV2, scaled from 1.0",
    depth_means="repeats of each of the seven stages; stem and head stay",
    width_means="channels of stem, stages and head (the head never below 1280)",
    source="Sandler et al. 2018, arXiv:1801.04381",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
)

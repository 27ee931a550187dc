"""MobileNetV3-Large (Howard et al. 2019), built from torchvision's inverted residuals.

Its blocks differ within a stage in how far they expand. A deeper stage repeats its last block; a
shallower one loses its last blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn


class _Stage(NamedTuple):
    """`expanded` holds the expanded channels of each block."""

    kernel_px: int
    channels: int
    expanded: tuple[int, ...]
    squeeze: bool
    activation: str
    stride: int


# Howard et al. 2019, table 1: RE is ReLU, HS is hard swish.
_STEM_CHANNELS = 16
_STAGES = (
    _Stage(3, 16, (16,), False, "RE", 1),
    _Stage(3, 24, (64, 72), False, "RE", 2),
    _Stage(5, 40, (72, 120, 120), True, "RE", 2),
    _Stage(3, 80, (240, 200, 184, 184), False, "HS", 2),
    _Stage(3, 112, (480, 672), True, "HS", 1),
    _Stage(5, 160, (672, 960, 960), True, "HS", 2),
)
_HEAD_CHANNELS = 1280


def shape_at(scale: Scale) -> Shape:
    """Stem, stage, expanded (one a block) and head channels, and repeats per stage.

    >>> shape_at(Scale(depth=2))["expanded_channels"][:6]
    (16, 16, 64, 72, 72, 72)
    """
    repeats = tuple(scale.repeats(len(stage.expanded)) for stage in _STAGES)
    expanded = [
        scale.channels(stage.expanded[min(number, len(stage.expanded) - 1)])
        for stage, layers in zip(_STAGES, repeats, strict=True)
        for number in range(layers)
    ]
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(scale.channels(stage.channels) for stage in _STAGES),
        "stage_repeats": repeats,
        "expanded_channels": tuple(expanded),
        "head_channels": scale.channels(_HEAD_CHANNELS),
    }


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    c_in = one(shape, "stem_channels")
    expanded = iter(many(shape, "expanded_channels"))
    settings = []
    stages = zip(_STAGES, many(shape, "stage_channels"), many(shape, "stage_repeats"), strict=True)
    for stage, c_out, repeats in stages:
        for number in range(repeats):
            settings.append(
                InvertedResidualConfig(
                    c_in,
                    stage.kernel_px,
                    next(expanded),
                    c_out,
                    stage.squeeze,
                    stage.activation,
                    stride=stage.stride if number == 0 else 1,
                    dilation=1,
                    width_mult=1.0,
                )
            )
            c_in = c_out
    network: nn.Module = MobileNetV3(settings, last_channel=one(shape, "head_channels"))
    return network


MOBILENET_V3_LARGE = ModelFamily(
    name="mobilenet_v3_large",
    title="MobileNetV3, scaled from Large 1.0",
    depth_means="repeats of each of the six stages, by its last block; stem and head stay",
    width_means="channels of stem, stages (expanded ones too) and head",
    source="Howard et al. 2019, arXiv:1905.02244",
    shape_at=shape_at,
    construct=construct,
)

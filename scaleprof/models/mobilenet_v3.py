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
    from torchvision.models.mobilenetv3 import MobileNetV3


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
    """Stem, stage, expanded (one a block of the base) and head channels, and repeats per stage.

    >>> shape_at(Scale(width=2))["expanded_channels"][:4]
    (32, 128, 144, 144)
    """
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(scale.channels(stage.channels) for stage in _STAGES),
        "stage_repeats": tuple(scale.repeats(len(stage.expanded)) for stage in _STAGES),
        "expanded_channels": tuple(scale.channels(c) for stage in _STAGES for c in stage.expanded),
        "head_channels": scale.channels(_HEAD_CHANNELS),
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block; blocks of all stages follow the stem in one row."""
    return (f"features.{sum(many(shape, 'stage_repeats')[: stage + 1])}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    network: nn.Module = assemble(shape)
    return network


def assemble(shape: Shape, *, dilated: bool = False) -> MobileNetV3:
    """The network; if `dilated`, its last stage keeps the size of its images and spreads its kernels."""
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    c_in = one(shape, "stem_channels")
    expanded = iter(many(shape, "expanded_channels"))
    settings = []
    stages = zip(_STAGES, many(shape, "stage_channels"), many(shape, "stage_repeats"), strict=True)
    for stage, c_out, repeats in stages:
        own = [next(expanded) for _ in stage.expanded]
        for number in range(repeats):
            settings.append(
                InvertedResidualConfig(
                    c_in,
                    stage.kernel_px,
                    own[min(number, len(own) - 1)],
                    c_out,
                    stage.squeeze,
                    stage.activation,
                    stride=stage.stride if number == 0 else 1,
                    dilation=2 if dilated and stage is _STAGES[-1] else 1,
                    width_mult=1.0,
                )
            )
            c_in = c_out
    return MobileNetV3(settings, last_channel=one(shape, "head_channels"))


MOBILENET_V3_LARGE = ModelFamily(
    name="mobilenet_v3_large",
    title="MobileNetV3, scaled from Large 1.0",
    depth_means="repeats of each of the six stages, by its last block; stem and head stay",
    width_means="channels of stem, stages (expanded ones too) and head",
    source="Howard et al. 2019, arXiv:1905.02244",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
)

"""ConvNeXt-Tiny (Liu et al. 2022), built from torchvision's blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaleprof.models.family import ModelFamily, many
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn

# Liu et al. 2022, table 9.
_STAGE_CHANNELS = (96, 192, 384, 768)
_STAGE_REPEATS = (3, 3, 9, 3)


def shape_at(scale: Scale) -> Shape:
    """Stage channels (the stem has the first stage's), and repeats per stage.

    >>> shape_at(Scale(width=1.1, depth=1.2))["stage_repeats"]
    (4, 4, 11, 4)
    """
    return {
        "stage_channels": tuple(map(scale.channels, _STAGE_CHANNELS)),
        "stage_repeats": tuple(map(scale.repeats, _STAGE_REPEATS)),
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block; a downsampling layer precedes each stage."""
    return (f"features.{2 * stage + 1}.{many(shape, 'stage_repeats')[stage] - 1}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    channels = many(shape, "stage_channels")
    stages = zip(channels, (*channels[1:], None), many(shape, "stage_repeats"), strict=True)
    network: nn.Module = ConvNeXt([CNBlockConfig(c_in, c_out, layers) for c_in, c_out, layers in stages])
    return network


CONVNEXT_TINY = ModelFamily(
    name="convnext_tiny",
    title="ConvNeXt, scaled from Tiny",
    depth_means="repeats of each of the four stages; stem and downsampling layers stay",
    width_means="channels of stem and stages",
    source="Liu et al. 2022, arXiv:2201.03545",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
)

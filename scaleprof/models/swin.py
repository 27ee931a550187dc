"""Swin-T (Liu et al. 2021), built from torchvision's blocks.

A block looks through windows of 7 × 7 patches and the next one through windows shifted by half, so that
layers come in pairs. Pixels are whole windows of the first stage; where a later stage has no whole number of
windows, torchvision fills its last ones with zeros, and these are multiplied, too: at 252 px the last stage
has 8 × 8 patches, and attends to 14 × 14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaleprof.models.family import ModelFamily, many
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn

# Liu et al. 2021, section 3.3: Swin-T; each stage has twice the channels of the one before.
_CHANNELS = 96
_PAIRS = (1, 1, 3, 1)
_HEAD_CHANNELS = 32
_WINDOW = 7
_PATCH_PX = 4
_BASE_PX = 224
_STOCHASTIC_DEPTH = 0.2


def shape_at(scale: Scale) -> Shape:
    """Stage channels, pairs of blocks per stage, and heads of 32 channels per stage.

    >>> shape_at(Scale(width=1.3, depth=1.2))
    {'stage_channels': (128, 256, 512, 1024), 'stage_repeats': (2, 2, 4, 2), 'heads': (4, 8, 16, 32)}
    """
    first = scale.channels(_CHANNELS, divisor=_HEAD_CHANNELS)
    channels = tuple(first * 2**stage for stage in range(len(_PAIRS)))
    return {
        "stage_channels": channels,
        "stage_repeats": tuple(map(scale.repeats, _PAIRS)),
        "heads": tuple(c // _HEAD_CHANNELS for c in channels),
    }


def size_at(scale: Scale) -> int:
    """Side of the image in pixels, in whole windows of the first stage.

    >>> size_at(Scale(resolution=1.15))
    252
    """
    return scale.pixels(_BASE_PX, step=_WINDOW * _PATCH_PX)


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The paths of a stage's last pair; a merging layer precedes each stage but the first."""
    pairs = many(shape, "stage_repeats")[stage]
    return tuple(f"features.{2 * stage + 1}.{number}" for number in (2 * pairs - 2, 2 * pairs - 1))


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.swin_transformer import SwinTransformer

    network: nn.Module = SwinTransformer(
        patch_size=[_PATCH_PX, _PATCH_PX],
        embed_dim=many(shape, "stage_channels")[0],
        depths=[2 * pairs for pairs in many(shape, "stage_repeats")],
        num_heads=list(many(shape, "heads")),
        window_size=[_WINDOW, _WINDOW],
        stochastic_depth_prob=_STOCHASTIC_DEPTH,
    )
    return network


SWIN_T = ModelFamily(
    name="swin_t",
    title="Swin Transformer, scaled from Swin-T",
    depth_means="pairs of blocks (windows, shifted windows) in each of the four stages; merging layers stay",
    width_means="channels of the first stage in whole heads of 32; each further stage has twice as many",
    resolution_means="side of the square input in pixels, in whole windows of 28; a window is 7 × 7 patches",
    note="a later stage without a whole number of windows fills its last ones with zeros, which cost as much",
    source="Liu et al. 2021, arXiv:2103.14030",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
    base_input_size=_BASE_PX,
    min_input_size=_WINDOW * _PATCH_PX,
    size_at=size_at,
    # A head more in the first stage is eight in the last, by which the least width is told.
    channel_divisor=_HEAD_CHANNELS * 2 ** (len(_PAIRS) - 1),
    least_channels_mean="one head in the first stage",
)

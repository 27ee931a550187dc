"""Vision Transformer B/16 (Dosovitskiy et al. 2021), built from torchvision's encoder.

Widths are whole heads of 64 channels, as in the released Ti, S, B and L. The released H has 16 heads of 80
channels; here it has 20 of 64, which changes neither its parameters nor its MACs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn

# Dosovitskiy et al. 2021, table 1: ViT-Base.
_CHANNELS = 768
_LAYERS = 12
_HEAD_CHANNELS = 64
_MLP_RATIO = 4
_PATCH_PX = 16
_BASE_PX = 224


def shape_at(scale: Scale) -> Shape:
    """Hidden channels, layers, and heads of 64 channels; the encoder is one stage.

    >>> shape_at(Scale(width=0.5, depth=2))
    {'stage_channels': (384,), 'stage_repeats': (24,), 'heads': 6}
    """
    channels = scale.channels(_CHANNELS, divisor=_HEAD_CHANNELS)
    return {
        "stage_channels": (channels,),
        "stage_repeats": (scale.repeats(_LAYERS),),
        "heads": channels // _HEAD_CHANNELS,
    }


def size_at(scale: Scale) -> int:
    """Side of the image in pixels, in whole patches.

    >>> size_at(Scale(resolution=1.15))
    256
    """
    return scale.pixels(_BASE_PX, step=_PATCH_PX)


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of the last layer."""
    return (f"encoder.layers.encoder_layer_{many(shape, 'stage_repeats')[stage] - 1}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, input_px, input_px]` to `[batch, 1000]`."""
    from torch.nn.init import trunc_normal_
    from torchvision.models.vision_transformer import VisionTransformer

    (channels,), (layers,) = many(shape, "stage_channels"), many(shape, "stage_repeats")
    network = VisionTransformer(
        image_size=one(shape, "input_size"),
        patch_size=_PATCH_PX,
        num_layers=layers,
        num_heads=one(shape, "heads"),
        hidden_dim=channels,
        mlp_dim=_MLP_RATIO * channels,
    )
    # torchvision starts it at zero, and outputs that are all zero cannot be checked.
    trunc_normal_(network.heads.head.weight, std=channels**-0.5)
    whole: nn.Module = network
    return whole


VIT_B_16 = ModelFamily(
    name="vit_b_16",
    title="Vision Transformer, scaled from B/16",
    depth_means="layers of the encoder; patch embedding and head stay",
    width_means="hidden channels in whole heads of 64; the MLP has four times as many",
    resolution_means="side of the square input in pixels, in whole patches of 16; a patch is a token",
    note="attention costs tokens² beside products that cost tokens: at 224 px 4 % of all MACs, more beyond",
    source="Dosovitskiy et al. 2021, arXiv:2010.11929",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
    base_input_size=_BASE_PX,
    min_input_size=_PATCH_PX,
    size_at=size_at,
    is_sized=True,
    channel_divisor=_HEAD_CHANNELS,
    least_channels_mean="one head",
)

"""EfficientNetV2-S (Tan & Le 2021): fused and plain MBConv stages, built from torchvision's blocks.

Stem, stages and head grow in width, every stage in depth. The input is 384 px, the size that its accuracy
is printed for and that torchvision's weights take (it was trained at up to 300 px).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn


class _Stage(NamedTuple):
    fused: bool
    expand_ratio: int
    stride: int
    channels: int
    repeats: int


# Tan & Le 2021, table 4, and torchvision's efficientnet_v2_s; every kernel is 3 × 3.
_STAGES = (
    _Stage(True, 1, 1, 24, 2),
    _Stage(True, 4, 2, 48, 4),
    _Stage(True, 4, 2, 64, 4),
    _Stage(False, 4, 2, 128, 6),
    _Stage(False, 6, 1, 160, 9),
    _Stage(False, 6, 2, 256, 15),
)
_STEM_CHANNELS = 24
_HEAD_CHANNELS = 1280
_KERNEL_PX = 3
_BATCH_NORM_EPS = 1e-3
_DROPOUT = 0.2


def shape_at(scale: Scale) -> Shape:
    """Stem, stage and head channels, and repeats per stage.

    >>> shape_at(Scale(width=1.1, depth=1.2))["stage_channels"]
    (24, 56, 72, 144, 176, 280)
    """
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(scale.channels(stage.channels) for stage in _STAGES),
        "stage_repeats": tuple(scale.repeats(stage.repeats) for stage in _STAGES),
        "head_channels": scale.channels(_HEAD_CHANNELS),
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block; stages follow the stem."""
    return (f"features.{stage + 1}.{many(shape, 'stage_repeats')[stage] - 1}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from functools import partial

    from torch.nn import BatchNorm2d
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    channels = many(shape, "stage_channels")
    inputs = (one(shape, "stem_channels"), *channels[:-1])
    settings = []
    for stage, c_in, c_out, layers in zip(
        _STAGES, inputs, channels, many(shape, "stage_repeats"), strict=True
    ):
        config = FusedMBConvConfig if stage.fused else MBConvConfig
        settings.append(config(stage.expand_ratio, _KERNEL_PX, stage.stride, c_in, c_out, layers))
    network: nn.Module = EfficientNet(
        settings,
        dropout=_DROPOUT,
        norm_layer=partial(BatchNorm2d, eps=_BATCH_NORM_EPS),
        last_channel=one(shape, "head_channels"),
    )
    return network


EFFICIENTNET_V2_S = ModelFamily(
    name="efficientnet_v2_s",
    title="EfficientNetV2, scaled from S",
    depth_means="repeats of each of the six stages; stem and head stay",
    width_means="channels of stem, stages and head",
    source="Tan & Le 2021, arXiv:2104.00298",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
    base_input_size=384,
)

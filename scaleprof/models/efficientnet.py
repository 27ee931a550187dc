"""EfficientNet (Tan & Le 2019), scaled from B0 and built from torchvision's blocks.

Stem and head grow in width and never in depth; every stage grows in depth, the one-repeat ones too. The
integers are rounded here (`scaleprof.scaling.rounding`), so torchvision's own multipliers stay at 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn


class _Stage(NamedTuple):
    expand_ratio: int
    kernel_px: int
    stride: int
    channels: int
    repeats: int


# Tan & Le 2019, table 1, and tensorflow/tpu efficientnet_builder.py.
_B0_STEM_CHANNELS = 32
_B0_HEAD_CHANNELS = 1280
_B0_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)
# The authors' batch-norm settings (tensorflow/tpu efficientnet_model.py), not torch's defaults.
_BATCH_NORM_EPS = 1e-3
_BATCH_NORM_MOMENTUM = 0.01
_DROPOUT = 0.2


def shape_at(scale: Scale) -> Shape:
    """Stem, stage and head channels, and repeats per stage.

    >>> shape_at(Scale(width=1.1, depth=1.2))["stage_repeats"]
    (2, 3, 3, 4, 4, 5, 2)
    """
    return {
        "stem_channels": scale.channels(_B0_STEM_CHANNELS),
        "stage_channels": tuple(scale.channels(stage.channels) for stage in _B0_STAGES),
        "stage_repeats": tuple(scale.repeats(stage.repeats) for stage in _B0_STAGES),
        "head_channels": scale.channels(_B0_HEAD_CHANNELS),
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block; stages follow the stem."""
    return (f"features.{stage + 1}.{many(shape, 'stage_repeats')[stage] - 1}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.efficientnet import MBConv

    return assemble(shape, MBConv)


def assemble(shape: Shape, block: Callable[..., nn.Module]) -> nn.Module:
    """B0's stages with these integers, of blocks of this kind."""
    from functools import partial

    from torch.nn import BatchNorm2d
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    channels = many(shape, "stage_channels")
    inputs = (one(shape, "stem_channels"), *channels[:-1])
    stages = zip(_B0_STAGES, inputs, channels, many(shape, "stage_repeats"), strict=True)
    settings = [
        MBConvConfig(stage.expand_ratio, stage.kernel_px, stage.stride, c_in, c_out, layers, block=block)
        for stage, c_in, c_out, layers in stages
    ]
    network: nn.Module = EfficientNet(
        settings,
        dropout=_DROPOUT,
        norm_layer=partial(BatchNorm2d, eps=_BATCH_NORM_EPS, momentum=_BATCH_NORM_MOMENTUM),
        last_channel=one(shape, "head_channels"),
    )
    return network


EFFICIENTNET_B0 = ModelFamily(
    name="efficientnet_b0",
    title="EfficientNet, scaled from B0",
    depth_means="repeats of each of the seven MBConv stages; stem and head stay",
    width_means="channels of stem, stages and head",
    source="Tan & Le 2019, arXiv:1905.11946",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
)

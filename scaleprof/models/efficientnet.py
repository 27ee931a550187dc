"""EfficientNet (Tan & Le 2019), scaled from B0 and built from torchvision's blocks.

Stem and head grow in width and never in depth; every stage grows in depth, the one-repeat ones too. The
integers are rounded here (`scaleprof.scaling.rounding`), so torchvision's own multipliers stay at 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily
from scaleprof.records import Shape
from scaleprof.scaling.rounding import round_channels, round_repeats
from scaleprof.scaling.rules import Factors

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
_TOTAL_STRIDE_PX = 32
_MAX_BLOCKS = 4096  # the module alone takes a minute to construct beyond this
# The authors' batch-norm settings (tensorflow/tpu efficientnet_model.py), not torch's defaults.
_BATCH_NORM_EPS = 1e-3
_BATCH_NORM_MOMENTUM = 0.01
_DROPOUT = 0.2


def shape_at(wanted: Factors) -> Shape:
    """Stem, stage and head channels, and repeats per stage, at the wanted factors.

    >>> shape_at(Factors(width=1.1, depth=1.2))["stage_repeats"]
    (2, 3, 3, 4, 4, 5, 2)
    """
    return {
        "stem_channels": round_channels(_B0_STEM_CHANNELS * wanted.width),
        "stage_channels": tuple(round_channels(stage.channels * wanted.width) for stage in _B0_STAGES),
        "stage_repeats": tuple(round_repeats(stage.repeats * wanted.depth) for stage in _B0_STAGES),
        "head_channels": round_channels(_B0_HEAD_CHANNELS * wanted.width),
    }


def build(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from functools import partial

    from torch.nn import BatchNorm2d
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    stem, head, channels, repeats = _unpack(shape)
    inputs = (stem, *channels[:-1])
    settings = [
        MBConvConfig(stage.expand_ratio, stage.kernel_px, stage.stride, c_in, c_out, layers)
        for stage, c_in, c_out, layers in zip(_B0_STAGES, inputs, channels, repeats, strict=True)
    ]
    network: nn.Module = EfficientNet(
        settings,
        dropout=_DROPOUT,
        norm_layer=partial(BatchNorm2d, eps=_BATCH_NORM_EPS, momentum=_BATCH_NORM_MOMENTUM),
        last_channel=head,
    )
    return network


def _unpack(shape: Shape) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    stem, head = shape["stem_channels"], shape["head_channels"]
    channels, repeats = shape["stage_channels"], shape["stage_repeats"]
    if not (isinstance(stem, int) and isinstance(head, int)):
        raise TypeError(f"stem_channels and head_channels are single integers: {shape}")
    if isinstance(channels, int) or isinstance(repeats, int):
        raise TypeError(f"stage_channels and stage_repeats hold one integer a stage: {shape}")
    return stem, head, tuple(channels), tuple(repeats)


def _count_blocks(shape: Shape) -> int:
    return sum(_unpack(shape)[3])


EFFICIENTNET_B0 = ModelFamily(
    name="efficientnet_b0",
    title="EfficientNet, scaled from B0",
    depth_means="repeats of each of the seven MBConv stages, rounded up; stem and head stay",
    width_means="channels of stem, stages and head, to multiples of 8",
    resolution_means="side of the square input in pixels, to the nearest integer",
    base_input_size=224,
    min_input_size=_TOTAL_STRIDE_PX,
    max_layers=_MAX_BLOCKS,
    source="Tan & Le 2019, arXiv:1905.11946",
    shape_at=shape_at,
    count_layers=_count_blocks,
    build=build,
)

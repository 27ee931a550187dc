"""MobileNet (Howard et al. 2017): depthwise separable convolutions, built from torchvision's layers.

For depth its thirteen blocks are five stages, by their output channels. Layers that deepen a stage come
last in it, so that each stage still shrinks the image in its first layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn


class _Stage(NamedTuple):
    stride: int
    channels: int
    repeats: int


# Howard et al. 2017, table 1; the stride of its last depthwise layer, printed as 2, is 1.
_STEM_CHANNELS = 32
_STAGES = (_Stage(1, 64, 1), _Stage(2, 128, 2), _Stage(2, 256, 2), _Stage(2, 512, 6), _Stage(2, 1024, 2))
_CLASSES = 1000


def shape_at(scale: Scale) -> Shape:
    """Stem and stage channels, and repeats per stage.

    >>> shape_at(Scale(width=1.2, depth=1.4))["stage_repeats"]
    (2, 3, 3, 9, 3)
    """
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(scale.channels(stage.channels) for stage in _STAGES),
        "stage_repeats": tuple(scale.repeats(stage.repeats) for stage in _STAGES),
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The paths of a stage's last depthwise and pointwise convolution; all follow the stem in one row."""
    last = 2 * sum(many(shape, "stage_repeats")[: stage + 1])
    return (f"features.{last - 1}", f"features.{last}")


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from collections import OrderedDict

    from torch import nn
    from torchvision.ops import Conv2dNormActivation

    c_in = one(shape, "stem_channels")
    layers: list[nn.Module] = [Conv2dNormActivation(3, c_in, stride=2)]
    stages = zip(_STAGES, many(shape, "stage_channels"), many(shape, "stage_repeats"), strict=True)
    for stage, c_out, repeats in stages:
        for number in range(repeats):
            stride = stage.stride if number == 0 else 1
            layers.append(Conv2dNormActivation(c_in, c_in, stride=stride, groups=c_in))
            layers.append(Conv2dNormActivation(c_in, c_out, kernel_size=1))
            c_in = c_out
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(c_in, _CLASSES),
        )
    )


MOBILENET_V1 = ModelFamily(
    name="mobilenet_v1",
    title="MobileNet, scaled from 1.0",
    depth_means="repeats of five stages of separable convolutions, grouped by output channels; stem stays",
    width_means="channels of stem and stages",
    source="Howard et al. 2017, arXiv:1704.04861",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
)

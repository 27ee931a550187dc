"""ResNet-18 and ResNet-50 (He et al. 2015), built from torchvision's blocks with every width scaled.

torchvision's own width option moves the bottleneck alone; here stem, stages and bottlenecks move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models.resnet import BasicBlock, Bottleneck

# He et al. 2015, table 1. A stage's channels are those of its 3 × 3 convolutions.
_STEM_CHANNELS = 64
_STAGE_CHANNELS = (64, 128, 256, 512)
_REPEATS_18 = (2, 2, 2, 2)
_REPEATS_50 = (3, 4, 6, 3)
_CLASSES = 1000


class _Grid(NamedTuple):
    """A stage's stride, and the dilation of its first 3 × 3 convolution and of the others."""

    stride: int
    first_dilation: int = 1
    dilation: int = 1


_STRIDED = (_Grid(1), _Grid(2), _Grid(2), _Grid(2))
# For segmentation: the last two stages keep the size of their images, and spread their kernels instead.
_DILATED = (_Grid(1), _Grid(2), _Grid(1, 1, 2), _Grid(1, 2, 4))


def _shape_at(scale: Scale, repeats: tuple[int, ...]) -> Shape:
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(map(scale.channels, _STAGE_CHANNELS)),
        "stage_repeats": tuple(map(scale.repeats, repeats)),
    }


def shape_18_at(scale: Scale) -> Shape:
    """Stem and stage channels, and repeats per stage, of ResNet-18.

    >>> shape_18_at(Scale(depth=2, width=1.5))["stage_channels"]
    (96, 192, 384, 768)
    """
    return _shape_at(scale, _REPEATS_18)


def shape_50_at(scale: Scale) -> Shape:
    """Stem and stage channels, and repeats per stage, of ResNet-50; a stage puts out four times these.

    >>> shape_50_at(Scale(depth=1.4))["stage_repeats"]
    (5, 6, 9, 5)
    """
    return _shape_at(scale, _REPEATS_50)


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block."""
    return (f"layer{stage + 1}.{many(shape, 'stage_repeats')[stage] - 1}",)


def construct_18(shape: Shape) -> nn.Module:
    """ResNet of basic blocks: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.resnet import BasicBlock

    return _assemble(shape, BasicBlock)


def construct_50(shape: Shape) -> nn.Module:
    """ResNet of bottlenecks: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.resnet import Bottleneck

    return _assemble(shape, Bottleneck)


def construct_50_dilated(shape: Shape) -> nn.Module:
    """The same layers, whose features are an eighth of the image's side instead of a thirty-second."""
    from torchvision.models.resnet import Bottleneck

    return _assemble(shape, Bottleneck, _DILATED)


def _assemble(
    shape: Shape, block: type[BasicBlock | Bottleneck], grids: tuple[_Grid, ...] = _STRIDED
) -> nn.Module:
    from collections import OrderedDict

    from torch import nn

    c_in = one(shape, "stem_channels")
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, c_in, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(c_in),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    stages = zip(many(shape, "stage_channels"), many(shape, "stage_repeats"), grids, strict=True)
    for number, (channels, repeats, grid) in enumerate(stages, start=1):
        layers[f"layer{number}"] = _stage(block, c_in, channels, repeats, grid)
        c_in = channels * block.expansion
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(c_in, _CLASSES)}
    return nn.Sequential(layers)


def _stage(
    block: type[BasicBlock | Bottleneck], c_in: int, channels: int, repeats: int, grid: _Grid
) -> nn.Module:
    from torch import nn

    c_out = channels * block.expansion
    shortcut = None
    if grid.stride != 1 or c_in != c_out:
        conv = nn.Conv2d(c_in, c_out, 1, stride=grid.stride, bias=False)
        shortcut = nn.Sequential(conv, nn.BatchNorm2d(c_out))
    first = block(c_in, channels, grid.stride, shortcut, dilation=grid.first_dilation)
    others = (block(c_out, channels, dilation=grid.dilation) for _ in range(repeats - 1))
    return nn.Sequential(first, *others)


RESNET18 = ModelFamily(
    name="resnet18",
    title="ResNet, scaled from 18 layers",
    depth_means="repeats of each of the four stages of basic blocks; stem stays",
    width_means="channels of stem and stages",
    source="He et al. 2015, arXiv:1512.03385",
    shape_at=shape_18_at,
    construct=construct_18,
    last_block=last_block,
)
RESNET50 = ModelFamily(
    name="resnet50",
    title="ResNet, scaled from 50 layers",
    depth_means="repeats of each of the four stages of bottlenecks; stem stays",
    width_means="channels of stem, stages and bottlenecks",
    source="He et al. 2015, arXiv:1512.03385",
    shape_at=shape_50_at,
    construct=construct_50,
    last_block=last_block,
)

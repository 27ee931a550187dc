"""Segmentation: DeepLabV3 on ResNet-50 (Chen et al. 2017), LR-ASPP on MobileNetV3-Large (Howard et al. 2019).

torchvision's heads on the scaled backbones of `resnet50` and `mobilenet_v3_large`, whose last stages are
dilated instead of strided. The head's channels grow with the width; the classes stay. As torchvision's, the
networks give a dictionary with one score a class and pixel, `out`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaleprof.models import mobilenet_v3, resnet
from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn

# Those of Pascal VOC and the background, as torchvision's weights have them.
_CLASSES = 21
# The side that torchvision evaluates its weights at.
_BASE_PX = 520
# Chen et al. 2017, section 4.1: the rates at a sixteenth of the input's side, doubled for an eighth.
_ATROUS_RATES = (12, 24, 36)
_DEEPLAB_CHANNELS = 256
_BOTTLENECK_EXPANSION = 4
# Howard et al. 2019, figure 10.
_LRASPP_CHANNELS = 128
_LOW_STAGE = 2
_LAST_EXPANSION = 6


def deeplab_shape_at(scale: Scale) -> Shape:
    """The integers of ResNet-50, and the channels of the head.

    >>> deeplab_shape_at(Scale(width=1.2))["head_channels"]
    304
    """
    return resnet.shape_50_at(scale) | {"head_channels": scale.channels(_DEEPLAB_CHANNELS)}


def lraspp_shape_at(scale: Scale) -> Shape:
    """The integers of MobileNetV3-Large, and the channels of the head in the place of the classifier's.

    >>> lraspp_shape_at(Scale(width=1.2))["head_channels"]
    152
    """
    return mobilenet_v3.shape_at(scale) | {"head_channels": scale.channels(_LRASPP_CHANNELS)}


def deeplab_last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block."""
    return tuple(f"backbone.{path}" for path in resnet.last_block(shape, stage))


def lraspp_last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block."""
    return tuple(path.replace("features.", "backbone.", 1) for path in mobilenet_v3.last_block(shape, stage))


def construct_deeplab(shape: Shape) -> nn.Module:
    """DeepLabV3: `[batch, 3, height_px, width_px]` to `{"out": [batch, 21, height_px, width_px]}`."""
    from torch import nn
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabV3

    channels = one(shape, "head_channels")
    features = _BOTTLENECK_EXPANSION * many(shape, "stage_channels")[-1]
    head = nn.Sequential(
        ASPP(features, _ATROUS_RATES, channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, _CLASSES, 1),
    )
    backbone = IntermediateLayerGetter(resnet.construct_50_dilated(shape), {"layer4": "out"})
    network: nn.Module = DeepLabV3(backbone, head)
    return network


def construct_lraspp(shape: Shape) -> nn.Module:
    """LR-ASPP: `[batch, 3, height_px, width_px]` to `{"out": [batch, 21, height_px, width_px]}`."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.lraspp import LRASPP

    channels, repeats = many(shape, "stage_channels"), many(shape, "stage_repeats")
    # The first block at an eighth of the input's side, and the last convolution; the stem is block 0.
    low, high = 1 + sum(repeats[:_LOW_STAGE]), 1 + sum(repeats)
    features = mobilenet_v3.assemble(shape, dilated=True).features
    backbone = IntermediateLayerGetter(features, {str(low): "low", str(high): "high"})
    network: nn.Module = LRASPP(
        backbone,
        low_channels=channels[_LOW_STAGE],
        high_channels=_LAST_EXPANSION * channels[-1],
        num_classes=_CLASSES,
        inter_channels=one(shape, "head_channels"),
    )
    return network


DEEPLABV3_RESNET50 = ModelFamily(
    name="deeplabv3_resnet50",
    title="DeepLabV3 on ResNet, scaled from 50 layers",
    depth_means="repeats of each of the backbone's four stages, as in resnet50; stem and head stay",
    width_means="channels of stem, stages, bottlenecks and head; the 21 classes stay",
    source="Chen et al. 2017, arXiv:1706.05587",
    shape_at=deeplab_shape_at,
    construct=construct_deeplab,
    last_block=deeplab_last_block,
    base_input_size=_BASE_PX,
)
LRASPP_MOBILENET_V3_LARGE = ModelFamily(
    name="lraspp_mobilenet_v3_large",
    title="LR-ASPP on MobileNetV3, scaled from Large 1.0",
    depth_means="repeats of each of the backbone's six stages, as in mobilenet_v3_large; stem and head stay",
    width_means="channels of stem, stages (expanded ones too) and head; the 21 classes stay",
    source="Howard et al. 2019, arXiv:1905.02244",
    shape_at=lraspp_shape_at,
    construct=construct_lraspp,
    last_block=lraspp_last_block,
    base_input_size=_BASE_PX,
)

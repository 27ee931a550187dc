"""EfficientDet (Tan, Pang & Le 2020), scaled from D0: the network, and the network with its post-processing.

The general factors scale it as they do any family. The paper's own formula (`efficientdet_formula` in
`scaleprof.scaling.published`) is another one, and so are the released rows, the strategy `published`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from scaleprof.models import efficientnet
from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale, round_px

if TYPE_CHECKING:
    from torch import nn

    from scaleprof.models.efficientdet_network import EfficientDet

_BASE_PX = 512
# The side of a place in P7, the coarsest level: every level has half the side of the one before.
_STEP_PX = 128
_D0_CHANNELS = 64
_D0_LAYERS = 3
_LEVELS = 5
_FIRST_STRIDE_PX = 8
# Places in the backbone (the stem is 0) that end its levels of strides 8, 16 and 32: stages 3, 5 and 7.
_TAPS = (3, 5, 7)
# COCO's numbers of categories go up to 90.
_CLASSES = 90


def shape_at(scale: Scale) -> Shape:
    """The backbone's integers, and channels and layers of BiFPN and heads.

    `levels` and `weighted_fusion` are D0's: P3 to P7, fused by weights.

    >>> shape_at(Scale(width=1.4, depth=1.4))["bifpn_channels"]
    88
    """
    backbone = efficientnet.shape_at(scale)
    del backbone["head_channels"]
    return backbone | {
        "bifpn_channels": scale.channels(_D0_CHANNELS),
        "bifpn_layers": scale.repeats(_D0_LAYERS),
        "head_layers": scale.repeats(_D0_LAYERS),
        "levels": _LEVELS,
        "weighted_fusion": 1,
    }


def size_at(scale: Scale) -> int:
    """The input's side: the nearest multiple of 128 px, so that every level is whole.

    >>> size_at(Scale(resolution=1.2)), size_at(Scale(resolution=0.1))
    (640, 0)
    """
    return round_px(_BASE_PX * scale.resolution / _STEP_PX) * _STEP_PX


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a backbone stage's last block; stages follow the stem."""
    return (f"backbone.{stage + 1}.{many(shape, 'stage_repeats')[stage] - 1}",)


def construct(shape: Shape) -> EfficientDet:
    """Images `[batch, 3, px, px]` to logits `[batch, anchors, 90]` and box offsets `[batch, anchors, 4]`."""
    from torch import nn

    from scaleprof.models.detections import ANCHORS
    from scaleprof.models.efficientdet_network import EfficientDet

    channels = many(shape, "stage_channels")
    # The classifier and the convolution before it, the last of the features, are left behind.
    classifier = efficientnet.construct(shape | {"head_channels": 1})
    *features, _ = classifier.get_submodule("features").children()
    return EfficientDet(
        nn.Sequential(*features),
        {place: channels[place - 1] for place in _TAPS},
        levels=one(shape, "levels"),
        channels=one(shape, "bifpn_channels"),
        bifpn_layers=one(shape, "bifpn_layers"),
        head_layers=one(shape, "head_layers"),
        weighs=bool(one(shape, "weighted_fusion")),
        anchors=ANCHORS,
        classes=_CLASSES,
    )


def last_block_with_nms(shape: Shape, stage: int) -> tuple[str, ...]:
    """The same, where the network is a part of the detector."""
    return tuple(f"network.{path}" for path in last_block(shape, stage))


def construct_with_nms(shape: Shape) -> nn.Module:
    """Images `[batch, 3, px, px]` to at most 100 boxes each (`scaleprof.models.detections`)."""
    from scaleprof.models.detections import Detector

    strides = [_FIRST_STRIDE_PX << level for level in range(one(shape, "levels"))]
    return Detector(construct(shape), one(shape, "input_size"), strides)


EFFICIENTDET_D0 = ModelFamily(
    name="efficientdet_d0",
    title="EfficientDet, scaled from D0, without post-processing",
    depth_means="repeats of the backbone's seven MBConv stages, layers of the BiFPN, layers of both heads",
    width_means="channels of the backbone, and of BiFPN and heads (64 at D0)",
    resolution_means="side of the square input, in multiples of 128 pixels",
    note="compound is the general rule, not the paper's formula for BiFPN, heads and input: docs/models.md",
    source="Tan, Pang & Le 2020, arXiv:1911.09070",
    shape_at=shape_at,
    construct=construct,
    last_block=last_block,
    base_input_size=_BASE_PX,
    min_input_size=_STEP_PX,
    size_at=size_at,
)
EFFICIENTDET_D0_NMS = msgspec.structs.replace(
    EFFICIENTDET_D0,
    name="efficientdet_d0_nms",
    title="EfficientDet, scaled from D0, with post-processing (top-k, decoding, torchvision's NMS)",
    construct=construct_with_nms,
    last_block=last_block_with_nms,
    is_sized=True,  # for the anchors
)

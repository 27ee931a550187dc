"""From a detector's class logits and box offsets to a fixed number of boxes an image: top-k, decoding, NMS.

After google/automl, efficientdet/keras/postprocess.py (the best 5,000 pairs of anchor and class of an image,
then each class by itself), with plain non-maximum suppression where the authors' default is its soft form.
Importing this imports torch, so only builders do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torchvision.ops import batched_nms

CANDIDATES = 5000
DETECTIONS = 100
IOU_THRESHOLD = 0.5
# google/automl, efficientdet/hparams_config.py and anchors.py.
_ANCHOR_SCALE = 4.0
_OCTAVES = (0.0, 1 / 3, 2 / 3)
_ASPECTS = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))  # width, height
ANCHORS = len(_OCTAVES) * len(_ASPECTS)
# Anchors are kept in whole steps, so that casting a network to another dtype does not move them.
_STEPS_PER_PX = 64


class Detections(NamedTuple):
    """What is found in each image, the best first; what is beyond the last of them is zero.

    `boxes`: `[batch, 100, 4]`, left, top, right and bottom in pixels; `scores`: `[batch, 100]`, from 0 to 1;
    `labels`: `[batch, 100]`, whole numbers from 0.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


class Detector(nn.Module):
    """A network and its post-processing: images `[batch, 3, px, px]` to `Detections`.

    In training, and on the meta device, where nobody knows how many boxes remain, it puts out what the
    network does: class logits and box offsets. What is left out there has no multiply-adds.

    Args:
        network: puts out logits `[batch, anchors, classes]` and offsets `[batch, anchors, 4]`.
        px: side of the images.
        strides: pixels a place, level by level.
    """

    def __init__(self, network: nn.Module, px: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self._px = px
        steps = anchor_boxes(px, strides) * _STEPS_PER_PX
        self.anchor_steps: torch.Tensor
        self.register_buffer("anchor_steps", steps.round().to(torch.int32), persistent=False)

    def forward(self, images: torch.Tensor) -> Detections | tuple[torch.Tensor, torch.Tensor]:
        """The detections of each image; what the network puts out in training and on the meta device."""
        logits, offsets = self.network(images)
        if self.training or logits.is_meta:
            return logits, offsets
        return detect(logits, offsets, self.anchor_steps.float() / _STEPS_PER_PX, self._px)


def anchor_boxes(px: int, strides: Sequence[int]) -> torch.Tensor:
    """Every anchor in the order of a network's outputs: `[anchors, 4]`, centre y and x, height, width (px).

    Level by level, row by row; at each place three sizes, a third of an octave apart, of three aspects each.
    """
    return torch.cat([_level_anchors(px, stride) for stride in strides])


def _level_anchors(px: int, stride: int) -> torch.Tensor:
    centres = torch.arange(px // stride) * stride + stride / 2
    sizes = torch.tensor(
        [
            (_ANCHOR_SCALE * stride * 2**octave * height, _ANCHOR_SCALE * stride * 2**octave * width)
            for octave, (width, height) in itertools.product(_OCTAVES, _ASPECTS)
        ]
    )
    places = torch.cartesian_prod(centres, centres)
    shape = (len(places), ANCHORS, 2)
    return torch.cat([places[:, None].expand(shape), sizes.expand(shape)], 2).flatten(0, 1)


def detect(logits: torch.Tensor, offsets: torch.Tensor, anchors: torch.Tensor, px: int) -> Detections:
    """The best boxes of each image, at most 100.

    In fp32 whatever the network computes in: coordinates need more digits than bf16 has. Ranked by logits,
    which tell boxes apart whose scores are all near 1.
    """
    classes = logits.shape[2]
    best, places = logits.flatten(1).topk(min(CANDIDATES, logits[0].numel()))
    at, labels = places // classes, places % classes
    chosen = offsets.gather(1, at[..., None].expand(-1, -1, offsets.shape[2]))
    boxes = decode(chosen.float(), anchors[at]).clamp(0, px)
    kept = [suppress(*image) for image in zip(boxes, best.float(), labels, strict=True)]
    shown, order = torch.stack(kept).topk(min(DETECTIONS, best.shape[1]))
    is_found = shown.isfinite()
    shown_boxes = boxes.gather(1, order[..., None].expand(-1, -1, boxes.shape[2]))
    return Detections(shown_boxes * is_found[..., None], shown.sigmoid(), labels.gather(1, order) * is_found)


def decode(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Boxes `[…, 4]` (left, top, right, bottom in pixels) of offsets from their anchors.

    >>> decode(torch.zeros(1, 4), torch.tensor([[10.0, 20.0, 4.0, 8.0]])).tolist()
    [[16.0, 8.0, 24.0, 12.0]]
    """
    centre = offsets[..., :2] * anchors[..., 2:] + anchors[..., :2]
    half = offsets[..., 2:].exp() * anchors[..., 2:] / 2
    return torch.cat([(centre - half).flip(-1), (centre + half).flip(-1)], -1)


# Compiled, it would be cut at every class and compiled anew for each number of boxes: several times as slow.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def suppress(boxes: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logits of one image's boxes, -∞ where a better box of the same class overlaps by more than half."""
    kept = torch.full_like(logits, -math.inf)
    best = batched_nms(boxes, logits, labels, IOU_THRESHOLD)
    kept[best] = logits[best]
    return kept

"""The layers of EfficientDet (Tan, Pang & Le 2020), from torchvision's convolution blocks.

As in the authors' code (google/automl, efficientdet/efficientdet_arch.py), but for what torch does otherwise
everywhere: `same` padding of an even side is on both sides here, and on the right alone there. Importing this
imports torch, so only builders do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import Conv2dNormActivation

# The authors' batch-norm settings, not torch's defaults.
_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
# Keeps the sum of fusion weights off zero.
_FUSION_EPS = 1e-4
_BOX_EDGES = 4

Features = Sequence[torch.Tensor]


class EfficientDet(nn.Module):
    """Images `[batch, 3, px, px]` to class logits `[batch, anchors, classes]` and box offsets
    `[batch, anchors, 4]` (centre y and x, height, width, relative to the anchor), over all levels.

    Args:
        backbone: a stem and stages; `taps` are the places in it whose outputs are the first levels.
        taps: places and their channels, each of half the side of the one before.
        levels: how many levels there are, P3 being the first.
        channels: of every level in the feature network and the heads.
        bifpn_layers: layers of the feature network.
        head_layers: layers of the class net and the box net before their predictions.
        weighs: whether a fusion weighs its inputs, or adds them up as they are.
        anchors: at each place of a level.
        classes: that boxes may be of.
    """

    def __init__(
        self,
        backbone: nn.Sequential,
        taps: dict[int, int],
        *,
        levels: int,
        channels: int,
        bifpn_layers: int,
        head_layers: int,
        weighs: bool,
        anchors: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self._taps = tuple(taps)
        self._classes = classes
        *_, deepest = taps.values()
        self.coarser = Coarser(deepest, channels, levels - len(taps))
        wide = (*taps.values(), *[channels] * (levels - len(taps)))
        narrow = (channels,) * levels
        self.bifpn = nn.Sequential(
            *(BiFPNLayer(wide if n == 0 else narrow, channels, weighs) for n in range(bifpn_layers))
        )
        self.class_net = Head(channels, head_layers, levels, anchors * classes)
        self.box_net = Head(channels, head_layers, levels, anchors * _BOX_EDGES)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Class logits and box offsets of every anchor."""
        features: list[torch.Tensor] = []
        for place, stage in enumerate(self.backbone):
            images = stage(images)
            if place in self._taps:
                features.append(images)
        features = self.bifpn(self.coarser(features))
        logits = [_by_anchor(level, self._classes) for level in self.class_net(features)]
        offsets = [_by_anchor(level, _BOX_EDGES) for level in self.box_net(features)]
        return torch.cat(logits, 1), torch.cat(offsets, 1)


class Coarser(nn.Module):
    """Adds levels below the backbone's last one, each of half the side of the one before."""

    def __init__(self, c_in: int, channels: int, levels: int) -> None:
        super().__init__()
        self.project = _project(c_in, channels)
        self._levels = levels

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """The given levels, and the new ones behind them."""
        level = self.project(features[-1])
        added = []
        for _ in range(self._levels):
            level = _halved(level)
            added.append(level)
        return [*features, *added]


class BiFPNLayer(nn.Module):
    """Levels to levels of equal channels: from the coarsest down to the finest, and up again.

    A level of other channels is projected where it is used; twice, with weights of its own, where it is used
    on the way down and on the way up.
    """

    def __init__(self, c_in: Sequence[int], channels: int, weighs: bool) -> None:
        super().__init__()
        inner = range(1, len(c_in) - 1)
        self.lead_down = nn.ModuleList(_project(c, channels) for c in c_in)
        self.lead_up = nn.ModuleList(_project(c_in[level], channels) for level in inner)
        self.down = nn.ModuleList(Fusion(2, channels, weighs) for _ in c_in[:-1])
        self.up = nn.ModuleList(
            Fusion(2 + (level in inner), channels, weighs) for level in range(1, len(c_in))
        )

    def forward(self, features: Features) -> list[torch.Tensor]:
        """One tensor a level, the finest first, as they came."""
        led = [lead(level) for lead, level in zip(self.lead_down, features, strict=True)]
        met = led[-1:]
        for level, fuse in reversed(list(zip(led[:-1], self.down, strict=True))):
            met.insert(0, fuse([level, _doubled(met[0])]))
        again = [lead(level) for lead, level in zip(self.lead_up, features[1:-1], strict=True)]
        out = met[:1]
        for level, fuse in enumerate(self.up):
            own = [again[level], met[level + 1]] if level < len(again) else [led[-1]]
            out.append(fuse([*own, _halved(out[-1])]))
        return out


class Fusion(nn.Module):
    """Tensors of one shape to one: their weighted mean (fast normalised fusion), SiLU, convolution, norm."""

    def __init__(self, inputs: int, channels: int, weighs: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs)) if weighs else None
        self.act = nn.SiLU()
        self.conv = SeparableConv(channels, channels)
        self.norm = _norm(channels)

    def forward(self, features: Features) -> torch.Tensor:
        """The fusion of tensors of the same level."""
        result: torch.Tensor = self.norm(self.conv(self.act(self._fused(features))))
        return result

    def _fused(self, features: Features) -> torch.Tensor:
        if self.weights is not None:
            weights = functional.relu(self.weights)
            shares = weights / (weights.sum() + _FUSION_EPS)
            features = [share * feature for share, feature in zip(shares, features, strict=True)]
        return reduce(torch.add, features)


class Head(nn.Module):
    """A class net or a box net: convolutions that all levels share, norms of each level's own."""

    def __init__(self, channels: int, layers: int, levels: int, predictions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(HeadLayer(channels, levels) for _ in range(layers)))
        self.predict = SeparableConv(channels, predictions)

    def forward(self, features: Features) -> list[torch.Tensor]:
        """Predictions `[batch, predictions, side, side]` of each level."""
        return [self.predict(level) for level in self.layers(features)]


class HeadLayer(nn.Module):
    """A convolution over every level, then the level's own batch norm, and SiLU."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.conv = SeparableConv(channels, channels)
        self.norms = nn.ModuleList(_norm(channels) for _ in range(levels))
        self.act = nn.SiLU(inplace=True)

    def forward(self, features: Features) -> list[torch.Tensor]:
        """One tensor a level."""
        return [self.act(norm(self.conv(level))) for norm, level in zip(self.norms, features, strict=True)]


class SeparableConv(nn.Sequential):
    """A 3x3 convolution of each channel by itself, and a 1x1 convolution, with bias, over channels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        each = partial(Conv2dNormActivation, norm_layer=None, activation_layer=None)
        super().__init__(each(c_in, c_in, 3, groups=c_in, bias=False), each(c_in, c_out, 1))


def _project(c_in: int, channels: int) -> nn.Module:
    if c_in == channels:
        return nn.Identity()
    conv: nn.Module = Conv2dNormActivation(
        c_in, channels, 1, norm_layer=_norm, activation_layer=None, bias=True
    )
    return conv


def _halved(level: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(level, 3, stride=2, padding=1)


def _doubled(level: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(level, scale_factor=2.0, mode="nearest")


def _by_anchor(level: torch.Tensor, numbers: int) -> torch.Tensor:
    """`[batch, anchors · numbers, side, side]` as `[batch, side · side · anchors, numbers]`."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, numbers)

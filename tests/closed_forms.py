"""MACs, parameters and activations of one image through each family, in plain integer arithmetic.

Derived from the papers and from torchvision's definitions; nothing here runs a network or knows scaleprof.
A MAC is a multiply-add of a convolution or a linear layer; biases, norms, activation functions and pooling
cost none. Activations are the numbers that these layers put out. Every function takes the input's side in
pixels and the family's integers, and gives (MACs, parameters, activations).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from typing import NamedTuple, ParamSpec

Counted = tuple[int, int, int]  # MACs, parameters, activations
Layers = Iterator[Counted]
P = ParamSpec("P")

CLASSES = 1000


def total(layers: Callable[P, Layers]) -> Callable[P, Counted]:
    """The function that adds the layers up."""

    @wraps(layers)
    def added(*args: P.args, **kwargs: P.kwargs) -> Counted:
        macs, params, activations = zip(*layers(*args, **kwargs), strict=True)
        return sum(macs), sum(params), sum(activations)

    return added


def half(side: int) -> int:
    """What stride 2 leaves of a side under `same` padding: every second pixel, beginning with the first."""
    return (side + 1) // 2


def conv(c_in: int, c_out: int, kernel: int, side: int, *, groups: int = 1, bias: bool = True) -> Counted:
    """A convolution whose output is `side` pixels high and wide."""
    weights = kernel * kernel * (c_in // groups) * c_out
    return weights * side * side, weights + c_out * bias, c_out * side * side


def conv_norm(c_in: int, c_out: int, kernel: int, side: int, *, groups: int = 1) -> Counted:
    """A convolution without bias, then batch norm: a factor and a shift a channel."""
    macs, params, activations = conv(c_in, c_out, kernel, side, groups=groups, bias=False)
    return macs, params + 2 * c_out, activations


def linear(c_in: int, c_out: int) -> Counted:
    """A linear layer with bias: a 1x1 convolution of one pixel."""
    return conv(c_in, c_out, 1, 1)


def norm(channels: int) -> Counted:
    """A layer norm: no MACs, a factor and a shift a channel."""
    return 0, 2 * channels, 0


def squeeze_excite(channels: int, squeezed: int) -> Layers:
    """Two linear layers on the pooled image."""
    yield linear(channels, squeezed)
    yield linear(squeezed, channels)


class Block(NamedTuple):
    """Where a block stands: its stage and place in it, its channels, and the sides it takes and gives."""

    stage: int
    place: int
    c_in: int
    c_out: int
    side_in: int
    side: int

    @property
    def changes(self) -> bool:
        """Whether a shortcut past it needs a convolution."""
        return self.c_in != self.c_out or self.side_in != self.side


def blocks(
    c_in: int, side: int, channels: Sequence[int], repeats: Sequence[int], strides: Sequence[int]
) -> Iterator[Block]:
    """The blocks of all stages; the first of a stage changes the channels and strides."""
    for stage, (c_out, number, stride) in enumerate(zip(channels, repeats, strides, strict=True)):
        for place in range(number):
            side_out = half(side) if stride == 2 and place == 0 else side
            yield Block(stage, place, c_in, c_out, side, side_out)
            c_in, side = c_out, side_out


def inverted_residual(at: Block, expanded: int, kernel: int, squeezed: int = 0) -> Layers:
    """MobileNetV2's block: expand (unless there is nothing to), filter each channel, project."""
    if expanded != at.c_in:
        yield conv_norm(at.c_in, expanded, 1, at.side_in)
    yield conv_norm(expanded, expanded, kernel, at.side, groups=expanded)
    if squeezed:
        yield from squeeze_excite(expanded, squeezed)
    yield conv_norm(expanded, at.c_out, 1, at.side)


@total
def efficientnet(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    head_channels: int,
    squeezes: bool,
) -> Layers:
    """Tan & Le 2019, table 1; the lite models leave squeeze-and-excitation out."""
    side = half(px)
    yield conv_norm(3, stem_channels, 3, side)
    for at in blocks(stem_channels, side, stage_channels, stage_repeats, (1, 2, 2, 2, 1, 2, 1)):
        expanded = at.c_in * (1, 6, 6, 6, 6, 6, 6)[at.stage]
        kernel = (3, 3, 5, 3, 5, 5, 3)[at.stage]
        yield from inverted_residual(at, expanded, kernel, squeezed=at.c_in // 4 * squeezes)
        side = at.side
    yield conv_norm(stage_channels[-1], head_channels, 1, side)
    yield linear(head_channels, CLASSES)


@total
def efficientnet_v2(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    head_channels: int,
) -> Layers:
    """Tan & Le 2021, table 4: three stages whose expansion is a 3x3 convolution, then three of MBConv."""
    side = half(px)
    yield conv_norm(3, stem_channels, 3, side)
    for at in blocks(stem_channels, side, stage_channels, stage_repeats, (1, 2, 2, 2, 1, 2)):
        expanded = at.c_in * (1, 4, 4, 4, 6, 6)[at.stage]
        if at.stage == 0:
            yield conv_norm(at.c_in, at.c_out, 3, at.side)
        elif at.stage <= 2:
            yield conv_norm(at.c_in, expanded, 3, at.side)
            yield conv_norm(expanded, at.c_out, 1, at.side)
        else:
            yield from inverted_residual(at, expanded, 3, squeezed=at.c_in // 4)
        side = at.side
    yield conv_norm(stage_channels[-1], head_channels, 1, side)
    yield linear(head_channels, CLASSES)


@total
def mobilenet_v1(
    px: int, *, stem_channels: int, stage_channels: Sequence[int], stage_repeats: Sequence[int]
) -> Layers:
    """Howard et al. 2017, table 1, its layers grouped by output channels."""
    side = half(px)
    yield conv_norm(3, stem_channels, 3, side)
    for at in blocks(stem_channels, side, stage_channels, stage_repeats, (1, 2, 2, 2, 2)):
        yield conv_norm(at.c_in, at.c_in, 3, at.side, groups=at.c_in)
        yield conv_norm(at.c_in, at.c_out, 1, at.side)
    yield linear(stage_channels[-1], CLASSES)


@total
def mobilenet_v2(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    head_channels: int,
) -> Layers:
    """Sandler et al. 2018, table 2."""
    side = half(px)
    yield conv_norm(3, stem_channels, 3, side)
    for at in blocks(stem_channels, side, stage_channels, stage_repeats, (1, 2, 2, 2, 1, 2, 1)):
        yield from inverted_residual(at, at.c_in * (6 if at.stage else 1), 3)
        side = at.side
    yield conv_norm(stage_channels[-1], head_channels, 1, side)
    yield linear(head_channels, CLASSES)


@total
def mobilenet_v3_large(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    expanded_channels: Sequence[int],
    head_channels: int,
) -> Layers:
    """Howard et al. 2019, table 1."""
    yield from mobilenet_v3_features(
        px, stem_channels, stage_channels, stage_repeats, expanded_channels, last_stride=2
    )
    yield linear(6 * stage_channels[-1], head_channels)
    yield linear(head_channels, CLASSES)


def mobilenet_v3_features(
    px: int,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    expanded_channels: Sequence[int],
    last_stride: int,
) -> Layers:
    """What comes before the pooling; the last convolution has six times the last stage's channels."""
    side = half(px)
    yield conv_norm(3, stem_channels, 3, side)
    placed = blocks(stem_channels, side, stage_channels, stage_repeats, (1, 2, 2, 2, 1, last_stride))
    # The base's blocks expand by numbers of their own; further ones of a stage do as its last.
    first, sizes = (0, 1, 3, 6, 10, 12), (1, 2, 3, 4, 2, 3)
    for at in placed:
        expanded = expanded_channels[first[at.stage] + min(at.place, sizes[at.stage] - 1)]
        squeezed = _nearest_eight(expanded // 4) * (0, 0, 1, 0, 1, 1)[at.stage]
        yield from inverted_residual(at, expanded, (3, 3, 5, 3, 3, 5)[at.stage], squeezed)
        side = at.side
    yield conv_norm(stage_channels[-1], 6 * stage_channels[-1], 1, side)


def _nearest_eight(channels: int) -> int:
    """The nearest multiple of 8, or the next if that loses more than a tenth."""
    nearest = max(8, (channels + 4) // 8 * 8)
    return nearest + 8 * (10 * nearest < 9 * channels)


@total
def resnet(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    expansion: int,
) -> Layers:
    """He et al. 2016, table 1: basic blocks (`expansion` 1), or bottlenecks that stride in their 3x3."""
    side = half(px)
    yield conv_norm(3, stem_channels, 7, side)
    outer = [channels * expansion for channels in stage_channels]
    for at in blocks(stem_channels, half(side), outer, stage_repeats, (1, 2, 2, 2)):
        inner = stage_channels[at.stage]
        if expansion == 1:
            yield conv_norm(at.c_in, inner, 3, at.side)
            yield conv_norm(inner, at.c_out, 3, at.side)
        else:
            yield from bottleneck(at, inner)
        if at.changes:
            yield conv_norm(at.c_in, at.c_out, 1, at.side)
    yield linear(outer[-1], CLASSES)


def bottleneck(at: Block, inner: int) -> Layers:
    """He et al. 2016, figure 5, without the shortcut."""
    yield conv_norm(at.c_in, inner, 1, at.side_in)
    yield conv_norm(inner, inner, 3, at.side)
    yield conv_norm(inner, at.c_out, 1, at.side)


@total
def regnet_y(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    group_widths: Sequence[int],
) -> Layers:
    """Radosavovic et al. 2020: the X block, its 3x3 in groups, and a squeeze to a quarter of what came in."""
    side = half(px)
    yield conv_norm(3, stem_channels, 3, side)
    for at in blocks(stem_channels, side, stage_channels, stage_repeats, (2, 2, 2, 2)):
        yield conv_norm(at.c_in, at.c_out, 1, at.side_in)
        yield conv_norm(at.c_out, at.c_out, 3, at.side, groups=at.c_out // group_widths[at.stage])
        yield from squeeze_excite(at.c_out, at.c_in // 4)
        yield conv_norm(at.c_out, at.c_out, 1, at.side)
        if at.changes:
            yield conv_norm(at.c_in, at.c_out, 1, at.side)
    yield linear(stage_channels[-1], CLASSES)


@total
def convnext(px: int, *, stage_channels: Sequence[int], stage_repeats: Sequence[int]) -> Layers:
    """Liu et al. 2022: 4x4 patches; between stages 2x2 patches, each after a layer norm; no padding there."""
    side, before = px // 4, 0
    for channels, repeats in zip(stage_channels, stage_repeats, strict=True):
        if before:
            side //= 2
            yield norm(before)
            yield conv(before, channels, 2, side)
        else:
            yield conv(3, channels, 4, side)
            yield norm(channels)
        for _ in range(repeats):
            yield conv(channels, channels, 7, side, groups=channels)
            yield norm(channels)
            yield conv(channels, 4 * channels, 1, side)
            yield conv(4 * channels, channels, 1, side)
            yield 0, channels, 0  # the layer scale
        before = channels
    yield norm(before)
    yield linear(before, CLASSES)


CLOSED_FORMS: dict[str, Callable[..., Counted]] = {
    "efficientnet_b0": partial(efficientnet, squeezes=True),
    "efficientnet_v2_s": efficientnet_v2,
    "efficientnet_lite0": partial(efficientnet, squeezes=False),
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "resnet18": partial(resnet, expansion=1),
    "resnet50": partial(resnet, expansion=4),
    "regnet_y_400mf": regnet_y,
    "regnet_y_4gf": regnet_y,
    "convnext_tiny": convnext,
}

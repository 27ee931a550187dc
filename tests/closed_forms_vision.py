"""MACs, parameters and activations of vision transformers and segmentation networks, as in `closed_forms`.

Attention multiplies queries by keys and the weights by values; the scores between are activations, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from closed_forms import (
    CLASSES,
    Counted,
    Layers,
    blocks,
    bottleneck,
    conv,
    conv_norm,
    half,
    linear,
    mobilenet_v3_features,
    norm,
    total,
)

PIXEL_CLASSES = 21


def rows(number: int, c_in: int, c_out: int, *, bias: bool = True) -> Counted:
    """A linear layer on so many tokens."""
    return number * c_in * c_out, (c_in + bias) * c_out, number * c_out


def attention(tokens: int, channels: int, heads: int) -> Counted:
    """Scores of all tokens with all in each head, and the values weighted by them."""
    return 2 * tokens**2 * channels, 0, tokens**2 * heads + tokens * channels


@total
def vit(
    px: int, *, stage_channels: Sequence[int], stage_repeats: Sequence[int], heads: int, input_size: int
) -> Layers:
    """Dosovitskiy et al. 2021, figure 1: a token for each 16x16 patch and one for the class."""
    assert input_size == px
    (channels,), (layers,) = stage_channels, stage_repeats
    yield conv(3, channels, 16, px // 16)
    tokens = 1 + (px // 16) ** 2
    yield 0, channels, 0  # the class token
    yield 0, tokens * channels, 0  # the positions
    for _ in range(layers):
        yield norm(channels)
        yield rows(tokens, channels, 3 * channels)
        yield attention(tokens, channels, heads)
        yield rows(tokens, channels, channels)
        yield norm(channels)
        yield rows(tokens, channels, 4 * channels)
        yield rows(tokens, 4 * channels, channels)
    yield norm(channels)
    yield linear(channels, CLASSES)


@total
def swin(
    px: int, *, stage_channels: Sequence[int], stage_repeats: Sequence[int], heads: Sequence[int]
) -> Layers:
    """Liu et al. 2021, figure 3: 4x4 patches, in windows of 7x7; a stage is pairs of blocks."""
    side = px // 4
    yield conv(3, stage_channels[0], 4, side)
    yield norm(stage_channels[0])
    for stage, (channels, pairs) in enumerate(zip(stage_channels, stage_repeats, strict=True)):
        if stage:
            side = half(side)
            yield norm(2 * channels)  # four patches of half as many channels are merged
            yield rows(side * side, 2 * channels, channels, bias=False)
        for _ in range(2 * pairs):
            yield from swin_block(side, channels, heads[stage])
    yield norm(stage_channels[-1])
    yield linear(stage_channels[-1], CLASSES)


def swin_block(side: int, channels: int, heads: int) -> Layers:
    """Attention in each window, the last ones filled up, with a bias for each of 13x13 distances; an MLP."""
    windows = (-(-side // 7)) ** 2
    yield norm(channels)
    yield rows(49 * windows, channels, 3 * channels)
    macs, _, activations = attention(49, channels, heads)
    yield windows * macs, 13 * 13 * heads, windows * activations
    yield rows(49 * windows, channels, channels)
    yield norm(channels)
    yield rows(side * side, channels, 4 * channels)
    yield rows(side * side, 4 * channels, channels)


@total
def deeplabv3(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    head_channels: int,
) -> Layers:
    """Chen et al. 2017, figure 5: five branches on features of an eighth of the image's side."""
    side = half(px)
    yield conv_norm(3, stem_channels, 7, side)
    outer = [4 * channels for channels in stage_channels]
    for at in blocks(stem_channels, half(side), outer, stage_repeats, (1, 2, 1, 1)):
        yield from bottleneck(at, stage_channels[at.stage])
        if at.changes:
            yield conv_norm(at.c_in, at.c_out, 1, at.side)
        side = at.side
    yield conv_norm(outer[-1], head_channels, 1, side)
    for _rate in (12, 24, 36):
        yield conv_norm(outer[-1], head_channels, 3, side)
    yield conv_norm(outer[-1], head_channels, 1, 1)  # on the pooled image
    yield conv_norm(5 * head_channels, head_channels, 1, side)
    yield conv_norm(head_channels, head_channels, 3, side)
    yield conv(head_channels, PIXEL_CLASSES, 1, side)


@total
def lraspp(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    expanded_channels: Sequence[int],
    head_channels: int,
) -> Layers:
    """Howard et al. 2019, figure 10: the last features, weighted and enlarged to the size of finer ones."""
    yield from mobilenet_v3_features(
        px, stem_channels, stage_channels, stage_repeats, expanded_channels, last_stride=1
    )
    eighth = half(half(half(px)))
    last = 6 * stage_channels[-1]
    yield conv_norm(last, head_channels, 1, half(eighth))
    yield conv(last, head_channels, 1, 1, bias=False)
    yield conv(head_channels, PIXEL_CLASSES, 1, eighth)
    yield conv(stage_channels[2], PIXEL_CLASSES, 1, eighth)


VISION_FORMS: dict[str, Callable[..., Counted]] = {
    "vit_b_16": vit,
    "swin_t": swin,
    "deeplabv3_resnet50": deeplabv3,
    "lraspp_mobilenet_v3_large": lraspp,
}

"""MACs, parameters and activations of EfficientDet, as in `closed_forms`, and what its authors count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from closed_forms import Block, Counted, Layers, blocks, conv, conv_norm, half, inverted_residual, total

ANCHORS = 9
BOX_CLASSES = 90


def separable(c_in: int, c_out: int, side: int) -> Layers:
    """A 3x3 convolution a channel, and a 1x1 convolution with bias."""
    yield conv(c_in, c_in, 3, side, groups=c_in, bias=False)
    yield conv(c_in, c_out, 1, side)


def project(c_in: int, c_out: int, side: int) -> Layers:
    """A 1x1 convolution with bias and batch norm."""
    yield conv(c_in, c_out, 1, side)
    yield 0, 2 * c_out, 0


def mbconvs(
    px: int, stem_channels: int, stage_channels: Sequence[int], stage_repeats: Sequence[int]
) -> Iterator[tuple[Block, int, int]]:
    """The blocks of an EfficientNet, with the expanded channels and the kernel of each."""
    for at in blocks(stem_channels, half(px), stage_channels, stage_repeats, (1, 2, 2, 2, 1, 2, 1)):
        yield at, at.c_in * (6 if at.stage else 1), (3, 3, 5, 3, 5, 5, 3)[at.stage]


@total
def efficientdet(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    bifpn_channels: int,
    bifpn_layers: int,
    head_layers: int,
    levels: int,
    weighted_fusion: int,
    input_size: int = 0,
) -> Layers:
    """Tan, Pang & Le 2020, figures 2 (d) and 3."""
    assert input_size in (0, px)
    yield conv_norm(3, stem_channels, 3, half(px))
    for at, expanded, kernel in mbconvs(px, stem_channels, stage_channels, stage_repeats):
        yield from inverted_residual(at, expanded, kernel, squeezed=at.c_in // 4)
    sides = [px // 8 >> level for level in range(levels)]
    tapped, channels = [stage_channels[stage] for stage in (2, 4, 6)], bifpn_channels
    yield from project(tapped[-1], channels, sides[2])
    for c_in, side, uses in zip(tapped, sides, (1, 2, 2), strict=False):
        for _ in range(uses):
            yield from project(c_in, channels, side)
    for side, inputs in fusions(sides) * bifpn_layers:
        yield from separable(channels, channels, side)
        yield 0, 2 * channels + inputs * weighted_fusion, 0
    for predictions in (ANCHORS * BOX_CLASSES, ANCHORS * 4):
        for c_out in (*[channels] * head_layers, predictions):
            yield from over(sides, list(separable(channels, c_out, 1)))
        yield 0, head_layers * levels * 2 * channels, 0


def fusions(sides: Sequence[int]) -> list[tuple[int, int]]:
    """The side and the number of inputs of each node of a layer: down, then up."""
    inner = [(side, 3) for side in sides[1:-1]]
    return [*((side, 2) for side in sides[-2::-1]), *inner, (sides[-1], 2)]


def over(sides: Sequence[int], layers: Sequence[Counted]) -> Layers:
    """Layers, counted at side 1, that go over every level with the same weights."""
    places = sum(side * side for side in sides)
    for macs, params, activations in layers:
        yield macs * places, params, activations * places


def profiled(
    px: int,
    *,
    stem_channels: int,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    bifpn_channels: int,
    bifpn_layers: int,
    head_layers: int,
    levels: int,
    weighted_fusion: int,
) -> Counter[str]:
    """Operations that TensorFlow's profiler finds in the authors' graph beside convolutions.

    It knows a number for each kind of node: two for each element of SiLU (a factor within and one without),
    one for each bias, nine for each pooled element, and so on; none for batch norms and for what is added
    past a block.
    """
    counted: Counter[str] = Counter()
    counted["SiLU"] += 2 * stem_channels * half(px) ** 2
    for at, expanded, _ in mbconvs(px, stem_channels, stage_channels, stage_repeats):
        squeezed = at.c_in // 4
        counted["SiLU"] += 2 * (squeezed + expanded * at.side**2 + expanded * at.side_in**2 * (at.stage > 0))
        counted["biases"] += squeezed + expanded
        counted["squeeze"] += 2 * expanded * at.side**2  # the mean of the image, and its product
    sides = [px // 8 >> level for level in range(levels)]
    places, channels = sum(side * side for side in sides), bifpn_channels
    uses = (1, 2, 3)  # of P5 once for what is below it
    counted["biases"] += channels * sum(n * side * side for n, side in zip(uses, sides, strict=False))
    for side, inputs in fusions(sides) * bifpn_layers:
        elements = channels * side * side
        counted["fusion"] += elements * (inputs - 1 + 2 * inputs * weighted_fusion)
        counted["SiLU"] += 2 * elements
        counted["biases"] += elements
    counted["pooling"] += 9 * channels * sum(side * side for side in sides[3:])
    counted["pooling"] += 9 * channels * bifpn_layers * sum(side * side for side in sides[1:])
    counted["biases"] += places * (2 * head_layers * channels + ANCHORS * (BOX_CLASSES + 4))
    counted["SiLU"] += 2 * places * 2 * head_layers * channels
    return counted

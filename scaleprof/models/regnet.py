"""RegNetY (Radosavovic et al. 2020), built from torchvision's blocks with explicit widths.

Scaled after Dollár et al. 2021: the base's widths, not the parameters of its width rule, are multiplied; the
group width grows with them, and each stage's width is then rounded to whole groups. Because of these two
roundings a little more width may make a stage slightly narrower. Unlike their code (facebookresearch/pycls,
pycls/models/scaler.py) the stem grows too, as in the other families, groups grow under every strategy that
widens, and group widths are multiples of 8 throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale

if TYPE_CHECKING:
    from torch import nn

# Widths and depths of pycls' model zoo (RegNetY-400MF and -4.0GF), as torchvision generates them.
_STEM_CHANNELS = 32
_WIDTHS_400MF, _REPEATS_400MF, _GROUP_WIDTH_400MF = (48, 104, 208, 440), (1, 3, 6, 6), 8
_WIDTHS_4GF, _REPEATS_4GF, _GROUP_WIDTH_4GF = (128, 192, 512, 1088), (2, 6, 12, 2), 64
_SQUEEZE_RATIO = 0.25
_STRIDE = 2


def _shape_at(scale: Scale, widths: tuple[int, ...], repeats: tuple[int, ...], group_width: int) -> Shape:
    wanted = [scale.channels(width) for width in widths]
    groups = [min(scale.channels(group_width), width) for width in wanted]
    return {
        "stem_channels": scale.channels(_STEM_CHANNELS),
        "stage_channels": tuple(_whole_groups(w, g) for w, g in zip(wanted, groups, strict=True)),
        "stage_repeats": tuple(map(scale.repeats, repeats)),
        "group_widths": tuple(groups),
    }


def _whole_groups(width: int, group_width: int) -> int:
    return max(1, round(width / group_width)) * group_width


def shape_400mf_at(scale: Scale) -> Shape:
    """Stem and stage channels, repeats and group width per stage, of RegNetY-400MF.

    >>> shape_400mf_at(Scale(width=2))["group_widths"]
    (16, 16, 16, 16)
    """
    return _shape_at(scale, _WIDTHS_400MF, _REPEATS_400MF, _GROUP_WIDTH_400MF)


def shape_4gf_at(scale: Scale) -> Shape:
    """Stem and stage channels, repeats and group width per stage, of RegNetY-4GF.

    >>> shape_4gf_at(Scale(width=1.5))["stage_channels"]
    (192, 288, 768, 1632)
    """
    return _shape_at(scale, _WIDTHS_4GF, _REPEATS_4GF, _GROUP_WIDTH_4GF)


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of a stage's last block."""
    name = f"block{stage + 1}"
    return (f"trunk_output.{name}.{name}-{many(shape, 'stage_repeats')[stage] - 1}",)


def construct(shape: Shape) -> nn.Module:
    """The network with these integers: `[batch, 3, height_px, width_px]` to `[batch, 1000]`."""
    from torchvision.models.regnet import BlockParams, RegNet

    widths = many(shape, "stage_channels")
    network: nn.Module = RegNet(
        BlockParams(
            depths=list(many(shape, "stage_repeats")),
            widths=list(widths),
            group_widths=list(many(shape, "group_widths")),
            bottleneck_multipliers=[1.0] * len(widths),
            strides=[_STRIDE] * len(widths),
            se_ratio=_SQUEEZE_RATIO,
        ),
        stem_width=one(shape, "stem_channels"),
    )
    return network


REGNET_Y_400MF = ModelFamily(
    name="regnet_y_400mf",
    title="RegNetY, scaled from 400MF",
    depth_means="repeats of each of the four stages; stem stays",
    width_means="channels of stem and stages, in whole groups; the group width grows along",
    source="Radosavovic et al. 2020, arXiv:2003.13678",
    shape_at=shape_400mf_at,
    construct=construct,
    last_block=last_block,
    is_monotone=False,
)
REGNET_Y_4GF = ModelFamily(
    name="regnet_y_4gf",
    title="RegNetY, scaled from 4GF",
    depth_means="repeats of each of the four stages; stem stays",
    width_means="channels of stem and stages, in whole groups; the group width grows along",
    source="Radosavovic et al. 2020, arXiv:2003.13678",
    shape_at=shape_4gf_at,
    construct=construct,
    last_block=last_block,
    is_monotone=False,
)

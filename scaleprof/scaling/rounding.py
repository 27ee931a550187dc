"""Rounding factors to integers that a network can have.

Policy `tf`, that of the EfficientNet authors' code (tensorflow/tpu, efficientnet_model.py,
`round_filters` and `round_repeats`): channels to the nearest multiple of 8, at least 8, one step up if
that loses more than 10 %; repeats upwards; pixels to the nearest integer.

Policy `pycls`, that of Dollár et al. 2021 (facebookresearch/pycls, pycls/models/scaler.py): channels to the
nearest multiple of 8; repeats to the nearest integer; pixels to the nearest multiple of 4. Halves go to the
even neighbour, as Python's `round` has it.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from scaleprof.errors import UsageError
from scaleprof.scaling.rules import Factors

RoundingName = Literal["tf", "pycls"]
ROUNDINGS: tuple[RoundingName, ...] = ("tf", "pycls")

CHANNEL_DIVISOR = 8
_PYCLS_PX = 4
# Products such as 1.2**2 * 3 land a hair above a whole number; that hair is not another layer.
_CEIL_SLACK = 1e-9


class Scale(msgspec.Struct, frozen=True):
    """How much larger a network is to be than its base, and how that becomes whole numbers.

    This is what a builder is given: `repeats`, `channels` and `pixels` turn the base model's integers into
    the scaled ones.

    Attributes:
        depth: factor of the layers of each stage.
        width: factor of channels.
        resolution: factor of the input's side.
        rounding: the policy, `tf` or `pycls`.

    Raises:
        UsageError: a factor that is not above zero, or a policy that does not exist.
    """

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0
    rounding: RoundingName = "tf"

    def __post_init__(self) -> None:
        for factor in (self.depth, self.width, self.resolution):
            if not 0 < factor < math.inf:
                raise UsageError(f"a scale's factors are above zero and finite: {factor}")
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"unknown rounding '{self.rounding}' (known: {', '.join(ROUNDINGS)})")

    @property
    def factors(self) -> Factors:
        """The three factors alone."""
        return Factors(self.depth, self.width, self.resolution)

    def repeats(self, base: int) -> int:
        """Layers of a stage that has `base` of them at scale 1; at least one.

        >>> Scale(depth=1.1).repeats(4), Scale(depth=1.1, rounding="pycls").repeats(4)
        (5, 4)
        """
        wanted = base * self.depth
        return round_repeats(wanted) if self.rounding == "tf" else max(1, round(wanted))

    def channels(self, base: int, *, divisor: int = CHANNEL_DIVISOR) -> int:
        """Channels of a layer that has `base` of them at scale 1: a multiple of `divisor`, never below it.

        >>> Scale(width=1.5).channels(12), Scale(width=1.5, rounding="pycls").channels(12)
        (24, 16)
        """
        wanted = base * self.width
        if self.rounding == "tf":
            return round_channels(wanted, divisor)
        return max(1, round(wanted / divisor)) * divisor

    def pixels(self, base: int, *, step: int = 1) -> int:
        """Side of an image that has `base` pixels at scale 1, in whole steps (patches, say) of so many.

        >>> Scale(resolution=1.15).pixels(224), Scale(resolution=1.15, rounding="pycls").pixels(224)
        (258, 256)
        >>> Scale(resolution=1.1).pixels(224, step=16)
        240
        """
        wanted = base * self.resolution
        if self.rounding == "tf":
            return round_px(wanted / step) * step
        step = math.lcm(step, _PYCLS_PX)
        return round(wanted / step) * step


def round_channels(channels: float, divisor: int = CHANNEL_DIVISOR) -> int:
    """Channels to the nearest multiple of 8, never below 8, never losing more than 10 %.

    >>> [round_channels(c) for c in (32 * 1.1, 24 * 1.1, 3, 20, 12)]
    [32, 24, 8, 24, 16]
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def round_repeats(repeats: float) -> int:
    """Layers of a stage, rounded up; at least one.

    >>> [round_repeats(r) for r in (1.2, 3 * 1.0, 2 * 0.1, 4 * 1.1**2)]
    [2, 3, 1, 5]
    """
    return max(1, math.ceil(repeats - _CEIL_SLACK))


def round_px(size_px: float) -> int:
    """A side in pixels to the nearest integer, halves up.

    >>> round_px(224 * 1.15), round_px(0.2)
    (258, 0)
    """
    return math.floor(size_px + 0.5)

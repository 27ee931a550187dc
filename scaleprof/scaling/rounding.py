"""Rounding factors to integers that a network can have.

Policy `tf`, that of the EfficientNet authors' code (tensorflow/tpu, efficientnet_model.py,
`round_filters` and `round_repeats`): channels to the nearest multiple of 8, at least 8, one step up if
that loses more than 10 %; repeats upwards; pixels to the nearest integer.
"""

from __future__ import annotations

import math

CHANNEL_DIVISOR = 8
# Products such as 1.2**2 * 3 land a hair above a whole number; that hair is not another layer.
_CEIL_SLACK = 1e-9


def round_channels(channels: float) -> int:
    """Channels to the nearest multiple of 8, never below 8, never losing more than 10 %.

    >>> [round_channels(c) for c in (32 * 1.1, 24 * 1.1, 3, 20, 12)]
    [32, 24, 8, 24, 16]
    """
    rounded = max(CHANNEL_DIVISOR, int(channels + CHANNEL_DIVISOR / 2) // CHANNEL_DIVISOR * CHANNEL_DIVISOR)
    return rounded + CHANNEL_DIVISOR if rounded < 0.9 * channels else rounded


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

"""A network of your own that scaleprof can scale: one function that takes a `scaleprof.Scale`.

scaleprof models examples/own_cnn.py:build --phi 0..3      what it becomes
scaleprof sweep -m examples/own_cnn.py:build --phi 0..3    how fast that is here
scaleprof sweep -m examples/own_cnn.py:build -m mobilenet_v2 --match macs
"""

from __future__ import annotations

from torch import nn

import scaleprof as sp

# (channels, layers) of each stage at scale 1; each stage halves the image.
STAGES = ((32, 1), (64, 2), (128, 3))
CLASSES = 100


def build(scale: sp.Scale) -> nn.Module:
    """A plain CNN of strided stages and residual blocks."""
    layers: list[nn.Module] = []
    c_in = 3
    for channels, repeats in STAGES:
        c_out = scale.channels(channels)
        layers.append(conv(c_in, c_out, stride=2))
        layers += [Residual(c_out) for _ in range(scale.repeats(repeats))]
        c_in = c_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, CLASSES))


# The side of the image at scale 1 (224 without this line); scaleprof gives each model
# one image of [batch, 3, px, px] with px = scale.pixels(128).
build.input_size = 128  # type: ignore[attr-defined]


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x + self.body(x)


def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Module:
    """A 3 × 3 convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
    )

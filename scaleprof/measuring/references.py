"""The two reference kernels that are timed around every visit.

They are frozen: a change here is a change of the protocol, and measurements of two protocol versions are
not compared. The network (convolution, batch norm, attention, MLP) tracks the machine's speed as models
feel it; the matrix product serves the noise verdict and the roofline.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

PROTOCOL_VERSION = 2
PASSES_PER_TIMING = 3

_INPUT_PX = 64
_CHANNELS = 128
_HEADS = 4
_CLASSES = 16
_MATRIX_SIDE = 384
_SEED = 20190528


class ReferenceNetwork(nn.Module):
    """Two strided convolutions, one attention block, one classifier: `[1, 3, 64, 64]` to `[1, 16]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, _CHANNELS // 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_CHANNELS // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(_CHANNELS // 2, _CHANNELS, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.norm = nn.LayerNorm(_CHANNELS)
        self.attention = nn.MultiheadAttention(_CHANNELS, _HEADS, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(_CHANNELS),
            nn.Linear(_CHANNELS, 4 * _CHANNELS),
            nn.GELU(),
            nn.Linear(4 * _CHANNELS, _CHANNELS),
        )
        self.head = nn.Linear(_CHANNELS, _CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class scores of the images."""
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        tokens = tokens + self.mlp(tokens)
        scores: torch.Tensor = self.head(tokens.mean(dim=1))
        return scores


def reference_network(device: str) -> Callable[[], object]:
    """A call that runs the reference network once on `device`."""
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(_SEED)
    network = ReferenceNetwork().eval().to(device)
    images = torch.randn(1, 3, _INPUT_PX, _INPUT_PX).to(device)
    torch.random.set_rng_state(generator_state)
    return lambda: network(images)


def matrix_product(device: str) -> Callable[[], object]:
    """A call that multiplies two square matrices on `device`."""
    generator = torch.Generator().manual_seed(_SEED)
    left = torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, generator=generator).to(device)
    right = torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, generator=generator).to(device)
    return lambda: left @ right

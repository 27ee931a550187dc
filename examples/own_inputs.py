"""A network with inputs of its own: an image and a text, each through an encoder, and their similarity.

scaleprof sweep -m examples/own_inputs.py:build --phi 0..2 --strategy compound,width,depth,resolution
"""

from __future__ import annotations

import torch
from torch import nn

import scaleprof as sp

IMAGE_PX, TOKENS, WORDS = 96, 32, 8192
PATCH_PX, HEAD_CHANNELS = 16, 32
IMAGE_LAYERS = TEXT_LAYERS = 2
WIDTH = 128


def build(scale: sp.Scale) -> nn.Module:
    """Two transformer encoders of one width."""
    width = scale.channels(WIDTH, divisor=HEAD_CHANNELS)
    return TwoTowers(width, scale.repeats(IMAGE_LAYERS), scale.repeats(TEXT_LAYERS))


def example_inputs(scale: sp.Scale, batch_size: int) -> tuple[torch.Tensor, ...]:
    """Images `[batch, 3, px, px]` in whole patches, and tokens `[batch, tokens]`."""
    px = max(1, round(IMAGE_PX * scale.resolution / PATCH_PX)) * PATCH_PX
    tokens = max(1, round(TOKENS * scale.resolution**2))  # a sequence's cost is about linear in its tokens
    return torch.randn(batch_size, 3, px, px), torch.randint(0, WORDS, (batch_size, tokens))


class TwoTowers(nn.Module):
    """An image encoder and a text encoder; the output is one similarity a pair."""

    def __init__(self, width: int, image_layers: int, text_layers: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, PATCH_PX, stride=PATCH_PX)
        self.words = nn.Embedding(WORDS, width)
        self.image = encoder(width, image_layers)
        self.text = encoder(width, text_layers)

    def forward(self, images, tokens):  # type: ignore[no-untyped-def]
        image = self.image(self.patches(images).flatten(2).transpose(1, 2)).mean(dim=1)
        text = self.text(self.words(tokens)).mean(dim=1)
        return (image * text).sum(dim=1)


def encoder(width: int, layers: int) -> nn.Module:
    """Transformer layers, normalised before each block."""
    layer = nn.TransformerEncoderLayer(
        width, width // HEAD_CHANNELS, 4 * width, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

"""The networks that `benchmarks/gate.py` times, and the real work by which one arm's are slower.

This file is copied into the folder of each arm, beside `extra_work.json`: for each target how many products
more it makes. That is all that the arms differ by. `gate_networks:resnet18_5` is a target: the network, and
the percent that its products in the arm after were counted out for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision.models import efficientnet_b0, resnet18

# One product is 0.1 % of a forward of 12 ms, and so the least step of the work.
ROWS, FEATURES = 16, 128


class WithWork(nn.Module):
    """A network, and so many products of a part of its input with a matrix after it."""

    def __init__(self, network: nn.Module, products: int) -> None:
        super().__init__()
        self.network = network
        self.products = products
        self.work = nn.Linear(FEATURES, FEATURES)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        outputs: torch.Tensor = self.network(inputs)
        rows = inputs.flatten()[: ROWS * FEATURES].view(ROWS, FEATURES)
        worked: torch.Tensor | None = None
        for _ in range(self.products):
            worked = self.work(rows)
        return outputs, worked


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(192, 3, 768, batch_first=True)
    return nn.TransformerEncoder(layer, 14, enable_nested_tensor=False)


# About 12 ms each, of three kinds: depthwise convolutions, dense ones, and matrix products.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "efficientnet_b0": (efficientnet_b0, (1, 3, 96, 96)),
    "resnet18": (resnet18, (1, 3, 96, 96)),
    "encoder": (encoder, (1, 64, 192)),
}


def build(name: str, products: int) -> tuple[WithWork, torch.Tensor]:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    return WithWork(make(), products).eval(), torch.randn(shape)


def of_target(target: str) -> tuple[WithWork, torch.Tensor]:
    """What this arm runs for a target such as `resnet18_5`."""
    products = json.loads(Path(__file__).with_name("extra_work.json").read_text(encoding="utf-8"))
    return build(target.rpartition("_")[0], products.get(target, 0))


def __getattr__(name: str) -> Callable[[], tuple[WithWork, torch.Tensor]]:
    if name.rpartition("_")[0] not in NETWORKS:
        raise AttributeError(name)
    return partial(of_target, name)

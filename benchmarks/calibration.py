"""A deep model's outputs under three preparations of its weights: `python benchmarks/calibration.py`.

Fresh weights vanish; batch-norm statistics of smaller images than those timed drift apart with depth;
statistics of the timed images keep outputs of order one. (docs/decisions/0004)
"""

from __future__ import annotations

import torch
from torch import nn

from scaleprof.measuring.weights import settle_batch_norms
from scaleprof.models import FAMILIES
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.rules import factors

SMALL_PX = 128


def output_std(network: nn.Module, images: torch.Tensor) -> float:
    return float(network(images).std())


def main() -> None:
    family = FAMILIES["efficientnet_b0"]
    print(f"{'model':16}{'fresh':>12}{f'at {SMALL_PX} px':>12}{'as timed':>12}")
    for strategy, phi in (("depth", 0), ("depth", 1), ("depth", 2), ("depth", 3), ("compound", 3)):
        wanted = factors(strategy, phi)
        shape, side = family.integers(Scale(wanted.depth, wanted.width, wanted.resolution))
        torch.manual_seed(0)
        network = family.construct(shape).eval()
        images = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            fresh = output_std(network, images)
            settle_batch_norms(network, [torch.randn(4, 3, SMALL_PX, SMALL_PX)])
            small = output_std(network, images)
            settle_batch_norms(network, [images])
            print(
                f"{strategy + ' ' + str(phi):16}{fresh:12.2g}{small:12.3g}{output_std(network, images):12.3g}"
            )


if __name__ == "__main__":
    main()

"""A rough forecast of how long a training takes, by a step or two of the base network on this processor.

Multiply-adds alone would be off tenfold: what small networks on small images take is overhead of their many
operators.
"""

from __future__ import annotations

import time

import torch
from torch import nn

from scaleprof.errors import NETWORK_ERRORS
from scaleprof.models.family import Model
from scaleprof.records import ModelSpec, Recipe
from scaleprof.search.heads import fit_head

# Steps that are timed; one more comes before, in which memory is first touched.
_STEPS = 2
# A batch is cut to about this long a step, by its multiply-adds, and the time is taken an image.
_MAX_STEP_S = 1.0
_PASSES = 3.0


def image_s(
    model: Model,
    spec: ModelSpec,
    macs: int,
    recipe: Recipe,
    *,
    classes: int,
    threads: int,
    rate_macs_per_s: float,
) -> float | None:
    """Seconds that an image takes in a training step of a network on the CPU; None where it does not train.

    Args:
        model: what `spec` is of.
        spec: the network, with an image as its input.
        macs: of one image.
        recipe: for the batch.
        classes: of the data.
        threads: of a trial.
        rate_macs_per_s: roughly what networks attain here.
    """
    if spec.input_size is None or spec.input_unit != "px":
        return None
    most = int(_MAX_STEP_S * rate_macs_per_s / (_PASSES * max(1, macs)))
    batch = max(2, min(recipe.batch_size, most))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            network = model.build(spec)
            images = torch.zeros(batch, 3, spec.input_size, spec.input_size)
            fit_head(network, images[:2], classes)
            return _step_s(network, images) / batch
    except NETWORK_ERRORS:
        return None  # whatever a network of somebody else's raises is told where it is trained
    finally:
        torch.set_num_threads(before)


def _step_s(network: nn.Module, images: torch.Tensor) -> float:
    """The fastest of a few steps, in seconds."""
    labels = torch.zeros(len(images), dtype=torch.long)
    optimizer = torch.optim.AdamW(network.parameters())
    network.train()
    taken_s = []
    for _ in range(1 + _STEPS):
        began_s = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        taken_s.append(time.perf_counter() - began_s)
    return min(taken_s[1:])

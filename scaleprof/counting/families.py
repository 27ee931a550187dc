"""Counting a family's model from its integers."""

from __future__ import annotations

import torch

from scaleprof.counting.counter import count
from scaleprof.models import find_family
from scaleprof.records import Cost, ModelSpec


def count_spec(spec: ModelSpec) -> Cost:
    """The cost of one image through the model, built on the meta device: no memory, no arithmetic.

    Raises:
        CountingError: the model cannot run on the meta device.
    """
    with torch.device("meta"):
        network = find_family(spec.model).build(spec.shape)
        image = torch.empty(1, 3, spec.input_size, spec.input_size)
    return count(network, image)

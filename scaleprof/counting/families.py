"""Counting a model from its spec."""

from __future__ import annotations

import torch

from scaleprof.counting.counter import count
from scaleprof.errors import NETWORK_ERRORS, ModelError, UsageError
from scaleprof.models.family import Model
from scaleprof.records import Cost, ModelSpec


def count_spec(model: Model, spec: ModelSpec) -> Cost:
    """The cost of one sample through the model, built on the meta device: no memory, no arithmetic.

    A builder that needs real tensors is given them, and only the pass is done on the meta device.

    Raises:
        CountingError: the model cannot run on the meta device.
        ModelError: a network of torchvision's or timm's cannot be built at this scale.
        UsageError: a person's builder raised, or returned no module.
    """
    try:
        with torch.device("meta"):
            network, inputs = model.build(spec), model.inputs(spec, 1)
    except (*NETWORK_ERRORS, ModelError, UsageError):
        network, inputs = model.build(spec), model.inputs(spec, 1)
    return count(network, inputs)

"""Networks that take more than tensors by position, as networks that take just these.

Runtimes, exporters, casts and fvcore know inputs as tensors in order. Keyword inputs, plain values and nested
containers are taken apart here, once: their tensors are the inputs from then on, and a small module in front
of the network puts the arguments together again in each pass. Positional tensors are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from scaleprof.models.family import Inputs


class Adapted(nn.Module):
    """A network called with tensors alone; everything else of its arguments is as in the example.

    Args:
        network: what is called.
        example: the arguments, whose tensors those of a pass replace, in order.
    """

    def __init__(self, network: nn.Module, example: Inputs) -> None:
        super().__init__()
        self.network = network
        leaves, self._structure = tree_flatten((tuple(example), example.keywords))
        is_tensor = [isinstance(leaf, torch.Tensor) for leaf in leaves]
        self._places = [place for place, known in enumerate(is_tensor) if known]
        self._leaves = [None if known else leaf for known, leaf in zip(is_tensor, leaves, strict=True)]
        arguments = (*example, *example.keywords.values())
        self._is_flat = not any(isinstance(value, (list, tuple, dict)) for value in arguments)

    def forward(self, *tensors: torch.Tensor) -> object:
        """Return what the network returns."""
        positional, keywords = self._arguments(tensors)
        return self.network(*positional, **keywords)

    def bound(self, tensors: tuple[torch.Tensor, ...]) -> Callable[[], object]:
        """One pass on these tensors.

        Arguments are put together before it where that is safe, since it takes microseconds. A container
        among them is made anew in each pass: a network may change its own (a list of caches grows).
        """
        if not self._is_flat:
            return lambda: self(*tensors)
        positional, keywords = self._arguments(tensors)
        return lambda: self.network(*positional, **keywords)

    def _arguments(self, tensors: tuple[torch.Tensor, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        positional, keywords = tree_unflatten(leaves, self._structure)
        return positional, keywords


def adapted(network: nn.Module, inputs: Inputs) -> nn.Module:
    """The network as one of tensors by position: itself, if its inputs are that already."""
    return network if is_plain(inputs) else Adapted(network, inputs)


def is_plain(inputs: Inputs) -> bool:
    """Whether all inputs are tensors by position."""
    return not inputs.keywords and all(isinstance(value, torch.Tensor) for value in inputs)


def tensors_of(inputs: Inputs) -> tuple[torch.Tensor, ...]:
    """The tensors among inputs, in the order in which an adapted network takes them."""
    leaves, _ = tree_flatten((tuple(inputs), inputs.keywords))
    return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))


def with_tensors(inputs: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
    """The inputs with each tensor replaced by what `change` makes of it."""
    return Inputs(*tree_map_only(torch.Tensor, change, (tuple(inputs), inputs.keywords)))


def extended(few: Inputs, many: Inputs) -> Inputs:
    """The arguments of a larger batch, whose first samples are those of a smaller one.

    A tensor that does not depend on the batch (positions, a mask) is that of the smaller one. Where the two
    do not fit on each other, `many` is returned as it is.
    """
    (first, shape), (more, larger_shape) = (tree_flatten((tuple(one), one.keywords)) for one in (few, many))
    if shape != larger_shape:
        return many
    joined = [_extended(one, other) for one, other in zip(first, more, strict=True)]
    return Inputs(*tree_unflatten(joined, shape))


def _extended(few: Any, many: Any) -> Any:
    if not (isinstance(few, torch.Tensor) and isinstance(many, torch.Tensor)):
        return many
    if few.shape == many.shape:
        return few
    if few.dim() == many.dim() > 0 and few.shape[1:] == many.shape[1:] and len(few) < len(many):
        return torch.cat([few, many[len(few) :]])
    return many

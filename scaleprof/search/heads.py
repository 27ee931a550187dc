"""Gives a network as many outputs as the data has classes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from scaleprof.errors import ModelError


class _Head(NamedTuple):
    module: nn.Linear | nn.Conv2d
    paths: tuple[str, ...]


def fit_head(network: nn.Module, example: torch.Tensor, classes: int) -> int:
    """Replace the network's last layer so that it puts out `[batch, classes]`; how many it puts out then.

    The last layer is the linear one (or 1 × 1 convolution) that runs last in a forward pass and makes as
    many channels as the network has outputs. A new one of the same kind, freshly initialised by torch's rule,
    takes its place. A network with the right number of outputs already is left alone; so is one that has more
    and whose last layer is not to be found: it learns that the others never occur.

    Args:
        network: takes a batch of images; left in eval mode.
        example: such a batch, `[batch, 3, px, px]`, on the network's device (meta will do).
        classes: how many outputs are wanted.

    Raises:
        ModelError: its output is not one row of numbers an image, or is too short and cannot be replaced.
    """
    outputs, last = _outputs_and_last(network, example)
    if outputs == classes:
        return outputs
    if last is not None:
        for path in last.paths:
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, _resized(last.module, classes))
        if _outputs_and_last(network, example)[0] == classes:
            return classes
    elif outputs > classes:
        return outputs
    raise ModelError(
        f"the network puts out {outputs} numbers, the data has {classes} classes, and no last linear layer "
        f"was found to replace: build it with {classes} outputs"
    )


def _outputs_and_last(network: nn.Module, example: torch.Tensor) -> tuple[int, _Head | None]:
    """How many numbers an image it puts out, and the last layer that makes as many."""
    ran: list[nn.Linear | nn.Conv2d] = []
    layers = [module for module in network.modules() if _may_be_head(module)]
    hooks = [layer.register_forward_hook(lambda module, *_: ran.append(module)) for layer in layers]
    try:
        with torch.no_grad():
            output = network.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or len(output) != len(example):
        seen = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ModelError(
            f"training on images needs outputs [batch, classes], the network puts out {seen}: "
            f"score it by a function of your own (--objective)"
        )
    width = output.shape[1]
    found = next((module for module in reversed(ran) if module.weight.shape[0] == width), None)
    if found is None:
        return width, None
    paths = [path for path, module in network.named_modules(remove_duplicate=False) if module is found]
    return width, _Head(found, tuple(path for path in paths if path)) if all(paths) else None


def _may_be_head(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


def _resized(head: nn.Linear | nn.Conv2d, classes: int) -> nn.Module:
    device, has_bias = head.weight.device, head.bias is not None
    if isinstance(head, nn.Linear):
        return nn.Linear(head.in_features, classes, bias=has_bias, device=device)
    return nn.Conv2d(
        head.in_channels, classes, 1, stride=(head.stride[0], head.stride[1]), bias=has_bias, device=device
    )

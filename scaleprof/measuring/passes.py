"""What one pass is: a forward pass, or a training step in its three parts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn

from scaleprof.measuring.timing import Call, Timer
from scaleprof.models.adapting import Adapted
from scaleprof.models.tensors import tensors_in
from scaleprof.records import DType, Mode, StepParts, Workload

TORCH_DTYPES: dict[DType, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Steps that would change the weights would change what is timed: outputs drift, and numbers may vanish. The
# optimizer does the same arithmetic at this rate.
_LEARNING_RATE = 0.0
# Of a visit's steps, one in this many is timed in parts as well: its clock reads are no part of the others.
_STEPS_A_SPLIT = 4


def recording(mode: Mode) -> AbstractContextManager[None]:
    """A context for building and running: gradients are recorded in training, and nothing is in inference."""
    return torch.inference_mode(mode != "train")


def forward_pass(
    network: Callable[..., object], inputs: tuple[torch.Tensor, ...], workload: Workload
) -> Call:
    """One forward pass, which returns what the network puts out; under torch's autocast, if it is cast so."""
    call: Call = network.bound(inputs) if isinstance(network, Adapted) else lambda: network(*inputs)
    if workload.cast != "autocast":
        return call
    kind, dtype = torch.device(workload.device).type, TORCH_DTYPES[workload.dtype]

    def forward() -> object:
        with torch.autocast(kind, dtype):
            return call()

    return forward


class TrainingStep:
    """Forward pass, loss and backward pass, AdamW step; a call returns the forward pass's outputs.

    The loss is the mean square of all outputs, in fp32: any network has it, it costs next to nothing, and its
    gradients are of the outputs' own scale. Under fp16 autocast it is scaled, as training needs it. Gradients
    are freed after the step (`zero_grad`), which counts as the optimizer's part.

    Args:
        forward: the forward pass, gradients recorded.
        network: whose parameters are trained.
        workload: device and dtype.

    Raises:
        ValueError: no parameter is to be trained.
    """

    def __init__(self, forward: Call, network: nn.Module, workload: Workload) -> None:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not trained:
            raise ValueError("no parameter of it requires a gradient: there is nothing to train")
        self._forward = forward
        self._optimizer = torch.optim.AdamW(trained, lr=_LEARNING_RATE)
        scales = workload.dtype == "fp16" and workload.cast == "autocast"
        self._scaler = torch.amp.GradScaler(torch.device(workload.device).type, enabled=scales)

    def __call__(self) -> object:
        """One whole step."""
        outputs = self._forward()
        self._backward(outputs)
        self._update()
        return outputs

    def time_parts(self, timer: Timer, steps_timed: int) -> StepParts:
        """Steps with the clock read between their parts, a quarter as many as were timed whole."""
        steps = [self._parts_s(timer) for _ in range(max(1, steps_timed // _STEPS_A_SPLIT))]
        forward_s, backward_s, optimizer_s = zip(*steps, strict=True)
        return StepParts(forward_s, backward_s, optimizer_s)

    def _parts_s(self, timer: Timer) -> tuple[float, float, float]:
        outputs: list[object] = []
        forward_s = timer.wall_s(lambda: outputs.append(self._forward()))
        backward_s = timer.wall_s(lambda: self._backward(outputs.pop()))
        return forward_s, backward_s, timer.wall_s(self._update)

    def _backward(self, outputs: object) -> None:
        self._scaler.scale(mean_square(outputs)).backward()

    def _update(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()


def mean_square(outputs: object) -> torch.Tensor:
    """The sum of the mean squares of all outputs that depend on the weights, in fp32.

    Raises:
        ValueError: there is none.
    """
    terms = [tensor.float().square().mean() for tensor in tensors_in(outputs) if tensor.requires_grad]
    if not terms:
        raise ValueError("no output depends on the weights: there is nothing to train")
    return torch.stack(terms).sum()

"""A network made ready to be timed: built, weighted like a trained one, cast, and with its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from scaleprof.errors import ModelError
from scaleprof.measuring.messages import Job
from scaleprof.measuring.passes import TORCH_DTYPES, TrainingStep, forward_pass
from scaleprof.measuring.timing import Call
from scaleprof.measuring.weights import CALIBRATION_BATCH, joined, needs_settling, settle_batch_norms
from scaleprof.models import find_model
from scaleprof.models.adapting import adapted, extended, is_plain, tensors_of, with_tensors
from scaleprof.models.family import Inputs, Model, inputs_for
from scaleprof.models.packed import count_params
from scaleprof.records import DType, MemoryFormat, Workload

_IMAGE_DIMENSIONS = 4


class Prepared(NamedTuple):
    """A network and its inputs in the workload's dtype, memory format and mode.

    Inputs are tensors by position, whatever the model's own are (`scaleprof.models.adapting`).
    """

    network: nn.Module
    inputs: tuple[torch.Tensor, ...]
    workload: Workload

    def call(self, network: Callable[..., object] | None = None) -> Call | TrainingStep:
        """One pass; with `network`, through that (compiled) form of it."""
        forward = forward_pass(network or self.network, self.inputs, self.workload)
        return (
            TrainingStep(forward, self.network, self.workload) if self.workload.mode == "train" else forward
        )

    @property
    def input_bytes(self) -> int:
        """Bytes of the inputs."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.inputs)


class Preparer:
    """Prepares the networks of one process; a person's code is loaded once."""

    def __init__(self, device: str, seed: int) -> None:
        self._device = device
        self._seed = seed
        self._models: dict[str, Model] = {}

    def prepare(self, job: Job, *, settled: bool = True) -> Prepared:
        """The job's network and inputs.

        Batch-norm statistics are set in full precision, and cast with the weights; unless `settled` is False:
        then numbers fade or explode from layer to layer, and nothing may be timed.

        Raises:
            ModelError: the network is not the one that was counted.
        """
        network = self.build(job)
        _check_params(job, network)
        model = self.load(job)
        inputs = self._inputs(model, job, job.workload.batch_size)
        if settled and needs_settling(network):
            larger = self._calibration_inputs(model, job, inputs)
            settle_batch_norms(adapted(network, larger), tensors_of(larger))
        workload = job.workload
        dtype = _kept_dtype(workload)
        network = adapted(_network_as(network, dtype, workload.memory_format), inputs)
        return Prepared(
            network.train(workload.mode == "train"),
            inputs_as(tensors_of(inputs), dtype, _input_format(workload)),
            workload,
        )

    def build(self, job: Job) -> nn.Module:
        """The job's network as its builder leaves it, in eval mode, on the device."""
        torch.manual_seed(self._seed)
        with torch.inference_mode(False):  # a builder may take gradients on its way
            return self.load(job).build(job.spec).eval().to(self._device)

    def load(self, job: Job) -> Model:
        """The job's model; its code is executed the first time."""
        return self.find(job.locator)

    def find(self, reference: str) -> Model:
        """A model by what it is found by; its code is executed the first time."""
        if reference not in self._models:
            self._models[reference] = find_model(reference)
        return self._models[reference]

    def inputs(self, job: Job) -> tuple[torch.Tensor, ...]:
        """The job's inputs alone, tensors by position, in its dtype and memory format."""
        workload = job.workload
        inputs = tensors_of(self._inputs(self.load(job), job, workload.batch_size))
        return inputs_as(inputs, _kept_dtype(workload), _input_format(workload))

    def _inputs(self, model: Model, job: Job, batch_size: int) -> Inputs:
        made = inputs_for(model, job.spec, batch_size, job.workload.mode)
        return with_tensors(made, lambda tensor: tensor.to(self._device))

    def _calibration_inputs(self, model: Model, job: Job, inputs: Inputs) -> Inputs:
        """The timed inputs, with more samples next to them where there is just one."""
        missing = CALIBRATION_BATCH - job.workload.batch_size
        if missing <= 0:
            return inputs
        if is_plain(inputs):
            return Inputs(joined(inputs, self._inputs(model, job, missing)))
        return extended(inputs, self._inputs(model, job, CALIBRATION_BATCH))


def _kept_dtype(workload: Workload) -> DType:
    """What weights and inputs are kept in: under autocast they stay as they are."""
    return workload.dtype if workload.cast == "weights" else "fp32"


def _input_format(workload: Workload) -> MemoryFormat:
    """How images are laid out; caches have four dimensions, too, and are none."""
    return "contiguous" if workload.mode == "decode" else workload.memory_format


def inputs_as(
    inputs: Sequence[torch.Tensor], dtype: DType, memory_format: MemoryFormat
) -> tuple[torch.Tensor, ...]:
    """Inputs cast and laid out; whole numbers (token ids) keep their type, and only images have a layout."""
    return tuple(_laid_out(_cast(tensor, dtype), memory_format) for tensor in inputs)


def _network_as(network: nn.Module, dtype: DType, memory_format: MemoryFormat) -> nn.Module:
    if dtype != "fp32":
        network = network.to(TORCH_DTYPES[dtype])
    if memory_format == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    return network


def _cast(tensor: torch.Tensor, dtype: DType) -> torch.Tensor:
    return tensor.to(TORCH_DTYPES[dtype]) if tensor.is_floating_point() else tensor


def _laid_out(tensor: torch.Tensor, memory_format: MemoryFormat) -> torch.Tensor:
    if memory_format == "channels_last" and tensor.dim() == _IMAGE_DIMENSIONS:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _check_params(job: Job, network: nn.Module) -> None:
    """What is timed must be what was counted."""
    params = count_params(network)
    if job.params is not None and params != job.params:
        raise ModelError(
            f"{params} parameters were built here and {job.params} counted before: "
            f"the builder's code has changed, or its result depends on more than the scale"
        )

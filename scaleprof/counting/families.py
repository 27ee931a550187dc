"""Counting a model from its spec, and deep families from short ones."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from scaleprof.counting.counter import ONE_AT_A_TIME, Call, Trace, make_cost, trace_call
from scaleprof.counting.ledger import Tally
from scaleprof.errors import NETWORK_ERRORS
from scaleprof.models.family import LastBlock, Model, ModelFamily, inputs_for, many
from scaleprof.models.packed import held_by
from scaleprof.records import Cost, Mode, ModelSpec, Shape


def count_spec(model: Model, spec: ModelSpec, mode: Mode = "infer") -> Cost:
    """The cost of one sample through the model, built on the meta device: no memory, no arithmetic.

    In decode mode a sample is one token, and its caches are alive from the start.

    A family's deep model is counted from a short one, whose stages have a layer more for each further copy
    of their last: its cost is affine in them, exactly (`trace_spec` is the oracle).

    Raises:
        CountingError: the model cannot be run.
        ModelError: a network of torchvision's or timm's cannot be built at this scale.
        UsageError: a person's builder raised, or returned no module.
    """
    last_block = model.last_block if isinstance(model, ModelFamily) and mode == "infer" else None
    if isinstance(model, ModelFamily) and last_block is not None and spec.shape is not None:
        return _count_family(model, last_block, spec, spec.shape)
    return trace_spec(model, spec, mode).cost


def trace_spec(model: Model, spec: ModelSpec, mode: Mode = "infer") -> Trace:
    """The watched pass of one sample through the whole model, on the meta device if that is possible.

    A builder that needs real tensors on the way (torchvision's RegNet, stochastic-depth schedules) is given
    them, and only its parameters are on the meta device; a network that needs real values runs on the CPU.

    Raises:
        CountingError: the model cannot be run.
        ModelError: a network of torchvision's or timm's cannot be built at this scale.
        UsageError: a person's builder raised, or returned no module.
    """
    for building in (_all_on_meta(), _parameters_on_meta()):
        try:
            with ONE_AT_A_TIME, building:
                network, inputs = model.build(spec), inputs_for(model, spec, 1, mode)
            return trace_call(network, Call(tuple(inputs), inputs.keywords), mode, spend=True)
        except NETWORK_ERRORS:
            continue
    network, inputs = model.build(spec), inputs_for(model, spec, 1, mode)
    return trace_call(network, Call(tuple(inputs), inputs.keywords), mode)


@contextmanager
def _all_on_meta() -> Iterator[None]:
    """Every tensor is made on the meta device, and weights there are not initialised."""
    with torch.device("meta"), _Uninitialised():
        yield


class _Uninitialised(TorchFunctionMode):
    """Leaves out the filling of tensors that have no values, a third of the time of building a network."""

    _FILLING = frozenset(
        {
            *(torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_),
            *(nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_, nn.init.constant_),
        }
    )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._FILLING:
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Parameters move to the meta device as modules take them; all other tensors are real."""
    register = nn.Module.register_parameter
    building = threading.get_ident()

    def register_on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if type(parameter) is nn.Parameter and threading.get_ident() == building:
            parameter = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_on_meta  # type: ignore[assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _count_family(model: ModelFamily, last_block: LastBlock, spec: ModelSpec, shape: Shape) -> Cost:
    repeats = many(shape, "stage_repeats")
    kept = tuple(map(min, repeats, model.distinct_repeats()))
    short_shape = {**shape, "stage_repeats": kept}
    short = trace_spec(model, msgspec.structs.replace(spec, shape=short_shape))
    tallies: defaultdict[str, Tally] = defaultdict(Tally, short.ledger.by_operator())
    params, weight_bytes = short.cost.params, short.cost.weight_bytes
    for stage, (wanted, held) in enumerate(zip(repeats, kept, strict=True)):
        copies = wanted - held
        if copies:
            paths = last_block(short_shape, stage)
            for name, tally in short.ledger.within(*paths).items():
                tallies[name].update({key: copies * value for key, value in tally.items()})
            blocks = [held_by(short.network.get_submodule(path)) for path in paths]
            params += copies * sum(block.params for block in blocks)
            weight_bytes += copies * sum(block.weight_bytes for block in blocks)
    return make_cost(
        tallies,
        params=params,
        weight_bytes=weight_bytes,
        peak_activation_bytes=short.cost.peak_activation_bytes,
        assumptions=short.cost.assumptions,
    )

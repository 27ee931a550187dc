"""The counter: one pass over a copy of the network, watched operator by operator."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import msgspec
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map_only

from scaleprof.counting.ledger import Ledger, Tally, attention_whole
from scaleprof.errors import NETWORK_ERRORS, CountingError
from scaleprof.records import Cost, Mode, ModuleCost, OperatorCost, UncountedOperator

# AdamW keeps two moments a trainable parameter.
_OPTIMIZER_COPIES = 2


class Trace(msgspec.Struct, frozen=True):
    """A watched pass: the network's cost, the ledger, and the copy that was run."""

    cost: Cost
    ledger: Ledger
    twin: nn.Module

    def modules(self, depth: int) -> tuple[ModuleCost, ...]:
        """The costs of modules down to a depth, in the network's order; depth 0 is the network."""
        return tuple(
            self._module(path, module)
            for path, module in self.twin.named_modules()
            if (path.count(".") + 1 if path else 0) <= depth
        )

    def _module(self, path: str, module: nn.Module) -> ModuleCost:
        total = Tally()
        for tally in (self.ledger.within(path) if path else self.ledger.by_operator()).values():
            total.update(tally)
        names = ("macs", "activations", "read_bytes", "written_bytes")
        params = sum(parameter.numel() for parameter in module.parameters())
        return ModuleCost(path, type(module).__name__, params, **{name: total[name] for name in names})


def count(module: nn.Module, *example_inputs: Any, mode: Mode = "infer") -> Cost:
    """MACs, parameters, activations and bytes of one pass of `module`, in eval mode or as a training step.

    MACs, activations and bytes of activations are those of the example as it is: give it batch size 1 for
    counts per sample. Parameters that are shared count once. `module` is left as it was; its weights may
    be real or on the meta device, and are never copied. A network that does not run on the meta device
    (its control flow depends on values) is run on the CPU, if its weights and inputs are real.

    Args:
        module: the network.
        example_inputs: what it is called with, such as one `[1, 3, height_px, width_px]`; real or meta.
        mode: `infer`, or `train` for a forward pass in training mode and its backward pass.

    Raises:
        CountingError: the module cannot be run on its inputs.
    """
    return trace(module, *example_inputs, mode=mode).cost


def trace(module: nn.Module, *example_inputs: Any, mode: Mode = "infer", spend: bool = False) -> Trace:
    """The watched pass that `count` takes its numbers from.

    With `spend` the module may be used up: one whose weights are on the meta device is not copied.
    """
    spent = spend and all(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))
    try:
        return _trace_on("meta", module if spent else _twin(module, "meta"), example_inputs, mode)
    except NETWORK_ERRORS as on_meta:
        error: Exception = on_meta
    if _is_real(module, example_inputs):
        try:
            return _trace_on("cpu", _twin(module, "cpu"), example_inputs, mode)
        except NETWORK_ERRORS as on_cpu:
            error = on_cpu
    words = str(error).splitlines() or [type(error).__name__]
    raise CountingError(f"{type(module).__name__} cannot be counted: {words[0]}") from error


def make_cost(
    tallies: Mapping[str, Tally],
    *,
    params: int,
    weight_bytes: int,
    peak_activation_bytes: int,
    trained_bytes: int = 0,
    counted_on: Literal["meta", "cpu"] = "meta",
) -> Cost:
    """The cost that tallies add up to."""
    total = Tally()
    for tally in tallies.values():
        total.update(tally)
    order = sorted(tallies.items(), key=lambda item: (-item[1]["macs"], -item[1]["written_bytes"], item[0]))
    return Cost(
        macs=total["macs"],
        params=params,
        activations=total["activations"],
        weight_bytes=weight_bytes,
        peak_activation_bytes=peak_activation_bytes,
        operators=tuple(
            OperatorCost(
                name,
                tally["calls"],
                tally["macs"],
                tally["activations"],
                tally["read_bytes"],
                tally["written_bytes"],
            )
            for name, tally in order
        ),
        uncounted=tuple(
            UncountedOperator(name, tally["calls"], tally["uncounted"])
            for name, tally in sorted(tallies.items())
            if tally["uncounted"]
        ),
        read_bytes=total["read_bytes"],
        written_bytes=total["written_bytes"],
        gradient_bytes=trained_bytes,
        optimizer_bytes=_OPTIMIZER_COPIES * trained_bytes,
        counted_on=counted_on,
    )


def bytes_of(tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of tensors' elements."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _trace_on(device: Literal["meta", "cpu"], twin: nn.Module, inputs: Sequence[Any], mode: Mode) -> Trace:
    twin.train(mode == "train")
    own = tree_map_only(torch.Tensor, lambda tensor: tensor.detach().to(device), tuple(inputs))
    weights = list({id(tensor): tensor for tensor in (*twin.parameters(), *twin.buffers())}.values())
    ledger = Ledger(weights)
    ledger.follow(twin)
    ledger.keep_alive(tree_leaves(own))
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(mode == "train"))
        stack.enter_context(in_parts(device))
        stack.enter_context(_alone())
        stack.enter_context(ledger)
        stack.enter_context(attention_whole(ledger))
        outputs = twin(*own)
        if mode == "train":
            ledger.forward = False
            _loss(outputs).backward()
    trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    cost = make_cost(
        ledger.by_operator(),
        params=sum(parameter.numel() for parameter in twin.parameters()),
        weight_bytes=bytes_of(weights),
        peak_activation_bytes=ledger.peak_bytes,
        trained_bytes=bytes_of(trained) if mode == "train" else 0,
        counted_on=device,
    )
    return Trace(cost, ledger, twin)


def _twin(module: nn.Module, device: str) -> nn.Module:
    """A copy of the module's structure whose weights are on `device`; shared weights stay shared.

    On the CPU parameters are the module's own, seen by other objects, and buffers are copied, since a pass
    may write to them.
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to(device, copy=device == "cpu")
    for (
        part
    ) in module.modules():  # each has a dozen empty tables and plain tuples, whose copying takes longest
        for value in vars(part).values():
            if isinstance(value, dict) and not value:
                memo[id(value)] = type(value)()
            elif type(value) is tuple and all(type(item) in (int, float, str) for item in value):
                memo[id(value)] = value
    twin: nn.Module = copy.deepcopy(module, memo)
    return twin


def _is_real(module: nn.Module, inputs: Sequence[Any]) -> bool:
    tensors = [*module.parameters(), *module.buffers(), *tree_leaves(tuple(inputs))]
    return not any(isinstance(tensor, torch.Tensor) and tensor.is_meta for tensor in tensors)


def _loss(outputs: Any) -> torch.Tensor:
    """A scalar that all floating outputs contribute to."""
    terms = [
        leaf.sum() for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor) and leaf.requires_grad
    ]
    if not terms:
        raise ValueError("no output depends on the weights: there is nothing to train")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@contextmanager
def _alone() -> Iterator[None]:
    """Let a sample be counted that cannot be trained alone.

    torch refuses to normalise one value a channel, such as one sample's pooled image, since it has no
    variance. What is counted is a sample's share of a batch, and nobody reads its outputs.
    """
    functional: Any = torch.nn.functional
    verify = functional._verify_batch_size
    functional._verify_batch_size = lambda size: None  # noqa: ARG005 - named as torch calls it
    try:
        yield
    finally:
        functional._verify_batch_size = verify


@contextmanager
def in_parts(device: str) -> Iterator[None]:
    """Run fused and compiled layers in parts: their kernels hide what they multiply."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code hides its operators
            if device == "cpu":
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")  # oneDNN's flags cannot be set without one about Intel GPUs
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

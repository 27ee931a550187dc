"""The counter: one pass of the network as it is, watched operator by operator."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Literal

import msgspec
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only

from scaleprof.counting.borrowing import borrowed, is_lazy
from scaleprof.counting.higher_order import InTheOpen
from scaleprof.counting.ledger import ComplexConvolutions, Ledger, Tally, attention_whole
from scaleprof.counting.tensors import dense_bytes, is_sparse
from scaleprof.errors import NETWORK_ERRORS, CountingError
from scaleprof.models.packed import count_params, held_by
from scaleprof.models.tensors import tensors_in
from scaleprof.records import Cost, Mode, ModuleCost, OperatorCost, UncountedOperator

# A count swaps a module's weights and sets switches of torch's: two at a time would see each other's.
ONE_AT_A_TIME = threading.RLock()
# AdamW keeps two moments a trainable parameter.
_OPTIMIZER_COPIES = 2


class Call(msgspec.Struct, frozen=True):
    """What a network is called with."""

    args: tuple[Any, ...]
    keywords: dict[str, Any]

    def on(self, device: str) -> Call:
        """The same with tensors of its own on a device, since a pass may write to them."""
        args, keywords = tree_map_only(
            torch.Tensor,
            lambda tensor: tensor.detach().to(device, copy=device == "cpu"),
            (self.args, self.keywords),
        )
        return Call(args, keywords)


class Trace(msgspec.Struct, frozen=True):
    """A watched pass: the network's cost, the ledger, and each place of a module, the network's first.

    A module that several others share has several places, each with a path of its own.
    """

    cost: Cost
    ledger: Ledger
    places: tuple[tuple[str, nn.Module], ...]

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self.places[0][1]

    def modules(self, depth: int) -> tuple[ModuleCost, ...]:
        """The costs of modules down to a depth, in the network's order; depth 0 is the network.

        A module that several others share has a row under each, with what it costs when called from there.
        """
        uses = Counter(module for _, module in self.places)
        return tuple(
            self._module(path, module, is_shared=uses[module] > 1)
            for path, module in self.places
            if (path.count(".") + 1 if path else 0) <= depth
        )

    def _module(self, path: str, module: nn.Module, *, is_shared: bool) -> ModuleCost:
        total = Tally()
        for tally in (self.ledger.within(path) if path else self.ledger.by_operator()).values():
            total.update(tally)
        names = ("macs", "activations", "read_bytes", "written_bytes")
        params = count_params(module)
        costs = {name: total[name] for name in names}
        return ModuleCost(path, type(module).__name__, params, **costs, shared=is_shared)


def count(module: nn.Module, /, *example_inputs: Any, mode: Mode = "infer", **keyword_inputs: Any) -> Cost:
    """MACs, parameters, activations and bytes of one pass of `module`, in eval mode or as a training step.

    MACs, activations and bytes of activations are those of the example as it is: give it batch size 1 for
    counts per sample. Parameters that are shared count once. Any module will do, as it is: it is not copied,
    and afterwards it, its hooks and the random state are what they were. Hooks that are torch's own or part
    of the network run, the user's do not. Its weights may be real or on the meta device. A network that does
    not run on the meta device (its control flow depends on values) is run on the CPU, if its weights and
    inputs are real. Threads may count at the same time, and take turns; none may run the module meanwhile.

    Args:
        module: the network.
        example_inputs: what it is called with, such as one `[1, 3, height_px, width_px]`, real or meta; or
            whatever else it takes.
        mode: `infer`, or `train` for a forward pass in training mode and its backward pass.
        keyword_inputs: what it is called with by name, such as `input_ids=`; `mode` is the counter's own.

    Raises:
        CountingError: the module cannot be run on its inputs.
    """
    return trace(module, *example_inputs, mode=mode, **keyword_inputs).cost


def trace(module: nn.Module, /, *example_inputs: Any, mode: Mode = "infer", **keyword_inputs: Any) -> Trace:
    """The watched pass that `count` takes its numbers from."""
    return trace_call(module, Call(example_inputs, keyword_inputs), mode)


def trace_call(module: nn.Module, call: Call, mode: Mode = "infer", *, spend: bool = False) -> Trace:
    """The watched pass of a call whose keywords may have any name.

    With `spend` the module may be used up: one whose weights are on the meta device is not put back in order.

    Raises:
        CountingError: the module cannot be run on its inputs.
    """
    if any(tensor.is_nested for tensor in tensors_in((call.args, call.keywords))):
        raise CountingError(
            f"{type(module).__name__} cannot be counted on nested (jagged) inputs: pad them "
            f"(torch.nested.to_padded_tensor), or count one sequence at a time"
        )
    with ONE_AT_A_TIME:
        return _trace(module, call, mode, spend=spend)


def _trace(module: nn.Module, call: Call, mode: Mode, *, spend: bool) -> Trace:
    held = held_by(module)
    weights = (*held.parameters, *held.buffers)
    is_real = not any(tensor.is_meta for tensor in (*weights, *tensors_in((call.args, call.keywords))))
    spend = spend and all(tensor.is_meta for tensor in weights)
    try:
        return _trace_on("meta", module, call, mode, spend=spend, has_no_values=not is_real)
    except NETWORK_ERRORS as on_meta:
        error: Exception = on_meta
    if is_real:
        try:
            return _trace_on("cpu", module, call, mode)
        except NETWORK_ERRORS as on_cpu:
            error = on_cpu
    words = (str(error).splitlines() or [type(error).__name__])[0]
    if not is_real and _needs_values(error):
        words = f"only real weights and inputs can be counted, it needs their values ({words})"
    raise CountingError(f"{type(module).__name__} cannot be counted: {words}") from error


def _needs_values(error: Exception) -> bool:
    """Whether torch refused to read a value of a tensor that has none."""
    words = str(error).lower()
    return any(sign in words for sign in ("meta", "data-dependent", "no data", "as values say"))


def make_cost(
    tallies: Mapping[str, Tally],
    *,
    params: int,
    weight_bytes: int,
    peak_activation_bytes: int,
    trained_bytes: int = 0,
    counted_on: Literal["meta", "cpu"] = "meta",
    assumptions: Iterable[str] = (),
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
        assumptions=tuple(assumptions),
    )


def _trace_on(
    device: Literal["meta", "cpu"],
    network: nn.Module,
    call: Call,
    mode: Mode,
    *,
    spend: bool = False,
    has_no_values: bool = False,
) -> Trace:
    """Watch a pass on a device; a second time if it computes with complex numbers (`ComplexConvolutions`)."""
    traced = None
    for in_four in (False, True):
        with nullcontext() if spend else borrowed(network, device):
            traced = _watch(device, network, call, mode, in_four=in_four, has_no_values=has_no_values)
        if not traced.ledger.saw_complex:
            break
    assert traced is not None
    return traced


def _watch(
    device: Literal["meta", "cpu"],
    network: nn.Module,
    call: Call,
    mode: Mode,
    *,
    in_four: bool,
    has_no_values: bool,
) -> Trace:
    """One pass of a network whose weights are on `device`; in training, forward and backward."""
    network.train(mode == "train")
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(mode == "train"))
        stack.enter_context(_in_parts(device))
        stack.enter_context(_alone())
        held = held_by(network)
        if is_lazy(held):
            first = call.on(device)
            network(*first.args, **first.keywords)
            held = held_by(network)
        places = tuple(network.named_modules(remove_duplicate=False))
        ledger = Ledger((*held.parameters, *held.buffers), device, has_no_values=has_no_values)
        own = call.on(device)
        ledger.keep_alive(tensors_in((own.args, own.keywords)))
        stack.enter_context(ledger.following(places))
        stack.enter_context(attention_whole(ledger))
        if mode == "train":
            stack.enter_context(InTheOpen(ledger))
        if in_four:
            stack.enter_context(ComplexConvolutions(ledger))
        stack.enter_context(ledger)
        outputs = network(*own.args, **own.keywords)
        if mode == "train":
            ledger.forward = False
            _loss(outputs).backward()
    trained_bytes = sum(dense_bytes(one) for one in held.parameters if one.requires_grad)
    cost = make_cost(
        ledger.by_operator(),
        params=held.params,
        weight_bytes=held.weight_bytes,
        peak_activation_bytes=ledger.peak_bytes,
        trained_bytes=trained_bytes if mode == "train" else 0,
        counted_on=device,
        assumptions=ledger.assumptions,
    )
    return Trace(cost, ledger, places)


def _loss(outputs: Any) -> torch.Tensor:
    """A scalar that all floating outputs contribute to."""
    terms = [_real_sum(tensor) for tensor in tensors_in(outputs) if tensor.requires_grad]
    if not terms:
        raise ValueError("no output depends on the weights: there is nothing to train")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _real_sum(tensor: torch.Tensor) -> torch.Tensor:
    total = (tensor.to_dense() if is_sparse(tensor) else tensor).sum()
    return torch.view_as_real(total).sum() if total.is_complex() else total


@contextmanager
def _alone() -> Iterator[None]:
    """Let a sample be counted that cannot be trained alone.

    torch refuses to normalise one value a channel, such as one sample's pooled image, since it has no
    variance. What is counted is a sample's share of a batch, and nobody reads its outputs.
    """
    functional: Any = torch.nn.functional
    verify = functional._verify_batch_size
    counting = threading.get_ident()

    def verify_others(size: list[int]) -> None:
        if threading.get_ident() != counting:
            verify(size)

    functional._verify_batch_size = verify_others
    try:
        yield
    finally:
        functional._verify_batch_size = verify


@contextmanager
def _in_parts(device: str) -> Iterator[None]:
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


@contextmanager
def alone_in_parts() -> Iterator[None]:
    """Run a network for another counter, in parts as here, while no count is under way."""
    with ONE_AT_A_TIME, _in_parts("meta"):
        yield

"""The ledger: watches every operator of a pass, and adds up what it costs and keeps alive."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from scaleprof.counting import higher_order
from scaleprof.counting.formulas import COMPLEX_FACTOR, is_fused_attention, score_elements
from scaleprof.counting.operators import Operator, describe
from scaleprof.counting.tensors import (
    bytes_in_memory,
    dense_bytes,
    elements_of,
    first_of,
    storages_of,
    tensors_of,
)

ATTENTION = "scaled_dot_product_attention"
# The place of `training` among the arguments of native_batch_norm.
_TRAINING = 5


class Tally(Counter[str]):
    """Calls, MACs, activations, bytes read and written, and uncounted output elements, added up by name."""


class Ledger(TorchDispatchMode):
    """Adds up what each operator costs in which module, and follows how many bytes of results are alive.

    Use it as a context manager around a pass of a network whose modules it follows (`follow`).

    Attributes:
        tallies: what was added up, by (module path, operator).
        assumptions: what was taken for granted where only values would tell.
        peak_bytes: the most bytes of results alive at once, inputs included, weights not.
        forward: whether a forward pass is being watched; only its outputs are activations.
        saw_complex: whether a result was complex.
    """

    supports_higher_order_operators = True

    def __init__(
        self,
        weights: Iterable[torch.Tensor],
        device: Literal["meta", "cpu"] = "meta",
        *,
        has_no_values: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        self.assumptions: dict[str, None] = {}
        self.peak_bytes = 0
        self.forward = True
        self.saw_complex = False
        self.device, self.has_no_values = device, has_no_values
        self._paths = [""]
        self._turns: Counter[tuple[str, ...]] = Counter()
        self._whole: str | None = None
        self._live_bytes = 0
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        for tensor in weights:  # known from the start, so that views of weights are no activations
            self._alive.update(storages_of(tensor))

    @contextmanager
    def following(self, places: Iterable[tuple[str, nn.Module]]) -> Iterator[None]:
        """Note in which module an operator runs.

        Scripted modules take no hooks: what runs in them is noted of the module around them.

        Args:
            places: every module with its path, or with each of several.
        """
        paths: dict[nn.Module, tuple[str, ...]] = {}
        for path, module in places:
            paths[module] = (*paths.get(module, ()), path)
        hooks = []
        for module, known in paths.items():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            before = module.register_forward_pre_hook(
                lambda *_, known=known: self._enter(known), prepend=True
            )
            after = module.register_forward_hook(lambda *_: self._leave(), always_call=True)
            hooks += [before, after]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def as_one(self, name: str) -> Iterator[Tally]:
        """Name all operators within after the call that they are parts of, which is one call."""
        before, self._whole = self._whole, self._whole or name
        tally = self.tallies[self._paths[-1], self._whole]
        tally["calls"] += before is None
        try:
            yield tally
        finally:
            self._whole = before

    @contextmanager
    def aside(self) -> Iterator[defaultdict[tuple[str, str], Tally]]:
        """Add up what runs within on its own; `merge` takes it over."""
        before, self.tallies = self.tallies, defaultdict(Tally)
        try:
            yield self.tallies
        finally:
            self.tallies = before

    def merge(self, tallies: dict[tuple[str, str], Tally]) -> None:
        """Take over what was added up aside."""
        for key, tally in tallies.items():
            self.tallies[key].update(tally)

    def assume(self, words: str) -> None:
        """Note what is taken for granted where only values would tell."""
        self.assumptions[words] = None

    def by_operator(self) -> dict[str, Tally]:
        """The tallies of the whole network, by operator."""
        merged: defaultdict[str, Tally] = defaultdict(Tally)
        for (_, name), tally in self.tallies.items():
            merged[name].update(tally)
        return dict(merged)

    def within(self, *paths: str) -> dict[str, Tally]:
        """The tallies of these modules and all that is inside them, by operator."""
        merged: defaultdict[str, Tally] = defaultdict(Tally)
        for (path, name), tally in self.tallies.items():
            if any(path == wanted or path.startswith(f"{wanted}.") for wanted in paths):
                merged[name].update(tally)
        return dict(merged)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return higher_order.run(self, func, args, kwargs)
        known = describe(func)
        if known.kind == "composite":  # it may hide counted ones: look inside it
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        tensors = tensors_of((args, kwargs))
        if self.device == "meta" and not all(tensor.is_meta for tensor in tensors):
            args, kwargs, tensors = self._on_meta(args, kwargs, tensors)
        elif known.name == "_to_copy" and self.device == "meta" and "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("meta")}  # what has no values has none elsewhere
        made = _RESULTS.get(known.name) if self.device == "meta" else None
        result = func(*args, **kwargs) if made is None or not args[0].is_meta else made(args, kwargs)
        self.keep_alive(result)
        if func.is_view:
            return result
        tally = self.tally(known.name)
        self.add_traffic(tally, tensors, result)
        if known.macs is not None:
            self._add_product(tally, known, args, kwargs, result, tensors)
        elif known.kind != "free":
            tally["uncounted"] += elements_of(result)
        return result

    def keep_alive(self, tensors: Any) -> None:
        """Count the storages of these tensors as alive until they are freed."""
        for tensor in tensors_of(tensors):
            self.saw_complex = self.saw_complex or tensor.is_complex()
            for storage in storages_of(tensor):
                self._watch(storage)
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)

    def tally(self, name: str) -> Tally:
        """The tally of an operator that is called where the pass is now."""
        tally = self.tallies[self._paths[-1], self._whole or name]
        tally["calls"] += self._whole is None
        return tally

    def add_traffic(self, tally: Tally, inputs: Sequence[torch.Tensor], result: Any) -> None:
        """Add the bytes of an operator's tensors."""
        tally["read_bytes"] += sum(map(bytes_in_memory, inputs))
        tally["written_bytes"] += sum(map(bytes_in_memory, tensors_of(result)))

    def _add_product(
        self,
        tally: Tally,
        known: Operator,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        tensors: Sequence[torch.Tensor],
    ) -> None:
        assert known.macs is not None
        macs = known.macs(*args, **kwargs, out_val=result)
        is_fused = is_fused_attention(known.full_name)
        if self.forward:
            tally["activations"] += elements_of(first_of(result))
            tally["activations"] += score_elements(known.full_name, args, macs) if is_fused else 0
        if any(tensor.is_complex() for tensor in tensors):
            macs *= COMPLEX_FACTOR
        tally["macs"] += macs
        if "grouped_mm" in known.full_name and tensors[-1].is_meta and len(tensors) > len(args[:2]):
            self.assume(f"{known.name}: every row is in a group, which only the offsets' values would tell")

    def _on_meta(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[torch.Tensor]
    ) -> tuple[tuple[Any, ...], dict[str, Any], list[torch.Tensor]]:
        """The arguments without values, where an operator mixes tensors with and without: a cached table."""
        if not any(tensor.is_meta for tensor in tensors):
            return args, kwargs, tensors
        args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        return args, kwargs, tensors_of((args, kwargs))

    def _enter(self, known: tuple[str, ...]) -> None:
        """Go into a module by the path that leads on from here; a module has several if it is shared."""
        if len(known) == 1:
            self._paths.append(known[0])
            return
        here = f"{self._paths[-1]}." if self._paths[-1] else ""
        nearest = [path for path in known if path.startswith(here)] or list(known)
        depth = min(path.count(".") for path in nearest)
        nearest = [path for path in nearest if path.count(".") == depth]
        # One parent may hold it under several names: its calls are theirs in turn.
        turn = self._turns[tuple(nearest)]
        self._turns[tuple(nearest)] += 1
        self._paths.append(nearest[turn % len(nearest)])

    def _leave(self) -> None:
        self._paths.pop()

    def _watch(self, storage: Any) -> None:
        if storage in self._alive:
            return
        self._alive.add(storage)
        size_bytes = storage.nbytes() if isinstance(storage, torch.UntypedStorage) else dense_bytes(storage)
        self._live_bytes += size_bytes
        weakref.finalize(storage, self._release, size_bytes)

    def _release(self, size_bytes: int) -> None:
        self._live_bytes -= size_bytes


@contextmanager
def attention_whole(ledger: Ledger) -> Iterator[None]:
    """Have the ledger see attention as the one call that people write, whichever kernel torch takes for it.

    torch takes the call apart before any dispatch mode sees it, so that it is wrapped where it is called
    from, for the time of a pass and for the thread that counts.
    """
    functional = torch.nn.functional
    attention = functional.scaled_dot_product_attention
    counting = threading.get_ident()

    def whole(*args: Any, **kwargs: Any) -> torch.Tensor:
        if threading.get_ident() != counting:
            return attention(*args, **kwargs)
        with ledger.as_one(ATTENTION):
            return attention(*args, **kwargs)

    functional.scaled_dot_product_attention = whole
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = attention


_CONVOLUTIONS: frozenset[Any] = frozenset(
    getattr(torch, f"conv{kind}{rank}d") for kind in ("", "_transpose") for rank in (1, 2, 3)
)


class ComplexConvolutions(TorchFunctionMode):
    """Complex convolutions as four real ones, which is what they cost.

    torch takes them apart into three before any dispatch mode sees them (Gauss's trick), and other complex
    products into four.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _CONVOLUTIONS or not any(one.is_complex() for one in tensors_of((args, kwargs))):
            return func(*args, **kwargs)
        return self._in_four(func, *args, **kwargs)

    def _in_four(
        self, func: Any, input: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        with self._ledger.as_one("convolution") as tally:
            before = tally["activations"]
            products = [
                func(one, other, None, *args, **kwargs)
                for one in (input.real, input.imag)
                for other in (weight.real, weight.imag)
            ]
            result = torch.complex(products[0] - products[3], products[1] + products[2])
            tally["activations"] = before + (result.numel() if self._ledger.forward else 0)
        ranks = weight.dim() - 2
        return result if bias is None else result + bias.reshape(-1, *[1] * ranks)


def _normalised(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
    """What batch norm gives: the images, and in training each channel's mean and deviation.

    torch decomposes it in Python, half of the time of a count, and divides by zero where a channel has one
    value.
    """
    images = args[0]
    kept = images.shape[1] if args[_TRAINING] else 0
    dtype = torch.promote_types(images.dtype, torch.float32)
    mean, deviation = (images.new_empty(kept, dtype=dtype) for _ in range(2))
    return torch.empty_like(images), mean, deviation


def _grouped(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """What a product in groups gives, in any dtype: torch's own function takes half precision alone."""
    left, right = args[:2]
    offsets: Any = args[2] if len(args) > 2 else kwargs.get("offs")
    groups = () if left.dim() != right.dim() else (len(left) if left.dim() == 3 else len(offsets),)
    dtype = kwargs.get("out_dtype") or left.dtype
    made: torch.Tensor = left.new_empty((*groups, left.shape[-2], right.shape[-1]), dtype=dtype)
    return made


# Operators whose results are made here on the meta device, for the reasons that each function gives.
_RESULTS: dict[str, Callable[[tuple[Any, ...], dict[str, Any]], Any]] = {
    "native_batch_norm": _normalised,
    "_grouped_mm": _grouped,
}

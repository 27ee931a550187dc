"""The ledger: watches every operator of a pass, and adds up what it costs and keeps alive."""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from scaleprof.counting.operators import is_free, macs_formula, operator_name

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
        peak_bytes: the most bytes of results alive at once, inputs included, weights not.
        forward: whether a forward pass is being watched; only its outputs are activations.
    """

    supports_higher_order_operators = True  # they come here too, to be named

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        self.peak_bytes = 0
        self.forward = True
        self._paths = [""]
        self._whole: str | None = None
        self._live_bytes = 0
        self._alive: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        for tensor in weights:  # known from the start, so that views of weights are no activations
            self._alive.add(tensor.untyped_storage())

    def follow(self, network: nn.Module) -> None:
        """Note in which module an operator runs; the hooks stay on the network, which is a copy.

        Scripted modules take no hooks: what runs in them is noted of the module around them.
        """
        for path, module in network.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            module.register_forward_pre_hook(lambda *_, path=path: self._paths.append(path))
            module.register_forward_hook(lambda *_: self._leave(), always_call=True)

    @contextmanager
    def as_one(self, name: str) -> Iterator[None]:
        """Name all operators within after the call that they are parts of, which is one call."""
        before, self._whole = self._whole, name
        self.tallies[self._paths[-1], name]["calls"] += 1
        try:
            yield
        finally:
            self._whole = before

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
            return self._run_unknown(func, args, kwargs)
        formula, free = macs_formula(func), is_free(func)
        if formula is None and not free:
            # A composite operator may hide counted ones: look inside it first.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        name = operator_name(func)
        result = _normalised(args) if _is_norm_on_meta(name, args) else func(*args, **kwargs)
        self.keep_alive(result)
        if func.is_view:
            return result
        tally = self._tally(name)
        self._add_traffic(tally, (args, kwargs), result)
        if formula is not None:
            tally["macs"] += formula(*args, **kwargs, out_val=result)
            tally["activations"] += _elements(result) if self.forward else 0
        elif not free:
            tally["uncounted"] += _elements(result)
        return result

    def keep_alive(self, tensors: Any) -> None:
        """Count the storages of these tensors as alive until they are freed."""
        for tensor in _tensors(tensors):
            self._watch(tensor.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)

    def _tally(self, name: str) -> Tally:
        tally = self.tallies[self._paths[-1], self._whole or name]
        tally["calls"] += self._whole is None
        return tally

    def _leave(self) -> None:
        self._paths.pop()

    def _add_traffic(self, tally: Tally, inputs: Any, result: Any) -> None:
        tally["read_bytes"] += sum(map(_bytes, _tensors(inputs)))
        tally["written_bytes"] += sum(map(_bytes, _tensors(result)))

    def _watch(self, storage: torch.UntypedStorage) -> None:
        if storage in self._alive:
            return
        self._alive.add(storage)
        size_bytes = storage.nbytes()
        self._live_bytes += size_bytes
        weakref.finalize(storage, self._release, size_bytes)

    def _release(self, size_bytes: int) -> None:
        self._live_bytes -= size_bytes

    def _run_unknown(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A higher-order operator: it runs, and is named as uncounted."""
        result = func(*args, **kwargs)
        self.keep_alive(result)
        tally = self._tally(str(func))
        self._add_traffic(tally, (args, kwargs), result)
        tally["uncounted"] += _elements(result)
        return result


@contextmanager
def attention_whole(ledger: Ledger) -> Iterator[None]:
    """Have the ledger see attention as the one call that people write, whichever kernel torch takes for it.

    torch takes the call apart before any dispatch mode sees it, so that it is wrapped where it is called
    from, for the time of a pass.
    """
    functional = torch.nn.functional
    attention = functional.scaled_dot_product_attention

    def whole(*args: Any, **kwargs: Any) -> torch.Tensor:
        with ledger.as_one(ATTENTION):
            return attention(*args, **kwargs)

    functional.scaled_dot_product_attention = whole
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = attention


def _is_norm_on_meta(name: str, args: tuple[Any, ...]) -> bool:
    return name == "native_batch_norm" and len(args) > _TRAINING and args[0].device.type == "meta"


def _normalised(args: tuple[Any, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What batch norm gives: the images, and in training each channel's mean and deviation.

    torch decomposes it in Python, half of the time of a count, and divides by zero where a channel has one
    value.
    """
    images = args[0]
    kept = images.shape[1] if args[_TRAINING] else 0
    dtype = torch.promote_types(images.dtype, torch.float32)
    mean, deviation = (images.new_empty(kept, dtype=dtype) for _ in range(2))
    return torch.empty_like(images), mean, deviation


def _tensors(values: Any) -> list[torch.Tensor]:
    """The tensors in an operator's arguments or results: single, or in lists, tuples and dictionaries."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, (tuple, list)):
        return []
    return [tensor for value in values if value is not None for tensor in _tensors(value)]


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes that a tensor's elements take in memory; an expanded one has fewer than elements."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _elements(result: Any) -> int:
    return sum(tensor.numel() for tensor in _tensors(result))

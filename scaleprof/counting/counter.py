"""The counter: one pass over meta tensors, watched operator by operator."""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from scaleprof.counting.operators import is_free, macs_formula, operator_name
from scaleprof.errors import NETWORK_ERRORS, CountingError
from scaleprof.records import Cost, OperatorCost, UncountedOperator


def count(module: nn.Module, example_input: torch.Tensor | Sequence[torch.Tensor]) -> Cost:
    """MACs, parameters, activations and bytes of one forward pass of `module` in eval mode.

    MACs, activations and bytes of activations are those of the example as it is: give it batch size 1 for
    counts per sample. Parameters that are shared count once. `module` is left as it was; its weights may
    be real or on the meta device, and are never copied.

    Args:
        module: the network.
        example_input: its input, such as `[1, 3, height_px, width_px]`, or a sequence of inputs; real or
            meta.

    Raises:
        CountingError: the module cannot run on the meta device (its control flow depends on values).
    """
    twin = _on_meta(module).eval()
    inputs = (example_input,) if isinstance(example_input, torch.Tensor) else tuple(example_input)
    inputs = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), inputs)
    weights = {id(tensor): tensor for tensor in (*twin.parameters(), *twin.buffers())}
    ledger = _Ledger(weights.values())
    ledger.keep_alive(inputs)
    try:
        with torch.no_grad(), ledger:
            twin(*inputs)
    except NETWORK_ERRORS as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise CountingError(
            f"{type(module).__name__} cannot be counted on the meta device: {words[0]}"
        ) from error
    return Cost(
        macs=ledger.macs.total(),
        params=sum(parameter.numel() for parameter in twin.parameters()),
        activations=ledger.activations.total(),
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in weights.values()),
        peak_activation_bytes=ledger.peak_bytes,
        operators=tuple(
            OperatorCost(name, ledger.calls[name], macs, ledger.activations[name])
            for name, macs in ledger.macs.most_common()
        ),
        uncounted=tuple(
            UncountedOperator(name, ledger.calls[name], elements)
            for name, elements in sorted(ledger.uncounted.items())
        ),
    )


def _on_meta(module: nn.Module) -> nn.Module:
    """A copy of the module's structure with meta weights; shared weights stay shared."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        meta = tensor.detach().to("meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(meta, tensor.requires_grad) if is_parameter else meta
    twin: nn.Module = copy.deepcopy(module, memo)
    return twin


class _Ledger(TorchDispatchMode):
    """Adds up what each operator costs, and follows how many bytes of results are alive."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()
        self.activations: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.peak_bytes = 0
        self._live_bytes = 0
        self._alive: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        for tensor in weights:  # known from the start, so that views of weights are no activations
            self._alive.add(tensor.untyped_storage())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return self._run_unknown(func, args, kwargs)
        formula = macs_formula(func)
        if formula is None and not is_free(func):
            # A composite operator may hide counted ones: look inside it first.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        name = operator_name(func)
        result = _normalised(args[0]) if _is_plain_norm(name, args) else func(*args, **kwargs)
        self.keep_alive(result)
        if formula is not None:
            self.calls[name] += 1
            self.macs[name] += formula(*args, **kwargs, out_val=result)
            self.activations[name] += _elements(result)
        elif not is_free(func) and (elements := _elements(result)):
            self.calls[name] += 1
            self.uncounted[name] += elements
        return result

    def keep_alive(self, tensors: Any) -> None:
        """Count the storages of these tensors as alive until they are freed."""
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)

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
        name = str(func)
        self.calls[name] += 1
        self.uncounted[name] += _elements(result)
        return result


_TRAINING = 5  # the place of `training` among the arguments of native_batch_norm


def _is_plain_norm(name: str, args: tuple[Any, ...]) -> bool:
    return name == "native_batch_norm" and len(args) > _TRAINING and not args[_TRAINING]


def _normalised(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What batch norm in eval mode gives; torch decomposes it in Python, half of the time of a count."""
    return torch.empty_like(images), images.new_empty(0), images.new_empty(0)


def _elements(result: Any) -> int:
    return sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))

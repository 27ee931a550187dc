"""The tensors in whatever a network returns: a tensor, a dataclass, a cache, a probability distribution.

Nothing is called and nothing is computed: only what the values already hold is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._pytree import SUPPORTED_NODES

_Kind = TypeVar("_Kind")

# Deeper than any output that was seen; the caches of a decoder are at a depth of six.
_MAX_DEPTH = 32
# Objects that hold no output: single values, code, and networks with their weights.
_CLOSED = (
    *(str, bytes, bytearray, memoryview, range, int, float, complex, type(None)),
    *(type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, torch.dtype, torch.device, nn.Module),
)
_NO_FIELDS = ("__dict__", "__weakref__")


def tensors_in(values: Any) -> list[torch.Tensor]:
    """Return the tensors in a value, in order.

    They are found in mappings, sequences, dataclasses, msgspec structs, types that are registered with
    torch's pytree, and the attributes of any other object (a distribution's parameters). A tensor that is
    there twice is listed twice; an object is entered once, and an `nn.Module` never.

    >>> from torch.distributions import Normal
    >>> [tensor.item() for tensor in tensors_in({"a": torch.tensor(1), "b": Normal(2.0, 3.0), "c": "no"})]
    [1, 2.0, 3.0]
    """
    return found_in(values, torch.Tensor)


def found_in(values: Any, kind: type[_Kind] | tuple[type[_Kind], ...]) -> list[_Kind]:
    """Return the objects of one or several kinds in a value, found as `tensors_in` finds tensors."""
    return list(_found(values, kind, _MAX_DEPTH, {}))


def _found(
    value: Any, kind: type[_Kind] | tuple[type[_Kind], ...], depth: int, entered: dict[int, Any]
) -> Iterator[_Kind]:
    """`entered` keeps the objects themselves, so that no other one takes their identity."""
    if isinstance(value, kind):
        yield value
        return
    if isinstance(value, _CLOSED) or depth == 0 or id(value) in entered:
        return
    entered[id(value)] = value
    elements = _elements(value)
    for part in _attributes(value) if elements is None else elements:
        yield from _found(part, kind, depth - 1, entered)
    if elements is not None:  # one list in two places counts twice, but not a list that holds itself
        del entered[id(value)]


def _elements(value: Any) -> Iterable[Any] | None:
    """The elements of a container; None for an object that is not one."""
    node = SUPPORTED_NODES.get(type(value))
    if node is not None:
        return node.flatten_fn(value)[0]
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, Sequence) else None


def _attributes(value: Any) -> list[Any]:
    """The values of an object's fields, slots and attributes; properties are not asked."""
    kinds = reversed(type(value).__mro__)
    slots = [name for one in kinds for name in _names(vars(one).get("__slots__", ()))]
    fields = dict.fromkeys((*getattr(value, "__struct_fields__", ()), *slots))
    held = [getattr(value, name, None) for name in fields if name not in _NO_FIELDS]
    return [*held, *getattr(value, "__dict__", {}).values()]


def _names(slots: str | Iterable[str]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)

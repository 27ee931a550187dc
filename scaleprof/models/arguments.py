"""The inputs that a user's `example_inputs` returned, as the arguments of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaleprof.errors import UsageError
from scaleprof.models.family import Inputs

# What an input may be besides a tensor, alone or in lists, tuples and dictionaries.
_PLAIN_VALUES = (type(None), bool, int, float, str)


def arguments_of(made: object, reference: str) -> Inputs:
    """Return the arguments that `made` means.

    A tensor is the only argument, a tuple or list holds the positional ones, and a mapping the keyword ones.

    Args:
        made: what `example_inputs` returned.
        reference: the function in words, for errors.

    Raises:
        UsageError: a value of another type, a keyword that is not a string, or no tensor at all.
    """
    from scaleprof.models.tensors import tensors_in

    inputs = _arguments(made, reference)
    if not tensors_in([list(inputs), inputs.keywords]):
        kind = "nothing" if made in ((), [], {}) else "no tensor"
        raise UsageError(f"{reference} returned {kind}: it returns at least one tensor among its values")
    return inputs


def _arguments(made: object, reference: str) -> Inputs:
    if isinstance(made, Mapping):
        return Inputs(
            (), {_keyword(key, reference): _value(made[key], reference, f"['{key}']") for key in made}
        )
    several = made if isinstance(made, (tuple, list)) else None
    if several is None and isinstance(made, _PLAIN_VALUES):
        raise _wrong(made, reference, "")
    if several is None:
        return Inputs((_value(made, reference, ""),))
    return Inputs(_value(value, reference, f"[{place}]") for place, value in enumerate(several))


def _keyword(key: object, reference: str) -> str:
    if not isinstance(key, str):
        raise UsageError(
            f"{reference} returned a dictionary with the key {key!r}: its keys are the names of keyword "
            f"inputs (a dictionary that is itself an input goes into a tuple)"
        )
    return key


def _value(value: Any, reference: str, place: str) -> Any:
    """The value, in plain containers; `place` says where it is."""
    import torch

    if isinstance(value, (torch.Tensor, *_PLAIN_VALUES)):
        return value
    if isinstance(value, Mapping):
        return {key: _value(value[key], reference, f"{place}[{key!r}]") for key in value}
    if isinstance(value, (list, tuple)):
        parts = [_value(part, reference, f"{place}[{number}]") for number, part in enumerate(value)]
        if isinstance(value, list):
            return parts
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    raise _wrong(value, reference, place)


def _wrong(value: object, reference: str, place: str) -> UsageError:
    at = f" at {place}" if place else ""
    return UsageError(
        f"{reference} returned {type(value).__name__}{at}: it returns a tensor, a tuple of positional inputs "
        f"or a dictionary of keyword inputs (tensors, None, numbers and strings, also in lists, tuples or "
        f"dictionaries)"
    )

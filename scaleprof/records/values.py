"""What all records are: frozen, strict when read back, and finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the value types: immutable, and strict when read back."""


def require_finite(name: str, values: Iterable[float]) -> None:
    """Refuse NaN and infinities.

    Raises:
        ValueError: one of the values is not finite.
    """
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite: {value}")

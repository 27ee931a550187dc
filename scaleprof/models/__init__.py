"""The families: one file each, one visible registry.

A family is a torch-free shape function (factors to integers) and a builder (integers to `nn.Module`).
torch is imported inside builders only, so that listing and rounding stay instant.
"""

from __future__ import annotations

from scaleprof.errors import UsageError, suggestion
from scaleprof.models.efficientnet import EFFICIENTNET_B0
from scaleprof.models.family import ModelFamily

FAMILIES: dict[str, ModelFamily] = {family.name: family for family in (EFFICIENTNET_B0,)}


def find_family(name: str) -> ModelFamily:
    """The family called `name`.

    Raises:
        UsageError: there is none; the message suggests the nearest name.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    hint = suggestion(name, FAMILIES)
    raise UsageError(f"unknown model '{name}'{hint} (scaleprof models lists all)")

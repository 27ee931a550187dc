"""Which families have a law of growth of their own."""

from __future__ import annotations

from functools import cache

from scaleprof.scaling.patches import SWIN_NAME, VIT_NAME, swin_law, vit_law
from scaleprof.scaling.sequences import sequence_laws
from scaleprof.scaling.theory import Law


def law_of(model: str, mode: str = "infer") -> Law | None:
    """The family's own law of growth in a mode; None for a model that has none."""
    laws = _laws()
    return laws.get((model, mode)) or laws.get((model, "infer"))


@cache
def _laws() -> dict[tuple[str, str], Law]:
    return {
        **sequence_laws(),
        (VIT_NAME, "infer"): vit_law(),
        (SWIN_NAME, "infer"): swin_law(),
    }

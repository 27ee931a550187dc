"""Scaling strategies: from a compound coefficient φ to factors of depth, width and resolution.

A convolution's MACs grow with `depth · width² · resolution²` (Tan & Le 2019, arXiv:1905.11946,
section 3.3). A strategy shares a total MAC growth `s = 2^φ` out between the three:
`depth = s^e_d, width = s^(e_w/2), resolution = s^(e_r/2)` with `e_d + e_w + e_r = 1`
(Dollár et al. 2021, arXiv:2103.06877), so that the product is `s`. The compound strategy instead
raises three bases to the power φ.
"""

from __future__ import annotations

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import PUBLISHED_STRATEGY, Phi

COMPOUND = "compound"

# Shares of log-growth (e_d, e_w, e_r) for the strategies that grow in one direction.
EXPONENTS: dict[str, tuple[float, float, float]] = {
    "depth": (1.0, 0.0, 0.0),
    "width": (0.0, 1.0, 0.0),
    "resolution": (0.0, 0.0, 1.0),
}
STRATEGIES: tuple[str, ...] = (COMPOUND, *EXPONENTS, PUBLISHED_STRATEGY)
DEFAULT_STRATEGIES = ("compound", "width", "depth", "resolution")

# Beyond a millionfold growth, φ is a slip of the finger and not a model.
MAX_ABS_PHI = 20
_MAX_BASE = 10


class Factors(msgspec.Struct, frozen=True):
    """Growth of the three dimensions against the base model, as a strategy asks for it."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    @property
    def growth(self) -> float:
        """MAC growth that the factors ask for: `depth · width² · resolution²`."""
        return self.depth * self.width**2 * self.resolution**2


class Bases(msgspec.Struct, frozen=True):
    """The compound bases: Tan & Le's α (depth), β (width) and γ (resolution).

    Raises:
        UsageError: a base that is not above zero, or bases that do not grow the model.
    """

    depth: float = 1.2
    width: float = 1.1
    resolution: float = 1.15

    def __post_init__(self) -> None:
        for name in ("depth", "width", "resolution"):
            value: float = getattr(self, name)
            if not 0 < value <= _MAX_BASE:
                raise UsageError(
                    f"--{name}-base {value:g} must be above 0 and at most {_MAX_BASE} (1 keeps {name})"
                )
        if self.growth <= 1:
            raise UsageError(
                f"compound bases {self.depth:g}, {self.width:g}, {self.resolution:g} do not grow the model: "
                f"depth · width² · resolution² is {self.growth:.3g} and must exceed 1"
            )

    @property
    def growth(self) -> float:
        """MAC growth per unit of φ, `D · W² · R²` (1.92 for the published bases)."""
        return self.depth * self.width**2 * self.resolution**2


def factors(strategy: str, phi: Phi, bases: Bases | None = None) -> Factors:
    """Factors of depth, width and resolution of `strategy` at `phi`.

    >>> factors("width", 2).width, factors("depth", 2).depth, factors("resolution", -2).resolution
    (2.0, 4.0, 0.5)
    >>> round(factors("compound", 1).growth, 3)
    1.92

    Raises:
        UsageError: `strategy` has no formula, or `phi` is out of bounds.
    """
    if abs(phi) > MAX_ABS_PHI:
        raise UsageError(
            f"phi {phi:g} asks for 2^{phi:g} times the base's MACs: it must lie within "
            f"-{MAX_ABS_PHI}..{MAX_ABS_PHI}"
        )
    if strategy == COMPOUND:
        bases = bases or Bases()
        return Factors(bases.depth**phi, bases.width**phi, bases.resolution**phi)
    if strategy not in EXPONENTS:
        raise unknown_strategy(strategy)
    growth = 2.0**phi
    e_d, e_w, e_r = EXPONENTS[strategy]
    return Factors(growth**e_d, growth ** (e_w / 2), growth ** (e_r / 2))


def unknown_strategy(strategy: str) -> UsageError:
    """The error for a strategy that does not exist."""
    hint = suggestion(strategy, STRATEGIES)
    return UsageError(f"unknown strategy '{strategy}'{hint or ':'} (known: {', '.join(STRATEGIES)})")

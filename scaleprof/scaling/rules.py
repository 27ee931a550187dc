"""Scaling strategies: from a compound coefficient φ to factors of depth, width and resolution.

A convolution's MACs grow with `depth · width² · resolution²` (Tan & Le 2019, arXiv:1905.11946,
section 3.3). A strategy shares a total MAC growth `s = 2^φ` out between the three:
`depth = s^e_d, width = s^(e_w/2), resolution = s^(e_r/2)` with `e_d + e_w + e_r = 1`
(Dollár et al. 2021, arXiv:2103.06877), so that the product is `s`. The compound strategy instead
raises three bases to the power φ.
"""

from __future__ import annotations

import re

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import PUBLISHED_STRATEGY, Phi

COMPOUND = "compound"

Exponents = tuple[float, float, float]

# Shares of log-growth (e_d, e_w, e_r). `fast` is the dWr scaling of Dollár et al., section 5.
EXPONENTS: dict[str, Exponents] = {
    "depth": (1.0, 0.0, 0.0),
    "width": (0.0, 1.0, 0.0),
    "resolution": (0.0, 0.0, 1.0),
    "dw": (1 / 2, 1 / 2, 0.0),
    "dr": (1 / 2, 0.0, 1 / 2),
    "wr": (0.0, 1 / 2, 1 / 2),
    "dwr": (1 / 3, 1 / 3, 1 / 3),
    "fast": (0.1, 0.8, 0.1),
}
STRATEGIES: tuple[str, ...] = (COMPOUND, *EXPONENTS, PUBLISHED_STRATEGY)
DEFAULT_STRATEGIES = ("compound", "width", "depth", "resolution")
DIMENSIONS = ("depth", "width", "resolution")
RELATIVE_FORM = "d1_w2_r1"
# Before the name of a compound strategy with bases of its own, which came from a file.
NAMED_MARK = "@"

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
    def only_grow(self) -> bool:
        """Whether no base shrinks its dimension."""
        return min(self.depth, self.width, self.resolution) >= 1

    @property
    def growth(self) -> float:
        """MAC growth per unit of φ, `D · W² · R²` (1.92 for the published bases)."""
        return self.depth * self.width**2 * self.resolution**2


def exponents(strategy: str) -> Exponents | None:
    """Shares of log-growth (e_d, e_w, e_r) of a strategy by name or by relative exponents; None for others.

    Relative exponents are written `d1_w2_r1`: each letter at most once, what is left out is 0.

    >>> exponents("d1_w2_r1"), exponents("d0_w3"), exponents("compound")
    ((0.25, 0.5, 0.25), (0.0, 1.0, 0.0), None)
    """
    if strategy in EXPONENTS:
        return EXPONENTS[strategy]
    parts = [re.fullmatch(r"([dwr])(\d+(?:\.\d+)?)", part) for part in strategy.split("_")]
    shares = {part[1]: float(part[2]) for part in parts if part}
    total = sum(shares.values())
    if len(shares) < len(parts) or not total:
        return None
    return (shares.get("d", 0.0) / total, shares.get("w", 0.0) / total, shares.get("r", 0.0) / total)


def dimensions(strategy: str, bases: Bases | None = None) -> tuple[str, ...]:
    """Which of depth, width and resolution a formula moves; `bases` are those of a compound strategy.

    >>> dimensions("dw"), dimensions("compound", Bases(resolution=1))
    (('depth', 'width'), ('depth', 'width'))
    """
    at_one = factors(strategy, 1, bases)
    return tuple(name for name in DIMENSIONS if getattr(at_one, name) != 1)


def factors(strategy: str, phi: Phi, bases: Bases | None = None) -> Factors:
    """Factors of depth, width and resolution of `strategy` at `phi`.

    >>> factors("width", 2).width, factors("depth", 2).depth, factors("resolution", -2).resolution
    (2.0, 4.0, 0.5)
    >>> round(factors("compound", 1).growth, 3), round(factors("fast", 3).growth, 9)
    (1.92, 8.0)

    Raises:
        UsageError: `strategy` has no formula, or `phi` is out of bounds.
    """
    if abs(phi) > MAX_ABS_PHI:
        raise UsageError(
            f"phi {phi:g} asks for 2^{phi:g} times the base's MACs: it must lie within "
            f"-{MAX_ABS_PHI}..{MAX_ABS_PHI}"
        )
    if strategy == COMPOUND or (is_named(strategy) and bases is not None):
        bases = bases or Bases()
        return Factors(bases.depth**phi, bases.width**phi, bases.resolution**phi)
    shares = exponents(strategy)
    if shares is None:
        raise unknown_strategy(strategy)
    growth = 2.0**phi
    e_d, e_w, e_r = shares
    return Factors(growth**e_d, growth ** (e_w / 2), growth ** (e_r / 2))


def is_named(strategy: str) -> bool:
    """Whether this is a compound strategy with bases of its own, `@NAME`."""
    return strategy.startswith(NAMED_MARK)


def is_strategy(strategy: str) -> bool:
    """Whether there is a strategy of that name, but for those with bases of their own."""
    return strategy in STRATEGIES or exponents(strategy) is not None


def unknown_strategy(strategy: str) -> UsageError:
    """The error for a strategy that does not exist."""
    hint = suggestion(strategy, STRATEGIES)
    return UsageError(
        f"unknown strategy '{strategy}'{hint} "
        f"(known: {', '.join(STRATEGIES)}, or relative exponents such as {RELATIVE_FORM})"
    )

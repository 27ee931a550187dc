"""What theory says that parameters, activations and MACs grow with under each strategy.

A stack of plain convolutions of relative depth d, width w and resolution r has `d·w²·r²` times the base's
MACs, `d·w²` times its parameters and `d·w·r²` times its activations (Dollár et al. 2021, arXiv:2103.06877;
pycls' `scaler.py` has the same factors). A strategy makes each of d, w² and r² a power of the growth s that
it is asked for, hence these too. What is not such a stack departs from it: depthwise and grouped
convolutions, whose cost rises with w rather than w², stems and heads that are not repeated, and rounding.

A family may bring a law of its own (`scaleprof.scaling.sequences` has those of sequences): a sum of terms,
each with its powers of d, w and r. A sum is no power; its exponent at the base is the mean of its terms'
exponents, weighted by what each term is there, and that is what is told.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from scaleprof.scaling.rules import COMPOUND, Bases, Exponents, exponents, is_named


class Term(NamedTuple):
    """One term of a count: what it is at the base (only shares matter), and its powers of d, w and r."""

    amount: float
    depth: int
    width: int
    resolution: int


class Law(msgspec.Struct, frozen=True):
    """How MACs, parameters and activations are made up, as sums of terms."""

    macs: tuple[Term, ...]
    params: tuple[Term, ...]
    activations: tuple[Term, ...]


PLAIN_CONVOLUTIONS = Law(
    macs=(Term(1, 1, 2, 2),), params=(Term(1, 1, 2, 0),), activations=(Term(1, 1, 1, 2),)
)


class GrowthExponents(msgspec.Struct, frozen=True):
    """The powers of the nominal growth `2^φ` that MACs, parameters and activations grow with."""

    macs: float
    params: float
    activations: float

    @property
    def of_macs(self) -> GrowthExponents:
        """The same as powers of the growth of MACs, for curves over MACs."""
        return GrowthExponents(1.0, self.params / self.macs, self.activations / self.macs)


def growth_exponents(
    strategy: str, bases: Bases | None = None, law: Law = PLAIN_CONVOLUTIONS
) -> GrowthExponents | None:
    """How MACs, parameters and activations grow under a strategy; None for one without a formula.

    With e_d, e_w and e_r the powers of `2^φ` that d, w² and r² are, plain convolutions have `e_d + e_w + e_r`
    for MACs, which is 1 but for the compound strategy, `e_d + e_w` for parameters and `e_d + e_w/2 + e_r` for
    activations. Another `law` has what its terms have at the base.

    >>> growth_exponents("width"), growth_exponents("depth").activations
    (GrowthExponents(macs=1.0, params=1.0, activations=0.5), 1.0)
    >>> growth_exponents("fast")
    GrowthExponents(macs=1.0, params=0.9, activations=0.6)
    >>> compound = growth_exponents("compound")
    >>> round(compound.macs, 3), round(compound.of_macs.params, 3), round(compound.of_macs.activations, 3)
    (0.941, 0.572, 0.854)
    >>> growth_exponents("published") is None
    True
    """
    powers = _powers(strategy, bases)
    if powers is None:
        return None
    return GrowthExponents(
        macs=_exponent(law.macs, powers),
        params=_exponent(law.params, powers),
        activations=_exponent(law.activations, powers),
    )


def powers_at_base(terms: tuple[Term, ...]) -> tuple[float, float, float]:
    """The powers of d, w and r that a sum of terms grows with at the base.

    >>> powers_at_base((Term(3, 1, 2, 2), Term(1, 0, 1, 2)))
    (0.75, 1.75, 2.0)
    """
    total = sum(term.amount for term in terms)
    return (
        sum(term.amount * term.depth for term in terms) / total,
        sum(term.amount * term.width for term in terms) / total,
        sum(term.amount * term.resolution for term in terms) / total,
    )


def _exponent(terms: tuple[Term, ...], powers: Exponents) -> float:
    (depth, width, resolution), (e_d, e_w, e_r) = powers_at_base(terms), powers
    return depth * e_d + width * e_w / 2 + resolution * e_r / 2


def _powers(strategy: str, bases: Bases | None) -> Exponents | None:
    """The powers of `2^φ` that depth, width² and resolution² are."""
    if strategy != COMPOUND and not (is_named(strategy) and bases is not None):
        return exponents(strategy)
    bases = bases or Bases()
    return (math.log2(bases.depth), 2 * math.log2(bases.width), 2 * math.log2(bases.resolution))

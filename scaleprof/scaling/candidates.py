"""Candidates of a search for the compound bases: the grid, the controls, and who costs what is asked.

Tan & Le (2019, section 3.3) fix φ = 1 and try bases D, W, R ≥ 1 with `D·W²·R² ≈ 2`. Rounding to whole layers,
channels and pixels moves a network's cost far from that, so that two filters apply: the growth that the bases
ask for, and the growth that the network has. Nothing is counted here: costs come from a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from scaleprof.errors import UsageError
from scaleprof.records import Candidate, CandidateKind, CostMetric, ModelSpec
from scaleprof.scaling.rules import DIMENSIONS, Bases

DEFAULT_GRID_STEP = 0.05
DEFAULT_TARGET_GROWTH = 2.0
# Of both filters. At target 2 and step 0.05 it leaves 215 sets of bases, Tan & Le's (1.92) among them; for
# MobileNetV2 9 (32 px) to 22 (224 px) distinct networks of them cost what is asked.
DEFAULT_TOLERANCE = 0.1

PUBLISHED_BASES = Bases()

_MAX_TARGET = 10.0
# More would be days of training, and minutes of counting.
_MAX_GRID = 2000
# A bound or a tolerance is met where it is met but for the last digits of a float.
_SLACK = 1e-9


class Proposal(NamedTuple):
    """Bases to be looked at; controls grow one dimension, or are Tan & Le's."""

    kind: CandidateKind
    bases: Bases

    @property
    def is_published(self) -> bool:
        """Whether these are Tan & Le's bases."""
        return self.bases == PUBLISHED_BASES


class Placed(NamedTuple):
    """A proposal, its number, and the network that it makes at φ = 1."""

    number: int
    proposal: Proposal
    spec: ModelSpec


class Price(NamedTuple):
    """What a network costs: MACs, and in the search's metric; `reason` says why there is no cost."""

    macs: int | None
    cost: float | None
    reason: str | None = None


def propose(
    step: float = DEFAULT_GRID_STEP,
    target: float = DEFAULT_TARGET_GROWTH,
    tolerance: float = DEFAULT_TOLERANCE,
    dimensions: Sequence[str] = DIMENSIONS,
) -> list[Proposal]:
    """The grid, by depth, then width, then resolution; then the controls.

    No base exceeds what its dimension would have alone, and `D·W²·R²` lies within `tolerance` of `target`.
    Controls grow one dimension by exactly the target; Tan & Le's bases join them where they are of that
    growth and not on the grid.

    Args:
        step: between neighbouring bases, which are exact decimals 1, 1 + step, ….
        target: growth of cost that is wanted at φ = 1, above 1.
        tolerance: how far growth may be from the target, as a share of it.
        dimensions: those that the model can grow in; the others stay 1.

    Raises:
        UsageError: a step, target or tolerance that leaves no grid, or one that is too fine.
    """
    _check(step, target, tolerance)
    grid = [Proposal("grid", bases) for bases in _grid(step, target, tolerance, dimensions)]
    if len(grid) > _MAX_GRID:
        raise UsageError(
            f"--grid-step {step:g} leaves {len(grid)} sets of bases, at most {_MAX_GRID} are looked at: "
            f"raise it, or lower --tolerance {tolerance:.0%}"
        )
    singles = [_alone(name, target) for name in DIMENSIONS if name in dimensions]
    on_grid = {one.bases for one in grid}
    is_near = abs(PUBLISHED_BASES.growth / target - 1) <= tolerance + _SLACK
    is_lacking = is_near and set(DIMENSIONS) <= set(dimensions) and PUBLISHED_BASES not in on_grid
    controls = [*singles, *([PUBLISHED_BASES] if is_lacking else [])]
    # A single dimension that is on the grid is there once, as a control: it stays whatever rounding does.
    return [
        *(one for one in grid if one.bases not in singles),
        *(Proposal("control", bases) for bases in controls),
    ]


def place(proposals: Sequence[Proposal], network: Callable[[Bases], ModelSpec]) -> list[Placed]:
    """The networks of proposals, numbered from 1 in their order.

    Raises:
        UsageError: `network` does, where the architecture ends.
    """
    return [
        Placed(number, proposal, network(proposal.bases))
        for number, proposal in enumerate(proposals, start=1)
    ]


def distinct(placed: Sequence[Placed], target: float) -> dict[tuple[object, ...], Placed]:
    """Of each network, by its identity, the proposal that stands for it.

    That is a control before others, then Tan & Le's bases, then those whose nominal growth is nearest to the
    target, then the first.
    """
    kept: dict[tuple[object, ...], Placed] = {}
    for one in sorted(placed, key=lambda one: _precedence(one, target)):
        kept.setdefault(one.spec.identity, one)
    return kept


def judge(
    placed: Sequence[Placed],
    price: Callable[[ModelSpec], Price],
    *,
    base_cost: float | None,
    target: float,
    tolerance: float,
    metric: CostMetric,
) -> tuple[Candidate, ...]:
    """Candidates with their costs, and the reasons of those that are none.

    Of the grid, those are excluded whose network costs another share of the base than `target`, within
    `tolerance`, and those whose network stands there by another proposal. Controls stay whatever they cost;
    so do Tan & Le's bases, which are then a control. Where nothing can be counted, nothing is excluded by
    cost.

    Args:
        placed: from `place`.
        price: the cost of a network; asked once for each distinct one.
        base_cost: of the unscaled network, in the same metric.
        target: growth of cost that is wanted.
        tolerance: share of it that growth may be off.
        metric: what the cost is, for the words.
    """
    kept = distinct(placed, target)
    prices = {network: price(one.spec) for network, one in kept.items()}
    return tuple(
        _candidate(
            one, kept[one.spec.identity], prices[one.spec.identity], base_cost, target, tolerance, metric
        )
        for one in placed
    )


def bases_name(bases: Bases | Candidate) -> str:
    """Bases as a name: depth, width and resolution, to five digits.

    >>> bases_name(Bases()), bases_name(Bases(1, 2**0.5, 1))
    ('1.2-1.1-1.15', '1-1.4142-1')
    """
    return "-".join(format(value, ".5g") for value in (bases.depth, bases.width, bases.resolution))


def _check(step: float, target: float, tolerance: float) -> None:
    if not 1 < target <= _MAX_TARGET:
        raise UsageError(
            f"--target-growth {target:g} must be above 1 and at most {_MAX_TARGET:g} (2 doubles the cost)"
        )
    if not 0 < step < target:
        raise UsageError(f"--grid-step {step:g} must be above 0 and below the target growth {target:g}")
    if not 0 < tolerance < 1:
        raise UsageError(f"--tolerance {tolerance:.4g} must be above 0 and below 1, such as 10%")
    cells = math.prod((limit - 1) / step + 1 for limit in (target, math.sqrt(target), math.sqrt(target)))
    if cells > _MAX_GRID * 1000:
        raise UsageError(f"--grid-step {step:g} is too fine: 0.05 is the usual one, 0.01 is very fine")


def _grid(step: float, target: float, tolerance: float, dimensions: Sequence[str]) -> Iterator[Bases]:
    """In decimals, since 1 + 3 · 0.05 is no 1.15 in floats."""
    by, limit = Decimal(str(step)), Decimal(str(target))
    low, high = limit * (1 - Decimal(str(tolerance))), limit * (1 + Decimal(str(tolerance)))
    depths = _values(by, limit, square=False) if "depth" in dimensions else [Decimal(1)]
    widths = _values(by, limit, square=True) if "width" in dimensions else [Decimal(1)]
    resolutions = _values(by, limit, square=True) if "resolution" in dimensions else [Decimal(1)]
    for depth in depths:
        for width in widths:
            for resolution in resolutions:
                growth = depth * width**2 * resolution**2
                if low <= growth <= high and growth > 1:
                    yield Bases(float(depth), float(width), float(resolution))


def _values(step: Decimal, limit: Decimal, *, square: bool) -> list[Decimal]:
    """1, 1 + step, … as long as the value, or its square, is within the limit."""
    values, value = [], Decimal(1)
    while (value**2 if square else value) <= limit:
        values.append(value)
        value += step
    return values


def _alone(name: str, target: float) -> Bases:
    """The bases that grow one dimension by the whole target."""
    bases = {"depth": 1.0, "width": 1.0, "resolution": 1.0}
    return Bases(**bases | {name: target if name == "depth" else math.sqrt(target)})


def _precedence(one: Placed, target: float) -> tuple[bool, bool, float, int]:
    miss = abs(one.proposal.bases.growth / target - 1)
    return (one.proposal.kind != "control", not one.proposal.is_published, round(miss, 9), one.number)


def _candidate(
    one: Placed,
    keeper: Placed,
    price: Price,
    base_cost: float | None,
    target: float,
    tolerance: float,
    metric: CostMetric,
) -> Candidate:
    growth = price.cost / base_cost if price.cost is not None and base_cost else None
    is_off = growth is not None and abs(growth / target - 1) > tolerance + _SLACK
    kind, excluded = one.proposal.kind, None
    if kind == "grid" and keeper is not one:
        excluded = f"same network as {bases_name(keeper.proposal.bases).replace('-', '/')}"
    if kind == "grid" and is_off and one.proposal.is_published:
        kind = "control"
    elif kind == "grid" and is_off:
        noun = "MACs" if metric == "macs" else "latency"
        excluded = (
            f"{growth:.3g}× the base's {noun} after rounding, {target:g}× ± {tolerance:.0%} was asked for"
        )
    return Candidate(
        number=one.number,
        kind=kind,
        depth=one.proposal.bases.depth,
        width=one.proposal.bases.width,
        resolution=one.proposal.bases.resolution,
        spec=one.spec,
        macs=price.macs,
        cost=price.cost,
        cost_growth=growth,
        excluded=price.reason or excluded,
    )

"""From a description of a sweep to the distinct models it means, in a stable order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, get_args

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import BASE_STRATEGY, PUBLISHED_STRATEGY, MatchMetric, ModelSpec, Phi, Shape
from scaleprof.scaling.published import find_row
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName, Scale
from scaleprof.scaling.rules import (
    COMPOUND,
    DIMENSIONS,
    Bases,
    dimensions,
    factors,
    is_named,
    is_strategy,
    unknown_strategy,
)

MATCHES: tuple[MatchMetric, ...] = get_args(MatchMetric)

_MAX_PHI_VALUES = 1000


class Family(Protocol):
    """What a sweep needs to know of a model: its name, what it can grow in, and its integers at any scale."""

    @property
    def name(self) -> str:
        """The model's name, the first part of a spec's."""

    @property
    def base_input_size(self) -> int | None:
        """Side of the base model's input, in the model's unit."""

    @property
    def input_unit(self) -> Literal["px", "tokens"]:
        """Unit of the input size."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Which of depth, width and resolution it can grow in."""

    @property
    def digest(self) -> str | None:
        """Tells one text of a person's own code from another; None for what comes with a package."""

    def integers(self, scale: Scale, input_size: int | None = None) -> tuple[Shape | None, int | None]:
        """The model's integers and input size at a scale (at `input_size`, if given)."""


class PhiValues(msgspec.Struct, frozen=True):
    """Values of φ as a person asked for them: numbers, and names of published rows."""

    numbers: tuple[Phi, ...] = ()
    names: tuple[str, ...] = ()


class Sweep(msgspec.Struct, frozen=True):
    """Which models: families × strategies × φ, with the compound bases, the rounding and the matching.

    `named`: the bases of strategies `@NAME`, by that name.
    """

    models: tuple[str, ...]
    strategies: tuple[str, ...]
    phi: PhiValues
    bases: Bases = Bases()
    rounding: RoundingName = "tf"
    match: MatchMetric | None = None
    named: Mapping[str, Bases] = {}

    def __post_init__(self) -> None:
        for strategy in self.strategies:
            if strategy not in self.named and not is_strategy(strategy):
                raise unknown_strategy(strategy)
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"unknown rounding '{self.rounding}' (known: {', '.join(ROUNDINGS)})")
        if self.match is not None and self.match not in MATCHES:
            raise UsageError(f"unknown match '{self.match}' (known: none, {', '.join(MATCHES)})")
        compound = [strategy for strategy in self.strategies if strategy == COMPOUND or is_named(strategy)]
        if self.match and not all(self.bases_of(strategy).only_grow for strategy in compound):
            raise UsageError(
                f"--match {self.match} needs compound bases of at least 1: where one shrinks what another "
                f"grows, a budget may be met at several growths or at none"
            )
        if not (self.models and self.strategies):
            raise UsageError("a sweep needs at least one --model and one --strategy")
        if self.phi.names and self.strategies != (PUBLISHED_STRATEGY,):
            if PUBLISHED_STRATEGY not in self.strategies:
                raise UsageError(
                    f"--phi {self.phi.names[0]} is not a number: write 0..7, 0..2:0.5 or 0,1,2.5 "
                    f"(names of published rows such as L2 need --strategy published)"
                )
            if not self.phi.numbers:
                others = ",".join(s for s in self.strategies if s != PUBLISHED_STRATEGY)
                raise UsageError(
                    f"--phi {self.phi.names[0]} means nothing to --strategy {others}: add numbers"
                )

    def bases_of(self, strategy: str) -> Bases:
        """The bases that a compound strategy raises to φ."""
        return self.named.get(strategy, self.bases)


def parse_phi(text: str) -> PhiValues:
    """Values of φ from `0..7`, `0..2:0.5`, `0,1,2.5`, `-1..2`, `L2`, or a list of these.

    >>> parse_phi("0..3").numbers, parse_phi("0..1:0.5").numbers, parse_phi("2,L2")
    ((0, 1, 2, 3), (0, 0.5, 1), PhiValues(numbers=(2,), names=('L2',)))

    Raises:
        UsageError: a backwards or empty range, a step that is not above zero, or no value at all.
    """
    numbers: list[Phi] = []
    names: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            raise UsageError(f"--phi '{text}' has an empty value: write it as 0..7, 0..2:0.5 or 0,1,2.5")
        if ".." in part:
            numbers.extend(_parse_range(part))
        elif (number := _number(part)) is not None:
            numbers.append(number)
        else:
            names.append(part)
    return PhiValues(tuple(dict.fromkeys(numbers)), tuple(dict.fromkeys(names)))


def phi_values(phi: str | Phi | Sequence[Phi | str]) -> PhiValues:
    """Values of φ from a text, a number, or a sequence of numbers and names."""
    if isinstance(phi, str):
        return parse_phi(phi)
    values = [phi] if isinstance(phi, (int, float)) else list(phi)
    if not values:
        raise UsageError("phi is empty: give at least one value")
    for value in values:
        if not isinstance(value, str) and not math.isfinite(value):
            raise UsageError(f"phi {value} is not a finite number")
    return PhiValues(
        tuple(dict.fromkeys(_whole_if_integral(v) for v in values if not isinstance(v, str))),
        tuple(dict.fromkeys(v for v in values if isinstance(v, str))),
    )


# How a request (family, strategy, φ) becomes a spec: by the formula, or by a solver.
Place = Callable[[Family, str, Phi], ModelSpec]


def expand(
    sweep: Sweep,
    families: Mapping[str, Family],
    place: Place | None = None,
    settle: Callable[[Sequence[ModelSpec]], Sequence[ModelSpec]] = lambda specs: specs,
) -> list[ModelSpec]:
    """The distinct specs of a sweep: each family's base first, then strategy by strategy, φ ascending.

    φ = 0 of every formula is the base itself, one spec named `MODEL/base/0`. Specs whose integers
    coincide otherwise become one, which lists the others in `also`. A model that cannot grow in what a
    strategy moves (`left_out`) still has its base.

    Args:
        sweep: what is asked for.
        families: the models, by the names that the sweep gives them.
        place: what turns (family, strategy, φ) into a spec; the strategy's formula if left out.
        settle: has a last word on the specs before those that coincide become one.

    Raises:
        UsageError: a φ that the family cannot have, or a published row that does not exist.
    """

    def by_formula(family: Family, strategy: str, phi: Phi) -> ModelSpec:
        return make_spec(family, strategy, phi, scale_at(sweep, strategy, phi))

    specs = [
        spec
        for model in dict.fromkeys(sweep.models)
        for spec in _specs(sweep, families[model], place or by_formula)
    ]
    return merge(settle(specs))


def merge(specs: Iterable[ModelSpec]) -> list[ModelSpec]:
    """The distinct networks among specs, in order; the first of equals lists the others in `also`."""
    merged: dict[tuple[object, ...], ModelSpec] = {}
    for spec in specs:
        twin = merged.setdefault(spec.identity, spec)
        names = dict.fromkeys((*twin.also, spec.spec_id, *spec.also))
        names.pop(twin.spec_id, None)
        merged[spec.identity] = msgspec.structs.replace(twin, also=tuple(names))
    return list(merged.values())


def left_out(sweep: Sweep, family: Family) -> tuple[str, ...]:
    """Strategies of a sweep that this model cannot follow, since they move what it cannot grow in."""
    able = set(family.dimensions)
    needed = {
        strategy: DIMENSIONS
        if strategy == PUBLISHED_STRATEGY
        else dimensions(strategy, sweep.bases_of(strategy))
        for strategy in sweep.strategies
    }
    return tuple(strategy for strategy, names in needed.items() if not able >= set(names))


def base_spec(family: Family, rounding: RoundingName = "tf") -> ModelSpec:
    """The model at φ = 0 that all strategies share."""
    return make_spec(family, BASE_STRATEGY, 0, Scale(rounding=rounding))


def scale_at(sweep: Sweep, strategy: str, growth_log2: float) -> Scale:
    """The scale at which a strategy's formula asks for `2^growth_log2` times the base's MACs (its φ)."""
    wanted = factors(strategy, growth_log2, sweep.bases_of(strategy))
    return Scale(wanted.depth, wanted.width, wanted.resolution, sweep.rounding)


def requests(sweep: Sweep, family: Family) -> list[tuple[str, Phi]]:
    """The (strategy, φ) pairs that a sweep asks of a model besides its base and published rows."""
    skipped = {PUBLISHED_STRATEGY, *left_out(sweep, family)}
    formulas = [strategy for strategy in dict.fromkeys(sweep.strategies) if strategy not in skipped]
    return [(strategy, phi) for strategy in formulas for phi in sorted(sweep.phi.numbers) if phi != 0]


def _specs(sweep: Sweep, family: Family, place: Place) -> list[ModelSpec]:
    phis = sorted(sweep.phi.numbers)
    has_formula = set(sweep.strategies) != {PUBLISHED_STRATEGY}
    # A model that cannot follow every strategy stands on the chart all the same.
    skipped = left_out(sweep, family)
    with_base = (0 in phis and has_formula) or skipped
    specs = [base_spec(family, sweep.rounding)] if with_base else []
    specs += [place(family, strategy, phi) for strategy, phi in requests(sweep, family)]
    if PUBLISHED_STRATEGY in sweep.strategies and PUBLISHED_STRATEGY not in skipped:
        specs += [_published_spec(family, wanted) for wanted in (*phis, *sweep.phi.names)]
    return specs


def _published_spec(family: Family, wanted: Phi | str) -> ModelSpec:
    """A released model: rounded as its authors did, whatever the sweep's rounding."""
    row = find_row(family.name, wanted)
    coefficients = row.factors(family.base_input_size or 1)
    scale = Scale(coefficients.depth, coefficients.width, coefficients.resolution)
    spec = make_spec(
        family, PUBLISHED_STRATEGY, row.number, scale, input_size=row.input_px, published=row.name
    )
    if row.shape is None or spec.shape is None:
        return spec
    return msgspec.structs.replace(spec, shape=spec.shape | row.shape)


def make_spec(
    family: Family,
    strategy: str,
    phi: Phi | None,
    scale: Scale,
    *,
    input_size: int | None = None,
    published: str | None = None,
) -> ModelSpec:
    """The spec of a model at a scale.

    Raises:
        UsageError: a scale that the architecture cannot have.
    """
    try:
        shape, size = family.integers(scale, input_size)
    except UsageError as error:
        at = published or f"phi {phi:g}"
        raise UsageError(f"{family.name}/{strategy} cannot have {at}: {error}") from None
    return ModelSpec(
        model=family.name,
        strategy=strategy,
        phi=phi,
        depth=scale.depth,
        width=scale.width,
        resolution=scale.resolution,
        input_size=size,
        input_unit=family.input_unit,
        shape=shape,
        published=published,
        rounding=scale.rounding,
        digest=family.digest,
    )


def _parse_range(text: str) -> list[Phi]:
    if "..." in text:
        raise UsageError(f"--phi {text} has three dots: write a range as 0..7 or 0..2:0.5")
    bounds, _, step_text = text.partition(":")
    first, last = (_number(part) for part in bounds.split("..", 1))
    step = _number(step_text) if step_text else 1
    if first is None or last is None or step is None:
        raise UsageError(f"--phi {text} is not a range: write it as 0..7 or 0..2:0.5")
    if first > last:
        raise UsageError(f"--phi {text} is empty: the first value must not exceed the last")
    if step <= 0:
        raise UsageError(f"--phi {text} never arrives: the step must be above zero")
    steps = (float(last) - float(first)) / step
    if not steps < _MAX_PHI_VALUES:
        raise UsageError(f"--phi {text} has too many values: at most {_MAX_PHI_VALUES} are allowed")
    count = math.floor(steps + 1e-9) + 1
    return [_whole_if_integral(round(first + i * step, 9)) for i in range(count)]


def _number(text: str) -> Phi | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return _whole_if_integral(value) if math.isfinite(value) else None


def _whole_if_integral(value: Phi) -> Phi:
    return int(value) if value == int(value) else float(value)

"""From a description of a sweep to the distinct models it means, in a stable order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import BASE_STRATEGY, PUBLISHED_STRATEGY, ModelSpec, Phi, Shape
from scaleprof.scaling.published import find_row, numbered
from scaleprof.scaling.rules import STRATEGIES, Bases, Factors, factors, unknown_strategy

_MAX_PHI_VALUES = 1000


class Family(Protocol):
    """What a sweep needs to know of a family: its name, its base input, and its integers at any factors."""

    @property
    def name(self) -> str:
        """The family's name, as `--model` takes it."""

    @property
    def base_input_size(self) -> int:
        """Side of the base model's input, in the family's unit."""

    @property
    def input_unit(self) -> Literal["px", "tokens"]:
        """Unit of the input size."""

    def integers(self, wanted: Factors, input_size: int | None = None) -> tuple[Shape, int]:
        """The family's integers and input size at the wanted factors (at `input_size`, if given)."""


class PhiValues(msgspec.Struct, frozen=True):
    """Values of φ as a person asked for them: numbers, and names of published rows."""

    numbers: tuple[Phi, ...] = ()
    names: tuple[str, ...] = ()


class Sweep(msgspec.Struct, frozen=True):
    """Which models: families × strategies × φ, with the compound bases."""

    models: tuple[str, ...]
    strategies: tuple[str, ...]
    phi: PhiValues
    bases: Bases = Bases()

    def __post_init__(self) -> None:
        for strategy in self.strategies:
            if strategy not in STRATEGIES:
                raise unknown_strategy(strategy)
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


def expand(sweep: Sweep, families: Mapping[str, Family]) -> list[ModelSpec]:
    """The distinct specs of a sweep: each family's base first, then strategy by strategy, φ ascending.

    φ = 0 of every formula is the base itself, one spec named `MODEL/base/0`. Specs whose integers
    coincide otherwise become one, which lists the others in `also`.

    Raises:
        UsageError: a φ that the family cannot have, or a published row that does not exist.
    """
    specs: dict[tuple[object, ...], ModelSpec] = {}
    for model in dict.fromkeys(sweep.models):
        for spec in _family_specs(sweep, families[model]):
            twin = specs.get(spec.identity)
            if twin is None:
                specs[spec.identity] = spec
            elif spec.spec_id != twin.spec_id:
                merged = tuple(dict.fromkeys((*twin.also, spec.spec_id)))
                specs[spec.identity] = msgspec.structs.replace(twin, also=merged)
    return list(specs.values())


def base_spec(family: Family) -> ModelSpec:
    """The model at φ = 0 that all strategies share."""
    return _spec(family, BASE_STRATEGY, 0, Factors())


def _family_specs(sweep: Sweep, family: Family) -> list[ModelSpec]:
    formulas = [s for s in dict.fromkeys(sweep.strategies) if s != PUBLISHED_STRATEGY]
    phis = sorted(sweep.phi.numbers)
    specs = [base_spec(family)] if formulas and 0 in phis else []
    specs += [
        _spec(family, strategy, phi, factors(strategy, phi, sweep.bases))
        for strategy in formulas
        for phi in phis
        if phi != 0
    ]
    if PUBLISHED_STRATEGY in sweep.strategies:
        specs += [_published_spec(family, wanted) for wanted in (*phis, *sweep.phi.names)]
    return specs


def _published_spec(family: Family, wanted: Phi | str) -> ModelSpec:
    row = find_row(family.name, wanted)
    return _spec(
        family,
        PUBLISHED_STRATEGY,
        numbered(row),
        row.factors(family.base_input_size),
        input_size=row.input_px,
        published=row.name,
    )


def _spec(
    family: Family,
    strategy: str,
    phi: Phi | None,
    wanted: Factors,
    *,
    input_size: int | None = None,
    published: str | None = None,
) -> ModelSpec:
    try:
        shape, size = family.integers(wanted, input_size)
    except UsageError as error:
        at = published or f"phi {phi:g}"
        raise UsageError(f"{family.name}/{strategy} cannot have {at}: {error}") from None
    return ModelSpec(
        model=family.name,
        strategy=strategy,
        phi=phi,
        depth=wanted.depth,
        width=wanted.width,
        resolution=wanted.resolution,
        input_size=size,
        input_unit=family.input_unit,
        shape=shape,
        published=published,
    )


def _parse_range(text: str) -> list[Phi]:
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

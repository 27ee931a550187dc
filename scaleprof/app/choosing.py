"""Which models a sweep is about: the models themselves, and the strategies, φ and rules asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import msgspec

from scaleprof.errors import UsageError
from scaleprof.models import find_models
from scaleprof.models.family import Model
from scaleprof.records import PUBLISHED_STRATEGY, MatchMetric, Phi
from scaleprof.scaling.rounding import RoundingName
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, NAMED_MARK, Bases, is_named
from scaleprof.scaling.sweep import Sweep, left_out, phi_values
from scaleprof.store import read_bases

DEFAULT_MODEL = "efficientnet_b0"
DEFAULT_PHI = "0..3"


class LeftOutWarning(UserWarning):
    """A strategy that a model cannot follow."""


class Choice(msgspec.Struct, frozen=True):
    """A sweep, and its models by name."""

    sweep: Sweep
    models: dict[str, Model]


def choose(
    model: str | Sequence[str] = DEFAULT_MODEL,
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    phi: str | Phi | Sequence[Phi | str] = DEFAULT_PHI,
    *,
    bases: Bases | None = None,
    rounding: RoundingName = "tf",
    match: MatchMetric | Literal["none"] | None = None,
) -> Choice:
    """What these words mean; a person's own code is loaded.

    Args:
        model: a family, `FILE.py:FACTORY`, `MODULE:FACTORY`, `torchvision:NAME`, `timm:NAME`; or several.
        strategies: names of strategies, or one text with commas; `@FILE.json` is compound with the bases of
            that file, under the name `@NAME`.
        phi: values of φ, or a text such as `0..3`.
        bases: the compound bases, Tan & Le's unless given.
        rounding: `tf` or `pycls`.
        match: the metric to bring to base × 2^φ, or none to take the formulas as they stand.

    Raises:
        UsageError: a model, strategy, φ or file of bases that does not exist, or two of one name.
    """
    references = (model,) if isinstance(model, str) else _names(model)
    names = tuple(strategies.split(",")) if isinstance(strategies, str) else tuple(strategies)
    names, named = _with_bases([name.strip() for name in names])
    values = phi_values(phi)
    if not references:
        raise UsageError("a sweep needs at least one --model")
    metric = None if match == "none" else match
    sweep = Sweep(references, names, values, bases or Bases(), rounding, metric, named)
    models = find_models(references)
    sweep = msgspec.structs.replace(sweep, models=tuple(models))
    if metric and PUBLISHED_STRATEGY in names:
        warnings.warn(
            f"published rows are what their authors released: --match {metric} does not move them",
            LeftOutWarning,
            stacklevel=2,
        )
    for one in models.values():
        _tell_left_out(sweep, one)
    return Choice(sweep, models)


def _names(model: Sequence[str]) -> tuple[str, ...]:
    if callable(model) or not all(isinstance(name, str) for name in model):
        raise UsageError(
            "a model is given by name, so that measuring workers can load it too: FILE.py:FACTORY or "
            "MODULE:FACTORY for your own function"
        )
    return tuple(model)


def _with_bases(strategies: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Bases]]:
    """Strategies with files of bases replaced by their names, and the bases by name."""
    names: list[str] = []
    named: dict[str, Bases] = {}
    for strategy in strategies:
        if not is_named(strategy):
            names.append(strategy)
            continue
        path = strategy.removeprefix(NAMED_MARK)
        if not path:
            raise UsageError(f"--strategy {NAMED_MARK} names no file: write {NAMED_MARK}FILE.json")
        name, bases = read_bases(path)
        if named.setdefault(name, bases) != bases:
            raise UsageError(f'two files of bases are called {name}: give one of them another "name"')
        names.append(name)
    return tuple(dict.fromkeys(names)) if named else tuple(names), named


def _tell_left_out(sweep: Sweep, model: Model) -> None:
    strategies = left_out(sweep, model)
    if strategies and any(sweep.phi.numbers):
        warnings.warn(
            f"{model.name} grows in {' and '.join(model.dimensions)} only: "
            f"{', '.join(strategies)} left out for it",
            LeftOutWarning,
            stacklevel=3,
        )

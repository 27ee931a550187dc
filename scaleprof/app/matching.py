"""Solving each strategy's growth for an achieved cost: what makes strategies comparable."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.errors import CountingError, ModelError
from scaleprof.models.family import Model
from scaleprof.records import MatchMetric, ModelSpec, Phi
from scaleprof.scaling.budget import Curve, Nearest, is_off, nearest
from scaleprof.scaling.sweep import base_spec, make_spec, scale_at
from scaleprof.units import format_count

# A person's network has no integers to tell its steps by: growths this close, in doublings, are one.
_STEPS_PER_DOUBLING = 512
_NOUNS: dict[MatchMetric, str] = {"macs": "MACs", "params": "parameters", "activations": "activations"}


@dataclass(frozen=True)
class Matcher:
    """Places a request (family, strategy, φ) at the growth whose cost is nearest to base × 2^φ."""

    choice: Choice
    metric: MatchMetric
    costs: CostBook
    _curves: dict[tuple[str, str], Curve] = field(default_factory=dict, init=False)

    def place(self, model: Model, strategy: str, phi: Phi) -> ModelSpec:
        """The matched spec; if no growth brings the metric near its budget, it says why."""
        try:
            spec, why_not = self._solve(model, strategy, phi)
        except (CountingError, ModelError) as error:  # it cannot be counted on the way
            spec, why_not = self._spec(model, strategy, phi, phi), str(error)
        return msgspec.structs.replace(spec, match=self.metric, unmatched=why_not)

    def _solve(self, model: Model, strategy: str, phi: Phi) -> tuple[ModelSpec, str | None]:
        base = self._value(model, base_spec(model, self.choice.sweep.rounding))
        target = base * 2.0**phi
        curve = self._curves.setdefault((model.name, strategy), self._curve(model, strategy))
        found = nearest(curve, target, phi)
        spec = self._spec(model, strategy, phi, found.growth_log2)
        return spec, self._why_not(strategy, found, target)

    def _curve(self, model: Model, strategy: str) -> Curve:
        def spec_at(growth_log2: float) -> ModelSpec:
            spec = self._spec(model, strategy, growth_log2, growth_log2)
            if spec.shape is not None:
                return spec
            step = round(growth_log2 * _STEPS_PER_DOUBLING) / _STEPS_PER_DOUBLING
            return self._spec(model, strategy, growth_log2, step)

        return Curve(
            network=lambda x: spec_at(x).identity,
            cost=lambda x: self._value(model, spec_at(x)),
            is_monotone=model.is_monotone,
        )

    def _spec(self, model: Model, strategy: str, phi: Phi, growth_log2: float) -> ModelSpec:
        return make_spec(model, strategy, phi, scale_at(self.choice.sweep, strategy, growth_log2))

    def _value(self, model: Model, spec: ModelSpec) -> int:
        value: int = getattr(self.costs.cost(model, spec), self.metric)
        return value

    def _why_not(self, strategy: str, found: Nearest, target: float) -> str | None:
        noun = _NOUNS[self.metric]
        if not found.moves:
            return f"{strategy} does not change {noun}: no factor brings them to {format_count(target)}"
        if found.at_limit and is_off(target, found.cost):
            extreme = "most" if found.cost < target else "least"
            return (
                f"the {extreme} {noun} that {strategy} can have are {format_count(found.cost)}, "
                f"{format_count(target)} were asked for"
            )
        return None

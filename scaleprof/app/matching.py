"""Solving each strategy's growth for an achieved cost: what makes strategies comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.errors import CountingError, ModelError, UsageError
from scaleprof.models.family import Model
from scaleprof.records import MatchMetric, ModelSpec, Phi
from scaleprof.scaling.budget import TOLERANCE, Curve, Nearest, is_off, nearest
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

    def place(self, model: Model, strategy: str, phi: Phi) -> ModelSpec:
        """The matched spec; if no growth brings the metric near its budget, it says why."""
        try:
            spec, why_not = self._solve(model, strategy, phi)
        except (CountingError, ModelError, UsageError) as error:  # it cannot be built or counted on the way
            spec, why_not = self._spec(model, strategy, phi, 0.0), f"not solved: {error}"
        return msgspec.structs.replace(spec, match=self.metric, unmatched=why_not)

    def settle_twins(self, specs: Sequence[ModelSpec]) -> list[ModelSpec]:
        """Of requests that came to one network the nearest keeps it; those far from it are unmatched."""
        kept: dict[tuple[object, ...], ModelSpec] = {}
        for spec in sorted(specs, key=self._miss):
            kept.setdefault(spec.identity, spec)
        return [self._told(spec, kept[spec.identity]) for spec in specs]

    def _told(self, spec: ModelSpec, keeper: ModelSpec) -> ModelSpec:
        if spec is keeper or self._miss(spec) <= TOLERANCE:
            return spec
        reason = (
            f"the nearest network is {keeper.spec_id} ({self._growth(spec):.3g}×), "
            f"{spec.requested_growth:.3g}× was asked for"
        )
        return msgspec.structs.replace(spec, unmatched=reason)

    def _miss(self, spec: ModelSpec) -> float:
        """How far a spec is from its budget; the base and published rows are where they are to be."""
        if spec.match is None or spec.unmatched:
            return 0.0
        return abs(self._growth(spec) / spec.requested_growth - 1)

    def _growth(self, spec: ModelSpec) -> float:
        model = self.choice.models[spec.model]
        return self._value(model, spec) / self._value(model, base_spec(model, spec.rounding))

    def _solve(self, model: Model, strategy: str, phi: Phi) -> tuple[ModelSpec, str | None]:
        base = self._value(model, base_spec(model, self.choice.sweep.rounding))
        if not base:
            return self._spec(model, strategy, phi, 0.0), f"the base has no {_NOUNS[self.metric]}"
        target = base * 2.0**phi

        def spec_at(growth_log2: float) -> ModelSpec:
            return self._spec(model, strategy, phi, growth_log2)

        # A curve for each request, so that no answer depends on what else was asked.
        curve = Curve(
            network=lambda x: spec_at(x).identity,
            cost=lambda x: self._value(model, spec_at(x)),
            is_monotone=model.is_monotone,
        )
        found = nearest(curve, target, phi)
        return spec_at(found.growth_log2), self._why_not(strategy, found, target)

    def _spec(self, model: Model, strategy: str, phi: Phi, growth_log2: float) -> ModelSpec:
        spec = make_spec(model, strategy, phi, scale_at(self.choice.sweep, strategy, growth_log2))
        if spec.shape is not None:
            return spec
        step = round(growth_log2 * _STEPS_PER_DOUBLING) / _STEPS_PER_DOUBLING
        return make_spec(model, strategy, phi, scale_at(self.choice.sweep, strategy, step))

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

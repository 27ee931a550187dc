"""Costs of networks, each counted once."""

from __future__ import annotations

import msgspec

from scaleprof.counting import count_spec
from scaleprof.models.family import Model
from scaleprof.records import Cost, ModelSpec


class CostBook:
    """What networks cost, remembered by what makes them the same network."""

    def __init__(self) -> None:
        self._costs: dict[tuple[object, ...], Cost] = {}

    def cost(self, model: Model, spec: ModelSpec) -> Cost:
        """The cost of a spec's network.

        Raises:
            CountingError: it cannot be counted.
            UsageError: a person's builder raised, or returned no module.
        """
        network = msgspec.structs.replace(spec, unmatched=None).identity
        if network not in self._costs:
            self._costs[network] = count_spec(model, spec)
        return self._costs[network]

"""Costs of networks, each counted once."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import msgspec

from scaleprof.counting import count_spec
from scaleprof.models.family import Model
from scaleprof.records import Cost, Mode, ModelSpec


class CostBook:
    """What networks cost in a `mode`, remembered by what makes them the same network."""

    def __init__(self, mode: Mode = "infer") -> None:
        self.mode = mode
        self._costs: dict[tuple[object, ...], Cost] = {}

    def cost(self, model: Model, spec: ModelSpec) -> Cost:
        """The cost of a spec's network.

        Raises:
            CountingError: it cannot be counted.
            UsageError: a person's builder raised, or returned no module.
        """
        network = msgspec.structs.replace(spec, unmatched=None).identity
        if network not in self._costs:
            with redirect_stdout(sys.stderr):  # stdout carries data; what a network prints is talk
                self._costs[network] = count_spec(model, spec, self.mode)
        return self._costs[network]

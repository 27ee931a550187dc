"""Strategies as `solve` follows them: which network each φ is, and what has been measured of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.app.matching import Matcher
from scaleprof.errors import CountingError, ModelError, UsageError
from scaleprof.models.family import Model
from scaleprof.records import MEASURED_STATUSES, ModelSpec, Phi, Status
from scaleprof.reporting.budgets import Budget
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.scaling.solving import Ended, Point, Try, answer, decide
from scaleprof.scaling.sweep import base_spec, left_out, make_spec, scale_at

# What a model that is too large for the machine ends with: a smaller one may do.
_TOO_LARGE: frozenset[Status] = frozenset({"oom", "timeout", "killed", "skipped"})

Rows = Mapping[tuple[object, ...], MeasuredRow]


class _Seen(msgspec.Struct, frozen=True):
    """What a measurement told: the prices of a network, None if it is too large, and the base's beside it."""

    prices: tuple[float, ...] | None
    base: tuple[float, ...] | None


@dataclass
class Track:
    """One strategy of one model on its way to the budgets.

    Attributes:
        choice: what was asked for: bases, rounding, matching.
        model: the model.
        strategy: a strategy with a formula.
        costs: of networks that were counted.
        tried: how many φ were proposed and measured.
        outcome: what to try next, or why nothing.
        failure: why a proposed model could not be measured, whatever its size; the track ends there.
    """

    choice: Choice
    model: Model
    strategy: str
    costs: CostBook
    tried: int = 0
    outcome: Try | Ended | None = None
    failure: str | None = None
    _specs: dict[Phi, ModelSpec] = field(default_factory=dict)
    _proposed: set[Phi] = field(default_factory=set)
    _known: dict[float, ModelSpec | None] = field(default_factory=dict)
    _seen: dict[Phi, _Seen] = field(default_factory=dict)
    _base: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self._specs[0] = base_spec(self.model, self.choice.sweep.rounding)

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The networks on the track, in the order in which they came; the base is φ = 0."""
        return tuple(self._specs.values())

    def spec(self, phi: Phi) -> ModelSpec | None:
        """The network at a φ; None where the architecture ends, or no network matches."""
        if phi == 0:
            return self._specs[0]
        if phi not in self._known:
            self._known[phi] = self._place(phi)
        return self._known[phi]

    def add(self, phi: Phi, spec: ModelSpec) -> None:
        """A network that the starting curve has at φ."""
        self._specs.setdefault(phi, spec)

    def propose(self) -> ModelSpec | None:
        """The network to measure next; None if the track has ended."""
        if not isinstance(self.outcome, Try):
            return None
        spec = self.spec(self.outcome.phi)
        if spec is None:
            raise ValueError(f"there is no {self.model.name}/{self.strategy}/{self.outcome.phi}")
        self.tried += 1
        self._proposed.add(self.outcome.phi)
        return self._specs.setdefault(self.outcome.phi, spec)

    def see(self, rows: Rows, budgets: Sequence[Budget]) -> None:
        """Take in what was measured together, one part of the work, and settle on what to try next."""
        base = self._row(0, rows)
        self._base = (None if base is None else prices_of(base, budgets)) or self._base
        for phi in self._specs:
            row = self._row(phi, rows)
            if row is None:
                continue
            prices = prices_of(row, budgets)
            if prices is not None or row.status in _TOO_LARGE:
                self._seen[phi] = _Seen(prices, self._base)
            elif phi in self._proposed:
                self.failure = _why_failed(row, budgets)
        points = self.points()
        self.outcome = decide(points, self.network) if points and not self.failure else None

    def answer(self) -> Phi | None:
        """The φ of the best so far; None if nothing has the budgeted quantities."""
        found = answer(self.points())
        return None if found is None else found.phi

    def row(self, phi: Phi | None, rows: Rows) -> MeasuredRow | None:
        """The row at an answer; without one, that of the model that was tried last."""
        if phi is not None:
            return self._row(phi, rows)
        known = [row for at in self._specs if (row := self._row(at, rows)) is not None]
        return known[-1] if known else None

    def at(self, phi: Phi) -> ModelSpec:
        """The network at a φ of the track."""
        return self._specs[phi]

    def points(self) -> list[Point]:
        """What is known along the track: the prices of measured networks, and those that are too large.

        The machine may have been slower when a price was taken than it is now. The base is measured in every
        part of the work: what became of its price becomes of all.
        """
        return [
            Point(phi, self._as_now(self._seen[phi]), phi in self._proposed)
            for phi in self._specs
            if phi in self._seen
        ]

    def _as_now(self, seen: _Seen) -> tuple[float, ...] | None:
        if seen.prices is None or seen.base is None or self._base is None:
            return seen.prices
        return tuple(
            price * now / then if then > 0 and now > 0 else price
            for price, then, now in zip(seen.prices, seen.base, self._base, strict=True)
        )

    def network(self, phi: float) -> Hashable | None:
        """What tells the network at φ from others.

        A network without integers that are known is told by its counts: its builder may well make the same
        one of different factors.
        """
        spec = self.spec(int(phi) if phi == int(phi) else phi)
        if spec is None or spec.shape is not None:
            return spec and spec.identity
        try:
            cost = self.costs.cost(self.model, spec)
        except (CountingError, ModelError, UsageError):
            return None
        return (spec.input_size, cost.macs, cost.params, cost.activations)

    def _place(self, phi: Phi) -> ModelSpec | None:
        sweep = self.choice.sweep
        try:
            if sweep.match is None:
                return make_spec(self.model, self.strategy, phi, scale_at(sweep, self.strategy, phi))
            spec = Matcher(self.choice, sweep.match, self.costs).place(self.model, self.strategy, phi)
        except UsageError:
            return None
        return None if spec.unmatched else spec

    def _row(self, phi: Phi, rows: Rows) -> MeasuredRow | None:
        return rows.get(self._specs[phi].identity)


def make_tracks(choice: Choice, costs: CostBook) -> list[Track]:
    """A track for each strategy that each model can follow.

    Raises:
        UsageError: no model can follow any.
    """
    tracks = [
        Track(choice, model, strategy, costs)
        for model in choice.models.values()
        for strategy in dict.fromkeys(choice.sweep.strategies)
        if strategy not in left_out(choice.sweep, model)
    ]
    if not tracks:
        names = ", ".join(choice.models)
        raise UsageError(f"{names} cannot follow --strategy {','.join(choice.sweep.strategies)}: try others")
    return tracks


def prices_of(row: MeasuredRow, budgets: Sequence[Budget]) -> tuple[float, ...] | None:
    """Each budgeted quantity over its bound; None if one is not known, or the model was not measured."""
    if row.status not in MEASURED_STATUSES or any(budget.quantity.value(row) is None for budget in budgets):
        return None
    return tuple(budget.price(row) for budget in budgets)


def _why_failed(row: MeasuredRow, budgets: Sequence[Budget]) -> str:
    """Why a model that was tried tells nothing."""
    if row.status not in MEASURED_STATUSES:
        return f"{row.spec_id} {row.status}: {row.reason}"
    name = next(budget.metric for budget in budgets if budget.quantity.value(row) is None)
    return f"{row.spec_id} has no {name}: {row.nulls.get(name, 'it is not known of this network')}"

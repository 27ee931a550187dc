"""Counting the models of a sweep without running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Literal

import msgspec

from scaleprof.app.choosing import DEFAULT_MODEL, DEFAULT_PHI, Choice, choose
from scaleprof.app.costs import CostBook
from scaleprof.app.matching import Matcher
from scaleprof.errors import CountingError, ModelError, UsageError
from scaleprof.models.family import Model, why_no_decoding
from scaleprof.models.fixed import FixedModel
from scaleprof.models.user import UserModel
from scaleprof.records import (
    BASE_STRATEGY,
    Cost,
    MatchMetric,
    Mode,
    ModelSpec,
    Phi,
    Quoted,
    Record,
    Status,
    Workload,
)
from scaleprof.reporting.accuracy import AccuracyTable, join
from scaleprof.reporting.rows import CostRow, cost_row
from scaleprof.scaling.rounding import RoundingName, Scale
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, DIMENSIONS, Bases, dimensions
from scaleprof.scaling.sweep import Family, base_spec, expand, make_spec, requests, scale_at
from scaleprof.units import format_count

# A network that heeds a factor is another one when that doubles, or when it halves. Halves come second: one
# layer has no half.
_TWICE, _HALF = 2.0, 0.5

# Told of (models done, models in all) while specs are solved and counted.
OnDone = Callable[[int, int], None]


class Counted(msgspec.Struct, frozen=True):
    """A spec with its cost and its growths against the base; or why it has none, or is not to be run."""

    spec: ModelSpec
    cost: Cost | None
    achieved_growth: float | None
    matched_growth: float | None = None
    quoted: Quoted | None = None
    status: Status = "ok"
    reason: str | None = None


def count_families(
    model: str | Sequence[str] = DEFAULT_MODEL,
    *,
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    phi: str | Phi | Sequence[Phi | str] = DEFAULT_PHI,
    bases: Bases | None = None,
    rounding: RoundingName = "tf",
    match: MatchMetric | Literal["none"] | None = None,
    mode: Mode = "infer",
) -> list[CostRow]:
    """A row per distinct model: MACs, parameters, activations, bytes; nothing is run.

    The arguments are those of `scaleprof.app.choosing.choose`, and the mode: a training step counts its
    backward pass too.
    """
    choice = choose(model, strategies, phi, bases=bases, rounding=rounding, match=match)
    workload = Workload("cpu", mode=mode)
    return [cost_row(make_record(counted, workload)) for counted in count_choice(choice, mode=mode)]


def count_choice(
    choice: Choice,
    on_done: OnDone = lambda _done, _total: None,
    *,
    mode: Mode = "infer",
    costs: CostBook | None = None,
) -> list[Counted]:
    """The distinct models of a choice, each with its cost; matched, if that was asked for.

    Args:
        choice: what is counted.
        on_done: called with (models done, models in all).
        mode: of the passes that are counted.
        costs: where counts are kept, in its own mode; a new book if left out.

    Raises:
        UsageError: a scale that a model cannot have, or a model that `check_models` refuses.
    """
    costs = costs or CostBook(mode)
    check_models(choice, costs)
    specs = _list_specs(choice, costs, on_done)
    counted = []
    for one in count_specs(choice, specs, costs):
        counted.append(one)
        on_done(len(counted), len(specs))
    return counted


def with_accuracies(
    counted: Sequence[Counted], table: AccuracyTable | None, known: Sequence[Record] = ()
) -> tuple[list[Counted], tuple[str, ...]]:
    """The models with the accuracies that a table gives them, and the table's doubts.

    Those that the `known` records of a resumed run hold are kept; what the table names there, and the sweep
    does not ask for, is no doubt.
    """
    held = {record.spec.identity: record.quoted for record in known if record.quoted}
    models = [msgspec.structs.replace(one, quoted=held.get(one.spec.identity, one.quoted)) for one in counted]
    if table is None:
        return models, ()
    others = [(record.spec, record.quoted) for record in known]
    joined = join(table, [*((one.spec, one.quoted) for one in models), *others])
    return [
        msgspec.structs.replace(one, quoted=given or one.quoted)
        for one, given in zip(models, joined.quoted, strict=False)
    ], joined.doubts


def count_specs(choice: Choice, specs: Sequence[ModelSpec], costs: CostBook) -> Iterator[Counted]:
    """Each spec with its cost, one by one."""
    for spec in specs:
        model = choice.models[spec.model]
        refused = why_no_decoding(model) if costs.mode == "decode" else None
        if refused is not None:
            yield Counted(spec, None, None, status="unsupported", reason=refused)
            continue
        try:
            base = costs.cost(model, base_spec(model, spec.rounding))
            cost = costs.cost(model, spec)
        except (CountingError, ModelError) as error:
            stretched = model.dimensions != DIMENSIONS and spec.strategy != BASE_STRATEGY
            status: Status = "unsupported" if stretched else "failed"
            yield Counted(spec, None, None, status=status, reason=str(error))
            continue
        yield Counted(
            spec=spec,
            cost=cost,
            achieved_growth=cost.macs / base.macs if base.macs else None,
            matched_growth=_matched_growth(spec, cost, base),
            quoted=model.quoted(spec),
            status="unmatched" if spec.unmatched else "ok",
            reason=spec.unmatched,
        )


def check_models(choice: Choice, costs: CostBook) -> None:
    """Check that each model of a choice is another network where the sweep moves a factor of it.

    Families heed all factors. In decode mode no model but a family runs, and nothing is checked.

    Raises:
        UsageError: a user's builder that fails, or a model that ignores such a factor.
    """
    if costs.mode == "decode":
        return
    for model in choice.models.values():
        if isinstance(model, UserModel):
            check_builder(model, choice, costs)
        elif isinstance(model, FixedModel):
            _check_fixed(model, choice, costs)


def check_builder(model: UserModel, choice: Choice, costs: CostBook) -> None:
    """Check that a user's builder works, and heeds each factor that the sweep moves.

    Raises:
        UsageError: it raised, returned no module, or made the same network at twice a factor.
    """
    try:
        base = costs.cost(model, base_spec(model, choice.sweep.rounding))
    except CountingError as error:
        px = model.base_input_size
        fed = (
            "" if model.make_inputs else f" (it was given one image, [1, 3, {px}, {px}]; see example_inputs)"
        )
        raise UsageError(f"{model.reference}: {error}{fed}") from error
    name = _ignored(model, choice, costs, base)
    if name is not None:
        others = ",".join(other for other in _moved(choice, model) if other != name) or "another"
        raise UsageError(
            f"{model.reference} ignores {name}: {format_count(base.macs)} MACs at twice the {name} too "
            f"(use scale.{name}, or leave it out: --strategy {others})"
        )


def _check_fixed(model: FixedModel, choice: Choice, costs: CostBook) -> None:
    """Check that a network as it is works on larger images, and does not resize them to its own size."""
    spec = base_spec(model, choice.sweep.rounding)
    try:
        base = costs.cost(model, spec)
    except (CountingError, ModelError):
        return  # its rows say so
    name = _ignored(model, choice, costs, base)
    if name is not None:
        raise UsageError(
            f"{model.name} ignores {name}: {format_count(base.macs)} MACs at twice its {spec.input_size} px "
            f"too (ask for it at --phi 0 alone, or use another network)"
        )


def _ignored(model: Model, choice: Choice, costs: CostBook, base: Cost) -> str | None:
    """The first dimension that the sweep moves and the model ignores."""
    for name, grows in _moved(choice, model).items():
        factors = (_TWICE,) if grows else (_TWICE, _HALF)
        scales = (Scale(**{name: factor}, rounding=choice.sweep.rounding) for factor in factors)
        if not any(_heeds(model, name, scale, costs, base) for scale in scales):
            return name
    return None


def _heeds(model: Model, name: str, scale: Scale, costs: CostBook, base: Cost) -> bool:
    """Whether a model costs something else at a scale than at its base, or cannot be had there."""
    try:
        cost = costs.cost(model, make_spec(model, name, 1, scale))
    except (UsageError, CountingError, ModelError):
        return True  # twice as large may be too large; the sweep's own models are checked when counted
    if base.macs == 0:
        return cost.macs > 0 or cost.written_bytes != base.written_bytes
    return (cost.macs, cost.activations) != (base.macs, base.activations)


def _moved(choice: Choice, model: Model) -> dict[str, bool]:
    """The dimensions in which the sweep moves this model, each with whether it ever grows in it."""
    sweep = choice.sweep
    grows: dict[str, bool] = {}
    for strategy, phi in requests(sweep, model):
        scale = scale_at(sweep, strategy, phi)
        for name in dimensions(strategy, sweep.bases_of(strategy)):
            grows[name] = grows.get(name, False) or getattr(scale, name) > 1
    return {name: grows[name] for name in DIMENSIONS if name in grows}


def _list_specs(choice: Choice, costs: CostBook, on_done: OnDone) -> list[ModelSpec]:
    metric = choice.sweep.match
    if metric is None:
        return expand(choice.sweep, choice.models)
    matcher = Matcher(choice, metric, costs)
    total = sum(len(requests(choice.sweep, model)) for model in choice.models.values())
    done = count(1)

    def place(family: Family, strategy: str, phi: Phi) -> ModelSpec:
        spec = matcher.place(choice.models[family.name], strategy, phi)
        on_done(next(done), total)
        return spec

    return expand(choice.sweep, choice.models, place, matcher.settle_twins)


def _matched_growth(spec: ModelSpec, cost: Cost, base: Cost) -> float | None:
    if spec.match is None or not getattr(base, spec.match):
        return None
    return float(getattr(cost, spec.match) / getattr(base, spec.match))


def make_record(counted: Counted, workload: Workload) -> Record:
    """The record of a model before, or without, measuring it."""
    return Record(
        spec=counted.spec,
        workload=workload,
        cost=counted.cost,
        achieved_growth=counted.achieved_growth,
        matched_growth=counted.matched_growth,
        quoted=counted.quoted,
        status=counted.status,
        reason=counted.reason,
        finished_at=now_utc(),
    )


def now_utc() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")

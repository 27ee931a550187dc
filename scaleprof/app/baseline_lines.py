"""What of a kept run is checked: its models as they are asked for, built and counted by today's code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.app.counting import Counted, count_specs
from scaleprof.errors import NothingToShowError, UsageError
from scaleprof.models import find_model, find_models
from scaleprof.models.family import Model
from scaleprof.records import (
    BASE_STRATEGY,
    PUBLISHED_STRATEGY,
    UNTRIED_STATUSES,
    Arm,
    CheckedTarget,
    CheckTarget,
    Cost,
    ExactCost,
    ModelSpec,
    Record,
    RunLog,
    Workload,
)
from scaleprof.reporting.checks_baseline import target_name
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.rules import Bases, exponents, factors
from scaleprof.scaling.sweep import Sweep, base_spec, expand, make_spec, phi_values


class Line(msgspec.Struct, frozen=True):
    """A record of the baseline, the spec that its words mean now, and what it costs; or why there is none."""

    record: Record
    reference: str
    counted: Counted | None = None
    gone: str | None = None


def line_up(
    baseline: RunLog, path: Path, wanted: Sequence[str]
) -> tuple[list[Line], Choice, list[CheckedTarget]]:
    """What of the baseline is checked, with its costs now; and models asked for that it does not hold.

    Args:
        baseline: the run.
        path: where it is, for messages.
        wanted: models as `-m` names them; all of the run if there are none.

    Raises:
        NothingToShowError: it holds none of them.
        UsageError: a model that cannot be.
    """
    asked = find_models(tuple(wanted)) if wanted else {}
    tried = [record for record in baseline.records if record.status not in UNTRIED_STATUSES]
    records = [record for record in tried if not asked or record.spec.model in asked]
    if not records:
        held = ", ".join(dict.fromkeys(record.spec.model for record in baseline.records))
        raise NothingToShowError(
            f"{path} holds no {' or '.join(asked) or 'model that was tried'}: it has {held}"
        )
    models, gone = _find(records, asked)
    choice = Choice(Sweep(tuple(models) or ("none",), ("compound",), phi_values(0)), models)
    lines = [_line(record, models, gone, choice) for record in records]
    held_models = {record.spec.model for record in records}
    new = [_new(name, model, records[0].workload) for name, model in asked.items() if name not in held_models]
    return lines, choice, new


def _find(records: Sequence[Record], asked: dict[str, Model]) -> tuple[dict[str, Model], dict[str, str]]:
    """The models that records are of, and why others cannot be found."""
    models, gone = dict(asked), dict[str, str]()
    for name in dict.fromkeys(record.spec.model for record in records):
        if name in models:
            continue
        try:
            models[name] = find_model(name)
        except UsageError as error:
            gone[name] = f"{error}; a file of your own is named with -m"
    return models, gone


def _line(record: Record, models: dict[str, Model], gone: dict[str, str], choice: Choice) -> Line:
    name = record.spec.model
    if name not in models:
        return Line(record, name, gone=gone[name])
    reference = getattr(models[name], "reference", name)
    try:
        spec = _spec_now(record.spec, models[name])
        (counted,) = count_specs(choice, [spec], CostBook(record.workload.mode))
    except UsageError as error:
        return Line(record, reference, gone=str(error))
    return Line(record, reference, counted)


def _spec_now(spec: ModelSpec, model: Model) -> ModelSpec:
    """What the same words mean by today's code: the factors that were asked for, and today's integers."""
    if spec.strategy == BASE_STRATEGY:
        return base_spec(model, spec.rounding)
    if spec.strategy == PUBLISHED_STRATEGY:
        wanted = spec.published if spec.phi is None else spec.phi
        rows = Sweep((model.name,), (PUBLISHED_STRATEGY,), phi_values([wanted or 0]), rounding=spec.rounding)
        return expand(rows, {model.name: model})[0]
    scale = Scale(spec.depth, spec.width, spec.resolution, spec.rounding)
    return msgspec.structs.replace(make_spec(model, spec.strategy, spec.phi, scale), match=spec.match)


def target_of(line: Line, baseline: RunLog) -> CheckedTarget:
    """The target that a line is in a check, with its exact costs then and now."""
    record, counted = line.record, line.counted
    target = CheckTarget(
        name=target_name(record, baseline),
        workload=record.workload,
        model=line.reference,
        strategy=record.spec.strategy,
        phi=float(record.spec.phi or 0),
        rounding=record.spec.rounding,
    )
    before = None if record.cost is None else exact_of(record.cost)
    if counted is None:
        return CheckedTarget(target, before, invalid=line.gone, invalid_arm="after", absent=True)
    if counted.cost is None:
        return CheckedTarget(target, before, invalid=counted.reason, invalid_arm="after")
    missing: dict[Arm, str] = {} if before else {"before": record.reason or "the run has no counts"}
    return CheckedTarget(target, before, exact_of(counted.cost), missing)


def _new(name: str, model: Model, workload: Workload) -> CheckedTarget:
    target = CheckTarget(f"{name}/{BASE_STRATEGY}/0", workload, model=getattr(model, "reference", name))
    return CheckedTarget(
        target,
        missing={"after": "nothing was counted, for want of something to compare with"},
        invalid="the baseline does not hold it",
        invalid_arm="before",
        absent=True,
    )


def exact_of(cost: Cost) -> ExactCost:
    """What a cost says exactly."""
    return ExactCost(
        macs=cost.macs,
        params=cost.params,
        activations=cost.activations,
        operators={one.operator: one.calls for one in cost.operators},
        uncounted=tuple(one.operator for one in cost.uncounted),
    )


def is_by_formula(spec: ModelSpec) -> bool:
    """Whether a revision makes this network from the strategy, φ and the usual bases alone."""
    if spec.match is not None or spec.phi is None:
        return False
    if spec.strategy in (BASE_STRATEGY, PUBLISHED_STRATEGY):
        return True
    if exponents(spec.strategy) is not None:
        return True
    usual = factors(spec.strategy, spec.phi, Bases())
    return (usual.depth, usual.width, usual.resolution) == (spec.depth, spec.width, spec.resolution)

"""Counting the models of a sweep without running them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from scaleprof.counting import count_spec
from scaleprof.errors import CountingError
from scaleprof.models import FAMILIES, find_family
from scaleprof.records import Cost, ModelSpec, Phi, Record, Workload
from scaleprof.reporting.rows import CostRow, cost_row
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, Bases
from scaleprof.scaling.sweep import Sweep, base_spec, expand, phi_values

DEFAULT_MODEL = "efficientnet_b0"
DEFAULT_PHI = "0..3"


class Counted(msgspec.Struct, frozen=True):
    """A spec with its cost, and its MAC growth against the base; or why it could not be counted."""

    spec: ModelSpec
    cost: Cost | None
    achieved_growth: float | None
    failure: str | None = None


def describe_sweep(
    model: str | Sequence[str],
    strategies: str | Sequence[str],
    phi: str | Phi | Sequence[Phi | str],
    bases: Bases | None = None,
) -> list[ModelSpec]:
    """The distinct specs that these words mean.

    Raises:
        UsageError: a model, strategy or φ that does not exist.
    """
    models = (model,) if isinstance(model, str) else tuple(model)
    for name in models:
        find_family(name)
    names = tuple(strategies.split(",")) if isinstance(strategies, str) else tuple(strategies)
    return expand(Sweep(models, names, phi_values(phi), bases or Bases()), FAMILIES)


def count_families(
    model: str | Sequence[str] = DEFAULT_MODEL,
    *,
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    phi: str | Phi | Sequence[Phi | str] = DEFAULT_PHI,
    bases: Bases | None = None,
    on_counted: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[CostRow]:
    """A row per distinct model: MACs, parameters, activations, bytes; nothing is run.

    Args:
        model: one family or several.
        strategies: names of strategies, or one text with commas.
        phi: values of φ, or a text such as `0..3`.
        bases: the compound bases, Tan & Le's unless given.
        on_counted: called with (models counted, models in all).
    """
    specs = describe_sweep(model, strategies, phi, bases)
    rows = []
    for number, counted in enumerate(count_specs(specs), start=1):
        rows.append(cost_row(make_record(counted, Workload("cpu"))))
        on_counted(number, len(specs))
    return rows


def count_specs(specs: Sequence[ModelSpec]) -> Iterator[Counted]:
    """Each spec with its cost, one by one, so that progress can be shown."""
    base_macs: dict[str, int] = {}
    for spec in specs:
        try:
            if spec.model not in base_macs:
                base_macs[spec.model] = count_spec(base_spec(find_family(spec.model))).macs
            cost = count_spec(spec)
        except CountingError as error:
            yield Counted(spec, None, None, str(error))
            continue
        yield Counted(spec, cost, cost.macs / base_macs[spec.model])


def make_record(counted: Counted, workload: Workload) -> Record:
    """The record of a model before, or without, measuring it."""
    return Record(
        spec=counted.spec,
        workload=workload,
        cost=counted.cost,
        achieved_growth=counted.achieved_growth,
        status="failed" if counted.failure else "ok",
        reason=counted.failure,
        finished_at=now_utc(),
    )


def now_utc() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")

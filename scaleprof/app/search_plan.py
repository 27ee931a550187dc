"""What `search` decides before anything is tried: the candidates, what each costs, and the time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

import scaleprof
from scaleprof.app.choosing import Choice
from scaleprof.app.costs import CostBook
from scaleprof.app.counting import Counted, OnDone, check_builder, now_utc
from scaleprof.app.ledger import Watcher
from scaleprof.app.planning import plan_sweep
from scaleprof.app.sweeping import run_sweep
from scaleprof.errors import CountingError, MeasuringError, ModelError, UsageError
from scaleprof.measuring import estimate, host
from scaleprof.measuring.presets import make_plan
from scaleprof.models.family import Model, ModelFamily
from scaleprof.models.user import UserModel
from scaleprof.records import (
    BASE_STRATEGY,
    Candidate,
    CostMetric,
    DatasetFacts,
    ModelSpec,
    Phi,
    Recipe,
    SearchHeader,
    SearchLog,
)
from scaleprof.scaling.candidates import (
    DEFAULT_GRID_STEP,
    DEFAULT_TARGET_GROWTH,
    DEFAULT_TOLERANCE,
    PUBLISHED_BASES,
    Placed,
    Price,
    bases_name,
    distinct,
    judge,
    place,
    propose,
)
from scaleprof.scaling.rounding import RoundingName, Scale
from scaleprof.scaling.rules import Bases
from scaleprof.scaling.sweep import PhiValues, Sweep, make_spec
from scaleprof.search.forecast import image_s
from scaleprof.stats.ranking import rank_search
from scaleprof.units import MS_PER_S

# A forward and a backward pass together, in forward passes.
_PASSES_OF_A_STEP = 3.0


class SearchPlan(msgspec.Struct, frozen=True):
    """Everything that is decided before the first trial.

    Attributes:
        model: what is grown.
        header: as the search's file begins with it, but for the host, which is None.
        trial_s: roughly the seconds that a trial of each candidate takes alone; empty where a function
            scores, of which nobody knows.
    """

    model: Model
    header: SearchHeader
    trial_s: Mapping[int, float]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Those that are tried: the grid's that cost what is asked, and the controls."""
        return tuple(one for one in self.header.candidates if one.excluded is None)

    def expected_s(self, slots: int = 1) -> float | None:
        """Seconds that all trials at φ = 1 take, within a factor of about three; None where nobody knows."""
        if not self.trial_s:
            return None
        return sum(self.trial_s.values()) * len(self.header.seeds) / slots


def plan_search(
    model: Model,
    *,
    objective: str = "train",
    grid_step: float = DEFAULT_GRID_STEP,
    target_growth: float = DEFAULT_TARGET_GROWTH,
    tolerance: float = DEFAULT_TOLERANCE,
    cost: CostMetric = "macs",
    seeds: Sequence[int] = (0,),
    rounding: RoundingName = "tf",
    base_input_size: int | None = None,
    dataset: DatasetFacts | None = None,
    recipe: Recipe | None = None,
    transfer_phis: Sequence[Phi] = (),
    command: Sequence[str] = (),
    device: str = "auto",
    threads: int | None = None,
    on_done: OnDone = lambda _done, _total: None,
    watcher: Watcher | None = None,
) -> SearchPlan:
    """Lay out a search: nothing is tried, but with `cost="latency_ms"` candidates are measured.

    Args:
        model: what is grown, from `scaleprof.models.find_model`.
        objective: `train`, `FILE.py:FUNCTION`, or the file of scores.
        grid_step: between bases.
        target_growth: of cost at φ = 1, and how far from it candidates may be (`tolerance`).
        tolerance: a share of the target.
        cost: what is to grow to the target: counted MACs, or latency by a quick sweep on `device`.
        seeds: a trial each.
        rounding: `tf` or `pycls`.
        base_input_size: side of the input at resolution 1, in the model's unit; by default that of `dataset`,
            or the model's own.
        dataset: what is trained on.
        recipe: how.
        transfer_phis: φ beyond 1 that the chosen bases are tried at.
        command: for the header.
        device: where latency is measured; also what the forecast of time is for.
        threads: CPU threads of a trial, for that forecast.
        on_done: told of (networks counted, networks in all).
        watcher: told of the measuring.

    Raises:
        UsageError: a grid that cannot be, or a model that cannot grow in more than one dimension.
        CountingError: the base cannot be counted.
        MeasuringError: no candidate can be measured, or none costs what is asked.
    """
    if base_input_size is None and dataset is not None:
        base_input_size = dataset.base_input_size
    if len(model.dimensions) <= 1:
        raise UsageError(
            f"{model.name} grows in {' and '.join(model.dimensions)} alone: there is nothing to search "
            f"(families and your own builders grow in more)"
        )
    proposals = propose(grid_step, target_growth, tolerance, model.dimensions)
    costs = CostBook()
    if isinstance(model, UserModel):
        _check_builder(model, rounding, costs)
    base = spec_at(model, None, 0, rounding, base_input_size)
    placed = place(proposals, lambda bases: spec_at(model, bases, 1, rounding, base.input_size))
    kept = list(distinct(placed, target_growth).values())
    prices = _count(model, [one.spec for one in kept], costs, on_done)
    base_cost = float(costs.cost(model, base).macs)
    if cost == "latency_ms":
        base_cost, prices = _measure(model, base, kept, prices, costs, device, watcher)
    candidates = judge(
        placed,
        lambda spec: prices[spec.identity],
        base_cost=base_cost,
        target=target_growth,
        tolerance=tolerance,
        metric=cost,
    )
    if not any(one.kind == "grid" and one.excluded is None for one in candidates):
        raise MeasuringError(_why_none(candidates, target_growth, rounding))
    header = SearchHeader(
        scaleprof=scaleprof.__version__,
        command=tuple(command),
        started_at=now_utc(),
        host=None,
        model=model.name,
        base=base,
        base_cost=base_cost,
        objective=objective,
        cost_metric=cost,
        target_growth=target_growth,
        tolerance=tolerance,
        grid_step=grid_step,
        seeds=tuple(seeds),
        candidates=candidates,
        recipe=recipe,
        dataset=dataset,
        transfer_phis=tuple(transfer_phis),
    )
    return SearchPlan(model, header, _trial_s(model, header, costs, device, threads))


def spec_at(
    model: Model, bases: Bases | None, phi: Phi, rounding: RoundingName, base_input_size: int | None
) -> ModelSpec:
    """The network that bases make of a model at a φ (None and 0: the model itself).

    Args:
        model: what is grown.
        bases: depth, width and resolution per φ.
        phi: how far.
        rounding: the policy.
        base_input_size: side of the input at resolution 1; None for the model's own.

    Raises:
        UsageError: the architecture cannot have it.
    """
    bases = bases or Bases()
    name = bases_name(bases) if phi else BASE_STRATEGY
    scale = Scale(bases.depth**phi, bases.width**phi, bases.resolution**phi, rounding)
    return make_spec(model, name, phi, scale, input_size=_input_size(model, scale, base_input_size))


def candidate_at(model: Model, header: SearchHeader, candidate: Candidate, phi: Phi) -> ModelSpec:
    """A candidate's network at any φ, with the search's own rounding and base input.

    Raises:
        UsageError: the architecture cannot have it.
    """
    if phi == 1:
        return candidate.spec
    bases = Bases(candidate.depth, candidate.width, candidate.resolution)
    return spec_at(model, bases, phi, header.base.rounding, header.base.input_size)


def macs_of(model: Model, spec: ModelSpec, costs: CostBook) -> int | None:
    """MACs of a network for `Trial.macs`; None where it cannot be counted."""
    try:
        return costs.cost(model, spec).macs
    except (CountingError, ModelError):
        return None


def transfer_candidates(log: SearchLog) -> tuple[Candidate, ...]:
    """Whom `--transfer` tries at larger φ: the chosen bases, Tan & Le's, and the controls; or nobody."""
    chosen = rank_search(log).chosen
    if chosen is None:
        return ()
    published = (PUBLISHED_BASES.depth, PUBLISHED_BASES.width, PUBLISHED_BASES.resolution)
    return tuple(
        one
        for one in log.header.candidates
        if one.number == chosen
        or (
            one.excluded is None
            and (one.kind == "control" or (one.depth, one.width, one.resolution) == published)
        )
    )


def _input_size(model: Model, scale: Scale, base_input_size: int | None) -> int | None:
    """The input's size at a scale if it is `base_input_size` at resolution 1, in the steps of the model."""
    if base_input_size is None:
        return None
    if not isinstance(model, ModelFamily) or model.size_at is None:
        return scale.pixels(base_input_size)
    # A family with steps knows its sizes from its own base on: the base asked for is a scale there.
    share = base_input_size / model.base_input_size
    step = math.sqrt(share) if model.input_unit == "tokens" else share
    resolution = round(scale.resolution * step, 12)
    return model.size_at(Scale(resolution=resolution, rounding=scale.rounding))


def _check_builder(model: UserModel, rounding: RoundingName, costs: CostBook) -> None:
    """A builder that ignores a dimension has candidates that do not differ in it."""
    strategies = tuple(model.dimensions)
    sweep = Sweep((model.name,), strategies, PhiValues((1,)), rounding=rounding)
    check_builder(model, Choice(sweep, {model.name: model}), costs)


def _count(
    model: Model, specs: Sequence[ModelSpec], costs: CostBook, on_done: OnDone
) -> dict[tuple[object, ...], Price]:
    prices = {}
    for done, spec in enumerate(specs, start=1):
        try:
            macs = costs.cost(model, spec).macs
            prices[spec.identity] = Price(macs, float(macs))
        except (CountingError, ModelError) as error:
            prices[spec.identity] = Price(None, None, str(error))
        on_done(done, len(specs))
    return prices


def _measure(
    model: Model,
    base: ModelSpec,
    kept: Sequence[Placed],
    counted: Mapping[tuple[object, ...], Price],
    costs: CostBook,
    device: str,
    watcher: Watcher | None,
) -> tuple[float, dict[tuple[object, ...], Price]]:
    """Latency in seconds of the base and of each candidate, in one quick sweep."""
    specs = [base, *(one.spec for one in kept if counted[one.spec.identity].reason is None)]
    choice = Choice(
        Sweep((model.name,), ("compound",), PhiValues((1,)), rounding=base.rounding), {model.name: model}
    )
    quick = msgspec.structs.replace(make_plan("quick"), sustained_s=0.0)
    networks = [Counted(spec, costs.cost(model, spec), None) for spec in specs]
    run = run_sweep(plan_sweep(choice, counted=networks, plan=quick, device=device), watcher=watcher)
    rows = {record.spec.identity: row for record, row in zip(run.log.records, run.rows, strict=True)}
    base_ms = rows[base.identity].latency_ms
    if base_ms is None:
        raise MeasuringError(f"the base could not be measured: {rows[base.identity].reason}")
    prices = dict(counted)
    for network, row in rows.items():
        if network not in counted:
            continue
        why = None if row.latency_ms is not None else f"could not be measured: {row.reason}"
        seconds = None if row.latency_ms is None else row.latency_ms / MS_PER_S
        prices[network] = Price(counted[network].macs, seconds, why)
    return base_ms / MS_PER_S, prices


def _why_none(candidates: Sequence[Candidate], target: float, rounding: RoundingName) -> str:
    growths = [one.cost_growth for one in candidates if one.cost_growth is not None]
    if not growths:
        return f"no candidate can be had: {candidates[0].excluded}"
    nearest = min(growths, key=lambda growth: abs(growth / target - 1))
    others = "" if rounding == "pycls" else ", --rounding pycls rounds less upwards"
    return (
        f"no candidate of the grid costs {target:g}× the base after rounding, the nearest {nearest:.3g}×: "
        f"raise --tolerance or --input-size{others}"
    )


def _trial_s(
    model: Model, header: SearchHeader, costs: CostBook, device: str, threads: int | None
) -> dict[int, float]:
    """Seconds a training, by a step of the base on the CPU; by a constant rate on a GPU."""
    if header.dataset is None or header.recipe is None:
        return {}
    resolved, count = host.resolve_device(device), threads or 1
    rate = estimate.macs_per_s(resolved, count)
    base_macs, batch = costs.cost(model, header.base).macs, header.recipe.batch_size
    base_s = None
    if resolved == "cpu":
        base_s = image_s(
            model,
            header.base,
            base_macs,
            header.recipe,
            classes=header.dataset.classes,
            threads=count,
            rate_macs_per_s=rate,
        )
    if base_s is None:
        base_s = estimate.pass_s(_PASSES_OF_A_STEP * base_macs * batch, rate, resolved) / batch
    images = header.dataset.train + header.dataset.validation / _PASSES_OF_A_STEP
    return {
        one.number: header.recipe.epochs * images * base_s * one.macs / base_macs
        for one in header.candidates
        if one.excluded is None and one.macs is not None and base_macs
    }

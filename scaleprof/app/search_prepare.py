"""A search laid out and checked before anything is tried: its plan, its source of scores, its devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from scaleprof.app.counting import OnDone
from scaleprof.app.search_plan import SearchPlan, plan_search, spec_at
from scaleprof.errors import HostMismatchError, UsageError
from scaleprof.measuring.host import describe_host, resolve_device
from scaleprof.models import find_model
from scaleprof.models.family import Model
from scaleprof.records import (
    CostMetric,
    DatasetFacts,
    ModelSpec,
    Recipe,
    SearchHeader,
    SearchLog,
    Trial,
)
from scaleprof.scaling.rounding import RoundingName
from scaleprof.search.data import open_images
from scaleprof.search.devices import training_precision, training_slots
from scaleprof.search.messages import Scoring, Slot, Training
from scaleprof.search.objective import load_objective
from scaleprof.search.recipes import Optimizer, make_recipe, why_untrainable
from scaleprof.search.sources import DEFAULT_ROOT, DIGITS, native_input_size

TRANSFER_PHIS = (2.0, 3.0)
TRAIN = "train"


class SearchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a search is to be; the keywords of `search`, which says what they mean."""

    grid_step: float = 0.05
    target_growth: float = 2.0
    tolerance: float = 0.1
    cost: CostMetric = "macs"
    data: str | None = None
    objective: str | None = None
    scores: Path | None = None
    epochs: int = 10
    seeds: int = 1
    input_size: int | None = None
    batch_size: int | None = None
    optimizer: Optimizer = "sgd"
    learning_rate: float | None = None
    transfer: bool = False
    rounding: RoundingName = "tf"
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    timeout_s: float | None = None

    @property
    def objective_name(self) -> str:
        """What the header calls the objective."""
        return self.objective or (TRAIN if self.scores is None else str(self.scores))


class PreparedSearch(msgspec.Struct, frozen=True):
    """A search that can be run.

    Attributes:
        planned: the candidates, and the header without its host.
        work: how a score is had; None where a table has them.
        scores: the trials of that table.
        slots: where trials run.
        timeout_s: the longest time of one trial.
        doubts: what is doubtful about the table, or about going on here, a line each.
    """

    planned: SearchPlan
    work: Training | Scoring | None
    slots: tuple[Slot, ...]
    scores: tuple[Trial, ...] = ()
    timeout_s: float | None = None
    doubts: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Of each trial; 0 where nothing is trained."""
        return self.work.recipe.epochs if isinstance(self.work, Training) else 0

    def expected_s(self, done: Sequence[Trial] = ()) -> float | None:
        """Roughly the seconds that what is left takes; None where nobody knows.

        Trials that are there tell better than any forecast.
        """
        header = self.planned.header
        held = {trial.key for trial in done if trial.status == "ok"}
        left = [
            (one, seed)
            for one in self.planned.candidates
            for seed in header.seeds
            if (one.number, 1.0, seed) not in held
        ]
        each = dict(self.planned.trial_s)
        if held:
            mean_s = sum(trial.seconds for trial in done if trial.status == "ok") / len(held)
            each = {one.number: mean_s for one in self.planned.candidates}
        if not each or self.work is None:
            return None
        first_s = sum(each.get(one.number, 0.0) for one, _ in left)
        # The controls, Tan & Le's bases, and what is chosen, which is likely to be another.
        carried = 1 + sum(one.kind == "control" for one in self.planned.candidates) + 1
        growth = math.fsum(header.target_growth ** (phi - 1) for phi in header.transfer_phis)
        beyond_s = carried * len(header.seeds) * growth * sum(each.values()) / len(each)
        return (first_s + beyond_s) / min(len(self.slots), max(1, len(left)))


def prepare_search(
    model: str,
    options: SearchOptions,
    *,
    command: Sequence[str] = (),
    held: SearchLog | None = None,
    on_done: OnDone = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _line: None,
) -> PreparedSearch:
    """Check what was asked for, open the data, and lay out the candidates.

    Args:
        model: a family, `FILE.py:FACTORY` or `MODULE:FACTORY`.
        options: what the search is to be.
        command: for the header.
        held: a search to go on with: its candidates are taken over, if what was asked is the same.
        on_done: told of (networks counted, networks in all).
        say: told in words of what takes time.

    Raises:
        UsageError: an option that cannot be, or one that differs from the search that is held.
        HostMismatchError: latency was measured on another machine.
    """
    found = find_model(model)
    slots = training_slots(options.device, jobs=options.jobs, threads=options.threads)
    base = spec_at(found, None, 0, options.rounding, _base_input_size(found, options))
    dataset, recipe = _training(options, base, slots)
    if options.objective is not None:
        load_objective(options.objective)  # a name that is wrong is told of before any time is spent
    phis = TRANSFER_PHIS if options.transfer else ()
    if held is None:
        if options.cost == "latency_ms":
            say("measuring the latency of every candidate in a quick sweep")
        planned = plan_search(
            found,
            objective=options.objective_name,
            grid_step=options.grid_step,
            target_growth=options.target_growth,
            tolerance=options.tolerance,
            cost=options.cost,
            seeds=tuple(range(options.seeds)),
            rounding=options.rounding,
            base_input_size=base.input_size,
            dataset=dataset,
            recipe=recipe,
            transfer_phis=phis,
            command=command,
            device=options.device,
            threads=options.threads,
            on_done=on_done,
        )
        doubts: tuple[str, ...] = ()
    else:
        asked = _asked(options, found.name, base, dataset, recipe, phis)
        _check_same(held.header, asked)
        doubts = _check_machine(held.header, options.device)
        planned = SearchPlan(found, held.header, {})
    trials, table_doubts = _scores(options, planned)
    return PreparedSearch(
        planned, _work(options, dataset, recipe), slots, trials, options.timeout_s, (*doubts, *table_doubts)
    )


def _base_input_size(model: Model, options: SearchOptions) -> int | None:
    """Side of the input at resolution 1: as given, as usual for the data, or None for the model's own."""
    if options.input_size is not None:
        return options.input_size
    trains = options.objective is None and options.scores is None
    return (native_input_size(options.data or DIGITS) if trains else None) or model.base_input_size


def _training(
    options: SearchOptions, base: ModelSpec, slots: Sequence[Slot]
) -> tuple[DatasetFacts | None, Recipe | None]:
    """The data and the recipe; None where nothing is trained."""
    if options.objective is not None or options.scores is not None:
        return None, None
    why = why_untrainable(base)
    if why is not None or base.input_size is None:
        raise UsageError(why or f"{base.model} has no input size: give --input-size")
    data = options.data or DIGITS
    dataset = open_images(data, root=DEFAULT_ROOT.expanduser(), base_input_size=base.input_size).facts
    recipe = make_recipe(
        dataset,
        epochs=options.epochs,
        precision=training_precision(slots[0].device),
        optimizer=options.optimizer,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )
    return dataset, recipe


def _work(
    options: SearchOptions, dataset: DatasetFacts | None, recipe: Recipe | None
) -> Training | Scoring | None:
    if options.scores is not None:
        return None
    if options.objective is not None:
        return Scoring(options.objective)
    if dataset is None or recipe is None:
        raise TypeError("a training has data and a recipe")
    return Training(recipe, dataset, options.data or DIGITS, str(DEFAULT_ROOT.expanduser()))


def _scores(options: SearchOptions, planned: SearchPlan) -> tuple[tuple[Trial, ...], tuple[str, ...]]:
    if options.scores is None:
        return (), ()
    from scaleprof.store import read_scores

    return read_scores(options.scores, planned.header)


# ---- going on with a search ----


def _asked(
    options: SearchOptions,
    model: str,
    base: ModelSpec,
    dataset: DatasetFacts | None,
    recipe: Recipe | None,
    phis: Sequence[float],
) -> dict[str, object]:
    """What the header of such a search says of what was asked for, by its fields' names."""
    return {
        "model": model,
        "base": base,
        "objective": options.objective_name,
        "cost_metric": options.cost,
        "target_growth": options.target_growth,
        "tolerance": options.tolerance,
        "grid_step": options.grid_step,
        "seeds": tuple(range(options.seeds)),
        "recipe": recipe,
        "dataset": dataset,
        "transfer_phis": tuple(phis),
    }


_FLAGS = {
    "model": "--model",
    "objective": "--objective, --data or --scores",
    "cost_metric": "--cost",
    "target_growth": "--target-growth",
    "tolerance": "--tolerance",
    "grid_step": "--grid-step",
    "seeds": "--seeds",
    "transfer_phis": "--transfer",
}


def _check_same(header: SearchHeader, asked: dict[str, object]) -> None:
    """Refuse to go on with a search that was asked for otherwise; the first difference is named.

    Raises:
        UsageError: they differ.
    """
    for name, now in asked.items():
        then = getattr(header, name)
        if then == now or (isinstance(now, float) and math.isclose(then, now)):
            continue
        if isinstance(then, msgspec.Struct) and isinstance(now, msgspec.Struct):
            field = next(f for f in then.__struct_fields__ if getattr(then, f) != getattr(now, f))
            name, then, now = f"{name} {field}", getattr(then, field), getattr(now, field)
        option = f" ({_FLAGS[name]})" if name in _FLAGS else ""
        raise UsageError(
            f"--resume: the search was begun with {name.replace('_', ' ')} {then}, this asks for "
            f"{now}{option}: give the options that it was begun with, or begin another with another -o"
        )


def _check_machine(header: SearchHeader, device: str) -> tuple[str, ...]:
    """Scores may come from several machines; candidates that were chosen by latency belong to one.

    Raises:
        HostMismatchError: cost is latency, and this is another machine.
    """
    if header.host is None:
        return ()
    now = describe_host(resolve_device(device), header.host.allocator).stable_part()
    differing = [name for name, value in header.host.stable_part().items() if now[name] != value]
    if not differing:
        return ()
    name = differing[0]
    words = f"{name} {header.host.stable_part()[name]}, this is {now[name]}"
    if header.cost_metric == "latency_ms":
        raise HostMismatchError(
            f"the search was begun with {words}: its candidates cost the same there, not here; "
            f"go on where it was begun, or begin another"
        )
    return (f"the search was begun with {words}: scores are taken together all the same",)

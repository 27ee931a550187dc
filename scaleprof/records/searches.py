"""A search for the compound bases: what was asked, the candidates, and a line for each trial.

Raw scores are kept, one a candidate, φ and seed; ranks and ties are always derived again from them.
"""

from __future__ import annotations

from typing import Literal

from scaleprof.records.runs import Host
from scaleprof.records.specs import ModelSpec
from scaleprof.records.values import Value, require_finite

SEARCH_SCHEMA_VERSION = 1
CandidateKind = Literal["grid", "control"]
TrialStatus = Literal["ok", "oom", "timeout", "killed", "failed"]
CostMetric = Literal["macs", "latency_ms"]


class Candidate(Value, frozen=True):
    """One set of bases, the network that they make of the model at φ = 1, and what that costs.

    Args:
        number: unique in a search.
        kind: of the grid, or a control that grows a single dimension.
        depth, width, resolution: the bases, at least 1.
        spec: the network at φ = 1; its `input_size` is that of the search's data.
        macs: of one forward pass at batch 1 at that size; None where it could not be counted.
        cost, cost_growth: in the search's cost metric (MACs, or seconds of latency), and against the base.
        excluded: why it is no candidate (cost too far from the target after rounding, same network as
            another); None where it is one.
    """

    number: int
    kind: CandidateKind
    depth: float
    width: float
    resolution: float
    spec: ModelSpec
    macs: int | None
    cost: float | None
    cost_growth: float | None
    excluded: str | None = None

    def __post_init__(self) -> None:
        require_finite("bases", (self.depth, self.width, self.resolution))
        if min(self.depth, self.width, self.resolution) <= 0:
            raise ValueError(f"bases must be above zero: {self.depth}, {self.width}, {self.resolution}")
        require_finite("cost", (self.cost or 0.0, self.cost_growth or 0.0))

    @property
    def nominal_growth(self) -> float:
        """MAC growth that the bases ask for: `D · W² · R²`."""
        return self.depth * self.width**2 * self.resolution**2


class Recipe(Value, frozen=True):
    """How a candidate is trained; all candidates by the same recipe."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    weight_decay: float
    momentum: float
    label_smoothing: float
    warmup_epochs: float
    precision: Literal["fp32", "bf16", "fp16"]
    augmentation: str


class DatasetFacts(Value, frozen=True):
    """The data: how many images are trained on, how many choose, and how many were held back from choices.

    `base_input_size`: side in pixels at resolution 1. `digest` tells one set of files from another.
    """

    name: str
    classes: int
    train: int
    validation: int
    held_out: int
    base_input_size: int
    digest: str


class Trial(Value, frozen=True, tag_field="kind", tag="trial"):
    """One candidate at one φ with one seed: its score, or why there is none.

    `score`: what is maximised: percent of the validation images for training, else the objective's own.
    `error`: half of the score's own 95 % interval, where the objective gives one. `held_out`: the same as
    `score` on the images that no choice is made on; only what has been chosen is tried on them. `curve`: the
    score after each epoch. `macs`: of the network tried, so that scores at φ > 1 can be told at equal cost.
    """

    candidate: int
    phi: float
    seed: int
    status: TrialStatus
    reason: str | None
    seconds: float
    finished_at: str
    score: float | None = None
    error: float | None = None
    held_out: float | None = None
    epochs: int = 0
    curve: tuple[float, ...] = ()
    device: str = "cpu"
    macs: int | None = None

    def __post_init__(self) -> None:
        require_finite("trial", (self.score or 0.0, self.error or 0.0, self.held_out or 0.0, *self.curve))
        if (self.status == "ok") != (self.reason is None) or (self.status == "ok") != (
            self.score is not None
        ):
            raise ValueError(f"a trial is ok with a score and no reason, or neither: {self.status}")

    @property
    def key(self) -> tuple[int, float, int]:
        """What a resumed search recognises it by: candidate, φ and seed."""
        return (self.candidate, float(self.phi), self.seed)


class SearchHeader(Value, frozen=True, tag_field="kind", tag="search"):
    """The first line of a search's file.

    `objective`: `train`, `FILE.py:FUNCTION`, or the scores' file. `base`: the unscaled network on the
    search's data.
    """

    scaleprof: str
    command: tuple[str, ...]
    started_at: str
    host: Host | None
    model: str
    base: ModelSpec
    base_cost: float | None
    objective: str
    cost_metric: CostMetric
    target_growth: float
    tolerance: float
    grid_step: float
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    recipe: Recipe | None = None
    dataset: DatasetFacts | None = None
    transfer_phis: tuple[float, ...] = ()
    schema: int = SEARCH_SCHEMA_VERSION


class SearchLog(Value, frozen=True):
    """What a search's file holds: its header, and the last trial of each candidate, φ and seed."""

    header: SearchHeader
    trials: tuple[Trial, ...]

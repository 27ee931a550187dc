"""What the scheduler of trials and a training worker say to each other, one JSON value a line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from scaleprof.records import ModelSpec
from scaleprof.records.searches import DatasetFacts, Recipe

UnscoredStatus = Literal["oom", "timeout", "killed", "failed"]


class Slot(msgspec.Struct, frozen=True):
    """A place for one trial at a time: a device, and the intra-operator threads of its process."""

    device: str
    threads: int = 1


class Training(msgspec.Struct, frozen=True, tag=True):
    """Train on a dataset; the score is the percentage of validation images that the last epoch gets right.

    Args:
        recipe: how, the same for all candidates.
        dataset: the data as it was when the search was planned; another digest is refused.
        data: where it is: `digits`, a dataset of torchvision's, or a folder.
        root: the folder that torchvision keeps its datasets in.
        held_out: whether the images that no choice is made on are tried too, after the last epoch.
    """

    recipe: Recipe
    dataset: DatasetFacts
    data: str
    root: str
    held_out: bool = False


class Scoring(msgspec.Struct, frozen=True, tag=True):
    """Call a person's own `FILE.py:FUNCTION` with the built network and its spec; higher is better."""

    reference: str


class TrialRequest(msgspec.Struct, frozen=True):
    """One candidate at one φ with one seed, and how its score is had.

    Args:
        candidate, phi, seed: which trial it is.
        spec: its network; `locator` is what `scaleprof.models.find_model` finds the model by.
        work: training, or a person's function.
        checkpoint: file that a training is kept in after each epoch, and goes on from if it is there. A
            finished one holds the weights: the same request with `held_out` then takes no training. None
            keeps nothing.
        macs: of the network, for the trial's record.
    """

    candidate: int
    phi: float
    seed: int
    spec: ModelSpec
    locator: str
    work: Training | Scoring
    checkpoint: str | None = None
    macs: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs that it takes; 0 where a function scores."""
        return self.work.recipe.epochs if isinstance(self.work, Training) else 0


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Set up the process: device and intra-operator threads."""

    device: str
    threads: int


class Run(msgspec.Struct, frozen=True, tag=True):
    """Carry out one trial."""

    request: TrialRequest


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker can take a trial."""


class EpochDone(msgspec.Struct, frozen=True, tag=True):
    """So many epochs are done and kept; the score after the last, and the seconds that all have taken.

    Said once before the first one, too, with what was kept by an earlier process.
    """

    epochs: int
    score: float | None
    seconds: float


class Scored(msgspec.Struct, frozen=True, tag=True):
    """The trial has a score. `seconds` counts what was done before an interruption, too."""

    score: float
    seconds: float
    error: float | None = None
    held_out: float | None = None
    curve: tuple[float, ...] = ()


class Unscored(msgspec.Struct, frozen=True, tag=True):
    """The trial has no score; `fatal` when the worker cannot be used any more."""

    status: UnscoredStatus
    reason: str
    fatal: bool = False


Command = Prepare | Run
Reply = Ready | EpochDone | Scored | Unscored


def written_aside(checkpoint: Path) -> Path:
    """Where a checkpoint is written before it is put in place; a kill may leave it behind."""
    return checkpoint.with_name(checkpoint.name + ".part")

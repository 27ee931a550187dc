"""Carries out a trial in this process: builds the candidate's network, and trains it or has it scored."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import torch
from torch import nn

from scaleprof.errors import ModelError
from scaleprof.models import find_model
from scaleprof.models.family import Model
from scaleprof.search.data import Images, ImageSet, open_images
from scaleprof.search.heads import fit_head
from scaleprof.search.messages import Scored, Scoring, Training, TrialRequest
from scaleprof.search.objective import Objective, load_objective
from scaleprof.search.recipes import why_untrainable
from scaleprof.search.training import Observer, seed_everything, train


class Desk:
    """What trials of one process share: models and functions are loaded once, the last images stay open."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._models: dict[str, Model] = {}
        self._objectives: dict[str, Objective] = {}
        self._image_sets: dict[str, ImageSet] = {}
        self._images: tuple[str, int, Images] | None = None

    def carry_out(self, request: TrialRequest, observe: Observer) -> Scored:
        """The trial's score.

        Raises:
            ScaleprofError: it has none, for a reason that the trial's owner can mend.
        """
        if isinstance(request.work, Training):
            return self._train(request, request.work, observe)
        return self._score(request, request.work)

    def _train(self, request: TrialRequest, work: Training, observe: Observer) -> Scored:
        spec = request.spec
        if (why := why_untrainable(spec)) or spec.input_size is None:
            raise ModelError(why or f"{spec.spec_id} has no input size")
        images = self._images_at(work, spec.input_size)
        network = self._build(request)
        example = torch.zeros(2, 3, spec.input_size, spec.input_size, device=self._device)
        fit_head(network, example, work.dataset.classes)
        outcome = train(
            network,
            images,
            work.recipe,
            seed=request.seed,
            device=self._device,
            held_out=work.held_out,
            checkpoint=Path(request.checkpoint) if request.checkpoint else None,
            key=training_key(request, work),
            observe=observe,
        )
        return Scored(outcome.score, outcome.seconds, held_out=outcome.held_out, curve=outcome.curve)

    def _score(self, request: TrialRequest, work: Scoring) -> Scored:
        began_s = time.perf_counter()
        if work.reference not in self._objectives:
            self._objectives[work.reference] = load_objective(work.reference)
        network = self._build(request)
        seed_everything(request.seed)
        score = self._objectives[work.reference].score(network, request.spec)
        return Scored(score.value, time.perf_counter() - began_s, error=score.error)

    def _build(self, request: TrialRequest) -> nn.Module:
        """The network with weights drawn by the trial's seed, on the device."""
        if request.locator not in self._models:
            self._models[request.locator] = find_model(request.locator)
        seed_everything(request.seed)
        return self._models[request.locator].build(request.spec).to(self._device)

    def _images_at(self, work: Training, px: int) -> Images:
        """The images at a size; those of the last trial, if it was the same."""
        digest = work.dataset.digest
        if digest not in self._image_sets:
            opened = open_images(
                work.data, root=Path(work.root), base_input_size=work.dataset.base_input_size
            )
            if opened.facts.digest != digest:
                raise ModelError(
                    f"--data {work.data} has changed since this search began: its scores would not compare "
                    f"(begin another one)"
                )
            self._image_sets[digest] = opened
        if self._images is None or self._images[:2] != (digest, px):
            self._images = None  # the old ones are free before the new ones are read
            self._images = (digest, px, self._image_sets[digest].at(px))
        return self._images[2]


def training_key(request: TrialRequest, work: Training) -> str:
    """What makes two trainings the same one, so that the one's checkpoint serves the other."""
    same = (repr(request.spec.identity), request.seed, work.recipe, work.dataset.digest)
    return msgspec.json.encode(same).decode()

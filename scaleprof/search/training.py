"""One training of one network on images: same recipe, data and seed, same score, interrupted or not.

Every epoch draws its own random numbers from the seed and its own number, and the learning rate depends on
the step alone. So a training that goes on from a checkpoint is the one that was not interrupted, on a CPU to
the bit, with as many threads. The score is the last epoch's: taking the best epoch's instead would choose by
the validation images a second time, and favour scores that jump.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from scaleprof.errors import ModelError
from scaleprof.records import DType
from scaleprof.records.searches import Recipe
from scaleprof.search.data import Images, Indices, in_batches
from scaleprof.search.messages import written_aside

_AUTOCAST: dict[DType, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
# A crop may move the image by an eighth of its side, as 4 pixels of CIFAR's 32 are (He et al. 2016).
_CROP_SHARE = 8
_EVALUATION_BATCH = 256
# Nothing is sharpened from seeds that are near each other: they are spread over all of 63 bits.
_SEED_BITS = 63


class Outcome(NamedTuple):
    """What a training has come to: percent of images, and the seconds that it took in all."""

    score: float
    held_out: float | None
    curve: tuple[float, ...]
    seconds: float


Observer = Callable[[int, float | None, float], None]


def seed_everything(*parts: int) -> None:
    """Seed every generator that a network may draw from, by one or several numbers."""
    seed = mixed_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def mixed_seed(*parts: int) -> int:
    """One seed of several numbers; those that differ in any number are unrelated.

    >>> mixed_seed(0, 1) == mixed_seed(1, 0)
    False
    """
    words = np.random.SeedSequence([part % 2**32 for part in parts]).generate_state(1, np.uint64)
    return int(words[0]) >> (64 - _SEED_BITS)


def train(
    network: nn.Module,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
    held_out: bool = False,
    checkpoint: Path | None = None,
    key: str = "",
    observe: Observer = lambda _epochs, _score, _seconds: None,
) -> Outcome:
    """Train a network, and give the share of the validation images that it gets right after the last epoch.

    Args:
        network: takes `[batch, 3, px, px]` and puts out `[batch, classes]`; on the device, weights as they
            shall be at the start.
        images: the set, at the network's input size.
        recipe: how it is trained.
        seed: of the order of images, their augmentation, and what the network itself draws.
        device: `cpu` or `cuda:N`.
        held_out: whether the images held out of every choice are tried as well.
        checkpoint: file that it is kept in after each epoch, written aside and put in place at once. If it is
            there and has the same `key`, the training goes on from it.
        key: what the checkpoint must be of: whatever makes it the same training.
        observe: told of the epochs done, the score after the last of them, and the seconds, at the start too.

    Raises:
        ModelError: the loss is no finite number any more.
    """
    course = _Course(network, images, recipe, seed, device)
    if checkpoint is not None:
        course.load(checkpoint, key)
    observe(len(course.curve), course.curve[-1] if course.curve else None, course.seconds)
    while len(course.curve) < recipe.epochs:
        course.epoch()
        if checkpoint is not None:
            course.save(checkpoint, key)
        observe(len(course.curve), course.curve[-1], course.seconds)
    final = course.percent_right(images.split.held_out) if held_out else None
    return Outcome(course.curve[-1], final, tuple(course.curve), course.seconds)


class _Course:
    """A training under way: the network, its optimizer, and the scores so far."""

    def __init__(self, network: nn.Module, images: Images, recipe: Recipe, seed: int, device: str) -> None:
        self._network = network.to(memory_format=torch.channels_last)
        self._images = images
        self._recipe = recipe
        self._seed = seed
        self._device = torch.device(device)
        self._optimizer = _optimizer(network, recipe)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=recipe.precision == "fp16")
        self._mean, self._std = (one.to(device).view(1, 3, 1, 1) for one in (images.mean, images.std))
        self._steps = max(1, len(images.split.train) // recipe.batch_size)
        self.curve: list[float] = []
        self.seconds = 0.0

    def epoch(self) -> None:
        """Train on every image once (but for the rest that fills no batch), then score."""
        began_s = time.perf_counter()
        number = len(self.curve)
        seed_everything(self._seed, number)
        draws = torch.Generator().manual_seed(mixed_seed(self._seed, number, 1))
        order = self._images.split.train[
            torch.randperm(len(self._images.split.train), generator=draws).numpy()
        ]
        self._network.train()
        batches = in_batches(order, self._recipe.batch_size)[: self._steps]
        loss_sum = torch.zeros((), device=self._device)
        for step, (pixels, labels) in enumerate(self._loaded(batches)):
            self._set_rate(number * self._steps + step)
            augmented = augment(pixels, self._recipe.augmentation, draws)
            loss_sum += self._step(self._normalised(augmented), labels)
        if not math.isfinite(float(loss_sum)):
            raise ModelError(
                f"the loss is no finite number in epoch {number + 1}: the training diverged at learning rate "
                f"{self._recipe.learning_rate:.3g} (lower --learning-rate)"
            )
        self.curve.append(self.percent_right(self._images.split.validation))
        self.seconds += time.perf_counter() - began_s

    def percent_right(self, indices: Indices) -> float:
        """Percent of these images whose class has the largest output."""
        self._network.eval()
        right = torch.zeros((), device=self._device)
        with torch.inference_mode():
            for pixels, labels in self._loaded(in_batches(indices, _EVALUATION_BATCH)):
                right += (self._outputs(self._normalised(pixels)).argmax(dim=1) == labels).sum()
        return 100 * float(right) / len(indices)

    def save(self, path: Path, key: str) -> None:
        """Keep all of it; a kill at any moment leaves the last whole file.

        After the last epoch only the weights are kept: nothing else is needed to try them on further images.
        """
        is_over = len(self.curve) == self._recipe.epochs
        state = {
            "key": key,
            "curve": self.curve,
            "seconds": self.seconds,
            "network": self._network.state_dict(),
            "optimizer": None if is_over else self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = written_aside(path)
        torch.save(state, aside)
        aside.replace(path)

    def load(self, path: Path, key: str) -> None:
        """Go on from what was kept, if it is of this very training."""
        state = _read(path, self._device)
        if state is None or state["key"] != key:
            return
        self._network.load_state_dict(state["network"])
        if state["optimizer"] is not None:
            self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.curve, self.seconds = list(state["curve"]), state["seconds"]

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        outputs = self._outputs(inputs)
        loss = functional.cross_entropy(outputs.float(), labels, label_smoothing=self._recipe.label_smoothing)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def _outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        dtype = _AUTOCAST.get(self._recipe.precision)
        with torch.autocast(self._device.type, dtype, enabled=dtype is not None):
            outputs: torch.Tensor = self._network(inputs)
        return outputs

    def _set_rate(self, step: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(step, self._steps, self._recipe)

    def _loaded(self, batches: list[Indices]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for indices, pixels in zip(batches, self._images.pixels.batches(batches), strict=True):
            labels = self._images.labels[torch.from_numpy(indices)]
            yield pixels.to(self._device), labels.to(self._device)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        return ((pixels.float() - self._mean) / self._std).contiguous(memory_format=torch.channels_last)


def learning_rate(step: int, steps_an_epoch: int, recipe: Recipe) -> float:
    """The rate at a step: a linear warm-up, then half a cosine down to zero (Loshchilov & Hutter 2017)."""
    warmup = recipe.warmup_epochs * steps_an_epoch
    if step + 1 < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1.0, recipe.epochs * steps_an_epoch - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))


def augment(pixels: torch.Tensor, augmentation: str, draws: torch.Generator) -> torch.Tensor:
    """Images moved by up to an eighth of their side into black, and half of them mirrored, if asked to.

    Args:
        pixels: `[batch, 3, px, px]`.
        augmentation: `none`, `crop` or `crop+flip`.
        draws: where the random numbers come from; of the CPU, so that all devices see the same images.
    """
    moves = augmentation.split("+")
    count, channels, px, _ = pixels.shape
    if "crop" in moves:
        pad = max(1, px // _CROP_SHARE)
        offsets = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=draws)
        rows, columns = (offsets + torch.arange(px)).to(pixels.device)
        padded = functional.pad(pixels, (pad, pad, pad, pad))
        picture = torch.arange(count, device=pixels.device).view(-1, 1, 1, 1)
        channel = torch.arange(channels, device=pixels.device).view(1, -1, 1, 1)
        pixels = padded[picture, channel, rows.view(count, 1, px, 1), columns.view(count, 1, 1, px)]
    if "flip" in moves:
        mirrored = torch.rand(count, generator=draws).lt(0.5).to(pixels.device)
        pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(3), pixels)
    return pixels


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW; biases, norms and other vectors are not decayed."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        raise ModelError("no parameter of the network requires a gradient: there is nothing to train")
    groups = [
        {"params": [one for one in trained if one.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [one for one in trained if one.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """A checkpoint; None where there is none that can be read: the training then begins anew."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        return None
    return state

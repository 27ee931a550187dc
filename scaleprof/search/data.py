"""The images that candidates are trained on, at whatever size a candidate takes.

A set is `digits` (scikit-learn's 1,797 handwritten digits of 8 × 8 pixels, which need no download), one of
torchvision's by name, or a folder of images with one folder a class. It is always cut in three: training
images; validation images, which scores are taken from; and images that are held out of every choice. The cut
keeps the classes' shares, and is the same for every candidate, seed and process.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from scaleprof.errors import UsageError
from scaleprof.records.searches import DatasetFacts
from scaleprof.search.sources import Part, Parts, open_parts, set_name

_VALIDATION_SHARE = _HELD_OUT_SHARE = 0.2
_SPLIT_SEED = 0
_MIN_IMAGES_A_CLASS = 5
# Larger sets are read again image by image: each process at work holds one set of its own.
_MEMORY_LIMIT_BYTES = 2**30
# Mean and standard deviation of so many images are those of all to three digits.
_STATISTICS_OF = 4096
_DECODERS = 8
_DECODED_AT_ONCE = 256

Indices = NDArray[np.int64]


class Split(NamedTuple):
    """Which images, by their numbers in the whole set, serve what; no image serves two."""

    train: Indices
    validation: Indices
    held_out: Indices


class Pixels(Protocol):
    """Images of one size."""

    def batches(self, wanted: Sequence[Indices]) -> Iterator[torch.Tensor]:
        """The images of each of these, `[len(indices), 3, px, px]`, uint8."""


class Images(NamedTuple):
    """A set at one size: its images, their classes, the cut, and the training images' mean and deviation.

    `mean` and `std` are `[3]`, one number a channel, of pixels from 0 to 255.
    """

    pixels: Pixels
    labels: torch.Tensor
    split: Split
    mean: torch.Tensor
    std: torch.Tensor


class ImageSet:
    """A set of images, opened; `facts` says what it holds."""

    def __init__(self, name: str, parts: Parts, base_input_size: int) -> None:
        self._parts = parts.present
        self._labels = np.concatenate([part.labels for part in self._parts])
        self._split = split_parts(parts)
        self.facts = DatasetFacts(
            name=name,
            classes=len(parts.class_names),
            train=len(self._split.train),
            validation=len(self._split.validation),
            held_out=len(self._split.held_out),
            base_input_size=base_input_size,
            digest=_digest(self._parts, parts.class_names),
        )

    def at(self, px: int) -> Images:
        """The set at a size: each image's shorter side is brought to `px`, and its middle square is taken."""
        lazy = _Decoded(self._parts, px)
        fits = len(self._labels) * 3 * px**2 <= _MEMORY_LIMIT_BYTES
        pixels: Pixels = _Held(lazy.all()) if fits else lazy
        mean, std = _statistics(pixels, self._split.train)
        return Images(pixels, torch.from_numpy(self._labels), self._split, mean, std)


def open_images(data: str, *, root: Path, base_input_size: int) -> ImageSet:
    """The set that a person names; torchvision downloads it into `root` if it is not there.

    Args:
        data: `digits`, a name of torchvision's, or a folder.
        root: where torchvision's sets are kept.
        base_input_size: side in pixels at resolution 1, for the facts (`native_input_size` has a default).

    Raises:
        UsageError: there is no such set, it cannot be had, or it is too small to be cut in three.
    """
    parts = open_parts(data, root)
    _check_size(data, parts)
    return ImageSet(set_name(data), parts, base_input_size)


def _check_size(data: str, parts: Parts) -> None:
    count = len(parts.class_names)
    least = int(np.bincount(parts.train.labels, minlength=count).min())
    if count < 2 or least < _MIN_IMAGES_A_CLASS:
        raise UsageError(
            f"--data {data} has {count} classes, the smallest of {least} training images: "
            f"at least 2 classes of {_MIN_IMAGES_A_CLASS} are needed, to train, to choose and to hold out"
        )


def split_parts(parts: Parts) -> Split:
    """The cut of a set in three.

    A part that the set's makers keep apart for tests is what is held out, and what they call validation is
    what scores are taken from if there are both; a fifth of each class is taken from the training images for
    each of the two that is missing.
    """
    random = np.random.default_rng(_SPLIT_SEED)
    train = np.arange(len(parts.train.labels))
    start = len(train)
    given: list[Indices] = []
    for part in (parts.validation, parts.held_out):
        size = len(part.labels) if part else 0
        given.append(np.arange(start, start + size))
        start += size
    validation, held_out = given
    labels = parts.train.labels
    if parts.held_out is None:
        train, held_out = _cut(train, labels, _HELD_OUT_SHARE, random)
    if parts.validation is None:
        share = _VALIDATION_SHARE / (1 - _HELD_OUT_SHARE) if parts.held_out is None else _VALIDATION_SHARE
        train, validation = _cut(train, labels, share, random)
    return Split(train, validation, held_out)


def _cut(
    indices: Indices, labels: Indices, share: float, random: np.random.Generator
) -> tuple[Indices, Indices]:
    """The indices without a share of each class (of one image at least), and that share; both sorted."""
    taken: list[Indices] = []
    for label in np.unique(labels[indices]):
        members = random.permutation(indices[labels[indices] == label])
        taken.append(members[: max(1, round(share * len(members)))])
    cut = np.sort(np.concatenate(taken))
    return np.setdiff1d(indices, cut), cut


class _Held:
    """Images held in memory."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self._pixels = pixels

    def batches(self, wanted: Sequence[Indices]) -> Iterator[torch.Tensor]:
        return (self._pixels[torch.from_numpy(indices)] for indices in wanted)


class _Decoded:
    """Images that are decoded whenever they are asked for, by several threads, one batch ahead."""

    def __init__(self, parts: Sequence[Part], px: int) -> None:
        self._parts = parts
        self._px = px
        self._starts = np.cumsum([0, *(len(part.labels) for part in parts)])

    def batches(self, wanted: Sequence[Indices]) -> Iterator[torch.Tensor]:
        with ThreadPoolExecutor(_DECODERS) as pool:
            ahead: deque[list[Future[NDArray[np.uint8]]]] = deque()
            for indices in wanted:
                ahead.append([pool.submit(self._one, index) for index in indices])
                if len(ahead) > 1:
                    yield _stacked(ahead.popleft())
            for images in ahead:
                yield _stacked(images)

    def all(self) -> torch.Tensor:
        """All images."""
        count = int(self._starts[-1])
        whole = torch.empty(count, 3, self._px, self._px, dtype=torch.uint8)
        first = 0
        for batch in self.batches(in_batches(np.arange(count), _DECODED_AT_ONCE)):
            whole[first : first + len(batch)] = batch
            first += len(batch)
        return whole

    def _one(self, index: int) -> NDArray[np.uint8]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        image = self._parts[number].image(int(index - self._starts[number]))
        return np.asarray(square(image.convert("RGB"), self._px), dtype=np.uint8).transpose(2, 0, 1)


def _stacked(images: Sequence[Future[NDArray[np.uint8]]]) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.result() for image in images]))


def in_batches(indices: Indices, size: int) -> list[Indices]:
    """The indices in batches of a size, in order; the last one may be smaller."""
    return [indices[first : first + size] for first in range(0, len(indices), size)]


def square(image: Image.Image, px: int) -> Image.Image:
    """The image with its shorter side at `px`, and of that the middle square."""
    width, height = image.size
    scale = px / min(width, height)
    resized = image.resize(
        (max(px, round(width * scale)), max(px, round(height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (resized.width - px) // 2, (resized.height - px) // 2
    return resized.crop((left, top, left + px, top + px))


def _statistics(pixels: Pixels, train: Indices) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel over training images."""
    some = np.random.default_rng(_SPLIT_SEED).permutation(train)[:_STATISTICS_OF]
    count, total, squares = 0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for images in pixels.batches(in_batches(np.sort(some), _DECODED_AT_ONCE)):
        batch = images.double()
        count += batch.numel() // 3
        total += batch.sum(dim=(0, 2, 3))
        squares += batch.square().sum(dim=(0, 2, 3))
    mean = total / count
    std = (squares / count - mean**2).clamp(min=1.0).sqrt()  # an empty channel is not blown up
    return mean.float(), std.float()


def _digest(parts: Sequence[Part], class_names: Sequence[str]) -> str:
    """A few letters that differ if the images or their classes do."""
    sha = hashlib.sha256("\n".join(class_names).encode())
    for part in parts:
        sha.update(part.labels.tobytes())
        for piece in part.fingerprint():
            sha.update(piece)
    return sha.hexdigest()[:16]

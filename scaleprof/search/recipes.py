"""How candidates are trained unless a person says otherwise: a recipe of the field's, scaled to the data.

SGD's is that of residual networks (He et al. 2016; Goyal et al. 2017): Nesterov momentum 0.9, a rate of 0.1
at 256 images that grows with the batch, decay 5e-4 as is usual on small images. AdamW's (Loshchilov & Hutter
2019) takes a rate of 1e-3 whatever the batch, and decay 0.05. Both warm up linearly, then follow a cosine to
zero, with label smoothing 0.1 (Szegedy et al. 2016). Biases and norms are not decayed.
"""

from __future__ import annotations

from typing import Literal

from scaleprof.errors import UsageError
from scaleprof.records import DType, ModelSpec
from scaleprof.records.searches import DatasetFacts, Recipe

Optimizer = Literal["sgd", "adamw"]
# Digits and letters that are mirrored are others, or none.
_NOT_MIRRORED = ("digits", "mnist", "kmnist", "svhn", "gtsrb")
_SGD_RATE_AT_256 = 0.1
_ADAMW_RATE = 1e-3
_LABEL_SMOOTHING = 0.1
# Warm-up takes this share of all epochs, and never more than five of them.
_WARMUP_SHARE, _MAX_WARMUP_EPOCHS = 0.1, 5.0
# An epoch has about so many steps at least, between batches of the smallest and the largest that is usual.
_STEPS_AN_EPOCH, _MIN_BATCH, _MAX_BATCH = 32, 32, 128


def make_recipe(
    dataset: DatasetFacts,
    *,
    epochs: int,
    precision: DType = "fp32",
    optimizer: Optimizer = "sgd",
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
) -> Recipe:
    """The recipe for a dataset; what is not given follows from the data and the optimizer.

    Raises:
        UsageError: a number that makes no training.
    """
    size = _batch_size(dataset.train) if batch_size is None else batch_size
    if epochs < 1:
        raise UsageError(f"--epochs {epochs} must be at least 1")
    if not 2 <= size <= dataset.train:
        raise UsageError(f"batches of {size} cannot be had from {dataset.train} training images: 2 at least")
    usual = _SGD_RATE_AT_256 * size / 256 if optimizer == "sgd" else _ADAMW_RATE
    return Recipe(
        epochs=epochs,
        batch_size=size,
        optimizer=optimizer,
        learning_rate=usual if learning_rate is None else learning_rate,
        weight_decay=(5e-4 if optimizer == "sgd" else 0.05) if weight_decay is None else weight_decay,
        momentum=0.9,
        label_smoothing=_LABEL_SMOOTHING,
        warmup_epochs=min(_MAX_WARMUP_EPOCHS, _WARMUP_SHARE * epochs),
        precision=precision,
        augmentation="crop" if dataset.name in _NOT_MIRRORED else "crop+flip",
    )


def why_untrainable(spec: ModelSpec) -> str | None:
    """Why a network cannot be trained on images; None if its input is one image, as far as its spec says."""
    if spec.input_unit == "px" and spec.input_size is not None:
        return None
    takes = "tokens" if spec.input_unit == "tokens" else "inputs of its own"
    return f"{spec.model} takes {takes}, no image: score it by a function of your own (--objective)"


def _batch_size(images: int) -> int:
    """A power of two that makes enough steps of an epoch, since few steps train nothing.

    >>> _batch_size(1078), _batch_size(40_000)
    (32, 128)
    """
    size = _MIN_BATCH
    while size < _MAX_BATCH and images // (2 * size) >= _STEPS_AN_EPOCH:
        size *= 2
    return min(size, images)

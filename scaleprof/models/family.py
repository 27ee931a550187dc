"""What a model that can be scaled is, and what a family of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import msgspec

from scaleprof.errors import ModelError, UsageError
from scaleprof.records import Mode, ModelSpec, Quoted, Shape
from scaleprof.scaling.rounding import CHANNEL_DIVISOR, Scale
from scaleprof.scaling.rules import DIMENSIONS
from scaleprof.scaling.sweep import Family

if TYPE_CHECKING:
    import torch
    from torch import nn

# A module of more blocks takes a minute to construct.
_MAX_BLOCKS = 4096


class Inputs(tuple[Any, ...]):
    """The arguments of a network: positional ones as the tuple itself, and `keywords` by name.

    They are tensors, or containers and plain values with a tensor among them; of a family always positional
    tensors. A slice or a copy by `tuple` has no keywords.

    >>> inputs = Inputs((1, 2), {"scale": 3})
    >>> dict(*inputs[2:], **inputs.keywords), len(inputs)
    ({'scale': 3}, 2)
    """

    keywords: dict[str, Any]

    def __new__(cls, positional: Iterable[Any] = (), keywords: Mapping[str, Any] | None = None) -> Self:
        """Hold these arguments."""
        made = super().__new__(cls, positional)
        made.keywords = dict(keywords or {})
        return made


class Model(Family, Protocol):
    """What counting and measuring need of a model: its network and its inputs, and words about it."""

    @property
    def locator(self) -> str:
        """What `find_model` finds it by from another process."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""

    @property
    def source(self) -> str:
        """Where it was published, or comes from."""

    @property
    def means(self) -> dict[str, str]:
        """What depth, width and resolution are in it."""

    @property
    def note(self) -> str:
        """What follows from these; may be empty."""

    @property
    def is_monotone(self) -> bool:
        """Whether no integer ever shrinks as the scale grows."""

    def build(self, spec: ModelSpec) -> nn.Module:
        """The network of a spec."""

    def inputs(self, spec: ModelSpec, batch_size: int) -> Inputs:
        """Random inputs of the network, on torch's default device."""

    def quoted(self, spec: ModelSpec) -> Quoted | None:
        """An accuracy that came with the model, if it did."""


# Of a shape and the number of a stage (from 0): the modules that are the stage's last layer.
LastBlock = Callable[[Shape, int], tuple[str, ...]]


class ModelFamily(msgspec.Struct, frozen=True):
    """A network that grows in depth, width and resolution, and what these words mean in it.

    `shape_at` turns a scale into the family's integers, `stage_repeats` and `stage_channels` among them;
    `construct` turns these into a module that takes what `make_inputs` gives: by default one image batch
    `[batch, 3, input_px, input_px]`. `size_at` is the input's size at a scale, by default pixels as the
    rounding policy has them; a network that itself depends on it (`is_sized`) has it in its shape, too, as
    `input_size`. `last_block` names the modules that are the last layer of a stage (numbered from 0): a
    stage that is one layer deeper, beyond the layers that the base has, costs just these once more. Where
    there are no such modules it is None, and deep networks are counted whole. `make_decode_inputs` gives one
    new token a sample and the caches of those before it, for a network that takes them, too.
    `least_channels_mean` says what the least number of channels is, and `note` what follows from what depth,
    width and resolution are here.
    """

    name: str
    title: str
    depth_means: str
    width_means: str
    source: str
    shape_at: Callable[[Scale], Shape]
    construct: Callable[[Shape], nn.Module]
    last_block: LastBlock | None
    base_input_size: int = 224
    min_input_size: int = 32
    resolution_means: str = "side of the square input in pixels"
    input_unit: Literal["px", "tokens"] = "px"
    size_at: Callable[[Scale], int] | None = None
    is_sized: bool = False
    make_inputs: Callable[[ModelSpec, int], tuple[torch.Tensor, ...]] | None = None
    make_decode_inputs: Callable[[ModelSpec, int], tuple[torch.Tensor, ...]] | None = None
    channel_divisor: int = CHANNEL_DIVISOR
    least_channels_mean: str = ""
    note: str = ""
    is_monotone: bool = True
    digest: None = None

    @property
    def locator(self) -> str:
        """A family is found by its name."""
        return self.name

    @property
    def dimensions(self) -> tuple[str, ...]:
        """A family grows in all three."""
        return DIMENSIONS

    @property
    def means(self) -> dict[str, str]:
        """What depth, width and resolution are here."""
        return {
            "depth": self.depth_means,
            "width": self.width_means,
            "resolution": self.resolution_means,
        }

    def integers(self, scale: Scale, input_size: int | None = None) -> tuple[Shape, int]:
        """The integers and the input size at a scale (at `input_size`, if it is given).

        Raises:
            UsageError: a scale that this architecture cannot have.
        """
        size = self._size(scale) if input_size is None else input_size
        if size < self.min_input_size:
            needed = "1 is" if self.min_input_size == 1 else f"{self.min_input_size} are"
            raise UsageError(
                f"resolution factor {scale.resolution:.3g} makes the input {size} {self.input_unit}, "
                f"at least {needed} needed (raise --phi)"
            )
        base = self.shape_at(Scale(rounding=scale.rounding))
        self._check_minimum("depth", scale.depth, max(many(base, "stage_repeats")), 1, "layer")
        widest = max(many(base, "stage_channels"))
        self._check_minimum("width", scale.width, widest, self.channel_divisor, "channels")
        shape = self.shape_at(scale) | ({"input_size": size} if self.is_sized else {})
        blocks = sum(many(shape, "stage_repeats"))
        if blocks > _MAX_BLOCKS:
            raise UsageError(
                f"depth factor {scale.depth:.4g} makes {blocks} blocks, "
                f"at most {_MAX_BLOCKS} are built (lower --phi)"
            )
        return shape, size

    def distinct_repeats(self) -> tuple[int, ...]:
        """Layers of each stage that may differ from the stage's last one; further ones are copies of it."""
        return tuple(max(2, repeats) for repeats in many(self.shape_at(Scale()), "stage_repeats"))

    def build(self, spec: ModelSpec) -> nn.Module:
        """The network with the spec's integers."""
        if spec.shape is None:
            raise TypeError(f"{spec.spec_id} has no integers")
        return self.construct(spec.shape)

    def inputs(self, spec: ModelSpec, batch_size: int) -> Inputs:
        """One batch of random inputs; of images `[batch, 3, input_px, input_px]`."""
        return Inputs((self.make_inputs or image_batch)(spec, batch_size))

    def quoted(self, spec: ModelSpec) -> Quoted | None:  # noqa: ARG002 - the papers' results join by themselves
        """None: what the papers printed is in `scaleprof.scaling.results`."""
        return None

    def _size(self, scale: Scale) -> int:
        return scale.pixels(self.base_input_size) if self.size_at is None else self.size_at(scale)

    def _check_minimum(self, name: str, factor: float, largest: int, least: int, unit: str) -> None:
        """Below this every stage is at its least, and a smaller factor means nothing."""
        if largest * factor < least * (1 - 1e-9):
            is_what = f" ({self.least_channels_mean})" if name == "width" and self.least_channels_mean else ""
            raise UsageError(
                f"{name} factor {factor:.3g} is below what it can have: its largest stage has {largest} "
                f"{unit}{'s' if unit == 'layer' and largest > 1 else ''}, and {least}{is_what} is the least "
                f"(at least {least / largest:.3g}; raise --phi)"
            )


def inputs_for(model: Model, spec: ModelSpec, batch_size: int, mode: Mode) -> Inputs:
    """Random inputs of a pass in a mode, on torch's default device.

    Raises:
        ModelError: the model has no one-token form, and that is asked for.
    """
    if mode != "decode":
        return model.inputs(spec, batch_size)
    if not isinstance(model, ModelFamily) or model.make_decode_inputs is None:
        raise ModelError(why_no_decoding(model))
    return Inputs(model.make_decode_inputs(spec, batch_size))


def why_no_decoding(model: Model) -> str | None:
    """Why a model cannot be run one token at a time against a key–value cache; None if it can."""
    if isinstance(model, ModelFamily) and model.make_decode_inputs is not None:
        return None
    return f"{model.name} has no one-token pass against a key–value cache: use --mode infer"


def image_batch(spec: ModelSpec, batch_size: int) -> tuple[torch.Tensor, ...]:
    """Random images for a spec, `[batch, 3, input_px, input_px]`, on torch's default device."""
    import torch

    if spec.input_size is None:
        raise TypeError(f"{spec.spec_id} has no input size")
    return (torch.randn(batch_size, 3, spec.input_size, spec.input_size),)


def one(shape: Shape, name: str) -> int:
    """A single integer of a shape."""
    value = shape[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} is a single integer, got {value}")
    return value


def many(shape: Shape, name: str) -> tuple[int, ...]:
    """The integers of a shape that come one a stage."""
    value = shape[name]
    if isinstance(value, int):
        raise TypeError(f"{name} holds one integer a stage, got {value}")
    return tuple(value)

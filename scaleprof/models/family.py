"""What a family of scalable networks is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import Shape
from scaleprof.scaling.rounding import round_px
from scaleprof.scaling.rules import Factors

if TYPE_CHECKING:
    from torch import nn


class ModelFamily(msgspec.Struct, frozen=True):
    """A network that grows in depth, width and resolution, and what these words mean in it.

    `shape_at` turns factors into the family's integers; `build` turns these into a module that takes one
    image batch `[batch, 3, input_px, input_px]`.
    """

    name: str
    title: str
    depth_means: str
    width_means: str
    resolution_means: str
    base_input_size: int
    min_input_size: int
    max_layers: int
    source: str
    shape_at: Callable[[Factors], Shape]
    count_layers: Callable[[Shape], int]
    build: Callable[[Shape], nn.Module]
    input_unit: Literal["px", "tokens"] = "px"

    def integers(self, wanted: Factors, input_size: int | None = None) -> tuple[Shape, int]:
        """The integers and the input size at the wanted factors (at `input_size`, if it is given).

        Raises:
            UsageError: factors that this architecture cannot have.
        """
        size = round_px(self.base_input_size * wanted.resolution) if input_size is None else input_size
        if size < self.min_input_size:
            raise UsageError(
                f"resolution factor {wanted.resolution:.3g} makes the input {size} {self.input_unit}, "
                f"at least {self.min_input_size} are needed (raise --phi)"
            )
        shape = self.shape_at(wanted)
        layers = self.count_layers(shape)
        if layers > self.max_layers:
            raise UsageError(
                f"depth factor {wanted.depth:.4g} makes {layers} blocks, "
                f"at most {self.max_layers} are built (lower --phi)"
            )
        return shape, size

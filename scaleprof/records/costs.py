"""What a network costs before it runs."""

from __future__ import annotations

from typing import Literal

import msgspec

from scaleprof.records.values import Value


class OperatorCost(Value, frozen=True):
    """What one operator contributes to a pass, summed over its calls; bytes are those of its tensors."""

    operator: str
    calls: int
    macs: int
    activations: int
    read_bytes: int | None = None
    written_bytes: int | None = None


class ModuleCost(Value, frozen=True):
    """What a module and all that is inside it cost; the network itself has the path `""`.

    A `shared` module is in several places, each with a row for what it costs when called from there; its
    parameters are the same ones.
    """

    path: str
    kind: str
    params: int
    macs: int
    activations: int
    read_bytes: int
    written_bytes: int
    shared: bool = False


class UncountedOperator(Value, frozen=True):
    """An operator that was seen, does arithmetic, and has no formula."""

    operator: str
    calls: int
    output_elements: int


class Cost(Value, frozen=True):
    """What a model costs before it runs, for one sample.

    `macs`: multiply-adds; forward and backward in training. `activations`: output elements of convolutions,
    matrix products and linear layers of the forward pass. `peak_activation_bytes`: the most bytes alive at
    once besides the weights, input included, and in training the gradients alive then. `read_bytes` and
    `written_bytes`: of all operators' tensors, weights included. `optimizer_bytes`: AdamW's two moments.
    `counted_on`: `meta`, or `cpu` for a network that runs on real values only. `assumptions`: what was taken
    for granted where only values would tell, such as how experts are chosen.
    """

    macs: int
    params: int
    activations: int
    weight_bytes: int
    peak_activation_bytes: int
    operators: tuple[OperatorCost, ...] = ()
    uncounted: tuple[UncountedOperator, ...] = ()
    read_bytes: int | None = None
    written_bytes: int | None = None
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    counted_on: Literal["meta", "cpu"] = "meta"
    assumptions: tuple[str, ...] = ()

    @property
    def forecast_bytes(self) -> int:
        """The most memory that the model is expected to hold: weights, optimizer, activations, gradients."""
        return self.weight_bytes + self.optimizer_bytes + max(self.peak_activation_bytes, self.gradient_bytes)

    def with_half_the_bytes(self) -> Cost:
        """The cost of the same network in a dtype of two bytes instead of four.

        Of whole-number tensors, which keep their size, networks hold next to nothing.
        """
        names = (
            *("weight_bytes", "peak_activation_bytes", "read_bytes", "written_bytes"),
            *("gradient_bytes", "optimizer_bytes"),
        )
        sizes: dict[str, int | None] = {name: getattr(self, name) for name in names}
        halved = {name: None if size is None else size // 2 for name, size in sizes.items()}
        return msgspec.structs.replace(self, **halved)

    @property
    def macs_per_byte(self) -> float | None:
        """Arithmetic intensity: MACs a byte read or written."""
        if self.read_bytes is None or self.written_bytes is None:
            return None
        traffic = self.read_bytes + self.written_bytes
        return self.macs / traffic if traffic else None

"""Published coefficients and accuracies: what the authors released, which is not `base^φ`.

EfficientNet coefficients: google/automl, efficientnetv2/effnetv2_configs.py and
efficientdet/backbone/efficientnet_builder.py. Accuracies: Tan & Le 2019, "EfficientNet: Rethinking
Model Scaling for Convolutional Neural Networks" (ICML 2019), table 2. Rows whose accuracy was not read
in a source (B8, L2) carry none.
"""

from __future__ import annotations

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import PUBLISHED_STRATEGY, ModelSpec, Phi, spec_id
from scaleprof.scaling.rules import Factors

_ICML_RECIPE = (
    "ImageNet top-1 as printed in Tan & Le 2019 (ICML), table 2: "
    "TensorFlow training with RMSProp, AutoAugment, SiLU and stochastic depth"
)


class PublishedRow(msgspec.Struct, frozen=True):
    """One released model: its coefficients, input side in pixels, and printed accuracy in percent."""

    name: str
    width: float
    depth: float
    input_px: int
    accuracy: float | None = None
    recipe: str | None = None

    def factors(self, base_px: int) -> Factors:
        """The row's factors against a base with inputs of `base_px` pixels."""
        return Factors(depth=self.depth, width=self.width, resolution=self.input_px / base_px)


def _row(name: str, width: float, depth: float, input_px: int, accuracy: float | None = None) -> PublishedRow:
    return PublishedRow(name, width, depth, input_px, accuracy, _ICML_RECIPE if accuracy else None)


EFFICIENTNET: tuple[PublishedRow, ...] = (
    _row("B0", 1.0, 1.0, 224, 76.3),
    _row("B1", 1.0, 1.1, 240, 78.8),
    _row("B2", 1.1, 1.2, 260, 79.8),
    _row("B3", 1.2, 1.4, 300, 81.1),
    _row("B4", 1.4, 1.8, 380, 82.6),
    _row("B5", 1.6, 2.2, 456, 83.3),
    _row("B6", 1.8, 2.6, 528, 84.0),
    _row("B7", 2.0, 3.1, 600, 84.4),
    _row("B8", 2.2, 3.6, 672),
    _row("L2", 4.3, 5.3, 800),
)

TABLES: dict[str, tuple[PublishedRow, ...]] = {"efficientnet_b0": EFFICIENTNET}


def numbered(row: PublishedRow) -> Phi | None:
    """The φ of a row: n for the n-th scaled model (B3 is row 3), None for a row known by name only.

    >>> numbered(EFFICIENTNET[3]), numbered(EFFICIENTNET[-1])
    (3, None)
    """
    return int(row.name[1:]) if row.name.startswith("B") else None


def find_row(model: str, wanted: Phi | str) -> PublishedRow:
    """The row of `model`'s table by number (3) or name (`B3`, `L2`).

    Raises:
        UsageError: the family has no table, or the table no such row; the message names what there is.
    """
    table = TABLES.get(model)
    if table is None:
        raise UsageError(
            f"{model} has no published coefficients: --strategy published works for {', '.join(TABLES)}"
        )
    for row in table:
        if wanted == numbered(row) or (isinstance(wanted, str) and wanted.upper() == row.name):
            return row
    shown = wanted if isinstance(wanted, str) else f"{wanted:g}"
    numbers = [n for n in map(numbered, table) if n is not None]
    names = [row.name for row in table if numbered(row) is None]
    raise UsageError(
        f"{model} has no published row {shown}: --phi takes {numbers[0]:g}..{numbers[-1]:g} "
        f"or {', '.join(names)} with --strategy published"
    )


def row_of(spec: ModelSpec) -> PublishedRow | None:
    """The published row that this spec is, under its own name or under one that coincides with it."""
    for row in TABLES.get(spec.model, ()):
        name = spec_id(spec.model, PUBLISHED_STRATEGY, numbered(row), row.name)
        if name == spec.spec_id or name in spec.also:
            return row
    return None

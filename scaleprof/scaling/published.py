"""Published coefficients: what the authors released, which is not `base^φ`.

EfficientNet: google/automl, efficientnetv2/effnetv2_configs.py and
efficientdet/backbone/efficientnet_builder.py. EfficientNet-Lite: google/automl,
efficientdet/backbone/efficientnet_lite_builder.py. What the papers printed of these models (accuracy,
multiply-adds) is in `scaleprof.scaling.results`.
"""

from __future__ import annotations

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import Phi
from scaleprof.scaling.rules import Factors


class PublishedRow(msgspec.Struct, frozen=True):
    """One released model: its coefficients and its input side in pixels.

    `number` is its φ under the strategy `published`, None for a row known by name only.
    """

    name: str
    number: int | None
    width: float
    depth: float
    input_px: int

    def factors(self, base_px: int) -> Factors:
        """The row's factors against a base with inputs of `base_px` pixels."""
        return Factors(depth=self.depth, width=self.width, resolution=self.input_px / base_px)


EFFICIENTNET: tuple[PublishedRow, ...] = (
    PublishedRow("B0", 0, 1.0, 1.0, 224),
    PublishedRow("B1", 1, 1.0, 1.1, 240),
    PublishedRow("B2", 2, 1.1, 1.2, 260),
    PublishedRow("B3", 3, 1.2, 1.4, 300),
    PublishedRow("B4", 4, 1.4, 1.8, 380),
    PublishedRow("B5", 5, 1.6, 2.2, 456),
    PublishedRow("B6", 6, 1.8, 2.6, 528),
    PublishedRow("B7", 7, 2.0, 3.1, 600),
    PublishedRow("B8", 8, 2.2, 3.6, 672),
    PublishedRow("L2", None, 4.3, 5.3, 800),
)
EFFICIENTNET_LITE: tuple[PublishedRow, ...] = (
    PublishedRow("lite0", 0, 1.0, 1.0, 224),
    PublishedRow("lite1", 1, 1.0, 1.1, 240),
    PublishedRow("lite2", 2, 1.1, 1.2, 260),
    PublishedRow("lite3", 3, 1.2, 1.4, 280),
    PublishedRow("lite4", 4, 1.4, 1.8, 300),
)

TABLES: dict[str, tuple[PublishedRow, ...]] = {
    "efficientnet_b0": EFFICIENTNET,
    "efficientnet_lite0": EFFICIENTNET_LITE,
}


def find_row(model: str, wanted: Phi | str) -> PublishedRow:
    """The row of `model`'s table by number (3) or name (`B3`, `L2`, `lite3`).

    Raises:
        UsageError: the family has no table, or the table no such row; the message names what there is.
    """
    table = TABLES.get(model)
    if table is None:
        raise UsageError(
            f"{model} has no published coefficients: --strategy published works for {', '.join(TABLES)}"
        )
    for row in table:
        if wanted == row.number or (isinstance(wanted, str) and wanted.lower() == row.name.lower()):
            return row
    shown = wanted if isinstance(wanted, str) else f"{wanted:g}"
    numbers = [row.number for row in table if row.number is not None]
    names = "".join(f" or {row.name}" for row in table if row.number is None)
    raise UsageError(
        f"{model} has no published row {shown}: --phi takes {numbers[0]}..{numbers[-1]}{names} "
        f"with --strategy published"
    )

"""Published coefficients: what the authors released, which is not `base^φ`.

EfficientNet: google/automl, efficientnetv2/effnetv2_configs.py and
efficientdet/backbone/efficientnet_builder.py. EfficientNet-Lite: google/automl,
efficientdet/backbone/efficientnet_lite_builder.py. EfficientDet: google/automl,
efficientdet/hparams_config.py, and beside it the paper's formula, which it leaves. Vision Transformers:
google-research/big_vision, big_vision/models/vit.py, all at 224 px in patches of 16 px (the paper's H has
patches of 14). What the papers printed of these models (accuracy, multiply-adds) is in
`scaleprof.scaling.results`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import Phi, Shape
from scaleprof.scaling.rules import Factors


class PublishedRow(msgspec.Struct, frozen=True):
    """One released model: its coefficients and its input side in pixels.

    `number` is its φ under the strategy `published`, None for a row known by name only. `shape` holds
    integers that the row has whatever its coefficients say; all others follow from these.
    """

    name: str
    number: int | None
    width: float
    depth: float
    input_px: int
    shape: Shape | None = None

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
# Hidden channels and layers against those of B.
VIT: tuple[PublishedRow, ...] = (
    PublishedRow("Ti", 0, 192 / 768, 12 / 12, 224),
    PublishedRow("S", 1, 384 / 768, 12 / 12, 224),
    PublishedRow("B", 2, 768 / 768, 12 / 12, 224),
    PublishedRow("L", 3, 1024 / 768, 24 / 12, 224),
    PublishedRow("H", 4, 1280 / 768, 32 / 12, 224),
)


def _detector(
    name: str,
    backbone: int,
    px: int,
    bifpn: tuple[int, int],
    head_layers: int,
    *,
    number: int | None = None,
    **others: int,
) -> PublishedRow:
    """A row with the coefficients of its backbone, B0 to B7; its BiFPN's channels and layers; and more."""
    channels, layers = bifpn
    row = EFFICIENTNET[backbone]
    shape = {"bifpn_channels": channels, "bifpn_layers": layers, "head_layers": head_layers, **others}
    return PublishedRow(name, number, row.width, row.depth, px, {**shape})


# From D6 on levels are added up without weights, "for stability" as the authors say; D7x has a level P8.
EFFICIENTDET: tuple[PublishedRow, ...] = (
    _detector("D0", 0, 512, (64, 3), 3, number=0),
    _detector("D1", 1, 640, (88, 4), 3, number=1),
    _detector("D2", 2, 768, (112, 5), 3, number=2),
    _detector("D3", 3, 896, (160, 6), 4, number=3),
    _detector("D4", 4, 1024, (224, 7), 4, number=4),
    _detector("D5", 5, 1280, (288, 7), 4, number=5),
    _detector("D6", 6, 1280, (384, 8), 5, number=6, weighted_fusion=0),
    _detector("D7", 6, 1536, (384, 8), 5, number=7, weighted_fusion=0),
    _detector("D7x", 7, 1536, (384, 8), 5, weighted_fusion=0, levels=6),
)


class EfficientDetFormula(NamedTuple):
    """What the paper's formula gives: the input in pixels, and the BiFPN's channels before any rounding."""

    backbone: str
    input_px: int
    bifpn_channels: float
    bifpn_layers: int
    head_layers: int


def efficientdet_formula(phi: int) -> EfficientDetFormula:
    """Tan, Pang & Le 2020, equations 1 to 3, which its own D5 to D7 leave (`EFFICIENTDET`).

    `channels = 64 · 1.35^φ`, `bifpn_layers = 3 + φ`, `head_layers = 3 + ⌊φ / 3⌋`, `input = 512 + 128 φ`, and
    the backbone B_φ.

    >>> efficientdet_formula(3)
    EfficientDetFormula(backbone='B3', input_px=896, bifpn_channels=157.464, bifpn_layers=6, head_layers=4)
    """
    return EfficientDetFormula(f"B{phi}", 512 + 128 * phi, round(64 * 1.35**phi, 6), 3 + phi, 3 + phi // 3)


TABLES: dict[str, tuple[PublishedRow, ...]] = {
    "efficientnet_b0": EFFICIENTNET,
    "efficientnet_lite0": EFFICIENTNET_LITE,
    "efficientdet_d0": EFFICIENTDET,
    "efficientdet_d0_nms": EFFICIENTDET,
    "vit_b_16": VIT,
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

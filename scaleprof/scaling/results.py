"""What the papers printed of their models: accuracy, multiply-adds, parameters, each with its source.

A result joins a spec whose factors and input are the ones it was printed for (`result_of`). Numbers that
were not read in a source are not here.

Sources: Tan & Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML
2019; the numbers before its arXiv revision 5), tables 2, 3 and 7. EfficientNet-Lite: tensorflow/tpu,
models/official/efficientnet/lite/README.md. EfficientNetV2: google/automl, efficientnetv2/README.md. DeiT:
facebookresearch/deit, README_deit.md; its multiply-adds and parameters: timm,
results/benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv. EfficientDet: Tan, Pang & Le 2020, "EfficientDet:
Scalable and Efficient Object Detection" (CVPR 2020, arXiv:1911.09070).
"""

from __future__ import annotations

import msgspec

from scaleprof.records import ModelSpec, Shape
from scaleprof.scaling.published import EFFICIENTDET, EFFICIENTNET, EFFICIENTNET_LITE, VIT

_TAN_LE = "ImageNet top-1 as printed in Tan & Le 2019 (ICML)"
_TABLE_2_RECIPE = "TensorFlow training with RMSProp, AutoAugment, SiLU and stochastic depth"
_LITE_RECIPE = (
    "ImageNet top-1, fp32, as printed in tensorflow/tpu models/official/efficientnet/lite/README.md: "
    "EfficientNet training with ReLU6 and without squeeze-and-excitation"
)
_V2_RECIPE = (
    "ImageNet top-1 as printed in google/automl efficientnetv2/README.md: "
    "progressive learning at up to 300 px, evaluated at 384 px"
)
_DEIT_RECIPE = (
    "ImageNet top-1 as printed in facebookresearch/deit README_deit.md: DeiT training without distillation"
)
_DETECTION_RECIPE = "COCO test-dev AP as printed in Tan, Pang & Le 2020 (an AP, and no top-1)"


class PublishedResult(msgspec.Struct, frozen=True):
    """A printed row: which model it is about, and what was printed of it.

    Attributes:
        table: where it stands, such as `table 7`.
        name: the row's name there.
        model: the family.
        depth: factor of depth.
        width: factor of width.
        input_px: side of the input in pixels.
        accuracy: top-1 accuracy in percent; of a detector its AP.
        printed_macs: multiply-adds as printed (the papers say FLOPs).
        printed_params: parameters as printed.
        recipe: how the accuracy was got, with its source.
        assumed: the row prints no coefficients; those here are a guess, so that its accuracy joins nothing.
        remark: why the printed cost differs from the counted one, where that is known or suspected.
        shape: integers that the model has beside its coefficients, if it has any.
    """

    table: str
    name: str
    model: str
    depth: float
    width: float
    input_px: int
    accuracy: float
    printed_macs: float
    printed_params: float | None = None
    recipe: str = ""
    assumed: bool = False
    remark: str | None = None
    shape: Shape | None = None

    @property
    def label(self) -> str:
        """The recipe, with the doubt about which network was meant, if there is one."""
        return f"{self.recipe} ({self.remark})" if self.remark else self.recipe


def _table_2() -> tuple[PublishedResult, ...]:
    """EfficientNet-B0 to B7: accuracy (%), multiply-adds (G) and parameters (M) as printed."""
    printed = (
        (76.3, 0.39, 5.3),
        (78.8, 0.70, 7.8),
        (79.8, 1.0, 9.2),
        (81.1, 1.8, 12),
        (82.6, 4.2, 19),
        (83.3, 9.9, 30),
        (84.0, 19, 43),
        (84.4, 37, 66),
    )
    remarks = {
        "B4": "the printed value fits a smaller input than the released model takes",
        "B5": "the printed value fits a smaller input than the released model takes",
    }
    return tuple(
        PublishedResult(
            "table 2", row.name, "efficientnet_b0", row.depth, row.width, row.input_px, accuracy,
            macs * 1e9, params * 1e6, f"{_TAN_LE}, table 2: {_TABLE_2_RECIPE}", remark=remarks.get(row.name),
        )
        for row, (accuracy, macs, params) in zip(EFFICIENTNET, printed, strict=False)
    )  # fmt: skip


_GUESSED = "the paper prints no coefficients for this row; counted at d = 1.4, w = 1.2, r = 1.3"
_SWAPPED = (
    "the depth and width rows look swapped: counted, d = 4 and w = 2 fit each other's printed value "
    "(an inference, the authors do not say so)"
)


def _table_3() -> tuple[PublishedResult, ...]:
    """MobileNets and ResNet-50 scaled one way and all ways: accuracy (%) and multiply-adds (G) as printed."""
    rows: tuple[tuple[str, str, float, float, int, float, float, str | None], ...] = (
        ("MobileNetV1", "mobilenet_v1", 1, 1, 224, 70.6, 0.6, "printed to one digit"),
        ("MobileNetV1 w = 2", "mobilenet_v1", 1, 2, 224, 74.2, 2.2, None),
        ("MobileNetV1 r = 2", "mobilenet_v1", 1, 1, 448, 72.7, 2.2, None),
        (
            "MobileNetV1 compound", "mobilenet_v1", 1.4, 1.2, 291, 75.6, 2.3,
            "depends on how layers are grouped for depth, which the paper does not say",
        ),
        ("MobileNetV2", "mobilenet_v2", 1, 1, 224, 72.0, 0.3, None),
        ("MobileNetV2 d = 4", "mobilenet_v2", 4, 1, 224, 76.8, 1.2, None),
        ("MobileNetV2 w = 2", "mobilenet_v2", 1, 2, 224, 76.4, 1.1, None),
        ("MobileNetV2 r = 2", "mobilenet_v2", 1, 1, 448, 74.8, 1.2, None),
        ("MobileNetV2 compound", "mobilenet_v2", 1.4, 1.2, 291, 77.4, 1.3, _GUESSED),
        ("ResNet-50", "resnet50", 1, 1, 224, 76.0, 4.1, None),
        ("ResNet-50 d = 4", "resnet50", 4, 1, 224, 78.1, 16.2, _SWAPPED),
        ("ResNet-50 w = 2", "resnet50", 1, 2, 224, 77.7, 14.7, _SWAPPED),
        ("ResNet-50 r = 2", "resnet50", 1, 1, 448, 77.5, 16.4, None),
        ("ResNet-50 compound", "resnet50", 1.4, 1.2, 291, 78.8, 16.7, _GUESSED),
    )  # fmt: skip
    return tuple(
        PublishedResult(
            "table 3", name, model, depth, width, input_px, accuracy, macs * 1e9, None,
            f"{_TAN_LE}, table 3", assumed=remark == _GUESSED, remark=remark,
        )
        for name, model, depth, width, input_px, accuracy, macs, remark in rows
    )  # fmt: skip


def _table_7() -> tuple[PublishedResult, ...]:
    """EfficientNet-B0 scaled one way and all ways: accuracy (%) and multiply-adds (G) as printed."""
    rows: tuple[tuple[str, float, float, int, float, float, str | None], ...] = (
        ("baseline", 1, 1, 224, 76.3, 0.4, "printed to one digit; table 2 prints 0.39"),
        ("d = 4", 4, 1, 224, 79.0, 1.8, "the row is not at the cost of the others"),
        ("w = 2", 1, 2, 224, 78.9, 1.8, "the row is not at the cost of the others"),
        ("r = 2", 1, 1, 448, 79.1, 1.9, "the row is not at the cost of the others"),
        ("compound", 1.4, 1.2, 300, 81.1, 1.8, "printed as d = 1.4, w = 1.2, r = 1.3; it is B3, at 300 px"),
    )
    return tuple(
        PublishedResult(
            "table 7", name, "efficientnet_b0", depth, width, input_px, accuracy, macs * 1e9, None,
            f"{_TAN_LE}, table 7", remark=remark,
        )
        for name, depth, width, input_px, accuracy, macs, remark in rows
    )  # fmt: skip


def _lite() -> tuple[PublishedResult, ...]:
    """EfficientNet-Lite0 to 4: accuracy (%), multiply-adds (M) and parameters (M) as printed."""
    printed = ((75.1, 407, 4.7), (76.7, 631, 5.4), (77.6, 899, 6.1), (79.8, 1440, 8.2), (81.5, 2640, 13.0))
    remark = "the printed multiply-adds count more than multiply-adds of convolutions and matrix products"
    return tuple(
        PublishedResult(
            "lite", row.name, "efficientnet_lite0", row.depth, row.width, row.input_px, accuracy,
            macs * 1e6, params * 1e6, _LITE_RECIPE, remark=remark,
        )
        for row, (accuracy, macs, params) in zip(EFFICIENTNET_LITE, printed, strict=True)
    )  # fmt: skip


def _deit() -> tuple[PublishedResult, ...]:
    """DeiT-tiny, -small and -base (ViT-Ti, -S, -B): accuracy (%), and timm's G MACs and M parameters."""
    printed = (("tiny", 72.2, 1.26, 5.72), ("small", 79.9, 4.61, 22.05), ("base", 81.8, 17.58, 86.57))
    return tuple(
        PublishedResult(
            "deit", f"DeiT-{name}", "vit_b_16", row.depth, row.width, row.input_px, accuracy,
            macs * 1e9, params * 1e6, _DEIT_RECIPE,
        )
        for row, (name, accuracy, macs, params) in zip(VIT, printed, strict=False)
    )  # fmt: skip


def _detectors() -> tuple[PublishedResult, ...]:
    """EfficientDet-D0 to D7x, both families: AP (%), multiply-adds (G) and parameters (M) as printed."""
    printed = (
        (34.6, 2.54, 3.9),
        (40.5, 6.1, 6.6),
        (43.9, 11.0, 8.1),
        (47.2, 24.9, 12.0),
        (49.7, 55.2, 20.7),
        (51.5, 130, 33.7),
        (52.6, 226, 51.9),
        (53.7, 325, 51.9),
        (55.1, 410, 77.0),
    )
    return tuple(
        PublishedResult(
            "detection", row.name, model, row.depth, row.width, row.input_px, precision,
            macs * 1e9, params * 1e6, _DETECTION_RECIPE, shape=row.shape,
        )
        for model in ("efficientdet_d0", "efficientdet_d0_nms")
        for row, (precision, macs, params) in zip(EFFICIENTDET, printed, strict=True)
    )  # fmt: skip


_V2_S = PublishedResult(
    "efficientnetv2", "EfficientNetV2-S", "efficientnet_v2_s", 1, 1, 384, 83.9, 8.4e9, 21.5e6, _V2_RECIPE
)
# The first that fits a spec is the one it is labelled with.
RESULTS: tuple[PublishedResult, ...] = (
    *_table_2(),
    *_table_3(),
    *_table_7(),
    *_lite(),
    _V2_S,
    *_deit(),
    *_detectors(),
)


def result_of(spec: ModelSpec) -> PublishedResult | None:
    """The printed result of exactly this model: its factors, its input, and the authors' rounding.

    Factors are compared to the last digit: a solved factor a hair above may be a layer more.
    """
    if spec.rounding != "tf":
        return None
    for result in RESULTS:
        is_same = (
            result.model == spec.model
            and result.input_px == spec.input_size
            and (result.depth, result.width) == (spec.depth, spec.width)
            and (result.shape or {}).items() <= (spec.shape or {}).items()
        )
        if is_same and not result.assumed:
            return result
    return None

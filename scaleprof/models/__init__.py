"""The models: families one file each, networks as they are, and people's own; one visible registry.

A family is a torch-free shape function (scale to integers) and a builder (integers to `nn.Module`).
torch is imported inside builders only, so that listing and rounding stay instant.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from scaleprof.errors import UsageError, suggestion
from scaleprof.models.convnext import CONVNEXT_TINY
from scaleprof.models.efficientdet import EFFICIENTDET_D0, EFFICIENTDET_D0_NMS
from scaleprof.models.efficientnet import EFFICIENTNET_B0
from scaleprof.models.efficientnet_lite import EFFICIENTNET_LITE0
from scaleprof.models.efficientnet_v2 import EFFICIENTNET_V2_S
from scaleprof.models.family import Model, ModelFamily
from scaleprof.models.fixed import TIMM, TORCHVISION, from_timm, from_torchvision
from scaleprof.models.mobilenet_v1 import MOBILENET_V1
from scaleprof.models.mobilenet_v2 import MOBILENET_V2
from scaleprof.models.mobilenet_v3 import MOBILENET_V3_LARGE
from scaleprof.models.recurrent import GRU, LSTM
from scaleprof.models.regnet import REGNET_Y_4GF, REGNET_Y_400MF
from scaleprof.models.resnet import RESNET18, RESNET50
from scaleprof.models.segmentation import DEEPLABV3_RESNET50, LRASPP_MOBILENET_V3_LARGE
from scaleprof.models.swin import SWIN_T
from scaleprof.models.transformer import TRANSFORMER_DECODER, TRANSFORMER_ENCODER
from scaleprof.models.user import ENTRY_POINT_GROUP, from_entry_point, from_file, from_module
from scaleprof.models.vit import VIT_B_16

FAMILIES: dict[str, ModelFamily] = {
    family.name: family
    for family in (
        EFFICIENTNET_B0,
        EFFICIENTNET_V2_S,
        EFFICIENTNET_LITE0,
        MOBILENET_V1,
        MOBILENET_V2,
        MOBILENET_V3_LARGE,
        RESNET18,
        RESNET50,
        REGNET_Y_400MF,
        REGNET_Y_4GF,
        CONVNEXT_TINY,
        VIT_B_16,
        SWIN_T,
        DEEPLABV3_RESNET50,
        LRASPP_MOBILENET_V3_LARGE,
        TRANSFORMER_ENCODER,
        TRANSFORMER_DECODER,
        LSTM,
        GRU,
        EFFICIENTDET_D0,
        EFFICIENTDET_D0_NMS,
    )
}


def find_model(reference: str) -> Model:
    """The model that a person names.

    `NAME` of a family or of an installed entry point, `FILE.py:FACTORY`, `MODULE:FACTORY`,
    `torchvision:NAME` or `timm:NAME`. The code of files, modules and entry points is executed.

    Raises:
        UsageError: there is none, or it cannot be loaded.
    """
    if reference.startswith(TORCHVISION):
        return from_torchvision(reference)
    if reference.startswith(TIMM):
        return from_timm(reference)
    if ":" in reference:
        file = reference.rpartition(":")[0]
        return (from_file if file.endswith(".py") else from_module)(reference)
    if reference.endswith(".py"):
        raise UsageError(f"{reference} is a file: name the function in it, such as {reference}:build")
    return _named(reference)


def find_models(references: tuple[str, ...]) -> dict[str, Model]:
    """The models that a person names, by their names.

    Raises:
        UsageError: one cannot be found, or two have one name.
    """
    models: dict[str, Model] = {}
    by: dict[str, str] = {}
    for reference in dict.fromkeys(references):
        model = find_model(reference)
        if model.name in models and model.locator == models[model.name].locator:
            continue  # one model, written in two ways
        if model.name in models:
            raise UsageError(
                f"two models are called {model.name}: {by[model.name]} and {reference}; rename one"
            )
        models[model.name], by[model.name] = model, reference
    return models


def announced() -> tuple[EntryPoint, ...]:
    """The models that installed packages announce; nothing of theirs is imported."""
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _named(name: str) -> Model:
    entries = [entry for entry in announced() if entry.name == name]
    homes = [*(["scaleprof's own"] if name in FAMILIES else []), *(entry.value for entry in entries)]
    if len(homes) > 1:
        raise UsageError(f"two models are called {name}: {' and '.join(homes)}; uninstall one")
    if name in FAMILIES:
        return FAMILIES[name]
    if entries:
        return from_entry_point(entries[0])
    if "," in name:
        raise UsageError(
            f"unknown model '{name}': repeat the option for several, -m {name.replace(',', ' -m ')}"
        )
    if Path(f"{name}.py").is_file():
        raise UsageError(f"unknown model '{name}': name the function in the file, such as {name}.py:build")
    known = [*FAMILIES, *(entry.name for entry in announced())]
    raise UsageError(f"unknown model '{name}'{suggestion(name, known)} (scaleprof models lists all)")

"""Networks as they are: torchvision's and timm's by name, which grow in resolution alone.

They stand on the same chart as the families. Weights are not loaded, since latency does not depend on
them; the accuracy that torchvision publishes for its best weights is quoted at these weights' own input.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from scaleprof.errors import NETWORK_ERRORS, ModelError, UsageError, suggestion
from scaleprof.models.family import Inputs, image_batch
from scaleprof.records import ModelSpec, Quoted
from scaleprof.scaling.rounding import Scale, round_px

if TYPE_CHECKING:
    from torch import nn

TORCHVISION = "torchvision:"
TIMM = "timm:"


class FixedModel(msgspec.Struct, frozen=True):
    """A network with no dials but the size of its input, which comes in steps of `step_px`."""

    name: str
    title: str
    source: str
    construct: Callable[[int], nn.Module]
    base_input_size: int
    accuracy: Quoted | None = None
    step_px: int = 1
    digest: None = None
    input_unit: Literal["px", "tokens"] = "px"
    note: str = ""
    is_monotone: bool = True

    @property
    def locator(self) -> str:
        """Found by its name, prefix included."""
        return self.name

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The input alone."""
        return ("resolution",)

    @property
    def means(self) -> dict[str, str]:
        """What depth, width and resolution are here."""
        return {"depth": "fixed", "width": "fixed", "resolution": "side of the square input in pixels"}

    def integers(
        self, scale: Scale, input_size: int | None = None
    ) -> tuple[dict[str, int | tuple[int, ...]], int]:
        """No integers but the input's side, in whole steps."""
        # Not the policy's business: a network that stands beside a family is as it is.
        steps = round_px(self.base_input_size * scale.resolution / self.step_px)
        if steps < 1:
            raise UsageError(
                f"resolution factor {scale.resolution:.3g} makes the input less than {self.step_px} px "
                f"(raise --phi)"
            )
        return {}, steps * self.step_px if input_size is None else input_size

    def build(self, spec: ModelSpec) -> nn.Module:
        """The network, for the spec's input.

        Raises:
            ModelError: its architecture does not allow that.
        """
        try:
            return self.construct(spec.input_size or self.base_input_size)
        except NETWORK_ERRORS as error:
            raise ModelError(f"{spec.spec_id} cannot be built: {error}") from error

    def inputs(self, spec: ModelSpec, batch_size: int) -> Inputs:
        """One batch of random images, `[batch, 3, input_px, input_px]`."""
        return Inputs(image_batch(spec, batch_size))

    def quoted(self, spec: ModelSpec) -> Quoted | None:
        """The published accuracy, at the input that it was measured for."""
        return self.accuracy if spec.input_size == self.base_input_size else None


def from_torchvision(reference: str) -> FixedModel:
    """The classification model `torchvision:NAME`, at the input of its best weights.

    Raises:
        UsageError: torchvision has no such model.
    """
    from torchvision import models

    name = reference.removeprefix(TORCHVISION)
    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(f"torchvision has no classification model '{name}'{suggestion(name, known)}")
    weights = models.get_model_weights(name).DEFAULT
    (px,) = set(weights.transforms().crop_size)
    # Vision transformers are built for one size of image, in whole patches; the name ends in their side.
    patch_px = int(name.rpartition("_")[2]) if name.startswith("vit_") else None

    def construct(input_px: int) -> nn.Module:
        options: dict[str, object] = {"image_size": input_px} if patch_px else {}
        if name in ("googlenet", "inception_v3"):  # they warn of an initialisation that will change
            options["init_weights"] = False
        if name == "googlenet":  # as its weights have it: the auxiliary heads serve training alone
            options["aux_logits"] = False
        network: nn.Module = models.get_model(name, weights=None, **options)
        return network

    top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    recipe = f"ImageNet top-1 of torchvision's {weights}, recipe {weights.meta['recipe']}"
    return FixedModel(
        name=reference,
        title=f"torchvision's {name} as it is",
        source=f"torchvision, {weights}",
        construct=construct,
        base_input_size=int(px),
        accuracy=Quoted(float(top1), recipe),
        step_px=patch_px or 1,
    )


def from_timm(reference: str) -> FixedModel:
    """The model `timm:NAME`, at the input of its pretrained configuration.

    Raises:
        UsageError: timm is not installed, or has no such model.
    """
    try:
        import timm
    except ImportError:
        raise UsageError(f"{reference} needs timm: pip install 'scaleprof[timm]'") from None
    name = reference.removeprefix(TIMM)
    if not timm.is_model(name):
        raise UsageError(f"timm has no model '{name}'{suggestion(name, timm.list_models())}")
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # the part behind the dot names weights
        raise UsageError(f"timm has no weights '{name}': {error}") from error
    px = config.input_size[-1] if config else 224

    def construct(_input_px: int) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's own deprecations are not the person's business
            network: nn.Module = timm.create_model(name, pretrained=False)
        return network

    return FixedModel(
        name=reference,
        title=f"timm's {name} as it is",
        source=f"timm {timm.__version__}",
        construct=construct,
        base_input_size=int(px),
    )

"""The EfficientNet family against the authors' counts and torchvision's own models."""

from __future__ import annotations

import pytest
import torch
import torchvision

from scaleprof.counting import count
from scaleprof.models import FAMILIES
from scaleprof.records import ModelSpec
from scaleprof.scaling.sweep import Sweep, expand, parse_phi

# google/automl, efficientdet/backbone/efficientnet_builder_test.py.
PARAMETERS = {
    0: 5_288_548,
    1: 7_794_184,
    2: 9_109_994,
    3: 12_233_232,
    4: 19_341_616,
    5: 30_389_784,
    6: 43_040_704,
    7: 66_347_960,
}
# pycls' complexity (MACs with biases) and acts, recomputed independently for B8 and L2 too.
PYCLS_MACS_AND_ACTS = {
    "B0": (385_825_092, 6_748_036),
    "B1": (686_817_992, 10_884_328),
    "B2": (993_578_282, 13_832_834),
    "B3": (1_827_162_472, 23_831_296),
    "B4": (4_393_801_064, 49_489_032),
    "B5": (10_266_426_072, 98_857_400),
    "B6": (19_067_647_136, 167_393_400),
    "B7": (37_745_958_392, 289_939_464),
    "B8": (62_597_552_278, 442_886_462),
    "L2": (475_703_913_300, 1_707_390_020),
}


def published(name: str) -> ModelSpec:
    (spec,) = expand(Sweep(("efficientnet_b0",), ("published",), parse_phi(name)), FAMILIES)
    return spec


def meta_network(spec: ModelSpec) -> torch.nn.Module:
    with torch.device("meta"):
        return FAMILIES[spec.model].build(spec)


@pytest.mark.parametrize(("number", "parameters"), PARAMETERS.items())
def test_parameters_are_those_of_the_authors(number: int, parameters: int) -> None:
    network = meta_network(published(str(number)))
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("number", range(8))
def test_every_tensor_has_the_shape_of_torchvisions_model(number: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"efficientnet_b{number}")()
    ours = meta_network(published(str(number)))
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


@pytest.mark.parametrize("number", range(8))
def test_macs_equal_torchvisions_published_ops_at_its_weights_resolution(number: int) -> None:
    weights = torchvision.models.get_model_weights(f"efficientnet_b{number}").DEFAULT
    weights = weights if number else torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1
    (side,) = set(weights.transforms().crop_size)
    cost = count(meta_network(published(str(number))), torch.empty(1, 3, side, side, device="meta"))
    assert round(cost.macs / 1e9, 3) == weights.meta["_ops"]
    assert cost.params == weights.meta["num_params"]


@pytest.mark.parametrize(("name", "expected"), PYCLS_MACS_AND_ACTS.items())
def test_counts_equal_pycls_but_for_its_biases(name: str, expected: tuple[int, int]) -> None:
    spec = published(name)
    network = meta_network(spec)
    cost = count(network, *FAMILIES[spec.model].inputs(spec, 1))
    # pycls adds one operation per output with a bias; here those are the squeeze-excitation convolutions
    # (one pixel each) and the classifier, so a bias's own size is its number of outputs.
    biases = sum(
        module.bias.numel()
        for module in network.modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) and module.bias is not None
    )
    assert (cost.macs + biases, cost.activations) == expected
    assert cost.uncounted == ()

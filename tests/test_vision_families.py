"""Vision transformers and segmentation against torchvision's networks and what was printed of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_counting_exact import allocator_peak_bytes
from torch.utils._pytree import tree_leaves
from torchvision import models as vision

import scaleprof as sp
from scaleprof.app.counting import count_families
from scaleprof.cli import run as run_cli
from scaleprof.counting import count, count_spec, trace_spec
from scaleprof.errors import ExitCode, UsageError
from scaleprof.measuring.messages import Job
from scaleprof.measuring.passes import TrainingStep, recording
from scaleprof.measuring.preparing import Preparer
from scaleprof.models import FAMILIES
from scaleprof.models.family import many, one
from scaleprof.records import Cost, ModelSpec, Workload
from scaleprof.reporting.rows import CostRow
from scaleprof.scaling.laws import law_of
from scaleprof.scaling.rounding import ROUNDINGS, Scale
from scaleprof.scaling.sweep import base_spec, make_spec
from scaleprof.scaling.theory import PLAIN_CONVOLUTIONS, growth_exponents

SEGMENTATION = ("deeplabv3_resnet50", "lraspp_mobilenet_v3_large")
NAMES = ("vit_b_16", "swin_t", *SEGMENTATION)
# Milliseconds a pass, on images of 32, 28 and 65 px.
TINY = Scale(depth=0.34, width=0.35, resolution=0.125)


def torchvisions(name: str) -> torch.nn.Module:
    backbone: dict[str, Any] = {"weights_backbone": None} if name in SEGMENTATION else {}
    network: torch.nn.Module = vision.get_model(name, weights=None, **backbone)
    return network


def published_by_torchvision(name: str) -> tuple[float, int]:
    meta = vision.get_model_weights(name).DEFAULT.meta
    return meta["_ops"], meta["num_params"]


def tensors(network: torch.nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in network.state_dict().items()]


def spec_at(name: str, scale: Scale) -> ModelSpec:
    return make_spec(FAMILIES[name], "d1_w1_r1", 1, scale)


@cache
def base_cost(name: str) -> Cost:
    return count_spec(FAMILIES[name], base_spec(FAMILIES[name]))


@cache
def published(row: str) -> CostRow:
    (counted,) = count_families("vit_b_16", strategies="published", phi=row)
    return counted


# torchvision's networks


@pytest.mark.parametrize("name", SEGMENTATION)
def test_a_segmentation_base_has_torchvisions_tensors_and_cost(name: str) -> None:
    spec = base_spec(FAMILIES[name])
    with torch.device("meta"):
        ours, theirs = FAMILIES[name].build(spec), torchvisions(name)
    assert tensors(ours) == tensors(theirs)
    assert spec.input_size == 520
    assert base_cost(name) == count(theirs, torch.empty(1, 3, 520, 520, device="meta"))


def test_lraspp_has_the_operations_and_parameters_that_torchvision_publishes() -> None:
    cost = base_cost("lraspp_mobilenet_v3_large")
    assert (round(cost.macs / 1e9, 3), cost.params) == published_by_torchvision("lraspp_mobilenet_v3_large")


def test_deeplab_has_those_that_torchvision_publishes_less_its_auxiliary_head() -> None:
    cost = base_cost("deeplabv3_resnet50")
    # A 3x3 convolution of 1024 to 256 channels with batch norm, and one of 1x1 to 21 classes with bias.
    weights = 9 * 1024 * 256 + 256 * 21
    with_head = (round((cost.macs + 65**2 * weights) / 1e9, 3), cost.params + weights + 2 * 256 + 21)
    assert with_head == published_by_torchvision("deeplabv3_resnet50")


def vit_tiny() -> torch.nn.Module:
    return vision.VisionTransformer(224, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)  # type: ignore[no-any-return]


def narrow_swin() -> torch.nn.Module:
    return vision.SwinTransformer([4, 4], 32, [2, 2, 6, 2], [1, 2, 4, 8], [7, 7])  # type: ignore[no-any-return]


SAME: list[tuple[str, Scale, Callable[[], torch.nn.Module]]] = [
    ("vit_b_16", Scale(width=0.25), vit_tiny),
    ("swin_t", Scale(width=1 / 3, resolution=0.75), narrow_swin),
    *((name, Scale(resolution=0.125), partial(torchvisions, name)) for name in SEGMENTATION),
]


@pytest.mark.parametrize(("name", "scale", "make"), SAME)
def test_with_the_same_weights_a_network_puts_out_what_torchvisions_does(
    name: str, scale: Scale, make: Callable[[], torch.nn.Module]
) -> None:
    torch.manual_seed(0)
    spec = spec_at(name, scale)
    ours, theirs = FAMILIES[name].build(spec).eval(), make().eval()
    theirs.load_state_dict(ours.state_dict())
    (images,) = FAMILIES[name].inputs(spec, 2)
    with torch.inference_mode():
        (got,), (expected,) = tree_leaves(ours(images)), tree_leaves(theirs(images))
    assert expected.std() > 0
    assert torch.equal(got, expected)


def test_segmentation_has_a_score_for_each_class_and_pixel() -> None:
    for name in SEGMENTATION:
        spec = spec_at(name, TINY)
        with torch.inference_mode():
            outputs = FAMILIES[name].build(spec).eval()(*FAMILIES[name].inputs(spec, 2))
        assert {key: tensor.shape for key, tensor in outputs.items()} == {"out": (2, 21, 65, 65)}


def test_a_swin_of_128_channels_has_the_tensors_that_swin_b_would_have_at_its_depth() -> None:
    with torch.device("meta"):
        ours = FAMILIES["swin_t"].build(spec_at("swin_t", Scale(width=4 / 3)))
        theirs = vision.SwinTransformer([4, 4], 128, [2, 2, 6, 2], [4, 8, 16, 32], [7, 7])
    assert tensors(ours) == tensors(theirs)


# Integers


scales = st.builds(
    Scale,
    depth=st.floats(0.34, 6),
    width=st.floats(0.34, 6),
    resolution=st.floats(0.2, 4),
    rounding=st.sampled_from(ROUNDINGS),
)


@given(scale=scales)
def test_a_vision_transformer_is_whole_heads_layers_and_patches(scale: Scale) -> None:
    shape, px = FAMILIES["vit_b_16"].integers(scale)
    (channels,) = many(shape, "stage_channels")
    assert (channels, one(shape, "input_size")) == (64 * one(shape, "heads"), px)
    assert px % 16 == 0
    assert abs(px - 224 * scale.resolution) <= 8
    assert 0.9 * 768 * scale.width <= channels + (32 if scale.rounding == "pycls" else 0)


@given(scale=scales)
def test_a_swin_is_whole_heads_and_windows_and_doubles_from_stage_to_stage(scale: Scale) -> None:
    shape, px = FAMILIES["swin_t"].integers(scale)
    channels, heads = many(shape, "stage_channels"), many(shape, "heads")
    assert channels == tuple(32 * number for number in heads)
    assert channels == tuple(channels[0] * 2**stage for stage in range(4))
    assert px % 28 == 0
    assert abs(px - 224 * scale.resolution) <= 14


def test_blocks_of_a_swin_come_in_pairs_of_which_the_second_is_shifted() -> None:
    spec = spec_at("swin_t", Scale(depth=1.2))
    with torch.device("meta"):
        network: Any = FAMILIES["swin_t"].build(spec)
    shifts = [[block.attn.shift_size for block in network.features[2 * stage + 1]] for stage in range(4)]
    assert shifts == [pairs * [[0, 0], [3, 3]] for pairs in (2, 2, 4, 2)]


@pytest.mark.parametrize("name", SEGMENTATION)
@given(scale=scales)
def test_a_segmentation_backbone_is_scaled_as_in_its_family(name: str, scale: Scale) -> None:
    backbone = FAMILIES[name.partition("_")[2]].shape_at(scale)
    shape = FAMILIES[name].shape_at(scale)
    assert shape == backbone | {"head_channels": shape["head_channels"]}
    assert one(shape, "head_channels") == scale.channels(256 if "deeplab" in name else 128)


@pytest.mark.parametrize(
    ("name", "scale", "words"),
    [
        ("vit_b_16", Scale(width=0.05), "64 (one head) is the least (at least 0.0833"),
        ("vit_b_16", Scale(resolution=0.03), "the input 0 px, at least 16 are needed"),
        ("swin_t", Scale(width=0.3), "256 (one head in the first stage) is the least (at least 0.333"),
        ("swin_t", Scale(depth=0.3), "its largest stage has 3 layers, and 1 is the least"),
        ("swin_t", Scale(resolution=0.06), "the input 0 px, at least 28 are needed"),
    ],
)
def test_a_scale_that_cannot_be_says_what_the_least_is(name: str, scale: Scale, words: str) -> None:
    with pytest.raises(UsageError) as error:
        FAMILIES[name].integers(scale)
    assert words in str(error.value)


# Published vision transformers

# google-research/big_vision, decode_variant: hidden channels and layers. timm's table of benchmarks, patches
# of 16 px at 224 px: parameters (M), multiply-adds (G), activations (M).
PUBLISHED = {
    "Ti": (192, 12, 5.72, 1.26, 5.97),
    "S": (384, 12, 22.05, 4.61, 11.95),
    "B": (768, 12, 86.57, 17.58, 23.9),
    "L": (1024, 24, 304.33, 61.6, 63.52),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_vision_transformer_has_its_shape_and_the_counts_of_another_program(name: str) -> None:
    channels, layers, mega_params, giga_macs, mega_activations = PUBLISHED[name]
    row = published(name)
    assert row.shape == {
        "stage_channels": (channels,),
        "stage_repeats": (layers,),
        "heads": channels // 64,
        "input_size": 224,
    }
    assert (round((row.params or 0) / 1e6, 2), round((row.activations or 0) / 1e6, 2)) == (
        mega_params,
        mega_activations,
    )
    # The other program counts layer norms, too.
    assert 0 < giga_macs * 1e9 - (row.macs or 0) < 0.006 * giga_macs * 1e9


def test_published_l_has_the_tensors_of_torchvisions() -> None:
    (row,) = count_families("vit_b_16", strategies="published", phi="L")
    family = FAMILIES["vit_b_16"]
    with torch.device("meta"):
        ours, theirs = family.construct(row.shape or {}), vision.vit_l_16()
    assert tensors(ours) == tensors(theirs)


def test_published_h_has_the_parameters_of_its_layers_and_patches_of_16_px() -> None:
    row = published("H")
    assert row.shape == {"stage_channels": (1280,), "stage_repeats": (32,), "heads": 20, "input_size": 224}
    layers = 32 * (12 * 1280**2 + 13 * 1280)
    assert round(layers / 1e6, 2) == 629.68
    # Patches, the class token, positions, the last norm, and the head.
    assert row.params == layers + 16 * 16 * 3 * 1280 + 1280 + 1280 + 197 * 1280 + 2 * 1280 + 1281 * 1000


def test_phi_of_published_vision_transformers_is_their_place_in_the_row() -> None:
    rows = count_families("vit_b_16", strategies="published", phi="0..4")
    assert [row.spec_id for row in rows] == [f"vit_b_16/published/{number}" for number in range(5)]
    assert [row.macs for row in rows] == [published(name).macs for name in ("Ti", "S", "B", "L", "H")]
    assert published("B").achieved_growth == 1


def test_accuracies_of_deit_join_the_transformers_that_they_are_of() -> None:
    assert [published(name).accuracy for name in ("Ti", "S", "B", "L", "H")] == [72.2, 79.9, 81.8, None, None]
    assert "DeiT training without distillation" in (published("S").accuracy_recipe or "")
    by_width = count_families("vit_b_16", strategies="width", phi="-2,0")
    assert {row.spec_id: row.accuracy for row in by_width} == {
        "vit_b_16/base/0": 81.8,
        "vit_b_16/width/-2": 79.9,  # half as wide is S
    }


# Counting


@pytest.mark.parametrize("name", SEGMENTATION)
def test_one_sample_is_counted_in_training_as_half_of_two(name: str) -> None:
    spec = spec_at(name, TINY)
    one_sample = trace_spec(FAMILIES[name], spec, "train").cost
    with torch.device("meta"):
        network, images = FAMILIES[name].build(spec), FAMILIES[name].inputs(spec, 2)
    two = count(network, *images, mode="train")
    assert (one_sample.counted_on, one_sample.uncounted) == ("meta", ())
    assert (2 * one_sample.macs, 2 * one_sample.activations) == (two.macs, two.activations)


# DeepLab's training is left out: oneDNN takes 190 MB of working memory for gradients of dilated convolutions,
# which no count sees, more than all activations of a small image.
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("deeplabv3_resnet50", "infer"),
        ("lraspp_mobilenet_v3_large", "infer"),
        ("lraspp_mobilenet_v3_large", "train"),
    ],
)
def test_the_memory_forecast_of_a_batch_is_within_15_percent_of_torchs_allocator(
    name: str, mode: Any
) -> None:
    family = FAMILIES[name]
    spec = spec_at(name, Scale(resolution=0.25))
    network, (images,) = family.build(spec).train(mode == "train"), family.inputs(spec, 2)
    cost = count(network, images, mode=mode)

    def step() -> None:
        with torch.set_grad_enabled(mode == "train"):
            scores = network(images)["out"]
        if mode == "train":
            scores.sum().backward()

    peak = cost.weight_bytes + images.numel() * 4 + allocator_peak_bytes(step)
    assert math.isclose(cost.forecast_bytes - cost.optimizer_bytes, peak, rel_tol=0.15)


# Measuring


def tiny_job(name: str, **workload: Any) -> Job:
    return Job(0, spec_at(name, TINY), Workload("cpu", threads=1, **workload), name)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_two_trains(name: str, dtype: Any) -> None:
    with recording("train"):
        prepared = Preparer("cpu", 0).prepare(tiny_job(name, batch_size=2, mode="train", dtype=dtype))
        step = prepared.call()
        (outputs,) = tree_leaves(step())
    assert isinstance(step, TrainingStep)
    assert torch.isfinite(outputs).all()
    assert outputs.dtype == (torch.float32 if dtype == "fp32" else torch.bfloat16)


def test_outputs_of_a_vision_transformer_are_of_order_one_though_torchvision_starts_its_head_at_zero() -> (
    None
):
    with recording("infer"):
        prepared = Preparer("cpu", 0).prepare(tiny_job("vit_b_16"))
        assert 0.1 < float(prepared.network(*prepared.inputs).std()) < 10


def test_every_family_sweeps_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    models = [part for name in NAMES for part in ("-m", name)]
    # Two thirds as deep, 0.4 times as wide, and a quarter of the side.
    small = ["--strategy", "d1_w4_r6", "--phi", "-7", "--device", "cpu", "--threads", "1"]
    quick = ["--preset", "quick", "--max-time", "1s", "--no-report", "-o", str(path)]
    # On a busy machine all may be unstable.
    assert run_cli(["sweep", *models, *small, *quick]) in (ExitCode.OK, ExitCode.FAILURE)
    rows = sp.load(path).rows
    assert [row.model for row in rows] == list(NAMES)
    assert {row.status for row in rows} <= {"ok", "unstable"}
    assert all(row.latency_ms and row.macs for row in rows)


def test_one_sample_of_deeplab_cannot_be_trained_and_torch_says_why() -> None:
    with recording("train"):
        step = Preparer("cpu", 0).prepare(tiny_job("deeplabv3_resnet50", mode="train")).call()
        with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
            step()


def test_models_says_what_each_dimension_is(capsys: pytest.CaptureFixture[str]) -> None:
    said = {}
    for name in NAMES:
        assert run_cli(["models", name, "--phi", "0"]) == 0
        said[name] = capsys.readouterr().out
    assert "whole heads of 64" in said["vit_b_16"]
    assert "whole patches of 16" in said["vit_b_16"]
    assert "pairs of blocks" in said["swin_t"]
    assert "whole windows of 28" in said["swin_t"]
    assert "as in resnet50" in said["deeplabv3_resnet50"]
    assert "as in mobilenet_v3_large" in said["lraspp_mobilenet_v3_large"]


def by_law(name: str, scale: Scale) -> dict[str, float]:
    law = law_of(name)
    assert law is not None
    return {
        quantity: sum(
            term.amount
            * scale.depth**term.depth
            * scale.width**term.width
            * scale.resolution**term.resolution
            for term in getattr(law, quantity)
        )
        for quantity in ("macs", "params", "activations")
    }


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
@pytest.mark.parametrize("scale", [Scale(), Scale(depth=2), Scale(width=2), Scale(resolution=2)])
def test_a_vision_transformers_own_law_is_what_is_counted_at_its_base_and_at_twice_each_factor(
    name: str, scale: Scale
) -> None:
    """Here nothing is rounded, and Swin fills no window; the class token is one of 197 and biases are few."""
    cost = count_spec(FAMILIES[name], spec_at(name, scale))
    found = {quantity: getattr(cost, quantity) for quantity in ("macs", "params", "activations")}
    assert by_law(name, scale) == pytest.approx(found, rel=0.01)


def test_resolution_costs_a_vision_transformer_more_than_it_asks_for_and_a_windowed_one_as_much() -> None:
    exponents = {
        name: growth_exponents("resolution", law=law_of(name) or PLAIN_CONVOLUTIONS) for name in NAMES
    }
    macs = {name: one_.macs for name, one_ in exponents.items() if one_ is not None}
    layers, hidden, tokens = 12, 768, 197
    attention_share = 2 * hidden * tokens**2 * layers / base_cost("vit_b_16").macs
    assert macs["vit_b_16"] == pytest.approx(1 + attention_share, abs=0.001)
    assert macs["swin_t"] == pytest.approx(1, abs=0.001)
    assert macs["deeplabv3_resnet50"] == 1

"""EfficientDet against its authors' counts and formula, a closed form, and detections that are known."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from closed_forms_detection import efficientdet, profiled
from conftest import all_unstable
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scaleprof.cli import run as run_cli
from scaleprof.counting.families import count_spec, trace_spec
from scaleprof.errors import UsageError
from scaleprof.measuring.runtimes import RuntimeUnsupportedError, make_runnable
from scaleprof.measuring.weights import settle_batch_norms
from scaleprof.models import FAMILIES
from scaleprof.models.detections import Detections, Detector, anchor_boxes, detect, suppress
from scaleprof.models.efficientdet_network import EfficientDet, Fusion
from scaleprof.models.family import one
from scaleprof.records import Cost, ModelSpec, Workload
from scaleprof.scaling.published import EFFICIENTDET, EFFICIENTNET, efficientdet_formula
from scaleprof.scaling.results import result_of
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName, Scale
from scaleprof.scaling.rules import factors
from scaleprof.scaling.sweep import Sweep, base_spec, expand, make_spec, parse_phi

NETWORK, DETECTOR = "efficientdet_d0", "efficientdet_d0_nms"
BASE, LARGER, SMALLER = Scale(), Scale(1.4, 1.2, 1.3), Scale(0.6, 0.7, 0.8)
TINY = Scale(depth=0.3, width=0.5, resolution=0.25)
STRIDES = (8, 16, 32, 64, 128)

# google/automl, efficientdet/efficientdet_arch_test.py: parameters, and TensorFlow's operations over two.
AUTHORS = {
    "D0": (3880067, 2550618821),
    "D1": (6625898, 6133752112),
    "D2": (8097039, 11045799933),
    "D3": (12032296, 24982737931),
    "D4": (20723675, 55346593717),
    "D5": (33653315, 135729505573),
    "D6": (51871782, 226033623795),
    "D7": (51871782, 325473789367),
}
# Tan, Pang & Le 2020, table 1: input, backbone, channels and layers of the BiFPN, layers of the heads.
RELEASED = {
    0: (512, "B0", 64, 3, 3),
    1: (640, "B1", 88, 4, 3),
    2: (768, "B2", 112, 5, 3),
    3: (896, "B3", 160, 6, 4),
    4: (1024, "B4", 224, 7, 4),
    5: (1280, "B5", 288, 7, 4),
    6: (1280, "B6", 384, 8, 5),
    7: (1536, "B6", 384, 8, 5),
}


def published(name: str, model: str = NETWORK) -> ModelSpec:
    (spec,) = expand(Sweep((model,), ("published",), parse_phi(name)), FAMILIES)
    return spec


def spec_at(scale: Scale, model: str = NETWORK) -> ModelSpec:
    return make_spec(FAMILIES[model], "d1_w1_r1", 1, scale)


def integers(spec: ModelSpec) -> tuple[int, dict[str, Any]]:
    """The input's side and the integers of a spec, for a closed form."""
    assert spec.input_size is not None
    assert spec.shape is not None
    return spec.input_size, dict(spec.shape)


def counts(cost: Cost) -> tuple[int, int, int]:
    return cost.macs, cost.params, cost.activations


@cache
def cost_of(name: str) -> Cost:
    return count_spec(FAMILIES[NETWORK], published(name))


@cache
def tiny_detector() -> tuple[nn.Module, torch.Tensor]:
    """A small detector as it would be timed, and two images."""
    spec = spec_at(TINY, DETECTOR)
    torch.manual_seed(0)
    network = FAMILIES[DETECTOR].build(spec).eval()
    (images,) = FAMILIES[DETECTOR].inputs(spec, 2)
    settle_batch_norms(network, [images])
    return network, images


@pytest.mark.parametrize("name", AUTHORS)
def test_a_released_model_has_its_authors_parameters(name: str) -> None:
    assert cost_of(name).params == AUTHORS[name][0]


def test_d7x_has_the_printed_parameters_and_multiply_adds() -> None:
    cost = cost_of("D7x")
    assert cost.params == pytest.approx(77.0e6, rel=0.005)
    assert cost.macs == pytest.approx(410e9, rel=0.01)


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_count_exceeds_ours_by_element_wise_operations_and_one_a_weight(name: str) -> None:
    cost, (px, shape) = cost_of(name), integers(published(name))
    weights = kernel_weights(published(name))  # each is drawn at random in their graph, and scaled
    others = profiled(px, **shape).total() + weights
    theirs = AUTHORS[name][1]
    # What is left are single numbers: fusion weights, and the scaling of each layer's random numbers.
    assert 0 <= theirs - (cost.macs + others / 2) < 100
    assert 0 < theirs / cost.macs - 1 < 0.024


def kernel_weights(spec: ModelSpec) -> int:
    with torch.device("meta"):
        network = FAMILIES[NETWORK].build(spec)
    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("model", [NETWORK, DETECTOR])
@pytest.mark.parametrize("scale", [BASE, LARGER, SMALLER], ids=["base", "larger", "smaller"])
def test_the_count_equals_the_closed_form(model: str, scale: Scale) -> None:
    cost = count_spec(FAMILIES[model], spec_at(scale, model))
    px, shape = integers(spec_at(scale, model))
    assert counts(cost) == efficientdet(px, **shape)
    assert cost.uncounted == ()


@pytest.mark.parametrize("name", [row.name for row in EFFICIENTDET])
def test_the_count_of_a_released_model_equals_the_closed_form(name: str) -> None:
    px, shape = integers(published(name))
    assert counts(cost_of(name)) == efficientdet(px, **shape)


@pytest.mark.parametrize("model", [NETWORK, DETECTOR])
def test_a_deep_model_is_counted_from_a_short_one_exactly(model: str) -> None:
    spec = spec_at(Scale(depth=3, resolution=0.25), model)
    assert count_spec(FAMILIES[model], spec) == trace_spec(FAMILIES[model], spec).cost


def test_integers_are_rounded_by_the_policy() -> None:
    backbone = {
        "stem_channels": 40,
        "stage_channels": (24, 32, 48, 96, 136, 232, 384),
        "stage_repeats": (2, 3, 3, 5, 5, 6, 2),
    }
    others = {"bifpn_channels": 80, "bifpn_layers": 5, "head_layers": 5, "levels": 5, "weighted_fusion": 1}
    assert FAMILIES[NETWORK].shape_at(Scale(depth=1.4, width=1.2)) == backbone | others
    pycls = FAMILIES[NETWORK].shape_at(Scale(depth=1.4, width=1.2, rounding="pycls"))
    assert (pycls["bifpn_channels"], pycls["bifpn_layers"], pycls["head_layers"]) == (80, 4, 4)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("resolution", "px"), [(0.25, 128), (0.37, 128), (0.38, 256), (1, 512), (1.15, 640), (1.5, 768)]
)
def test_the_input_is_the_nearest_multiple_of_128_pixels(
    resolution: float, px: int, rounding: RoundingName
) -> None:
    assert FAMILIES[NETWORK].integers(Scale(resolution=resolution, rounding=rounding))[1] == px


def test_an_input_that_the_coarsest_level_has_no_pixel_of_is_refused() -> None:
    with pytest.raises(UsageError, match="makes the input 0 px, at least 128 are needed"):
        FAMILIES[NETWORK].integers(Scale(resolution=0.12))


@given(offset=st.floats(0, 1), strategy=st.sampled_from(["compound", "width", "depth", "resolution", "fast"]))
@settings(max_examples=20, deadline=None)
def test_more_phi_never_means_fewer_macs(offset: float, strategy: str) -> None:
    macs = []
    for step in range(100):
        wanted = factors(strategy, -1 + 4 * (step + offset) / 100)
        px, shape = integers(spec_at(Scale(wanted.depth, wanted.width, wanted.resolution)))
        macs.append(efficientdet(px, **shape)[0])
    assert macs == sorted(macs)
    assert macs[0] < macs[-1]


@pytest.mark.parametrize("phi", RELEASED)
def test_released_rows_have_the_integers_of_the_papers_table(phi: int) -> None:
    row = EFFICIENTDET[phi]
    px, backbone, *others = RELEASED[phi]
    assert (row.number, row.name, row.input_px) == (phi, f"D{phi}", px)
    (base,) = (one for one in EFFICIENTNET if one.name == backbone)
    assert (row.width, row.depth) == (base.width, base.depth)
    assert row.shape is not None
    assert [row.shape[key] for key in ("bifpn_channels", "bifpn_layers", "head_layers")] == others
    _, shape = integers(published(str(phi)))
    assert row.shape.items() <= shape.items()
    assert shape["weighted_fusion"] == (phi < 6)


def test_the_papers_formula_is_left_by_its_last_three_rows() -> None:
    left = {}
    for phi, (px, backbone, channels, layers, head_layers) in RELEASED.items():
        rule = efficientdet_formula(phi)
        released = {"px": px, "backbone": backbone, "layers": layers, "head": head_layers}
        asked = {
            "px": rule.input_px,
            "backbone": rule.backbone,
            "layers": rule.bifpn_layers,
            "head": rule.head_layers,
        }
        left[phi] = {key for key in asked if released[key] != asked[key]}
        if abs(channels / rule.bifpn_channels - 1) > 0.06:
            left[phi].add("channels")
    assert {phi: names for phi, names in left.items() if names} == {
        5: {"px", "layers"},
        6: {"layers"},
        7: {"px", "layers", "channels", "backbone"},
    }


def test_the_formulas_channels_grow_by_135_percent_a_step() -> None:
    channels = [round(efficientdet_formula(phi).bifpn_channels, 1) for phi in range(8)]
    assert channels == [64.0, 86.4, 116.6, 157.5, 212.6, 287.0, 387.4, 523.0]


def test_a_printed_ap_joins_the_released_model_and_its_twin_alone() -> None:
    d0, d1 = result_of(published("0")), result_of(published("1", DETECTOR))
    assert d0 is not None
    assert d1 is not None
    assert (d0.accuracy, d1.accuracy) == (34.6, 40.5)
    assert "COCO test-dev AP as printed in Tan, Pang & Le 2020" in d0.label
    assert result_of(base_spec(FAMILIES[NETWORK])) == d0
    same_backbone = make_spec(FAMILIES[NETWORK], "d1_w1_r1", 1, Scale(1.1, 1.0, 1.25))
    assert same_backbone.input_size == published("1").input_size
    assert result_of(same_backbone) is None


def test_a_fusion_is_the_mean_by_weights_that_are_not_negative() -> None:
    ones, twos = torch.ones(1, 8, 2, 2), torch.full((1, 8, 2, 2), 2.0)
    assert torch.allclose(bare_fusion((1, 3))([ones, twos]), torch.tensor((1 * 1 + 3 * 2) / 4.0001))
    assert torch.allclose(bare_fusion((-5, 3))([ones, twos]), torch.tensor(3 * 2 / 3.0001))


def test_a_fusion_without_weights_is_the_sum() -> None:
    assert torch.equal(bare_fusion(None)([torch.ones(1, 8, 2, 2)] * 3), torch.full((1, 8, 2, 2), 3.0))


def bare_fusion(weights: tuple[float, ...] | None) -> Fusion:
    """A fusion of which nothing is left but the fusion itself."""
    fusion = Fusion(2, 8, weights is not None)
    for name in ("act", "conv", "norm"):
        setattr(fusion, name, nn.Identity())
    if weights:
        fusion.load_state_dict({"weights": torch.tensor(weights)})
    return fusion


def test_the_network_gives_logits_and_offsets_of_nine_anchors_at_each_place_of_every_level() -> None:
    spec = spec_at(TINY)
    network = FAMILIES[NETWORK].build(spec).eval()
    with torch.inference_mode():
        logits, offsets = network(*FAMILIES[NETWORK].inputs(spec, 2))
    anchors = 9 * sum((128 // stride) ** 2 for stride in STRIDES)
    assert logits.shape == (2, anchors, 90)
    assert offsets.shape == (2, anchors, 4) == (2, *anchor_boxes(128, STRIDES).shape)


def test_outputs_are_in_the_order_of_the_anchors() -> None:
    # Every image of the class net is the number of its column; every anchor then tells its own place.
    network = FAMILIES[NETWORK].build(spec_at(TINY))
    assert isinstance(network, EfficientDet)
    sides = [128 // stride for stride in STRIDES]
    columns = [torch.arange(side).float().expand(1, 810, side, side) for side in sides]
    network.class_net.register_forward_hook(lambda *_: columns)
    logits, _ = network.eval()(torch.zeros(1, 3, 128, 128))
    strides = torch.cat([torch.full((9 * side * side,), 128 / side) for side in sides])
    assert torch.equal((logits[0, :, 0] + 0.5) * strides, anchor_boxes(128, STRIDES)[:, 1])


def test_anchors_are_three_sizes_of_three_aspects_in_the_middle_of_each_place() -> None:
    anchors = anchor_boxes(128, (8,))
    assert anchors[0].tolist() == [4, 4, 32, 32]
    assert anchors[9].tolist() == [4, 12, 32, 32]
    assert anchors[1].tolist() == pytest.approx([4, 4, 0.7 * 32, 1.4 * 32])
    assert anchors[2].tolist() == pytest.approx([4, 4, 1.4 * 32, 0.7 * 32])
    assert anchors[3].tolist() == pytest.approx([4, 4, 32 * 2 ** (1 / 3), 32 * 2 ** (1 / 3)])


def test_a_box_that_stands_out_is_found_where_its_anchor_is() -> None:
    anchors = anchor_boxes(128, STRIDES)
    logits = torch.full((2, len(anchors), 90), -9.0)
    offsets = torch.zeros(2, len(anchors), 4)
    place = 9 * (8 * 16 + 7)  # row 8, column 7 of P3
    logits[1, place, 17] = 2.0
    found = detect(logits, offsets, anchors, 128)
    assert found.boxes[1, 0].tolist() == [60 - 16, 68 - 16, 60 + 16, 68 + 16]
    assert found.labels[1, 0] == 17
    assert found.scores[1, 0] == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert found.scores[:, 1:].max() < 0.001


def test_overlapping_boxes_of_a_class_give_way_to_the_best_and_those_of_others_stay() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    kept = suppress(boxes, torch.tensor([4.0, 3, 2, -1]), torch.tensor([5, 5, 6, 5]))
    assert kept.tolist() == [4, -torch.inf, 2, -1]


def test_detections_have_one_shape_and_are_filled_up_with_zeros() -> None:
    # 200 candidates of one class in one place: one remains.
    anchors = torch.tensor([[64.0, 64, 32, 32]]).repeat(200, 1)
    logits = torch.linspace(-1, 1, 200).reshape(1, 200, 1).repeat(2, 1, 1)
    found = detect(logits, torch.zeros(2, 200, 4), anchors, 128)
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((2, 100, 4), (2, 100), (2, 100))
    assert found.boxes[0, 0].tolist() == [48, 48, 80, 80]
    assert not any(tensor[:, 1:].any() for tensor in found)


def test_boxes_do_not_leave_the_image() -> None:
    anchors = torch.tensor([[0.0, 64, 100, 300]])
    found = detect(torch.zeros(1, 1, 1), torch.zeros(1, 1, 4), anchors, 128)
    assert found.boxes.tolist() == [[[0, 0, 128, 50]]]


def test_a_detector_with_random_weights_finds_the_same_hundred_boxes_each_time() -> None:
    network, images = tiny_detector()
    with torch.inference_mode():
        first, second = network(images), network(images)
    assert isinstance(first, Detections)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert (first.scores > 0).all()
    assert len(first.labels.unique()) > 10


def test_anchors_stay_where_they_are_when_a_detector_is_cast() -> None:
    network = FAMILIES[DETECTOR].build(spec_at(TINY, DETECTOR))
    assert isinstance(network, Detector)
    before = network.anchor_steps.clone()
    network.to(torch.bfloat16)
    assert torch.equal(network.anchor_steps, before)
    assert torch.allclose(before / 64, anchor_boxes(128, STRIDES), atol=0.01)


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_post_processing_adds_no_macs_and_no_parameters(mode: str) -> None:
    plain, whole = (
        count_spec(FAMILIES[model], spec_at(TINY, model), mode)  # type: ignore[arg-type]
        for model in (NETWORK, DETECTOR)
    )
    assert counts(plain) == counts(whole)
    assert whole.uncounted == ()
    assert whole.counted_on == "meta"


def test_post_processing_is_no_part_of_training() -> None:
    network, images = tiny_detector()
    try:
        logits, offsets = network.train()(images)
    finally:
        network.eval()
    assert logits.shape[2] == 90
    assert offsets.shape[2] == 4


def test_a_runtime_that_cannot_export_nms_says_so_in_a_line(tmp_path: Path) -> None:
    network, images = tiny_detector()
    with torch.inference_mode(), pytest.raises(RuntimeUnsupportedError) as refused:
        make_runnable("onnxruntime", network, (images[:1],), Workload("cpu", runtime="onnxruntime"), tmp_path)
    assert "torch.onnx.export cannot take it: GuardOnDataDependentSymNode" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_both_families_are_swept_into_one_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = ["-m", NETWORK, "-m", DETECTOR, "--strategy", "resolution", "--phi", "-4"]
    written = ["--format", "json", "-o", "det.jsonl", "--report", "det.html"]
    once = ["--preset", "quick", "--max-time", "1s"]
    code = run_cli(["sweep", *wanted, *once, *written])
    out, err = capsys.readouterr()
    assert code == 0 or all_unstable(code, err)
    rows = {row["model"]: row for row in json.loads(out)}
    assert list(rows) == [NETWORK, DETECTOR]
    page = (tmp_path / "det.html").read_text()
    assert f"{NETWORK}/resolution/-4" in page
    assert f"{DETECTOR}/resolution/-4" in page
    assert {row["status"] for row in rows.values()} <= {"ok", "unstable"}
    plain, whole = rows[NETWORK], rows[DETECTOR]
    assert (plain["input_size"], plain["macs"]) == (whole["input_size"], whole["macs"])
    assert one(whole["shape"], "input_size") == 128

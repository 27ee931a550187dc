"""The counter against truth: torchvision's operations, closed forms, torch's allocator, full traces."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from builders import QUICK_FAMILIES
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.profiler import ProfilerActivity, profile
from torchvision import models as vision

from scaleprof.app.counting import count_families
from scaleprof.cli import run as run_cli
from scaleprof.counting import count, count_spec, trace_spec
from scaleprof.counting.counter import Call, _trace_on
from scaleprof.counting.crosscheck import cross_check
from scaleprof.models import FAMILIES, find_model
from scaleprof.records import Mode
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.sweep import base_spec, make_spec

WEIGHTS = [
    weights for name in vision.list_models(module=vision) for weights in vision.get_model_weights(name)
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_macs_equal_torchvisions_published_operations(weights: Any) -> None:
    name = type(weights).__name__.removesuffix("_Weights").lower()
    model = find_model(f"torchvision:{name}")
    (px,) = set(weights.transforms().crop_size)
    spec = msgspec.structs.replace(base_spec(model), input_size=px)
    cost = count_spec(model, spec)
    assert round(cost.macs / 1e9, 3) == weights.meta["_ops"]
    assert cost.uncounted == ()
    assert cost.counted_on == "meta"


def lstm_macs(
    steps: int, inputs: int, hidden: int, gates: int, *, layers: int = 1, directions: int = 1
) -> int:
    sizes = [inputs, *[hidden * directions] * (layers - 1)]
    return sum(steps * directions * gates * hidden * (size + hidden) for size in sizes)


def attention_macs(queries: int, keys: int, width: int) -> int:
    """Four projections and two products; the keys and values come from `keys` tokens."""
    return 2 * queries * width**2 + 2 * keys * width**2 + 2 * queries * keys * width


class SelfAttention(nn.Module):
    def __init__(self, *, weights: bool) -> None:
        super().__init__()
        self.attention, self.weights = nn.MultiheadAttention(64, 4, batch_first=True), weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=self.weights)[0]  # type: ignore[no-any-return]


TEXT, MEMORY = torch.randn(1, 10, 64), torch.randn(1, 12, 64)
STEPS = torch.randn(7, 1, 16)
CLOSED: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...], int]] = {
    "lstm": (lambda: nn.LSTM(16, 32, 2), (STEPS,), lstm_macs(7, 16, 32, 4, layers=2)),
    "lstm both ways": (
        lambda: nn.LSTM(16, 32, 2, bidirectional=True),
        (STEPS,),
        lstm_macs(7, 16, 32, 4, layers=2, directions=2),
    ),
    "gru": (lambda: nn.GRU(16, 32), (STEPS,), lstm_macs(7, 16, 32, 3)),
    "rnn": (lambda: nn.RNN(16, 32), (STEPS,), lstm_macs(7, 16, 32, 1)),
    "fused attention": (lambda: SelfAttention(weights=False), (TEXT,), attention_macs(10, 10, 64)),
    "attention in parts": (lambda: SelfAttention(weights=True), (TEXT,), attention_macs(10, 10, 64)),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2),
        (TEXT,),
        2 * (attention_macs(10, 10, 64) + 2 * 10 * 64 * 128),
    ),
    "decoder": (
        lambda: nn.TransformerDecoderLayer(64, 4, 128, batch_first=True),
        (TEXT, MEMORY),
        attention_macs(10, 10, 64) + attention_macs(10, 12, 64) + 2 * 10 * 64 * 128,
    ),
}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", CLOSED)
def test_sequence_layers_equal_their_closed_forms(name: str, device: Any) -> None:
    make, inputs, macs = CLOSED[name]
    cost = _trace_on(device, make(), Call(inputs, {}), "infer").cost
    assert (cost.macs, cost.uncounted, cost.counted_on) == (macs, (), device)
    assert count(make(), *inputs).macs == macs


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize("transposed", [False, True])
def test_training_a_convolution_costs_its_pass_once_for_each_gradient(groups: int, transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    pair = nn.Sequential(nn.Conv2d(3, 16, 1), kind(16, 32, 3, stride=2, groups=groups))
    image = torch.empty(1, 3, 9, 9)
    first = 81 * 3 * 16
    second = count(pair, image).macs - first
    # Both weights get a gradient, and the second layer's input; the image does not.
    assert count(pair, image, mode="train").macs == 2 * first + 3 * second


def test_training_a_linear_layer_on_a_batch_of_inputs_that_need_none() -> None:
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    assert count(network, torch.empty(5, 8), mode="train").macs == 5 * (2 * 8 * 16 + 3 * 16 * 4)


# Embeddings are no products, and bases of over a hundred million parameters are slow: tests of their own.
OF_IMAGES = [name for name, family in FAMILIES.items() if family.input_unit == "px"]


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_training_step_of_a_family_is_three_passes_but_for_the_first_layer(name: str) -> None:
    family = FAMILIES[name]
    infer, train = (trace_spec(family, base_spec(family), mode).cost for mode in ("infer", "train"))
    assert 2.9 < train.macs / infer.macs < 3
    assert (train.uncounted, train.activations, train.params) == ((), infer.activations, infer.params)
    assert (train.gradient_bytes, train.optimizer_bytes) == (4 * train.params, 8 * train.params)
    assert (infer.gradient_bytes, infer.optimizer_bytes) == (0, 0)


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_counts_of_a_batch_are_those_of_a_sample_times_the_batch(mode: Mode) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    one, four = (count(network, torch.empty(n, 3, 8, 8), mode=mode) for n in (1, 4))
    assert (four.macs, four.activations) == (4 * one.macs, 4 * one.activations)
    assert (four.params, four.weight_bytes) == (one.params, one.weight_bytes)


def allocator_peak_bytes(run: Callable[[], object]) -> int:
    """The most bytes that torch's CPU allocator held at once beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        run()
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("name", QUICK_FAMILIES)
def test_the_memory_forecast_is_within_15_percent_of_torchs_allocator(name: str, mode: Mode) -> None:
    family = FAMILIES[name]
    spec = base_spec(family)
    cost = trace_spec(family, spec, mode).cost
    network = family.build(spec).train(mode == "train")
    (images,) = family.inputs(spec, 1)

    def step() -> None:
        with torch.set_grad_enabled(mode == "train"):
            scores = network(images)
        if mode == "train":
            scores.sum().backward()

    peak = cost.weight_bytes + images.numel() * 4 + allocator_peak_bytes(step)
    assert math.isclose(cost.forecast_bytes - cost.optimizer_bytes, peak, rel_tol=0.15)


def test_optimizer_bytes_are_those_of_adamws_state() -> None:
    network = nn.Linear(30, 40)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(2, 30)).sum().backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    held = sum(tensor.numel() * tensor.element_size() for tensor in moments)
    assert count(network, torch.empty(2, 30), mode="train").optimizer_bytes == held


@pytest.mark.parametrize("scale", [Scale(5, 1.1, 1.1), Scale(2.6, 0.8, 1.0, "pycls")])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_deep_family_counted_from_a_short_one_equals_its_full_trace(name: str, scale: Scale) -> None:
    family = FAMILIES[name]
    spec = make_spec(family, "deep", 1, scale)
    assert count_spec(family, spec) == trace_spec(family, spec).cost


def test_traffic_is_what_operators_read_and_write() -> None:
    cost = count(nn.Linear(10, 20, bias=False), torch.empty(3, 10))
    assert (cost.read_bytes, cost.written_bytes) == (4 * (30 + 200), 4 * 60)
    assert cost.macs_per_byte == 600 / (4 * 290)


def test_modules_add_up_to_their_network() -> None:
    family = FAMILIES["resnet18"]
    whole, *parts = trace_spec(family, base_spec(family)).modules(1)
    assert (whole.path, whole.macs, whole.params) == ("", 1_814_073_344, 11_689_512)
    for field in ("macs", "params", "activations", "written_bytes"):
        assert sum(getattr(part, field) for part in parts) == getattr(whole, field)
    assert {part.path: part.macs for part in parts}["conv1"] == 112 * 112 * 64 * 147


def test_a_custom_operator_and_a_higher_order_one_are_named() -> None:
    @torch.library.custom_op("scaleprof_tests::scan", mutates_args=())
    def scan(x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(0)

    scan.register_fake(torch.empty_like)

    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return scan(x) + 1  # type: ignore[no-any-return]

    (operator,) = count(Odd(), torch.empty(3, 4)).uncounted
    assert (operator.operator, operator.calls, operator.output_elements) == ("scaleprof_tests::scan", 1, 12)


class Chooses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: self.linear(x), lambda x: 2 * x, (x,))  # type: ignore[no-any-return]


class Attends(nn.Module):
    def forward(self, heads: torch.Tensor) -> torch.Tensor:
        return flex_attention(heads, heads, heads)


def test_flexible_attention_counts_its_two_products() -> None:
    cost = count(Attends(), torch.randn(1, 2, 128, 16))
    assert (cost.macs, cost.uncounted) == (2 * 2 * 128 * 128 * 16, ())
    assert cost.activations == 2 * (128 * 128 + 128 * 16)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_of_two_branches_the_dearer_counts_and_the_count_says_so(sign: int, device: Any) -> None:
    traced = _trace_on(device, Chooses(), Call((sign * torch.ones(2, 8),), {}), "infer")
    assert (traced.cost.macs, traced.cost.uncounted, traced.cost.counted_on) == (2 * 8 * 8, (), device)
    (assumption,) = traced.cost.assumptions
    assert assumption.startswith("cond: the dearest branch")


def test_compiled_and_scripted_modules_count_as_the_modules_that_they_are() -> None:
    linear, example = nn.Linear(8, 4), torch.randn(2, 8)
    networks: tuple[Any, ...] = (torch.compile(linear), torch.jit.script(linear))
    for network in networks:
        assert count(network, example).macs == 2 * 8 * 4


CHECKED: dict[str, tuple[Callable[[], nn.Module], torch.Tensor, float]] = {
    "efficientnet_b0": (vision.efficientnet_b0, torch.randn(1, 3, 224, 224), 0.041),
    "vit_b_16": (vision.vit_b_16, torch.randn(1, 3, 224, 224), -0.040),
    "lstm": (lambda: nn.LSTM(16, 32, 2), STEPS, -1.0),
    "swin_t": (vision.swin_t, torch.randn(1, 3, 224, 224), 0.004),
    "encoder": (CLOSED["encoder"][0], TEXT, -0.019),
}


@pytest.mark.parametrize("name", CHECKED)
def test_every_difference_to_fvcore_is_explained(name: str) -> None:
    make, example, difference = CHECKED[name]
    check = cross_check(make().train(), example)
    assert check.theirs / check.ours - 1 == pytest.approx(difference, abs=0.001)
    assert check.unexplained == 0
    assert check.ours == count(make(), example).macs


def test_a_difference_that_nobody_knows_is_said_to_be_unexplained() -> None:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.baddbmm(x, x, x)

    check = cross_check(Product(), torch.randn(2, 3, 3))
    assert (check.ours, check.theirs) == (54, 0)
    assert check.unexplained == -54


def test_the_views_of_a_count_agree_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["count", "-m", "resnet18", "--phi", "0", "--strategy", "width"]
    for view, total in ((["--by-operator"], 1_814_073_344), (["--by-module", "1"], 2 * 1_814_073_344)):
        assert run_cli([*asked, *view, "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert sum(row["macs"] for row in rows) == total
        assert run_cli([*asked, *view, "--format", "csv"]) == 0
        lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert [int(line["macs"]) for line in lines] == [row["macs"] for row in rows]
        for format_ in ("table", "markdown"):
            assert run_cli([*asked, *view, "--format", format_]) == 0
            assert "1.81 G" in capsys.readouterr().out
    assert run_cli([*asked, "--cross-check", "fvcore"]) == 0
    assert "all explained" in capsys.readouterr().out


def test_strict_counting_fails_on_an_operator_without_a_formula(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Scan(nn.Module):\n"
        "    def forward(self, x): return torch.fft.fft2(x).abs()\n"
        "def build(scale): return nn.Sequential(nn.Conv2d(3, 8, 1), Scan())\n"
    )
    asked = ["count", "-m", "scans.py:build", "--phi", "0", "--strategy", "resolution"]
    assert run_cli(asked) == 0
    assert run_cli([*asked, "--strict-count"]) == 3
    assert "no formula for _fft_c2c in scans:build/base/0" in capsys.readouterr().err


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_has_an_operator_without_a_formula(name: str) -> None:
    family = FAMILIES[name]
    cost = count_spec(family, base_spec(family))
    assert (cost.uncounted, cost.assumptions, cost.counted_on) == ((), (), "meta")


def test_a_sweep_in_training_mode_counts_steps() -> None:
    (infer,), (train,) = (count_families("resnet18", phi=0, mode=mode) for mode in ("infer", "train"))
    assert (infer.mode, train.mode) == ("infer", "train")
    assert train.macs is not None
    assert infer.macs is not None
    assert 2.9 < train.macs / infer.macs < 3
    assert (train.forecast_bytes or 0) > 3 * (infer.forecast_bytes or 0)

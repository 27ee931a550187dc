"""The counter against closed forms, fvcore, and its own promises."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from scaleprof.counting import count
from scaleprof.errors import CountingError
from scaleprof.measuring.estimate import REFERENCE_MACS
from scaleprof.measuring.references import ReferenceNetwork
from scaleprof.models import FAMILIES
from scaleprof.scaling.rounding import Scale


def base_network() -> nn.Module:
    family = FAMILIES["efficientnet_b0"]
    return family.construct(family.shape_at(Scale()))


def test_a_convolution_and_a_linear_layer_equal_their_closed_forms() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 16 * 16, 10))
    cost = count(network, torch.empty(1, 3, 32, 32))
    assert cost.macs == 16 * 16 * 8 * 27 + 2048 * 10
    assert cost.activations == 16 * 16 * 8 + 10
    assert cost.params == 8 * 27 + 8 + 20480 + 10


def test_grouped_and_depthwise_convolutions_count_their_own_channels() -> None:
    cost = count(nn.Conv2d(16, 32, 5, padding=2, groups=16), torch.empty(1, 16, 10, 10))
    assert cost.macs == 100 * 32 * 25 * (16 // 16)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_an_lstm_equals_its_closed_form_on_meta_and_from_real_tensors(device: str) -> None:
    inputs, hidden, steps = 16, 32, 7
    cost = count(nn.LSTM(inputs, hidden, 2, device=device), torch.empty(steps, 1, inputs, device=device))
    assert cost.macs == steps * 4 * (inputs * hidden + hidden * hidden + 2 * hidden * hidden)
    assert cost.uncounted == ()


def test_attention_counts_both_products() -> None:
    tokens, width = 10, 64
    cost = count(nn.MultiheadAttention(width, 4, batch_first=True), *[torch.empty(1, tokens, width)] * 3)
    assert cost.macs == 4 * tokens * width * width + 2 * tokens * tokens * width


def test_macs_equal_fvcores_for_what_both_count() -> None:
    network = base_network().eval()
    image = torch.rand(1, 3, 64, 64)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = (
        FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    )
    theirs = analysis.by_operator()
    assert count(network, image).macs == theirs["conv"] + theirs["linear"]


def test_macs_grow_with_the_batch_and_parameters_do_not() -> None:
    network = nn.Conv2d(3, 8, 3)
    one, four = (count(network, torch.empty(n, 3, 16, 16)) for n in (1, 4))
    assert (four.macs, four.activations, four.params) == (4 * one.macs, 4 * one.activations, one.params)


def test_shared_weights_count_once() -> None:
    shared = nn.Linear(8, 8)
    cost = count(nn.Sequential(shared, shared), torch.empty(1, 8))
    assert cost.params == 72
    assert cost.weight_bytes == 72 * 4
    assert cost.macs == 128


def test_the_module_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = copy.deepcopy(network.state_dict())
    count(network, torch.rand(2, 3, 8, 8))
    assert network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_peak_activations_of_a_chain_are_its_two_largest_neighbours() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow = nn.Linear(10, 1000), nn.Linear(1000, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.narrow(self.wide(x).relu())  # type: ignore[no-any-return]

    # The input is held by the caller; the largest moment is the ReLU's, with its input and output alive.
    assert count(Chain(), torch.empty(1, 10)).peak_activation_bytes == 4 * (10 + 1000 + 1000)


def test_an_operator_without_a_formula_is_named_with_its_size() -> None:
    class Transforms(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x, dim=1)  # type: ignore[no-any-return]

    (operator,) = count(Transforms(), torch.empty(1, 6)).uncounted
    assert (operator.operator, operator.calls, operator.output_elements) == ("_fft_r2c", 1, 6)


class Branches(nn.Module):
    """Its control flow depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(2, 3), nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x if x.sum().item() > 0 else -x))  # type: ignore[no-any-return]


def test_control_flow_on_values_is_counted_on_the_cpu_and_marked() -> None:
    network = Branches().train()
    before = copy.deepcopy(network.state_dict())
    cost = count(network, torch.ones(2, 2), mode="train")
    assert (cost.counted_on, count(nn.Linear(2, 3), torch.ones(1, 2)).counted_on) == ("cpu", "meta")
    assert cost.macs == 2 * (6 + 6)  # the input needs no gradient
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_control_flow_on_values_without_values_is_an_error_that_names_the_model() -> None:
    with pytest.raises(CountingError, match="Branches cannot be counted: "):
        count(Branches(), torch.ones(2, 2, device="meta"))


def test_a_network_that_does_not_fit_its_inputs_is_told_in_torchs_words() -> None:
    with pytest.raises(CountingError, match="Linear cannot be counted: mat1 and mat2 shapes"):
        count(nn.Linear(7, 3), torch.ones(1, 2))


def test_the_reference_network_has_the_macs_that_forecasts_assume() -> None:
    assert count(ReferenceNetwork(), torch.empty(1, 3, 64, 64)).macs == REFERENCE_MACS

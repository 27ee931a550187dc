"""The counter on networks that others wrote: closed forms for transformers, and fvcore for timm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
import zoo_oracle as pictures
import zoo_transformers as texts
from torch import nn

from scaleprof.counting import count
from scaleprof.records import Cost

Inputs = dict[str, torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other at each small operator take several times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports is not ours
        return pytest.importorskip("transformers", reason="the networks are those of transformers")


def make(
    library: Any, name: str, device: str = "cpu", options: Mapping[str, Any] | None = None
) -> tuple[nn.Module, Inputs, int]:
    """A network with random weights, its inputs, and what its closed form gives."""
    network = texts.NETWORKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of small configurations
        config = getattr(library, network.config)(**network.fields, **(options or {}))
        with torch.device(device):
            module: nn.Module = getattr(library, network.model)(config)
    inputs = {
        key: torch.arange(math.prod(shape), dtype=dtype, device=device).reshape(shape)
        for key, shape in network.inputs.items()
        for dtype in [torch.int64 if "ids" in key else torch.float32]
    }
    return module, inputs, network.macs(config)


def counted(module: nn.Module, *images: torch.Tensor, **inputs: Any) -> Cost:
    cost = count(module, *images, **inputs)
    assert cost.uncounted == ()
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())
    return cost


@pytest.mark.parametrize("name", texts.NETWORKS)
def test_a_network_of_transformers_counts_as_its_configuration_says(library: Any, name: str) -> None:
    module, inputs, macs = make(library, name)
    assert counted(module, **inputs).macs == macs


@pytest.mark.parametrize("name", texts.NETWORKS)
def test_a_network_that_was_never_given_memory_counts_the_same(library: Any, name: str) -> None:
    module, inputs, macs = make(library, name, "meta")
    cost = counted(module, **inputs)
    assert (cost.macs, cost.counted_on) == (macs, "meta")


@pytest.mark.parametrize("name", [name for name in texts.NETWORKS if name != "state space"])
def test_attention_written_out_counts_as_the_fused_call(library: Any, name: str) -> None:
    module, inputs, macs = make(library, name, options={"attn_implementation": "eager"})
    assert counted(module, **inputs).macs == macs


@pytest.mark.parametrize("way", ["eager", "batched_mm", "grouped_mm"])
def test_a_mixture_of_experts_counts_the_experts_that_each_token_takes(library: Any, way: str) -> None:
    module, inputs, macs = make(library, "experts", options={"experts_implementation": way})
    assert macs == texts.MIXTRAL_MACS == 1_594_368
    assert counted(module, **inputs).macs == 1_594_368


@pytest.mark.parametrize("name", pictures.NETWORKS)
def test_a_network_of_timm_counts_what_fvcore_counts(name: str) -> None:
    pytest.importorskip("timm", reason="the networks are those of timm")
    picture = pictures.NETWORKS[name]
    cost = counted(picture.make(name, "meta"), picture.images("meta"))
    assert cost.macs == pictures.fvcore_macs(picture, picture.make(name, "cpu"))

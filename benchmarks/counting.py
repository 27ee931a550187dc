"""Counters side by side: `pip install ".[bench]" && python benchmarks/counting.py [--write]`.

How long each takes to count a network that is already built, and how far it is from the truth: torchvision's
published operations, or a closed form. Then the 29 models of `--phi 0..7` over four strategies, by this
counter and by torch's FlopCounterMode, in one run. `--write` keeps the tables in the docs.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tables import write_between
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as vision

from scaleprof.app.choosing import choose
from scaleprof.app.counting import count_choice
from scaleprof.counting import count, count_spec
from scaleprof.models import FAMILIES
from scaleprof.scaling.sweep import expand

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "counting.md", ROOT / "README.md")
PAIRS = 5
STEPS, WIDTH, LAYERS, FEED_FORWARD = 128, 512, 2, 2048


class Case(NamedTuple):
    """A network, its example input, the name of its first argument, and its true MACs."""

    name: str
    make: Callable[[], nn.Module]
    example: torch.Tensor
    argument: str
    truth: float


def vision_case(title: str, name: str) -> Case:
    weights = vision.get_model_weights(name)["IMAGENET1K_V1"]
    (px,) = set(weights.transforms().crop_size)
    image = torch.randn(1, 3, px, px)
    return Case(title, lambda: vision.get_model(name, weights=None), image, "x", weights.meta["_ops"] * 1e9)


def cases() -> list[Case]:
    text = torch.randn(1, STEPS, WIDTH)
    layer = nn.TransformerEncoderLayer(WIDTH, 8, FEED_FORWARD, batch_first=True)
    encoder_macs = LAYERS * STEPS * (4 * WIDTH**2 + 2 * STEPS * WIDTH + 2 * WIDTH * FEED_FORWARD)
    return [
        vision_case("EfficientNet-B0", "efficientnet_b0"),
        vision_case("EfficientNet-B4", "efficientnet_b4"),
        vision_case("EfficientNet-B7", "efficientnet_b7"),
        vision_case("ResNet-50", "resnet50"),
        vision_case("ViT-B/16", "vit_b_16"),
        vision_case("Swin-T", "swin_t"),
        vision_case("ConvNeXt-T", "convnext_tiny"),
        Case(
            "LSTM",
            lambda: nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True),
            text,
            "input",
            LAYERS * STEPS * 8 * WIDTH**2,
        ),
        Case(
            "Encoder",
            lambda: nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False),
            text,
            "src",
            encoder_macs,
        ),
    ]


def ours(network: nn.Module, case: Case) -> float:
    return count(network, case.example).macs


def torch_counter(network: nn.Module, case: Case) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(case.example)
    return float(counter.get_total_flops()) / 2


def fvcore(network: nn.Module, case: Case) -> float:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(network, case.example)
    return float(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def ptflops(network: nn.Module, case: Case) -> float:
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        network,
        tuple(case.example.shape[1:]),
        as_strings=False,
        print_per_layer_stat=False,
        input_constructor=lambda _: {case.argument: case.example},
    )
    return float(macs or 0)


def thop(network: nn.Module, case: Case) -> float:
    from thop import profile

    return float(profile(network, inputs=(case.example,), verbose=False)[0])


def torchinfo(network: nn.Module, case: Case) -> float:
    from torchinfo import summary

    return float(summary(network, input_data=case.example, verbose=0).total_mult_adds)


COUNTERS: dict[str, Callable[[nn.Module, Case], float]] = {
    "scaleprof": ours,
    "FlopCounterMode": torch_counter,
    "fvcore": fvcore,
    "ptflops": ptflops,
    "thop": thop,
    "torchinfo": torchinfo,
}


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began_s = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began_s


def cell(counter: Callable[[nn.Module, Case], float], case: Case) -> str:
    network = case.make().eval()
    try:
        macs, seconds = timed(lambda: counter(network, case))
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
        return f"fails ({type(error).__name__})"
    difference = macs / case.truth - 1
    exact = "exact" if abs(difference) < 5e-4 else f"{difference:+.1%}"
    return f"{exact}, {seconds:.2f} s"


def compare() -> list[str]:
    lines = [
        f"| network | true MACs | {' | '.join(COUNTERS)} |",
        f"| :-- | --: |{' --: |' * len(COUNTERS)}",
    ]
    cell(ours, cases()[0])  # what is slow once in a process is nobody's fault
    for case in cases():
        cells = " | ".join(cell(counter, case) for counter in COUNTERS.values())
        lines.append(f"| {case.name} | {case.truth / 1e9:.3f} G | {cells} |")
    return lines


def family() -> list[str]:
    """The whole default family of φ 0..7, both ways, and whether the numbers are the same."""
    choice = choose(phi="0..7")
    counted, ours_s = timed(lambda: count_choice(choice))
    model = FAMILIES["efficientnet_b0"]

    def by_torch() -> list[float]:
        macs = []
        for spec in expand(choice.sweep, choice.models):
            with torch.device("meta"):
                network, inputs = model.build(spec).eval(), model.inputs(spec, 1)
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                network(*inputs)
            macs.append(counter.get_total_flops() / 2)
        return macs

    theirs, theirs_s = timed(by_torch)
    same = [one.cost.macs for one in counted if one.cost] == theirs
    return [
        f"The {len(theirs)} models of `--phi 0..7` over four strategies take {ours_s:.1f} s here.",
        f"Building each on the meta device and counting it with FlopCounterMode takes {theirs_s:.1f} s,",
        f"{theirs_s / ours_s:.1f} times as long. MACs are {'identical' if same else 'NOT IDENTICAL'}.",
    ]


def published_b7() -> list[str]:
    """B7 from its spec, building included, against fvcore on the network that is built already."""
    model = FAMILIES["efficientnet_b0"]
    choice = choose(strategies="published", phi="7")
    (spec,) = expand(choice.sweep, choice.models)
    case = vision_case("EfficientNet-B7", "efficientnet_b7")
    network = case.make().eval()
    pairs = [
        (timed(lambda: count_spec(model, spec))[1], timed(lambda: fvcore(network, case))[1])
        for _ in range(PAIRS)
    ]
    ours_s, again_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    first_s = pairs[0][1]
    return [
        f"B7 from its coefficients, as a sweep counts it, takes {ours_s:.3f} s, building included. fvcore",
        f"takes {first_s:.2f} s on the network that is built, {first_s / ours_s:.0f} times as long,",
        f"and {again_s:.2f} s when it is repeated, {again_s / ours_s:.0f} times as long "
        f"(medians of {PAIRS}, in turn).",
    ]


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    text = "\n".join([*compare(), "", *family(), "", *published_b7()])
    if "--write" in sys.argv:
        for page in PAGES:
            write_between("counters", text, page)
    print(text)


if __name__ == "__main__":
    main()

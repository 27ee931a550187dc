"""The options of `scaleprof check`, which has one workload where a sweep has several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scaleprof.cli.options import BudgetText
from scaleprof.scaling.rounding import ROUNDINGS

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("text", "json", "github", "junit")
DEFAULT_MODEL = "efficientnet_b0"


def check_options(command: Command) -> Command:
    """All of them: what is checked, against what, how it is run, what is allowed, and what is written."""
    for options in (_OUTPUTS, _RULES, _WORKLOAD, _WAYS, _TARGETS):
        for option in reversed(options):
            command = option(command)
    return command


_TARGETS = [
    click.option(
        "-m", "--model", "models", multiple=True,
        metavar="NAME|FILE.py:FACTORY|MODULE:FACTORY|torchvision:NAME|timm:NAME",
        help="Model to check; repeatable. The code of FILE or MODULE is executed, in each revision.  "
        f"[default: with --self-test and in scaleprof's own tree {DEFAULT_MODEL}, with --baseline all models "
        "of the run]",
    ),
    click.option(
        "--target", "functions", multiple=True, metavar="MODULE:FUNCTION",
        help="Function that returns a callable and its inputs, instead of a model; repeatable. Its code is "
        "executed, in each revision.",
    ),
    click.option(
        "--strategy", "strategies", default="base", show_default=True, metavar="S,S…",
        help="Directions of growth, as for sweep; base is the model as it is.",
    ),
    click.option("--phi", default="0", show_default=True, metavar="0..2", help="Compound coefficients."),
    click.option(
        "--depth-base", type=float, default=1.2, show_default=True, help="Compound growth of depth per φ."
    ),
    click.option(
        "--width-base", type=float, default=1.1, show_default=True, help="Compound growth of width per φ."
    ),
    click.option(
        "--resolution-base", type=float, default=1.15, show_default=True,
        help="Compound growth of resolution per φ.",
    ),
    click.option(
        "--rounding", type=click.Choice(ROUNDINGS), default="tf", show_default=True,
        help="How factors become whole layers, channels and pixels.",
    ),
]  # fmt: skip

_WAYS = [
    click.option(
        "--against", metavar="REV", help="Race the working tree against this git revision: the gate."
    ),
    click.option(
        "--baseline", type=click.Path(path_type=Path), metavar="RUN",
        help="Hold this machine against a kept run of sweep --preset rigorous: a tripwire.",
    ),
    click.option(
        "--self-test", is_flag=True,
        help="Race the working tree against itself, and tell how small a slowdown is found on this machine.",
    ),
    click.option(
        "--replay", type=click.Path(path_type=Path), metavar="FILE",
        help="Judge again what --format json wrote; nothing is measured.",
    ),
    click.option(
        "--exact-only", is_flag=True,
        help="Only what is counted: MACs, parameters, activations, operators. Nothing is timed.",
    ),
    click.option("--dry-run", is_flag=True, help="Show what would be checked, and stop there."),
]  # fmt: skip

_WORKLOAD = [
    click.option(
        "-d", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N",
        help="Where to run.",
    ),
    click.option(
        "-b", "--batch-size", default="1", show_default=True, metavar="N", help="Samples per pass."
    ),
    click.option("--threads", metavar="N", help="CPU threads  [default: the CPUs this process may use]"),
    click.option(
        "--dtype", default="fp32", show_default=True, metavar="fp32|bf16|fp16", help="Of computing."
    ),
    click.option(
        "--cast", default="weights", show_default=True, metavar="weights|autocast",
        help="How, below fp32: weights and inputs are cast, or torch casts at each operator.",
    ),
    click.option(
        "--mode", type=click.Choice(["infer", "train", "decode"]), default="infer", show_default=True,
        help="A forward pass; a training step; or one new token against a key–value cache.",
    ),
    click.option(
        "--runtime", default="eager", show_default=True, metavar="eager|compile|onnxruntime|openvino",
        help="What runs the network; on CUDA also cudagraph.",
    ),
    click.option(
        "--memory-format", default="contiguous", show_default=True, metavar="contiguous|channels_last",
        help="Of weights and images.",
    ),
    click.option(
        "--max-time", default="10m", show_default=True, metavar="10m",
        help="Begin nothing that would end later.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True,
        help="Of weights, inputs and order.",
    ),
]  # fmt: skip

_RULES = [
    click.option(
        "--limit", "limit", multiple=True, type=BudgetText(), metavar="METRIC=SHARE",
        help="By how much a metric may grow: latency (2%), peak_memory (5%, on CUDA 1%), macs, params, "
        "activations (0); repeatable.",
    ),
    click.option(
        "--budget", "budget", multiple=True, type=BudgetText(), metavar="METRIC<=QUANTITY",
        help='What a target may take, such as "latency_ms<=10" (in quotes); repeatable. Broken only where '
        "the whole interval is beyond.",
    ),
    click.option(
        "--pair-noise", default="2%", show_default=True, metavar="SHARE",
        help="By how much fresh pairs of the same code differ (standard deviation); --self-test tells it.",
    ),
    click.option(
        "--fail-on", default="", metavar="inconclusive,mismatch,missing",
        help="What fails besides a regression, with the exit codes 4, 6 and 5.",
    ),
    click.option(
        "--confirm", type=click.Choice(["auto", "never"]), default="auto", show_default=True,
        help="With --baseline: race what is flagged against the run's own revision, where that is known.",
    ),
    click.option(
        "--update-baseline", is_flag=True,
        help="With --baseline: put what was measured in the run's place.",
    ),
]  # fmt: skip

_OUTPUTS = [
    click.option(
        "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True,
        help="A table; JSON with all samples; GitHub's annotations, and its step summary; JUnit XML.",
    ),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
        help="Write the format there (of github, the Markdown); the table goes to stdout.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace the check in --output."),
]  # fmt: skip

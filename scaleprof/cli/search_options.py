"""The options of `scaleprof search`: grid, score and data, how trials run, and what is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scaleprof.cli.options import format_option
from scaleprof.scaling.rounding import ROUNDINGS

Command = TypeVar("Command", bound=Callable[..., Any])


def search_options(command: Command) -> Command:
    """All of them, in the order of the help text."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = [
    click.option(
        "-m",
        "--model",
        default="efficientnet_b0",
        show_default=True,
        metavar="NAME|FILE.py:FACTORY|MODULE:FACTORY",
        help="Model to grow (scaleprof models lists the families). The code of FILE or MODULE is executed.",
    ),
    click.option(
        "--grid-step",
        type=float,
        default=0.05,
        show_default=True,
        help="Step between bases of the grid, each at least 1.",
    ),
    click.option(
        "--target-growth",
        type=float,
        default=2.0,
        show_default=True,
        help="What a candidate costs, as a multiple of the base: D · W² · R².",
    ),
    click.option(
        "--tolerance",
        default="10%",
        show_default=True,
        metavar="10%",
        help="How far from the target a candidate's growth may be, nominal and achieved.",
    ),
    click.option(
        "--cost",
        type=click.Choice(["macs", "latency_ms"]),
        default="macs",
        show_default=True,
        help="The cost that is to grow to the target: counted, or measured here.",
    ),
    click.option(
        "--data",
        metavar="NAME|FOLDER",
        help="Train on digits (scikit-learn's), a dataset of torchvision's such as cifar10, or a folder with "
        "a folder of images a class  [default: digits]",
    ),
    click.option(
        "--objective",
        metavar="FILE.py:FUNCTION",
        help="Score by a function of your own instead: FUNCTION(network, spec) returns a score, or a score "
        "and half its 95 % interval. Its code is executed.",
    ),
    click.option(
        "--scores",
        type=click.Path(path_type=Path),
        metavar="FILE.csv",
        help="Take scores from a table instead: depth,width,resolution[,phi][,seed],score[,error].",
    ),
    click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Of each training."),
    click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trials a candidate."),
    click.option("--input-size", type=click.IntRange(1), help="Side at resolution 1  [default: by the data]"),
    click.option("--batch-size", type=click.IntRange(1), help="Images a step  [default: by the data]"),
    click.option(
        "--optimizer",
        type=click.Choice(["adamw", "sgd"]),
        default="sgd",
        show_default=True,
        help="SGD has Nesterov momentum.",
    ),
    click.option("--learning-rate", type=float, help="At its peak  [default: by optimizer and batch]"),
    click.option(
        "--transfer",
        is_flag=True,
        help="Also try what was chosen, 1.2/1.1/1.15 and the controls at φ = 2 and 3.",
    ),
    click.option(
        "--rounding",
        type=click.Choice(ROUNDINGS),
        default="tf",
        show_default=True,
        help="How factors become whole layers, channels and pixels.",
    ),
    click.option(
        "-d",
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to run.",
    ),
    click.option(
        "--jobs", type=click.IntRange(1), help="Trials at once  [default: one a GPU, or one a core]"
    ),
    click.option("--threads", type=click.IntRange(1), help="CPU threads of each  [default: 1 on the CPU]"),
    click.option("--timeout", metavar="30m", help="Longest time of one trial  [default: none]"),
    click.option("--resume", is_flag=True, help="Go on with the search in --output."),
    click.option(
        "--overwrite", is_flag=True, help="Replace the search in --output, and the bases beside it."
    ),
    click.option(
        "--dry-run", is_flag=True, help="Show candidates, their costs and the time, and stop there."
    ),
    click.option("--yes", is_flag=True, help="Do not ask before a long search."),
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Search file  [default: searches/MODEL-TIME.jsonl]",
    ),
    click.option(
        "--report",
        "report_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Report to write  [default: reports/, named as the search]",
    ),
    click.option("--no-report", is_flag=True, help="Write no report."),
    format_option,
]

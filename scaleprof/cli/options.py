"""Options that several verbs share, and the types they parse to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from scaleprof.errors import UsageError
from scaleprof.records import MatchMetric
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, RELATIVE_FORM, STRATEGIES, Bases
from scaleprof.scaling.sweep import MATCHES
from scaleprof.units import three_digits

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scaleprof.app.choosing import Choice
    from scaleprof.measuring.messages import Job
    from scaleprof.records import BatchTrial
    from scaleprof.reporting.rows import Row

Command = TypeVar("Command", bound=Callable[..., Any])

_PIPED_WIDTH = 500
TABLE_FORMATS = ("table", "json", "csv", "markdown")


def model_options(command: Command) -> Command:
    """Which models: `--model`, and how to scale them."""
    return click.option(
        "-m", "--model", "models", multiple=True, default=["efficientnet_b0"], show_default=True,
        metavar="NAME|FILE.py:FACTORY|MODULE:FACTORY|torchvision:NAME|timm:NAME",
        help="Model to scale; repeatable (scaleprof models lists the families). The code of FILE or "
        "MODULE is executed.",
    )(scaling_options(command))  # fmt: skip


def scaling_options(command: Command) -> Command:
    """How to scale: `--strategy`, `--phi`, the compound bases, `--match` and `--rounding`."""
    for option in reversed(
        [
            click.option(
                "--strategy", "strategies", default=",".join(DEFAULT_STRATEGIES), show_default=True,
                metavar="S,S…",
                help=f"Directions of growth: {', '.join(STRATEGIES)}, shares such as {RELATIVE_FORM}, or "
                "compound with the bases of a file, @FILE.json.",
            ),
            click.option(
                "--phi", default="0..3", show_default=True, metavar="0..7",
                help="Compound coefficients: 0..7, 0..2:0.5, 0,1,2.5, -1..2; rows by name (L2) with "
                "--strategy published.",
            ),
            click.option(
                "--depth-base", type=float, default=1.2, show_default=True,
                help="Compound growth of depth per φ (Tan & Le's α).",
            ),
            click.option(
                "--width-base", type=float, default=1.1, show_default=True,
                help="Compound growth of width per φ (Tan & Le's β).",
            ),
            click.option(
                "--resolution-base", type=float, default=1.15, show_default=True,
                help="Compound growth of resolution per φ (Tan & Le's γ).",
            ),
            click.option(
                "--match", type=click.Choice(["none", *MATCHES]), default="none", show_default=True,
                help="Solve each strategy's growth so that this metric comes nearest to base × 2^φ.",
            ),
            click.option(
                "--rounding", type=click.Choice(ROUNDINGS), default="tf", show_default=True,
                help="How factors become whole layers, channels and pixels.",
            ),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def format_option(command: Command) -> Command:
    """`--format` of the rows on stdout."""
    return click.option(
        "--format", "format_", type=click.Choice(TABLE_FORMATS), default="table", show_default=True,
        help="How the rows are written to stdout.",
    )(command)  # fmt: skip


class BudgetText(click.types.StringParamType):
    """A text with budgets; in the environment, too, commas separate several."""

    envvar_list_splitter = ","


def budget_option(command: Command) -> Command:
    """`--budget`: what the recommended model may cost."""
    return click.option(
        "--budget", "budgets", multiple=True, type=BudgetText(), metavar="METRIC<=QUANTITY",
        help='What a model may cost, such as "latency_ms<=10", "peak_memory_bytes<=2GiB" or '
        '"throughput_per_s>=100" (in quotes); repeatable. The best model within is recommended.',
    )(command)  # fmt: skip


def choose_models(
    *,
    models: Sequence[str],
    strategies: str,
    phi: str,
    depth_base: float,
    width_base: float,
    resolution_base: float,
    match: str,
    rounding: str,
) -> Choice:
    """What the model options mean; imports nothing heavy unless a model needs it.

    Raises:
        UsageError: a model, strategy, φ or base that cannot be.
    """
    from scaleprof.app.choosing import choose

    return choose(
        models,
        split_names(strategies, option="--strategy"),
        phi,
        bases=Bases(depth_base, width_base, resolution_base),
        match=cast(MatchMetric, match),
        rounding=cast(RoundingName, rounding),
    )


def split_names(text: str, *, option: str) -> list[str]:
    """Names from a comma list.

    Raises:
        UsageError: an empty name.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"{option} '{text}' has an empty value: separate names by single commas")
    return names


def split_sizes(text: str, *, option: str, example: str = "1,32") -> list[int]:
    """Whole numbers above zero from a comma list; `example` is what an error shows.

    Raises:
        UsageError: anything else.
    """
    parts = split_names(text, option=option)
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} {text} is not a list of whole numbers above zero, such as {example}")
    return [int(part) for part in parts]


def say_trial(job: Job, trial: BatchTrial) -> None:
    """A line for each batch that was tried."""
    what = trial.reason or f"{three_digits(trial.throughput_per_s or 0)} samples/s"
    say(f"{job.spec.spec_id} at batch {trial.batch_size}: {what}")


def print_rows(rows: Sequence[Row], format_: str) -> None:
    """Write rows to stdout in the chosen format."""
    from scaleprof.reporting import tables
    from scaleprof.reporting.rows import to_json

    if format_ == "table":
        print_table(lambda width: tables.to_terminal(rows, width=width))
    else:
        rendered = {"json": to_json, "csv": tables.to_csv, "markdown": tables.to_markdown}[format_](rows)
        write_out(rendered)


def print_table(make: Callable[[int | None], RenderableType]) -> None:
    """Write a table to stdout; `make` is given the terminal's width, None for a pipe."""
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    # Nobody has a width that a piped table must be cut to.
    console = Console(width=None if on_terminal else _PIPED_WIDTH, highlight=False)
    with console.capture() as text:
        console.print(make(console.width if on_terminal else None), soft_wrap=not on_terminal)
    write_out(text.get())


def write_out(text: str) -> None:
    """Data to stdout; a reader that has seen enough (`| head`) is no error."""
    try:
        click.echo(text.rstrip("\n"))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Talk: a line on stderr."""
    click.echo(message, err=True)


def say_counting(done: int, total: int) -> None:
    """On a terminal, one line that counts up and disappears; elsewhere nothing: it takes seconds."""
    if sys.stderr.isatty():
        line = f"counting: {done} of {total} models" if done < total else ""
        click.echo(f"\r\x1b[2K{line}", nl=False, err=True)


def shown(path: Path) -> str:
    """A path as short as it can be written from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

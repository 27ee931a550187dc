"""Options that several verbs share, and the types they parse to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scaleprof.errors import UsageError
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, STRATEGIES, Bases

if TYPE_CHECKING:
    from scaleprof.reporting.rows import Row

Command = TypeVar("Command", bound=Callable[..., Any])

_PIPED_WIDTH = 500
TABLE_FORMATS = ("table", "json", "csv", "markdown")


def model_options(command: Command) -> Command:
    """Which models: `--model`, `--strategy`, `--phi` and the compound bases."""
    for option in reversed(
        [
            click.option(
                "-m", "--model", "models", multiple=True, default=["efficientnet_b0"], show_default=True,
                metavar="NAME", help="Family to scale; repeatable (scaleprof models lists them).",
            ),
            click.option(
                "--strategy", "strategies", default=",".join(DEFAULT_STRATEGIES), show_default=True,
                metavar="S,S…", help=f"Directions of growth: {', '.join(STRATEGIES)}.",
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


def make_bases(depth_base: float, width_base: float, resolution_base: float) -> Bases:
    """The compound bases, checked."""
    return Bases(depth_base, width_base, resolution_base)


def split_names(text: str, *, option: str) -> list[str]:
    """Names from a comma list.

    Raises:
        UsageError: an empty name.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"{option} '{text}' has an empty value: separate names by single commas")
    return names


def split_sizes(text: str, *, option: str) -> list[int]:
    """Whole numbers above zero from a comma list.

    Raises:
        UsageError: anything else.
    """
    parts = split_names(text, option=option)
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} {text} is not a list of whole numbers above zero, such as 1,32")
    return [int(part) for part in parts]


def print_rows(rows: Sequence[Row], format_: str) -> None:
    """Write rows to stdout in the chosen format."""
    from scaleprof.reporting import tables
    from scaleprof.reporting.rows import to_json

    if format_ == "table":
        from rich.console import Console

        on_terminal = sys.stdout.isatty()
        # Nobody has a width that a piped table must be cut to.
        console = Console(width=None if on_terminal else _PIPED_WIDTH, highlight=False)
        with console.capture() as text:
            table = tables.to_terminal(rows, width=console.width if on_terminal else None)
            console.print(table, soft_wrap=not on_terminal)
        write_out(text.get())
    else:
        rendered = {"json": to_json, "csv": tables.to_csv, "markdown": tables.to_markdown}[format_](rows)
        write_out(rendered)


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

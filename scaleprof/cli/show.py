"""`scaleprof show`: a run as a table."""

from __future__ import annotations

from pathlib import Path

import click

from scaleprof.cli.options import format_option, print_rows
from scaleprof.errors import ExitCode, NothingToShowError


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@format_option
def show(run: Path, format_: str) -> int:
    """A run's rows, on stdout."""
    from scaleprof.app.reporting import load, nothing_yet

    loaded = load(run)
    if not loaded.rows:
        raise NothingToShowError(nothing_yet(loaded.log))
    print_rows(loaded.rows, format_)
    return ExitCode.OK

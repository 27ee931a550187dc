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
    from scaleprof.app.reporting import load

    rows = load(run).rows
    if not rows:
        raise NothingToShowError(f"{run} holds no rows yet: go on with scaleprof sweep -o {run} --resume")
    print_rows(rows, format_)
    return ExitCode.OK

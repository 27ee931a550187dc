"""`scaleprof show`: a run as a table."""

from __future__ import annotations

from pathlib import Path

import click

from scaleprof.cli.options import budget_option, format_option, print_rows, say
from scaleprof.errors import ExitCode, NothingToShowError


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@budget_option
@format_option
def show(run: Path, budgets: tuple[str, ...], format_: str) -> int:
    """A run's rows, on stdout; what a budget recommends, on stderr."""
    from scaleprof.app.reporting import load, nothing_yet

    loaded = load(run)
    rows = loaded.rows
    if not rows:
        raise NothingToShowError(nothing_yet(loaded.log))
    advice = [one.words for one in loaded.recommendations(*budgets)] if budgets else []
    print_rows(rows, format_)
    for paragraph in advice:
        say(paragraph)
    return ExitCode.OK

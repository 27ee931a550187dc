"""`scaleprof report`: one page, or the rows, from one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaleprof.cli.options import budget_option, say, shown, write_out
from scaleprof.errors import ExitCode

if TYPE_CHECKING:
    from scaleprof.app.reporting import Format

FORMATS = ("html", "csv", "json", "markdown")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN…")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write  [default: reports/RUN.html; stdout for the other formats]",
)
@click.option("--x", metavar="METRIC", help="Cost on the first chart  [default: latency_ms]")
@click.option("--y", metavar="METRIC", help="Quality on the first chart  [default: accuracy, else macs]")
@budget_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="html",
    show_default=True,
    help="One self-contained page, or the rows.",
)
@click.option("--open", "open_", is_flag=True, help="Open the page in a browser.")
def report(
    runs: tuple[Path, ...],
    output: Path | None,
    x: str | None,
    y: str | None,
    budgets: tuple[str, ...],
    format_: Format,
    open_: bool,
) -> int:
    """One HTML page (or CSV, Markdown, JSON) from one or several runs; needs no GPU and no torch.

    \b
    scaleprof report profiles/b0.jsonl --open
    scaleprof report laptop.jsonl server.jsonl -o both.html
    scaleprof report profiles/b0.jsonl --budget "latency_ms<=40"
    """
    from scaleprof.app import reporting

    document = reporting.compose(runs, format=format_, x=x, y=y, budget=budgets)
    if output is None and format_ != "html":
        write_out(document.text)
        # Markdown has the sentences above its table.
        for paragraph in document.advice if format_ != "markdown" else ():
            say(paragraph)
        return ExitCode.OK
    page = output or Path("reports") / f"{'+'.join(dict.fromkeys(run.stem for run in runs))}.html"
    reporting.write_text(page, document.text, format_)
    for paragraph in document.advice:
        say(paragraph)
    say(f"report: {shown(page)}")
    if open_:
        click.launch(page.resolve().as_uri())
    return ExitCode.OK

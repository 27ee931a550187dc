"""`scaleprof report`: one page, or the rows, from one or several runs or searches."""

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
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|SEARCH…")
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
    "--accuracy",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Accuracies in percent, a row a model, before those of the runs (docs/accuracy.md).",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="html",
    show_default=True,
    help="One self-contained page; Markdown, short enough for a pull request; or the rows.",
)
@click.option(
    "--baseline",
    metavar="SPEC_ID",
    help="The model that others are compared to  [default: the base of each family]",
)
@click.option("--embed-samples", is_flag=True, help="Keep the time of every pass in the page.")
@click.option("--open", "open_", is_flag=True, help="Open the page in a browser.")
def report(
    runs: tuple[Path, ...],
    output: Path | None,
    x: str | None,
    y: str | None,
    budgets: tuple[str, ...],
    accuracy: Path | None,
    format_: Format,
    baseline: str | None,
    embed_samples: bool,
    open_: bool,
) -> int:
    """One HTML page (or CSV, Markdown, JSON) from one or several runs or searches; needs no GPU and no torch.

    \b
    scaleprof report profiles/b0.jsonl --open
    scaleprof report laptop.jsonl server.jsonl -o both.html
    scaleprof report profiles/b0.jsonl --budget "latency_ms<=40"
    scaleprof report profiles/b0.jsonl --baseline efficientnet_b0/width/1
    scaleprof report profiles/b0.jsonl --accuracy accuracies.csv
    scaleprof report searches/b0.jsonl profiles/b0.jsonl
    """
    from scaleprof.app import reporting

    options = reporting.ReportOptions(
        format=format_,
        x=x,
        y=y,
        budget=budgets,
        accuracy=accuracy,
        baseline=baseline,
        embed_samples=embed_samples,
    )
    document = reporting.compose(runs, options)
    for line in document.doubts:
        say(line)
    if output is None and format_ != "html":
        write_out(document.text)
        # Markdown has the sentences in it.
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

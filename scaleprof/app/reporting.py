"""Reading runs, and showing them in every format."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

import scaleprof
from scaleprof.app.run import Run
from scaleprof.errors import NothingToShowError, OutputError, UsageError
from scaleprof.records import RunLog
from scaleprof.reporting.budgets import Budget, parse_budgets
from scaleprof.reporting.metrics import COSTS, QUALITIES, Metric, find_metric
from scaleprof.reporting.recommending import Recommendation, advise_each, require_any
from scaleprof.store import read_run

Format = Literal["html", "csv", "json", "markdown"]
Runs = Run | str | Path | Sequence[Run | str | Path]

# Stands before a Markdown table that has sentences above it, so that it is known for a report.
_MARKDOWN_MARK = "<!-- scaleprof report -->"


class Document(msgspec.Struct, frozen=True):
    """A report's text, and what it recommends within the budgets asked for, a paragraph a workload."""

    text: str
    advice: tuple[str, ...] = ()


def load(path: str | Path) -> Run:
    """The run in a file.

    Raises:
        RunFileError: the file cannot be read or is no run.
    """
    return Run(read_run(Path(path)))


def report(
    runs: Runs,
    output: str | Path,
    *,
    format: Format = "html",
    x: str | None = None,
    y: str | None = None,
    budget: str | Sequence[str] = (),
) -> Path:
    """Write a report of one or several runs, and return where it is: HTML, CSV, Markdown or JSON.

    Args:
        runs: runs, or paths of run files.
        output: the file to write; an existing file is replaced only if it is such a report, or is empty.
        format: one self-contained HTML page, or the rows in another format.
        x: the cost on the first chart's axis (HTML).
        y: the quality on the first chart's axis (HTML), and what a recommendation goes by.
        budget: such as `latency_ms<=10`, or several: the page and Markdown recommend a model within them.

    Raises:
        NothingToShowError: the runs hold no rows.
        UsageError: an axis that cannot be drawn, a budget that is none, or an output that is not a report.
        OutputError: the file cannot be written.
    """
    path = Path(output)
    write_text(path, render(runs, format=format, x=x, y=y, budget=budget), format)
    return path


def render(
    runs: Runs,
    *,
    format: Format = "html",
    x: str | None = None,
    y: str | None = None,
    budget: str | Sequence[str] = (),
) -> str:
    """The text that `report` writes."""
    return compose(runs, format=format, x=x, y=y, budget=budget).text


def compose(
    runs: Runs,
    *,
    format: Format = "html",
    x: str | None = None,
    y: str | None = None,
    budget: str | Sequence[str] = (),
) -> Document:
    """The text that `report` writes, and its recommendations for a terminal."""
    budgets = parse_budgets(budget)
    cost = None if x is None else find_metric(x, option="--x", among=COSTS)
    quality = None if y is None else find_metric(y, option="--y", among=QUALITIES)
    several = [runs] if isinstance(runs, (Run, str, Path)) else list(runs)
    loaded = [run if isinstance(run, Run) else load(run) for run in several]
    if not any(run.log.records for run in loaded):
        raise NothingToShowError(nothing_yet(loaded[0].log))
    # What tells the runs apart, if there are several.
    names = [] if len(several) == 1 else [_run_name(run, place) for place, run in enumerate(several, start=1)]
    if format == "html":
        return _compose_page(loaded, names, cost, quality, budgets)
    return _compose_rows(loaded, names, format, quality, budgets)


def _run_name(run: Run | str | Path, place: int) -> str:
    return f"run {place}" if isinstance(run, Run) else str(run)


def nothing_yet(log: RunLog) -> str:
    """What to say of a run that was stopped before its first row: how it goes on."""
    return f"the run holds no rows yet: its command with --resume goes on ({shlex.join(log.header.command)})"


def write_text(path: Path, text: str, format: Format) -> None:
    """Write a report, leaving alone a file that is not one.

    Raises:
        UsageError: `path` holds something else.
        OutputError: it cannot be written.
    """
    check_report_target(path, format)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}; choose another -o") from error


def check_report_target(path: Path, format: Format) -> None:
    """Refuse an output that exists and was not written by `report`.

    Raises:
        UsageError: `path` holds something else, or is a folder.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the report a file name, such as {path / 'report.html'}")
    if path.exists() and path.stat().st_size and not _is_report(path, format):
        raise UsageError(f"{path} exists and is no {format} report: it is left alone, choose another name")


# How each format begins: a file that begins otherwise was not written by `report`.
_BEGINNINGS: dict[Format, tuple[str, ...]] = {
    "html": ("<!doctype html>",),
    "csv": ("spec_id,model,strategy,phi,published,also,",),
    "json": ('[\n  {\n    "spec_id": ',),
    "markdown": ("| model | input | asked | growth | MACs |", _MARKDOWN_MARK),
}


def _is_report(path: Path, format: Format) -> bool:
    with path.open("rb") as file:
        start = file.read(64)
    is_own = any(start.startswith(beginning.encode()) for beginning in _BEGINNINGS[format])
    if format == "html":
        return is_own and b'id="scaleprof-data"' in path.read_bytes()
    return is_own


def _compose_page(
    runs: Sequence[Run],
    names: Sequence[str],
    cost: Metric | None,
    quality: Metric | None,
    budgets: Sequence[Budget],
) -> Document:
    from scaleprof.reporting.html import render
    from scaleprof.reporting.view import view_runs

    views = view_runs([run.log for run in runs], x=cost, y=quality, budgets=budgets, names=names)
    found = [view.budget.advice for view in views]
    return Document(
        render(views, version=scaleprof.__version__), tuple(one.words for one in found if one is not None)
    )


def _compose_rows(
    runs: Sequence[Run],
    names: Sequence[str],
    format: Format,
    quality: Metric | None,
    budgets: Sequence[Budget],
) -> Document:
    from scaleprof.reporting import rows, tables

    rows_by_run = [run.rows for run in runs]
    found: list[Recommendation] = []
    if budgets:
        for part, name in zip(rows_by_run, names or [""], strict=True):
            found += advise_each(part, budgets, quality=quality, run=name)
        require_any(found)
    advice = tuple(one.words for one in found)
    all_rows = [row for part in rows_by_run for row in part]
    if format == "json":
        return Document(rows.to_json(all_rows) + "\n", advice)
    if format == "csv":
        return Document(tables.to_csv(all_rows), advice)
    lines = [" ".join(sentence.split()) for sentence in advice]
    above = "".join(f"{part}\n\n" for part in [_MARKDOWN_MARK, *lines]) if lines else ""
    return Document(above + tables.to_markdown(all_rows), advice)

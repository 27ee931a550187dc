"""Reading runs, and showing them in every format."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import scaleprof
from scaleprof.app.run import Run
from scaleprof.errors import NothingToShowError, OutputError, UsageError
from scaleprof.records import RunLog
from scaleprof.reporting.metrics import COSTS, QUALITIES, find_metric
from scaleprof.store import read_run

Format = Literal["html", "csv", "json", "markdown"]


def load(path: str | Path) -> Run:
    """The run in a file.

    Raises:
        RunFileError: the file cannot be read or is no run.
    """
    return Run(read_run(Path(path)))


def report(
    runs: Run | str | Path | Sequence[Run | str | Path],
    output: str | Path,
    *,
    format: Format = "html",
    x: str | None = None,
    y: str | None = None,
) -> Path:
    """Write a report of one or several runs, and return where it is: HTML, CSV, Markdown or JSON.

    Args:
        runs: runs, or paths of run files.
        output: the file to write; an existing file is replaced only if it is such a report, or is empty.
        format: one self-contained HTML page, or the rows in another format.
        x: the cost on the first chart's axis (HTML).
        y: the quality on the first chart's axis (HTML).

    Raises:
        NothingToShowError: the runs hold no rows.
        UsageError: an axis that cannot be drawn, or an output that is not a report.
        OutputError: the file cannot be written.
    """
    path = Path(output)
    write_text(path, render(runs, format=format, x=x, y=y), format)
    return path


def render(
    runs: Run | str | Path | Sequence[Run | str | Path],
    *,
    format: Format = "html",
    x: str | None = None,
    y: str | None = None,
) -> str:
    """The text that `report` writes."""
    several = [runs] if isinstance(runs, (Run, str, Path)) else list(runs)
    loaded = [run if isinstance(run, Run) else load(run) for run in several]
    if not any(run.log.records for run in loaded):
        raise NothingToShowError(nothing_yet(loaded[0].log))
    return _render(loaded, format, x, y)


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
    "markdown": ("| model | input | asked | growth | MACs |",),
}


def _is_report(path: Path, format: Format) -> bool:
    with path.open("rb") as file:
        start = file.read(64)
    is_own = any(start.startswith(beginning.encode()) for beginning in _BEGINNINGS[format])
    if format == "html":
        return is_own and b'id="scaleprof-data"' in path.read_bytes()
    return is_own


def _render(runs: Sequence[Run], format: Format, x: str | None, y: str | None) -> str:
    if format == "html":
        from scaleprof.reporting.html import render
        from scaleprof.reporting.view import view_runs

        cost = None if x is None else find_metric(x, option="--x", among=COSTS)
        quality = None if y is None else find_metric(y, option="--y", among=QUALITIES)
        views = view_runs([run.log for run in runs], x=cost, y=quality)
        return render(views, version=scaleprof.__version__)
    from scaleprof.reporting import rows, tables

    all_rows = [row for run in runs for row in run.rows]
    if format == "json":
        return rows.to_json(all_rows) + "\n"
    return tables.to_csv(all_rows) if format == "csv" else tables.to_markdown(all_rows)

"""Reading runs, and showing them in every format."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

import scaleprof
from scaleprof.app.run import Run
from scaleprof.app.search_result import Search, load_search
from scaleprof.errors import NothingToShowError, OutputError, UsageError
from scaleprof.records import RunLog
from scaleprof.reporting.accuracy import join_logs, read_accuracies
from scaleprof.reporting.budgets import Budget, parse_budgets
from scaleprof.reporting.metrics import COSTS, QUALITIES, Metric, find_metric
from scaleprof.reporting.recommending import Recommendation, advise_each, require_any
from scaleprof.store import is_search, read_run

Format = Literal["html", "csv", "json", "markdown"]
Runs = Run | Search | str | Path | Sequence[Run | Search | str | Path]

# Stands before a report in Markdown, so that it is known for one.
_MARKDOWN_MARK = "<!-- scaleprof report -->"


class ReportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is to be; the keywords of `report`, which says what they mean."""

    format: Format = "html"
    x: str | None = None
    y: str | None = None
    budget: str | Sequence[str] = ()
    accuracy: str | Path | None = None
    baseline: str | None = None
    embed_samples: bool = False


class Document(msgspec.Struct, frozen=True):
    """A report's text, and what is told beside it.

    Attributes:
        text: the report.
        advice: what it recommends within the budgets asked for, a paragraph a workload.
        doubts: what is doubtful about files of accuracies, a short line each.
    """

    text: str
    advice: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class _Asked(msgspec.Struct, frozen=True):
    """The options that were read and found right."""

    x: Metric | None
    y: Metric | None
    budgets: tuple[Budget, ...]


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
    accuracy: str | Path | None = None,
    baseline: str | None = None,
    embed_samples: bool = False,
) -> Path:
    """Write a report of one or several runs, and return where it is: HTML, CSV, Markdown or JSON.

    Args:
        runs: runs and searches, or paths of their files.
        output: the file to write; an existing file is replaced only if it is such a report, or is empty.
        format: one self-contained HTML page, a short text for a pull request (Markdown), or the rows.
        x: the cost on the first chart's axis, and of the front in Markdown.
        y: the quality on the first chart's axis, and of the front in Markdown; a recommendation goes by it.
        budget: such as `latency_ms<=10`, or several: the page and Markdown recommend a model within them.
        accuracy: a CSV file of accuracies, which come before those that the runs have.
        baseline: the `spec_id` that models are compared to, instead of the base of each (HTML, Markdown).
        embed_samples: keep the times of all single passes in the page, not their quantiles alone.

    Raises:
        NothingToShowError: the runs hold no rows.
        UsageError: an axis that cannot be drawn, a budget that is none, a file that is no table of
            accuracies, a baseline that no run has, or an output that is not a report.
        OutputError: the file cannot be written.
    """
    path = Path(output)
    options = ReportOptions(
        format=format,
        x=x,
        y=y,
        budget=budget,
        accuracy=accuracy,
        baseline=baseline,
        embed_samples=embed_samples,
    )
    write_text(path, compose(runs, options).text, format)
    return path


def render(runs: Runs, **options: Any) -> str:
    """The text that `report` writes, by the same keywords."""
    return compose(runs, ReportOptions(**options)).text


def compose(runs: Runs, options: ReportOptions) -> Document:
    """The text that `report` writes, and what a terminal is told beside it."""
    asked = _Asked(
        None if options.x is None else find_metric(options.x, option="--x", among=COSTS),
        None if options.y is None else find_metric(options.y, option="--y", among=QUALITIES),
        parse_budgets(options.budget),
    )
    table = None if options.accuracy is None else read_accuracies(options.accuracy)
    several = [runs] if isinstance(runs, (Run, Search, str, Path)) else list(runs)
    # What tells them apart, if there are several.
    names = [""] if len(several) == 1 else run_names(several)
    opened = [_opened(one) for one in several]
    searches = {name: one for name, one in zip(names, opened, strict=True) if isinstance(one, Search)}
    runs_by_name = {name: one for name, one in zip(names, opened, strict=True) if isinstance(one, Run)}
    if searches:
        _check_searches(options, runs=len(runs_by_name))
    loaded = list(runs_by_name.values())
    logs, doubts = [run.log for run in loaded], [line for run in loaded for line in run.doubts]
    if table is not None:
        logs, found = join_logs(table, logs)
        doubts += found
    if logs and not searches and not any(log.records for log in logs):
        raise NothingToShowError(nothing_yet(logs[0]))
    make = _compose_rows if options.format in ("csv", "json") else _compose_views
    # A run that is alone needs no name.
    run_names_ = list(runs_by_name) if len(several) > 1 else []
    return make(logs, run_names_, options, asked, tuple(dict.fromkeys(doubts)), searches)


def _opened(given: Run | Search | str | Path) -> Run | Search:
    """The run or the search in a file, or what is one already."""
    if isinstance(given, (Run, Search)):
        return given
    return load_search(given) if is_search(Path(given)) else load(given)


def _check_searches(options: ReportOptions, *, runs: int) -> None:
    """Refuse options that mean nothing for searches.

    Raises:
        UsageError: rows of runs and of searches in one table, or what only a run has.
    """
    if runs and options.format in ("csv", "json"):
        raise UsageError(
            f"--format {options.format}: the rows of a search are candidates, and no rows of a run: write "
            f"them to two files"
        )
    only_of_runs = {
        "--x": options.x,
        "--y": options.y,
        "--budget": options.budget,
        "--accuracy": options.accuracy,
        "--baseline": options.baseline,
    }
    given = [name for name, value in only_of_runs.items() if value]
    if given and not runs:
        raise UsageError(f"{given[0]} is about models of a run: give one beside the search")


def run_names(runs: Sequence[Run | Search | str | Path]) -> list[str]:
    """A name for each of several runs or searches, all different: its file's, or its place.

    Equal ones have as many of their folders before them as tell them apart, or else a number.

    >>> run_names(["old/b0.jsonl", "new/b0.jsonl", "b0-gpu.jsonl", "b0-gpu.jsonl"])
    ['old/b0', 'new/b0', 'b0-gpu', 'b0-gpu (2)']
    """
    parts = [
        (f"{type(run).__name__.lower()} {place}",)
        if isinstance(run, (Run, Search))
        else Path(run).with_suffix("").parts
        for place, run in enumerate(runs, start=1)
    ]
    names = [part[-1] for part in parts]
    for depth in range(2, max(map(len, parts)) + 1):
        clashing = {name for name, count in Counter(names).items() if count > 1}
        names = [
            "/".join(part[-depth:]) if name in clashing else name
            for name, part in zip(names, parts, strict=True)
        ]
    known: list[str] = []
    for name in names:
        numbers = (f"{name} ({number})" for number in itertools.count(2))
        known.append(next(one for one in itertools.chain([name], numbers) if one not in known))
    return known


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
    "csv": ("spec_id,model,strategy,phi,published,also,", "name,candidate,kind,model,phi,"),
    "json": ('[\n  {\n    "spec_id": ', '[\n  {\n    "name": '),
    "markdown": ("| model | input | asked | growth | MACs |", _MARKDOWN_MARK),
}


def _is_report(path: Path, format: Format) -> bool:
    with path.open("rb") as file:
        start = file.read(64)
    is_own = any(start.startswith(beginning.encode()) for beginning in _BEGINNINGS[format])
    if format == "html":
        return is_own and b'id="scaleprof-data"' in path.read_bytes()
    return is_own


def _compose_views(
    logs: Sequence[RunLog],
    names: Sequence[str],
    options: ReportOptions,
    asked: _Asked,
    doubts: tuple[str, ...],
    searches: Mapping[str, Search],
) -> Document:
    """The page, or the text for a pull request: both show the same decisions."""
    from scaleprof.reporting.comparison import compare_runs
    from scaleprof.reporting.searches import view_searches
    from scaleprof.reporting.view import view_runs

    comparison = compare_runs(logs, names) if names else None
    views = view_runs(
        logs,
        x=asked.x,
        y=asked.y,
        budgets=asked.budgets,
        names=names,
        baseline=options.baseline,
        embed_samples=options.embed_samples,
    )
    found = view_searches([one.log for one in searches.values()], list(searches))
    advice = tuple(view.budget.advice.words for view in views if view.budget.advice is not None)
    if options.format == "html":
        from scaleprof.reporting import html

        text = html.render(
            views, version=scaleprof.__version__, comparison=comparison, doubts=doubts, searches=found
        )
        return Document(text, advice, doubts)
    from scaleprof.reporting import markdown

    # A log has as many views as workloads.
    counts = [len({record.workload for record in log.records}) for log in logs]
    owners = [name for name, count in zip(names, counts, strict=True) for _ in range(count)] if names else []
    parts = [markdown.render(views, names=owners, doubts=doubts, comparison=comparison)] if views else []
    parts += [markdown.render_search(one) for one in found]
    return Document("\n\n".join([_MARKDOWN_MARK, *(part.strip() for part in parts)]) + "\n", advice, doubts)


def _compose_rows(
    logs: Sequence[RunLog],
    names: Sequence[str],
    options: ReportOptions,
    asked: _Asked,
    doubts: tuple[str, ...],
    searches: Mapping[str, Search],
) -> Document:
    from scaleprof.reporting import rows, searches_rows, tables

    if searches:
        candidates = [row for one in searches.values() for row in one.rows]
        to_json, to_csv = searches_rows.to_json, searches_rows.to_csv
        return Document(to_json(candidates) + "\n" if options.format == "json" else to_csv(candidates))
    rows_by_run = [rows.measured_rows(log) for log in logs]
    found: list[Recommendation] = []
    if asked.budgets:
        for part, name in zip(rows_by_run, names or [""], strict=True):
            found += advise_each(part, asked.budgets, quality=asked.y, run=name)
        require_any(found)
    all_rows = [row for part in rows_by_run for row in part]
    text = rows.to_json(all_rows) + "\n" if options.format == "json" else tables.to_csv(all_rows)
    return Document(text, tuple(one.words for one in found), doubts)

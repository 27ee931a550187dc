"""`scaleprof search`: the bases to grow a model by, found by training or by any objective."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaleprof.cli.options import print_table, say, say_counting, shown, write_out
from scaleprof.cli.search_options import search_options
from scaleprof.errors import ExitCode, InterruptedSweepError, UsageError
from scaleprof.units import format_duration, parse_duration_s, parse_fraction, plural

if TYPE_CHECKING:
    from scaleprof.app.search_files import Written
    from scaleprof.app.search_prepare import PreparedSearch, SearchOptions
    from scaleprof.app.search_result import Search
    from scaleprof.records import SearchHeader, SearchLog
    from scaleprof.reporting.searches_rows import CandidateRow

# What is expected to take longer than this asks first, as a sweep does.
_ASK_BEYOND_S = 15 * 60


@click.command()
@search_options
def search(**options: Any) -> int:
    """Find the bases of compound scaling for a model, on your data and device.

    A small grid of depth, width and resolution bases whose networks cost about twice the base is tried at
    φ = 1, beside controls that grow one dimension; the best bases then serve every φ.

    \b
    scaleprof search -m mobilenet_v2 --data digits --epochs 3
    scaleprof search -m mobilenet_v2 --data photos/ --epochs 30 --seeds 3 --transfer
    scaleprof search -m net.py:build --objective score.py:score
    scaleprof search -m efficientnet_b0 --scores scores.csv
    """
    _check_flags(options)
    _check_sources(options)
    output: Path | None = options["output"]
    _check_outputs(options)
    asked = _asked(options)

    from scaleprof.app.search_prepare import prepare_search
    from scaleprof.store import read_search

    held = read_search(output) if options["resume"] and output is not None else None
    command = ("scaleprof", *sys.argv[1:])
    prepared = prepare_search(
        options["model"], asked, command=command, held=held, on_done=say_counting, say=say
    )
    for line in prepared.doubts:
        say(line)
    if options["dry_run"]:
        return _show_plan(prepared, options["format_"])
    path, page_path = _paths(prepared, output, options["report_path"])
    _announce(prepared, held, ask=not options["yes"] and sys.stdin.isatty())
    found = _run(prepared, path, resume=options["resume"], overwrite=options["overwrite"])
    written = _write(
        found,
        path,
        None if options["no_report"] else page_path,
        options["format_"],
        overwrite=options["overwrite"],
    )
    return _conclude(found, written, options["model"])


def _check_flags(options: dict[str, Any]) -> None:
    if options["resume"] and options["overwrite"]:
        raise UsageError("--resume and --overwrite exclude each other: go on with the search, or replace it")
    needy = next((name for name in ("resume", "overwrite") if options[name]), None)
    if needy and options["output"] is None:
        raise UsageError(f"--{needy} needs the search that is meant: give it with -o")
    if options["no_report"] and options["report_path"] is not None:
        raise UsageError(f"--report {options['report_path']} and --no-report exclude each other")


def _check_sources(options: dict[str, Any]) -> None:
    """One source of scores; digits where none is given."""
    given = [
        f"--{name} {options[name]}" for name in ("data", "objective", "scores") if options[name] is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: a search has one source of scores")


def _check_outputs(options: dict[str, Any]) -> None:
    """Refuse outputs that may not be written before any time is spent on them; default names are new."""
    from scaleprof.app.reporting import check_report_target
    from scaleprof.app.search_files import check_beside
    from scaleprof.store import check_search_replaceable, check_search_resumable

    output: Path | None = options["output"]
    report_path: Path | None = options["report_path"]
    if output is not None:
        if options["resume"]:
            check_search_resumable(output)
        else:
            check_search_replaceable(output, overwrite=options["overwrite"])
            check_beside(output, overwrite=options["overwrite"])
        report_path = report_path or Path("reports") / f"{output.stem}.html"
    if output is not None and report_path is not None and output.resolve() == report_path.resolve():
        raise UsageError(f"-o {output} and --report {report_path} are one file: give the report another name")
    if report_path is not None and not options["no_report"]:
        check_report_target(report_path, "html")


def _asked(options: dict[str, Any]) -> SearchOptions:
    """What is typed, in the words of the search itself."""
    from scaleprof.app.search_prepare import SearchOptions

    timeout = options["timeout"]
    given = {name: options[name] for name in SearchOptions.__struct_fields__ if name in options}
    given["tolerance"] = parse_fraction(options["tolerance"], option="--tolerance")
    given["timeout_s"] = None if timeout is None else parse_duration_s(timeout, option="--timeout")
    return SearchOptions(**given)


def _paths(prepared: PreparedSearch, output: Path | None, report_path: Path | None) -> tuple[Path, Path]:
    model = re.sub(r"[^A-Za-z0-9_.+-]", "_", prepared.planned.model.name)
    path = output or Path("searches") / f"{model}-{datetime.now():%Y%m%d-%H%M%S}.jsonl"
    return path, report_path or Path("reports") / f"{path.stem}.html"


# ---- before ----


def _show_plan(prepared: PreparedSearch, format_: str) -> int:
    from scaleprof.records import SearchLog
    from scaleprof.reporting.searches_ranked import judge

    header = prepared.planned.header
    rows = judge(SearchLog(header, prepared.scores)).rows
    _print_rows(rows, header, format_, dry_run=prepared)
    say(_expectation(prepared, None))
    return ExitCode.OK


def _expectation(prepared: PreparedSearch, held: SearchLog | None) -> str:
    """How much there is to do, and how long it takes."""
    header = prepared.planned.header
    candidates = prepared.planned.candidates
    grid = sum(one.kind == "grid" for one in candidates)
    controls = plural(len(candidates) - grid, "control", "controls")
    counted = f"{plural(grid, 'candidate', 'candidates')} and {controls}"
    if prepared.work is None:
        return f"{counted}, {plural(len(prepared.scores), 'score', 'scores')} from {header.objective}"
    done = () if held is None else held.trials
    trials = len(candidates) * len(header.seeds)
    ok = sum(trial.status == "ok" for trial in done)
    what = plural(trials, "trial", "trials") + (f", {ok} of them done" if ok else "")
    if header.transfer_phis:
        what += f", then some at φ = {' and '.join(format(phi, 'g') for phi in header.transfer_phis)}"
    slots = prepared.slots
    where = f"{len(slots)} at once on {', '.join(dict.fromkeys(slot.device for slot in slots))}"
    expected_s = prepared.expected_s(done)
    if expected_s is None:
        return f"{counted}: {what}, {where}; how long {header.objective} takes is known after the first"
    return f"{counted}: {what}, {where}: very roughly {format_duration(expected_s)}"


def _announce(prepared: PreparedSearch, held: SearchLog | None, *, ask: bool) -> None:
    say(_expectation(prepared, held))
    expected_s = prepared.expected_s(() if held is None else held.trials)
    if ask and expected_s is not None and expected_s > _ASK_BEYOND_S:
        click.confirm("go on?", default=True, abort=True, err=True)


# ---- while and after ----


def _run(prepared: PreparedSearch, path: Path, *, resume: bool, overwrite: bool) -> Search:
    from scaleprof.app.searching import run_search
    from scaleprof.cli.search_progress import search_watcher
    from scaleprof.stats.ranking import bases_words

    names = {one.number: bases_words(one) for one in prepared.planned.header.candidates}
    say(f"keeping every trial in {shown(path)}")
    try:
        with search_watcher(names, percent=prepared.planned.header.objective == "train") as watcher:
            return run_search(prepared, output=path, resume=resume, overwrite=overwrite, watcher=watcher)
    except KeyboardInterrupt:
        if not path.exists():
            raise
        raise InterruptedSweepError(
            f"interrupted; what was tried is in {shown(path)}: the same command with -o {shown(path)} "
            f"--resume goes on"
        ) from None


def _write(found: Search, path: Path, page_path: Path | None, format_: str, *, overwrite: bool) -> Written:
    """Print the rows, write the page and what stands beside the search, and name the files."""
    from scaleprof.app.reporting import report
    from scaleprof.app.search_files import write_beside

    # Rows before files: a disk that is full shall not keep them.
    _print_rows(found.rows, found.log.header, format_)
    written = write_beside(found, path, overwrite=overwrite)
    if page_path is not None:
        report(found, page_path)
    files = {"search": path, "bases": written.bases, "accuracies": written.accuracy, "report": page_path}
    for name, file in files.items():
        if file is not None:
            say(f"{name}: {shown(file)}")
    return written


def _conclude(found: Search, written: Written, model: str) -> int:
    """Say what was found, and how it is confirmed; the exit code."""
    for sentence in [*written.doubts, *found.sentences]:
        say(sentence)
    if written.bases is not None:
        say("confirm it on a device, beside the published bases and single dimensions:")
        say(f"  {confirming_command(model, written.bases, written.accuracy)}")
    trials = found.log.trials
    ok = sum(trial.status == "ok" for trial in trials)
    say(f"{ok} of {plural(len(trials), 'trial', 'trials')} have a score")
    return ExitCode.OK if ok else ExitCode.FAILURE


def confirming_command(model: str, bases: Path, accuracy: Path | None) -> str:
    """The sweep that sets the found bases beside the published ones and beside single dimensions."""
    strategies = f"compound,@{shown(bases)},width,depth,resolution"
    more = [] if accuracy is None else ["--accuracy", shown(accuracy)]
    return shlex.join(["scaleprof", "sweep", "-m", model, "--strategy", strategies, "--phi", "0..3", *more])


def _print_rows(
    rows: Sequence[CandidateRow],
    header: SearchHeader,
    format_: str,
    *,
    dry_run: PreparedSearch | None = None,
) -> None:
    from scaleprof.reporting import searches_rows

    percent = header.objective == "train"
    metric = header.cost_metric
    if format_ == "table":
        times_s = None if dry_run is None else dry_run.planned.trial_s
        table = searches_rows.to_terminal(
            rows, metric, percent=percent, times_s=times_s, list_excluded=dry_run is not None
        )
        print_table(lambda _width: table)
    elif format_ == "markdown":
        write_out(searches_rows.to_markdown(rows, metric, percent=percent))
    else:
        write_out({"json": searches_rows.to_json, "csv": searches_rows.to_csv}[format_](rows))

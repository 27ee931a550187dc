"""`scaleprof search`: the bases to grow a model by, found by training or by any objective."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from scaleprof.cli.options import (
    format_option,
    print_table,
    say,
    say_counting,
    shown,
    write_out,
)
from scaleprof.errors import ExitCode, InterruptedSweepError, UsageError
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName
from scaleprof.units import format_duration, parse_duration_s, parse_fraction, plural

if TYPE_CHECKING:
    from scaleprof.app.search_files import Written
    from scaleprof.app.search_prepare import PreparedSearch
    from scaleprof.app.search_result import Search
    from scaleprof.records import CostMetric, SearchHeader, SearchLog
    from scaleprof.reporting.searches_rows import CandidateRow

# What is expected to take longer than this asks first, as a sweep does.
_ASK_BEYOND_S = 15 * 60


@click.command()
@click.option(
    "-m",
    "--model",
    default="efficientnet_b0",
    show_default=True,
    metavar="NAME|FILE.py:FACTORY|MODULE:FACTORY",
    help="Model to grow (scaleprof models lists the families). The code of FILE or MODULE is executed.",
)
@click.option(
    "--grid-step",
    type=float,
    default=0.05,
    show_default=True,
    help="Step between bases of the grid, each at least 1.",
)
@click.option(
    "--target-growth",
    type=float,
    default=2.0,
    show_default=True,
    help="What a candidate costs, as a multiple of the base: D · W² · R².",
)
@click.option(
    "--tolerance",
    default="10%",
    show_default=True,
    metavar="10%",
    help="How far from the target a candidate's growth may be, nominal and achieved.",
)
@click.option(
    "--cost",
    type=click.Choice(["macs", "latency_ms"]),
    default="macs",
    show_default=True,
    help="The cost that is to grow to the target: counted, or measured here.",
)
@click.option(
    "--data",
    metavar="NAME|FOLDER",
    help="Train on digits (scikit-learn's), a dataset of torchvision's such as cifar10, or a folder with a "
    "folder of images a class  [default: digits]",
)
@click.option(
    "--objective",
    metavar="FILE.py:FUNCTION",
    help="Score by a function of your own instead: FUNCTION(network, spec) returns a score, or a score and "
    "half its 95 % interval. Its code is executed.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Take scores from a table instead: depth,width,resolution[,phi][,seed],score[,error].",
)
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Of each training.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Trials a candidate.")
@click.option("--input-size", type=click.IntRange(1), help="Side at resolution 1  [default: by the data]")
@click.option("--batch-size", type=click.IntRange(1), help="Images a step  [default: by the data]")
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "sgd"]),
    default="sgd",
    show_default=True,
    help="SGD has Nesterov momentum.",
)
@click.option("--learning-rate", type=float, help="At its peak  [default: by optimizer and batch]")
@click.option(
    "--transfer",
    is_flag=True,
    help="Also try what was chosen, 1.2/1.1/1.15 and the controls at φ = 2 and 3.",
)
@click.option(
    "--rounding",
    type=click.Choice(ROUNDINGS),
    default="tf",
    show_default=True,
    help="How factors become whole layers, channels and pixels.",
)
@click.option(
    "-d", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where to run."
)
@click.option("--jobs", type=click.IntRange(1), help="Trials at once  [default: one a GPU, or one a core]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each  [default: 1 on the CPU]")
@click.option("--timeout", metavar="30m", help="Longest time of one trial  [default: none]")
@click.option("--resume", is_flag=True, help="Go on with the search in --output.")
@click.option("--overwrite", is_flag=True, help="Replace the search in --output, and the bases beside it.")
@click.option("--dry-run", is_flag=True, help="Show candidates, their costs and the time, and stop there.")
@click.option("--yes", is_flag=True, help="Do not ask before a long search.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Search file  [default: searches/MODEL-TIME.jsonl]",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Report to write  [default: reports/, named as the search]",
)
@click.option("--no-report", is_flag=True, help="Write no report.")
@format_option
def search(
    model: str,
    grid_step: float,
    target_growth: float,
    tolerance: str,
    cost: CostMetric,
    data: str | None,
    objective: str | None,
    scores: Path | None,
    epochs: int,
    seeds: int,
    input_size: int | None,
    batch_size: int | None,
    optimizer: Literal["adamw", "sgd"],
    learning_rate: float | None,
    transfer: bool,
    rounding: RoundingName,
    device: str,
    jobs: int | None,
    threads: int | None,
    timeout: str | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    yes: bool,
    output: Path | None,
    report_path: Path | None,
    no_report: bool,
    format_: str,
) -> int:
    """Find the bases of compound scaling for a model, on your data and device.

    A small grid of depth, width and resolution bases whose networks cost about twice the base is tried at
    φ = 1, beside controls that grow one dimension; the best bases then serve every φ.

    \b
    scaleprof search -m mobilenet_v2 --data digits --epochs 3
    scaleprof search -m mobilenet_v2 --data photos/ --epochs 30 --seeds 3 --transfer
    scaleprof search -m net.py:build --objective score.py:score
    scaleprof search -m efficientnet_b0 --scores scores.csv
    """
    _check_flags(
        resume=resume, overwrite=overwrite, output=output, no_report=no_report, report_path=report_path
    )
    _check_sources(data=data, objective=objective, scores=scores)
    allowed = parse_fraction(tolerance, option="--tolerance")
    timeout_s = None if timeout is None else parse_duration_s(timeout, option="--timeout")
    _check_outputs(output, report_path, resume=resume, overwrite=overwrite, no_report=no_report)

    from scaleprof.app.search_prepare import SearchOptions, prepare_search
    from scaleprof.store import read_search

    options = SearchOptions(
        grid_step=grid_step,
        target_growth=target_growth,
        tolerance=allowed,
        cost=cost,
        data=data,
        objective=objective,
        scores=scores,
        epochs=epochs,
        seeds=seeds,
        input_size=input_size,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        transfer=transfer,
        rounding=rounding,
        device=device,
        jobs=jobs,
        threads=threads,
        timeout_s=timeout_s,
    )
    held = read_search(output) if resume and output is not None else None
    prepared = prepare_search(
        model, options, command=("scaleprof", *sys.argv[1:]), held=held, on_done=say_counting, say=say
    )
    for line in prepared.doubts:
        say(line)
    if dry_run:
        return _show_plan(prepared, format_)
    path, page_path = _paths(prepared, output, report_path)
    _announce(prepared, held, ask=not yes and sys.stdin.isatty())
    found = _run(prepared, path, resume=resume, overwrite=overwrite)
    written = _write(found, path, None if no_report else page_path, format_, overwrite=overwrite)
    return _conclude(found, written, model)


def _check_flags(
    *, resume: bool, overwrite: bool, output: Path | None, no_report: bool, report_path: Path | None
) -> None:
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: go on with the search, or replace it")
    if (resume or overwrite) and output is None:
        raise UsageError(
            f"--{'resume' if resume else 'overwrite'} needs the search that is meant: give it with -o"
        )
    if no_report and report_path is not None:
        raise UsageError(f"--report {report_path} and --no-report exclude each other")


def _check_sources(*, data: str | None, objective: str | None, scores: Path | None) -> None:
    """One source of scores; digits where none is given."""
    given = [
        f"{flag} {value}"
        for flag, value in (("--data", data), ("--objective", objective), ("--scores", scores))
        if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: a search has one source of scores")


def _check_outputs(
    output: Path | None, report_path: Path | None, *, resume: bool, overwrite: bool, no_report: bool
) -> None:
    """Refuse outputs that may not be written before any time is spent on them; default names are new."""
    from scaleprof.app.reporting import check_report_target
    from scaleprof.app.search_files import check_beside
    from scaleprof.store import check_search_replaceable, check_search_resumable

    if output is not None:
        if resume:
            check_search_resumable(output)
        else:
            check_search_replaceable(output, overwrite=overwrite)
            check_beside(output, overwrite=overwrite)
        report_path = report_path or Path("reports") / f"{output.stem}.html"
    if output is not None and report_path is not None and output.resolve() == report_path.resolve():
        raise UsageError(f"-o {output} and --report {report_path} are one file: give the report another name")
    if report_path is not None and not no_report:
        check_report_target(report_path, "html")


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

"""`scaleprof solve`: per strategy, the model that meets a budget on this device, found and measured."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from scaleprof.cli.concluding import trust_lines
from scaleprof.cli.options import (
    BudgetText,
    choose_models,
    format_option,
    model_options,
    print_rows,
    print_table,
    say,
    say_counting,
    shown,
    split_names,
    split_sizes,
    write_out,
)
from scaleprof.cli.sweep import sweep
from scaleprof.errors import ExitCode, InterruptedSweepError, UsageError
from scaleprof.units import format_duration, parse_duration_s, parse_fraction, plural

if TYPE_CHECKING:
    from scaleprof.app.ledger import Watcher
    from scaleprof.app.planning import SweepPlan
    from scaleprof.app.solve_plan import SolvePlan
    from scaleprof.app.solving import Solution
    from scaleprof.engines.local import AllocatorPolicy

_Command = TypeVar("_Command", bound=Callable[..., Any])

# What is expected to take longer than this asks first, as a sweep does.
_ASK_BEYOND_S = 15 * 60


def _as_in_sweep(*names: str) -> Callable[[_Command], _Command]:
    """Options that are those of `sweep`, word for word."""

    def decorate(command: _Command) -> _Command:
        known = {option.name: option for option in sweep.params}
        own: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
        # A copy each: an option also holds the name of its own environment variable.
        own.extend(copy.copy(known[name]) for name in reversed(names))
        return command

    return decorate


@click.command()
@model_options
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    type=BudgetText(),
    metavar="METRIC<=QUANTITY",
    help='What the models may take, such as "latency_ms<=10" or "peak_memory_bytes<=2GiB" (in quotes); '
    "repeatable: the tightest counts.",
)
@click.option(
    "--run",
    "given",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="A run whose rows are the starting curve  [default: a quick sweep of --phi]",
)
@_as_in_sweep("device")
@click.option("-b", "--batch-size", default="1", show_default=True, metavar="N", help="Images per pass.")
@click.option("--threads", metavar="N", help="CPU threads  [default: the CPUs this process may use]")
@click.option("--dtype", default="fp32", show_default=True, metavar="fp32|bf16|fp16", help="Of computing.")
@click.option(
    "--cast",
    default="weights",
    show_default=True,
    metavar="weights|autocast",
    help="How, below fp32: weights and inputs are cast, or torch casts at each operator.",
)
@_as_in_sweep("mode")
@click.option(
    "--runtime",
    default="eager",
    show_default=True,
    metavar="eager|compile|onnxruntime|openvino",
    help="What runs the network; on CUDA also cudagraph.",
)
@click.option(
    "--memory-format",
    default="contiguous",
    show_default=True,
    metavar="contiguous|channels_last",
    help="Of weights and images.",
)
@_as_in_sweep("allocator", "preset", "target_ci", "max_time", "timeout", "seed", "overwrite")
@click.option("--dry-run", is_flag=True, help="Show the starting curve and the time, and stop there.")
@click.option("--yes", is_flag=True, help="Do not ask before a long search.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run file for all that is measured  [default: profiles/MODEL-DEVICE-solve-TIME.jsonl]",
)
@_as_in_sweep("report_path", "no_report")
@format_option
def solve(
    budgets: tuple[str, ...],
    given: Path | None,
    device: str,
    batch_size: str,
    threads: str | None,
    dtype: str,
    cast: str,
    mode: str,
    runtime: str,
    memory_format: str,
    allocator: AllocatorPolicy,
    preset: str,
    target_ci: str | None,
    max_time: str | None,
    timeout: str,
    seed: int,
    overwrite: bool,
    dry_run: bool,
    yes: bool,
    output: Path | None,
    report_path: Path | None,
    no_report: bool,
    format_: str,
    **model_options: Any,
) -> int:
    """Find, per strategy, the φ whose measured model meets a budget on this device.

    A starting curve is interpolated, and what it proposes is built and measured, until it is within 3 % below
    the budget or no network lies nearer. Works on one workload.

    \b
    scaleprof solve --budget "latency_ms<=40"
    scaleprof solve --budget "latency_ms<=40" --budget "peak_memory_bytes<=100MiB" --strategy compound,width
    scaleprof solve --budget "latency_ms<=40" --run profiles/b0.jsonl
    """
    if not budgets:
        raise UsageError('solve needs a budget: --budget "latency_ms<=10"')
    if (
        given is not None
        and click.get_current_context().get_parameter_source("phi") is ParameterSource.COMMANDLINE
    ):
        raise UsageError(
            f"--phi {model_options['phi']} and --run {given} exclude each other: each is a starting curve"
        )
    _check_outputs(given, output, report_path, overwrite=overwrite, no_report=no_report)
    axes = {
        "batch_size": _sizes(batch_size, "--batch-size"),
        "threads": None if threads is None else _sizes(threads, "--threads"),
        "dtype": split_names(dtype, option="--dtype"),
        "memory_format": split_names(memory_format, option="--memory-format"),
        "mode": mode,
        "runtime": split_names(runtime, option="--runtime"),
        "cast": split_names(cast, option="--cast"),
    }
    ci = None if target_ci is None else parse_fraction(target_ci, option="--target-ci")
    limit_s = None if max_time is None else parse_duration_s(max_time, option="--max-time")
    timeout_s = parse_duration_s(timeout, option="--timeout")
    _check_budgets(budgets)
    choice = choose_models(**model_options)

    from scaleprof.app.solve_plan import plan_solve
    from scaleprof.measuring.presets import make_plan

    planned = plan_solve(
        choice,
        budgets,
        given=given,
        plan=make_plan(preset, target_ci=ci, max_time_s=limit_s, timeout_s=timeout_s),
        seed=seed,
        device=device,
        allocator=allocator,
        on_done=say_counting,
        **axes,
    )
    if dry_run:
        return _show_plan(planned, format_)
    run_path, page_path = _paths(planned, output, report_path)
    say(_expectation(planned))
    if not yes and sys.stdin.isatty() and planned.expected_s()[1] > _ASK_BEYOND_S:
        click.confirm("go on?", default=True, abort=True, err=True)
    solution = _measure(planned, run_path, overwrite=overwrite)
    return _conclude(solution, run_path, None if no_report else page_path, format_, budgets)


def _check_budgets(budgets: Sequence[str]) -> None:
    """Refuse what is no budget before anything is loaded."""
    from scaleprof.reporting.budgets import parse_budgets

    parse_budgets(budgets)


def _sizes(text: str, option: str) -> list[int]:
    if text == "max":
        raise UsageError(f"{option} max: solve works on one workload, give one whole number")
    return split_sizes(text, option=option, example="1")


def _check_outputs(
    given: Path | None, output: Path | None, report_path: Path | None, *, overwrite: bool, no_report: bool
) -> None:
    """Refuse outputs that may not be written before any time is spent on them."""
    from scaleprof.app.reporting import check_report_target
    from scaleprof.store import check_replaceable

    if overwrite and output is None:
        raise UsageError("--overwrite needs the run that is meant: give it with -o")
    if no_report and report_path is not None:
        raise UsageError(f"--report {report_path} and --no-report exclude each other")
    if output is not None:
        if given is not None and output.resolve() == given.resolve():
            raise UsageError(f"-o {output} and --run {given} are one file: give the new run another name")
        check_replaceable(output, overwrite=True)
        if not overwrite and output.exists() and output.stat().st_size:
            raise UsageError(f"{output} exists: --overwrite replaces it, --run starts from it")
        report_path = report_path or Path("reports") / f"{output.stem}.html"
        if output.resolve() == report_path.resolve():
            raise UsageError(
                f"-o {output} and --report {report_path} are one file: give the report another name"
            )
    if report_path is not None and not no_report:
        check_report_target(report_path, "html")


def _show_plan(planned: SolvePlan, format_: str) -> int:
    """The starting curve: what would be measured, or the rows of the given run."""
    from scaleprof.app.counting import make_record
    from scaleprof.reporting.rows import cost_row

    start, given = planned.start, planned.given
    if start is not None:
        records = [
            start.unfit.get(job.number) or make_record(start.counted[job.number], job.workload)
            for job in start.jobs
        ]
    else:
        records = list(given.records) if given is not None else []
    print_rows([cost_row(record) for record in records], format_)
    say(_expectation(planned))
    return ExitCode.OK


def _expectation(planned: SolvePlan) -> str:
    from scaleprof.app.solve_plan import MAX_ITERATIONS

    least_s, most_s = planned.expected_s()
    span = " to ".join(dict.fromkeys([format_duration(least_s), format_duration(most_s)]))
    start = (
        f"starting curve of {plural(len(planned.start.jobs), 'model', 'models')} (1 launch)"
        if planned.start is not None
        else f"starting curve of {plural(len(planned.given.records) if planned.given else 0, 'row', 'rows')}"
    )
    launches = plural(planned.plan.launches, "launch", "launches")
    return (
        f"{start}, then 1 to {MAX_ITERATIONS} iterations of up to {planned.models_per_iteration} models "
        f"({launches} each) on {planned.workload.device}: roughly {span}"
    )


def _paths(planned: SolvePlan, output: Path | None, report_path: Path | None) -> tuple[Path, Path]:
    models = re.sub(r"[^A-Za-z0-9_.+-]", "_", "+".join(planned.choice.models))
    device = planned.workload.device.replace(":", "")
    run_path = output or Path("profiles") / f"{models}-{device}-solve-{datetime.now():%Y%m%d-%H%M%S}.jsonl"
    return run_path, report_path or Path("reports") / f"{run_path.stem}.html"


def _measure(planned: SolvePlan, run_path: Path, *, overwrite: bool) -> Solution:
    from scaleprof.app.solving import run_solve

    try:
        return run_solve(
            planned,
            output=run_path,
            overwrite=overwrite,
            command=("scaleprof", *sys.argv[1:]),
            watch=_watching,
        )
    except KeyboardInterrupt:
        if not run_path.exists():
            raise
        raise InterruptedSweepError(
            f"interrupted; what was measured is in {shown(run_path)}: the same command with "
            f"--run {shown(run_path)} in place of --phi (and another -o) starts from it"
        ) from None


@contextmanager
def _watching(words: str, part: SweepPlan) -> Iterator[Watcher]:
    """Say what begins, and watch it as a sweep is watched."""
    from scaleprof.cli.progress import watcher

    say(words)
    with watcher(part.plan.launches, [job.workload for job in part.jobs]) as watching:
        yield watching


def _conclude(
    solution: Solution, run_path: Path, page_path: Path | None, format_: str, budgets: Sequence[str]
) -> int:
    """Print a row a strategy, write the page, and say what was found; the exit code."""
    from scaleprof.app.reporting import report
    from scaleprof.reporting import solutions

    # Rows before the page: no run can be asked for them again.
    if format_ == "table":
        print_table(lambda _width: solutions.to_terminal(solution.rows))
    else:
        made = {"json": solutions.to_json, "csv": solutions.to_csv, "markdown": solutions.to_markdown}
        write_out(made[format_](solution.rows))
    if page_path is not None:
        report(solution.run, page_path, budget=budgets)
    say(f"run: {shown(run_path)}" + (f"\nreport: {shown(page_path)}" if page_path else ""))
    for sentence in [*trust_lines(solution.run), *solution.sentences]:
        say(sentence)
    measured = solution.run.rows
    solved = sum(row.is_within for row in solution.rows)
    say(f"{solved} of {plural(len(solution.rows), 'strategy', 'strategies')} solved")
    return ExitCode.OK if any(row.status == "ok" for row in measured) else ExitCode.FAILURE

"""`scaleprof sweep`: build, count, measure, keep, report."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaleprof.cli.concluding import conclude
from scaleprof.cli.options import (
    budget_option,
    choose_models,
    format_option,
    model_options,
    print_rows,
    say,
    say_counting,
    say_trial,
    shown,
    split_names,
    split_sizes,
)
from scaleprof.errors import ExitCode, InterruptedSweepError, UsageError
from scaleprof.units import format_duration, parse_duration_s, parse_fraction, plural

if TYPE_CHECKING:
    from scaleprof.app.planning import SweepPlan
    from scaleprof.app.run import Run
    from scaleprof.engines.local import AllocatorPolicy
    from scaleprof.reporting.accuracy import AccuracyTable

# A sweep that is expected to take longer than this asks first.
_ASK_BEYOND_S = 15 * 60


@click.command()
@model_options
@click.option(
    "-d", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where to run."
)
@click.option(
    "-b",
    "--batch-size",
    default="1",
    show_default=True,
    metavar="N,N…|max",
    help="Samples per pass; max searches the largest that fits and the one with the best throughput.",
)
@click.option("--threads", metavar="N,N…", help="CPU threads  [default: the CPUs this process may use]")
@click.option(
    "--dtype",
    default="fp32",
    show_default=True,
    metavar="fp32,bf16,fp16",
    help="What is computed in.",
)
@click.option(
    "--cast",
    default="weights",
    show_default=True,
    metavar="weights,autocast",
    help="How, below fp32: weights and inputs are cast, or torch casts at each operator.",
)
@click.option(
    "--mode",
    type=click.Choice(["infer", "train", "decode"]),
    default="infer",
    show_default=True,
    help="A forward pass; a training step (forward, backward and AdamW, timed apart and together); or one "
    "new token a sample against a key–value cache.",
)
@click.option(
    "--runtime",
    default="eager",
    show_default=True,
    metavar="eager,compile,onnxruntime,openvino",
    help="What runs the network, its outputs checked against eager's; on CUDA also cudagraph.",
)
@click.option(
    "--memory-format",
    default="contiguous",
    show_default=True,
    metavar="contiguous,channels_last",
    help="Of weights and images.",
)
@click.option(
    "--allocator",
    type=click.Choice(["pinned", "default"]),
    default="pinned",
    show_default=True,
    help="malloc in one known state, or as the environment has it (CPU).",
)
@click.option(
    "--preset",
    default="default",
    show_default=True,
    metavar="quick|default|rigorous",
    help="1, 3 or 5 launches (fresh processes), of more rounds each.",
)
@click.option("--target-ci", metavar="2%", help="Stop early once half the 95 % interval is below this share.")
@click.option(
    "--max-time",
    metavar="10m",
    help="Stop measuring after this time, compiling aside; what is measured counts.",
)
@click.option(
    "--timeout",
    default="10m",
    show_default=True,
    help="Longest time for building or one visit to a model, compiling aside.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of weights, inputs and visiting order.",
)
@click.option(
    "--accuracy",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Accuracies in percent, a row a model, that the run keeps (docs/accuracy.md).",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --output.")
@click.option("--dry-run", is_flag=True, help="Show the models, their costs and the time, and stop there.")
@click.option("--yes", is_flag=True, help="Do not ask before a long sweep.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Run file  [default: profiles/MODEL-DEVICE-TIME.jsonl]",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Report to write  [default: reports/, named as the run]",
)
@click.option("--no-report", is_flag=True, help="Write no report.")
@budget_option
@format_option
def sweep(
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
    accuracy: Path | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    yes: bool,
    output: Path | None,
    report_path: Path | None,
    no_report: bool,
    budgets: tuple[str, ...],
    format_: str,
    **model_options: Any,
) -> int:
    """Build families of scaled models, measure each on a real device, and draw the report.

    \b
    scaleprof sweep --phi 0..3                  the four strategies on this machine
    scaleprof sweep --phi 0..7 --device cuda    on the first GPU
    scaleprof sweep --strategy published --phi 0..7,L2
    scaleprof sweep -m resnet50 -m torchvision:vit_b_16 --match macs
    scaleprof sweep --runtime eager,compile,onnxruntime,openvino --phi 0..1
    scaleprof sweep --mode train --batch-size 8
    scaleprof sweep -m transformer_decoder --mode decode
    """
    _check_flags(
        resume=resume, overwrite=overwrite, output=output, no_report=no_report, report_path=report_path
    )
    _check_outputs(output, report_path, resume=resume, overwrite=overwrite, no_report=no_report)
    sizes = _split_batches(batch_size)
    counts = None if threads is None else split_sizes(threads, option="--threads")
    dtypes = split_names(dtype, option="--dtype")
    layouts = split_names(memory_format, option="--memory-format")
    runtimes = split_names(runtime, option="--runtime")
    casts = split_names(cast, option="--cast")
    ci = None if target_ci is None else parse_fraction(target_ci, option="--target-ci")
    limit_s = None if max_time is None else parse_duration_s(max_time, option="--max-time")
    timeout_s = parse_duration_s(timeout, option="--timeout")
    _check_budgets(budgets)
    accuracies = _read_accuracies(accuracy)
    choice = choose_models(**model_options)

    from scaleprof.app.sweeping import plan_with_batches
    from scaleprof.measuring.presets import make_plan
    from scaleprof.store import read_run

    planned = plan_with_batches(
        choice,
        known=read_run(output).records if resume and output is not None else (),
        search=not dry_run,
        on_trial=say_trial,
        on_doubts=_say_each,
        device=device,
        batch_size=sizes,
        threads=counts,
        dtype=dtypes,
        memory_format=layouts,
        mode=mode,
        runtime=runtimes,
        cast=casts,
        allocator=allocator,
        plan=make_plan(preset, target_ci=ci, max_time_s=limit_s, timeout_s=timeout_s),
        seed=seed,
        accuracies=accuracies,
        on_done=say_counting,
    )
    if dry_run:
        return _show_plan(planned, format_, forecast_batches="max" in sizes)
    run_path, page_path = _paths(planned, output, report_path)
    _announce(planned, run_path if resume else None, ask=not yes and sys.stdin.isatty())
    run = _measure(planned, run_path, resume=resume, overwrite=overwrite)
    return conclude(run, run_path, None if no_report else page_path, format_, budgets)


def _check_flags(
    *, resume: bool, overwrite: bool, output: Path | None, no_report: bool, report_path: Path | None
) -> None:
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: go on with the run, or replace it")
    if (resume or overwrite) and output is None:
        raise UsageError(
            f"--{'resume' if resume else 'overwrite'} needs the run that is meant: give it with -o"
        )
    if no_report and report_path is not None:
        raise UsageError(f"--report {report_path} and --no-report exclude each other")


def _check_budgets(budgets: Sequence[str]) -> None:
    """Refuse what is no budget before any time is spent."""
    if budgets:
        from scaleprof.reporting.budgets import parse_budgets

        parse_budgets(budgets)


def _read_accuracies(path: Path | None) -> AccuracyTable | None:
    """The table, checked before any time is spent."""
    if path is None:
        return None
    from scaleprof.reporting.accuracy import read_accuracies

    return read_accuracies(path)


def _say_each(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _split_batches(text: str) -> list[int | str]:
    """Sizes, and `max` where it is among them."""
    names = split_names(text, option="--batch-size")
    numbers = [name for name in names if name != "max"]
    sizes = split_sizes(",".join(numbers), option="--batch-size", example="1,32 or max") if numbers else []
    return [*sizes, *(["max"] if len(numbers) < len(names) else [])]


def _show_plan(planned: SweepPlan, format_: str, *, forecast_batches: bool) -> int:
    from scaleprof.app.counting import make_record
    from scaleprof.reporting.rows import cost_row

    print_rows(
        [
            cost_row(planned.unfit.get(job.number) or make_record(planned.counted[job.number], job.workload))
            for job in planned.jobs
        ],
        format_,
    )
    if forecast_batches:
        for job in planned.jobs:
            say(
                f"{job.spec.spec_id}: batches of up to {planned.largest_batch(job)} by the forecast of memory"
            )
    say(_expectation(planned, {}))
    return ExitCode.OK if planned.groups else ExitCode.FAILURE


def _expectation(planned: SweepPlan, held: dict[int, int]) -> str:
    least_s, most_s = planned.expected_s(held)
    skipped = f", {len(planned.unfit)} will not be run" if planned.unfit else ""
    groups = f" in {len(planned.groups)} groups that fit in memory" if len(planned.groups) > 1 else ""
    models = len(planned.jobs) - len(planned.unfit)
    launches = plural(planned.plan.launches, "launch", "launches")
    compiling_s = planned.compiling_s(held)
    compiling = f", {format_duration(compiling_s)} of it for compiling and exporting" if compiling_s else ""
    return (
        f"{plural(models, 'model', 'models')} on {planned.device}{groups}{skipped}: {launches}, roughly "
        f"{' to '.join(dict.fromkeys([format_duration(least_s), format_duration(most_s)]))}{compiling}"
    )


def _paths(planned: SweepPlan, output: Path | None, report_path: Path | None) -> tuple[Path, Path]:
    models = "+".join(dict.fromkeys(job.spec.model for job in planned.jobs))
    device = planned.device.replace(":", "")
    stem = f"{re.sub(r'[^A-Za-z0-9_.+-]', '_', models)}-{device}-{datetime.now():%Y%m%d-%H%M%S}"
    run_path = output or Path("profiles") / f"{stem}.jsonl"
    return run_path, report_path or Path("reports") / f"{run_path.stem}.html"


def _check_outputs(
    output: Path | None, report_path: Path | None, *, resume: bool, overwrite: bool, no_report: bool
) -> None:
    """Refuse outputs that may not be written before any time is spent on them; default names are new."""
    from scaleprof.app.reporting import check_report_target
    from scaleprof.store import check_replaceable, check_resumable

    if output is not None:
        if resume:
            check_resumable(output)
        else:
            check_replaceable(output, overwrite=overwrite)
        report_path = report_path or Path("reports") / f"{output.stem}.html"
    if output is not None and report_path is not None and output.resolve() == report_path.resolve():
        raise UsageError(f"-o {output} and --report {report_path} are one file: give the report another name")
    if report_path is not None and not no_report:
        check_report_target(report_path, "html")


def _announce(planned: SweepPlan, resumed: Path | None, *, ask: bool) -> None:
    from scaleprof.app.ledger import launches_held
    from scaleprof.store import read_run

    held = launches_held(planned, read_run(resumed).records) if resumed else {}
    say(_expectation(planned, held))
    if ask and planned.expected_s(held)[1] > _ASK_BEYOND_S:
        click.confirm("go on?", default=True, abort=True, err=True)


def _measure(planned: SweepPlan, run_path: Path, *, resume: bool, overwrite: bool) -> Run:
    from scaleprof.app.sweeping import run_sweep
    from scaleprof.cli.progress import watcher

    try:
        with watcher(planned.plan.launches, [job.workload for job in planned.jobs]) as watching:
            return run_sweep(
                planned,
                output=run_path,
                resume=resume,
                overwrite=overwrite,
                command=("scaleprof", *sys.argv[1:]),
                watcher=watching,
            )
    except KeyboardInterrupt:
        if not run_path.exists():
            raise
        raise InterruptedSweepError(
            f"interrupted; what was measured is in {shown(run_path)}: the same command with "
            f"-o {shown(run_path)} --resume goes on"
        ) from None

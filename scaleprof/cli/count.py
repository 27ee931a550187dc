"""`scaleprof count`: the same families without running them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from scaleprof.cli.options import (
    choose_models,
    format_option,
    model_options,
    print_rows,
    print_table,
    say,
    say_counting,
    write_out,
)
from scaleprof.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaleprof.app.choosing import Choice
    from scaleprof.app.counting import Counted
    from scaleprof.reporting.breakdown import Row


@click.command()
@model_options
@click.option(
    "--mode",
    type=click.Choice(["infer", "train", "decode"]),
    default="infer",
    show_default=True,
    help="A forward pass; a training step (forward and backward, gradients and optimizer); or one new token "
    "against a key–value cache.",
)
@click.option("--by-operator", is_flag=True, help="Show what each operator contributes.")
@click.option(
    "--by-module",
    type=click.IntRange(min=0),
    metavar="DEPTH",
    help="Show what each module contributes, down to this depth (0 is the network).",
)
@click.option(
    "--cross-check",
    type=click.Choice(["fvcore"]),
    help="Count with this too, on real tensors, and explain the difference.",
)
@click.option("--strict-count", is_flag=True, help="Fail (exit 3) if an operator has no formula.")
@format_option
def count(
    mode: Literal["infer", "train", "decode"],
    by_operator: bool,
    by_module: int | None,
    cross_check: str | None,
    strict_count: bool,
    format_: str,
    **model_options: Any,
) -> int:
    """MACs, parameters, activations and memory of each model, in seconds, without running one.

    \b
    scaleprof count --phi 0..7
    scaleprof count --strategy published --phi 0..8,L2 --format csv
    scaleprof count -m nets.py:build --match macs
    scaleprof count -m torchvision:vit_b_16 --phi 0 --by-module 2
    scaleprof count -m torchvision:vit_b_16 --phi 0 --cross-check fvcore
    """
    _check_views(by_operator, by_module, cross_check, mode)
    choice = choose_models(**model_options)

    from scaleprof.app.counting import count_choice, make_record
    from scaleprof.records import Workload
    from scaleprof.reporting.rows import cost_row

    counted = count_choice(choice, say_counting, mode=mode)
    if by_operator or by_module is not None or cross_check:
        _print_breakdown(_breakdown(choice, counted, by_operator, by_module, mode), format_)
    else:
        rows = [cost_row(make_record(one, Workload("cpu", mode=mode))) for one in counted]
        print_rows(rows, format_)
    return _exit_code(counted, strict=strict_count)


def _check_views(by_operator: bool, by_module: int | None, cross_check: str | None, mode: str) -> None:
    if by_operator + (by_module is not None) + bool(cross_check) > 1:
        raise UsageError("--by-operator, --by-module and --cross-check are three views: ask for one")
    if cross_check and mode != "infer":
        raise UsageError(f"--cross-check fvcore counts forward passes: leave --mode {mode} out")


def _breakdown(
    choice: Choice, counted: Sequence[Counted], by_operator: bool, by_module: int | None, mode: Any
) -> Sequence[Row]:
    from scaleprof.app import breakdown

    if by_operator:
        return breakdown.by_operator(counted)
    if by_module is not None:
        return breakdown.by_module(choice, counted, by_module, mode)
    rows: list[Row] = []
    for one in counted:
        if one.cost is not None:
            rows += breakdown.against_fvcore(choice, one.spec)
    return rows


def _print_breakdown(rows: Sequence[Row], format_: str) -> None:
    from scaleprof.reporting import breakdown

    if not rows:
        return
    if format_ == "table":
        print_table(lambda _width: breakdown.to_terminal(rows))
    else:
        render = {"json": breakdown.to_json, "csv": breakdown.to_csv, "markdown": breakdown.to_markdown}
        write_out(render[format_](rows))


def _exit_code(counted: Sequence[Counted], *, strict: bool) -> ExitCode:
    uncounted = {
        f"{operator.operator} in {one.spec.spec_id}"
        for one in counted
        if one.cost
        for operator in one.cost.uncounted
    }
    if strict and uncounted:
        say(f"scaleprof: --strict-count: no formula for {', '.join(sorted(uncounted))}")
        return ExitCode.FAILURE
    return ExitCode.OK if any(one.status == "ok" for one in counted) else ExitCode.FAILURE

"""`scaleprof count`: the same families without running them."""

from __future__ import annotations

from typing import Any

import click

from scaleprof.cli.options import choose_models, format_option, model_options, print_rows, say_counting
from scaleprof.errors import ExitCode


@click.command()
@model_options
@format_option
def count(format_: str, **model_options: Any) -> int:
    """MACs, parameters, activations and memory of each model, in seconds, without running one.

    \b
    scaleprof count --phi 0..7
    scaleprof count --strategy published --phi 0..8,L2 --format csv
    scaleprof count -m nets.py:build --match macs
    """
    choice = choose_models(**model_options)

    from scaleprof.app.counting import count_choice, make_record
    from scaleprof.records import Workload
    from scaleprof.reporting.rows import cost_row

    counted = count_choice(choice, say_counting)
    rows = [cost_row(make_record(one, Workload("cpu"))) for one in counted]
    print_rows(rows, format_)
    return ExitCode.OK if any(row.status == "ok" for row in rows) else ExitCode.FAILURE

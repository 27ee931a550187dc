"""`scaleprof count`: the same families without running them."""

from __future__ import annotations

import click

from scaleprof.cli.options import (
    format_option,
    make_bases,
    model_options,
    print_rows,
    say_counting,
    split_names,
)
from scaleprof.errors import ExitCode


@click.command()
@model_options
@format_option
def count(
    models: tuple[str, ...],
    strategies: str,
    phi: str,
    depth_base: float,
    width_base: float,
    resolution_base: float,
    format_: str,
) -> int:
    """MACs, parameters, activations and memory of each model, in seconds, without running one.

    \b
    scaleprof count --phi 0..7
    scaleprof count --strategy published --phi 0..8,L2 --format csv
    """
    bases = make_bases(depth_base, width_base, resolution_base)
    names = split_names(strategies, option="--strategy")

    from scaleprof.app.counting import count_families

    rows = count_families(models, strategies=names, phi=phi, bases=bases, on_counted=say_counting)
    print_rows(rows, format_)
    return ExitCode.OK if any(row.status == "ok" for row in rows) else ExitCode.FAILURE

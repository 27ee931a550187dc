"""`scaleprof env`: facts of this machine."""

from __future__ import annotations

import json

import click

from scaleprof.cli.options import write_out
from scaleprof.errors import ExitCode


@click.command()
@click.option("-d", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def env(device: str, format_: str) -> int:
    """What a measurement here would depend on: processor, memory, driver, versions."""
    from scaleprof.app.environment import describe_environment

    facts = describe_environment(device)
    if format_ == "json":
        write_out(json.dumps(facts, indent=2))
        return ExitCode.OK
    write_out("\n".join(f"{name:>20}  {'–' if value is None else value}" for name, value in facts.items()))
    return ExitCode.OK

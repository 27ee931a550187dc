"""The command line: one file per verb, each of which parses, calls `scaleprof.app`, and prints.

Nothing heavy is imported here: `scaleprof --help` must answer at once. stdout carries data, stderr talk.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import TracebackType

import click

import scaleprof
from scaleprof.cli.check import check
from scaleprof.cli.config import read_defaults
from scaleprof.cli.count import count
from scaleprof.cli.doctor import doctor
from scaleprof.cli.env import env
from scaleprof.cli.models import models
from scaleprof.cli.options import write_out
from scaleprof.cli.report import report
from scaleprof.cli.search import search
from scaleprof.cli.show import show
from scaleprof.cli.solve import solve
from scaleprof.cli.sweep import sweep
from scaleprof.errors import ExitCode, ScaleprofError
from scaleprof.measuring.host import OPENMP_WAITING


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(scaleprof.__version__, "--version", prog_name="scaleprof")
@click.pass_context
def cli(context: click.Context) -> None:
    """Which way should this network be scaled on this device, and what does each step cost?

    Options can also stand in scaleprof.toml ([sweep], …), in pyproject.toml ([tool.scaleprof.sweep], …) or in
    the environment (SCALEPROF_SWEEP_PHI, …); a flag wins over the environment, the environment over a file.
    """
    if context.invoked_subcommand is None:
        write_out(context.get_help())


for _command in (sweep, count, report, solve, check, search, show, models, env, doctor):
    cli.add_command(_command)
    for _option in _command.params:
        if isinstance(_option, click.Option):
            _flag = next(flag for flag in _option.opts if flag.startswith("--"))
            _option.envvar = f"SCALEPROF_{_command.name}{_flag[1:]}".replace("-", "_").upper()


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line and return its exit code; every expected error is one line on stderr."""
    warnings.showwarning = _say_warning
    try:
        result = cli.main(
            list(arguments),
            prog_name="scaleprof",
            standalone_mode=False,
            default_map=read_defaults(cli),
        )
    except ScaleprofError as error:
        return _fail(str(error), error.exit_code)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "scaleprof"
        return _fail(
            f"{_one_line(error.format_message())} ({where} --help lists what there is)", ExitCode.USAGE
        )
    except click.ClickException as error:
        return _fail(_one_line(error.format_message()), ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", ExitCode.INTERRUPTED)
    return int(result or ExitCode.OK)


def main() -> None:
    """Entry point of the `scaleprof` command."""
    sys.excepthook = _crash
    # As the workers have it: threads that spin long make a forecast on a busy machine far too long.
    for name, value in OPENMP_WAITING.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside: save, like Ctrl-C
    sys.exit(run(sys.argv[1:]))


def _fail(message: str, code: ExitCode) -> int:
    click.echo(f"scaleprof: {message}", err=True)
    return code


def _crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug keeps its traceback; its exit code must not be 1, which means a regression."""
    traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.FAILURE)


def _say_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    click.echo(f"scaleprof: warning: {message}", err=True)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")

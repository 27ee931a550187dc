"""`scaleprof doctor`: what disturbs measuring here, and how to mend it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from scaleprof.cli.options import print_table, say, write_out
from scaleprof.errors import ExitCode, ScaleprofError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group

    from scaleprof.app.doctor import Examination, SelfTest
    from scaleprof.measuring.doctor.finding import Finding, State

# Worst first: state, mark, colour, heading.
_GROUPS: tuple[tuple[State, str, str, str], ...] = (
    ("warn", "!", "yellow", "disturbs measuring"),
    ("unknown", "?", "cyan", "not known"),
    ("ok", "✓", "green", "fine"),
)


@click.command()
@click.option("-d", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N")
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N",
    help="CPU threads that are to be measured with; by default the CPUs that this process may use.",
)  # fmt: skip
@click.option("--no-self-test", is_flag=True, help="Leave out the self-test: nothing is timed.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(device: str, threads: int | None, no_self_test: bool, format_: str) -> int:
    """What disturbs measuring on this machine, and how to mend it; nothing is changed.

    The self-test times two copies of a model, as a sweep would two models, and says how small a difference
    can be told from none here.
    """
    from scaleprof.app.doctor import examine, self_test

    examined = examine(device, threads)
    if format_ == "table":
        print_table(lambda _width: findings_table(examined.findings))
    tested, failed = None, None
    if not no_self_test:
        say(_announcement())
        try:
            tested = self_test(examined)
        except ScaleprofError as error:
            failed = error
    if format_ == "json":
        write_out(json.dumps(_as_json(examined, tested), indent=2, ensure_ascii=False))
    elif tested is not None:
        write_out("\n" + "\n".join(_sentences(tested)))
    if failed is not None:
        raise failed
    return ExitCode.OK


def _announcement() -> str:
    from scaleprof.app.doctor import SELF_TEST_LAUNCHES, SELF_TEST_S

    return (
        f"self-test: about {SELF_TEST_S:.0f} s of measuring, and the start of {SELF_TEST_LAUNCHES} workers "
        f"before it (--no-self-test leaves it out)"
    )


def findings_table(findings: Sequence[Finding]) -> Group:
    """The findings, worst first; a remedy stands on a line of its own below what was seen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    width = max(len(finding.check) for finding in findings)
    parts: list[Table | Text] = []
    for state, mark, colour, heading in _GROUPS:
        group = [finding for finding in findings if finding.state == state]
        if not group:
            continue
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(width=1)
        table.add_column(width=width, no_wrap=True)
        table.add_column(overflow="fold")
        for finding in group:
            remedy = f"\n→ {finding.remedy}" if finding.remedy else ""
            table.add_row(
                Text(mark, style=colour), Text(finding.check), Text.assemble(finding.seen, (remedy, "bold"))
            )
        parts += [Text("")] if parts else []
        parts += [Text(f"{heading} ({len(group)})", style="bold"), table]
    return Group(*parts)


def _as_json(examined: Examination, tested: SelfTest | None) -> dict[str, object]:
    import msgspec

    return {
        **msgspec.to_builtins(examined),
        "self_test": None if tested is None else msgspec.to_builtins(tested),
    }


def _sentences(tested: SelfTest) -> list[str]:
    """What the self-test came to; the last line is the one to remember."""
    resolves, longer = _about(tested.resolves), _about(max(0.0, tested.noise_spread - 1))
    return [
        f"self-test: two copies of {tested.model}, {tested.launches} launches, {tested.rounds} rounds",
        f"noise: {tested.noise} (of a matrix product's times the 90th percentile is {longer} above the 10th)",
        f"latency differed by {_about(tested.latency_spread)} between launches, "
        f"the copies' ratio inside rounds is off by {_about(abs(tested.apart))}",
        f"two models of one sweep that differ by less than {resolves} cannot be told apart with the default "
        f"preset",
        f"this machine can resolve differences of about {resolves}",
    ]


def _about(share: float) -> str:
    """Percent with two significant digits at most.

    >>> _about(0.0042), _about(0.0234), _about(0.187), _about(1.5)
    ('0.42 %', '2.3 %', '19 %', '150 %')
    """
    value = share * 100
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"

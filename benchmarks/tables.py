"""Markdown tables for the benchmarks, and their place in docs/measuring.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from scaleprof.measuring import host

PAGE = Path(__file__).parents[1] / "docs" / "measuring.md"


class Table:
    """A header and rows of text; the first column is words, the others are numbers."""

    def __init__(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._header = header
        self._rows = rows

    def markdown(self) -> str:
        rule = [":--", *["--:"] * (len(self._header) - 1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self._header, rule, *self._rows))


def describe_machine() -> str:
    """The machine that a table was made on, and when."""
    facts = host.describe_host("cpu", "as the benchmark says")
    hypervisor = any("hypervisor" in line for line in Path("/proc/cpuinfo").read_text().splitlines())
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {facts.cpu_model}, {facts.usable_cpus} CPUs"
        f"{' of a shared virtual machine' if hypervisor else ''}, {facts.cpu_capability}, {facts.system}, "
        f"Python {facts.python}, torch {torch.__version__}."
    )


def write_between(name: str, text: str, page: Path = PAGE) -> None:
    """Put text between `<!-- name -->` and `<!-- /name -->`; exit 2 if the page has no such place."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    content = page.read_text(encoding="utf-8") if page.exists() else ""
    before, found, rest = content.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        print(f"{page} has no {start} … {end}: nothing is written", file=sys.stderr)
        sys.exit(2)
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")

"""Writes what the documentation takes from the program: `python docs/generate.py [--check]`.

`docs/cli.md` is the command line's own help; a test holds that it is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scaleprof.cli import cli

REFERENCE = Path(__file__).parent / "cli.md"
_WIDTH = 100


def reference() -> str:
    """The help of every command, in one page."""
    parts = ["# Command line\n\nWritten by `python docs/generate.py` from `--help`.\n"]
    for name, command in [("", cli), *sorted(cli.commands.items())]:
        info_name = f"scaleprof {name}".strip()
        context = click.Context(command, info_name=info_name, max_content_width=_WIDTH, terminal_width=_WIDTH)
        parts.append(f"## {info_name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write the pages, or check them."""
    text = reference()
    if "--check" in sys.argv[1:]:
        sys.exit(
            0
            if REFERENCE.read_text(encoding="utf-8") == text
            else f"{REFERENCE} is out of date: run {__file__}"
        )
    REFERENCE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

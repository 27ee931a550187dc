"""Whether balanced scaling pays beyond CNNs: `python benchmarks/families.py [--write | --check]`.

Reads the kept runs of a transformer, an RNN and a detector (no measuring, a second) and prints what their
reports say: the verdict, and what each strategy delivers at equal latency, at equal MACs and at equal memory.
`--write` keeps it in docs/beyond_cnns.md, `--check` fails if that page is not current. The runs are made by
`scaleprof sweep -m NAME --phi -1..1 --device cpu -o profiles/NAME-cpu.jsonl`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tables import Table, write_between

import scaleprof as sp
from scaleprof.reporting.analysis_tables import TextTable
from scaleprof.reporting.view import RunView, view_runs

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "beyond_cnns.md"
KEPT = ("transformer_encoder", "lstm", "efficientdet_d0")


def render() -> str:
    """The page's generated part: a section for each kept run."""
    return "\n\n".join(section(name) for name in KEPT)


def section(model: str) -> str:
    """What the report of one run says, in its own words."""
    (view,) = view_runs([sp.load(ROOT / "profiles" / f"{model}-cpu.jsonl").log])
    return "\n\n".join(
        [
            f"### {model}",
            " · ".join(f"{fact.label} {fact.value}" for fact in view.trust),
            "\n".join(f"- {sentence}" for sentence in view.verdict),
            *(f"{table.caption}\n\n{markdown(table)}" for table in tables(view)),
        ]
    )


def tables(view: RunView) -> Iterator[TextTable]:
    """Strategies at equal cost, and how steeply each grows beside the theory of the family."""
    return (table for table in view.analysis if table.topic in ("equal", "growth"))


def markdown(table: TextTable) -> str:
    return Table(table.header, table.rows).markdown()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep it in docs/beyond_cnns.md")
    parser.add_argument("--check", action="store_true", help="fail if docs/beyond_cnns.md is not current")
    options = parser.parse_args()
    text = render()
    if options.write:
        write_between("families", text, PAGE)
    elif options.check:
        current = text in PAGE.read_text(encoding="utf-8")
        print("current" if current else f"{PAGE} is not current: python benchmarks/families.py --write")
        return 0 if current else 1
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

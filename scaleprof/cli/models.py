"""`scaleprof models`: what can be scaled, and to what integers."""

from __future__ import annotations

import json

import click

from scaleprof.cli.options import split_names, write_out
from scaleprof.errors import ExitCode
from scaleprof.models import FAMILIES, find_family
from scaleprof.models.family import ModelFamily
from scaleprof.records import ModelSpec
from scaleprof.scaling.published import TABLES, numbered
from scaleprof.scaling.rules import DEFAULT_STRATEGIES
from scaleprof.scaling.sweep import Sweep, expand, parse_phi


@click.command()
@click.argument("name", required=False)
@click.option(
    "--phi", default="0..3", show_default=True, metavar="0..7", help="Values of φ to show the integers at."
)
@click.option(
    "--strategy", "strategies", default=",".join(DEFAULT_STRATEGIES), show_default=True, metavar="S,S…"
)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def models(name: str | None, phi: str, strategies: str, format_: str) -> int:
    """List the families, or show what one becomes at each φ.

    \b
    scaleprof models
    scaleprof models efficientnet_b0 --phi 0..7 --strategy compound
    """
    if name is None:
        listed = [_summary(family) for family in FAMILIES.values()]
        write_out(json.dumps(listed, indent=2) if format_ == "json" else "\n".join(map(_list_line, listed)))
        return ExitCode.OK
    family = find_family(name)
    sweep = Sweep((name,), tuple(split_names(strategies, option="--strategy")), parse_phi(phi))
    specs = expand(sweep, FAMILIES)
    if format_ == "json":
        write_out(json.dumps({**_summary(family), "specs": [_spec(spec) for spec in specs]}, indent=2))
        return ExitCode.OK
    facts = [f"{key:>16}  {value}" for key, value in _summary(family).items()]
    write_out("\n".join([*facts, "", *map(_spec_line, specs)]))
    return ExitCode.OK


def _summary(family: ModelFamily) -> dict[str, str]:
    rows = TABLES.get(family.name, ())
    names = [row.name if numbered(row) is None else f"{numbered(row)}" for row in rows]
    return {
        "name": family.name,
        "title": family.title,
        "depth": family.depth_means,
        "width": family.width_means,
        "resolution": family.resolution_means,
        "base input": f"{family.base_input_size} {family.input_unit}",
        "published phi": ", ".join(names) or "none",
        "source": family.source,
    }


def _list_line(summary: dict[str, str]) -> str:
    return f"{summary['name']:24}{summary['title']} ({summary['source']})"


def _spec_line(spec: ModelSpec) -> str:
    integers = "  ".join(f"{key} {_short(value)}" for key, value in spec.shape.items())
    return f"{spec.spec_id}  {spec.input_size} {spec.input_unit}  {integers}"


def _spec(spec: ModelSpec) -> dict[str, object]:
    return {"spec_id": spec.spec_id, "input_size": spec.input_size, "shape": spec.shape, "also": spec.also}


def _short(value: int | tuple[int, ...]) -> str:
    return str(value) if isinstance(value, int) else "-".join(map(str, value))

"""`scaleprof models`: what can be scaled, and to what integers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from scaleprof.cli.options import choose_models, say_counting, scaling_options, write_out
from scaleprof.errors import ExitCode
from scaleprof.models import FAMILIES, announced
from scaleprof.models.family import Model, why_no_decoding
from scaleprof.records import Mode
from scaleprof.scaling.laws import law_of
from scaleprof.scaling.published import TABLES
from scaleprof.scaling.rules import DIMENSIONS
from scaleprof.scaling.theory import Term, powers_at_base

if TYPE_CHECKING:
    from scaleprof.reporting.rows import CostRow


@click.command()
@click.argument("name", required=False)
@scaling_options
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def models(name: str | None, format_: str, **scaling: Any) -> int:
    """List what can be scaled, or show what one model becomes at each φ: integers and achieved growth.

    NAME is what --model takes elsewhere: a family, FILE.py:FACTORY, torchvision:NAME, …

    \b
    scaleprof models
    scaleprof models efficientnet_b0 --phi 0..7 --strategy compound
    """
    if name is None:
        families = list(FAMILIES.values())
        as_json = json.dumps([_facts(family) for family in families], indent=2)
        write_out(as_json if format_ == "json" else _listing(families))
        return ExitCode.OK
    choice = choose_models(models=[name], **scaling)
    (model,) = choice.models.values()

    from scaleprof.app.counting import count_choice, make_record
    from scaleprof.records import Workload
    from scaleprof.reporting.rows import cost_row

    rows = [cost_row(make_record(one, Workload("cpu"))) for one in count_choice(choice, say_counting)]
    if format_ == "json":
        write_out(json.dumps({**_facts(model), "specs": [_spec(row) for row in rows]}, indent=2))
        return ExitCode.OK
    facts = [f"{key:>13}  {value}" for key, value in _summary(model).items()]
    write_out("\n".join([*facts, "", *_table(rows)]))
    return ExitCode.OK


def _summary(model: Model) -> dict[str, str]:
    rows = TABLES.get(model.name, ())
    size = "its own" if model.base_input_size is None else f"{model.base_input_size} {model.input_unit}"
    return {
        "name": model.name,
        "title": model.title,
        **model.means,
        **({"note": model.note} if model.note else {}),
        **_growth(model),
        "base input": size,
        "modes": ", ".join(_modes(model)),
        "published phi": ", ".join(f"{row.name if row.number is None else row.number}" for row in rows)
        or "none",
        "source": model.source,
    }


def _modes(model: Model) -> tuple[Mode, ...]:
    return ("infer", "train") if why_no_decoding(model) else ("infer", "train", "decode")


def _growth(model: Model) -> dict[str, str]:
    """How a family with a law of its own grows at its base, in a line."""
    law = law_of(model.name)
    if law is None:
        return {}
    counts = {"MACs": law.macs, "parameters": law.params, "activations": law.activations}
    return {"at the base": "; ".join(f"{name} go with {_powers(terms)}" for name, terms in counts.items())}


def _powers(terms: tuple[Term, ...]) -> str:
    powers = zip(DIMENSIONS, powers_at_base(terms), strict=True)
    return " · ".join(f"{name}^{power:.2f}" for name, power in powers if round(power, 2))


def _facts(model: Model) -> dict[str, object]:
    """What other programs read of a model."""
    return {
        "name": model.name,
        "title": model.title,
        **model.means,
        "note": model.note,
        "modes": _modes(model),
        "base_input_size": model.base_input_size,
        "input_unit": model.input_unit,
        "published": [row.name for row in TABLES.get(model.name, ())],
        "source": model.source,
    }


def _listing(families: Sequence[Model]) -> str:
    """Each family with what depth, width and resolution mean in it, and where other models come from."""
    blocks = []
    for family in families:
        meanings = "".join(f"\n    {name:12}{meaning}" for name, meaning in family.means.items())
        blocks.append(f"{family.name}  {family.title} ({family.source}){meanings}")
    packages = "".join(f"\n    {entry.name} ({entry.value})" for entry in announced())
    others = [
        "your own      FILE.py:FACTORY or MODULE:FACTORY, a function build(scale) that returns a module",
        "as they are   torchvision:NAME, timm:NAME (resolution alone grows)",
    ]
    blocks.append("\n".join(others) + (f"\ninstalled packages announce:{packages}" if packages else ""))
    return "\n\n".join(blocks)


def _table(rows: Sequence[CostRow]) -> list[str]:
    """A line a model: requested and achieved growth, and the integers."""
    from scaleprof.reporting.tables import growth_text, input_text
    from scaleprof.units import format_count

    width = max(len(row.spec_id) for row in rows)
    lines = [f"{'model':{width}}  {'input':>8}  {'asked':>7}  {'growth':>7}  {'MACs':>7}  integers"]
    for row in rows:
        size = input_text(row)
        asked, got = f"{row.requested_growth:.2f}×", growth_text(row)
        macs = "–" if row.macs is None else format_count(row.macs)
        words = _integers(row) if row.reason is None else f"{row.status}: {row.reason}"
        lines.append(f"{row.spec_id:{width}}  {size:>8}  {asked:>7}  {got:>7}  {macs:>7}  {words}".rstrip())
    return lines


def _integers(row: CostRow) -> str:
    """A family's integers; of a person's own network its factors, since they are all that is known."""
    if row.shape is None:
        return f"depth {row.depth:.4g}  width {row.width:.4g}  resolution {row.resolution:.4g}"
    return "  ".join(f"{key} {_short(value)}" for key, value in row.shape.items())


def _spec(row: CostRow) -> dict[str, object]:
    names = ("spec_id", "also", "depth", "width", "resolution", "input_size", "shape", "macs")
    growths = ("requested_growth", "achieved_growth", "matched_growth", "status", "reason")
    return {name: getattr(row, name) for name in (*names, *growths)}


def _short(value: int | tuple[int, ...]) -> str:
    return str(value) if isinstance(value, int) else "-".join(map(str, value))

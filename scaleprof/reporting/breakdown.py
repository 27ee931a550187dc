"""Where a model's cost sits: by operator, by module, and beside another counter; rows and terminal text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from scaleprof.records import Cost, ModuleCost
from scaleprof.reporting import table
from scaleprof.reporting.table import Table
from scaleprof.text import for_terminal
from scaleprof.units import format_bytes, format_count


class OperatorRow(msgspec.Struct, frozen=True):
    """What one operator contributes to a model; `share` is of the model's MACs."""

    spec_id: str
    operator: str
    calls: int
    macs: int
    share: float
    activations: int
    read_bytes: int | None
    written_bytes: int | None
    counted: Literal["yes", "free", "no formula"]


class ModuleRow(msgspec.Struct, frozen=True):
    """What one module and all that is inside it contribute; the network itself has the path `""`.

    A `shared` module has a row under each of its parents, with what it costs when called from there.
    """

    spec_id: str
    path: str
    kind: str
    params: int
    macs: int
    share: float
    activations: int
    read_bytes: int
    written_bytes: int
    shared: bool


class CheckRow(msgspec.Struct, frozen=True):
    """A group of operators as two counters see it; `explanation` is null where nobody knows."""

    spec_id: str
    operators: str
    macs: int
    fvcore_macs: int
    difference: int
    explanation: str | None


Row = OperatorRow | ModuleRow | CheckRow


def operator_rows(spec_id: str, cost: Cost) -> list[OperatorRow]:
    """The operators of a model, the largest first."""
    uncounted = {operator.operator for operator in cost.uncounted}
    return [
        OperatorRow(
            spec_id,
            one.operator,
            one.calls,
            one.macs,
            _share(one.macs, cost.macs),
            one.activations,
            one.read_bytes,
            one.written_bytes,
            "no formula" if one.operator in uncounted else "yes" if one.macs else "free",
        )
        for one in cost.operators
    ]


def module_rows(spec_id: str, modules: Sequence[ModuleCost]) -> list[ModuleRow]:
    """The modules of a model in the network's order; the first is the network."""
    total = modules[0].macs
    return [
        ModuleRow(
            spec_id,
            one.path,
            one.kind,
            one.params,
            one.macs,
            _share(one.macs, total),
            one.activations,
            one.read_bytes,
            one.written_bytes,
            one.shared,
        )
        for one in modules
    ]


def to_json(rows: Sequence[Row]) -> str:
    """One JSON array, a row an element."""
    return table.to_json(rows)


def to_csv(rows: Sequence[Row]) -> str:
    """A line a row under the fields' names."""
    return table.to_csv(rows[0].__struct_fields__, map(msgspec.structs.astuple, rows))


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    return table.to_markdown(_titled(*_cells(rows))) + "\n"


def to_terminal(rows: Sequence[Row]) -> Group:
    """A table a model; modules as a tree."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.spec_id, []).append(row)
    parts = []
    for spec_id, members in groups.items():
        modules = [row for row in members if isinstance(row, ModuleRow)]
        parts.append(_tree(spec_id, modules) if modules else _table(spec_id, members))
    return Group(*parts)


def _tree(spec_id: str, rows: Iterable[ModuleRow]) -> Tree:
    nodes: dict[str, Tree] = {}
    root = Tree("")
    for row in rows:
        words = (
            f"{format_count(row.macs)} MACs ({row.share:.1%}), {format_count(row.params)} params, "
            f"{format_count(row.activations)} activations{', shared' if row.shared else ''}"
        )
        if not row.path:
            root = nodes[""] = Tree(Text(for_terminal(f"{spec_id}  {row.kind}  {words}")))
            continue
        parent, _, name = row.path.rpartition(".")
        nodes[row.path] = nodes[parent].add(Text(for_terminal(f"{name}  {row.kind}  {words}")))
    return root


def _table(spec_id: str, rows: Sequence[Row]) -> Group:
    shown = _titled(*(cells[1:] for cells in _cells(rows)))
    return Group(Text(for_terminal(spec_id)), table.to_terminal(shown))


def _titled(titles: Sequence[str], *rows: Sequence[str]) -> Table:
    return Table(titles, rows, [place for place, title in enumerate(titles) if title in _LEFT])


_LEFT = ("spec_id", "operator", "operators", "path", "kind", "explanation", "counted")


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    """Header and body as text; the first column names the model."""
    names = list(rows[0].__struct_fields__)
    return [names, *([_text(name, getattr(row, name)) for name in names] for row in rows)]


def _text(name: str, value: object) -> str:
    if value is None:
        return "unexplained" if name == "explanation" else "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "calls":
        return str(value)
    if isinstance(value, float):
        return f"{value:.1%}"
    if isinstance(value, int):
        return format_bytes(value) if name.endswith("_bytes") else format_count(value)
    return str(value)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

"""The lines that strategies draw: measured rows in order of cost."""

from __future__ import annotations

from collections.abc import Sequence

from scaleprof.records import BASE_STRATEGY
from scaleprof.reporting.rows import MeasuredRow


def strategy_lines(points: Sequence[MeasuredRow]) -> dict[str, list[MeasuredRow]]:
    """Each strategy's measured rows by ascending MACs, the base among them: all strategies grow from it."""
    lines: dict[str, list[MeasuredRow]] = {}
    bases = [row for row in points if row.strategy == BASE_STRATEGY]
    for row in points:
        if row.strategy != BASE_STRATEGY:
            lines.setdefault(_line_name(row, points), []).append(row)
    for members in lines.values():
        members.extend(base for base in bases if base.model == members[0].model)
        members.sort(key=lambda row: row.macs or 0)
    return lines


def _line_name(row: MeasuredRow, points: Sequence[MeasuredRow]) -> str:
    """The strategy, with what else tells lines apart in this run."""
    return f"{row.model} {row.strategy}" if len({other.model for other in points}) > 1 else row.strategy

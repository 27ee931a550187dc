"""One table, written for a terminal, as Markdown, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
import rich.table
from rich.text import Text

from scaleprof.text import for_markdown, for_spreadsheet, for_terminal


class Table(msgspec.Struct, frozen=True):
    """Cells of text under titles.

    Attributes:
        titles: of the columns.
        rows: cells, as many a row as there are titles.
        text_columns: the places of columns of text, which are aligned to the left; all others are numbers.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: Collection[int]

    @property
    def lines(self) -> Iterable[Sequence[str]]:
        """The titles, then the rows."""
        return (self.titles, *self.rows)


def to_markdown(table: Table, *, longest: int | None = None) -> str:
    """A Markdown table; no cell is longer than `longest` characters, or can be markup."""
    rule = [":--" if place in table.text_columns else "--:" for place in range(len(table.titles))]
    titles, *rows = ([for_markdown(cell, longest) for cell in line] for line in table.lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))


def to_terminal(
    table: Table,
    styles: Mapping[tuple[int, int], str] | None = None,
    row_styles: Mapping[int, str] | None = None,
) -> rich.table.Table:
    """A rich table of the same cells.

    Args:
        table: the cells.
        styles: rich's style of a cell, by row and column.
        row_styles: of a whole row.
    """
    shown = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for place, title in enumerate(table.titles):
        side = "left" if place in table.text_columns else "right"
        shown.add_column(Text(for_terminal(title)), justify=side, overflow="fold")  # type: ignore[arg-type]
    for number, cells in enumerate(table.rows):
        texts = [
            Text(for_terminal(cell), (styles or {}).get((number, place), ""))
            for place, cell in enumerate(cells)
        ]
        shown.add_row(*texts, style=(row_styles or {}).get(number))
    return shown


def to_csv(names: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Names, then a line a row: nested values as JSON, missing ones empty, and nothing that would be run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def to_json(rows: Sequence[object]) -> str:
    """One JSON array, a row an element."""
    return msgspec.json.format(msgspec.json.encode(list(rows)), indent=2).decode()


def _csv_cell(value: object) -> object:
    if isinstance(value, str):
        return for_spreadsheet(value)
    if value is None or isinstance(value, (int, float)):
        return value
    return msgspec.json.encode(value).decode()

"""Accuracies from a person's table, joined to the models that they are of.

The table is CSV in UTF-8: a column `spec_id`, or `model`, `strategy` and `phi`; `accuracy` in percent; and,
if wanted, `error` (half the width of a 95 % interval, in percentage points) and `recipe` (how it was got).
What is no such table is refused. Rows that join no model, or a model that has its accuracy from another row,
are listed and change nothing.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import BASE_STRATEGY, PUBLISHED_STRATEGY, ModelSpec, Quoted, Record, RunLog, spec_id
from scaleprof.scaling.published import TABLES
from scaleprof.scaling.results import result_of

COLUMNS = ("spec_id", "model", "strategy", "phi", "accuracy", "error", "recipe")
_IN_PARTS = ("model", "strategy", "phi")
# More doubtful rows than these are only counted.
_MOST_LISTED = 10
_LONGEST_NAME = 80


class AccuracyRow(msgspec.Struct, frozen=True):
    """A row of the table: the line where it begins, the spec that it names, and its accuracy.

    `written`: the name as it stands there; `name` is as specs are named.
    """

    line: int
    written: str
    name: str
    quoted: Quoted


class AccuracyTable(msgspec.Struct, frozen=True):
    """The rows of a file of accuracies, in its order."""

    path: str
    rows: tuple[AccuracyRow, ...]


class Joined(msgspec.Struct, frozen=True):
    """What a table gives to models, in their order (None for nothing), and its doubts, a short line each."""

    quoted: tuple[Quoted | None, ...]
    doubts: tuple[str, ...]


def read_accuracies(path: str | Path) -> AccuracyTable:
    """The accuracies in a file.

    Raises:
        UsageError: it cannot be read, or is no such table; the message names the line and the column.
    """
    lines = _read_lines(Path(path))
    if not lines:
        raise UsageError(f"{path} is empty: its first line names columns, such as spec_id,accuracy")
    (number, header), *body = lines
    _check_header(f"{path}:{number}", header)
    rows = tuple(_read_row(str(path), line, header, cells) for line, cells in body)
    if not rows:
        raise UsageError(f"{path} holds no rows: below its header it has a line a model")
    if max(row.quoted.accuracy for row in rows) <= 1:
        raise UsageError(f"{path} has no accuracy above 1: these are fractions, write percent (76.3)")
    return AccuracyTable(str(path), rows)


def join(table: AccuracyTable, models: Sequence[tuple[ModelSpec, Quoted | None]]) -> Joined:
    """Which accuracy of a table each model has: that of the first row that names it.

    A row names a model by its own name or by one in `also`; φ = 0 of any formula names the base. Names of
    one model may have a row each, as long as these agree. The second part of each pair is an accuracy that
    the model has already: a model with neither is counted as one without.
    """
    first_of: dict[str, AccuracyRow] = {}
    doubtful: dict[int, tuple[AccuracyRow, AccuracyRow | None]] = {}
    for row in table.rows:
        first = first_of.setdefault(row.name, row)
        if first is not row and (row.written == first.written or row.quoted != first.quoted):
            doubtful[row.line] = (row, first)
    used: set[str] = set()
    quoted: list[Quoted | None] = []
    for spec, _ in models:
        found = sorted(
            (first_of[name] for name in _names_of(spec) if name in first_of), key=lambda row: row.line
        )
        used.update(row.name for row in found)
        quoted.append(found[0].quoted if found else None)
        for other in found[1:]:
            if other.quoted != found[0].quoted:
                doubtful.setdefault(other.line, (other, found[0]))
    doubtful |= {row.line: (row, None) for name, row in first_of.items() if name not in used}
    return Joined(tuple(quoted), (*_listed(table.path, doubtful, models), *_count_without(models, quoted)))


def join_logs(table: AccuracyTable, logs: Sequence[RunLog]) -> tuple[list[RunLog], tuple[str, ...]]:
    """Runs with the accuracies of a table in their records, and its doubts: what joins none of the runs."""
    joined = join(table, [(record.spec, record.quoted) for log in logs for record in log.records])
    given = iter(joined.quoted)
    return [
        msgspec.structs.replace(log, records=tuple(_quoting(record, next(given)) for record in log.records))
        for log in logs
    ], joined.doubts


def _quoting(record: Record, quoted: Quoted | None) -> Record:
    return record if quoted is None else msgspec.structs.replace(record, quoted=quoted)


def _names_of(spec: ModelSpec) -> dict[str, None]:
    """Every name that a row may call the model by."""
    return dict.fromkeys(_known_name(name) for name in (spec.spec_id, *spec.also))


def _known_name(name: str) -> str:
    """A name as specs are named, of one that may be written otherwise: `…/compound/2.0`, `…/published/b3`.

    >>> [_known_name(f"efficientnet_b0/{rest}") for rest in ("compound/2.0", "width/0", "published/b3")]
    ['efficientnet_b0/compound/2', 'efficientnet_b0/base/0', 'efficientnet_b0/published/3']
    """
    model, strategy, wanted = name.rsplit("/", 2)
    phi = _number(wanted)
    if strategy == PUBLISHED_STRATEGY and phi is None:
        for row in TABLES.get(model, ()):
            if row.name.lower() == wanted.lower():
                return spec_id(model, strategy, row.number, row.name)
    if phi is None:
        return name
    is_base = phi == 0 and strategy != PUBLISHED_STRATEGY
    return spec_id(model, BASE_STRATEGY if is_base else strategy, phi + 0.0)


def _listed(
    path: str,
    doubtful: Mapping[int, tuple[AccuracyRow, AccuracyRow | None]],
    models: Sequence[tuple[ModelSpec, Quoted | None]],
) -> list[str]:
    """The first doubtful rows in words, and how many more there are."""
    known = list(dict.fromkeys(spec.spec_id for spec, _ in models))
    lines = []
    for _, (row, first) in sorted(doubtful.items())[:_MOST_LISTED]:
        where = f"{path}:{row.line} {_short(row.written)}"
        if first is None:
            lines.append(f"{where} joins no model{suggestion(row.name, known)}")
        else:
            lines.append(
                f"{where} is a model that line {first.line} has given {first.quoted.accuracy:g} %: "
                f"{row.quoted.accuracy:g} % is left out"
            )
    more = len(doubtful) - len(lines)
    return [*lines, f"{path}: … {more} more rows that are left out"] if more else lines


def _count_without(
    models: Sequence[tuple[ModelSpec, Quoted | None]], quoted: Sequence[Quoted | None]
) -> list[str]:
    """How many models have an accuracy from nowhere, in a line; nothing where all have one."""
    names = {spec.spec_id for spec, _ in models}
    having = {
        spec.spec_id
        for (spec, other), given in zip(models, quoted, strict=True)
        if given or other or result_of(spec)
    }
    lacking = len(names - having)
    return [f"{lacking} of {len(names)} models are without an accuracy"] if lacking else []


def _short(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """The cells of each line that has any, with the number of the line where they begin."""
    found: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        # Spreadsheets put a byte order mark before UTF-8.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                found.append((begins, [cell.strip() for cell in cells]))
                begins = reader.line_num + 1
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8: save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise UsageError(f"{path}:{begins} is not CSV: {error}") from None
    return [(line, cells) for line, cells in found if any(cells)]


def _check_header(where: str, header: Sequence[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            is_split = not any(mark in name for mark in ";\t")
            hint = suggestion(name, COLUMNS) if is_split else ": separate columns by commas"
            raise UsageError(f"{where} unknown column '{name}'{hint} (known: {', '.join(COLUMNS)})")
        if header.count(name) > 1:
            raise UsageError(f"{where} column {name} stands there twice: keep one")
    if "accuracy" not in header:
        raise UsageError(f"{where} no column accuracy: add one, in percent")
    parts = [name for name in _IN_PARTS if name in header]
    if ("spec_id" in header) == bool(parts) or (parts and len(parts) < len(_IN_PARTS)):
        given = ", ".join(name for name in header if name in ("spec_id", *_IN_PARTS)) or "nothing"
        raise UsageError(
            f"{where} models are named by {given}: give either the column spec_id, or model, strategy and phi"
        )


def _read_row(path: str, line: int, header: Sequence[str], cells: Sequence[str]) -> AccuracyRow:
    if len(cells) > len(header):
        raise UsageError(
            f"{path}:{line} has {len(cells)} cells under {len(header)} columns: a text with commas stands in "
            f"quotes"
        )
    row = dict.fromkeys(COLUMNS, "") | dict(zip(header, cells, strict=False))
    where = f"{path}:{line} column"
    accuracy = _percent(row["accuracy"], f"{where} accuracy", "write percent, such as 76.3")
    points = "write percentage points, such as 0.4, or leave it empty"
    error = _percent(row["error"], f"{where} error", points) if row["error"] else None
    recipe = " ".join(row["recipe"].split()) or f"from {Path(path).name}"
    written = _read_name(row, header, where)
    return AccuracyRow(line, written, _known_name(written), Quoted(accuracy, recipe, error))


def _read_name(row: Mapping[str, str], header: Sequence[str], where: str) -> str:
    if "spec_id" in header:
        name = row["spec_id"]
        if name.count("/") < 2 or not all(name.rsplit("/", 2)):
            raise UsageError(f"{where} spec_id: '{name}' is not MODEL/STRATEGY/PHI")
        return name
    for part in _IN_PARTS:
        if not row[part]:
            raise UsageError(f"{where} {part}: it is empty, and a model is named by {', '.join(_IN_PARTS)}")
    return "/".join(row[part] for part in _IN_PARTS)


def _percent(text: str, where: str, way_out: str) -> float:
    value = _number(text)
    if value is None:
        raise UsageError(f"{where}: '{text}' is not a number: {way_out}")
    if not 0 <= value <= 100:
        raise UsageError(f"{where}: {text} is outside 0 to 100: {way_out}")
    return value


def _number(text: str) -> float | None:
    """A finite number, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None

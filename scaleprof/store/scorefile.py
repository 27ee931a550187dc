"""Scores from a person's table: trials that were made elsewhere, joined to the candidates of a search.

The table is CSV in UTF-8: `depth`, `width`, `resolution` (the bases) and `score`, higher being better; if
wanted `phi` (1), `seed` (by the order of a candidate's rows), `error` (half of the score's 95 % interval) and
`held_out`. Rows of bases that are no candidate are listed and change nothing.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from scaleprof.errors import UsageError, suggestion
from scaleprof.records import Candidate, SearchHeader, Trial

REQUIRED = ("depth", "width", "resolution", "score")
OPTIONAL = ("phi", "seed", "error", "held_out")
COLUMNS = (*REQUIRED, *OPTIONAL)
# Bases in a table have a few digits: √2 may stand there as 1.4142.
_DIGITS = 3
# More doubtful rows than these are only counted.
_MOST_LISTED = 10


class _Row(NamedTuple):
    where: str
    bases: tuple[float, float, float]
    phi: float
    seed: int | None
    score: float
    error: float | None
    held_out: float | None


def read_scores(path: str | Path, header: SearchHeader) -> tuple[tuple[Trial, ...], tuple[str, ...]]:
    """A table's trials, in its order, and its doubts, a short line each.

    Raises:
        UsageError: it cannot be read, is no such table, has a trial twice, or none of a candidate.
    """
    rows = _read(Path(path))
    by_bases = {
        tuple(round(base, _DIGITS) for base in (one.depth, one.width, one.resolution)): one
        for one in header.candidates
    }
    trials: dict[tuple[int, float, int], Trial] = {}
    doubts: list[str] = []
    met: Counter[tuple[int, float]] = Counter()
    for row in rows:
        candidate = by_bases.get(tuple(round(base, _DIGITS) for base in row.bases))
        if candidate is None or candidate.excluded is not None:
            doubts.append(f"{row.where} {_name(row)} is left out: {_why(candidate)}")
            continue
        seed = met[candidate.number, row.phi] if row.seed is None else row.seed
        met[candidate.number, row.phi] += 1
        trial = _trial(row, candidate, seed)
        if trial.key in trials:
            raise UsageError(f"{row.where} {_name(row)} has seed {seed} twice: keep one row of each")
        trials[trial.key] = trial
    if not trials:
        raise UsageError(f"{path} has no score of a candidate: {doubts[0]}")
    more = len(doubts) - _MOST_LISTED
    listed = [
        *doubts[:_MOST_LISTED],
        *([f"{path}: … {more} more rows that are left out"] if more > 0 else []),
    ]
    return tuple(trials.values()), (*listed, *_lacking(path, header, trials))


def _lacking(
    path: str | Path, header: SearchHeader, trials: Mapping[tuple[int, float, int], Trial]
) -> list[str]:
    scored = {number for number, phi, _ in trials if phi == 1}
    wanted = [one for one in header.candidates if one.excluded is None]
    without = sum(one.number not in scored for one in wanted)
    return [f"{path}: {without} of {len(wanted)} candidates are without a score"] if without else []


def _why(candidate: Candidate | None) -> str:
    return "no such candidate" if candidate is None else str(candidate.excluded)


def _name(row: _Row) -> str:
    return "/".join(f"{base:g}" for base in row.bases)


def _trial(row: _Row, candidate: Candidate, seed: int) -> Trial:
    return Trial(
        candidate=candidate.number,
        phi=row.phi,
        seed=seed,
        status="ok",
        reason=None,
        seconds=0.0,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        score=row.score,
        error=row.error,
        held_out=row.held_out,
        device="elsewhere",
        macs=candidate.macs if row.phi == 1 else None,
    )


def _read(path: Path) -> list[_Row]:
    try:
        # Spreadsheets put a byte order mark before UTF-8.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8: save it as CSV in UTF-8") from None
    try:
        lines = [
            (number, [cell.strip() for cell in cells])
            for number, cells in enumerate(csv.reader(text.splitlines(), strict=True), start=1)
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise UsageError(f"{path} is not CSV: {error}") from None
    if len(lines) < 2:
        raise UsageError(f"{path} holds no scores: its first line names columns, {','.join(REQUIRED)}")
    (number, names), *body = lines
    _check_header(f"{path}:{number}", names)
    return [_row(f"{path}:{line}", names, cells) for line, cells in body]


def _check_header(where: str, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            raise UsageError(
                f"{where} unknown column '{name}'{suggestion(name, COLUMNS)} (known: {', '.join(COLUMNS)})"
            )
        if names.count(name) > 1:
            raise UsageError(f"{where} column {name} stands there twice: keep one")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise UsageError(f"{where} no column {missing[0]}: a table of scores has {', '.join(REQUIRED)}")


def _row(where: str, names: Sequence[str], cells: Sequence[str]) -> _Row:
    if len(cells) > len(names):
        raise UsageError(f"{where} has {len(cells)} cells under {len(names)} columns")
    row = dict.fromkeys(COLUMNS, "") | dict(zip(names, cells, strict=False))
    seed = _number(row, "seed", where) if row["seed"] else None
    if seed is not None and (seed != int(seed) or seed < 0):
        raise UsageError(f"{where} column seed: {row['seed']} is not a whole number from 0")
    error = _number(row, "error", where) if row["error"] else None
    if error is not None and error < 0:
        raise UsageError(f"{where} column error: {row['error']} is below 0: it is half of a 95 % interval")
    return _Row(
        where=where,
        bases=(
            _number(row, "depth", where),
            _number(row, "width", where),
            _number(row, "resolution", where),
        ),
        phi=_number(row, "phi", where) if row["phi"] else 1.0,
        seed=None if seed is None else int(seed),
        score=_number(row, "score", where),
        error=error,
        held_out=_number(row, "held_out", where) if row["held_out"] else None,
    )


def _number(row: Mapping[str, str], name: str, where: str) -> float:
    text = row[name]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise UsageError(f"{where} column {name}: '{text}' is not a number")
    return value

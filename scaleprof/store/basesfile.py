"""Files of compound bases: what a search chose, and what `sweep --strategy @FILE.json` takes.

A person may write one: `{"kind": "bases", "schema": 1, "depth": 1.2, "width": 1.1, "resolution": 1.15}`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from scaleprof.errors import OutputError, UsageError
from scaleprof.scaling.rules import NAMED_MARK, Bases

BASES_SCHEMA_VERSION = 1
_SUFFIXES = (".json", ".bases")
# A strategy's name stands in spec ids (MODEL/STRATEGY/PHI), in comma lists and in file names.
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,60}")


class BasesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bases with a name, and where they come from; `name` empty stands for that of the file."""

    depth: float
    width: float
    resolution: float
    kind: Literal["bases"]
    schema: int
    name: str = ""
    model: str | None = None
    target_growth: float | None = None
    search: str | None = None


_decoder = msgspec.json.Decoder(BasesFile)


def read_bases(path: str | Path) -> tuple[str, Bases]:
    """The strategy that a file of bases is, `@NAME`, and its bases.

    Raises:
        UsageError: the file cannot be read, is none of bases, or its bases or name cannot be.
    """
    path = Path(path)
    try:
        file = _decoder.decode(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--strategy {NAMED_MARK}{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message, _, place = str(error).partition(" - at ")
        where = place.strip("`").removeprefix("$.")
        detail = f"{where}: {message[:1].lower()}{message[1:]}" if where not in ("", "$") else message
        raise UsageError(
            f"--strategy {NAMED_MARK}{path} is no file of bases, such as scaleprof search writes ({detail})"
        ) from None
    if file.schema != BASES_SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema {file.schema}, this scaleprof reads {BASES_SCHEMA_VERSION}: "
            f"read it with the scaleprof that wrote it"
        )
    name = file.name or _name_of(path)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{path}: the name {name!r} must be at most 60 letters, digits and _ . + -: "
            f'give another as "name"'
        )
    try:
        bases = Bases(file.depth, file.width, file.resolution)
    except UsageError as error:
        raise UsageError(f"{path}: {str(error).replace('--', '').replace('-base ', ' base ')}") from None
    return f"{NAMED_MARK}{name}", bases


def write_bases(
    path: Path, bases: Bases, *, model: str | None, target_growth: float | None, search: str | None
) -> None:
    """Write bases where `read_bases` finds them; at once, so that no half of a file is ever there.

    Args:
        path: the file; its name is the strategy's.
        bases: what was chosen.
        model: that they were found for.
        target_growth: of the search.
        search: the search's file.

    Raises:
        OutputError: it cannot be written.
    """
    file = BasesFile(
        depth=bases.depth,
        width=bases.width,
        resolution=bases.resolution,
        kind="bases",
        schema=BASES_SCHEMA_VERSION,
        name=_safe(_name_of(path)),
        model=model,
        target_growth=target_growth,
        search=search,
    )
    beside = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(file)) + b"\n")
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}") from error


def _name_of(path: Path) -> str:
    """A file's name without what tells its kind.

    >>> _name_of(Path("searches/b0-20260101.bases.json"))
    'b0-20260101'
    """
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", name)[:60]

"""What stands beside a search's file: the chosen bases, and the scores of trainings as accuracies."""

from __future__ import annotations

from pathlib import Path

import msgspec

from scaleprof.app.search_result import Search, accuracy_table, strategy_of
from scaleprof.errors import OutputError, UsageError
from scaleprof.scaling.rules import Bases
from scaleprof.store import bases_path, read_bases, write_bases


class Written(msgspec.Struct, frozen=True):
    """The files beside a search; None for one that was not written, with the reason in `doubts`."""

    bases: Path | None
    accuracy: Path | None
    doubts: tuple[str, ...] = ()


def accuracy_path(output: Path) -> Path:
    """Where the accuracies of a search are, beside its file.

    >>> accuracy_path(Path("searches/b0.jsonl")).as_posix()
    'searches/b0.accuracy.csv'
    """
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.accuracy.csv")


def check_beside(output: Path, *, overwrite: bool) -> None:
    """Refuse to begin a search whose bases may not be written in the end.

    Raises:
        UsageError: a file that is no file of bases, or one that `overwrite` is not given for.
    """
    path = bases_path(output)
    if not path.exists():
        return
    read_bases(path)
    if not overwrite:
        raise UsageError(f"{path} holds bases already: --overwrite replaces them, or choose another -o")


def write_beside(found: Search, output: Path, *, overwrite: bool = False) -> Written:
    """Write the chosen bases, and the scores of trainings as accuracies, beside a search's file.

    Bases that are there and differ are left alone, unless `overwrite` is given.

    Raises:
        OutputError: a file cannot be written.
    """
    bases, path = found.bases, bases_path(output)
    if bases is None:
        return Written(None, None)
    doubts: tuple[str, ...] = ()
    if path.exists() and not overwrite and not _same_bases(path, bases):
        doubts = (
            f"{path} holds other bases and is left alone: remove it, and the same command with --resume "
            f"writes those that were chosen",
        )
    else:
        header = found.log.header
        write_bases(path, bases, model=header.model, target_growth=header.target_growth, search=output.name)
    text = accuracy_table(found, strategy_of(path))
    if text is None:
        return Written(None if doubts else path, None, doubts)
    table = accuracy_path(output)
    try:
        table.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{table} could not be written: {error.strerror}") from error
    return Written(None if doubts else path, table, doubts)


def _same_bases(path: Path, bases: Bases) -> bool:
    try:
        return read_bases(path)[1] == bases
    except UsageError:
        return False

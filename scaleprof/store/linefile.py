"""Files of a header and then a line for each thing that was done: what runs and searches have in common.

They are made, appended to, locked, recovered and refused in the same way; what differs is the header, the
lines, and what they are called.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

from scaleprof.errors import RunFileError, UsageError
from scaleprof.store.lines import (
    TornLineWarning,
    check_schema,
    decode_line,
    open_locked,
    read_bytes,
    split_lines,
    start_of,
)

Header = TypeVar("Header", bound=msgspec.Struct)
Line = TypeVar("Line", bound=msgspec.Struct)
Log = TypeVar("Log")


class LineFile(Generic[Header, Line]):
    """One kind of such files.

    Args:
        noun: what it is called, also the `kind` in its first line: `run`, `search`.
        schema: the version of its lines.
        header: the type of its first line.
        line: the type of all others.
        line_noun: what one of those is called.
        made_by: the command that makes one, given its path.
    """

    def __init__(
        self,
        noun: str,
        *,
        schema: int,
        header: type[Header],
        line: type[Line],
        line_noun: str,
        made_by: Callable[[Path], str],
    ) -> None:
        self._noun = noun
        self._schema = schema
        self._header = header
        self._line = line
        self._line_noun = line_noun
        self._made_by = made_by
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(header | line)

    def read(self, path: Path) -> tuple[Header, list[Line]]:
        """The header and all whole lines; a torn last one is dropped with a `TornLineWarning`.

        Raises:
            RunFileError: the file cannot be read, is of another kind, or has a bad line; names file and line.
        """
        lines, torn = split_lines(read_bytes(path))
        if not lines:
            what = "it has no whole line" if torn else f"it is empty (make one with {self._made_by(path)})"
            raise RunFileError(f"{path} is not a scaleprof {self._noun}: {what}")
        header = self.header(path, lines[0])
        values = [self._value(path, number, line) for number, line in enumerate(lines[1:], start=2)]
        if torn:
            warnings.warn(
                f"{path}:{len(lines) + 1} was cut off while it was written; it is dropped",
                TornLineWarning,
                stacklevel=3,
            )
        return header, values

    def header(self, path: Path, line: bytes) -> Header:
        """What a first line holds.

        Raises:
            RunFileError: it is no header of this kind, or of another schema.
        """
        start = start_of(line)
        if start.get("kind") != self._noun:
            raise RunFileError(
                f"{path} is not a scaleprof {self._noun}: its first line is no {self._noun} header"
            )
        check_schema(path, start, self._schema)
        header = decode_line(self._decoder, path, 1, line, f"{self._noun} header")
        if not isinstance(header, self._header):
            raise RunFileError(f"{path}:1 is not a {self._noun} header")
        return header

    def check_replaceable(self, path: Path, *, overwrite: bool) -> None:
        """Refuse an output that exists, unless it is empty, or of this kind and `overwrite` is given.

        Raises:
            UsageError: it may not be replaced.
        """
        noun = self._noun
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder: give the {noun} a file name, such as {path / f'{noun}.jsonl'}"
            )
        if not path.exists() or path.stat().st_size == 0:
            return
        try:
            self._header_of(path)
        except RunFileError:
            raise UsageError(
                f"{path} exists and is not a scaleprof {noun}: it is left alone, choose another -o"
            ) from None
        if not overwrite:
            raise UsageError(f"{path} exists: --resume goes on with it, --overwrite replaces it")

    def check_resumable(self, path: Path) -> None:
        """Refuse to go on with what is not there or cannot be read.

        Raises:
            UsageError: there is nothing of this kind at `path`.
        """
        if not path.exists():
            raise UsageError(f"--resume: {path} does not exist: leave --resume out to begin it")
        self._header_of(path)

    def create(self, path: Path, *, overwrite: bool) -> BinaryIO:
        """An empty file, locked for appending.

        Raises:
            UsageError: `path` exists and `overwrite` is not given, or is of another kind, or is in use.
        """
        self.check_replaceable(path, overwrite=overwrite)
        with ExitStack() as on_error:
            file = open_locked(path)
            on_error.callback(file.close)
            # Looked at again under the lock: another process may have written there meanwhile.
            self.check_replaceable(path, overwrite=overwrite)
            file.truncate(0)
            on_error.pop_all()
        return file

    def resume(self, path: Path, read: Callable[[Path], Log]) -> tuple[BinaryIO, Log]:
        """The file, locked for more lines and without a torn last one; and what `read` finds in it.

        Raises:
            UsageError: there is nothing of this kind at `path`, or it is in use.
        """
        self.check_resumable(path)
        with ExitStack() as on_error:
            file = open_locked(path)
            on_error.callback(file.close)
            log = read(path)
            file.truncate(read_bytes(path).rfind(b"\n") + 1)
            on_error.pop_all()
        return file, log

    def _header_of(self, path: Path) -> Header:
        return self.header(path, read_bytes(path).partition(b"\n")[0])

    def _value(self, path: Path, number: int, line: bytes) -> Line:
        value = decode_line(self._decoder, path, number, line, self._line_noun)
        if not isinstance(value, self._line):
            raise RunFileError(
                f"{path}:{number} is a second header: a {self._noun} file has one, in its first line"
            )
        return value

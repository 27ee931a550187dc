"""Reading and writing of run files."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from scaleprof.errors import RunFileError, UsageError
from scaleprof.records import SCHEMA_VERSION, Record, RunHeader, RunLog
from scaleprof.store.lines import (
    LineWriter,
    TornLineWarning,
    check_schema,
    decode_line,
    open_locked,
    read_bytes,
    split_lines,
    start_of,
)

_decoder: msgspec.json.Decoder[RunHeader | Record] = msgspec.json.Decoder(RunHeader | Record)


def read_run(path: Path) -> RunLog:
    """What the run file at `path` holds; of several records for one spec × workload, the last.

    A torn last line is dropped with a `TornLineWarning`.

    Raises:
        RunFileError: the file cannot be read, is no run, or has a bad line; names file and line.
    """
    lines, torn = split_lines(read_bytes(path))
    if torn and not lines:
        raise RunFileError(f"{path} is not a scaleprof run: it has no whole line")
    if not lines:
        raise RunFileError(
            f"{path} is not a scaleprof run: it is empty (make one with scaleprof sweep -o {path})"
        )
    header = _header(path, lines[0])
    records: dict[tuple[object, ...], Record] = {}
    for number, line in enumerate(lines[1:], start=2):
        record = decode_line(_decoder, path, number, line, "record")
        if not isinstance(record, Record):
            raise RunFileError(f"{path}:{number} is a second header: a run file has one, in its first line")
        records.pop(record.key, None)
        records[record.key] = record
    if torn:
        warnings.warn(
            f"{path}:{len(lines) + 1} was cut off while it was written; it is dropped",
            TornLineWarning,
            stacklevel=2,
        )
    return RunLog(header, tuple(records.values()))


class RunWriter(LineWriter):
    """A run file opened for appending, locked against a second writer.

    Use `create` for a new run and `resume` to go on with one; close it, or use it as a context manager.
    """

    def __init__(self, path: Path, file: BinaryIO, done: RunLog | None = None) -> None:
        super().__init__(path, file)
        self.done = done

    @classmethod
    def create(cls, path: Path, header: RunHeader, *, overwrite: bool = False) -> RunWriter:
        """A new run file that holds only its header.

        Raises:
            UsageError: `path` exists and `overwrite` is not given, or it is no run, or it is in use.
            OutputError: it cannot be written.
        """
        check_replaceable(path, overwrite=overwrite)
        with ExitStack() as on_error:
            file = open_locked(path)
            on_error.callback(file.close)
            # Looked at again under the lock: another process may have written a run there meanwhile.
            check_replaceable(path, overwrite=overwrite)
            file.truncate(0)
            writer = cls(path, file)
            writer._write(header)
            on_error.pop_all()
        return writer

    @classmethod
    def resume(cls, path: Path) -> RunWriter:
        """The run at `path`, read into `.done` and opened for more records; a torn last line is removed.

        Raises:
            UsageError: there is no run at `path`, or it is in use.
        """
        check_resumable(path)
        with ExitStack() as on_error:
            file = open_locked(path)
            on_error.callback(file.close)
            done = read_run(path)
            file.truncate(read_bytes(path).rfind(b"\n") + 1)
            on_error.pop_all()
        return cls(path, file, done)

    def append(self, records: Iterable[Record]) -> None:
        """Write the records and force them to disk.

        Raises:
            OutputError: the disk is full or the file is gone.
        """
        for record in records:
            self._write(record)


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists, unless it is empty, or a run and `overwrite` is given.

    Raises:
        UsageError: it may not be replaced.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the run a file name, such as {path / 'run.jsonl'}")
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        lines, _ = split_lines(read_bytes(path))
        _header(path, lines[0] if lines else b"")
    except RunFileError:
        raise UsageError(
            f"{path} exists and is not a scaleprof run: it is left alone, choose another -o"
        ) from None
    if not overwrite:
        raise UsageError(f"{path} exists: --resume goes on with it, --overwrite replaces it")


def check_resumable(path: Path) -> None:
    """Refuse to go on with a run that is not there or cannot be read.

    Raises:
        UsageError: there is no run at `path`.
    """
    if not path.exists():
        raise UsageError(f"--resume: {path} does not exist: leave --resume out to begin it")
    _header(path, read_bytes(path).partition(b"\n")[0])


def _header(path: Path, line: bytes) -> RunHeader:
    start = start_of(line)
    if start.get("kind") != "run":
        raise RunFileError(f"{path} is not a scaleprof run: its first line is no run header")
    check_schema(path, start, SCHEMA_VERSION)
    header = decode_line(_decoder, path, 1, line, "record")
    if not isinstance(header, RunHeader):
        raise RunFileError(f"{path}:1 is not a run header")
    return header

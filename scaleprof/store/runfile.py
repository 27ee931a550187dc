"""Reading and writing of run files."""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from scaleprof.errors import OutputError, RunFileError, UsageError
from scaleprof.records import SCHEMA_VERSION, Record, RunHeader, RunLog

_decoder = msgspec.json.Decoder(RunHeader | Record)
_encoder = msgspec.json.Encoder()


class TornLineWarning(UserWarning):
    """The last line of a run file was cut off (a crash while it was written) and has been dropped."""


def read_run(path: Path) -> RunLog:
    """What the run file at `path` holds; of several records for one spec × workload, the last.

    A torn last line is dropped with a `TornLineWarning`.

    Raises:
        RunFileError: the file cannot be read, is no run, or has a bad line; names file and line.
    """
    lines, torn = _split(_read_bytes(path))
    if torn and not lines:
        raise RunFileError(f"{path} is not a scaleprof run: it has no whole line")
    if not lines:
        raise RunFileError(
            f"{path} is not a scaleprof run: it is empty (make one with scaleprof sweep -o {path})"
        )
    header = _header(path, lines[0])
    records: dict[tuple[object, ...], Record] = {}
    for number, line in enumerate(lines[1:], start=2):
        record = _decode(path, number, line)
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


class RunWriter:
    """A run file opened for appending, locked against a second writer.

    Use `create` for a new run and `resume` to go on with one; close it, or use it as a context manager.
    """

    def __init__(self, path: Path, file: BinaryIO, done: RunLog | None = None) -> None:
        self.path = path
        self.done = done
        self._file = file

    @classmethod
    def create(cls, path: Path, header: RunHeader, *, overwrite: bool = False) -> RunWriter:
        """A new run file that holds only its header.

        Raises:
            UsageError: `path` exists and `overwrite` is not given, or it is no run, or it is in use.
            OutputError: it cannot be written.
        """
        check_replaceable(path, overwrite=overwrite)
        with ExitStack() as on_error:
            file = _open_locked(path)
            on_error.callback(file.close)
            # Looked at again under the lock: another process may have written a run there meanwhile.
            check_replaceable(path, overwrite=overwrite)
            file.truncate(0)
            writer = cls(path, file)
            writer._write_line(_encoder.encode(header))
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
            file = _open_locked(path)
            on_error.callback(file.close)
            done = read_run(path)
            file.truncate(_read_bytes(path).rfind(b"\n") + 1)
            on_error.pop_all()
        return cls(path, file, done)

    def append(self, records: Iterable[Record]) -> None:
        """Write the records and force them to disk.

        Raises:
            OutputError: the disk is full or the file is gone.
        """
        for record in records:
            self._write_line(_encoder.encode(record))

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_line(self, line: bytes) -> None:
        try:
            self._file.write(line + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path} could not be written: {error.strerror}; what stands in it is whole, "
                f"go on with --resume once there is room"
            ) from error


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
        lines, _ = _split(_read_bytes(path))
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
    _header(path, _read_bytes(path).partition(b"\n")[0])


def _open_locked(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another -o") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(
            f"{path} is being written by another scaleprof: wait for it, or choose another -o"
        ) from None
    return file


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error


def _split(content: bytes) -> tuple[list[bytes], bool]:
    """The whole lines, and whether a torn one followed them."""
    *lines, rest = content.split(b"\n")
    return lines, bool(rest)


def _header(path: Path, line: bytes) -> RunHeader:
    try:
        start = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        start = None
    if not (isinstance(start, dict) and start.get("kind") == "run"):
        raise RunFileError(f"{path} is not a scaleprof run: its first line is no run header")
    if start.get("schema") != SCHEMA_VERSION:
        raise RunFileError(
            f"{path} has schema {start.get('schema')}, this scaleprof reads {SCHEMA_VERSION}: "
            f"read it with the scaleprof that wrote it ({start.get('scaleprof', 'unknown')})"
        )
    header = _decode(path, 1, line)
    if not isinstance(header, RunHeader):
        raise RunFileError(f"{path}:1 is not a run header")
    return header


def _decode(path: Path, number: int, line: bytes) -> RunHeader | Record:
    try:
        value: RunHeader | Record = _decoder.decode(line)
    except (msgspec.DecodeError, ValueError) as error:
        # msgspec writes "Expected `int`, got `str` - at `$.cost.macs`"; people read the place first.
        message, _, place = str(error).partition(" - at ")
        where = place.strip("`").removeprefix("$.")
        detail = f"{where}: {message[:1].lower()}{message[1:]}" if where else message
        raise RunFileError(f"{path}:{number} is not a record ({detail})") from None
    return value

"""What all files of JSON Lines have in common: read whole lines, decode them, lock, append, force to disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import msgspec

from scaleprof.errors import OutputError, RunFileError, UsageError

_Value = TypeVar("_Value")
_encoder = msgspec.json.Encoder()


class TornLineWarning(UserWarning):
    """The last line of a file was cut off (a crash while it was written) and has been dropped."""


class LineWriter:
    """A file of JSON Lines opened for appending and locked; close it, or use it as a context manager."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()

    def begin(self, header: object) -> None:
        """Write the first line; a file that cannot take it is closed.

        Raises:
            OutputError: the disk is full.
        """
        try:
            self._write(header)
        except OutputError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, value: object) -> None:
        """Append a value as a line and force it to disk.

        Raises:
            OutputError: the disk is full or the file is gone.
        """
        try:
            self._file.write(_encoder.encode(value) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path} could not be written: {error.strerror}; what stands in it is whole, "
                f"go on with --resume once there is room"
            ) from error


def open_locked(path: Path) -> BinaryIO:
    """The file opened for appending, with its folder made, locked against a second writer.

    Raises:
        UsageError: it cannot be written, or is in use.
    """
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


def read_bytes(path: Path) -> bytes:
    """All that a file holds.

    Raises:
        RunFileError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error


def split_lines(content: bytes) -> tuple[list[bytes], bool]:
    """The whole lines, and whether a torn one followed them."""
    *lines, rest = content.split(b"\n")
    return lines, bool(rest)


def start_of(line: bytes) -> dict[str, Any]:
    """A first line's fields; empty where it is no JSON object."""
    try:
        start = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return start if isinstance(start, dict) else {}


def check_schema(path: Path, start: dict[str, Any], schema: int) -> None:
    """Refuse a file of another version.

    Raises:
        RunFileError: it was written in another schema.
    """
    if start.get("schema") != schema:
        raise RunFileError(
            f"{path} has schema {start.get('schema')}, this scaleprof reads {schema}: "
            f"read it with the scaleprof that wrote it ({start.get('scaleprof', 'unknown')})"
        )


def decode_line(
    decoder: msgspec.json.Decoder[_Value], path: Path, number: int, line: bytes, noun: str
) -> _Value:
    """The value of a line.

    Raises:
        RunFileError: it is no `noun`; names file, line and field.
    """
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, ValueError) as error:
        # msgspec writes "Expected `int`, got `str` - at `$.cost.macs`"; people read the place first.
        message, _, place = str(error).partition(" - at ")
        where = place.strip("`").removeprefix("$.")
        detail = f"{where}: {message[:1].lower()}{message[1:]}" if where else message
        raise RunFileError(f"{path}:{number} is not a {noun} ({detail})") from None

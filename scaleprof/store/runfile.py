"""Reading and writing of run files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from scaleprof.records import SCHEMA_VERSION, Record, RunHeader, RunLog
from scaleprof.store.linefile import LineFile
from scaleprof.store.lines import LineWriter

_RUNS = LineFile(
    "run",
    schema=SCHEMA_VERSION,
    header=RunHeader,
    line=Record,
    line_noun="record",
    made_by=lambda path: f"scaleprof sweep -o {path}",
)


def read_run(path: Path) -> RunLog:
    """What the run file at `path` holds; of several records for one spec × workload, the last.

    A torn last line is dropped with a `TornLineWarning`.

    Raises:
        RunFileError: the file cannot be read, is no run, or has a bad line; names file and line.
    """
    header, lines = _RUNS.read(path)
    records: dict[tuple[object, ...], Record] = {}
    for record in lines:
        records.pop(record.key, None)
        records[record.key] = record
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
        writer = cls(path, _RUNS.create(path, overwrite=overwrite))
        writer.begin(header)
        return writer

    @classmethod
    def resume(cls, path: Path) -> RunWriter:
        """The run at `path`, read into `.done` and opened for more records; a torn last line is removed.

        Raises:
            UsageError: there is no run at `path`, or it is in use.
        """
        return cls(path, *_RUNS.resume(path, read_run))

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
    _RUNS.check_replaceable(path, overwrite=overwrite)


def check_resumable(path: Path) -> None:
    """Refuse to go on with a run that is not there or cannot be read.

    Raises:
        UsageError: there is no run at `path`.
    """
    _RUNS.check_resumable(path)

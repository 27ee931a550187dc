"""Search files: a search's header and candidates in the first line, then a trial a line; and what is beside.

They are made, appended to, locked and recovered as run files are. The chosen bases are a small JSON file of
their own, which `sweep --strategy @FILE.json` takes; checkpoints of running trials have a folder.
"""

from __future__ import annotations

import shutil
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from scaleprof.errors import RunFileError, UsageError
from scaleprof.records import SEARCH_SCHEMA_VERSION, SearchHeader, SearchLog, Trial
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

_decoder: msgspec.json.Decoder[SearchHeader | Trial] = msgspec.json.Decoder(SearchHeader | Trial)


def is_search(path: Path) -> bool:
    """Whether the file at `path` begins as a search does; whether it is whole is not looked at.

    Raises:
        RunFileError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return start_of(file.readline()).get("kind") == "search"
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error


def read_search(path: Path) -> SearchLog:
    """What the search at `path` holds; of several trials of one candidate, φ and seed, the last.

    A torn last line is dropped with a `TornLineWarning`.

    Raises:
        RunFileError: the file cannot be read, is no search, or has a bad line; names file and line.
    """
    lines, torn = split_lines(read_bytes(path))
    if not lines:
        what = "it has no whole line" if torn else "it is empty (make one with scaleprof search)"
        raise RunFileError(f"{path} is not a scaleprof search: {what}")
    header = _header(path, lines[0])
    known = {candidate.number for candidate in header.candidates}
    trials: dict[tuple[int, float, int], Trial] = {}
    for number, line in enumerate(lines[1:], start=2):
        trial = decode_line(_decoder, path, number, line, "trial")
        if not isinstance(trial, Trial):
            raise RunFileError(
                f"{path}:{number} is a second header: a search file has one, in its first line"
            )
        if trial.candidate not in known:
            raise RunFileError(f"{path}:{number} is a trial of candidate {trial.candidate}, which is none")
        trials.pop(trial.key, None)
        trials[trial.key] = trial
    if torn:
        warnings.warn(
            f"{path}:{len(lines) + 1} was cut off while it was written; it is dropped",
            TornLineWarning,
            stacklevel=2,
        )
    return SearchLog(header, tuple(trials.values()))


class SearchWriter(LineWriter):
    """A search file opened for appending, locked against a second writer.

    Use `create` for a new search and `resume` to go on with one, which is then in `.done`; close it, or use
    it as a context manager.
    """

    def __init__(self, path: Path, file: BinaryIO, done: SearchLog | None = None) -> None:
        super().__init__(path, file)
        self.done = done

    @classmethod
    def create(cls, path: Path, header: SearchHeader, *, overwrite: bool = False) -> SearchWriter:
        """A new search file that holds only its header; checkpoints of an overwritten one are removed.

        Raises:
            UsageError: `path` exists and `overwrite` is not given, or it is no search, or it is in use.
            OutputError: it cannot be written.
        """
        check_search_replaceable(path, overwrite=overwrite)
        with ExitStack() as on_error:
            file = open_locked(path)
            on_error.callback(file.close)
            # Looked at again under the lock: another process may have written a search there meanwhile.
            check_search_replaceable(path, overwrite=overwrite)
            file.truncate(0)
            shutil.rmtree(checkpoint_folder(path), ignore_errors=True)
            writer = cls(path, file)
            writer._write(header)
            on_error.pop_all()
        return writer

    @classmethod
    def resume(cls, path: Path) -> SearchWriter:
        """The search at `path`, read into `.done` and opened for more trials; a torn last line is removed.

        Raises:
            UsageError: there is no search at `path`, or it is in use.
        """
        check_search_resumable(path)
        with ExitStack() as on_error:
            file = open_locked(path)
            on_error.callback(file.close)
            done = read_search(path)
            file.truncate(read_bytes(path).rfind(b"\n") + 1)
            on_error.pop_all()
        return cls(path, file, done)

    def append(self, trial: Trial) -> None:
        """Write a trial and force it to disk.

        Raises:
            OutputError: the disk is full or the file is gone.
        """
        self._write(trial)


def check_search_replaceable(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists, unless it is empty, or a search and `overwrite` is given.

    Raises:
        UsageError: it may not be replaced.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the search a file name, such as {path / 'search.jsonl'}")
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        _header(path, read_bytes(path).partition(b"\n")[0])
    except RunFileError:
        raise UsageError(
            f"{path} exists and is not a scaleprof search: it is left alone, choose another -o"
        ) from None
    if not overwrite:
        raise UsageError(f"{path} exists: --resume goes on with it, --overwrite replaces it")


def check_search_resumable(path: Path) -> None:
    """Refuse to go on with a search that is not there or cannot be read.

    Raises:
        UsageError: there is no search at `path`.
    """
    if not path.exists():
        raise UsageError(f"--resume: {path} does not exist: leave --resume out to begin it")
    _header(path, read_bytes(path).partition(b"\n")[0])


def checkpoint_folder(path: Path) -> Path:
    """Where checkpoints of a search's running trials are, beside its file.

    >>> checkpoint_folder(Path("searches/b0.jsonl")).as_posix()
    'searches/b0.checkpoints'
    """
    return path.with_name(f"{_stem(path)}.checkpoints")


def bases_path(path: Path) -> Path:
    """Where the bases that a search chose are, beside its file.

    >>> bases_path(Path("searches/b0.jsonl")).as_posix()
    'searches/b0.bases.json'
    """
    return path.with_name(f"{_stem(path)}.bases.json")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".jsonl")


def _header(path: Path, line: bytes) -> SearchHeader:
    start = start_of(line)
    if start.get("kind") != "search":
        raise RunFileError(f"{path} is not a scaleprof search: its first line is no search header")
    check_schema(path, start, SEARCH_SCHEMA_VERSION)
    header = decode_line(_decoder, path, 1, line, "search header")
    if not isinstance(header, SearchHeader):
        raise RunFileError(f"{path}:1 is not a search header")
    return header

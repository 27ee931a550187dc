"""Search files: a search's header and candidates in the first line, then a trial a line; and what is beside.

They are made, appended to, locked and recovered as run files are. The chosen bases are a small JSON file of
their own, which `sweep --strategy @FILE.json` takes; checkpoints of running trials have a folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

from scaleprof.errors import RunFileError
from scaleprof.records import SEARCH_SCHEMA_VERSION, SearchHeader, SearchLog, Trial
from scaleprof.store.linefile import LineFile
from scaleprof.store.lines import LineWriter, start_of

_SEARCHES = LineFile(
    "search",
    schema=SEARCH_SCHEMA_VERSION,
    header=SearchHeader,
    line=Trial,
    line_noun="trial",
    made_by=lambda _path: "scaleprof search",
)


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
    header, lines = _SEARCHES.read(path)
    known = {candidate.number for candidate in header.candidates}
    trials: dict[tuple[int, float, int], Trial] = {}
    for number, trial in enumerate(lines, start=2):
        if trial.candidate not in known:
            raise RunFileError(f"{path}:{number} is a trial of candidate {trial.candidate}, which is none")
        trials.pop(trial.key, None)
        trials[trial.key] = trial
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
        writer = cls(path, _SEARCHES.create(path, overwrite=overwrite))
        shutil.rmtree(checkpoint_folder(path), ignore_errors=True)
        writer.begin(header)
        return writer

    @classmethod
    def resume(cls, path: Path) -> SearchWriter:
        """The search at `path`, read into `.done` and opened for more trials; a torn last line is removed.

        Raises:
            UsageError: there is no search at `path`, or it is in use.
        """
        return cls(path, *_SEARCHES.resume(path, read_search))

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
    _SEARCHES.check_replaceable(path, overwrite=overwrite)


def check_search_resumable(path: Path) -> None:
    """Refuse to go on with a search that is not there or cannot be read.

    Raises:
        UsageError: there is no search at `path`.
    """
    _SEARCHES.check_resumable(path)


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

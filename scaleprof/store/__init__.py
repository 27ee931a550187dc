"""Run files and search files: made, appended to, locked, recovered and read back.

They are JSON Lines: one header, then one record or trial a line, each flushed to disk as it is finished.
"""

from __future__ import annotations

from scaleprof.store.basesfile import read_bases, write_bases
from scaleprof.store.runfile import RunWriter, check_replaceable, check_resumable, read_run
from scaleprof.store.scorefile import read_scores
from scaleprof.store.searchfile import (
    SearchWriter,
    bases_path,
    check_search_replaceable,
    check_search_resumable,
    checkpoint_folder,
    is_search,
    read_search,
)

__all__ = [
    "RunWriter",
    "SearchWriter",
    "bases_path",
    "check_replaceable",
    "check_resumable",
    "check_search_replaceable",
    "check_search_resumable",
    "checkpoint_folder",
    "is_search",
    "read_bases",
    "read_run",
    "read_scores",
    "read_search",
    "write_bases",
]

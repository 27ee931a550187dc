"""Run files: made, appended to, locked, recovered and read back.

A run file is JSON Lines: one header, then one record a line, each flushed to disk as it is finished.
"""

from __future__ import annotations

from scaleprof.store.runfile import RunWriter, check_replaceable, check_resumable, read_run

__all__ = ["RunWriter", "check_replaceable", "check_resumable", "read_run"]

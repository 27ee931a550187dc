"""A check as JSON: what was found, every `d` it rests on, and the record from which it is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from scaleprof.errors import UsageError
from scaleprof.records import CHECK_SCHEMA_VERSION, BaselineLog, CheckLog
from scaleprof.reporting.checks import CheckView
from scaleprof.reporting.checks_timed import parts_of

# How the file begins: so it is known for a check's.
BEGINNING = '{\n  "scaleprof_check": '


class _Document(msgspec.Struct, frozen=True):
    """What is read back; the findings are derived again."""

    scaleprof_check: int
    record: CheckLog | BaselineLog


def to_json(view: CheckView, log: CheckLog | BaselineLog) -> str:
    """The findings and the record they are derived from."""
    document: dict[str, Any] = {
        "scaleprof_check": CHECK_SCHEMA_VERSION,
        "exit_code": int(view.exit_code),
        "summary": view.summary,
        "before": view.before,
        "after": view.after,
        "setting": view.setting,
        "findings": view.findings,
        "minimum_detectable_effect": view.detectable,
        "notes": view.notes,
    }
    head = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    # The samples are for programs: a line each would be most of the file.
    tail = {"log_ratios": log_ratios(log), "record": log}
    lines = [f'  "{name}": {msgspec.json.encode(value).decode()}' for name, value in tail.items()]
    return ",\n".join([head.removesuffix("\n}"), *lines]) + "\n}\n"


def log_ratios(log: CheckLog | BaselineLog) -> dict[str, list[list[float]]]:
    """Per target and pair of processes, `d` of each round."""
    timed = log.retested if isinstance(log, BaselineLog) else log
    if timed is None:
        return {}
    return {
        one.target.name: [
            [round_.log_ratio for round_ in part.rounds] for part in parts_of(timed.pairs, one.target.name)
        ]
        for one in timed.targets
    }


def read_check(path: Path) -> CheckLog | BaselineLog:
    """The record in a file that `to_json` wrote.

    Raises:
        UsageError: it cannot be read, or is no check.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        start = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("scaleprof_check")
        schema = None if start is None else msgspec.json.decode(start)
    except (msgspec.DecodeError, UnicodeDecodeError):
        schema = None
    if schema is None:
        raise UsageError(f"{path} is not a scaleprof check: it was not written by check --format json")
    if schema != CHECK_SCHEMA_VERSION:
        raise UsageError(f"{path} has schema {schema}, this scaleprof reads {CHECK_SCHEMA_VERSION}")
    try:
        return msgspec.json.decode(content, type=_Document).record
    except (msgspec.DecodeError, ValueError) as error:
        message, _, place = str(error).partition(" - at ")
        raise UsageError(f"{path} is not a whole check ({place.strip('`') or 'record'}: {message})") from None

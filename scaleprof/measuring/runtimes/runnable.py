"""What a runtime makes of a network, and how it says that it cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from scaleprof.errors import NETWORK_ERRORS
from scaleprof.measuring.timing import Call

# Enough for a compiler's sentence; the rest is in the cause.
_REASON_LENGTH = 160
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Lines that say where in a runtime's source a check failed, or that something follows, and not what failed.
_EMPTY_LINE = re.compile(r"\s*$|Exception from .*:$|backend='.*' raised:$|Check '.*' failed at .*:$")
# In a long report of OpenVINO's, the line that names the operations.
_SUMMARY = re.compile(r"(?:No conversion rule found for operations|Conversion is failed for): .*")
_CODES = re.compile(r"\[ONNXRuntimeError\] : \d+ : |Load model from \S+ failed:")


class Runnable(NamedTuple):
    """A network under a runtime, which has run once.

    `call` is one pass, and returns torch's tensors: what the network returns, or the runtime's outputs in the
    order of the network's. They may be written over by the next call. `version` names the runtime.
    `artifact` is the exported model's file, where there is one. `graphs` is in how many pieces the network
    was compiled: between two of them Python runs.
    """

    call: Call
    version: str
    artifact: Path | None = None
    graphs: int | None = None


class RuntimeUnsupportedError(Exception):
    """A runtime cannot take a model, or is not installed: what, why, and the way out, in one line."""


@contextmanager
def refusing(runtime: str) -> Iterator[None]:
    """Whatever a runtime or its exporter raises inside is told as `RuntimeUnsupportedError`.

    They raise anything. Lack of memory is none of their limits, and stays what it is.
    """
    try:
        yield
    except (RuntimeUnsupportedError, MemoryError, torch.OutOfMemoryError):
        raise
    except NETWORK_ERRORS as error:
        raise RuntimeUnsupportedError(f"{runtime} cannot take it: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The first line that says something, of the error that began it all, in at most 160 characters.

    >>> reason(RuntimeError("Exception from core.cpp:116:\\nno such operation: Foo"))
    'RuntimeError: no such operation: Foo'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    words = _telling_line(_CODES.sub("", _COLOURS.sub("", str(error))))
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return told if len(told) <= _REASON_LENGTH else f"{told[: _REASON_LENGTH - 1]}…"


def _telling_line(message: str) -> str:
    if summary := _SUMMARY.search(message):
        return summary.group()
    return next((line.strip() for line in message.splitlines() if not _EMPTY_LINE.match(line.strip())), "")

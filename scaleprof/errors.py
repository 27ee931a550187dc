"""What can go wrong, in words for the person who asked, and the exit code each kind carries.

A message names the value seen, the rule, and the way out, in one line. Errors that are not
`ScaleprofError` are bugs and keep their traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; each means one thing for every verb that uses it."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    FAILURE = 3
    INCONCLUSIVE = 4
    NOTHING = 5
    MISMATCH = 6
    INTERRUPTED = 130


class ScaleprofError(Exception):
    """Base of all errors that are told in one line instead of a traceback."""

    exit_code = ExitCode.FAILURE


class UsageError(ScaleprofError):
    """The request itself cannot be carried out: a value, a combination, an input or output file."""

    exit_code = ExitCode.USAGE


class RunFileError(UsageError):
    """A run file that is not what it should be."""


class OutputError(ScaleprofError):
    """A file could not be written (disk full, no permission)."""


class CountingError(ScaleprofError):
    """A model could not be counted."""


class ModelError(ScaleprofError):
    """A network that somebody else built cannot be had at this scale."""


class MeasuringError(ScaleprofError):
    """Nothing could be measured: the worker does not start, or every model failed."""


class NothingToShowError(ScaleprofError):
    """The runs hold no row to show."""

    exit_code = ExitCode.NOTHING


class HostMismatchError(ScaleprofError):
    """A run would go on with another machine or another protocol than it began with."""

    exit_code = ExitCode.MISMATCH


class InterruptedSweepError(ScaleprofError):
    """The person stopped the work; what was measured has been saved."""

    exit_code = ExitCode.INTERRUPTED


# What building or running a network of somebody else's may raise: anything, and it is never a bug of ours.
# Around our own code nothing catches this.
NETWORK_ERRORS = Exception


def suggestion(value: str, known: Iterable[str]) -> str:
    """A `did you mean` clause for a misspelt name, or an empty string.

    >>> suggestion("efficientnet_bo", ["efficientnet_b0", "resnet18"])
    ": did you mean 'efficientnet_b0'?"
    >>> suggestion("zzz", ["efficientnet_b0"])
    ''
    """
    close = difflib.get_close_matches(value, list(known), n=1)
    return f": did you mean '{close[0]}'?" if close else ""

"""What one check came to, and the words that several of them share."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import msgspec

State = Literal["ok", "warn", "unknown"]

UNTOLD = "not told by this system"


class Finding(msgspec.Struct, frozen=True):
    """One check: what was seen, whether it disturbs measuring, and one line of remedy if it does."""

    check: str
    state: State
    seen: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        if self.state == "warn" and not self.remedy:
            raise ValueError(f"{self.check}: a warning needs a remedy")
        if any("\n" in text for text in (self.seen, self.remedy or "")):
            raise ValueError(f"{self.check}: a finding has one line each for what was seen and its remedy")


def fine(check: str, seen: str) -> Finding:
    """Nothing to mend."""
    return Finding(check, "ok", seen)


def warn(check: str, seen: str, remedy: str) -> Finding:
    """This disturbs measuring."""
    return Finding(check, "warn", seen, remedy)


def unknown(check: str, seen: str = UNTOLD, remedy: str | None = None) -> Finding:
    """The system does not say."""
    return Finding(check, "unknown", seen, remedy)


def printable(text: str) -> str:
    """A name that somebody else chose, without what would move a terminal's cursor.

    >>> printable("a\\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def cpu_ranges(cpus: Iterable[int]) -> str:
    """A set of CPUs as the kernel and `taskset` write it.

    >>> cpu_ranges([0, 1, 2, 8])
    '0-2,8'
    """
    ordered = sorted(set(cpus))
    starts = [*ordered[:1], *(b for a, b in pairwise(ordered) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), *ordered[-1:]]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def percent(share: float) -> str:
    """A share for people; small ones keep a digit.

    >>> percent(0.0042), percent(0.37)
    ('0.4 %', '37 %')
    """
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"

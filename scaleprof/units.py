"""Numbers for people, and people's numbers read back: the only place that scales by powers of ten.

Inside scaleprof every quantity is in base units (seconds, bytes, joules, plain counts); this module
turns them into short text and parses what people type (`10m`, `2GiB`, `2%`).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Literal

from scaleprof.errors import UsageError

Unit = Literal["ms", "s", "count", "bytes", "joules", "percent", "rate", "ratio"]

MS_PER_S = 1e3
MIB = 2**20

_COUNT_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTE_STEPS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_LONGEST_S = 30 * 24 * 3600.0
_DURATION_UNITS_S = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DECIMAL = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}

# What may stand after a number, and what it multiplies by. Case counts: m is no M.
SUFFIXES: dict[Unit, dict[str, float]] = {
    "ms": {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3},
    "s": _DURATION_UNITS_S,
    "count": {"": 1.0, **_DECIMAL},
    "bytes": {"": 1.0, "B": 1.0, **_BINARY, **_DECIMAL, **{f"{k}B": v for k, v in _DECIMAL.items()}},
    "joules": {"": 1.0, "J": 1.0, "mJ": 1e-3},
    "percent": {"": 1.0, "%": 1.0},
    "rate": {"": 1.0, "/s": 1.0, **_DECIMAL},
    "ratio": {"": 1.0, "x": 1.0, "×": 1.0},
}
# How a quantity is written: from this value on, divided by this, with this after it.
STEPS: dict[Unit, tuple[tuple[float, float, str], ...]] = {
    "ms": ((0.0, 1.0, "ms"),),
    "s": ((0.0, 1.0, "s"),),
    "count": (*((factor * 0.9995, factor, prefix) for factor, prefix in _COUNT_STEPS), (0.0, 1.0, "")),
    "bytes": (*((factor, factor, prefix) for factor, prefix in _BYTE_STEPS), (0.0, 1.0, "B")),
    "joules": ((0.0, 1.0, "J"),),
    "percent": ((0.0, 1.0, "%"),),
    "rate": ((0.0, 1.0, "samples/s"),),
    "ratio": ((0.0, 1.0, ""),),
}


def format_count(value: float) -> str:
    """A count with three significant digits and a decimal prefix.

    >>> format_count(385_825_092), format_count(999), format_count(6_748_036)
    ('386 M', '999', '6.75 M')
    """
    for factor, prefix in _COUNT_STEPS:
        if abs(value) >= factor * 0.9995:
            return f"{three_digits(value / factor)} {prefix}"
    return three_digits(value)


def format_bytes(value: float) -> str:
    """A size with a binary prefix.

    >>> format_bytes(21_154_192), format_bytes(512)
    ('20.2 MiB', '512 B')
    """
    for factor, prefix in _BYTE_STEPS:
        if abs(value) >= factor:
            return f"{three_digits(value / factor)} {prefix}"
    return f"{value:.0f} B"


def format_bytes_range(value: float, low: float, high: float) -> str:
    """A size with the ends of a range, all in the size's own unit.

    >>> format_bytes_range(430_080, 425_000, 431_000), format_bytes_range(3 * 2**20, 2**20, 4 * 2**20)
    ('420 KiB [415–421]', '3.00 MiB [1.00–4.00]')
    """
    factor = next((factor for factor, _ in _BYTE_STEPS if abs(value) >= factor), 1)
    return f"{format_bytes(value)} [{three_digits(low / factor)}–{three_digits(high / factor)}]"


def format_ms(value_s: float) -> str:
    """A latency in milliseconds with three significant digits.

    >>> format_ms(0.0148213), format_ms(1.2)
    ('14.8 ms', '1200 ms')
    """
    return f"{three_digits(value_s * MS_PER_S)} ms"


def format_duration(value_s: float) -> str:
    """A waiting time, coarse on purpose.

    >>> format_duration(8.2), format_duration(125), format_duration(7300)
    ('8 s', '2 min 5 s', '2 h 1 min')
    """
    seconds = round(value_s)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def plural(count: int, one: str, several: str) -> str:
    """A number with its noun.

    >>> plural(1, "launch", "launches"), plural(3, "launch", "launches")
    ('1 launch', '3 launches')
    """
    return f"{count} {one if count == 1 else several}"


def parse_duration_s(text: str, *, option: str) -> float:
    """Seconds from `90`, `90s`, `10m` or `1.5h`.

    >>> parse_duration_s("10m", option="--timeout")
    600.0

    Raises:
        UsageError: not a positive duration.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    seconds = float(match[1]) * _DURATION_UNITS_S.get(match[2], 0.0) if match else 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(
            f"{option} {text} is not a duration above zero, 30 days at most: write 90s, 10m or 1.5h"
        )
    return seconds


def parse_fraction(text: str, *, option: str) -> float:
    """A fraction from `2%` or `0.02`.

    >>> parse_fraction("2%", option="--target-ci")
    0.02

    Raises:
        UsageError: not a number between 0 and 100 %, ends excluded.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    value = float(match[1]) / (100.0 if match[2] else 1.0) if match else 0.0
    if not 0.0 < value < 1.0:
        raise UsageError(f"{option} {text} is not a share between 0 and 100 %: write it as 2% or 0.02")
    return value


def parse_quantity(text: str, unit: Unit, *, option: str) -> float:
    """A quantity above zero in its base unit, from a number that may have a suffix.

    >>> [parse_quantity(text, "bytes", option="-") for text in ("2GiB", "1.5 G", "10")]
    [2147483648.0, 1500000000.0, 10.0]

    Raises:
        UsageError: no such number, or a suffix that the unit does not take.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([^\s0-9.]*)", text.strip())
    factor = SUFFIXES[unit].get(match[2]) if match else None
    value = float(match[1]) * factor if match and factor else 0.0
    if not 0.0 < value < math.inf:
        suffixes = ", ".join(filter(None, SUFFIXES[unit]))
        raise UsageError(
            f"{option} '{text.strip()}' is not a quantity above zero: write a number, alone or with one of "
            f"{suffixes}"
        )
    return value


def plain_quantity(value: float, unit: Unit) -> str:
    """The shortest text that `parse_quantity` reads as exactly this value.

    >>> plain_quantity(2.0**31, "bytes"), plain_quantity(1.5e9, "count"), plain_quantity(1000.0, "ms")
    ('2GiB', '1.5G', '1000')
    """
    multiples = {"bytes": _BINARY | _DECIMAL, "count": _DECIMAL}.get(unit, {})
    texts = [_decimal_text(value)]
    for suffix, factor in multiples.items():
        number = value / factor
        if number >= 1 and number * factor == value:
            texts.append(_decimal_text(number) + suffix)
    # Of equally long ones that with the largest suffix: 1.65G, and not 1650M.
    return min(reversed(texts), key=len)


def _decimal_text(value: float) -> str:
    """A float's shortest decimal digits, without an exponent."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def quantity_text(value: float, unit: Unit, *ends: float | None) -> str:
    """A quantity for people; the two ends of its interval, if given, in brackets and in its own step.

    >>> quantity_text(1.45e9, "count"), quantity_text(120_000_000, "bytes", 104e6, None)
    ('1.45 G', '114 MiB [?]')
    >>> quantity_text(45.74, "ms", 32.1, 64.2)
    '45.7 ms [32.1–64.2]'
    """
    factor, suffix = next((factor, suffix) for least, factor, suffix in STEPS[unit] if abs(value) >= least)
    text = f"{three_digits(value / factor)} {suffix}".rstrip()
    if not ends:
        return text
    known = [three_digits(end / factor) for end in ends if end is not None]
    return f"{text} [{'–'.join(known) if len(known) == len(ends) else '?'}]"


def three_digits(value: float) -> str:
    """A number with three significant digits, trailing zeros kept: they are part of what is known.

    >>> [three_digits(x) for x in (0.0123, 0.5, 1.2, 24.0, 386.4, 12345)]
    ['0.0123', '0.500', '1.20', '24.0', '386', '12345']
    """
    magnitude = abs(value)
    if magnitude >= 99.95 or magnitude == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if magnitude >= 9.995 else f"{value:#.3g}" if magnitude < 0.9995 else f"{value:.2f}"

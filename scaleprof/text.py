"""Text of unknown origin made inert for where it goes: Markdown, a terminal, a spreadsheet.

Names of models, reasons and sentences may come from anywhere: a foreign run, an exception, a path. Each
output has one function here, and every name goes through it.
"""

from __future__ import annotations

import re

# What GitHub's Markdown gives a meaning to inside a line: escapes, code, emphasis, columns, formulas; links
# and images; underscores that are not inside a word.
_MARKS = re.compile(r"[\\`*|~$]|!(?=\[)|\](?=[(\[:])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
# What begins a heading, a quotation or a list where a line begins.
_BLOCK = re.compile(r"^(\d+(?=[.)]\s)|(?=#{1,6}\s|[-+]\s|>))")
# How a cell begins that a spreadsheet would run: a formula, a function call, or a command after a tab.
_FORMULA = re.compile(r"[=+\-@\t\r\n]")


def for_markdown(text: str, longest: int | None = None) -> str:
    """Text that stands in a line or a cell as itself: no markup, no tag, no line break, and not too long.

    >>> for_markdown("a|b <img src=x> `c` [41.3–57.8] latency_ms<=40")
    'a\\\\|b &lt;img src=x> \\\\`c\\\\` [41.3–57.8] latency_ms<=40'
    >>> for_markdown("expected <class 'int'>", longest=9)
    'expected …'
    >>> for_markdown("# title"), for_markdown("> 2"), for_markdown("1. one"), for_markdown("-1.2 %")
    ('\\\\# title', '\\\\> 2', '1\\\\. one', '-1.2 %')
    """
    plain = " ".join(for_terminal(text).split())
    cut = plain if longest is None or len(plain) <= longest else f"{plain[:longest]}…"
    inert = _MARKS.sub(r"\\\g<0>", _TAG.sub("&lt;", _ENTITY.sub("&amp;", cut)))
    return _BLOCK.sub(r"\1\\", inert)


def for_terminal(text: str) -> str:
    """Text without control characters, which could move the cursor or change a terminal's title.

    >>> for_terminal("a\\x1b[2Jb")
    'a [2Jb'
    """
    return "".join(sign if sign.isprintable() else " " for sign in text)


def for_spreadsheet(text: str) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe stands before what begins as a formula.

    >>> for_spreadsheet("=1+1"), for_spreadsheet("efficientnet_b0/base/0"), for_spreadsheet("-")
    ("'=1+1", 'efficientnet_b0/base/0', '-')
    """
    inert = f"'{text}" if len(text) > 1 and _FORMULA.match(text) else text
    return inert.replace("\r\n", "\n").replace("\r", "\n")  # csv writes a lone return without quotes

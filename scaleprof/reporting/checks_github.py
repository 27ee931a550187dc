"""A check as GitHub's workflow commands: lines on stdout, which need no token and so work for forks.

References:
    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from typing import Literal

from scaleprof.reporting.checks import CheckView, Outcome, in_order
from scaleprof.reporting.checks_text import title, verdict_text

Level = Literal["error", "warning", "notice"]

_LEVELS: dict[Outcome, Level] = {
    "regression": "error",
    "failed": "error",
    "undecided": "warning",
    "mismatch": "warning",
    "missing": "warning",
    "warning": "warning",
    "good": "notice",
}


def to_annotations(view: CheckView) -> str:
    """A command for each finding that a reviewer should see, and one for what it all comes to."""
    lines = [
        _command(
            _LEVELS[finding.outcome],
            f"{verdict_text(finding)} {finding.target}",
            finding.words,
        )
        for finding in in_order(view.findings)
        if finding.outcome in _LEVELS
    ]
    text = "\n".join([f"{title(view)}: {view.summary}", *view.notes, view.resolution])
    return "\n".join([*lines, _command("notice", "scaleprof check", text)]) + "\n"


def _command(level: Level, head: str, message: str) -> str:
    """One workflow command; whatever a name holds, it stays one line and ends nothing early."""
    named = _escaped(head).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={named}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

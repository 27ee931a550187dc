"""What a check found, as plain data: findings, what they come to, and the exit code.

A finding is about one metric of one target. Its `verdict` is the word of the rule that found it; its
`outcome` is what every output goes by, so that text, annotations, JUnit and the exit code cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, get_args

import msgspec

from scaleprof.errors import ExitCode, UsageError, suggestion
from scaleprof.records import CheckMode
from scaleprof.units import Unit, plural

Verdict = Literal[
    "PASS", "FASTER", "SLOWER", "INCONCLUSIVE", "INVALID", "WARN", "FAIL", "LESS", "NEW", "MISSING", "TOLD"
]
Outcome = Literal["regression", "failed", "undecided", "mismatch", "missing", "warning", "good", "ok", "told"]
FailOn = Literal["inconclusive", "mismatch", "missing"]
FAIL_ON: tuple[FailOn, ...] = get_args(FailOn)

# What says that something was held against something else.
_COMPARED: frozenset[Outcome] = frozenset({"ok", "good", "warning", "undecided"})
# About the target as a whole, and no comparison.
WHOLE = "model"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one metric of one target.

    `before`, `after` in `unit` (milliseconds, bytes, counts); `change` as a share, with its 95 % interval
    where there is one; `limit` the share that is allowed; `accepted` the reason why it is no regression.
    `more_pairs`: about how many more pairs of processes would decide it.
    """

    target: str
    metric: str
    verdict: Verdict
    outcome: Outcome
    words: str
    unit: Unit | None = None
    before: float | None = None
    after: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    limit: float | None = None
    accepted: str | None = None
    more_pairs: int | None = None


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    """A check as every output shows it.

    `before`, `after`: what is compared, in words. `setting`: how the targets were run. `detectable`: per
    target the least slowdown that this check would have found nine times in ten, as a share.
    `resolution`: the same in words; `notes`: what else a reader should know, a sentence each.
    """

    mode: CheckMode
    before: str
    after: str
    setting: str
    findings: tuple[Finding, ...]
    detectable: dict[str, float]
    resolution: str
    notes: tuple[str, ...]
    exit_code: ExitCode
    summary: str


def parse_fail_on(text: str) -> tuple[FailOn, ...]:
    """What else fails a check, from a comma list.

    >>> parse_fail_on("missing, inconclusive")
    ('inconclusive', 'missing')

    Raises:
        UsageError: something else.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FAIL_ON:
            hint = suggestion(name, FAIL_ON)
            raise UsageError(f"--fail-on '{name}' is no such case{hint} (known: {', '.join(FAIL_ON)})")
    return tuple(name for name in FAIL_ON if name in names)


def exit_code(findings: Sequence[Finding], *, fail_on: Collection[str] = (), timed: bool = True) -> ExitCode:
    """What a check exits with: a regression first, and never green where nothing was compared.

    Args:
        findings: all of them.
        fail_on: what fails besides (`FAIL_ON`).
        timed: whether latencies were to be compared.
    """
    outcomes = {finding.outcome for finding in findings}
    latencies = [finding for finding in findings if finding.metric == "latency"]
    compared = any(finding.outcome in _COMPARED and finding.metric != WHOLE for finding in findings)
    code = ExitCode.OK
    if "regression" in outcomes:
        code = ExitCode.REGRESSION
    elif all(finding.metric == WHOLE for finding in findings):
        code = ExitCode.NOTHING
    elif "failed" in outcomes:
        code = ExitCode.FAILURE
    elif timed and latencies and all(finding.verdict == "INVALID" for finding in latencies):
        code = ExitCode.MISMATCH
    elif not compared:
        code = ExitCode.NOTHING
    elif "mismatch" in fail_on and "mismatch" in outcomes:
        code = ExitCode.MISMATCH
    elif "missing" in fail_on and "missing" in outcomes:
        code = ExitCode.NOTHING
    elif "inconclusive" in fail_on and "undecided" in outcomes:
        code = ExitCode.INCONCLUSIVE
    return code


def summarise(findings: Sequence[Finding], code: ExitCode) -> str:
    """The last line: what was found of how many targets, and what that means for the exit code."""
    targets = len({finding.target for finding in findings})
    counts = Counter(finding.outcome for finding in findings)
    named: dict[Outcome, str] = {
        "regression": plural(counts["regression"], "regression", "regressions"),
        "failed": f"{counts['failed']} could not be measured",
        "undecided": f"{counts['undecided']} undecided",
        "mismatch": f"{counts['mismatch']} not comparable",
        "missing": f"{counts['missing']} missing",
        "warning": plural(counts["warning"], "warning", "warnings"),
    }
    parts = [words for outcome, words in named.items() if counts[outcome]]
    found = ", ".join(parts) or ("no regression" if code == ExitCode.OK else "nothing was compared")
    if code == ExitCode.OK and parts:
        found = f"no regression; {found}"
    return f"{found} in {plural(targets, 'target', 'targets')} (exit code {int(code)})"


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first, else as they were."""
    order = get_args(Outcome)
    return sorted(findings, key=lambda finding: order.index(finding.outcome))

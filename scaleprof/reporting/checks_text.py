"""A check for people: a table and sentences on a terminal, and Markdown for a step summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Group
from rich.text import Text

from scaleprof.reporting import table
from scaleprof.reporting.checks import CheckView, Finding, Outcome, Verdict, in_order
from scaleprof.reporting.checks_rules import NOUNS
from scaleprof.reporting.checks_words import change_text, value_text
from scaleprof.reporting.table import Table
from scaleprof.text import for_markdown, for_terminal

# Stands before a step summary, so that a file of one is known for it.
MARKDOWN_MARK = "<!-- scaleprof check -->"
# How the text begins.
TEXT_MARK = "scaleprof check: "
_TITLES = {
    "revision": "{after} against {before}",
    "self_test": "self-test: {after} against itself",
    "baseline": "{after} against the run {before}",
}
_HEADER = ("target", "metric", "before", "after", "change [95 %]", "verdict")
_NOUNS = NOUNS | {"latency_p95": "latency p95", "uncounted": "uncounted operators", "model": "–"}
_ACCENTS: dict[Outcome, str] = {
    "regression": "bold red",
    "failed": "bold red",
    "undecided": "yellow",
    "mismatch": "yellow",
    "missing": "yellow",
    "warning": "yellow",
    "good": "green",
}
# Beyond these, a sentence says nothing that the table does not.
_PLAIN: tuple[Outcome, ...] = ("ok", "told")


def title(view: CheckView) -> str:
    """What is compared with what."""
    return _TITLES[view.mode].format(before=view.before, after=view.after)


def to_terminal(view: CheckView) -> Group:
    """The table of findings, a sentence for each that a person should know of, and what it all comes to."""
    findings = _tabled(view.findings)
    shown = _table(view)
    # A target is named once.
    repeated = [one.target == before.target for one, before in zip(findings[1:], findings, strict=False)]
    rows = [
        ["", *cells[1:]] if again else cells
        for cells, again in zip(shown.rows, [False, *repeated], strict=True)
    ]
    last = len(_HEADER) - 1
    accents = {(place, last): _ACCENTS.get(one.outcome, "") for place, one in enumerate(findings)}
    sentences = [Text(for_terminal(line)) for line in _sentences(view)]
    return Group(
        Text(f"{TEXT_MARK}{title(view)} · {view.setting}"),
        table.to_terminal(msgspec.structs.replace(shown, rows=rows), accents),
        *sentences,
        *(Text(f"note: {note}") for note in view.notes),
        Text(view.resolution),
        Text(view.summary, style="bold"),
    )


def to_markdown(view: CheckView) -> str:
    """The same for a step summary; names are escaped, so that none can be a table's border or a tag."""
    lines = [MARKDOWN_MARK, "", f"### scaleprof check: {for_markdown(view.summary)}", ""]
    lines += [f"{for_markdown(title(view))} · {for_markdown(view.setting)}", ""]
    lines += [table.to_markdown(_table(view)), ""]
    lines += [f"- {for_markdown(line)}" for line in (*_sentences(view), *view.notes, view.resolution)]
    return "\n".join(lines) + "\n"


def verdict_text(finding: Finding) -> str:
    """The verdict for people; an increase that is accepted is told as such."""
    words: dict[Verdict, str] = {"TOLD": "–", "LESS": "PASS"}
    text = words.get(finding.verdict, finding.verdict)
    return f"{text} (accepted)" if finding.accepted else text


def metric_text(finding: Finding) -> str:
    """A finding's metric for people; a budget is its own name."""
    return _NOUNS.get(finding.metric, finding.metric)


def _tabled(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by target; the exact ones of a target that did not change stand in one line."""
    tabled: list[Finding] = []
    for target in dict.fromkeys(finding.target for finding in findings):
        own = [finding for finding in findings if finding.target == target]
        exact = [one for one in own if one.unit == "count" and one.metric in NOUNS]
        same = exact if exact and all(one.words == "unchanged" for one in exact) else []
        if same:
            names = ", ".join(NOUNS[one.metric] for one in same)
            tabled.append(
                Finding(target=target, metric=names, verdict="PASS", outcome="ok", words="unchanged")
            )
        tabled += [one for one in own if one not in same]
    return tabled


def _cells(finding: Finding) -> list[str]:
    unchanged = finding.unit is None and finding.words == "unchanged"
    return [
        finding.target,
        metric_text(finding),
        value_text(finding.before, finding),
        value_text(finding.after, finding),
        "unchanged" if unchanged else change_text(finding),
        verdict_text(finding),
    ]


def _sentences(view: CheckView) -> Iterator[str]:
    for finding in in_order(view.findings):
        if finding.outcome not in _PLAIN:
            yield f"{verdict_text(finding)} {finding.target}: {finding.words}"
    for finding in view.findings:
        if finding.outcome == "told" and finding.verdict == "INVALID":
            yield f"{finding.target}: {finding.words}"


def _table(view: CheckView) -> Table:
    return Table(_HEADER, [_cells(finding) for finding in _tabled(view.findings)], (0, 1, len(_HEADER) - 1))

"""A check as JUnit XML: a regression is a failure, a crash an error, what is undecided is skipped."""

from __future__ import annotations

import re
from typing import Literal
from xml.etree import ElementTree

from scaleprof.reporting.checks import CheckView, Finding, Outcome
from scaleprof.reporting.checks_text import metric_text, title, verdict_text

SUITE = "scaleprof check"
# How the file begins.
JUNIT_MARK = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="{SUITE}">'
_KINDS: dict[Outcome, Literal["failure", "error", "skipped"]] = {
    "regression": "failure",
    "failed": "error",
    "undecided": "skipped",
    "mismatch": "skipped",
    "missing": "skipped",
}
# What XML 1.0 cannot hold, however it is written.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(view: CheckView) -> str:
    """One suite, a case for each metric of each target."""
    cases = [_case(finding) for finding in view.findings if finding.outcome != "told"]
    kinds = [_KINDS.get(one.outcome) for one in view.findings]
    counts = {
        "tests": len(cases),
        "failures": kinds.count("failure"),
        "errors": kinds.count("error"),
        "skipped": kinds.count("skipped"),
    }
    suite = ElementTree.Element("testsuite", {"name": SUITE} | {k: str(n) for k, n in counts.items()})
    suite.extend(cases)
    out = ElementTree.SubElement(suite, "system-out")
    out.text = _clean(
        "\n".join([f"{title(view)} · {view.setting}", *view.notes, view.resolution, view.summary])
    )
    ElementTree.indent(suite, level=1)
    body = ElementTree.tostring(suite, encoding="unicode")
    return f"{JUNIT_MARK}\n  {body}\n</testsuites>\n"


def _case(finding: Finding) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": _clean(finding.target), "name": _clean(metric_text(finding))}
    )
    kind = _KINDS.get(finding.outcome)
    if kind is not None:
        told = {"message": _clean(finding.words)}
        if kind != "skipped":
            told["type"] = verdict_text(finding)
        ElementTree.SubElement(case, kind, told)
    elif finding.outcome in ("warning", "good"):
        ElementTree.SubElement(case, "system-out").text = _clean(finding.words)
    return case


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)

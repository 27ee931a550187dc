"""The end of a sweep: its page, its rows, and in a few lines what was found and how far to trust it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaleprof.cli.options import print_rows, say, shown
from scaleprof.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from scaleprof.app.run import Run


def conclude(run: Run, run_path: Path, page_path: Path | None, format_: str, budgets: Sequence[str]) -> int:
    """Write the page, print the rows, and say how the sweep went; the exit code."""
    from scaleprof.app.reporting import report
    from scaleprof.records import MEASURED_STATUSES, UNTRIED_STATUSES
    from scaleprof.reporting.batches import batch_lines

    advice, budgets = _advice(run, budgets)
    if page_path is not None:
        report(run, page_path, budget=budgets)
    rows = run.rows
    print_rows(rows, format_)
    say(f"run: {shown(run_path)}" + (f"\nreport: {shown(page_path)}" if page_path else ""))
    counts = Counter(
        row.status if row.status in UNTRIED_STATUSES else "failed"
        for row in rows
        if row.status not in MEASURED_STATUSES
    )
    unstable = sum(row.status == "unstable" for row in rows)
    notes = [f"{unstable} of them unstable"] if unstable else []
    if counts:
        words = ", ".join(f"{number} {status}" for status, number in counts.items())
        notes.append(f"{words}: see status and reason")
    for sentence in [*(line.sentence for line in batch_lines(run.log)), *trust_lines(run), *advice]:
        say(sentence)
    say(", ".join([f"{len(rows) - counts.total()} of {len(rows)} models measured", *notes]))
    return ExitCode.OK if any(row.status == "ok" for row in rows) else ExitCode.FAILURE


def _advice(run: Run, budgets: Sequence[str]) -> tuple[list[str], Sequence[str]]:
    """What the budgets recommend, and those that the page can have.

    What was measured is not lost for a budget on what could not be: then the reason is told instead.
    """
    if not budgets:
        return [], ()
    try:
        return [one.words for one in run.recommendations(*budgets)], budgets
    except UsageError as error:
        return [str(error)], ()


def trust_lines(run: Run) -> list[str]:
    """What disturbed the run, and which models did not reach the target; nothing where all is well."""
    from scaleprof.reporting.workloads import varying, words

    rows = run.rows
    target = run.log.header.plan.target_ci
    axes = varying(rows)
    missed = [" ".join([row.spec_id, *words(row, axes)]) for row in rows if row.stop == "budget_exhausted"]
    contended = sum(any(caution.code == "contended" for caution in row.warnings) for row in rows)
    lines = []
    if run.noise is not None and run.noise_verdict != "quiet":
        trust = "" if contended else "trust ÷ base, taken inside the same rounds, before milliseconds; "
        lines.append(
            f"the machine was {run.noise_verdict} (matrix product p90/p10 {run.noise:.2f}): {trust}"
            f"scaleprof doctor says what disturbs"
        )
    if contended:
        lines.append(
            f"the threads of {contended} of {len(rows)} models did not have their CPUs to themselves: "
            f"the intervals of ratios allow for it and are wide"
        )
    if missed:
        measured = sum(row.stop is not None for row in rows)
        names = f": {', '.join(missed)}" if len(missed) < measured else ""
        lines.append(
            f"{len(missed)} of {measured} models did not reach the target of ±{100 * target:.3g} %{names}"
        )
    return lines

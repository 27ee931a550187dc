"""What a person sees while a sweep goes on.

On a terminal, one bar with an ETA; elsewhere, a plain line per model. The worker waits for its next command
while a step is painted, so nothing is repainted beside a sample.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from scaleprof.app.ledger import Watcher
from scaleprof.cli.options import say, shown
from scaleprof.measuring.rounds import Step
from scaleprof.records import Record, Status, Workload
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.latency import summarise
from scaleprof.units import MS_PER_S, format_duration, format_ms, three_digits


def watcher(total_launches: int, workloads: Sequence[Workload]) -> ConsoleWatcher:
    """A bar on a terminal, plain lines elsewhere; models are named with what tells their workloads apart."""
    kind = BarWatcher if sys.stderr.isatty() else ConsoleWatcher
    return kind(total_launches, varying(workloads))


class ConsoleWatcher(Watcher):
    """Plain lines: one when measuring begins, one for each model after each launch."""

    def __init__(self, total_launches: int, axes: Sequence[str] = ()) -> None:
        self.total_launches = total_launches
        self._axes = axes

    def began(self, path: Path | None) -> None:
        """Name the run file."""
        if path is not None:
            self._say(f"keeping every result in {shown(path)}")

    def kept(self, records: Sequence[Record]) -> None:
        """A line per model whose last launch this was, or that failed; one line for an earlier launch."""
        earlier = [
            record
            for record in records
            if record.status == "ok" and _launches_done(record) < self.total_launches
        ]
        if earlier:
            done = max(map(_launches_done, earlier))
            self._say(f"launch {done} of {self.total_launches}: {len(earlier)} models kept")
        for record in records:
            if record.status != "ok" or _launches_done(record) >= self.total_launches:
                self._say(_line(record, self._axes))

    def _say(self, message: str) -> None:
        say(message)

    def __enter__(self) -> ConsoleWatcher:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


class BarWatcher(ConsoleWatcher):
    """A progress bar with an ETA, repainted between samples only."""

    def __init__(self, total_launches: int, axes: Sequence[str] = ()) -> None:
        super().__init__(total_launches, axes)
        # No refresh thread: it would repaint while a sample is being timed.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % · {task.fields[eta]}"),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task: TaskID | None = None
        self._began_s = time.monotonic()

    def stepped(self, step: Step, share_done: float) -> None:
        """Repaint: launch, round, model and the time left at most (launches may stop early)."""
        elapsed_s = time.monotonic() - self._began_s
        left_s = elapsed_s * (1 - share_done) / share_done
        doing = {"build": "building", "sustain": "running back to back"}.get(
            step.doing, f"round {(step.round or 0) + 1}"
        )
        named = " ".join([step.job.spec.spec_id, *words(step.job.workload, self._axes)])
        text = f"launch {step.launch + 1}/{self.total_launches}, {doing}, {named}"
        if self._task is None:
            self._task = self._progress.add_task(text, total=1.0, eta="")
        self._progress.update(
            self._task, completed=share_done, description=text, eta=f"at most {format_duration(left_s)} left"
        )
        self._progress.refresh()

    def _say(self, message: str) -> None:
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> BarWatcher:
        self._began_s = time.monotonic()
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()


def _launches_done(record: Record) -> int:
    """Launches of the sweep that the record has a part in; an anchor model has several in one."""
    return len({launch.launch for launch in record.launches})


def _line(record: Record, axes: Sequence[str]) -> str:
    name = " ".join([record.spec.spec_id, *words(record.workload, axes)])
    summary = summarise(record.launches) if record.status == "ok" else None
    if summary is None:
        return click.style(f"{name}  {_words(record.status)}: {record.reason}", fg="red")
    interval = summary.interval_s
    brackets = f" [{_ms(interval.low)}–{_ms(interval.high)}]" if interval else ""
    return f"{name}  {format_ms(summary.median_s)}{brackets}"


def _ms(value_s: float) -> str:
    return three_digits(value_s * MS_PER_S)


def _words(status: Status) -> str:
    return {"oom": "out of memory", "timeout": "timed out"}.get(status, status)

"""What a person sees of a search: a bar with an ETA on a terminal, elsewhere a plain line a trial."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from scaleprof.app.searching import SearchWatcher
from scaleprof.cli.options import say
from scaleprof.engines.trainings import Progress as TrialProgress
from scaleprof.records import Trial
from scaleprof.reporting.searches_rows import score_text
from scaleprof.units import format_duration


def search_watcher(names: Mapping[int, str], *, percent: bool) -> SearchConsole:
    """A bar on a terminal, plain lines elsewhere.

    Args:
        names: what candidates are called, by their numbers.
        percent: whether scores are percentages.
    """
    kind = SearchBar if sys.stderr.isatty() else SearchConsole
    return kind(names, percent=percent)


class SearchConsole(SearchWatcher):
    """Plain lines: one for each trial that is over, with the time that is left."""

    def __init__(self, names: Mapping[int, str], *, percent: bool) -> None:
        self._names = names
        self._percent = percent
        self._part = ""
        self._total = self._done = 0
        self._began_s = time.monotonic()

    def began(self, words: str, total: int) -> None:
        """A part of the search begins."""
        self._part = f"{words}: " if words else ""
        self._total, self._done = total, 0
        self._began_s = time.monotonic()

    def kept(self, trial: Trial, share_done: float) -> None:
        """A trial is in the file."""
        self._done += 1
        left = "" if self._done >= self._total else f", about {self._left(share_done)} left"
        took = format_duration(trial.seconds)
        self._say(f"{self._part}{self._done} of {self._total}: {self._line(trial)} ({took}{left})")

    def __enter__(self) -> SearchConsole:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def _left(self, share_done: float) -> str:
        elapsed_s = time.monotonic() - self._began_s
        return format_duration(elapsed_s * (1 - share_done) / max(share_done, 1e-9))

    def _line(self, trial: Trial) -> str:
        name = self._name(trial.candidate, trial.phi, trial.seed)
        if trial.status != "ok":
            return click.style(f"{name}  {trial.status}: {trial.reason}", fg="red")
        held_out = score_text(trial.held_out, percent=self._percent)
        beside = "" if trial.held_out is None else f", {held_out} of those held out"
        return f"{name}  {score_text(trial.score, percent=self._percent)}{beside}"

    def _name(self, candidate: int, phi: float, seed: int) -> str:
        at = "" if phi == 1 else f" φ {phi:g}"
        return f"{self._names[candidate]}{at} seed {seed}"

    def _say(self, message: str) -> None:
        say(message)


class SearchBar(SearchConsole):
    """A progress bar with an ETA, and the trials that are over above it."""

    def __init__(self, names: Mapping[int, str], *, percent: bool) -> None:
        super().__init__(names, percent=percent)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % · {task.fields[eta]}"),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task: TaskID | None = None

    def stepped(self, progress: TrialProgress, share_done: float) -> None:
        """An epoch is done, or a trial begins."""
        request = progress.request
        name = self._name(request.candidate, request.phi, request.seed)
        text = f"{self._part}{name}"
        text += f", epoch {progress.epochs}/{request.epochs}" if request.epochs else ""
        if self._task is None:
            self._task = self._progress.add_task(text, total=1.0, eta="")
        eta = f"about {self._left(share_done)} left" if share_done > 0 else "begun"
        self._progress.update(self._task, completed=share_done, description=text, eta=eta)
        self._progress.refresh()

    def __enter__(self) -> SearchBar:
        super().__enter__()
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def _say(self, message: str) -> None:
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)

"""What a person sees while a check goes on: a plain line for each step, and never one beside a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scaleprof.app.comparing_arms import CheckWatcher
from scaleprof.cli.options import say
from scaleprof.records import CheckedTarget, CheckPair
from scaleprof.reporting.checks_words import percent
from scaleprof.stats.compare import Judged
from scaleprof.units import format_duration, plural


class ConsoleCheckWatcher(CheckWatcher):
    """Plain lines on stderr: what is prepared, each pair's end, and what went wrong."""

    def preparing(self, what: str) -> None:
        """Say what takes its time now."""
        say(f"{what} …")

    def counted(self, targets: Sequence[CheckedTarget]) -> None:
        """Say how many targets have counts in both arms."""
        both = sum(one.before is not None and one.after is not None for one in targets)
        say(f"{both} of {plural(len(targets), 'target', 'targets')} counted in both")

    def pair_ended(
        self, pair: CheckPair, judged: Mapping[str, Judged], elapsed_s: float, most_left_s: float
    ) -> None:
        """Say how far it is, and what the open targets look like."""
        found = ", ".join(
            f"{name} {percent(one.effect.change)} {'open' if one.open else one.verdict}"
            for name, one in judged.items()
            if one.effect is not None
        )
        left = f"; at most {format_duration(most_left_s)} left" if most_left_s > 0 else ""
        say(f"pair {pair.pair} after {format_duration(elapsed_s)}{left}" + (f": {found}" if found else ""))

    def noted(self, words: str) -> None:
        """Say it."""
        say(words)

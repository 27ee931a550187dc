"""Two revisions side by side: worktree, exact costs, pairs of processes until every target is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from scaleprof.records import CheckedTarget, CheckLog, CheckPair, CheckTarget
from scaleprof.stats.compare import Judged
from scaleprof.stats.effects import ROUNDS, TAU_0


class ArmsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare, and how long at most.

    Args:
        folder: where the person is: in the repository; arms run at the same place of their revisions.
        revision: what the working tree is compared with; None compares it with itself, the self-test.
        targets: what is checked, each name once; all of one device and number of threads.
        limits: (pattern of target names, metric, limit as a share); of those that match, the last counts.
        tau_0: what fresh pairs of processes differ by, on logarithms.
        seed: of weights, of the order of visits and of the padding.
        rounds: of each target in each pair; 10 at least.
        max_time_s: no further pair is begun that would end later than this.
        timeout_s: longest time that building or one visit of a target may take, compiling aside.
        exact_only: count, and time nothing.
        all_looks: measure every target until the last look, whatever was decided before (for a self-test).
        command, budgets, accepted, fail_on: go into the log's header as they are.
    """

    folder: Path
    revision: str | None
    targets: tuple[CheckTarget, ...]
    limits: tuple[tuple[str, str, float], ...] = ()
    tau_0: float = TAU_0
    seed: int = 0
    rounds: int = ROUNDS
    max_time_s: float | None = 600.0
    timeout_s: float = 600.0
    exact_only: bool = False
    all_looks: bool = False
    command: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    accepted: tuple[tuple[str, str, str, str], ...] = ()
    fail_on: tuple[str, ...] = ()


class CheckWatcher:
    """Told how a check goes on; does nothing by itself. Called between visits, never beside one."""

    def preparing(self, what: str) -> None:
        """This is being done now, in words: `worktree of HEAD~1 (1a2b3c4)`, `counting HEAD~1 (1a2b3c4)`."""

    def counted(self, targets: Sequence[CheckedTarget]) -> None:
        """Exact costs are there, before anything is timed."""

    def pair_began(self, pair: int, of_at_most: int, targets: Sequence[str]) -> None:
        """Pair `pair` (from 1) of `of_at_most` begins, for the targets that are open."""

    def round_ended(self, pair: int, done: int, rounds: int) -> None:
        """So many rounds of the pair are behind; called once with 0 when all targets are warm."""

    def pair_ended(
        self, pair: CheckPair, judged: Mapping[str, Judged], elapsed_s: float, most_left_s: float
    ) -> None:
        """A pair is behind: what its targets are found to be by now, and how long the rest takes at most."""

    def noted(self, words: str) -> None:
        """Something that went wrong or is worth knowing, such as a worker that was killed."""


def compare_revisions(request: ArmsRequest, watcher: CheckWatcher | None = None) -> CheckLog:
    """The log of a whole check: exact costs of both arms, and rounds of pairs until all targets are decided.

    A target that one arm lacks, cannot build or cannot run is in the log as `invalid`. Where that arm has no
    such model or function at all, it is `absent`; a log in which every target is that has no pairs.
    No worktree and no process is left, however this ends.

    Raises:
        UsageError: `folder` is in no git repository, or there is no such revision.
        MeasuringError: an arm does not start or cannot be had, or every target is invalid; the message names
            the revision and the reason.
        KeyboardInterrupt: nothing is kept.
    """
    raise NotImplementedError(request, watcher)

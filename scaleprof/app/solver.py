"""The search of `solve`: what is proposed is measured beside the answers so far, until nothing is nearer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count

import msgspec

from scaleprof.app.counting import count_specs
from scaleprof.app.ledger import Ledger, Watcher
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.solve_plan import MAX_ITERATIONS, SolvePlan
from scaleprof.app.sweeping import measure
from scaleprof.app.tracks import Rows, Track
from scaleprof.errors import MeasuringError, UsageError
from scaleprof.records import MEASURED_STATUSES, ModelSpec, Phi, Record, RunLog
from scaleprof.reporting.recommending import why_unknown
from scaleprof.reporting.rows import MeasuredRow, measured_rows
from scaleprof.reporting.solutions import SolvedRow, SolveStop, standing_of
from scaleprof.scaling.solving import Ended, Try
from scaleprof.scaling.sweep import merge

_WORDS: dict[SolveStop, str] = {
    "within_3_percent": "it is within 3 % of the tightest budget",
    "no_network_between": "no network lies between it and the next one, which misses",
    "largest_network": "no larger network can be had",
    "out_of_reach": "no smaller network can be had",
    "iterations": f"{MAX_ITERATIONS} iterations came no nearer",
    "out_of_time": "the time of --max-time was over",
}

# Opens what watches a part of the work, which it is told in words.
Watch = Callable[[str, SweepPlan], AbstractContextManager[Watcher]]


@dataclass
class Solver:
    """Follows all tracks, part by part: the starting curve, iterations, and the answers once more."""

    planned: SolvePlan
    open_ledger: Callable[[SweepPlan, Watcher], Ledger]
    watch: Watch
    _ledger: Ledger | None = None
    _last: frozenset[tuple[object, ...]] = frozenset()
    _spent_s: float = 0.0
    _rows: Rows = field(default_factory=dict)

    def run(self) -> list[SolvedRow]:
        """Measure until every track has ended; what each came to."""
        planned = self.planned
        if planned.start is not None:
            self._measure("starting curve", planned.start)
        elif planned.given is not None:
            self._see(RunLog(planned.given.header, planned.given.records))
        self._check_known()
        for number in count(1):
            if self._is_settled(number):
                return self._close(None)
            if (limit := self._limit(number)) is not None:
                return self._close(limit)
            self._iterate(number)
        raise AssertionError("counting does not end")

    def log(self) -> RunLog:
        """Everything that was measured."""
        if self._ledger is None:
            raise MeasuringError("nothing was measured")
        return self._ledger.log()

    def _is_settled(self, number: int) -> bool:
        """Whether every track has ended, and all answers were measured together, after the starting curve."""
        trying = any(isinstance(track.outcome, Try) for track in self.planned.tracks)
        return number > 1 and not trying and self._is_fresh()

    def _limit(self, number: int) -> SolveStop | None:
        """Why no further iteration may begin, if so."""
        if self._left_s() == 0:
            return "out_of_time"
        return "iterations" if number > MAX_ITERATIONS else None

    def _is_fresh(self) -> bool:
        """Whether all answers were measured together, in the last part."""
        specs = [spec for track in self.planned.tracks if (spec := self._answer(track)) is not None]
        return all(spec.identity in self._last for spec in specs)

    def _answer(self, track: Track) -> ModelSpec | None:
        phi = track.answer()
        return None if phi is None else track.at(phi)

    def _iterate(self, number: int) -> None:
        """Measure what is proposed beside the answers so far and the bases."""
        proposed = [(track, spec) for track in self.planned.tracks if (spec := track.propose()) is not None]
        several = len(self.planned.choice.models) > 1
        names = [
            f"{f'{track.model.name} ' if several else ''}{track.strategy} φ {spec.phi:.10g}"
            for track, spec in proposed
        ]
        what = ", ".join(names) or "the answers once more"
        self._measure_specs(f"iteration {number}: {what}", [spec for _, spec in proposed])

    def _close(self, limit: SolveStop | None) -> list[SolvedRow]:
        """The answers, measured once more if that was not together and there is time."""
        phis = [track.answer() for track in self.planned.tracks]
        if limit != "out_of_time" and not self._is_fresh():
            self._measure_specs("the answers once more, together", [])
        return [self._solved(track, phi, limit) for track, phi in zip(self.planned.tracks, phis, strict=True)]

    def _measure_specs(self, words: str, proposed: Sequence[ModelSpec]) -> None:
        """Measure these, each track's answer so far, and the bases."""
        planned = self.planned
        answers = [spec for track in planned.tracks if (spec := self._answer(track)) is not None]
        bases = [track.specs[0] for track in planned.tracks]
        counted = list(count_specs(planned.choice, merge([*bases, *answers, *proposed]), planned.costs))
        part = plan_sweep(
            planned.choice,
            counted=counted,
            plan=msgspec.structs.replace(planned.plan, max_time_s=self._left_s()),
            known=self._records(),
            seed=planned.seed,
            allocator=planned.allocator,
            **msgspec.structs.asdict(planned.workload),
        )
        self._measure(words, part)

    def _measure(self, words: str, part: SweepPlan) -> None:
        began_s = time.monotonic()
        with self.watch(words, part) as watcher:
            if self._ledger is None:
                self._ledger = self.open_ledger(part, watcher)
            else:
                self._ledger.go_on(part, watcher)
            measure(self._ledger, {})
        self._last = frozenset(job.spec.identity for job in part.jobs)
        self._see(self.log(), self._last)
        compiled_s = sum(
            launch.compiled.seconds
            for record in self.log().records
            if record.spec.identity in self._last
            for launch in record.launches
            if launch.compiled is not None
        )
        self._spent_s += max(0.0, time.monotonic() - began_s - compiled_s)

    def _see(self, log: RunLog, measured: frozenset[tuple[object, ...]] | None = None) -> None:
        """Tell the tracks of what was measured together: all of a run, or these networks of it."""
        rows = measured_rows(log)
        self._rows = {record.spec.identity: row for record, row in zip(log.records, rows, strict=True)}
        part = {key: row for key, row in self._rows.items() if measured is None or key in measured}
        for track in self.planned.tracks:
            track.see(part, self.planned.budgets)

    def _records(self) -> tuple[Record, ...]:
        if self._ledger is not None:
            return self._ledger.log().records
        return self.planned.given.records if self.planned.given is not None else ()

    def _left_s(self) -> float | None:
        """Seconds that may still be measured; None without a limit."""
        limit_s = self.planned.plan.max_time_s
        return None if limit_s is None else max(0.0, limit_s - self._spent_s)

    def _check_known(self) -> None:
        """A budget on what no model here has leads nowhere; where none ran, a smaller one may."""
        rows = [row for row in self._rows.values() if row.status in MEASURED_STATUSES]
        for budget in self.planned.budgets:
            reason = why_unknown(rows, budget.metric)
            if rows and reason is not None:
                raise UsageError(
                    f"budget '{budget}': no model here has {budget.metric} ({reason}): leave it out"
                )

    def _solved(self, track: Track, phi: Phi | None, limit: SolveStop | None) -> SolvedRow:
        row = track.row(phi, self._rows)
        if row is None:
            raise MeasuringError(f"nothing of {track.model.name}/{track.strategy} was measured")
        stop, reason = _why_ended(track, row, limit, is_held=phi == track.answer())
        return SolvedRow(
            strategy=track.strategy,
            model=track.model.name,
            phi=phi,
            budgets=self.planned.budgets,
            standing=None if phi is None else standing_of(row, self.planned.budgets),
            stop=stop,
            stop_reason=reason,
            iterations=track.tried,
            row=row,
        )


def _why_ended(
    track: Track, row: MeasuredRow, limit: SolveStop | None, *, is_held: bool
) -> tuple[SolveStop, str]:
    """Why a track's search ended, as a name and in words.

    `is_held`: whether the answer is still the best when all were measured once more.
    """
    if track.failure is not None:
        return "failed", track.failure
    if isinstance(track.outcome, Ended) and is_held:
        return track.outcome.stop, _WORDS[track.outcome.stop]
    if track.outcome is not None and limit is not None:
        return limit, _WORDS[limit]
    return "failed", f"{row.spec_id} {row.status}: {row.reason}"

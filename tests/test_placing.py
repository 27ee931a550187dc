"""How sure a model's place on the front is."""

from __future__ import annotations

import msgspec
from builders import family_log, make_launch, make_log, make_record, make_spec

import scaleprof as sp
from scaleprof.records import Launch, Record
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.placing import places
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.view import view_runs
from scaleprof.stats.intervals import Estimate, Interval

X, Y = METRICS["latency_ms"], METRICS["macs"]


def at_odds(record: Record, factors: tuple[float, ...]) -> Record:
    """The record with launches that took so many times as long."""

    def launch(n: int, factor: float) -> Launch:
        return make_launch(0.01 * factor, launch=n)

    return msgspec.structs.replace(record, launches=tuple(launch(n, f) for n, f in enumerate(factors)))


def two_rows() -> list[MeasuredRow]:
    """Two models of the same MACs whose latencies' intervals overlap; the second is slower by 5 %."""
    first = at_odds(make_record(make_spec("width", 1, channels=1)), (0.9, 1.0, 1.1))
    second = at_odds(make_record(make_spec("depth", 1, channels=2)), (0.945, 1.05, 1.155))
    return sp.Run(make_log(first, second)).rows


def test_models_that_intervals_cannot_tell_apart_are_decided_by_their_ratio() -> None:
    rows = two_rows()
    names = [row.spec_id for row in rows]
    apart = places(rows, X, Y, lambda _a, _b: None)
    assert [apart[name] for name in names] == ["likely", "undecided"]

    def in_rounds(row: MeasuredRow, other: MeasuredRow) -> Estimate:
        ratio = Estimate(1.05, Interval(1.04, 1.06))
        return ratio if row.strategy == "depth" else ratio.inverse()

    together = places(rows, X, Y, in_rounds)
    assert [together[name] for name in names] == ["certain", "dominated"]


def test_other_costs_than_latency_ask_for_no_ratio() -> None:
    def never(_row: MeasuredRow, _other: MeasuredRow) -> Estimate | None:
        raise AssertionError("no ratio is needed here")

    found = places(two_rows(), METRICS["peak_memory_bytes"], Y, never)
    assert set(found.values()) == {"certain"}  # the same bytes and the same MACs: a tie stays


def test_a_page_says_which_members_are_not_certain_and_which_models_are_undecided() -> None:
    (view,) = view_runs([family_log()])
    assert view.first is not None
    assert view.first.likely == view.first.undecided == ()
    assert "Undecided" not in view.first.words

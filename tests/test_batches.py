"""`--batch-size max`: which batches are tried, which are measured, and what a row says of the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from builders import make_log, make_record
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.app.batching import find_batches
from scaleprof.app.choosing import choose
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.sweeping import plan_with_batches
from scaleprof.errors import UsageError
from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import BenchLostError, JobFailedError
from scaleprof.records import BatchSearch, BatchTrial
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.rows import measured_row
from scaleprof.stats.batches import best_batch, search_batches


def capacity(most: int, tried: list[int] | None = None) -> Callable[[int], BatchTrial]:
    """A device that holds batches of up to `most`."""

    def attempt(size: int) -> BatchTrial:
        if tried is not None:
            tried.append(size)
        return BatchTrial(size, 100.0) if size <= most else BatchTrial(size, None, "oom")

    return attempt


def searched(*rates: tuple[int, float]) -> BatchSearch:
    return BatchSearch(tuple(BatchTrial(size, rate) for size, rate in rates))


def test_where_memory_may_not_be_tried_out_batches_double_up_to_the_forecast() -> None:
    tried: list[int] = []
    found = search_batches(capacity(10**9, tried), limit=20, beyond=False)
    assert tried == [1, 2, 4, 8, 16, 20]
    assert (found.largest, found.limit) == (20, 20)


def test_where_throughput_falls_only_the_limit_is_tried_after_that() -> None:
    tried: list[int] = []

    def attempt(size: int) -> BatchTrial:
        tried.append(size)
        return BatchTrial(size, {1: 8.0, 2: 10.0, 4: 8.5, 8: 7.0}.get(size, 3.0))

    found = search_batches(attempt, limit=100, beyond=False)
    assert tried == [1, 2, 4, 8, 100]
    assert (found.largest, best_batch(found)) == (100, 2)


def test_a_forecast_that_was_too_high_is_put_right_by_trial() -> None:
    found = search_batches(capacity(13), limit=64, beyond=False)
    assert (found.largest, found.limit) == (13, None)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_past_the_forecast_the_largest_batch_is_found_to_a_sixteenth(most: int, limit: int) -> None:
    found = search_batches(capacity(most), limit=limit, beyond=True)
    assert found.largest <= most <= found.largest + max(1, found.largest // 16)


def test_where_not_even_one_sample_runs_nothing_is_found() -> None:
    with pytest.raises(ValueError, match="no batch ran"):
        search_batches(capacity(0), limit=8, beyond=True)


def test_the_best_batch_is_the_smallest_that_others_are_not_worth_more_than() -> None:
    assert best_batch(searched((1, 50.0), (2, 80.0), (4, 98.0), (8, 100.0), (16, 99.0))) == 4
    assert best_batch(searched((1, 50.0), (2, 80.0), (4, 96.0), (8, 100.0))) == 8


class Bench:
    """Runs batches of up to 8 in 10 ms a sample and 10 ms a pass; larger ones take it down."""

    def __init__(self) -> None:
        self.opened = 0
        self.tried: list[tuple[str, int]] = []

    @contextmanager
    def open(self, _threads: int) -> Iterator[Bench]:
        self.opened += 1
        yield self

    def try_out(self, job: Job) -> float:
        size = job.workload.batch_size
        self.tried.append((job.spec.spec_id, size))
        if job.spec.strategy == "width":
            raise JobFailedError("failed", "it always does")
        if size > 8:
            raise BenchLostError("killed", "the worker was ended by SIGKILL")
        return 0.01 + 0.01 * size


def base_plan(phi: str = "0") -> SweepPlan:
    return plan_sweep(choose("mobilenet_v1", "width", phi), device="cpu", threads=1)


def test_each_network_is_searched_once_in_one_worker_and_a_new_one_after_a_loss() -> None:
    bench = Bench()
    (found,) = find_batches(base_plan(), open_bench=bench.open)
    assert [size for _, size in bench.tried][:5] == [1, 2, 4, 8, 16]
    assert found.found.largest == 8
    assert bench.opened == 1 + sum(size > 8 for _, size in bench.tried[:-1])
    # 8 samples in 90 ms are 89 a second, 4 in 50 ms are 80: more than 3 % less.
    assert found.sizes == [8]


def test_a_network_of_which_nothing_runs_has_no_search_and_the_others_go_on() -> None:
    bench = Bench()
    found = find_batches(base_plan("0..1"), open_bench=bench.open)
    assert [one.network[0] for one in found] == ["mobilenet_v1"]
    assert len(found) == 1


def test_what_a_resumed_run_found_is_not_searched_again() -> None:
    planned = base_plan()
    job = planned.jobs[0]
    record = make_record(job.spec, workload=msgspec.structs.replace(job.workload, batch_size=4))
    known = msgspec.structs.replace(record, batch_search=searched((1, 5.0), (4, 20.0)))
    bench = Bench()
    (found,) = find_batches(planned, known=[known], open_bench=bench.open)
    assert bench.opened == 0
    assert found.sizes == [4]


def test_the_best_and_the_largest_batch_are_measured_whatever_the_forecast_says() -> None:
    planned = base_plan()
    bench = Bench()
    found = [
        msgspec.structs.replace(one, found=searched((1, 50.0), (4, 99.0), (10**6, 100.0)))
        for one in find_batches(planned, open_bench=bench.open)
    ]
    choice = choose("mobilenet_v1", "width", "0")
    after = plan_sweep(choice, device="cpu", threads=1, batch_size=(), searched=found)
    assert [job.workload.batch_size for job in after.jobs] == [4, 10**6]
    assert not after.unfit
    beside = plan_sweep(choice, device="cpu", threads=1, batch_size=(1, 4), searched=found)
    assert [job.workload.batch_size for job in beside.jobs] == [1, 4, 10**6]


def test_a_batch_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="--batch-size most is not a whole number above zero, nor max"):
        plan_with_batches(choose("mobilenet_v1", "width", "0"), batch_size="most", device="cpu")


def test_a_row_says_what_the_search_found_or_that_there_was_none() -> None:
    record = make_record()
    found = msgspec.structs.replace(record, batch_search=searched((1, 50.0), (64, 99.0), (128, 100.0)))
    comparer = RunComparer(make_log(record))
    row = measured_row(found, comparer)
    assert (row.largest_batch_size, row.best_batch_size) == (128, 64)
    assert measured_row(record, comparer).nulls["best_batch_size"] == (
        "batches were not searched (--batch-size max)"
    )

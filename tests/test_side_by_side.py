"""Several workloads in one run: ratios in the same rounds, sentences, and what was found of batches."""

from __future__ import annotations

import msgspec
from builders import family_log, make_log, make_record

import scaleprof as sp
from scaleprof.records import BatchSearch, BatchTrial, Launch, Record, RunLog, Runtime, Sustained
from scaleprof.reporting.batches import batch_lines
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.side_by_side import set_side_by_side
from scaleprof.reporting.view import view_runs


def slowed(launch: Launch, factor: float) -> Launch:
    visits = tuple(
        msgspec.structs.replace(visit, samples_s=tuple(factor * s for s in visit.samples_s))
        for visit in launch.visits
    )
    return msgspec.structs.replace(launch, visits=visits)


def under(record: Record, runtime: Runtime, factor: float) -> Record:
    return msgspec.structs.replace(
        record,
        workload=msgspec.structs.replace(record.workload, runtime=runtime),
        launches=tuple(slowed(launch, factor) for launch in record.launches),
    )


def runtimes_log(**factors: float) -> RunLog:
    """A family under eager, and under further runtimes that take so many times as long."""
    log = family_log()
    more = [under(record, name, f) for name, f in factors.items() for record in log.records]  # type: ignore[arg-type]
    return msgspec.structs.replace(log, records=(*log.records, *more))


def test_each_model_is_compared_with_the_first_workload_in_the_rounds_that_both_are_in() -> None:
    log = runtimes_log(compile=0.5, openvino=1.5)
    beside = set_side_by_side(log, RunComparer(log), key="side1")
    assert beside is not None
    assert beside.columns == ("eager", "compile", "openvino")
    assert len(beside.lines) == 7
    for line in beside.lines:
        eager, compiled, openvino = line.cells
        assert eager is not None
        assert eager.ratio is None
        assert compiled is not None
        assert compiled.ratio is not None
        assert round(compiled.ratio.value, 6) == 0.5
        assert compiled.row.ratio_to_eager == 0.5
        assert openvino is not None
        assert openvino.row.ratio_to_eager == 1.5
    assert beside.sentences == (
        "compile takes 0.500 times as long as eager (median of 7 models, 0.500 to 0.500): faster for 7, "
        "slower for 0, undecided for 0 (95 %, in the same rounds).",
        "openvino takes 1.50 times as long as eager (median of 7 models, 1.50 to 1.50): faster for 0, slower "
        "for 7, undecided for 0 (95 %, in the same rounds).",
    )


def test_a_model_that_a_runtime_cannot_take_is_told_with_its_reason() -> None:
    log = runtimes_log(openvino=1.5)
    lost = msgspec.structs.replace(
        log.records[-1], status="unsupported", reason="no such operator", launches=()
    )
    log = msgspec.structs.replace(log, records=(*log.records[:-1], lost))
    beside = set_side_by_side(log, RunComparer(log), key="side1")
    assert beside is not None
    assert beside.sentences[-1] == "openvino: 1 model not measured (unsupported: no such operator)."


def test_one_workload_is_not_set_beside_itself() -> None:
    log = family_log()
    assert set_side_by_side(log, RunComparer(log), key="side1") is None
    assert [view.side_by_side for view in view_runs([log])] == [None]


def test_only_the_first_view_of_a_run_sets_its_workloads_side_by_side() -> None:
    views = view_runs([runtimes_log(compile=0.5), runtimes_log(compile=0.6)])
    assert [view.side_by_side is not None for view in views] == [True, False, True, False]
    assert [view.side_by_side.key for view in views if view.side_by_side] == ["side1", "side2"]


def test_eager_has_no_ratio_to_itself_and_other_runtimes_need_eager_beside_them() -> None:
    (eager,) = sp.Run(make_log()).rows
    assert eager.nulls["ratio_to_eager"] == "this is eager"
    (alone,) = sp.Run(make_log(under(make_record(), "compile", 0.5))).rows
    assert alone.nulls["ratio_to_eager"] == "eager was not measured in the same rounds (--runtime eager,…)"


def searched_log() -> RunLog:
    search = BatchSearch((BatchTrial(1, 20.0), BatchTrial(4, 99.0), BatchTrial(6, 100.0)), limit=6)
    ran = Sustained(1, (0.04,) * 6, energy_missing="none")

    def at(size: int) -> Record:
        record = make_record()
        launches = tuple(msgspec.structs.replace(launch, sustained=ran) for launch in record.launches)
        workload = msgspec.structs.replace(record.workload, batch_size=size)
        return msgspec.structs.replace(record, workload=workload, launches=launches, batch_search=search)

    return make_log(at(4), at(6))


def test_what_was_found_of_batches_is_one_line_a_model_with_measured_throughputs() -> None:
    (line,) = batch_lines(searched_log())
    assert (line.best, line.largest, line.trials) == (4, 6, ((1, 20.0), (4, 99.0), (6, 100.0)))
    assert line.sentence == (
        "efficientnet_b0/compound/1: best throughput at batch 4, 100 [100–100] samples/s; "
        "largest that fits 6 (by the forecast of memory)"
    )
    views = view_runs([searched_log()])
    assert [len(view.batches) for view in views] == [1, 0]
    assert [view.side_by_side for view in views] == [None, None]

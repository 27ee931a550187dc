"""Several runs against the first: independent ratios, pairing, verdicts, and what is said of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from builders import (
    CPU,
    HOST,
    family_log,
    make_cost,
    make_header,
    make_launch,
    make_log,
    make_record,
    make_spec,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from scaleprof.records import Host, Launch, Record, RunLog, Status, Sustained, Visit, Workload
from scaleprof.reporting.compared import LIMIT, Cell
from scaleprof.reporting.comparison import MOST_DRAWN, Comparison, Part, compare_runs
from scaleprof.reporting.pairing import pair_workloads
from scaleprof.stats.independent import (
    PROCESS_SD_RELATIVE,
    latency_ratio,
    quotient,
    ratio_over_launches,
)
from scaleprof.stats.intervals import Estimate, Interval

GPU_HOST = msgspec.structs.replace(HOST, gpu_name="Test GPU", gpu_driver="550.54")
GPU = Workload("cuda", batch_size=1, threads=2)

POSITIVE = st.floats(1e-3, 1e3)
ROUNDS = st.lists(st.lists(POSITIVE, min_size=1, max_size=8), min_size=1, max_size=4)


# ---- logs of two runs ----


def noisy_launch(
    dice: random.Random, latency_s: float, number: int, *, day: float, sd: float, rounds: int = 8
) -> Launch:
    """A launch whose rounds and process differ by `sd`, on a machine that is `day` times as slow as usual."""
    process = math.exp(dice.gauss(0, sd))
    visits = []
    for n in range(rounds):
        spell = day * math.exp(dice.gauss(0, 0.2))  # hits the model and the reference alike
        seconds = latency_s * process * spell * math.exp(dice.gauss(0, sd))
        visits.append(Visit(n, (seconds,) * 3, (0.001 * spell,) * 4, (0.0005 * spell,) * 4))
    return msgspec.structs.replace(make_launch(launch=number), visits=tuple(visits))


def noisy(
    log: RunLog,
    *,
    seed: int,
    factor: float = 1.0,
    day: float = 1.0,
    sd: float = 0.01,
    launches: int = 5,
    workload: Workload = CPU,
    host: Host = HOST,
    **header: object,
) -> RunLog:
    """The models of a log, taking `factor` times as long, measured anew on some day."""
    dice = random.Random(seed)
    records = []
    for record in log.records:
        latency_s = factor * record.launches[0].visits[0].samples_s[0] if record.launches else 0.01
        measured = [noisy_launch(dice, latency_s, n, day=day, sd=sd) for n in range(launches)]
        records.append(msgspec.structs.replace(record, workload=workload, launches=tuple(measured)))
    return RunLog(make_header(host=host, **header), tuple(records))


def compared(*logs: RunLog, names: Sequence[str] = ("A", "B", "C")) -> Comparison:
    found = compare_runs(logs, names[: len(logs)])
    assert found is not None
    return found


def only_part(*logs: RunLog) -> Part:
    (part,) = compared(*logs).parts
    return part


def cells_of(part: Part, place: int = 1) -> dict[str, Cell]:
    return {line.name: line.cells[place] for line in part.lines}


def change(log: RunLog, place: int, **fields: Any) -> RunLog:
    """The log with other fields in one of its records."""
    records = list(log.records)
    records[place] = msgspec.structs.replace(records[place], **fields)
    return msgspec.structs.replace(log, records=tuple(records))


def another_day(log: RunLog) -> RunLog:
    """The same numbers in another run."""
    return msgspec.structs.replace(log, header=make_header(started_at="2026-02-01T00:00:00+00:00"))


def failing(log: RunLog, place: int, status: Status, reason: str) -> RunLog:
    return change(log, place, status=status, reason=reason, launches=(), stop=None)


# ---- the ratio of independent estimates ----


def close(a: Interval | None, b: Interval | None) -> bool:
    if a is None or b is None:
        return a is b
    return all(math.isclose(x, y, rel_tol=1e-9) for x, y in zip(a, b, strict=True))


@given(a=ROUNDS, b=ROUNDS)
def test_swapping_two_runs_mirrors_their_ratio(a: list[list[float]], b: list[list[float]]) -> None:
    there = ratio_over_launches(a, b, process_sd=0.03)
    back = ratio_over_launches(b, a, process_sd=0.03).inverse()
    assert there.value == pytest.approx(back.value)
    assert close(there.interval, back.interval)


@given(a=ROUNDS, b=ROUNDS, factor=st.floats(0.01, 100))
def test_a_constant_factor_on_both_runs_changes_nothing(
    a: list[list[float]], b: list[list[float]], factor: float
) -> None:
    plain = ratio_over_launches(a, b)
    scaled = ratio_over_launches(*([[factor * x for x in launch] for launch in side] for side in (a, b)))
    assert scaled.value == pytest.approx(plain.value)
    assert close(plain.interval, scaled.interval)


@given(a=ROUNDS, b=ROUNDS)
def test_a_ratio_lies_inside_its_interval(a: list[list[float]], b: list[list[float]]) -> None:
    for found in (ratio_over_launches(a, b), ratio_over_launches(a, b, process_sd=0.03)):
        if found.interval is not None:
            assert found.interval.low <= found.value <= found.interval.high


Draw = Callable[[random.Random], list[float]]


def independent_rounds(dice: random.Random) -> list[float]:
    return [math.exp(dice.gauss(0, 0.05)) for _ in range(12)]


def rounds_that_hang_together(dice: random.Random) -> list[float]:
    logs = [dice.gauss(0, 0.05)]
    for _ in range(11):
        logs.append(0.7 * logs[-1] + dice.gauss(0, 0.05 * math.sqrt(1 - 0.49)))
    return [math.exp(log) for log in logs]


def launches_that_differ(dice: random.Random) -> list[float]:
    process = dice.gauss(0, 0.05)
    return [math.exp(process + dice.gauss(0, 0.05)) for _ in range(12)]


@pytest.mark.parametrize(("launches_a", "launches_b"), [(3, 3), (3, 5), (5, 5), (3, 10)])
@pytest.mark.parametrize(
    ("draw_a", "draw_b"),
    [
        (independent_rounds, independent_rounds),
        (rounds_that_hang_together, rounds_that_hang_together),
        (launches_that_differ, launches_that_differ),
        (independent_rounds, launches_that_differ),
    ],
)
def test_the_interval_of_a_ratio_of_runs_covers_the_truth_as_often_as_it_says(
    draw_a: Draw, draw_b: Draw, launches_a: int, launches_b: int
) -> None:
    dice = random.Random(11)
    truth, trials = 0.62, 600
    covered = 0
    for _ in range(trials):
        a = [[truth * value for value in draw_a(dice)] for _ in range(launches_a)]
        b = [draw_b(dice) for _ in range(launches_b)]
        interval = ratio_over_launches(a, b).interval
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    # 93 % at the least; of 600 trials two standard errors are 2 %, and nothing is gained by covering all.
    assert 0.93 * trials - 12 <= covered <= 0.99 * trials


def test_welchs_interval_is_that_of_its_formula_where_launches_differ_most() -> None:
    """Against numbers of scipy.stats.ttest_ind(equal_var=False).confidence_interval()."""
    a, b = [1.0, 1.3, 1.9, 2.4], [3.1, 3.9, 5.2]
    found = ratio_over_launches([[x] * 3 for x in a], [[x] * 3 for x in b])
    logs = [[math.log(x) for x in side] for side in (a, b)]
    wanted = ttest_ind(*logs, equal_var=False).confidence_interval(0.95)
    assert found.interval is not None
    low, high = (math.log(end) for end in found.interval)
    assert high - low == pytest.approx(wanted.high - wanted.low)


def test_runs_of_one_launch_are_as_uncertain_as_processes_differ() -> None:
    steady = [[1.0] * 12]
    found = ratio_over_launches(steady, steady, process_sd=0.03)
    assert found.interval is not None
    assert math.log(found.interval.high) == pytest.approx(1.959964 * 0.03 * math.sqrt(2), rel=1e-6)
    dice = random.Random(3)
    covered = 0
    for _ in range(400):
        a, b = (
            [[math.exp(shift + dice.gauss(0, 0.01)) for _ in range(10)]]
            for shift in (dice.gauss(0, 0.03), dice.gauss(0, 0.03))
        )
        interval = ratio_over_launches(a, b, process_sd=0.03).interval
        assert interval is not None
        covered += interval.low <= 1 <= interval.high
    assert covered >= 0.93 * 400


def test_the_distances_of_independent_estimates_add_up_as_squares() -> None:
    a, b = (
        Estimate(1.0, Interval(math.exp(-3), math.exp(6))),
        Estimate(1.0, Interval(math.exp(-8), math.exp(4))),
    )
    found = quotient(a, b).interval
    assert found is not None
    assert [math.log(end) for end in found] == pytest.approx([-5, 10])
    assert quotient(a, Estimate(2.0, None)) == Estimate(0.5, None)


def test_a_few_rounds_of_one_launch_have_a_ratio_without_an_interval() -> None:
    assert ratio_over_launches([[1.0, 1.1]], [[2.0, 2.2]]).interval is None


def test_drift_between_days_drops_out_of_ratios_by_the_reference_and_not_of_milliseconds() -> None:
    dice = random.Random(1)
    then, now = ([noisy_launch(dice, 0.01, n, day=day, sd=0.01) for n in range(5)] for day in (1.0, 1.5))
    by_reference, in_ms = (latency_ratio(now, then, by_reference=flag) for flag in (True, False))
    assert by_reference is not None
    assert by_reference.interval is not None
    assert by_reference.interval.low < 1 < by_reference.interval.high < 1.1
    assert in_ms is not None
    assert in_ms.value == pytest.approx(1.5, rel=0.2)
    assert latency_ratio(now, [], by_reference=True) is None


# ---- which belong together ----


def test_one_run_is_compared_with_nothing() -> None:
    assert compare_runs([family_log()], ["A"]) is None


def test_two_runs_of_one_workload_each_are_paired_whatever_differs() -> None:
    for other in (GPU, Workload("cpu", batch_size=8, threads=4, dtype="bf16", runtime="compile")):
        assert pair_workloads([CPU], [other]) == {CPU: other}


def test_of_several_workloads_those_are_paired_that_are_equal_in_all_but_what_each_run_has_one_of() -> None:
    def batches(device: str, *sizes: int) -> list[Workload]:
        return [Workload(device, batch_size=size) for size in sizes]

    one, eight, thirty = batches("cpu", 1, 8, 32)
    assert pair_workloads([one, eight, thirty], batches("cuda", 32, 64, 1)) == {
        one: Workload("cuda", batch_size=1),
        thirty: Workload("cuda", batch_size=32),
    }
    compiled = msgspec.structs.replace(one, runtime="compile")
    assert pair_workloads([one, compiled], [compiled]) == {compiled: compiled}
    assert pair_workloads([one, compiled], [msgspec.structs.replace(one, runtime="openvino")]) == {}


def test_workloads_without_a_counterpart_are_left_out_and_told() -> None:
    log = family_log()
    at_8 = [
        msgspec.structs.replace(r, workload=Workload("cpu", batch_size=8, threads=2)) for r in log.records
    ]
    both = msgspec.structs.replace(log, records=(*log.records, *at_8))
    found = compared(both, noisy(log, seed=1))
    assert [part.title for part in found.parts] == [""]
    assert found.general == ("Not compared, for the other run has no such workload: A: batch 8.",)
    two = compared(both, another_day(both))
    assert two.sentences[0] == "batch 1:"
    assert [part.title for part in two.parts] == ["batch 1", "batch 8"]
    assert two.general == ()


def test_runs_without_a_workload_in_common_say_so_and_are_not_compared() -> None:
    log = family_log()
    eager, compiled, openvino, onnx = (
        [msgspec.structs.replace(r, workload=Workload("cpu", threads=2, runtime=name)) for r in log.records]
        for name in ("eager", "compile", "openvino", "onnxruntime")
    )
    found = compared(make_log(*eager, *compiled), make_log(*openvino, *onnx))
    assert found.parts == ()
    assert "B and A have no workload in common." in found.sentences[0]


def test_models_are_paired_by_their_integers_and_not_by_name_alone() -> None:
    log = make_log(
        make_record(make_spec("width", 1, channels=8)),
        make_record(make_spec("width", 2, channels=16)),
        make_record(make_spec("width", 3, channels=32)),
    )
    other = change(log, 0, spec=make_spec("depth", 9, channels=8))  # the same network by another name
    other = change(other, 1, spec=make_spec("width", 2, channels=17))  # another network by the same name
    other = change(other, 2, cost=make_cost(500_000_000))  # the same integers, built otherwise
    part = only_part(log, other)
    cells = cells_of(part)
    assert cells["efficientnet_b0/width/1 = efficientnet_b0/depth/9"].ratio is not None
    assert [line.cells[1].ratio for line in part.lines[1:]] == [None] * 4
    assert [line.cells[1].missing for line in part.lines[1:]] == [
        *["another network in B, by its integers or its MACs"] * 2,
        *["another network in A, by its integers or its MACs"] * 2,
    ]
    assert "Another network in B, by its integers or its MACs: width/2, width/3." in part.sentences


def test_a_persons_own_network_that_was_edited_is_another_network() -> None:
    def own(digest: str) -> RunLog:
        return make_log(make_record(make_spec("width", 1, model="net.py:build", shape=None, digest=digest)))

    assert [line.cells[1].ratio for line in only_part(own("a"), own("b")).lines] == [None, None]
    assert only_part(own("a"), another_day(own("a"))).lines[0].cells[1].ratio is not None


def test_a_training_step_is_paired_with_a_forward_pass_though_its_macs_differ() -> None:
    log = make_log()
    step = change(log, 0, workload=msgspec.structs.replace(CPU, mode="train"), cost=make_cost(1_200_000_000))
    (line,) = only_part(log, step).lines
    assert line.cells[1].ratio is not None


def test_models_in_one_run_only_and_failed_ones_are_listed_and_never_have_a_ratio() -> None:
    log = family_log()
    here = noisy(log, seed=1)
    there = failing(noisy(log, seed=2), 3, "oom", "no memory")
    there = msgspec.structs.replace(there, records=there.records[1:])
    extra = make_record(make_spec("depth", 5, channels=999))
    there = msgspec.structs.replace(there, records=(*there.records, extra))
    part = only_part(here, there)
    cells = cells_of(part)
    lost = {name: cell.missing for name, cell in cells.items() if cell.ratio is None}
    assert lost == {
        "efficientnet_b0/base/0": "only in A",
        "efficientnet_b0/compound/3": "oom in B",
        "efficientnet_b0/depth/5": "only in B",
    }
    assert "Oom in B: compound/3." in part.sentences
    assert "Only in A: base/0." in part.sentences
    assert {part.lines[n].name for n in part.drawn} == set(cells) - set(lost)


def test_runs_of_different_protocols_are_not_compared() -> None:
    found = compared(family_log(), noisy(family_log(), seed=1, protocol=2))
    assert found.parts == ()
    assert found.sentences == (
        "B was measured by protocol 2, A by protocol 1: measurements of two protocols are not compared.",
    )
    assert found.differing is not None
    assert ("Protocol", "1", "2") in found.differing.rows


def test_a_run_is_not_compared_with_itself() -> None:
    found = compared(family_log(), family_log())
    assert found.parts == ()
    assert found.sentences == ("B and A are one and the same run: there is nothing to compare.",)


# ---- ratios and verdicts ----


@pytest.mark.parametrize(
    ("factor", "verdict", "within"),
    [(0.62, "faster", False), (1.4, "slower", False), (1.0, "undecided", True)],
)
def test_a_known_ratio_on_one_machine_is_found_in_spite_of_another_day(
    factor: float, verdict: str, within: bool
) -> None:
    log = family_log()
    part = only_part(noisy(log, seed=1, sd=0.003), noisy(log, seed=2, sd=0.003, factor=factor, day=1.3))
    cells = list(cells_of(part).values())
    held = [cell.ratio for cell in cells if cell.ratio is not None and cell.ratio.interval is not None]
    assert len(held) == len(cells) == 7
    covering = sum(r.interval.low <= factor <= r.interval.high for r in held if r.interval)
    assert covering >= 6
    assert sum(cell.verdict == verdict for cell in cells) >= 6
    assert sum(cell.within_limits for cell in cells) == (7 if within else 0)
    assert "on one machine" in part.sentences[0]


def test_machines_that_differ_are_compared_in_milliseconds_and_the_difference_is_named() -> None:
    log = family_log()
    gpu = noisy(log, seed=2, factor=0.2, day=3.0, workload=GPU, host=GPU_HOST)
    found = compared(noisy(log, seed=1), gpu)
    (part,) = found.parts
    assert part.sentences[0] == (
        "B and A differ in device, GPU, GPU driver, and so in what the reference network takes: their ratios "
        "are of milliseconds."
    )
    ratio = cells_of(part)["efficientnet_b0/base/0"].ratio
    assert ratio is not None
    assert ratio.value == pytest.approx(0.6, rel=0.25)  # 0.2 on a machine that is thrice as slow
    assert found.differing is not None
    assert ("Device", "cpu", "cuda") in found.differing.rows
    assert ("GPU", "none used", "Test GPU") in found.differing.rows


def test_another_number_of_threads_or_another_torch_makes_the_reference_another_divisor() -> None:
    log = family_log()
    for changed in (
        {"workload": Workload("cpu", threads=1)},
        {"host": msgspec.structs.replace(HOST, torch="2.12.0")},
    ):
        part = only_part(noisy(log, seed=1), noisy(log, seed=2, **changed))
        assert "their ratios are of milliseconds" in part.sentences[0]
    other_dtype = Workload("cpu", threads=2, dtype="bf16", runtime="compile")
    assert "on one machine" in only_part(log, noisy(log, seed=1, workload=other_dtype)).sentences[0]


def test_the_sentence_counts_what_the_intervals_decide() -> None:
    log = family_log()
    part = only_part(noisy(log, seed=1), noisy(log, seed=2, factor=0.5))
    assert part.sentences[1].startswith("B takes 0.")
    assert part.sentences[1].endswith(
        "): faster for 7, slower for 0, undecided for 0 (95 %); within ±3 % for 0."
    )
    assert "times as long as A (median of 7 models, 0." in part.sentences[1]


def test_each_further_run_is_compared_with_the_first() -> None:
    log = family_log()
    part = only_part(noisy(log, seed=1), noisy(log, seed=2, factor=2.0), noisy(log, seed=3, factor=4.0))
    line = part.lines[0]
    assert line.cells[0].ratio is None
    assert [round(cell.ratio.value) for cell in line.cells[1:] if cell.ratio] == [2, 4]
    assert [one.name for one in part.series] == ["A", "B", "C"]
    assert [one.place for one in part.series] == [0, 1, 2]


def test_a_third_run_that_cannot_be_compared_leaves_the_others_as_they_are() -> None:
    log = family_log()
    part = only_part(log, noisy(log, seed=2, protocol=7), noisy(log, seed=3))
    assert [(one.name, one.place) for one in part.series] == [("A", 0), ("C", 2)]


def test_a_ratio_within_three_percent_either_way_is_within_the_limits() -> None:
    def cell(low: float, high: float) -> Cell:
        return Cell(None, Estimate(1.0, Interval(low, high)))

    assert cell(1 / (1 + LIMIT), 1 + LIMIT).within_limits
    assert cell(1.005, 1.02).verdict == "slower"
    assert cell(1.005, 1.02).within_limits
    assert not cell(0.96, 1.01).within_limits
    assert not Cell(None, Estimate(1.0, None)).within_limits
    assert Cell(None, Estimate(0.1, None)).verdict == "undecided"
    assert Cell(None).verdict is None


def test_a_contended_run_is_as_uncertain_as_its_share_of_the_cpus_makes_it() -> None:
    def on_shared_cpus(log: RunLog) -> RunLog:
        def shared(launch: Launch) -> Launch:
            visits = [msgspec.structs.replace(v, cpu_s=0.5, foreign_cpu_s=0.5) for v in launch.visits]
            return msgspec.structs.replace(launch, visits=tuple(visits))

        records = [msgspec.structs.replace(r, launches=tuple(map(shared, r.launches))) for r in log.records]
        return msgspec.structs.replace(log, records=tuple(records))

    log = family_log()
    quiet, busy = noisy(log, seed=1), noisy(log, seed=2, factor=0.8)
    plain, allowed = (
        cells_of(only_part(quiet, other))["efficientnet_b0/base/0"].ratio
        for other in (busy, on_shared_cpus(busy))
    )
    assert plain is not None
    assert plain.interval is not None
    assert allowed is not None
    assert allowed.interval == pytest.approx((plain.interval.low / 2, plain.interval.high * 2))
    part = only_part(quiet, on_shared_cpus(busy))
    assert {cell.verdict for cell in cells_of(part).values()} == {"undecided"}
    assert any(sentence.startswith("For 7 models other processes had part") for sentence in part.sentences)


def test_a_single_launch_is_widened_by_what_processes_differ_by_and_told() -> None:
    log = family_log()
    part = only_part(noisy(log, seed=1, launches=1, sd=1e-6), noisy(log, seed=2, launches=1, sd=1e-6))
    ratio = cells_of(part)["efficientnet_b0/base/0"].ratio
    assert ratio is not None
    assert ratio.interval is not None
    assert math.log(ratio.interval.high) == pytest.approx(1.96 * PROCESS_SD_RELATIVE * math.sqrt(2), rel=0.01)
    assert (
        "Where a model was measured in a single launch, what processes differ by (standard deviation 3 %) is "
        "added to its interval." in part.sentences
    )


def test_memory_ratios_hold_what_the_ranges_allow_and_are_of_one_kind_of_memory() -> None:
    def weighing(low: int, high: int, record: Record) -> Record:
        launches = [
            msgspec.structs.replace(launch, peak_memory_bytes=high, peak_memory_low_bytes=low)
            for launch in record.launches
        ]
        return msgspec.structs.replace(record, launches=tuple(launches))

    light, heavy = make_log(weighing(90, 100, make_record())), make_log(weighing(150, 200, make_record()))
    (line,) = only_part(light, heavy).lines
    assert line.cells[1].memory == Estimate(2.0, Interval(1.5, 200 / 90))
    on_gpu = change(heavy, 0, workload=GPU)
    (line,) = only_part(light, on_gpu).lines
    assert line.cells[1].memory is None
    assert line.cells[1].ratio is not None


def test_throughputs_are_compared_with_their_intervals() -> None:
    def at(pass_s: float) -> RunLog:
        record = make_record()
        ran = Sustained(1, (pass_s,) * 8, energy_missing="none")
        launches = [msgspec.structs.replace(launch, sustained=ran) for launch in record.launches]
        return make_log(msgspec.structs.replace(record, launches=tuple(launches)))

    part = only_part(at(0.01), at(0.005))
    found = part.lines[0].cells[1].throughput
    assert found is not None
    assert found.value == pytest.approx(2)
    assert found.interval == pytest.approx((2, 2))
    assert (
        "Its throughput is 2.00 times and its peak memory is 1.00 times that of A (medians)."
        in part.sentences
    )


def test_other_parameters_at_equal_macs_are_told() -> None:
    log = make_log()
    other = change(log, 0, cost=make_cost(params=5_000_001))
    part = only_part(log, other)
    assert part.sentences[-1] == "B counts other parameters than A for compound/1."


def ladder(latencies_s: Mapping[int, float]) -> RunLog:
    """Models of 1, 2, 3 … times the MACs that take so long."""
    return make_log(
        *(
            make_record(make_spec("width", n, channels=8 * n), latency_s=latency_s, macs=n * 10**8)
            for n, latency_s in latencies_s.items()
        )
    )


def test_fronts_are_compared_by_the_models_that_both_runs_have() -> None:
    cpu = ladder({1: 0.01, 2: 0.02, 3: 0.04, 9: 0.5})
    gpu = ladder({1: 0.01, 2: 0.06, 3: 0.04})
    (sentence,) = [one for one in only_part(cpu, gpu).sentences if one.startswith("On both fronts")]
    assert sentence == (
        "On both fronts (MACs against latency, of the models that both have): width/1, width/3; only in A: "
        "width/2."
    )


def test_families_are_named_only_where_there_are_several() -> None:
    one = make_record(make_spec("width", 1, channels=8))
    other = make_record(make_spec("width", 1, model="resnet18", channels=9))
    assert [line.label for line in only_part(make_log(one), another_day(make_log(one))).lines] == ["width/1"]
    both = make_log(one, other)
    assert [line.label for line in only_part(both, another_day(both)).lines] == [
        "efficientnet_b0/width/1",
        "resnet18/width/1",
    ]


def test_a_place_on_a_front_that_intervals_leave_open_is_told_as_open() -> None:
    near = ladder({1: 0.01, 2: 0.02, 3: 0.04})
    part = only_part(near, noisy(ladder({1: 0.01, 2: 0.0402, 3: 0.04}), seed=4, sd=0.05))
    (sentence,) = [one for one in part.sentences if one.startswith("On both fronts")]
    assert "; only in" not in sentence


def test_the_differences_of_two_runs_are_a_table_and_equal_things_are_not_in_it() -> None:
    log = family_log()
    other = noisy(log, seed=1, host=GPU_HOST, workload=Workload("cuda", batch_size=4, threads=2))
    differing = compared(log, other).differing
    assert differing is not None
    assert differing.header == ("", "A", "B")
    told = {label: values for label, *values in differing.rows}
    assert told["Batch size"] == ["batch 1", "batch 4"]
    assert not {"Threads", "Runtime", "torch", "CPU", "Started"} & set(told)
    assert compared(log, log).differing is None


def test_the_table_says_what_the_cells_hold() -> None:
    log = family_log()
    part = only_part(noisy(log, seed=1), failing(noisy(log, seed=2, factor=0.5), 1, "killed", "by SIGKILL"))
    assert part.table.header == (
        "Model",
        "A [95 %]",
        "B [95 %]",
        "B ÷ A [95 %]",
        "Verdict",
        "Peak memory, B ÷ A",
    )
    assert part.table.rows[1][2:5] == ("killed", "–", "killed in B")
    for line, texts, numbers in zip(part.lines, part.table.rows, part.numbers, strict=True):
        first, second = line.cells
        assert texts[0] == line.name
        assert first.row is not None
        assert second.row is not None
        assert numbers[:3] == (None, first.row.latency_ms, second.row.latency_ms)
        assert numbers[3] == (second.ratio and second.ratio.value)
        if second.ratio is not None:
            assert texts[4] == "faster"


def test_the_plot_holds_the_models_farthest_from_one_and_says_how_many_there_are() -> None:
    count = MOST_DRAWN + 5
    log = ladder({n: 0.01 * n for n in range(1, count + 1)})
    factors = {n: math.exp((-1) ** n * 0.01 * n) for n in range(1, count + 1)}
    other = ladder({n: 0.01 * n * factors[n] for n in range(1, count + 1)})
    part = only_part(log, other)
    assert len(part.lines) == count
    assert [part.lines[n].name for n in part.drawn] == [
        f"efficientnet_b0/width/{n}" for n in range(count, count - MOST_DRAWN, -1)
    ]
    assert f"the {MOST_DRAWN} of {count} models whose ratio is farthest from 1" in part.ratio_words


def test_a_run_without_rows_is_told_and_not_compared() -> None:
    empty = msgspec.structs.replace(family_log(), records=())
    found = compared(family_log(), empty)
    assert found.parts == ()
    assert found.sentences

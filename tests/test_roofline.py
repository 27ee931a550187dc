"""The machine's ceilings, measured and simulated; models under their roof; the roofline in words."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
import torch
from builders import (
    CPU,
    SimulatedBench,
    family_log,
    make_cost,
    make_launch,
    make_log,
    make_plan_of,
    make_record,
    make_spec,
)
from conftest import all_unstable
from hypothesis import given
from hypothesis import strategies as st
from test_cuda_parts import GPU, FakeCuda
from test_measuring import Kept, schedule
from test_worker import make_tiny_job, small_worker, tiny_jobs

import scaleprof as sp
from scaleprof.cli import run as run_cli
from scaleprof.engines.local import LocalBench
from scaleprof.measuring.ceilings import (
    CeilingsUnavailableError,
    DeviceKernels,
    copied_bytes,
    fastest_fp32,
    fastest_product,
    measure_ceilings,
    range_of_sides,
)
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.messages import Built, CeilingsMeasured, Job, Open
from scaleprof.measuring.timing import Call, CpuTimer
from scaleprof.measuring.workbench import Workbench
from scaleprof.measuring.worker import answer_ceilings
from scaleprof.records import (
    Cost,
    DType,
    Launch,
    MachineCeilings,
    Record,
    Sustained,
    UncountedOperator,
    Visit,
    Workload,
)
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.roofline import RooflineView, roofline_view
from scaleprof.reporting.rows import MeasuredRow, measured_row, measured_rows
from scaleprof.stats.roofline import Ceilings, ceilings_of, moved_bytes
from scaleprof.store import read_run

MIB = 2**20
# 1e9 MACs in 10 ms, and 2e9 bytes in 100 ms: 100 GMAC/s, 20 GB/s, a ridge at 5 MAC/byte.
SEEN = MachineCeilings(1000, (0.012, 0.01), 2_000_000_000, (0.1, 0.11))
ROOF = Ceilings(1e11, 2e10)
# 4 MAC/byte: 400 M MACs over 100 MB, of which 20 MB are weights.
MOVING = {"read_bytes": 70_000_000, "written_bytes": 30_000_000}


def seen(log_record: Record, ceilings: MachineCeilings | None = SEEN, **cost: int) -> Record:
    """The record with ceilings in its launches, and with the bytes that its network moves."""
    launches = tuple(msgspec.structs.replace(one, ceilings=ceilings) for one in log_record.launches)
    counted = msgspec.structs.replace(cast(Cost, log_record.cost), **MOVING | cost)
    return msgspec.structs.replace(log_record, launches=launches, cost=counted)


def row_of(record: Record, *others: Record) -> MeasuredRow:
    return measured_row(record, RunComparer(make_log(record, *others)))


# ---- measuring: which product is the fastest ----


def tried(times_s: dict[int, float]) -> tuple[int, list[int]]:
    """The side that is found, and those that were tried, where a product takes these times."""
    asked: list[int] = []

    def times_of(side: int) -> list[float]:
        asked.append(side)
        return [2 * times_s[side], times_s[side]]

    best, found_s = fastest_product(times_of, range_of_sides())
    assert min(found_s) == times_s[best]
    return best, asked


def at_rate(macs_per_s: float, overhead_s: float = 0.0) -> dict[int, float]:
    return {side: overhead_s + side**3 / macs_per_s for side in range_of_sides()}


def test_sides_double_up_to_sixteen_thousand() -> None:
    assert range_of_sides() == [128, 256, 512, 1024, 2048, 4096, 8192, 16384]


def test_a_small_processor_is_not_asked_for_more_once_a_larger_product_brings_nothing() -> None:
    # 50 GMAC/s: 1024 takes 21 ms, which is long enough to be believed.
    best, asked = tried(at_rate(50e9))
    assert asked == [128, 256, 512, 1024]
    assert best == 128


def test_a_device_that_waits_for_launches_is_asked_for_larger_products_until_they_count() -> None:
    # 25 TMAC/s behind 10 µs of launching.
    best, asked = tried(at_rate(25e12, overhead_s=1e-5))
    assert asked[-1] == 8192
    assert best == 8192
    assert 8192**3 / at_rate(25e12, 1e-5)[best] > 0.999 * 25e12


def test_products_that_take_forever_are_not_begun() -> None:
    # 0.1 GMAC/s, as of a dtype that is emulated: 256 takes 0.17 s, and 512 would take 1.3 s.
    assert tried(at_rate(1e8))[1] == [128, 256]


def test_threads_that_wait_for_a_cpu_at_first_do_not_hide_what_larger_products_attain() -> None:
    # Seen beside a busy process: a product of any size takes 12 ms, and then what it takes.
    best, asked = tried(at_rate(50e9, overhead_s=0.012))
    assert asked == [128, 256, 512, 1024]
    assert best == 1024


@given(st.floats(1e7, 1e15), st.floats(0, 0.05))
def test_the_side_that_is_found_is_the_fastest_of_those_that_were_tried(
    rate: float, overhead_s: float
) -> None:
    times_s = at_rate(rate, overhead_s)
    best, asked = tried(times_s)
    assert best**3 / times_s[best] == max(side**3 / times_s[side] for side in asked)
    assert all(8 * times_s[side] <= 0.25 for side in asked[:-1])


# ---- measuring: on a simulated GPU, whose kernels run behind the host ----


class GpuKernels:
    """Kernels of a device with these ceilings; enqueueing any takes 5 µs."""

    def __init__(self, cuda: FakeCuda, roof: Ceilings) -> None:
        self._cuda = cuda
        self._roof = roof
        self.copied: list[int] = []

    def product(self, side: int) -> Call:
        return self._cuda.kernel(side**3 / self._roof.macs_per_s, 5e-6)

    def copy(self, size_bytes: int) -> Call:
        self.copied.append(size_bytes)
        return self._cuda.kernel(2 * size_bytes / self._roof.bytes_per_s, 5e-6)


def test_a_gpu_is_waited_for_so_that_its_ceilings_come_out_within_a_percent() -> None:
    cuda, roof = FakeCuda(), Ceilings(25e12, 3e12)
    kernels = GpuKernels(cuda, roof)
    timer = CudaTimer(GPU, cuda=cuda, clock_ns=cuda.clock_ns)
    measured = measure_ceilings(timer, kernels, copied_bytes(GPU))
    launch = msgspec.structs.replace(make_launch(), ceilings=measured)
    found = ceilings_of([launch])
    assert found is not None
    assert found.macs_per_s == pytest.approx(25e12, rel=0.01)
    assert found.bytes_per_s == pytest.approx(3e12, rel=0.01)
    assert found.macs_per_s < 25e12
    assert kernels.copied == [2**30]
    # Two seconds of the device's own time at most.
    assert cuda.clock_s() < 2


# ---- measuring: on this CPU ----


def test_the_ceilings_of_this_cpu_are_those_that_it_was_timed_at() -> None:
    with torch.inference_mode():
        measured = measure_ceilings(CpuTimer(), DeviceKernels("cpu", "fp32"), 8 * MIB)
    assert measured.matrix_side in range_of_sides()
    assert measured.moved_bytes == 16 * MIB
    assert 3 <= len(measured.product_s) <= 30
    assert 3 <= len(measured.copy_s) <= 30


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_kernels_do_the_work_that_they_are_named_for(dtype: DType) -> None:
    kernels = DeviceKernels("cpu", dtype)
    before = torch.random.get_rng_state()
    product = kernels.product(16)()
    copied = kernels.copy(4 * MIB)()
    assert isinstance(product, torch.Tensor)
    assert isinstance(copied, torch.Tensor)
    assert product.shape == (16, 16)
    assert product.isfinite().all()
    assert copied.numel() * copied.element_size() == 4 * MIB
    assert copied.float().std() == pytest.approx(1, abs=0.01)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_copy_that_would_take_most_of_the_memory_is_refused_with_both_numbers() -> None:
    assert copied_bytes("cpu", lambda: 1024 * MIB) == 256 * MIB
    with pytest.raises(CeilingsUnavailableError, match=r"takes 512 MiB, 1023 MiB is available"):
        copied_bytes("cpu", lambda: 1023 * MIB)


@pytest.mark.parametrize(("device", "convolutions", "during"), [
    ("cuda:0", True, True), ("cuda:0", False, False), ("cpu", True, False)
])  # fmt: skip
def test_fp32_products_use_tf32_where_convolutions_may_and_only_for_a_while(
    device: str, convolutions: bool, during: bool
) -> None:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = convolutions
    try:
        with fastest_fp32(device):
            assert torch.backends.cuda.matmul.allow_tf32 is during
        assert torch.backends.cuda.matmul.allow_tf32 is False
    finally:
        torch.backends.cudnn.allow_tf32 = before


# ---- measuring: in a launch ----


@pytest.fixture
def bench() -> Iterator[LocalBench]:
    made = small_worker()
    yield made
    made.kill()
    made.close()


def test_a_worker_tells_the_ceilings_and_goes_on(bench: LocalBench) -> None:
    job = tiny_jobs()[0]
    before = bench.build(job)
    bench.visit(job)
    measured = bench.ceilings("fp32")
    assert measured.missing is None
    assert measured.ceilings is not None
    assert measured.ceilings.moved_bytes == 2 * 256 * MIB
    again = bench.build(job)
    # The arrays of the ceilings are ten times a tiny model: none of them may be counted to the next one.
    assert again.peak_memory_bytes == pytest.approx(before.peak_memory_bytes, abs=16 * MIB)


def test_a_worker_that_dies_over_the_ceilings_says_so_and_raises_nothing() -> None:
    bench = small_worker()
    os.kill(bench.pid, signal.SIGKILL)
    measured = bench.ceilings("fp32")
    assert measured == CeilingsMeasured(None, bench.ceilings("bf16").missing)
    assert "SIGKILL" in (measured.missing or "")
    bench.close()


@pytest.mark.parametrize("raised", [
    CeilingsUnavailableError("a copy far beyond the caches takes 512 MiB, 100 MiB is available"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError(),
    RuntimeError("no such product in this dtype\nand a long trace"),
])  # fmt: skip
def test_whatever_fails_in_the_ceilings_is_a_reason(tmp_path: Path, raised: Exception) -> None:
    class Failing(Workbench):
        def ceilings(self, dtype: DType) -> MachineCeilings:
            raise raised

    answered = answer_ceilings(Failing(Open("cpu", 1, 0, "pinned", str(tmp_path))), "fp32")
    assert answered.ceilings is None
    assert answered.missing == (str(raised).splitlines() or ["Python could not allocate memory"])[0]


class NotingBench(SimulatedBench):
    """Notes in which order things are done."""

    def __init__(self) -> None:
        super().__init__({0: 0.01, 1: 0.01, 2: 0.01})
        self.done: list[str] = []

    def build(self, job: Job, *, inspect: bool) -> Built:
        self.done.append("build")
        return super().build(job, inspect=inspect)

    def sustain(self, job: Job, at_least_s: float, energy_s: float = 0.0) -> Sustained:
        self.done.append("sustain")
        return super().sustain(job, at_least_s, energy_s)

    def ceilings(self, dtype: DType) -> CeilingsMeasured:
        self.done.append(dtype)
        measured = super().ceilings(dtype)
        return measured if dtype == "fp32" else CeilingsMeasured(None, f"no {dtype} here")


def test_each_launch_measures_the_ceilings_of_each_dtype_last() -> None:
    bench, kept = NotingBench(), Kept()
    half = msgspec.structs.replace(CPU, dtype="bf16")
    jobs = [make_tiny_job(make_spec(phi=n), n, CPU if n < 2 else half) for n in range(3)]
    schedule(bench, kept, make_plan_of(launches=2, sustained_s=1.0)).run([jobs])
    one = ["build"] * 3 + ["sustain"] * 3 + ["fp32", "bf16"]
    assert bench.done == one * 2
    for number in (0, 1, 2):
        for launch in kept.progress[number].launches:
            assert launch.complete
            assert (launch.ceilings is None) == (number == 2)
            assert launch.ceilings_missing == ("no bf16 here" if number == 2 else None)


# ---- ceilings over launches, bytes over batches ----


def test_the_ceilings_are_the_most_that_any_launch_saw() -> None:
    slower = MachineCeilings(1000, (0.02,), 2_000_000_000, (0.08, 0.2))
    launches = [msgspec.structs.replace(make_launch(), ceilings=one) for one in (SEEN, slower, None)]
    assert ceilings_of(launches) == Ceilings(1e11, 2.5e10)
    assert ceilings_of(launches[2:]) is None


def test_ceilings_are_of_one_device_dtype_and_number_of_threads() -> None:
    half = msgspec.structs.replace(CPU, dtype="bf16")
    one = msgspec.structs.replace(CPU, threads=1)
    faster = MachineCeilings(1000, (0.001,), 2_000_000_000, (0.01,))
    log = make_log(seen(make_record()), seen(make_record(workload=half), faster), make_record(workload=one))
    comparer = RunComparer(log)
    assert comparer.ceilings(CPU) == ROOF
    assert comparer.ceilings(half) == Ceilings(1e12, 2e11)
    assert comparer.ceilings(one) is None
    # Another batch runs on the same machine.
    assert comparer.ceilings(msgspec.structs.replace(CPU, batch_size=8)) == ROOF


def test_weights_are_read_once_a_batch_and_the_rest_for_each_sample() -> None:
    cost = msgspec.structs.replace(make_cost(), **MOVING)
    assert moved_bytes(cost, 1) == 100_000_000
    assert moved_bytes(cost, 3) == 20_000_000 + 3 * 80_000_000
    assert moved_bytes(make_cost(), 1) is None


def test_a_network_that_reads_few_of_its_weights_still_moves_what_each_sample_writes() -> None:
    cost = msgspec.structs.replace(make_cost(weight_bytes=10**9), **MOVING)
    assert moved_bytes(cost, 2) == 130_000_000


def test_the_bytes_of_a_batch_are_those_that_a_pass_of_it_is_counted_to_move() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5)
    ).eval()
    one, four = (sp.count(network, torch.empty(batch, 3, 8, 8, device="meta")) for batch in (1, 4))
    assert four.read_bytes is not None
    assert four.written_bytes is not None
    assert moved_bytes(one, 4) == four.read_bytes + four.written_bytes


@pytest.mark.parametrize("times", [(), (0.0,), (-1.0,), (math.nan,), (math.inf,)])
def test_ceilings_without_times_are_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        MachineCeilings(1000, times, 100, (0.1,))
    with pytest.raises(ValueError):
        MachineCeilings(1000, (0.1,), 100, times)
    with pytest.raises(ValueError):
        MachineCeilings(0, (0.1,), 100, (0.1,))


# ---- rows ----


def test_a_row_tells_what_it_attains_of_the_ceiling_at_its_intensity() -> None:
    row = row_of(seen(make_record(latency_s=0.01)))
    assert row.latency_ms is not None
    assert row.attained_macs_per_s is not None
    assert row.attained_macs_per_s == pytest.approx(4e8 / (row.latency_ms / 1e3))
    assert row.batch_macs_per_byte == row.macs_per_byte == 4.0
    assert row.ceiling_macs_per_s == 8e10
    assert row.ceiling_bound == "memory"
    assert row.ceiling_share == pytest.approx(row.attained_macs_per_s / 8e10, rel=1e-4)
    low, high = row.attained_ci_low_macs_per_s, row.attained_ci_high_macs_per_s
    assert low is not None
    assert high is not None
    assert row.latency_ci_high_ms is not None
    # The longest latency is the lowest rate.
    assert low == pytest.approx(4e8 / (row.latency_ci_high_ms / 1e3), rel=1e-5)
    assert row.ceiling_share_ci_low == pytest.approx(low / 8e10, rel=1e-4)
    assert row.ceiling_share_ci_high == pytest.approx(high / 8e10, rel=1e-4)
    assert not [name for name in row.nulls if "ceiling" in name or "attained" in name]


def test_a_larger_batch_reads_its_weights_once_and_may_leave_the_slope() -> None:
    batch = msgspec.structs.replace(CPU, batch_size=16)
    row = row_of(seen(make_record(workload=batch, latency_s=0.1)))
    assert row.macs_per_byte == 4.0
    assert row.batch_macs_per_byte == pytest.approx(16 * 4e8 / (20e6 + 16 * 80e6))
    assert row.latency_ms is not None
    assert row.attained_macs_per_s == pytest.approx(16 * 4e8 / (row.latency_ms / 1e3))
    dense = row_of(seen(make_record(workload=batch), read_bytes=22_000_000, written_bytes=3_000_000))
    assert (dense.ceiling_bound, dense.ceiling_macs_per_s) == ("compute", 1e11)


UNDER_A_ROOF = ("ceiling_macs_per_s", "ceiling_share", "ceiling_share_ci_low", "ceiling_bound")


def reasons(record: Record, *names: str) -> set[str]:
    """The one reason of these nulls, and that they are null."""
    row = row_of(record)
    assert [getattr(row, name) for name in names] == [None] * len(names)
    return {row.nulls[name] for name in names}


def test_a_run_without_ceilings_has_rates_and_says_what_is_missing() -> None:
    record = seen(make_record(), None)
    (reason,) = reasons(record, *UNDER_A_ROOF)
    assert "before the ceilings were measured, or the run is of an earlier version" in reason
    assert row_of(record).attained_macs_per_s is not None
    assert row_of(record).batch_macs_per_byte == 4.0
    told = tuple(
        msgspec.structs.replace(one, ceilings_missing="the worker was ended by SIGKILL")
        for one in record.launches
    )
    assert reasons(msgspec.structs.replace(record, launches=told), *UNDER_A_ROOF) == {
        "the worker was ended by SIGKILL"
    }


def test_a_training_step_has_a_rate_and_no_place_under_the_roof() -> None:
    record = seen(make_record(workload=msgspec.structs.replace(CPU, mode="train")))
    assert reasons(record, "batch_macs_per_byte", *UNDER_A_ROOF) == {
        "what gradients and the optimizer move in a training step is not counted"
    }
    assert row_of(record).attained_macs_per_s is not None


def test_autocast_has_a_rate_and_no_place_under_the_roof() -> None:
    cast_ = msgspec.structs.replace(CPU, cast="autocast", dtype="bf16")
    (reason,) = reasons(seen(make_record(workload=cast_)), "batch_macs_per_byte", *UNDER_A_ROOF)
    assert "autocast" in reason


def test_operators_without_a_formula_leave_no_rate_that_would_be_too_low() -> None:
    record = seen(make_record())
    cost = msgspec.structs.replace(cast(Cost, record.cost), uncounted=(UncountedOperator("my::op", 1, 10),))
    record = msgspec.structs.replace(record, cost=cost)
    (reason,) = reasons(record, "attained_macs_per_s", "batch_macs_per_byte", *UNDER_A_ROOF)
    assert "my::op" in reason


def test_a_network_without_multiply_adds_or_without_counted_bytes_has_no_place() -> None:
    assert reasons(seen(make_record(), macs=0), "attained_macs_per_s", *UNDER_A_ROOF) == {
        "it does no multiply-adds"
    }
    plain = seen(make_record())
    plain = msgspec.structs.replace(plain, cost=make_cost())
    (reason,) = reasons(plain, "batch_macs_per_byte", *UNDER_A_ROOF)
    assert "the bytes that it moves were not counted" in reason


def test_a_failed_model_has_its_failure_as_the_reason() -> None:
    row = row_of(make_record(status="oom", reason="no memory"))
    assert row.nulls["ceiling_share"] == row.nulls["attained_macs_per_s"] == "oom: no memory"


# ---- the view ----


def roof_log(latencies_s: list[float], **fields: object) -> list[MeasuredRow]:
    records = [
        seen(make_record(make_spec("width", n, channels=n), latency_s=latency_s, **fields))  # type: ignore[arg-type]
        for n, latency_s in enumerate(latencies_s)
    ]
    return measured_rows(make_log(*records))


def view_of(rows: list[MeasuredRow]) -> RooflineView:
    view = roofline_view(rows, ROOF)
    assert isinstance(view, RooflineView)
    return view


def test_the_view_tells_the_roof_and_each_models_place_under_it() -> None:
    view = view_of(roof_log([0.01, 0.02, 0.04]))
    assert (view.macs_per_s, view.bytes_per_s, view.ridge_macs_per_byte) == (1e11, 2e10, 5.0)
    assert [point.row for point in view.points] == [0, 1, 2]
    assert [point.macs_per_byte for point in view.points] == [4.0] * 3
    assert view.points[0].share == pytest.approx(4 * view.points[2].share, rel=1e-4)
    assert [point.launch_bound for point in view.points] == [None] * 3
    assert "100 GMAC/s in a matrix product (fp32), 18.6 GiB/s in a copy" in view.words
    assert "below 5.00 MAC/byte memory is the limit, as for 3 of the models" in view.words
    assert "Nearest to its ceiling is efficientnet_b0/width/0 with 49.5 [" in view.words
    assert "Farthest is efficientnet_b0/width/2 with 12.4 [" in view.words
    assert "Above the roof" not in view.words


def test_the_table_has_the_points_from_the_nearest_on() -> None:
    view = view_of(roof_log([0.04, 0.01, 0.02]))
    assert [row[0] for row in view.table.rows] == [f"efficientnet_b0/width/{n}" for n in (1, 2, 0)]
    first, shown = view.points[1], view.table.rows[0]
    assert shown[1] == "4.00"
    assert shown[2].startswith(f"{first.macs_per_s / 1e9:.1f} [")
    assert shown[3] == "80.0 GMAC/s"
    assert shown[4].startswith(f"{100 * first.share:.1f} [")
    assert shown[5] == "memory"


def test_of_many_models_the_extremes_are_listed_and_it_says_so() -> None:
    view = view_of(roof_log([0.01 * (1 + n) for n in range(45)]))
    assert len(view.points) == 45
    assert [row[0].rpartition("/")[2] for row in view.table.rows] == [
        str(n) for n in (*range(20), *range(25, 45))
    ]
    assert "Of 45 models, the 20 nearest and 20 farthest." in view.table.caption


def test_what_is_above_the_roof_is_told_and_not_cut() -> None:
    view = view_of(roof_log([0.002, 0.01]))
    assert view.points[0].share > 1
    assert "Above the roof: efficientnet_b0/width/0." in view.words


def test_models_that_wait_for_launches_are_marked_and_named() -> None:
    workload = Workload("cuda:0")

    def waiting(factor: float) -> Record:
        record = seen(make_record(make_spec("width", factor, channels=int(10 * factor)), workload=workload))
        launches = tuple(replayed(launch, factor) for launch in record.launches)
        return msgspec.structs.replace(record, launches=launches)

    def replayed(launch: Launch, factor: float) -> Launch:
        visits = tuple(with_graph(visit, factor) for visit in launch.visits)
        return msgspec.structs.replace(launch, visits=visits)

    def with_graph(visit: Visit, factor: float) -> Visit:
        return msgspec.structs.replace(visit, graph_samples_s=(visit.samples_s[0] / factor,))

    view = view_of(measured_rows(make_log(waiting(2.0), waiting(1.1))))
    assert [point.launch_bound for point in view.points] == [True, False]
    assert "Open symbols wait for launches: efficientnet_b0/width/2." in view.words
    assert [row[5] for row in view.table.rows] == ["memory, waits for launches", "memory"]


def test_a_model_without_a_place_is_named_with_its_reason() -> None:
    records = [seen(make_record()), make_record(make_spec("width", 1, channels=9))]
    view = view_of(measured_rows(make_log(*records)))
    assert len(view.points) == 1
    assert "Without a place under it: efficientnet_b0/width/1 (the bytes that it moves" in view.words


def test_where_there_is_no_roof_a_sentence_says_why() -> None:
    rows = measured_rows(make_log(seen(make_record(), None)))
    sentence = roofline_view(rows, None)
    assert isinstance(sentence, str)
    assert sentence.startswith("No model has a place under a roof here: the launches ended before")
    failed = measured_rows(make_log(make_record(status="oom", reason="no memory")))
    assert roofline_view(failed, None) == "No model was measured."


# ---- from a sweep to a file and back ----


def test_a_sweep_keeps_the_ceilings_and_its_rows_stand_under_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.jsonl"
    once = ["--device", "cpu", "--threads", "1", "--preset", "quick", "--max-time", "1s", "--no-report"]
    models = ["-m", "mobilenet_v1", "--strategy", "width", "--phi", "-3,-4"]
    code = run_cli(["sweep", *models, *once, "-o", str(path)])
    assert code == 0 or all_unstable(code, capsys.readouterr().err)
    for record in read_run(path).records:
        (launch,) = record.launches
        assert launch.ceilings is not None
        assert launch.ceilings.moved_bytes == 512 * MIB
    rows = sp.load(path).rows
    assert len(rows) == 2
    for row in rows:
        assert row.attained_macs_per_s is not None
        assert row.ceiling_macs_per_s is not None
        assert row.ceiling_share is not None
        assert 0 < row.ceiling_share < 2
        assert row.ceiling_bound in ("compute", "memory")


def test_an_older_run_file_loads_and_has_no_ceilings(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    log = family_log()
    lines = [msgspec.json.encode(one) for one in (log.header, *log.records)]
    old = [line.replace(b',"ceilings":null,"ceilings_missing":null', b"") for line in lines]
    assert sum(map(len, old)) < sum(map(len, lines))
    path.write_bytes(b"\n".join(old) + b"\n")
    assert read_run(path) == log

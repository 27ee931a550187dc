"""Real worker processes on this CPU, with models small enough to be quick."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from builders import make_plan_of

from scaleprof.engines.local import LocalBench, open_worker, worker_environment
from scaleprof.measuring.messages import Job
from scaleprof.measuring.preparing import Preparer, inputs_as
from scaleprof.measuring.rounds import BenchLostError, JobFailedError, Step
from scaleprof.measuring.schedule import Progress, Schedule
from scaleprof.measuring.weights import OutputError, output_std, settle_batch_norms
from scaleprof.models import FAMILIES
from scaleprof.records import DType, ModelSpec, Workload
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.rules import Factors, factors
from scaleprof.scaling.sweep import Sweep, expand, parse_phi

TINY = Workload("cpu", batch_size=1, threads=1)


def tiny_specs(strategies: str = "resolution,width", phi: str = "-3,-4") -> list[ModelSpec]:
    return expand(Sweep(("efficientnet_b0",), tuple(strategies.split(",")), parse_phi(phi)), FAMILIES)


def make_tiny_job(spec: ModelSpec, number: int = 0, workload: Workload = TINY) -> Job:
    return Job(number, spec, workload, spec.model)


def tiny_jobs(workload: Workload = TINY) -> list[Job]:
    return [make_tiny_job(spec, number, workload) for number, spec in enumerate(tiny_specs())]


def small_worker(timeout_s: float = 60.0) -> LocalBench:
    return LocalBench(device="cpu", threads=1, seed=5, timeout_s=timeout_s)


@pytest.fixture(scope="module")
def bench() -> Iterator[LocalBench]:
    """One worker for all tests that leave it running; a model takes the place of the last of its number."""
    made = small_worker()
    yield made
    made.kill()
    made.close()


def test_a_worker_builds_and_times_a_model(bench: LocalBench) -> None:
    job = tiny_jobs()[0]
    built = bench.build(job)
    visited = bench.visit(job)
    assert built.cold_s > 0
    assert 1e-3 < built.output_std < 1e3
    assert sum(visited.samples_s) >= 0.05
    assert len(visited.reference_network_s) == len(visited.matrix_product_s) == 6
    assert visited.gpu_samples_s is None
    weights = 4 * sum(p.numel() for p in FAMILIES["efficientnet_b0"].build(job.spec).parameters())
    assert built.peak_memory_bytes is not None
    assert weights < built.peak_memory_bytes < 10 * weights


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_a_model_is_timed_in_the_dtype_and_layout_of_its_workload(bench: LocalBench, dtype: DType) -> None:
    workload = Workload("cpu", batch_size=2, threads=1, dtype=dtype, memory_format="channels_last")
    job = tiny_jobs(workload)[0]
    built = bench.build(job)
    (images,) = FAMILIES["efficientnet_b0"].inputs(job.spec, 2)
    assert built.input_bytes == images.numel() * 2
    assert 1e-3 < built.output_std < 1e3
    assert bench.visit(job).samples_s
    weights = 2 * sum(p.numel() for p in FAMILIES["efficientnet_b0"].build(job.spec).parameters())
    assert built.peak_memory_bytes is not None
    assert built.peak_memory_bytes > weights


def test_networks_and_inputs_are_cast_and_laid_out() -> None:
    workload = Workload("cpu", threads=1, dtype="bf16", memory_format="channels_last")
    prepared = Preparer("cpu", 0).prepare(tiny_jobs(workload)[0])
    floats = [tensor for tensor in prepared.network.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in (*floats, *prepared.inputs)} == {torch.bfloat16}
    assert prepared.inputs[0].is_contiguous(memory_format=torch.channels_last)


def test_token_ids_keep_their_type() -> None:
    ids, images = torch.zeros(1, 7, dtype=torch.long), torch.zeros(1, 3, 8, 8)
    cast = inputs_as([ids, images], "fp16", "channels_last")
    assert [tensor.dtype for tensor in cast] == [torch.long, torch.float16]


def test_a_visit_tells_what_the_kernel_counted(bench: LocalBench) -> None:
    job = tiny_jobs()[0]
    bench.build(job)
    visited = bench.visit(job)
    assert visited.cpu_s is not None
    assert visited.cpu_s > 0
    assert visited.minor_faults is not None
    assert visited.involuntary_switches is not None


def test_a_model_runs_back_to_back_for_as_long_as_it_is_told(bench: LocalBench) -> None:
    job = tiny_jobs()[0]
    bench.build(job)
    ran = bench.sustain(job, 0.5, 0.5)
    assert sum(ran.chunks_s) >= 0.5
    assert len(ran.chunks_s) > 1
    assert (ran.energy_j is None) == (ran.energy_missing is not None)


def test_the_default_allocator_is_left_as_it_is() -> None:
    with open_worker(device="cpu", threads=1, seed=0, timeout_s=60, allocator="default") as made:
        environment = Path(f"/proc/{made.pid}/environ").read_bytes().split(b"\0")
        assert not any(entry.startswith(b"MALLOC_TRIM_THRESHOLD_=") for entry in environment)
        assert made.host.allocator == "default"


def test_references_after_a_visit_are_those_before_the_next(bench: LocalBench) -> None:
    job = tiny_jobs()[0]
    bench.build(job)
    first, second = bench.visit(job), bench.visit(job)
    assert first.reference_network_s[3:] == second.reference_network_s[:3]


def test_the_worker_runs_with_its_threads_and_the_pinned_allocator(bench: LocalBench) -> None:
    environment = Path(f"/proc/{bench.pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in environment
    assert b"GOMP_SPINCOUNT=3000" in environment
    assert any(entry.startswith(b"MALLOC_TRIM_THRESHOLD_=") for entry in environment)
    assert len(os.sched_getaffinity(bench.pid)) == 1
    assert bench.host.allocator == "glibc pinned"


def test_the_explicit_environment_wins_over_the_inherited_one() -> None:
    environment = worker_environment(
        {"OMP_NUM_THREADS": "64", "HOME": "/h", "PYTHONPATH": "/mine"}, threads=2
    )
    assert (environment["OMP_NUM_THREADS"], environment["HOME"]) == ("2", "/h")
    assert environment["PYTHONPATH"].startswith("/mine:")


def test_memory_that_cannot_be_had_is_oom_and_the_worker_goes_on(bench: LocalBench) -> None:
    spec = tiny_specs()[0]
    with pytest.raises(JobFailedError) as caught:
        bench.build(make_tiny_job(spec, 0, Workload("cpu", batch_size=2_000_000_000, threads=1)))
    assert not isinstance(caught.value, BenchLostError)
    assert caught.value.status == "oom"
    assert "memory ran out" in caught.value.reason
    assert bench.build(make_tiny_job(spec, 1)).cold_s > 0


def test_a_model_that_raises_is_failed_with_its_words_and_the_worker_goes_on(bench: LocalBench) -> None:
    spec = tiny_specs()[0]
    # Stages of other channels than their inputs: the integers do not fit together.
    broken = ModelSpec(
        "efficientnet_b0", "width", 9, 1, 1, 1, 64, {**(spec.shape or {}), "stage_channels": (8, 8)}
    )
    with pytest.raises(JobFailedError) as caught:
        bench.build(make_tiny_job(broken))
    assert caught.value.status == "failed"
    assert caught.value.reason.startswith("ValueError:")
    assert bench.build(make_tiny_job(spec, 1)).cold_s > 0


def test_a_worker_killed_while_it_works_is_told_as_killed() -> None:
    with open_worker(device="cpu", threads=1, seed=0, timeout_s=60) as bench:
        os.kill(bench.pid, signal.SIGKILL)
        with pytest.raises(BenchLostError) as caught:
            bench.build(tiny_jobs()[0])
        assert caught.value.status == "killed"
        assert "SIGKILL" in caught.value.reason


def test_a_worker_that_hangs_is_stopped_at_its_time_out() -> None:
    with open_worker(device="cpu", threads=1, seed=0, timeout_s=0.5) as bench:
        os.kill(bench.pid, signal.SIGSTOP)
        with pytest.raises(BenchLostError) as caught:
            bench.build(tiny_jobs()[0])
        assert caught.value.status == "timeout"
        assert "--timeout" in caught.value.reason
        with pytest.raises(ProcessLookupError):
            os.kill(bench.pid, 0)


@pytest.mark.parametrize(("deed", "status"), [(signal.SIGKILL, "killed"), (signal.SIGSTOP, "timeout")])
def test_a_worker_lost_in_mid_sweep_costs_only_its_own_model(deed: signal.Signals, status: str) -> None:
    jobs = tiny_jobs()[:3]
    kept: dict[int, Progress] = {}
    workers: list[LocalBench] = []
    harmed: list[int] = []

    @contextmanager
    def open_noted(threads: int) -> Iterator[LocalBench]:
        with open_worker(device="cpu", threads=threads, seed=0, timeout_s=10) as bench:
            workers.append(bench)
            yield bench

    def harm_after_a_few_visits(step: Step) -> None:
        if step.round == 2 and not harmed:
            harmed.append(step.job.number)
            os.kill(workers[-1].pid, deed)

    def keep(progress: Sequence[Progress]) -> None:
        kept.update({one.job.number: one for one in progress})

    Schedule(
        plan=make_plan_of(launches=1, max_rounds=6),
        open_bench=open_noted,
        keep=keep,
        observe=harm_after_a_few_visits,
        clock=time.monotonic,
        seed=0,
    ).run([jobs])
    lost = [one for one in kept.values() if one.failure is not None]
    assert len(lost) == 1
    assert lost[0].failure is not None
    assert lost[0].failure.status == status
    assert len(workers) == 2
    others = [one for one in kept.values() if one.failure is None]
    assert len(others) == len(jobs) - 1
    assert all(one.launches[0].complete for one in others)


def run_alone(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_peak_memory_is_that_of_a_chain_of_tensors_with_a_known_peak() -> None:
    measured = run_alone(
        """
        import torch
        from scaleprof.measuring.memory import CpuPeakMeter
        torch.set_num_threads(1)
        torch.zeros(2 ** 20).sum()
        meter = CpuPeakMeter()
        meter.start()
        first = torch.ones(10 * 2 ** 20)     # 40 MiB
        second = torch.ones(5 * 2 ** 20)     # 20 MiB, together the peak
        del first
        third = torch.ones(2 * 2 ** 20)
        print(meter.peak_bytes())
        """
    )
    assert abs(int(measured) - 60 * 2**20) <= 2**20


def test_an_earlier_peak_is_forgotten() -> None:
    measured = run_alone(
        """
        import torch
        from scaleprof.measuring.memory import CpuPeakMeter
        torch.set_num_threads(1)
        torch.ones(2 ** 20)
        meter = CpuPeakMeter()
        torch.ones(50 * 2 ** 20)
        meter.start()
        kept = torch.ones(2 ** 20)
        print(meter.peak_bytes())
        """
    )
    assert abs(int(measured) - 4 * 2**20) <= 2**20


@pytest.mark.parametrize(
    "wanted", [Factors(), factors("depth", 2), factors("width", 1), factors("resolution", -3)]
)
def test_prepared_outputs_are_of_order_one_at_any_scale(wanted: Factors) -> None:
    family = FAMILIES["efficientnet_b0"]
    shape, side = family.integers(Scale(wanted.depth, wanted.width, wanted.resolution))
    side = min(side, 96)
    torch.manual_seed(0)
    network = family.construct(shape).eval()
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        fresh = network(images).std()
        settle_batch_norms(network, [images])
        assert 0.01 < output_std(network(images)) < 10
    assert fresh < 1e-6
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("output", [torch.full((3,), torch.nan), {"a": (torch.tensor([1.0, torch.inf]),)}])
def test_outputs_that_are_no_numbers_are_refused(output: object) -> None:
    with pytest.raises(OutputError, match="not finite"):
        output_std(output)


@pytest.mark.parametrize("output", [None, (), {"a": []}])
def test_a_model_that_puts_out_nothing_is_refused(output: object) -> None:
    with pytest.raises(OutputError, match="no numbers"):
        output_std(output)


def test_outputs_may_have_any_structure() -> None:
    assert output_std({"a": torch.tensor([0.0, 2.0]), "b": [torch.tensor([[0, 2]])]}) == 1.0

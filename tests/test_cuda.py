"""What needs an NVIDIA GPU: times, graphs, state, energy and memory of the device, and a sweep on it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from statistics import median

import pytest
import torch
from conftest import Scaleprof

from scaleprof.counting import trace_spec
from scaleprof.engines.local import open_worker
from scaleprof.measuring.cuda.energy import EnergyWindow
from scaleprof.measuring.cuda.graphs import CaptureError, Captures, GraphTimer
from scaleprof.measuring.cuda.memory import CudaPeakMeter
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.messages import Job
from scaleprof.measuring.nvml import find_nvml
from scaleprof.measuring.rounds import BenchLostError, JobFailedError
from scaleprof.measuring.timing import Call
from scaleprof.models import FAMILIES
from scaleprof.records import Mode, Workload
from scaleprof.scaling.sweep import Sweep, base_spec, expand, parse_phi

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that torch can use"),
]

GPU = "cuda:0"


def base_job(batch_size: int = 1) -> Job:
    (spec,) = expand(Sweep(("efficientnet_b0",), ("width",), parse_phi("0")), FAMILIES)
    return Job(0, spec, Workload(GPU, batch_size=batch_size, threads=1), spec.model)


def spin(cycles: int) -> Call:
    return lambda: torch.cuda._sleep(cycles)


@pytest.fixture(scope="module")
def side() -> CudaSide:
    return CudaSide(GPU, nvml=find_nvml())


def products(count: int, side: int = 4096) -> Call:
    """A pass of so many matrix products, long enough that launching them is nothing."""
    left, right = (torch.randn(side, side, device=GPU) for _ in range(2))

    def call() -> object:
        for _ in range(count):
            result = left @ right
        return result

    return call


def waits_for_the_device() -> None:
    torch.ones(1, device=GPU).item()


def test_device_time_is_that_of_a_kernel_of_known_length() -> None:
    timer = CudaTimer(GPU)
    short_s, long_s = (timer.gpu_s(spin(cycles)) for cycles in (10_000_000, 20_000_000))
    assert short_s is not None
    assert long_s is not None
    assert long_s / short_s == pytest.approx(2, rel=0.05)


def test_wall_time_waits_for_the_device() -> None:
    timer = CudaTimer(GPU)
    wall_s, gpu_s = timer.wall_s(spin(50_000_000)), timer.gpu_s(spin(50_000_000))
    assert gpu_s is not None
    assert wall_s >= 0.95 * gpu_s


def test_device_time_is_missing_when_the_queue_ran_dry() -> None:
    assert CudaTimer(GPU).gpu_s(waits_for_the_device) is None


def test_a_graph_of_a_long_kernel_takes_what_the_kernel_takes() -> None:
    timer, call = CudaTimer(GPU), products(1)
    call()
    graph = GraphTimer(Captures(GPU).capture(call), timer)
    gpu_s = [timer.gpu_s(call) for _ in range(5)]
    graph_s = graph.samples_s()
    assert None not in gpu_s
    assert median(graph_s) == pytest.approx(median(filter(None, gpu_s)), rel=0.05)


def test_a_replay_computes_anew_from_the_inputs_where_they_are() -> None:
    inputs = torch.ones(4, device=GPU)
    captures = Captures(GPU)
    doubled, tripled = (captures.capture(call) for call in (lambda: inputs * 2, lambda: inputs * 3))
    inputs.fill_(7)
    assert doubled().tolist() == [14] * 4  # type: ignore[attr-defined]
    assert tripled().tolist() == [21] * 4  # type: ignore[attr-defined]
    assert doubled.pool == tripled.pool


def test_after_a_failed_capture_the_process_goes_on() -> None:
    captures, stream = Captures(GPU), torch.cuda.current_stream(GPU)
    before = captures.capture(lambda: torch.ones(3, device=GPU) + 1)
    for _ in range(2):
        with pytest.raises(CaptureError, match="a pass cannot be captured: "):
            captures.capture(waits_for_the_device)
    assert torch.cuda.current_stream(GPU) == stream
    assert not torch.cuda.is_current_stream_capturing()
    # What dropout needs, an allocation for which cached memory has to be given back, and graphs old and new.
    assert torch.rand(1000, device=GPU).mean().item() == pytest.approx(0.5, abs=0.1)
    free_bytes, _ = torch.cuda.mem_get_info(GPU)
    for share in (0.5, 0.75):
        torch.empty(int(share * free_bytes), dtype=torch.uint8, device=GPU)
    torch.cuda.empty_cache()
    after = captures.capture(lambda: torch.ones(3, device=GPU) + 2)
    assert before().tolist() == [2] * 3  # type: ignore[attr-defined]
    assert after().tolist() == [3] * 3  # type: ignore[attr-defined]


def test_a_pool_whose_graphs_are_gone_is_followed_by_another() -> None:
    captures = Captures(GPU)
    for _ in range(3):
        captures.release(captures.capture(products(1, side=64)))


def test_the_timed_clock_is_the_drivers(side: CudaSide) -> None:
    CudaTimer(GPU).wall_s(spin(1_000_000_000))  # the clock rises from where it idles
    states = [side.state() for _ in range(5)]
    assert states[0].reported_clock_mhz is not None
    timed, reported = (
        median(one for state in states if (one := getattr(state, name)))
        for name in ("clock_mhz", "reported_clock_mhz")
    )
    assert timed == pytest.approx(reported, rel=0.05)


def test_the_driver_tells_the_state(side: CudaSide) -> None:
    state = side.state()
    assert state.memory_clock_mhz
    assert state.temperature_c is not None
    assert 10 < state.temperature_c < 110
    assert state.events is None or all(isinstance(name, str) for name in state.events)
    assert state.other_processes is None or state.other_processes >= 0


def test_twice_the_work_takes_twice_the_energy(side: CudaSide) -> None:
    if side.energy_missing:
        pytest.skip(side.energy_missing)
    assert side.idle_power_w is not None
    joules = []
    for count in (1, 2, 2, 1):  # so that warming up is on both sides
        call = products(count)
        pass_s = min(side.timer.wall_s(call) for _ in range(3))
        seen = side.energy(call, pass_s, 2.0)
        assert isinstance(seen, EnergyWindow)
        assert seen.window_s >= 2.0
        assert seen.passes == pytest.approx(seen.window_s / pass_s, rel=0.2)
        assert seen.joules / seen.window_s > side.idle_power_w
        joules.append(seen.joules / seen.passes)
    assert (joules[1] + joules[2]) / (joules[0] + joules[3]) == pytest.approx(2, rel=0.03)


IN_A_FRESH_PROCESS = """
import json, msgspec, torch
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.nvml import find_nvml

side = CudaSide("cuda:0", nvml=find_nvml())
side.before_build()
weights = torch.ones(10 * 2**20, device="cuda:0")
peak = side.peak(lambda: weights + 1)
print(json.dumps([peak.baseline_bytes, peak.peak_bytes, msgspec.structs.asdict(peak.device_memory)]))
"""


def test_memory_of_the_device_is_told_in_its_parts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS], capture_output=True, text=True, check=True, timeout=200
    )
    baseline_bytes, peak_bytes, memory = json.loads(done.stdout)
    assert (baseline_bytes, peak_bytes) == (0, 80 * 2**20)
    assert memory["reserved_bytes"] >= peak_bytes
    assert memory["used_bytes"] >= memory["reserved_bytes"]
    if memory["context_bytes"] is not None:  # not told where the driver hides it
        assert 2**20 < memory["context_bytes"] < 4 * 2**30
        assert memory["used_bytes"] >= memory["reserved_bytes"] + memory["context_bytes"]


def test_peak_memory_is_the_allocators() -> None:
    meter = CudaPeakMeter(GPU)
    meter.start()
    first = torch.ones(10 * 2**20, device=GPU)
    second = torch.ones(5 * 2**20, device=GPU)
    del first, second
    assert meter.peak_bytes() == 60 * 2**20


def test_a_worker_times_a_model_on_the_device_and_names_it() -> None:
    with open_worker(device=GPU, threads=1, seed=0, timeout_s=120) as bench:
        built = bench.build(base_job())
        visited = bench.visit(base_job())
    assert bench.host.gpu_name == torch.cuda.get_device_name(0)
    assert bench.host.gpu_driver is not None
    assert built.peak_memory_bytes is not None
    assert built.peak_memory_bytes > 20_000_000
    assert visited.gpu_samples_s is not None
    assert all(sample <= 1.5 * max(visited.samples_s) for sample in visited.gpu_samples_s)


def test_device_memory_that_cannot_be_had_is_oom_and_the_worker_goes_on() -> None:
    with open_worker(device=GPU, threads=1, seed=0, timeout_s=300) as bench:
        with pytest.raises(JobFailedError) as caught:
            bench.build(base_job(batch_size=20_000))
        assert not isinstance(caught.value, BenchLostError)
        assert caught.value.status == "oom"
        assert bench.build(base_job()).cold_s > 0


def test_a_sweep_on_the_gpu_has_wall_and_device_times(scaleprof: Scaleprof) -> None:
    done = scaleprof(
        "sweep", "--phi", "0..1", "--device", "cuda", "--preset", "quick", "--format", "json", check=0
    )
    rows = json.loads(done.stdout)
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert all(row["device"] == GPU and row["latency_ms"] > 0 for row in rows)
    assert all(row["gpu_ms"] is not None or "gpu_ms" in row["nulls"] for row in rows)


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_the_memory_forecast_is_within_15_percent_of_the_devices_allocator(mode: Mode) -> None:
    family = FAMILIES["efficientnet_b0"]
    spec = base_spec(family)
    cost = trace_spec(family, spec, mode).cost
    network = family.build(spec).train(mode == "train").to(GPU)
    (images,) = family.inputs(spec, 1)
    images = images.to(GPU)
    torch.cuda.reset_peak_memory_stats(GPU)
    with torch.set_grad_enabled(mode == "train"), torch.backends.cudnn.flags(enabled=False):  # no workspace
        scores = network(images)
        if mode == "train":
            scores.sum().backward()
    peak = torch.cuda.max_memory_allocated(GPU)
    assert math.isclose(cost.forecast_bytes - cost.optimizer_bytes, peak, rel_tol=0.15)

"""What needs an NVIDIA GPU: the device timer, its memory, and a sweep on it."""

from __future__ import annotations

import json
import math

import pytest
import torch
from conftest import Scaleprof

from scaleprof.counting import trace_spec
from scaleprof.engines.local import open_worker
from scaleprof.measuring.memory import CudaPeakMeter
from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import BenchLostError, JobFailedError
from scaleprof.measuring.timing import Call, CudaTimer
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
    def waits_for_the_device() -> None:
        torch.ones(1, device=GPU).item()

    assert CudaTimer(GPU).gpu_s(waits_for_the_device) is None


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

"""The workbench with a GPU beside it: what it asks of the device, when, and where the answers go."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from builders import make_launch, make_log, make_record

from scaleprof.measuring.cuda.energy import EnergyWindow
from scaleprof.measuring.cuda.memory import Peak
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.messages import Job, Open
from scaleprof.measuring.timing import Call, CpuTimer
from scaleprof.measuring.workbench import Workbench
from scaleprof.models import FAMILIES
from scaleprof.records import DeviceMemory, GpuState, Launch, Mode, Workload
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.rows import MeasuredRow, measured_row
from scaleprof.scaling.sweep import base_spec

MEMORY = DeviceMemory(reserved_bytes=300, used_bytes=5000, context_bytes=400)
STATE = GpuState(1700.0, 1710, 2600, 61, 300.5, ("sw_power_cap",), 0)


class DeviceTimer(CpuTimer):
    """The CPU's own time stands in for the device's."""

    def gpu_s(self, call: Call) -> float | None:
        return self.wall_s(call)


class FakeSide:
    """A GPU that notes what it is asked."""

    def __init__(self, *, energy: EnergyWindow | str, graph_missing: str | None = None) -> None:
        self.timer = DeviceTimer()
        self.idle_power_w = 70.0
        self.asked: list[str] = []
        self._energy = energy
        self._graph_missing = graph_missing

    def before_build(self) -> None:
        self.asked.append("before_build")

    def peak(self, call: Call) -> Peak:
        call()
        self.asked.append("peak")
        return Peak(100, 200, MEMORY)

    def ready(self, number: int, call: Call) -> str | None:
        self.asked.append("ready")
        return self._graph_missing

    def graph_samples_s(self, number: int) -> tuple[float, ...] | None:
        self.asked.append("graph")
        return None if self._graph_missing else (0.001, 0.002)

    def state(self) -> GpuState:
        self.asked.append("state")
        return STATE

    def energy(self, call: Call, pass_s: float, at_least_s: float) -> EnergyWindow | str:
        self.asked.append(f"energy for {at_least_s:g} s")
        return self._energy

    def forget(self, number: int) -> None:
        self.asked.append("forget")


def measured(side: FakeSide, tmp_path: Path, mode: Mode = "infer") -> Launch:
    """One launch of a small network on a workbench that has this GPU."""
    workload = Workload("cpu", batch_size=2, threads=1, mode=mode)
    job = Job(0, base_spec(FAMILIES["mobilenet_v1"]), workload, "mobilenet_v1")
    bench = Workbench(Open("cpu", 1, 0, "pinned", str(tmp_path)), None, cast(CudaSide, side))
    built = bench.build(job, inspect=False)
    visited = bench.visit(0)
    ran = bench.sustain(0, 0.1, 5.0)
    bench.forget(0)
    launch = make_launch(rounds=1)
    visit = msgspec.structs.replace(
        launch.visits[0], **{name: getattr(visited, name) for name in visited.__struct_fields__}
    )
    fields: dict[str, Any] = msgspec.structs.asdict(built)
    return msgspec.structs.replace(launch, visits=(visit,), sustained=ran.sustained, **fields)


def row_on_cuda(*launches: Launch) -> MeasuredRow:
    record = msgspec.structs.replace(make_record(workload=Workload("cuda:0")), launches=launches)
    return measured_row(record, RunComparer(make_log(record)))


def test_the_device_is_asked_in_the_order_that_its_numbers_need(tmp_path: Path) -> None:
    side = FakeSide(energy="no counter")
    measured(side, tmp_path)
    assert side.asked == [
        *("before_build", "peak", "ready"),
        *("graph", "state"),
        "energy for 5 s",
        "forget",
    ]


def test_a_model_that_is_made_for_its_runtime_is_weighed_against_what_was_held_before_that(
    tmp_path: Path,
) -> None:
    side = FakeSide(energy="no counter")
    workload = Workload("cpu", batch_size=2, threads=1, runtime="openvino")
    job = Job(0, base_spec(FAMILIES["mobilenet_v1"]), workload, "mobilenet_v1")
    bench = Workbench(Open("cpu", 1, 0, "pinned", str(tmp_path)), None, cast(CudaSide, side))
    bench.make(job)
    assert side.asked == ["before_build"]
    bench.build(job, inspect=False)
    assert side.asked == ["before_build", "peak"]


def test_what_the_device_tells_is_in_the_launch_and_in_the_row(tmp_path: Path) -> None:
    launch = measured(FakeSide(energy=EnergyWindow(600.0, 100.0, 5.0, 66)), tmp_path)
    assert (launch.baseline_memory_bytes, launch.peak_memory_bytes) == (100, 200)
    row = row_on_cuda(launch)
    assert (row.reserved_memory_bytes, row.device_used_bytes, row.context_memory_bytes) == (300, 5000, 400)
    assert (row.gpu_clock_mhz, row.gpu_temperature_c, row.gpu_power_w) == (1700.0, 61, 300.5)
    assert row.graph_ms == 1.5
    assert row.gpu_ms is not None
    assert row.launch_bound_ratio == pytest.approx((row.latency_ms or 0) / 1.5, rel=1e-4)
    # 600 J in 5 s for 100 passes, of which the idle device would have drawn 350 J.
    assert row.energy_j == 6.0
    assert row.energy_net_j == 2.5
    assert launch.sustained is not None
    assert launch.sustained.temperature_c == 66


def test_what_the_device_does_not_tell_is_null_with_its_reason(tmp_path: Path) -> None:
    side = FakeSide(energy="this GPU has no energy counter", graph_missing="capture failed: no such thing")
    row = row_on_cuda(measured(side, tmp_path))
    assert row.graph_ms is None
    assert row.nulls["graph_ms"] == row.nulls["launch_bound_ratio"] == "capture failed: no such thing"
    assert row.nulls["energy_j"] == "this GPU has no energy counter"


def test_a_training_step_is_not_captured(tmp_path: Path) -> None:
    side = FakeSide(energy="no counter")
    launch = measured(side, tmp_path, "train")
    assert "ready" not in side.asked
    assert launch.graph_missing == "a training step is not captured"


def warned(state: GpuState, **fields: object) -> dict[str, str]:
    launch = make_launch(rounds=6)
    visits = tuple(msgspec.structs.replace(visit, gpu=state, **fields) for visit in launch.visits)
    row = row_on_cuda(*(msgspec.structs.replace(launch, launch=n, visits=visits) for n in range(3)))
    return {one.code: one.remedy for one in row.warnings}


def test_power_heat_and_neighbours_are_warnings_of_their_own() -> None:
    assert warned(GpuState()) == {}
    assert list(warned(GpuState(events=("sw_power_cap",)))) == ["power_capped"]
    assert list(warned(GpuState(events=("hw_thermal_slowdown", "sync_boost")))) == ["thermal"]
    assert list(warned(GpuState(other_processes=1))) == ["contended"]


def test_a_pass_that_waits_for_launches_says_what_helps() -> None:
    # 10 ms by the wall.
    assert warned(GpuState(), graph_samples_s=(0.009,)) == {}
    assert warned(GpuState(), graph_samples_s=(0.005,)) == {
        "launch_bound": "try --runtime compile or cudagraph, or a larger batch"
    }

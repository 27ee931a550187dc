"""The CUDA side of measuring without a GPU: recorded NVML answers, and a device whose clock is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import signature
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from scaleprof.measuring.cuda import graphs
from scaleprof.measuring.cuda.energy import EnergyWindow, GpuEnergy
from scaleprof.measuring.cuda.graphs import CaptureError, Captures, GraphTimer
from scaleprof.measuring.cuda.memory import CudaPeakMeter, Peak, create_context
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.cuda.state import EVENT_NAMES, event_names, read_state
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.energy import EnergyUnavailableError
from scaleprof.measuring.nvml import NvmlGpu, gpu_by_index, gpu_by_uuid
from scaleprof.measuring.timing import Call
from scaleprof.records import DeviceMemory, GpuState

GPU = "cuda:0"
UUID = "5f1b0c3e-0000-4a11-9d00-000000000001"
MIB = 2**20
NOT_PERMITTED = "CUDA error: operation not permitted when stream is capturing"
ENDED_BADLY = "CUDA error: operation failed due to a previous error during capture"


class FakeEvent:
    def __init__(self, cuda: FakeCuda, *, timing: bool) -> None:
        self._cuda = cuda
        self._timing = timing
        self.at_ns = 0

    def record(self) -> None:
        self.at_ns = max(self._cuda.device_ns, self._cuda.host_ns)

    def query(self) -> bool:
        return self._cuda.host_ns >= self.at_ns

    def synchronize(self) -> None:
        self._cuda.host_ns = max(self._cuda.host_ns, self.at_ns)

    def elapsed_time(self, last: FakeEvent) -> float:
        assert self._timing
        return (last.at_ns - self.at_ns) / 1e6


class FakeStream:
    def __init__(self, name: str) -> None:
        self.name = name
        self.waited_for: list[FakeStream] = []

    def wait_stream(self, stream: FakeStream) -> None:
        self.waited_for.append(stream)


class FakeGraph:
    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.kernels_ns: list[int] = []
        self.pool: int | None = None
        self.replays = 0

    def replay(self) -> None:
        assert self.pool is not None
        self.replays += 1
        self._cuda.enqueue(sum(self.kernels_ns))

    def reset(self) -> None:
        if self.pool is not None:
            self._cuda.pool_users[self.pool] -= 1
            self.pool = None


class FakeGenerator:
    def __init__(self, *, capturing: bool = False) -> None:
        self.capturing = capturing

    def clone_state(self) -> FakeGenerator:
        return FakeGenerator()

    def graphsafe_set_state(self, state: FakeGenerator) -> None:
        self.capturing = state.capturing


class FakeCuda:
    """`torch.cuda` with one device: kernels are queued behind each other, and the host's clock is ours.

    A failed capture leaves behind what it leaves in torch 2.11.
    """

    def __init__(self, *, clock_mhz: float = 1000.0, start_ns: int = 0) -> None:
        self.host_ns = self.device_ns = 0
        self.idle_ns = 0
        self.ran_ns: list[tuple[int, int]] = []
        self.pauses = 1.0  # how much longer than asked for this host sleeps
        self._cycle_ns = 1e3 / clock_mhz
        self._start_ns = start_ns
        self.side_streams = 0
        self.current = self.default = FakeStream("default")
        self.capturing: FakeGraph | None = None
        self.invalid = False
        self.recording: set[int] = set()
        self.pool_users: dict[int, int] = {}
        self.made: list[FakeGraph] = []
        self.default_generators = (FakeGenerator(),)
        self.memory = SimpleNamespace(_cuda_endAllocateToPool=self._end_recording)
        self.allocated = self.reserved = self.peak = self.peak_reserved = 0
        self.context = 400 * MIB
        self.others = 0
        self.initialized = False

    # The device's time.

    def clock_ns(self) -> int:
        return self.host_ns

    def clock_s(self) -> float:
        return self.host_ns / 1e9

    def spend(self, seconds: float) -> None:
        self.host_ns += round(seconds * 1e9)

    def sleep(self, seconds: float) -> None:
        self.spend(self.pauses * seconds)

    def enqueue(self, lasts_ns: int) -> None:
        began_ns = max(self.device_ns, self.host_ns)
        self.idle_ns += began_ns - self.device_ns
        self.device_ns = began_ns + self._start_ns + lasts_ns
        self.ran_ns.append((began_ns, self.device_ns))

    def kernel(self, lasts_s: float, *enqueue_s: float) -> Call:
        """A kernel; enqueueing it takes the first of `enqueue_s`, then the next, and the last for ever."""
        costs = list(enqueue_s or (0.0,))

        def launch() -> str:
            self.spend(costs.pop(0) if len(costs) > 1 else costs[0])
            if self.capturing is None:
                self.enqueue(round(lasts_s * 1e9))
            else:
                self.capturing.kernels_ns.append(round(lasts_s * 1e9))
            return "outputs"

        return launch

    def waits(self) -> None:
        """What reading a number from the device does."""
        if self.capturing is not None:
            self.invalid = True
            raise RuntimeError(f"{NOT_PERMITTED}\nCompile with TORCH_USE_CUDA_DSA")
        self.synchronize()

    def _sleep(self, cycles: int) -> None:
        self.initialized = True
        self.enqueue(round(cycles * self._cycle_ns))

    def Event(self, *, enable_timing: bool = False) -> FakeEvent:  # noqa: N802
        return FakeEvent(self, timing=enable_timing)

    def synchronize(self, device: object = None) -> None:
        self.host_ns = max(self.host_ns, self.device_ns)

    def device(self, device: torch.device) -> AbstractContextManager[None]:
        return nullcontext()

    # Streams and graphs.

    def Stream(self, device: object) -> FakeStream:  # noqa: N802
        self.side_streams += 1
        return FakeStream(f"side {self.side_streams}")

    def current_stream(self, device: object) -> FakeStream:
        return self.current

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def graph_pool_handle(self) -> int:
        self.pool_users[len(self.pool_users)] = 0
        return len(self.pool_users) - 1

    def CUDAGraph(self) -> FakeGraph:  # noqa: N802
        self.made.append(FakeGraph(self))
        return self.made[-1]

    @contextmanager
    def graph(self, graph: FakeGraph, *, pool: int, stream: FakeStream) -> Iterator[None]:
        if pool in self.recording:
            raise RuntimeError("beginAllocateToPool: already recording to mempool_id")
        used_before = any(one.kernels_ns for one in self.made if one is not graph)
        assert self.pool_users[pool] or not used_before or pool == len(self.pool_users) - 1
        self.recording.add(pool)
        self.pool_users[pool] += 1
        self.capturing, self.current = graph, stream
        self.default_generators[0].capturing = True
        try:
            yield
        finally:
            self.capturing = None
            if self.invalid:  # and nothing is put back
                self.invalid = False
                self.current = FakeStream("lost")
                raise RuntimeError(ENDED_BADLY)
            graph.pool = pool
            self.recording.remove(pool)
            self.default_generators[0].capturing = False

    def _end_recording(self, index: int, pool: int) -> None:
        assert index == 0
        if pool not in self.recording:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.recording.remove(pool)

    # Memory.

    def hold(self, count: int) -> None:
        self.allocated += count
        self.reserved = max(self.reserved, self.allocated)
        self.peak, self.peak_reserved = max(self.peak, self.allocated), max(self.peak_reserved, self.reserved)

    def passing(self, count: int) -> None:
        """A pass that holds so many bytes for a while."""
        self.hold(count)
        self.hold(-count)

    def used(self) -> int:
        return self.others + self.reserved + (self.context if self.initialized else 0)

    def empty_cache(self) -> None:
        self.reserved = self.allocated

    def reset_peak_memory_stats(self, device: object) -> None:
        self.peak, self.peak_reserved = self.allocated, self.reserved

    def memory_allocated(self, device: object) -> int:
        return self.allocated

    def memory_reserved(self, device: object) -> int:
        return self.reserved

    def max_memory_allocated(self, device: object) -> int:
        return self.peak

    def max_memory_reserved(self, device: object) -> int:
        return self.peak_reserved

    def mem_get_info(self, device: object) -> tuple[int, int]:
        return 1000 * MIB - self.used(), 1000 * MIB

    def is_initialized(self) -> bool:
        return self.initialized

    def get_device_properties(self, device: object) -> SimpleNamespace:
        return SimpleNamespace(uuid=UUID)

    def _get_nvml_device_index(self, device: object) -> int:
        return 2


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """A recorded `pynvml`: a call gives its answer, that of a function, or the error of one not supported."""

    NVMLError = FakeNvmlError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, **answers: object) -> None:
        self.answers: dict[str, object] = {**RECORDED, **answers}
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self.answers:
            raise AttributeError(name)
        answer = self.answers[name]

        def call(*arguments: object) -> object:
            self.asked.append(name)
            if isinstance(answer, Exception):
                raise answer
            return answer(*arguments) if callable(answer) else answer

        return call


UNSUPPORTED = FakeNvmlError("Not Supported")
OWN_PID = 99
RECORDED: dict[str, object] = {
    "nvmlInit": None,
    "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
    "nvmlDeviceGetHandleByUUID": "handle 2",
    "nvmlDeviceGetUUID": f"GPU-{UUID}",
    "nvmlDeviceGetClockInfo": lambda _handle, kind: {1: 1755, 2: 2619}[kind],
    "nvmlDeviceGetTemperature": 44,
    "nvmlDeviceGetPowerUsage": 301_250,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x20,
    "nvmlDeviceGetComputeRunningProcesses": [
        SimpleNamespace(pid=OWN_PID, usedGpuMemory=None),
        SimpleNamespace(pid=7, usedGpuMemory=0),
    ],
    "nvmlDeviceGetGraphicsRunningProcesses": [SimpleNamespace(pid=7, usedGpuMemory=0)],
    "nvmlDeviceGetMPSComputeRunningProcesses": UNSUPPORTED,
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=600 * MIB),
    "nvmlDeviceGetTotalEnergyConsumption": 123_456_789,
}


def recorded(**answers: object) -> NvmlGpu:
    gpu = gpu_by_uuid(FakeNvml(**answers), UUID)
    assert gpu is not None
    return gpu


def timer_of(cuda: FakeCuda) -> CudaTimer:
    return CudaTimer(GPU, cuda=cuda, clock_ns=cuda.clock_ns)


def several(*calls: Call) -> Call:
    def run() -> None:
        for call in calls:
            call()

    return run


# Time.


def test_wall_time_is_from_an_idle_device_to_an_idle_device() -> None:
    cuda = FakeCuda()
    cuda.kernel(5.0)()  # under way already, and nobody's sample
    assert timer_of(cuda).wall_s(cuda.kernel(0.003, 0.001)) == 0.004


def test_device_time_has_no_launch_gaps_and_wall_time_has() -> None:
    cuda = FakeCuda()
    call = several(*[cuda.kernel(0.0002, 0.001)] * 3)
    assert timer_of(cuda).wall_s(call) == pytest.approx(0.0032)
    assert timer_of(cuda).gpu_s(call) == pytest.approx(0.0006)


def test_device_time_is_missing_when_the_queue_ran_dry() -> None:
    cuda = FakeCuda()
    call = several(cuda.kernel(0.001), cuda.waits, cuda.kernel(0.001))
    assert timer_of(cuda).gpu_s(call) is None


@pytest.mark.parametrize(("enqueue_s", "seen"), [(0.0024, 0.001), (0.0026, None)])
def test_device_time_is_missing_when_enqueueing_outlasts_the_spin(
    enqueue_s: float, seen: float | None
) -> None:
    cuda = FakeCuda(
        clock_mhz=3500
    )  # a spin lasts as long as was planned: 1.5 times a millisecond and one more
    assert timer_of(cuda).gpu_s(cuda.kernel(0.001, 0.001, enqueue_s)) == seen


@pytest.mark.parametrize("clock_mhz", [210.0, 1410.0, 1980.0])
def test_the_clock_is_that_of_the_device_whatever_starting_a_kernel_takes(clock_mhz: float) -> None:
    seen = timer_of(FakeCuda(clock_mhz=clock_mhz, start_ns=7000)).clock_mhz()
    assert seen == pytest.approx(clock_mhz, rel=1e-6)


def test_a_clock_that_cannot_be_told_is_none() -> None:
    assert timer_of(FakeCuda(clock_mhz=1e12)).clock_mhz() is None


def test_a_block_is_timed_from_its_first_kernel() -> None:
    cuda = FakeCuda()
    assert timer_of(cuda).block_s(cuda.kernel(0.002, 0.001)) == 0.002


# Graphs.


def captured(cuda: FakeCuda, call: Call) -> GraphTimer:
    return GraphTimer(Captures(GPU, cuda=cuda).capture(call), timer_of(cuda))


def test_a_graph_is_replayed_in_blocks_of_ten_milliseconds_and_tells_seconds_a_pass() -> None:
    cuda = FakeCuda()
    timer = captured(cuda, several(cuda.kernel(0.00015, 0.001), cuda.kernel(0.00005, 0.001)))
    (graph,) = cuda.made
    assert graph.replays == 1
    assert timer.samples_s() == pytest.approx((0.0002,) * 3)
    blocks = (graph.replays - 2) / 3  # one to upload it, one to see how long it takes
    assert blocks == 55
    assert blocks * 0.0002 >= graphs.BLOCK_S
    timer.samples_s()
    assert graph.replays == 2 + 6 * 55


def test_a_graph_of_a_long_pass_is_a_block_by_itself() -> None:
    cuda = FakeCuda()
    assert captured(cuda, cuda.kernel(0.25)).samples_s() == pytest.approx((0.25,) * 3)
    assert cuda.made[0].replays == 1 + 3


def test_a_graph_is_a_pass_that_gives_its_outputs() -> None:
    cuda = FakeCuda()
    graph = Captures(GPU, cuda=cuda).capture(cuda.kernel(0.001))
    assert graph() == graph.outputs == "outputs"
    assert cuda.made[0].replays == 2


def test_passes_warm_up_on_the_side_stream_and_the_callers_stream_comes_back() -> None:
    cuda, streams = FakeCuda(), []
    Captures(GPU, cuda=cuda).capture(lambda: streams.append((cuda.current.name, cuda.capturing is not None)))
    assert streams == [("side 1", False)] * 3 + [("side 1", True)]
    assert cuda.current is cuda.default


def test_all_graphs_of_a_process_share_a_stream_and_a_pool() -> None:
    cuda = FakeCuda()
    captures = Captures(GPU, cuda=cuda)
    kept = [captures.capture(cuda.kernel(0.001)) for _ in range(3)]
    assert cuda.pool_users == {0: 3}
    assert (cuda.side_streams, len(kept)) == (1, 3)


def test_a_pool_whose_graphs_are_all_gone_is_not_captured_into() -> None:
    cuda = FakeCuda()
    captures = Captures(GPU, cuda=cuda)
    for _ in range(2):
        captures.release(captures.capture(cuda.kernel(0.001)))
    kept = captures.capture(cuda.kernel(0.001))
    assert cuda.pool_users == {0: 0, 1: 0, 2: 1}
    assert kept.pool == 2


def test_a_capture_that_fails_is_a_reason_in_one_line() -> None:
    cuda = FakeCuda()
    with pytest.raises(CaptureError) as caught:
        Captures(GPU, cuda=cuda).capture(several(cuda.kernel(0.001), cuda.waits))
    assert str(caught.value) == f"a pass cannot be captured: {NOT_PERMITTED}"


def test_after_a_failed_capture_the_process_goes_on() -> None:
    cuda = FakeCuda()
    captures = Captures(GPU, cuda=cuda)
    before = captures.capture(cuda.kernel(0.001))
    with pytest.raises(CaptureError):
        captures.capture(cuda.waits)
    assert cuda.current is cuda.default
    assert cuda.recording == set()
    assert not cuda.default_generators[0].capturing
    after = captures.capture(cuda.kernel(0.001))
    assert (before.pool, after.pool) == (0, 1)
    assert (before(), after()) == ("outputs", "outputs")
    captures.release(before)


@pytest.mark.parametrize(
    "error", [RuntimeError("endAllocatePool: not currently recording"), AttributeError()]
)
def test_a_torch_that_cleans_up_itself_is_no_further_failure(error: Exception) -> None:
    cuda = FakeCuda()

    def refuse(_index: int, pool: int) -> None:
        cuda.recording.discard(pool)
        raise error

    cuda.memory = SimpleNamespace(_cuda_endAllocateToPool=refuse)
    with pytest.raises(CaptureError, match=NOT_PERMITTED):
        Captures(GPU, cuda=cuda).capture(cuda.waits)


def test_memory_that_runs_out_while_a_graph_is_made_leaves_the_model_without_one() -> None:
    def wants_too_much() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    with pytest.raises(CaptureError, match=r"^a pass cannot be captured: CUDA out of memory\.$"):
        Captures(GPU, cuda=FakeCuda()).capture(wants_too_much)


# What stands in for torch.cuda has nothing that torch.cuda lacks.

OURS = {"clock_ns", "clock_s", "spend", "sleep", "enqueue", "kernel", "waits", "hold", "passing", "used"}


def test_every_name_of_torch_cuda_that_is_used_exists() -> None:
    names = named(FakeCuda) - OURS - {"_end_recording"}
    assert {"_sleep", "graph_pool_handle", "mem_get_info"} < names
    assert [name for name in sorted(names) if not hasattr(torch.cuda, name)] == []
    assert hasattr(torch.cuda, "default_generators")
    assert hasattr(torch.cuda.memory, "_cuda_endAllocateToPool")
    assert {"pool", "stream"} <= set(signature(torch.cuda.graph).parameters)
    for real, fake in ((torch.Generator, FakeGenerator), (torch.cuda.Event, FakeEvent)):
        assert [name for name in named(fake) if not hasattr(real, name)] == []


def named(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("__")}


# State.


def test_the_state_is_what_nvml_recorded_beside_the_clock_that_was_timed() -> None:
    assert read_state(recorded(), 1749.5, own_pid=OWN_PID) == GpuState(
        clock_mhz=1749.5,
        reported_clock_mhz=1755,
        memory_clock_mhz=2619,
        temperature_c=44,
        power_w=301.25,
        events=("sw_power_cap", "sw_thermal_slowdown"),
        other_processes=1,
    )


def test_what_nvml_does_not_tell_is_none_and_no_crash() -> None:
    silent = recorded(**dict.fromkeys((name for name in RECORDED if "Handle" not in name), UNSUPPORTED))
    assert read_state(silent, 1000.0) == read_state(None, 1000.0) == GpuState(clock_mhz=1000.0)


def test_older_drivers_call_event_reasons_throttling() -> None:
    old = recorded(
        nvmlDeviceGetCurrentClocksEventReasons=UNSUPPORTED, nvmlDeviceGetCurrentClocksThrottleReasons=0x40
    )
    assert read_state(old, None).events == ("hw_thermal_slowdown",)


def test_event_reasons_have_the_names_of_the_drivers_header_and_idling_is_none() -> None:
    pynvml = pytest.importorskip("pynvml")
    for bit, name in EVENT_NAMES.items():
        words = "".join(word.capitalize() for word in name.split("_"))
        assert getattr(pynvml, f"nvmlClocksThrottleReason{words}") == bit
    every = pynvml.nvmlClocksThrottleReasonAll
    assert event_names(every) == tuple(EVENT_NAMES.values())
    assert event_names(pynvml.nvmlClocksThrottleReasonGpuIdle) == ()


@pytest.mark.parametrize(
    ("pids", "others"),
    [([OWN_PID], 0), ([7, OWN_PID, 8], 2), ([7, 8], None), ([], None), (UNSUPPORTED, None)],
    ids=["alone", "two others", "numbers of another container", "hidden", "not supported"],
)
def test_other_processes_are_counted_only_where_this_one_is_seen(
    pids: list[int] | FakeNvmlError, others: int | None
) -> None:
    told = pids if isinstance(pids, Exception) else [SimpleNamespace(pid=pid) for pid in pids]
    gpu = recorded(nvmlDeviceGetComputeRunningProcesses=told, nvmlDeviceGetGraphicsRunningProcesses=[])
    assert read_state(gpu, None, own_pid=OWN_PID).other_processes == others


def test_every_nvml_name_that_is_asked_for_exists() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = [*RECORDED, "NVML_CLOCK_SM", "NVML_CLOCK_MEM", "NVML_TEMPERATURE_GPU"]
    assert [name for name in names if not hasattr(pynvml, name)] == []


# Energy: a GPU that draws a steady power, whose counter moves every tenth of a second.

TICK_NS = 100_000_000


def counter_of(cuda: FakeCuda, power_w: int) -> Callable[[object], int]:
    return lambda _handle: cuda.host_ns // TICK_NS * (power_w * TICK_NS // 1_000_000)


def energy_of(cuda: FakeCuda, power_w: int = 300) -> GpuEnergy:
    gpu = recorded(nvmlDeviceGetTotalEnergyConsumption=counter_of(cuda, power_w))
    return GpuEnergy(GPU, gpu, cuda=cuda, clock_s=cuda.clock_s, sleep=cuda.sleep)


@pytest.mark.parametrize("begin_ms", [0, 2, 37, 99])
@pytest.mark.parametrize(("pass_s", "passes"), [(0.0005, 4000), (0.005, 400), (0.04, 50), (0.25, 8)])
def test_joules_and_passes_are_those_between_two_ticks(begin_ms: int, pass_s: float, passes: float) -> None:
    cuda = FakeCuda()
    cuda.host_ns = begin_ms * 1_000_000
    seen = energy_of(cuda).window(cuda.kernel(pass_s), pass_s, 1.95)
    assert (seen.joules, seen.temperature_c) == (600.0, 44)
    assert seen.passes == pytest.approx(passes)
    assert seen.window_s == pytest.approx(2.0)


@pytest.mark.parametrize(("at_least_s", "window_s"), [(0.001, 0.1), (1.89, 1.9), (1.91, 2.0), (4.99, 5.0)])
def test_a_window_ends_with_the_first_tick_after_its_length(at_least_s: float, window_s: float) -> None:
    cuda = FakeCuda()
    seen = energy_of(cuda).window(cuda.kernel(0.001), 0.001, at_least_s)
    assert seen.joules == pytest.approx(300 * window_s)
    assert seen.window_s == pytest.approx(window_s)


def test_the_counter_is_looked_at_near_its_ticks_alone() -> None:
    cuda, looks_ms = FakeCuda(), list[float]()
    ticking = counter_of(cuda, 300)

    def looked_at(handle: object) -> int:
        looks_ms.append(cuda.host_ns / 1e6)
        return ticking(handle)

    gpu = recorded(nvmlDeviceGetTotalEnergyConsumption=looked_at)
    counter = GpuEnergy(GPU, gpu, cuda=cuda, clock_s=cuda.clock_s, sleep=cuda.sleep)
    counter.window(cuda.kernel(0.001), 0.001, 1.95)
    assert not [at_ms for at_ms in looks_ms if 100 < at_ms < 2050]
    assert (looks_ms[0], looks_ms[-1]) == (0, 2100)


def test_the_device_is_busy_for_the_whole_window_and_one_chunk_ahead() -> None:
    cuda, looks = FakeCuda(), list[int]()
    ticking = counter_of(cuda, 300)

    def looked_at(handle: object) -> int:
        if cuda.device_ns:
            looks.append(cuda.device_ns - cuda.host_ns)
        return ticking(handle)

    gpu = recorded(nvmlDeviceGetTotalEnergyConsumption=looked_at)
    counter = GpuEnergy(GPU, gpu, cuda=cuda, clock_s=cuda.clock_s, sleep=cuda.sleep)
    counter.window(cuda.kernel(0.001), 0.001, 1.95)
    assert cuda.idle_ns == 0
    assert min(looks) > 5_000_000
    assert max(looks) <= 10_000_000
    assert cuda.host_ns == cuda.device_ns  # it is waited for at the end


def passes_until(cuda: FakeCuda, moment_ns: int) -> float:
    """How many kernels the device had run by then, the one under way by its share."""
    return sum(
        min(1.0, (moment_ns - began_ns) / (ended_ns - began_ns))
        for began_ns, ended_ns in cuda.ran_ns
        if began_ns < moment_ns
    )


@pytest.mark.parametrize(
    ("pass_s", "enqueue_s", "pauses", "within"),
    [
        pytest.param(0.0003, 0.0, 1, 4, id="ticks at any place in a chunk"),
        pytest.param(0.07, 0.0, 1, 0.02, id="ticks at any place in a long pass"),
        pytest.param(0.001, 0.0002, 1, 2, id="enqueueing takes its time"),
        pytest.param(0.001, 0.0012, 1, 8, id="bound by launches"),
        pytest.param(0.001, 0.0, 9, 8, id="a host that sleeps too long"),
        pytest.param(0.001, 0.0, 30, 10, id="a host that lets the queue run dry"),
    ],
)
def test_passes_are_those_that_the_device_ran_between_the_ticks(
    pass_s: float, enqueue_s: float, pauses: float, within: float
) -> None:
    cuda = FakeCuda()
    cuda.pauses = pauses
    seen = energy_of(cuda).window(cuda.kernel(pass_s, enqueue_s), pass_s, 1.93)
    assert seen.joules == 600
    true_passes = passes_until(cuda, 21 * TICK_NS) - passes_until(cuda, TICK_NS)
    assert seen.passes == pytest.approx(true_passes, abs=within)


def test_a_pass_that_is_slower_than_was_thought_is_counted_all_the_same() -> None:
    cuda = FakeCuda()
    assert energy_of(cuda).window(cuda.kernel(0.002), 0.001, 1.95).passes == pytest.approx(1000)


def test_idle_power_is_taken_from_tick_to_tick_with_nothing_in_the_queue() -> None:
    cuda = FakeCuda()
    cuda.host_ns = 73_000_000
    assert energy_of(cuda, power_w=55).idle_power_w(1.0) == pytest.approx(55)
    assert cuda.device_ns == 0


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [
        (None, "NVML, which has the GPU's energy counter, cannot be asked here"),
        (recorded(nvmlDeviceGetTotalEnergyConsumption=UNSUPPORTED), "this GPU has no energy counter"),
    ],
)
def test_a_missing_counter_is_a_reason_in_words(gpu: NvmlGpu | None, reason: str) -> None:
    with pytest.raises(EnergyUnavailableError, match=reason):
        GpuEnergy(GPU, gpu)


def test_a_counter_that_stands_still_is_no_energy() -> None:
    cuda = FakeCuda()
    still = GpuEnergy(GPU, recorded(), cuda=cuda, clock_s=cuda.clock_s, sleep=cuda.sleep)
    with pytest.raises(EnergyUnavailableError, match="stood still for 2 s"):
        still.window(cuda.kernel(0.001), 0.001, 2.0)
    assert cuda.host_ns == cuda.device_ns
    with pytest.raises(EnergyUnavailableError, match="stood still"):
        still.idle_power_w()


# Memory.


def test_the_peak_is_the_allocators_beyond_the_baseline_and_the_first_call_is_apart() -> None:
    cuda = FakeCuda()
    cuda.initialized, cuda.others = True, 5 * MIB
    cuda.hold(10 * MIB)
    meter = CudaPeakMeter(GPU, context_bytes=400 * MIB, cuda=cuda)
    cuda.hold(20 * MIB)  # weights
    cuda.passing(500 * MIB)  # a first call that tries out kernels
    passes = iter([30 * MIB, 40 * MIB])
    assert meter.peak(lambda: cuda.passing(next(passes))) == Peak(
        baseline_bytes=10 * MIB,
        peak_bytes=60 * MIB,
        device_memory=DeviceMemory(
            reserved_bytes=70 * MIB, used_bytes=(5 + 70 + 400) * MIB, context_bytes=400 * MIB
        ),
    )


def memory_told_by(cuda: FakeCuda) -> NvmlGpu:
    return recorded(nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace(used=cuda.used()))


def test_the_context_is_what_the_device_holds_more_once_it_is_there() -> None:
    cuda = FakeCuda()
    cuda.others = 77 * MIB
    assert create_context(GPU, memory_told_by(cuda), cuda=cuda) == 400 * MIB
    assert cuda.initialized


def test_what_the_allocator_took_meanwhile_is_no_part_of_the_context() -> None:
    class Allocating(FakeCuda):
        def _sleep(self, cycles: int) -> None:
            super()._sleep(cycles)
            self.hold(2 * MIB)

    cuda = Allocating()
    assert create_context(GPU, memory_told_by(cuda), cuda=cuda) == 400 * MIB


def test_a_context_that_was_there_before_or_cannot_be_seen_has_no_size() -> None:
    cuda = FakeCuda()
    assert create_context(GPU, None, cuda=cuda) is None
    assert cuda.initialized
    growing = iter([600 * MIB, 700 * MIB])
    others = recorded(nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace(used=next(growing)))
    assert create_context(GPU, others, cuda=cuda) is None
    assert create_context(GPU, recorded(), cuda=FakeCuda()) is None  # it reads the same before and after
    assert create_context(GPU, recorded(nvmlDeviceGetMemoryInfo=UNSUPPORTED), cuda=FakeCuda()) is None


# All of it together.


def nvml_of(cuda: FakeCuda, **answers: object) -> FakeNvml:
    return FakeNvml(
        nvmlDeviceGetTotalEnergyConsumption=counter_of(cuda, 55),
        nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace(used=cuda.used()),
        **answers,
    )


def side_of(cuda: FakeCuda, nvml: FakeNvml | None) -> CudaSide:
    return CudaSide(GPU, nvml=nvml, cuda=cuda, clock_ns=cuda.clock_ns, sleep=cuda.sleep)


def test_a_worker_has_everything_of_its_gpu_behind_one_door() -> None:
    cuda = FakeCuda(clock_mhz=1500)
    side = side_of(cuda, nvml_of(cuda))
    call = cuda.kernel(0.001, 0.0005)
    side.before_build()
    cuda.hold(20 * MIB)
    assert side.peak(call) == Peak(
        0, 20 * MIB, DeviceMemory(reserved_bytes=20 * MIB, used_bytes=420 * MIB, context_bytes=400 * MIB)
    )
    assert side.ready(3, call) is None
    assert side.graph_samples_s(3) == pytest.approx((0.001,) * 3)
    assert side.timer.wall_s(call) == pytest.approx(0.0015)
    state = side.state()
    assert state.clock_mhz == pytest.approx(1500, rel=1e-3)
    assert state.temperature_c == 44
    assert side.idle_power_w == pytest.approx(55)
    assert side.energy_missing is None
    window = side.energy(call, 0.001, 2.0)
    assert isinstance(window, EnergyWindow)
    assert window.joules == pytest.approx(55 * window.window_s)


def test_a_worker_without_nvml_has_all_that_torch_tells() -> None:
    cuda = FakeCuda()
    for nvml in (None, FakeNvml(nvmlInit=FakeNvmlError("Driver Not Loaded"))):
        side = side_of(cuda, nvml)
        assert side.idle_power_w is None
        assert side.energy_missing == "NVML, which has the GPU's energy counter, cannot be asked here"
        assert side.energy(cuda.kernel(0.001), 0.001, 2.0) == side.energy_missing
        assert side.state() == GpuState(clock_mhz=side.timer.clock_mhz())
        side.before_build()
        assert side.peak(lambda: None).device_memory.context_bytes is None


def test_a_counter_that_stops_later_is_a_reason_too() -> None:
    cuda = FakeCuda()
    nvml = nvml_of(cuda)
    side = side_of(cuda, nvml)
    nvml.answers["nvmlDeviceGetTotalEnergyConsumption"] = UNSUPPORTED
    assert "has no energy counter" in str(side.energy(cuda.kernel(0.001), 0.001, 2.0))


def test_a_pass_that_cannot_be_captured_has_a_reason_and_no_samples() -> None:
    cuda = FakeCuda()
    side = side_of(cuda, nvml_of(cuda))
    assert side.ready(1, cuda.waits) == f"a pass cannot be captured: {NOT_PERMITTED}"
    assert side.graph_samples_s(1) is None


def test_a_pass_that_is_a_graph_already_is_timed_as_it_is() -> None:
    cuda = FakeCuda()
    side = side_of(cuda, None)
    graph = side.capture(cuda.kernel(0.02))
    assert side.ready(0, graph) is None
    assert len(cuda.made) == 1
    assert side.graph_samples_s(0) == pytest.approx((0.02,) * 3)


def test_a_model_that_is_forgotten_leaves_no_graph() -> None:
    cuda = FakeCuda()
    side = side_of(cuda, None)
    side.ready(0, cuda.kernel(0.001))
    side.forget(0)
    side.forget(0)
    assert side.graph_samples_s(0) is None
    assert cuda.pool_users == {0: 0}


def test_memory_of_another_gpu_is_nobodys_context() -> None:
    cuda = FakeCuda()
    side = side_of(cuda, nvml_of(cuda, nvmlDeviceGetUUID="GPU-other"))
    side.before_build()
    assert side.peak(lambda: None).device_memory.context_bytes is None


def test_a_gpu_that_torch_cannot_number_is_still_found_by_its_uuid() -> None:
    class Unnumbered(FakeCuda):
        def _get_nvml_device_index(self, device: object) -> int:
            raise RuntimeError("Can't get device UUIDs")

    cuda = Unnumbered()
    side = side_of(cuda, nvml_of(cuda))
    assert side.state().temperature_c == 44
    side.before_build()
    assert side.peak(lambda: None).device_memory.context_bytes is None


def test_a_peak_needs_its_baseline() -> None:
    with pytest.raises(RuntimeError, match="before_build comes before peak"):
        side_of(FakeCuda(), None).peak(lambda: None)


def test_the_gpu_is_watched_and_never_set() -> None:
    cuda = FakeCuda()
    nvml = nvml_of(cuda)
    side = side_of(cuda, nvml)
    side.state()
    side.energy(cuda.kernel(0.001), 0.001, 2.0)
    assert all(name == "nvmlInit" or "Get" in name for name in nvml.asked)


def test_a_gpu_that_is_not_there_is_none() -> None:
    gone = FakeNvml(nvmlDeviceGetHandleByIndex=UNSUPPORTED, nvmlDeviceGetHandleByUUID=UNSUPPORTED)
    assert gpu_by_index(gone, 0) is None
    assert gpu_by_uuid(gone, UUID) is None
    assert gpu_by_index(None, 0) is None

"""`scaleprof doctor`: recorded facts and what is made of them, and the self-test."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from builders import SimulatedBench, make_launch, make_visit
from click.testing import CliRunner
from conftest import Scaleprof, clean_environment
from rich.console import Console

from scaleprof.app.doctor import SELF_TEST_LAUNCHES, Examination, self_test
from scaleprof.cli import run as run_cli
from scaleprof.cli.doctor import doctor, findings_table
from scaleprof.errors import MeasuringError
from scaleprof.measuring.doctor import gpu, limits, neighbours, processor, software
from scaleprof.measuring.doctor.finding import Finding, fine, unknown, warn
from scaleprof.measuring.doctor.gpu import GpuFacts, GpuProcess
from scaleprof.measuring.doctor.limits import LimitFacts
from scaleprof.measuring.doctor.neighbours import BusyProcess, NeighbourFacts
from scaleprof.measuring.doctor.probe import TorchFacts, ask_torch
from scaleprof.measuring.doctor.software import SoftwareFacts
from scaleprof.measuring.messages import Job
from scaleprof.measuring.nvml import opened
from scaleprof.measuring.processor import ProcessorFacts, processor_facts
from scaleprof.measuring.rounds import BenchLostError
from scaleprof.records import Launch
from scaleprof.stats.resolution import resolution

GIB = 2**30

QUIET_CPU = ProcessorFacts(
    logical_cpus=4,
    allowed=(0, 1, 2, 3),
    threads=2,
    governors=dict.fromkeys(range(4), "performance"),
    turbo=False,
    siblings={0: (0, 2), 1: (1, 3), 2: (0, 2), 3: (1, 3)},
)
ALONE = NeighbourFacts(
    cpus=4,
    load_1m=0.1,
    cpu_pressure=0.001,
    busy=(),
    hidden_cpus=0.0,
    steal_now=0.0,
    steal_since_start=0.0004,
    virtual=False,
)
UNLIMITED = LimitFacts(
    threads=2,
    quota_cpus=math.inf,
    periods=0,
    throttled=0,
    memory_bytes=16 * GIB,
    available_bytes=12 * GIB,
    swap_used_bytes=0,
    clear_refs=None,
    has_rapl=True,
    rapl=None,
)
WORKER = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "MALLOC_TOP_PAD_": "67108864"}
SOUND = SoftwareFacts(
    libc="glibc 2.36",
    environ={"HOME": "/home/me", "LD_PRELOAD": ""},
    worker_environ={"HOME": "/home/me", **WORKER},
    mapped_mallocs=(),
    nvml_packages={"nvidia-ml-py": "13.580.82"},
    torchvision_needs="torch==2.11.0",
    torch=TorchFacts(torch="2.11.0+cpu", torchvision="0.26.0+cpu", capability="AVX2", onednn=True),
)
COOL = GpuFacts(
    name="NVIDIA H100 80GB HBM3",
    processes=(),
    memory_used_bytes=500 * 2**20,
    utilisation=0.0,
    sm_clock_mhz=345,
    max_sm_clock_mhz=1980,
    event_reasons=0x1,
    ecc=True,
    ecc_pending=True,
    mig=False,
    persistent=True,
    power_limit_w=700.0,
    default_power_limit_w=700.0,
    temperature_c=35,
    slowdown_c=90,
)


def states(facts: Any, checks: Sequence[Callable[[Any], Finding]]) -> dict[str, str]:
    return {finding.check: finding.state for finding in (check(facts) for check in checks)}


@pytest.mark.parametrize(
    ("facts", "checks"),
    [
        (QUIET_CPU, processor.PROCESSOR_CHECKS),
        (ALONE, neighbours.NEIGHBOUR_CHECKS),
        (UNLIMITED, limits.LIMIT_CHECKS),
        (SOUND, software.SOFTWARE_CHECKS),
        (COOL, gpu.GPU_CHECKS),
    ],
)
def test_a_machine_without_fault_gets_no_warning(
    facts: Any, checks: Sequence[Callable[[Any], Finding]]
) -> None:
    assert set(states(facts, checks).values()) == {"ok"}


def test_what_a_system_does_not_tell_is_never_called_ok() -> None:
    untold_cpu = ProcessorFacts(2, (0, 1), 2, {}, None, {})
    assert states(untold_cpu, processor.PROCESSOR_CHECKS) == {
        "CPU governor": "unknown",
        "turbo": "unknown",
        "hyper-threads": "unknown",
        "CPU affinity": "ok",
    }
    assert set(states(NeighbourFacts(cpus=2), neighbours.NEIGHBOUR_CHECKS).values()) == {"unknown"}
    untold_limits = LimitFacts(2, None, None, None, 0, 0, 0, None, False, "no RAPL energy counter")
    assert states(untold_limits, limits.LIMIT_CHECKS) == {
        "CPU quota": "unknown",
        "throttling": "unknown",
        "free memory": "unknown",
        "swap": "unknown",
        "peak memory": "ok",
        "CPU energy": "unknown",
    }
    told = states(GpuFacts(), gpu.GPU_CHECKS)
    assert told.pop("GPU slices (MIG)") == "ok"  # GPUs that cannot be sliced do not answer
    assert set(told.values()) == {"unknown"}
    unheard = msgspec.structs.replace(
        SOUND, libc=None, torchvision_needs=None, torch=TorchFacts(torch="2.11.0")
    )
    found = states(unheard, software.SOFTWARE_CHECKS)
    assert [name for name, state in found.items() if state == "unknown"] == [
        "C library",
        "torch, torchvision",
        "oneDNN",
        "CPU capability",
    ]


Case = tuple[Callable[[Any], Finding], Any, Mapping[str, object], str, str]
BAD: list[Case] = [
    (processor.check_governor, QUIET_CPU, {"governors": {0: "powersave", 1: "powersave", 2: "performance"}},
     "powersave on 2, performance on 1 of 3 CPUs", "cpupower"),
    (processor.check_turbo, QUIET_CPU, {"turbo": True}, "on: the clock depends on heat", "no_turbo"),
    (processor.check_smt, QUIET_CPU, {"threads": 4}, "4 threads on 2 cores", "--threads 2"),
    (processor.check_affinity, QUIET_CPU, {"allowed": (0, 1, 3)}, "CPUs 0-1,3 of 4", "taskset"),
    (neighbours.check_load, ALONE, {"load_1m": 3.97}, "3.97 over the last minute, 4 CPUs", "wait a minute"),
    (neighbours.check_pressure, ALONE, {"cpu_pressure": 0.31}, "in 31 % of the last ten", "--threads"),
    (neighbours.check_processes, ALONE, {"busy": (BusyProcess(42, "cc1plus", 0.98),)},
     "cc1plus (pid 42) 98 % of a CPU", "stop them"),
    (neighbours.check_processes, ALONE, {"busy": tuple(BusyProcess(n, "make", 0.5) for n in range(5))},
     "and 2 more", "stop them"),
    (neighbours.check_processes, ALONE, {"hidden_cpus": 1.3}, "1.3 CPUs are in use", "outside"),
    (neighbours.check_virtual, ALONE, {"virtual": True, "virtual_name": "QEMU Standard PC"},
     "yes (QEMU Standard PC)", "rigorous"),
    (neighbours.check_steal, ALONE, {"virtual": True, "steal_now": 0.12}, "12 % during", "dedicated"),
    (limits.check_quota, UNLIMITED, {"quota_cpus": 1.5}, "1.5 CPUs for 2 threads", "--threads 1"),
    (limits.check_quota, UNLIMITED, {"quota_cpus": 0.5}, "0.5 CPUs for 2 threads", "a higher CPU limit"),
    (limits.check_throttling, UNLIMITED, {"quota_cpus": 2.0, "periods": 5000, "throttled": 600},
     "held back in 12 % of 5.00 k periods", "fewer --threads"),
    (limits.check_memory, UNLIMITED, {"available_bytes": GIB}, "1.00 GiB of 16.0 GiB", "stop what holds"),
    (limits.check_swap, UNLIMITED, {"swap_used_bytes": GIB}, "1.00 GiB in use", "swapoff"),
    (limits.check_clear_refs, UNLIMITED, {"clear_refs": "Permission denied"}, "(Permission denied)", "/proc"),
    (limits.check_rapl, UNLIMITED, {"rapl": "may not be read"}, "may not be read", "chmod a+r"),
    (software.check_libc, SOUND, {"libc": "musl 1.2"}, "musl 1.2: the allocator cannot be pinned", "Alpine"),
    (software.check_malloc, SOUND, {"environ": {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}},
     "libjemalloc.so.2 replaces", "LD_PRELOAD"),
    (software.check_malloc, SOUND, {"mapped_mallocs": ("libtcmalloc.so.4",)}, "libtcmalloc", "LD_PRELOAD"),
    (software.check_malloc, SOUND, {"environ": {"MALLOC_TOP_PAD_": "0"}},
     "MALLOC_TOP_PAD_ will be overridden", "unset MALLOC_TOP_PAD_"),
    (software.check_malloc, SOUND,
     {"environ": {"MALLOC_ARENA_MAX": "1"}, "worker_environ": {"MALLOC_ARENA_MAX": "1", **WORKER}},
     "MALLOC_ARENA_MAX will be kept", "unset MALLOC_ARENA_MAX"),
    (software.check_thread_variables, SOUND, {"environ": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}},
     "OMP_NUM_THREADS=1 (2 in a worker)", "--threads"),
    (software.check_variables, SOUND,
     {"environ": {"CUDA_LAUNCH_BLOCKING": "1"}, "worker_environ": {"CUDA_LAUNCH_BLOCKING": "1"}},
     "CUDA_LAUNCH_BLOCKING=1", "unset CUDA_LAUNCH_BLOCKING"),
    (software.check_torch, SOUND,
     {"torch": TorchFacts(error="import torchvision: operator torchvision::nms does not exist")},
     "operator torchvision::nms does not exist", "(torchvision asks for torch==2.11.0)"),
    (software.check_torch, SOUND, {"torchvision_needs": "torch==2.12.0"}, "not made for", "reinstall"),
    (software.check_onednn, SOUND, {"torch": TorchFacts(torch="2.11.0", onednn=False)}, "without it", "PyPI"),
    (software.check_capability, SOUND, {"torch": TorchFacts(capability="DEFAULT")}, "no AVX2", "ATEN_CPU"),
    (software.check_nvml_package, SOUND, {"nvml_packages": {"nvidia-ml-py": "13.1", "pynvml": "12.0.0"}},
     "pynvml 12.0.0 is installed", "pip uninstall pynvml"),
    (software.check_nvml_package, SOUND, {"nvml_packages": {}}, "not installed", "pip install nvidia-ml-py"),
    (gpu.check_processes, COOL, {"processes": (GpuProcess(7, "python", 2 * GIB), GpuProcess(8))},
     "python (pid 7, 2.00 GiB), a process (pid 8, memory not told)", "--device cuda:N"),
    (gpu.check_processes, COOL, {"memory_used_bytes": 30 * GIB}, "30.0 GiB of its memory", "nvidia-smi"),
    (gpu.check_utilisation, COOL, {"utilisation": 0.97}, "97 % before measuring", "stop them"),
    (gpu.check_clock, COOL, {"event_reasons": 0x4 | 0x20}, "held down by power cap, heat", "nvidia-smi -pl"),
    (gpu.check_temperature, COOL, {"temperature_c": 84}, "84 °C, slows down at 90 °C", "cool"),
    (gpu.check_temperature, COOL, {"temperature_c": 84, "slowdown_c": None}, "84 °C", "cool"),
    (gpu.check_power, COOL, {"power_limit_w": 400.0}, "400 W, below its default of 700 W", "-pl 700"),
    (gpu.check_persistence, COOL, {"persistent": False}, "off", "nvidia-smi -pm 1"),
    (gpu.check_mig, COOL, {"mig": True}, "a slice", "undivided"),
    (gpu.check_ecc, COOL, {"ecc_pending": False}, "on, and off from the next start", "restart"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "facts", "change", "seen", "remedy"), BAD)
def test_what_disturbs_is_warned_of_with_what_was_seen_and_a_remedy(
    check: Callable[[Any], Finding], facts: Any, change: Mapping[str, object], seen: str, remedy: str
) -> None:
    finding = check(msgspec.structs.replace(facts, **change))
    assert finding.state == "warn"
    assert seen in finding.seen
    assert remedy in (finding.remedy or "")


@pytest.mark.parametrize(
    ("check", "facts", "change", "seen"),
    [
        (processor.check_smt, QUIET_CPU, {"siblings": {n: (n,) for n in range(4)}, "threads": 4}, "a core"),
        (limits.check_quota, UNLIMITED, {"quota_cpus": 2.0}, "2 CPUs for 2 threads"),
        (limits.check_throttling, UNLIMITED, {"quota_cpus": 2.0, "periods": 5000, "throttled": 3}, "0.1 %"),
        (limits.check_swap, UNLIMITED, {"swap_used_bytes": 2**20}, "1.00 MiB in use"),
        (software.check_thread_variables, SOUND, {"environ": {"OMP_NUM_THREADS": "2"}}, "none"),
        (software.check_torch, SOUND, {"torchvision_needs": "torch (>=2.10)"}, "2.11.0+cpu, 0.26.0+cpu"),
        (gpu.check_clock, COOL, {"event_reasons": 0x2}, "set by hand"),
        (gpu.check_ecc, COOL, {"ecc": False, "ecc_pending": False}, "off"),
    ],
)  # fmt: skip
def test_what_does_no_harm_is_ok(
    check: Callable[[Any], Finding], facts: Any, change: Mapping[str, object], seen: str
) -> None:
    finding = check(msgspec.structs.replace(facts, **change))
    assert (finding.state, seen in finding.seen) == ("ok", True), finding


def test_a_host_that_reports_no_stolen_time_is_not_believed() -> None:
    facts = msgspec.structs.replace(ALONE, virtual=True, steal_now=0.0, steal_since_start=0.0)
    assert neighbours.check_steal(facts).state == "unknown"


@pytest.mark.parametrize(
    ("device", "known", "seen", "state", "words"),
    [
        ("cpu", 0, 0, "ok", "no NVIDIA GPU here"),
        ("cpu", 2, 0, "warn", "the driver knows 2 NVIDIA GPUs, torch sees none"),
        ("cpu", 1, 1, "ok", "1 NVIDIA GPU, not used by --device cpu"),
        ("cuda:1", 2, 2, "ok", "cuda:1 is measured"),
    ],
)
def test_one_line_says_whether_there_is_a_gpu(
    device: str, known: int, seen: int, state: str, words: str
) -> None:
    finding = gpu.check_presence(device, known, seen)
    assert (finding.state, words in finding.seen) == (state, True)


def test_a_finding_keeps_to_its_form() -> None:
    with pytest.raises(ValueError, match="a warning needs a remedy"):
        Finding("load", "warn", "4.00")
    with pytest.raises(ValueError, match="one line each"):
        fine("load", "one\ntwo")


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_processor_is_read_from_sysfs(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    write_files(
        tmp_path,
        {
            f"{cpus}/cpu0/cpufreq/scaling_governor": "schedutil\n",
            f"{cpus}/cpu1/cpufreq/scaling_governor": "performance\n",
            f"{cpus}/cpu0/topology/thread_siblings_list": "0-1\n",
            f"{cpus}/cpu1/topology/thread_siblings_list": "0-1\n",
            f"{cpus}/cpufreq/boost": "1\n",
        },
    )
    facts = processor_facts(4, (0, 1), 2, tmp_path)
    assert facts == ProcessorFacts(
        4, (0, 1), 2, {0: "schedutil", 1: "performance"}, True, {0: (0, 1), 1: (0, 1)}
    )
    write_files(tmp_path, {f"{cpus}/intel_pstate/no_turbo": "1\n"})
    assert processor_facts(4, (0, 1), 2, tmp_path).turbo is False
    assert processor_facts(4, (0, 1), 2, tmp_path / "none") == ProcessorFacts(4, (0, 1), 2, {}, None, {})


def stat_line(pid: int, name: str, user: int, system: int) -> str:
    return f"{pid} ({name}) S 1 1 1 0 -1 4194560 100 0 0 0 {user} {system} 0 0 20 0 1 0 500 1000 100"


def test_the_look_tells_visible_from_hidden_work_and_leaves_out_itself(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "proc/loadavg": "1.25 0.90 0.30 2/90 4242\n",
            "proc/pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.50 total=9\nfull avg10=0.00 total=0\n",
            "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu sse2 hypervisor avx2\n",
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            "proc/stat": "cpu  1000 0 500 8000 400 0 0 100 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
            "proc/10/stat": stat_line(10, "make (all) x", 100, 50),
            "proc/11/stat": stat_line(11, "doctor", 10, 10),
            "proc/12/stat": stat_line(12, "idle", 7, 7),
        },
    )

    def a_second_later(seconds: float) -> None:
        assert seconds == neighbours.LOOK_S
        write_files(
            tmp_path,
            {
                # 200 ticks of two CPUs: 130 at work, 10 stolen.
                "proc/stat": "cpu  1110 0 520 8060 400 0 0 110 0 0\n",
                "proc/10/stat": stat_line(10, "make (all) x", 150, 80),
                "proc/11/stat": stat_line(11, "doctor", 15, 15),
                "proc/13/stat": stat_line(13, "new\x1b[2J", 8, 2),
            },
        )

    facts = neighbours.read_neighbours(2, tmp_path, pause=a_second_later, own_pid=11)
    assert facts == NeighbourFacts(
        cpus=2,
        load_1m=1.25,
        cpu_pressure=0.125,
        busy=(BusyProcess(10, "make (all) x", 0.8), BusyProcess(13, "new?[2J", 0.1)),
        hidden_cpus=0.3,
        steal_now=0.05,
        steal_since_start=110 / 10_200,
        virtual=True,
        virtual_name="QEMU",
    )


def test_counters_that_stand_still_tell_nothing(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/stat": "cpu  0 0 0 0 0 0 0 0 0 0\n"})
    facts = neighbours.read_neighbours(2, tmp_path, pause=lambda _seconds: None)
    assert facts == NeighbourFacts(cpus=2)


@pytest.mark.parametrize(
    ("files", "quota", "periods", "throttled"),
    [
        pytest.param(
            {
                "proc/self/cgroup": "0::/kubepods/pod7\n",
                "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
                "sys/fs/cgroup/kubepods/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/kubepods/cpu.stat": "usage_usec 9\nnr_periods 50\nnr_throttled 6\n",
                "sys/fs/cgroup/kubepods/pod7/cpu.max": "max 100000\n",
            },
            1.5, 50, 6, id="version 2, limited from above",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/cpu.max": "max 100000\n",
                "sys/fs/cgroup/cpu.stat": "nr_periods 0\nnr_throttled 0\n",
            },
            math.inf, 0, 0, id="version 2, without limit",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io\n"},
            math.inf, None, None, id="version 2, outermost",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n3:cpuset:/\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 40\nnr_throttled 30\nthrottled_time 5\n",
            },
            0.5, 40, 30, id="version 1, in a container that hides its path",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            math.inf, None, None, id="version 1, without limit",
        ),
        pytest.param({"proc/self/cgroup": "0::/\n"}, None, None, None, id="not mounted"),
    ],
)  # fmt: skip
def test_the_tightest_cpu_quota_around_this_process_is_found(
    tmp_path: Path, files: Mapping[str, str], quota: float | None, periods: int | None, throttled: int | None
) -> None:
    facts = limits.read_limits(2, write_files(tmp_path, files))
    assert (facts.quota_cpus, facts.periods, facts.throttled) == (quota, periods, throttled)


def test_swap_and_counters_are_read_as_they_are(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 8000 kB\nSwapTotal: 4000 kB\nSwapFree: 1000 kB\nHugePages_Total: 0\n",
            "proc/self/clear_refs": "",
            "sys/class/powercap/intel-rapl:0/energy_uj": "12345\n",
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
        },
    )
    facts = limits.read_limits(2, tmp_path)
    assert (facts.memory_bytes, facts.swap_used_bytes) == (8000 * 1024, 3000 * 1024)
    assert facts.clear_refs is None
    assert (facts.has_rapl, facts.rapl) == (True, None)
    bare = limits.read_limits(2, tmp_path / "none")
    assert bare.clear_refs == "No such file or directory"
    assert (bare.has_rapl, bool(bare.rapl)) == (False, True)


class FakeNvmlError(Exception):
    pass


def fake_nvml(**answers: object) -> SimpleNamespace:
    """A recorded `pynvml`: each call gives its answer, or the error of a call that is not supported."""

    def call(answer: object, *_arguments: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    names = {
        **dict.fromkeys(("nvmlInit", "nvmlShutdown", "nvmlDeviceGetHandleByUUID")),
        "nvmlDeviceGetCount": 1,
        **answers,
    }
    constants = {"NVML_CLOCK_SM": 1, "NVML_TEMPERATURE_GPU": 0, "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN": 1}
    functions = {name: partial(call, answer) for name, answer in names.items()}
    return SimpleNamespace(NVMLError=FakeNvmlError, **constants, **functions)


UNSUPPORTED = FakeNvmlError("Not Supported")
RECORDED: dict[str, object] = {
    "nvmlDeviceGetHandleByUUID": "handle",
    "nvmlDeviceGetName": "NVIDIA A100",
    "nvmlDeviceGetComputeRunningProcesses": [
        SimpleNamespace(pid=7, usedGpuMemory=2 * GIB),
        SimpleNamespace(pid=99, usedGpuMemory=None),
    ],
    "nvmlDeviceGetGraphicsRunningProcesses": [SimpleNamespace(pid=7, usedGpuMemory=2 * GIB)],
    "nvmlDeviceGetMPSComputeRunningProcesses": UNSUPPORTED,
    "nvmlSystemGetProcessName": "/usr/bin/python train.py",
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3 * GIB),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=42),
    "nvmlDeviceGetClockInfo": 1200,
    "nvmlDeviceGetMaxClockInfo": 1410,
    "nvmlDeviceGetCurrentClocksEventReasons": UNSUPPORTED,  # an older driver
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4,
    "nvmlDeviceGetEccMode": [1, 0],
    "nvmlDeviceGetMigMode": UNSUPPORTED,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetPowerManagementLimit": 250_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 400_000,
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetTemperatureThreshold": 90,
}


def test_a_gpu_is_read_by_nvml_and_what_it_does_not_support_stays_untold() -> None:
    assert gpu.read_gpu(fake_nvml(**RECORDED), "1234", own_pid=99) == GpuFacts(
        name="NVIDIA A100",
        processes=(GpuProcess(7, "python", 2 * GIB),),
        memory_used_bytes=3 * GIB,
        utilisation=0.42,
        sm_clock_mhz=1200,
        max_sm_clock_mhz=1410,
        event_reasons=0x4,
        ecc=True,
        ecc_pending=False,
        mig=None,
        persistent=True,
        power_limit_w=250.0,
        default_power_limit_w=400.0,
        temperature_c=61,
        slowdown_c=90,
    )


def test_every_nvml_name_that_is_asked_for_exists() -> None:
    pynvml = pytest.importorskip("pynvml")
    missing = [name for name in vars(fake_nvml(**RECORDED)) if not hasattr(pynvml, name)]
    assert missing == []


def test_a_gpu_or_driver_that_does_not_answer_is_untold_and_no_crash() -> None:
    assert gpu.read_gpu(fake_nvml(nvmlDeviceGetHandleByUUID=UNSUPPORTED), "1234") == GpuFacts()
    assert gpu.read_gpu(None, "1234") == GpuFacts()
    with opened(fake_nvml(nvmlInit=FakeNvmlError("Driver Not Loaded"))) as nvml:
        assert gpu.count_gpus(nvml) == 0
    with opened(fake_nvml()) as nvml:
        assert gpu.count_gpus(nvml) == 1


@pytest.mark.parametrize(
    ("module", "raises", "error"),
    [
        (
            "torch",
            "ImportError('libtorch_cpu.so: cannot open')",
            "import torch: libtorch_cpu.so: cannot open",
        ),
        ("torch", "SystemExit(3)", "importing torch: it said nothing"),
        (
            "torchvision",
            "RuntimeError('operator torchvision::nms does not exist')",
            "import torchvision: operator torchvision::nms does not exist",
        ),
    ],
)
def test_a_broken_installation_is_told_and_brings_nothing_down(
    tmp_path: Path, module: str, raises: str, error: str
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise {raises}\n")
    facts = ask_torch({**clean_environment(), "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"})
    assert facts.error == error
    assert (facts.torch is None) == (module == "torch")


def launches_of(ratios: Sequence[Sequence[float]], latency_s: Sequence[float]) -> list[list[Launch]]:
    """Launches of two models whose times have these ratios in the rounds of each launch."""

    def launch(number: int, times_s: Sequence[float]) -> Launch:
        visits = tuple(make_visit(time_s, round_number=n) for n, time_s in enumerate(times_s))
        return msgspec.structs.replace(make_launch(launch=number), visits=visits)

    pairs = list(enumerate(zip(ratios, latency_s, strict=True)))
    return [
        [launch(number, [time_s * ratio for ratio in rounds]) for number, (rounds, time_s) in pairs],
        [launch(number, [time_s] * len(rounds)) for number, (rounds, time_s) in pairs],
    ]


def simulated(rng: random.Random, *, between: float, within: float, rounds: int = 18) -> list[list[float]]:
    """In-round ratios of two equal models: log-normal between launches and within."""
    return [
        [math.exp(shift + rng.gauss(0, within)) for _ in range(rounds)]
        for shift in (rng.gauss(0, between) for _ in range(3))
    ]


def test_copies_that_never_differ_resolve_everything_however_launches_differ() -> None:
    seen = resolution(*launches_of([[1.0] * 8] * 3, (0.010, 0.011, 0.013)))
    assert seen is not None
    assert (seen.resolves, seen.apart, seen.launches, seen.rounds) == (0, 0, 3, 24)
    assert seen.latency_spread == pytest.approx(0.3)


def test_the_resolution_is_the_half_width_of_students_interval_over_launches() -> None:
    ratios = [[math.exp(shift)] * 8 for shift in (-0.01, 0.0, 0.01)]
    seen = resolution(*launches_of(ratios, (0.01,) * 3))
    assert seen is not None
    # Three launches: t(0.975, 2) = 4.3027; their standard deviation is 0.01.
    assert seen.resolves == pytest.approx(math.expm1(4.3027 * 0.01 / math.sqrt(3)), rel=1e-4)


def test_launches_that_agree_by_accident_do_not_resolve_what_their_rounds_cannot() -> None:
    ratios = [[0.9, 1.1, 0.95, 1.05, 1.0, 0.92, 1.08, 0.97, 1.03]] * 3
    seen = resolution(*launches_of(ratios, (0.01,) * 3))
    assert seen is not None
    assert seen.resolves > 0.01


def test_equal_models_that_are_told_apart_resolve_no_less_than_that() -> None:
    seen = resolution(*launches_of([[1.05] * 8] * 3, (0.01,) * 3))
    assert seen is not None
    assert seen.resolves == pytest.approx(0.05)
    assert seen.apart == pytest.approx(0.05)


def test_the_resolution_covers_what_equal_models_differ_by_in_most_simulated_machines() -> None:
    rng = random.Random(0)
    seen = [
        resolution(*launches_of(simulated(rng, between=0.01, within=0.02), (0.01,) * 3)) for _ in range(300)
    ]
    covered = sum(one is not None and abs(one.apart) <= one.resolves * 1.0001 for one in seen)
    assert covered >= 0.95 * len(seen)


def test_a_noisier_machine_resolves_less() -> None:
    def typical(noise: float) -> float:
        rng = random.Random(0)
        runs = (launches_of(simulated(rng, between=noise, within=noise), (0.01,) * 3) for _ in range(99))
        return sorted(one.resolves for run in runs if (one := resolution(*run)))[49]

    assert typical(0.001) < typical(0.01) < typical(0.1)


HERE = Examination("cpu", 2, (fine("load", "0.10"),))


def test_the_self_test_times_two_copies_in_three_fresh_workers() -> None:
    bench = SimulatedBench({0: 0.010, 1: 0.011})
    tested = self_test(HERE, open_bench=lambda: bench.open(2), clock=bench.clock)
    assert bench.opened == tested.launches == SELF_TEST_LAUNCHES == 3
    assert tested.resolves == pytest.approx(0.1)
    assert (tested.noise, tested.latency_spread) == ("quiet", 0)


def test_a_self_test_that_cannot_be_is_an_error_and_not_a_number() -> None:
    def lose(_job: Job) -> None:
        raise BenchLostError("killed", "the worker was ended by SIGKILL")

    bench = SimulatedBench({0: 0.01, 1: 0.01}, on_visit=lose)
    with pytest.raises(MeasuringError, match="the self-test's model failed: the worker was ended by SIGKILL"):
        self_test(HERE, open_bench=lambda: bench.open(2), clock=bench.clock)


def rendered(findings: Sequence[Finding], width: int) -> str:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as text:
        console.print(findings_table(findings))
    return text.get()


FINDINGS = (
    fine("C library", "glibc 2.36"),
    unknown("turbo", remedy="let it warm up"),
    warn("load", "3.97 [bold]over[/] " + "and over " * 20, "wait a minute " * 10),
)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_worst_first_and_readable_without_colour(width: int) -> None:
    text = rendered(FINDINGS, width)
    assert max(map(len, text.splitlines())) <= width
    headings = [line for line in text.splitlines() if line.rstrip().endswith("(1)")]
    assert [line.strip() for line in headings] == ["disturbs measuring (1)", "not known (1)", "fine (1)"]
    assert "! load" in " ".join(text.split())
    assert "→ wait a minute" in text
    assert "[bold]over[/]" in text  # nobody's name is markup
    assert "\x1b" not in text


def test_doctor_prints_findings_as_json_and_finds_without_failing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_cli(["doctor", "--no-self-test", "--format", "json", "-d", "cpu"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["device"], told["self_test"], err) == ("cpu", None, "")
    assert {tuple(finding) for finding in told["findings"]} == {("check", "state", "seen", "remedy")}
    assert {finding["state"] for finding in told["findings"]} <= {"ok", "warn", "unknown"}
    assert all(finding["remedy"] for finding in told["findings"] if finding["state"] == "warn")
    checks = [finding["check"] for finding in told["findings"]]
    assert len(checks) == len(set(checks)) == 23 + 1


def test_the_self_test_in_real_workers_ends_in_one_sentence(scaleprof: Scaleprof) -> None:
    done = scaleprof("doctor", "--device", "cpu", "--threads", "1", check=0)
    assert "about 10 s of measuring, and the start of 3 workers" in done.stderr
    *_, meaning, last = done.stdout.splitlines()
    assert last.startswith("this machine can resolve differences of about ")
    assert last.endswith(" %")
    assert meaning.startswith("two models of one sweep that differ by less than ")


def test_a_worker_that_cannot_start_leaves_the_findings_and_exits_3(
    scaleprof: Scaleprof, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    write_files(broken, {"torch.py": "raise ImportError('libtorch_cpu.so: cannot open')\n"})
    monkeypatch.setenv("PYTHONPATH", str(broken))
    done = scaleprof("doctor", "--format", "json", check=3)
    told = json.loads(done.stdout)
    assert told["self_test"] is None
    (torch,) = (finding for finding in told["findings"] if finding["check"] == "torch, torchvision")
    assert (torch["state"], torch["seen"]) == ("warn", "import torch: libtorch_cpu.so: cannot open")
    assert "the measuring worker did not start" in done.stderr


@pytest.mark.parametrize("arguments", [["--device", "tpu"], ["--threads", "9999"], ["--threads", "0"]])
def test_what_cannot_be_asked_for_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run_cli(["doctor", "--no-self-test", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_help_names_the_options() -> None:
    text = CliRunner().invoke(doctor, ["--help"]).output
    assert all(option in text for option in ("--device", "--threads", "--no-self-test", "--format"))

"""Facts of this machine: what a measurement depends on and what decides whether two may be compared."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from scaleprof.errors import MeasuringError, UsageError
from scaleprof.measuring.cgroups import smallest_quota
from scaleprof.measuring.kernel_files import cpu_pressure, read_int
from scaleprof.measuring.processor import read_processor
from scaleprof.records import DType, Host

# GPUs are numbered as nvidia-smi does, not by speed.
DEVICE_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
# Threads that spin long make a pass a hundred times slower as soon as a neighbour wants the same CPUs;
# threads that sleep at once make it twice as long where waking is slow, as in a virtual machine. So they spin
# for some ten microseconds, and then sleep (benchmarks/waiting.py, docs/decisions/0015).
OPENMP_WAITING = {"GOMP_SPINCOUNT": "3000"}

_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
_CGROUP_MEMORY_STAT = Path("/sys/fs/cgroup/memory.stat")
_CGROUP_MEMORY_USED = Path("/sys/fs/cgroup/memory.current")


def usable_cpus() -> int:
    """CPUs that this process may use at once: its affinity, cut by the quotas of its cgroups."""
    allowed = len(os.sched_getaffinity(0))
    quota = smallest_quota()
    return allowed if quota is None else max(1, int(min(allowed, quota.cpus)))


def available_memory_bytes() -> int:
    """Bytes of memory that a new process could take now, within the cgroup's limit."""
    available = _meminfo_bytes("MemAvailable")
    limit, used = read_int(_CGROUP_MEMORY), read_int(_CGROUP_MEMORY_USED)
    if limit is None or used is None:
        return available
    return min(available, limit - used + _reclaimable_bytes())


def resolve_device(device: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` made definite.

    Raises:
        UsageError: not a device, or one that torch does not see.
    """
    import torch

    seen = torch.cuda.device_count()
    if device == "auto":
        return "cuda:0" if seen else "cpu"
    if device == "cpu":
        return device
    kind, _, index = device.partition(":")
    if kind != "cuda" or not ((index.isascii() and index.isdigit()) or device == "cuda"):
        raise UsageError(f"unknown device '{device}': it is one of auto, cpu, cuda, cuda:N")
    if not seen:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise UsageError(
            f"--device {device}: torch {torch.__version__} ({built}) sees no NVIDIA GPU: "
            f"check nvidia-smi, or use --device cpu"
        )
    number = int(index or 0)
    if number >= seen:
        raise UsageError(f"--device {device}: torch sees {seen} GPU(s), numbered from 0")
    return f"cuda:{number}"


def device_memory_bytes(device: str) -> int:
    """Bytes that models may take on the device now.

    A GPU is asked by a process of its own: the context that asking makes would otherwise sit on the device
    for as long as the sweep lasts.
    """
    if not device.startswith("cuda"):
        return available_memory_bytes()
    ask = f"import torch; print(torch.cuda.mem_get_info({device!r})[0])"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", ask],
        env={**os.environ, **DEVICE_ORDER},
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        last = answer.stderr.strip().splitlines()[-1:] or ["no message"]
        raise MeasuringError(f"--device {device} does not answer: {last[0]}")
    return int(answer.stdout)


def describe_host(device: str, allocator: str) -> Host:
    """The manifest of this machine for measurements on `device`."""
    import torch
    import torchvision

    quota = smallest_quota()
    cpu = read_processor(usable_cpus())
    facts: dict[str, object] = {}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        facts = {
            "cuda": torch.version.cuda,
            "cudnn": str(torch.backends.cudnn.version()),
            "gpu_name": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "gpu_driver": _nvml_driver(),
            "tf32_convolutions": bool(torch.backends.cudnn.allow_tf32),
            "tf32_matrix_products": bool(torch.backends.cuda.matmul.allow_tf32),
            "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        }
    return Host(
        system=f"{platform.system()} {platform.release()}",
        cpu_model=_cpu_model(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        logical_cpus=os.cpu_count() or 1,
        usable_cpus=usable_cpus(),
        memory_bytes=_meminfo_bytes("MemTotal"),
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=torchvision.__version__,
        allocator=allocator,
        openmp_wait_policy=_waiting(os.environ),
        onednn=bool(torch.backends.mkldnn.is_available()),
        native_dtypes=native_dtypes(device),
        openmp=_openmp(),
        governor="+".join(sorted(set(cpu.governors.values()))) or None,
        turbo=cpu.turbo,
        smt=any(len(core) > 1 for core in cpu.siblings.values()) if cpu.siblings else None,
        cgroup_cpus=quota.cpus if quota and math.isfinite(quota.cpus) else None,
        load_1m=os.getloadavg()[0],
        cpu_pressure=cpu_pressure(Path("/")),
        **facts,  # type: ignore[arg-type]
    )


def _waiting(environment: Mapping[str, str]) -> str | None:
    """How OpenMP's threads wait at barriers, as the environment sets it."""
    spins = environment.get("GOMP_SPINCOUNT")
    return f"spinning {spins} times" if spins else environment.get("OMP_WAIT_POLICY")


def _openmp() -> str | None:
    """The version of OpenMP that torch was built with, as torch tells it."""
    import torch

    lines = torch.__config__.parallel_info().splitlines()
    return next((line.strip() for line in lines if line.startswith("OpenMP ")), None)


def native_dtypes(device: str) -> tuple[DType, ...] | None:
    """The dtypes that the CPU computes in by itself; None on a GPU, or where torch does not say."""
    import torch

    if device.startswith("cuda"):
        return None
    try:
        has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        has_fp16 = torch.ops.mkldnn._is_mkldnn_fp16_supported()
    except (AttributeError, RuntimeError):  # built without oneDNN
        return None
    return ("fp32", *(("bf16",) if has_bf16 else ()), *(("fp16",) if has_fp16 else ()))


def _nvml_driver() -> str | None:
    """The driver's version by NVML; None where NVML cannot be reached."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()


def _reclaimable_bytes() -> int:
    """Page cache that the cgroup counts as used and the kernel gives up on demand."""
    try:
        lines = _CGROUP_MEMORY_STAT.read_text().splitlines()
    except OSError:
        return 0
    fields = dict(line.split() for line in lines)
    return sum(int(fields.get(name, 0)) for name in ("active_file", "inactive_file"))


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _meminfo_bytes(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0

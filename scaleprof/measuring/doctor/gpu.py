"""NVIDIA GPUs, by NVML: who else is on it, and what holds its clock down. Nothing is set.

The functions that read take NVML as an argument (`scaleprof.measuring.nvml`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from scaleprof.measuring.doctor.finding import (
    UNTOLD,
    Finding,
    fine,
    percent,
    printable,
    unknown,
    warn,
)
from scaleprof.measuring.nvml import Nvml, NvmlGpu, gpu_by_uuid
from scaleprof.units import format_bytes, plural

_Value = TypeVar("_Value")

# Bits of nvmlDeviceGetCurrentClocksEventReasons in nvml.h that hold the clock down, with what helps.
_IDLE, _SET_BY_HAND = 0x1, 0x2
_SLOWED_BY: dict[int, tuple[str, str]] = {
    0x4: ("power cap", "a higher power limit (nvidia-smi -pl), or a smaller batch"),
    0x8: ("hardware slowdown", "check its cooling and its power supply"),
    0x10: ("sync boost group", "take it out of its sync boost group (dcgmi config)"),
    0x20: ("heat", "let it cool down, and check its air flow"),
    0x40: ("heat, by its hardware", "let it cool down, and check its air flow"),
    0x80: ("power brake", "check the machine's power supply"),
    0x200: ("board limit", "check its cooling and its power supply"),
    0x400: ("reliability limit", "nothing can be set: measure more launches (--preset rigorous)"),
}
_BUSY = 0.05
# What a driver and an empty context take; more than that belongs to somebody.
_UNCLAIMED_BYTES = 2**30
_NEAR_SLOWDOWN_C = 10
_HOT_C = 80
_POWER_SLACK_W = 1.0
_MW_PER_W = 1e3
_SHOWN_PROCESSES = 3
_STOP_THEM = "stop them, or choose another GPU with --device cuda:N"


class GpuProcess(msgspec.Struct, frozen=True):
    """A process that holds the GPU; containers often hide its name and memory."""

    pid: int
    name: str | None = None
    memory_bytes: int | None = None


class GpuFacts(msgspec.Struct, frozen=True):
    """What NVML tells of one GPU; None where it does not."""

    name: str | None = None
    processes: tuple[GpuProcess, ...] | None = None
    memory_used_bytes: int | None = None
    utilisation: float | None = None
    sm_clock_mhz: int | None = None
    max_sm_clock_mhz: int | None = None
    event_reasons: int | None = None
    ecc: bool | None = None
    ecc_pending: bool | None = None
    mig: bool | None = None
    persistent: bool | None = None
    power_limit_w: float | None = None
    default_power_limit_w: float | None = None
    temperature_c: int | None = None
    slowdown_c: int | None = None


def count_gpus(nvml: Nvml | None) -> int:
    """How many GPUs the driver knows, whatever torch sees."""
    return int(nvml.nvmlDeviceGetCount()) if nvml is not None else 0


def read_gpu(nvml: Nvml | None, uuid: str, own_pid: int | None = None) -> GpuFacts:
    """What NVML (opened) tells of the GPU that torch knows by this UUID."""
    gpu = gpu_by_uuid(nvml, uuid)
    if nvml is None or gpu is None:
        return GpuFacts()
    ask = gpu.ask
    ecc, mig = ask("nvmlDeviceGetEccMode"), ask("nvmlDeviceGetMigMode")
    return GpuFacts(
        name=_then(ask("nvmlDeviceGetName"), str),
        processes=_processes(gpu, os.getpid() if own_pid is None else own_pid),
        memory_used_bytes=gpu.used_bytes(),
        utilisation=_then(ask("nvmlDeviceGetUtilizationRates"), lambda rates: rates.gpu / 100),
        sm_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        max_sm_clock_mhz=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        event_reasons=gpu.event_reasons(),
        ecc=_then(ecc, lambda modes: bool(modes[0])),
        ecc_pending=_then(ecc, lambda modes: bool(modes[1])),
        mig=_then(mig, lambda modes: bool(modes[0])),
        persistent=_then(ask("nvmlDeviceGetPersistenceMode"), bool),
        power_limit_w=_then(ask("nvmlDeviceGetPowerManagementLimit"), _watts),
        default_power_limit_w=_then(ask("nvmlDeviceGetPowerManagementDefaultLimit"), _watts),
        temperature_c=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        slowdown_c=ask("nvmlDeviceGetTemperatureThreshold", nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    )


def _processes(gpu: NvmlGpu, own: int) -> tuple[GpuProcess, ...] | None:
    """Other processes that compute or draw on it, each once; None if NVML keeps them to itself."""
    found = gpu.processes()
    if found is None:
        return None
    return tuple(
        GpuProcess(pid, _process_name(gpu.nvml, pid), one.usedGpuMemory)
        for pid, one in sorted(found.items())
        if pid != own
    )


def _process_name(nvml: Nvml, pid: int) -> str | None:
    try:
        path = nvml.nvmlSystemGetProcessName(pid)
    except (nvml.NVMLError, UnicodeDecodeError):
        return None
    words = printable(str(path)).split()
    return words[0].rsplit("/", 1)[-1] if words else None


def _then(value: Any, convert: Callable[[Any], _Value]) -> _Value | None:
    return None if value is None else convert(value)


def _watts(milliwatts: float) -> float:
    return milliwatts / _MW_PER_W


def check_presence(device: str, known_gpus: int, seen_gpus: int) -> Finding:
    """Whether there is a GPU, and whether it is the one to be measured."""
    name = "GPU"
    if device.startswith("cuda"):
        return fine(name, f"{device} is measured")
    if not known_gpus:
        return fine(name, "no NVIDIA GPU here: everything but CUDA numbers can be measured")
    known = plural(known_gpus, "NVIDIA GPU", "NVIDIA GPUs")
    if not seen_gpus:
        return warn(
            name,
            f"the driver knows {known}, torch sees none",
            "a torch built for CUDA and no newer than the driver; see CUDA_VISIBLE_DEVICES, too",
        )
    return fine(name, f"{known}, not used by --device cpu")


def check_processes(facts: GpuFacts) -> Finding:
    """Other processes take turns with ours on the GPU."""
    name = "GPU processes"
    if facts.processes:
        shown = ", ".join(map(_process_text, facts.processes[:_SHOWN_PROCESSES]))
        more = len(facts.processes) - _SHOWN_PROCESSES
        return warn(name, shown + (f" and {more} more" if more > 0 else ""), _STOP_THEM)
    used = facts.memory_used_bytes
    if used is not None and used >= _UNCLAIMED_BYTES:
        return warn(
            name,
            f"none told, but {format_bytes(used)} of its memory are in use",
            "look from outside the container: nvidia-smi on the host tells whose they are",
        )
    if facts.processes is None:
        return unknown(name)
    return fine(name, "none told; from inside a container others may not show")


def _process_text(process: GpuProcess) -> str:
    memory = "memory not told" if process.memory_bytes is None else format_bytes(process.memory_bytes)
    return f"{process.name or 'a process'} (pid {process.pid}, {memory})"


def check_utilisation(facts: GpuFacts) -> Finding:
    """We are not running yet, so whoever uses it is somebody else."""
    name = "GPU utilisation"
    if facts.utilisation is None:
        return unknown(name)
    seen = f"{percent(facts.utilisation)} before measuring began"
    return fine(name, seen) if facts.utilisation < _BUSY else warn(name, seen, _STOP_THEM)


def check_clock(facts: GpuFacts) -> Finding:
    """What holds the clock down; a low clock alone is what an idle GPU has."""
    name = "GPU clock"
    clocks = [UNTOLD if mhz is None else f"{mhz} MHz" for mhz in (facts.sm_clock_mhz, facts.max_sm_clock_mhz)]
    seen = f"SM {clocks[0]} now, {clocks[1]} at most"
    if facts.event_reasons is None:
        return unknown(name, f"{seen}; what holds it down is {UNTOLD}")
    slowed = [words for bit, words in _SLOWED_BY.items() if facts.event_reasons & bit]
    if slowed:
        reasons, remedies = zip(*slowed, strict=True)
        return warn(name, f"{seen}; held down by {', '.join(reasons)}", "; ".join(dict.fromkeys(remedies)))
    if facts.event_reasons & _SET_BY_HAND:
        return fine(name, f"{seen}; set by hand, which keeps it steady")
    return fine(name, f"{seen}; idle" if facts.event_reasons & _IDLE else seen)


def check_temperature(facts: GpuFacts) -> Finding:
    """A hot GPU lowers its clock."""
    name = "GPU temperature"
    if facts.temperature_c is None:
        return unknown(name)
    limit = facts.slowdown_c - _NEAR_SLOWDOWN_C if facts.slowdown_c else _HOT_C
    seen = f"{facts.temperature_c} °C" + (
        f", slows down at {facts.slowdown_c} °C" if facts.slowdown_c else ""
    )
    if facts.temperature_c < limit:
        return fine(name, seen)
    return warn(name, seen, "let it cool down, and check its air flow")


def check_power(facts: GpuFacts) -> Finding:
    """A lower power cap lowers the clock under load."""
    name = "GPU power cap"
    limit, usual = facts.power_limit_w, facts.default_power_limit_w
    if limit is None or usual is None:
        return unknown(name)
    if limit >= usual - _POWER_SLACK_W:
        return fine(name, f"{limit:.0f} W, by default {usual:.0f} W")
    return warn(
        name,
        f"{limit:.0f} W, below its default of {usual:.0f} W",
        f"sudo nvidia-smi -pl {usual:.0f}, or compare only with runs under the same cap",
    )


def check_persistence(facts: GpuFacts) -> Finding:
    """Without persistence the driver unloads between processes, and each starts it anew."""
    name = "GPU persistence"
    if facts.persistent is None:
        return unknown(name)
    if facts.persistent:
        return fine(name, "on")
    return warn(name, "off: the driver starts anew with each process", "sudo nvidia-smi -pm 1")


def check_mig(facts: GpuFacts) -> Finding:
    """A slice of a GPU shares its power and its clock with the other slices."""
    name = "GPU slices (MIG)"
    if facts.mig is None:
        return fine(name, "this GPU tells of none")
    if not facts.mig:
        return fine(name, "off")
    return warn(
        name,
        "on: this is a slice, which shares power and clock with the others",
        "an undivided GPU, or compare only with runs on the same profile",
    )


def check_ecc(facts: GpuFacts) -> Finding:
    """Error correction costs memory bandwidth on some GPUs, so runs must agree in it."""
    name = "GPU ECC"
    if facts.ecc is None:
        return unknown(name, f"{UNTOLD} (some GPUs have none)")
    seen = "on" if facts.ecc else "off"
    if facts.ecc == facts.ecc_pending:
        return fine(name, seen)
    turned = "off" if facts.ecc else "on"
    return warn(
        name,
        f"{seen}, and {turned} from the next start: later runs will not compare",
        "restart the machine before measuring, or take the change back (nvidia-smi -e)",
    )


GPU_CHECKS: Sequence[Callable[[GpuFacts], Finding]] = (
    check_processes,
    check_utilisation,
    check_clock,
    check_temperature,
    check_power,
    check_persistence,
    check_mig,
    check_ecc,
)

"""A GPU between visits: its clocks, temperature and power, what holds the clock down, and who else is there.

It is read when no sample is taken, since asking takes the driver a moment.
"""

from __future__ import annotations

import os

from scaleprof.measuring.nvml import NvmlGpu
from scaleprof.records import GpuState

# Bits of nvmlDeviceGetCurrentClocksEventReasons in nvml.h by their names there, in small letters. `gpu_idle`
# (0x1) is left out: between visits that is what it is.
EVENT_NAMES: dict[int, str] = {
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
_GPU_IDLE = 0x1
_MW_PER_W = 1e3


def read_state(gpu: NvmlGpu | None, clock_mhz: float | None, own_pid: int | None = None) -> GpuState:
    """The state by NVML, beside a clock that was timed."""
    if gpu is None:
        return GpuState(clock_mhz=clock_mhz)
    power_mw = gpu.ask("nvmlDeviceGetPowerUsage")
    return GpuState(
        clock_mhz=clock_mhz,
        reported_clock_mhz=gpu.ask("nvmlDeviceGetClockInfo", gpu.nvml.NVML_CLOCK_SM),
        memory_clock_mhz=gpu.ask("nvmlDeviceGetClockInfo", gpu.nvml.NVML_CLOCK_MEM),
        temperature_c=read_temperature_c(gpu),
        power_w=None if power_mw is None else power_mw / _MW_PER_W,
        events=event_names(gpu.event_reasons()),
        other_processes=other_processes(gpu, os.getpid() if own_pid is None else own_pid),
    )


def read_temperature_c(gpu: NvmlGpu) -> int | None:
    """Degrees Celsius of the chip."""
    temperature_c: int | None = gpu.ask("nvmlDeviceGetTemperature", gpu.nvml.NVML_TEMPERATURE_GPU)
    return temperature_c


def event_names(reasons: int | None) -> tuple[str, ...] | None:
    """Names of the bits that are set; one that nvml.h has gained since is its number.

    >>> event_names(0x1 | 0x4 | 0x20), event_names(0x1000), event_names(0x1), event_names(None)
    (('sw_power_cap', 'sw_thermal_slowdown'), ('0x1000',), (), None)
    """
    if reasons is None:
        return None
    bits = (1 << place for place in range(reasons.bit_length()))
    return tuple(EVENT_NAMES.get(bit, hex(bit)) for bit in bits if reasons & bit and bit != _GPU_IDLE)


def other_processes(gpu: NvmlGpu, own_pid: int) -> int | None:
    """How many other processes hold the GPU; None if NVML does not say.

    This process holds it, too. If it is not in the list, the list is of other process numbers than ours (in
    a container), or is empty for us, and tells nothing.
    """
    processes = gpu.processes()
    if processes is None or own_pid not in processes:
        return None
    return len(processes) - 1

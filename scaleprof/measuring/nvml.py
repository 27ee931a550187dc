"""NVML, the driver's own account of a GPU: found, opened and asked. Nothing is ever set.

NVML is passed around as the module `pynvml` of the package `nvidia-ml-py`. What a driver or a GPU does not
tell is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Nvml = Any  # the module; it ships no types


def find_nvml() -> Nvml | None:
    """The module, if the package is installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


@contextmanager
def opened(nvml: Nvml | None) -> Iterator[Nvml | None]:
    """NVML ready to be asked; None where there is none or it has no driver to talk to."""
    if nvml is None or not initialised(nvml):
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def initialised(nvml: Nvml) -> bool:
    """Get NVML ready, and say whether it is."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return False
    return True


class NvmlGpu:
    """One GPU that NVML (initialised) can be asked about."""

    def __init__(self, nvml: Nvml, handle: Any) -> None:
        self.nvml = nvml
        self._handle = handle

    def ask(self, function: str, *arguments: Any) -> Any:
        """A call's answer; None if this driver or this GPU has none. Older bindings lack some names."""
        try:
            return getattr(self.nvml, function)(self._handle, *arguments)
        except (self.nvml.NVMLError, AttributeError):
            return None

    def event_reasons(self) -> int | None:
        """Bits of what decides the clock: `nvmlClocksEventReason…` in nvml.h, once `…ThrottleReason…`."""
        reasons: int | None = self.ask("nvmlDeviceGetCurrentClocksEventReasons")
        return self.ask("nvmlDeviceGetCurrentClocksThrottleReasons") if reasons is None else reasons

    def processes(self) -> dict[int, Any] | None:
        """What holds the GPU to compute or to draw, by process id; None if NVML keeps that to itself."""
        lists = [
            self.ask(f"nvmlDeviceGet{kind}RunningProcesses") for kind in ("Compute", "Graphics", "MPSCompute")
        ]
        if lists[0] is None:
            return None
        return {one.pid: one for told in lists for one in told or ()}

    def used_bytes(self) -> int | None:
        """Bytes of its memory that are in use, everybody's."""
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else int(memory.used)


def gpu_by_uuid(nvml: Nvml | None, uuid: str) -> NvmlGpu | None:
    """The GPU that torch knows by this UUID, which lacks the prefix that NVML wants."""
    if nvml is None:
        return None
    for prefix in ("GPU-", "MIG-", ""):
        try:
            return NvmlGpu(nvml, nvml.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid}"))
        except nvml.NVMLError:
            continue
    return None


def gpu_by_index(nvml: Nvml | None, index: int) -> NvmlGpu | None:
    """The GPU with this number in the order of the PCI bus, whatever torch sees."""
    if nvml is None:
        return None
    try:
        return NvmlGpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError:
        return None

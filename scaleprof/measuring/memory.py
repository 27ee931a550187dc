"""Peak memory of one model: what its passes held at most, less what was held before it was built.

CPU: the kernel's own high-water mark, reset before the pass (`clear_refs`) and read after it (`VmHWM`), in a
process of its own (`scaleprof.measuring.inspection`); polling misses short peaks, and `ru_maxrss` may be a
parent's. On a GPU it is the allocator's peak (`scaleprof.measuring.cuda.memory`). Both include the model's
weights.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Protocol

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_HIGH_WATER_MARK = "5"
# Parameters of mallopt, from glibc's malloc.h.
_M_MMAP_THRESHOLD, _M_MMAP_MAX = -3, -4
_MAPPED_BYTES = 128 * 1024
_MOST_MAPPINGS = 2**20


class PeakUnavailableError(Exception):
    """The kernel does not let peaks be taken; the message says why."""


class PeakMeter(Protocol):
    """Measures a peak against the level at the time it was made."""

    def start(self) -> None:
        """Forget earlier peaks."""

    def peak_bytes(self) -> int:
        """The highest level since `start`, less the level when the meter was made."""


class CpuPeakMeter:
    """Peak resident memory of this process."""

    def __init__(self) -> None:
        give_back_freed_memory()
        self.baseline_bytes = _status_bytes("VmRSS")

    def start(self) -> None:
        """Forget earlier peaks.

        Raises:
            PeakUnavailableError: the high-water mark may not be reset (in some containers).
        """
        give_back_freed_memory()
        try:
            _CLEAR_REFS.write_text(_RESET_HIGH_WATER_MARK)
        except OSError as error:
            raise PeakUnavailableError(
                f"the kernel does not let the memory high-water mark be reset ({error.strerror})"
            ) from error

    def peak_bytes(self) -> int:
        """The highest resident size since `start`, less that when the meter was made."""
        return max(0, _status_bytes("VmHWM") - self.baseline_bytes)


def map_each_tensor() -> None:
    """From now on give every tensor of more than 128 KiB pages of its own, returned as soon as it is freed.

    So the resident size is what is alive. On the heap a freed tensor's place may be a few bytes too small for
    the next one and stay resident beside it, differently under every setting of malloc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_MMAP_MAX, _MOST_MAPPINGS)


def give_back_freed_memory() -> None:
    """Return freed heap pages to the kernel, so that an earlier model's do not hide in a later one's peak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}")

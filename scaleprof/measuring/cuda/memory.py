"""Memory of a CUDA device: the peak of torch's allocator, and what a process holds beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from scaleprof.measuring.nvml import NvmlGpu
from scaleprof.measuring.timing import Call
from scaleprof.records import DeviceMemory

_PASSES = 2


class Peak(NamedTuple):
    """Bytes of tensors before the model was built, the most beyond that in a pass, and the rest of memory."""

    baseline_bytes: int
    peak_bytes: int
    device_memory: DeviceMemory


class CudaPeakMeter:
    """Peak of torch's caching allocator on one device, less what tensors held when this was made.

    The model's first call belongs before `start`: workspaces that choosing kernels takes are gone by then.

    Args:
        device: `cuda:N`.
        context_bytes: what the process holds beside the allocator, if that is known.
        cuda: the module `torch.cuda`, or what stands in for it.
    """

    def __init__(self, device: str, *, context_bytes: int | None = None, cuda: Any = torch.cuda) -> None:
        self._device = device
        self._context_bytes = context_bytes
        self._cuda = cuda
        cuda.synchronize(device)
        cuda.empty_cache()
        self.baseline_bytes = int(cuda.memory_allocated(device))

    def start(self) -> None:
        """Forget earlier peaks, and give back what no tensor holds: it would count as reserved."""
        self._cuda.synchronize(self._device)
        self._cuda.empty_cache()
        self._cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """The most bytes allocated at once since `start`, less those when the meter was made."""
        self._cuda.synchronize(self._device)
        return int(self._cuda.max_memory_allocated(self._device)) - self.baseline_bytes

    def device_memory(self) -> DeviceMemory:
        """What the allocator had taken at most since `start`, and what all hold of the device now."""
        free_bytes, total_bytes = self._cuda.mem_get_info(self._device)
        return DeviceMemory(
            reserved_bytes=int(self._cuda.max_memory_reserved(self._device)),
            used_bytes=int(total_bytes - free_bytes),
            context_bytes=self._context_bytes,
        )

    def peak(self, call: Call) -> Peak:
        """Take the peak of two passes of a model that has run before."""
        self.start()
        for _ in range(_PASSES):
            call()
        return Peak(self.baseline_bytes, self.peak_bytes(), self.device_memory())


def create_context(device: str, gpu: NvmlGpu | None, *, cuda: Any = torch.cuda) -> int | None:
    """Create this process's context on the device, and say how many bytes it takes there.

    The difference of what the device has in use before and after, which is another process's too if one takes
    or frees memory at that moment. None where NVML cannot be asked, where a context was there before, or
    where the difference makes no sense. Kernels that are loaded later are not in it.
    """
    before_bytes = gpu.used_bytes() if gpu is not None and not cuda.is_initialized() else None
    with cuda.device(torch.device(device)):
        cuda._sleep(1)  # a kernel, so that the context has what launching takes
    cuda.synchronize(device)
    after_bytes = gpu.used_bytes() if gpu is not None else None
    if before_bytes is None or after_bytes is None:
        return None
    context_bytes = after_bytes - before_bytes - int(cuda.memory_reserved(device))
    return context_bytes if context_bytes > 0 else None

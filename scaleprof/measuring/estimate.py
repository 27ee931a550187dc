"""A rough forecast of how long a pass takes, before anything has been measured."""

from __future__ import annotations

import torch

from scaleprof.measuring import references
from scaleprof.measuring.timing import CpuTimer, sample_s
from scaleprof.measuring.warmup import warm_up

# Multiply-adds of one pass of the reference network; a test counts them.
REFERENCE_MACS = 87_754_752
# Seen: depthwise convolutions attain about half the MAC/s of the reference network's dense ones.
_ATTAINED_SHARE = 0.5
# Nothing may be timed on a GPU by the process that plans; a small one attains this much on small batches.
_CUDA_MACS_PER_S = 1e12
_CUDA_MIN_PASS_S = 5e-3
_LOOK_S = 0.2


def macs_per_s(device: str, threads: int) -> float:
    """Multiply-adds per second that models may be expected to attain, within a factor of about two."""
    if device.startswith("cuda"):
        return _CUDA_MACS_PER_S
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            call = references.reference_network("cpu")
            warm_up(CpuTimer(), call)
            fastest_s = min(sample_s(CpuTimer(), call, _LOOK_S))
    finally:
        torch.set_num_threads(threads_before)
    return _ATTAINED_SHARE * REFERENCE_MACS / fastest_s


def pass_s(macs: float, rate_macs_per_s: float, device: str) -> float:
    """Seconds that a pass of `macs` multiply-adds may be expected to take."""
    floor_s = _CUDA_MIN_PASS_S if device.startswith("cuda") else 0.0
    return max(floor_s, macs / rate_macs_per_s)

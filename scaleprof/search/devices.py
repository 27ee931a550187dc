"""Where trials run: on every GPU one, or on the CPU as many as its cores allow."""

from __future__ import annotations

from scaleprof.errors import UsageError
from scaleprof.measuring.host import resolve_device, usable_cpus
from scaleprof.records import DType
from scaleprof.search.messages import Slot


def training_slots(device: str, *, jobs: int | None = None, threads: int | None = None) -> tuple[Slot, ...]:
    """The places for trials.

    `auto` and `cuda` take every GPU that torch sees, `cuda:N` that one, each for `jobs` trials at once (1
    unless given). On the CPU there are as many trials at once as cores divided by `threads` (1 unless given):
    small networks use two cores better as two trainings of a thread each than as one of two threads.

    Raises:
        UsageError: no such device, or numbers below 1.
    """
    for name, value in (("--jobs", jobs), ("--threads", threads)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value} must be at least 1")
    first = resolve_device(device)
    if first == "cpu":
        cpus = usable_cpus()
        each = threads or (max(1, cpus // jobs) if jobs else 1)
        return (Slot("cpu", each),) * (jobs or max(1, cpus // each))
    devices = _all_gpus() if device in ("auto", "cuda") else (first,)
    return tuple(Slot(name, threads or 1) for _ in range(jobs or 1) for name in devices)


def training_precision(device: str) -> DType:
    """What trainings compute in on a device: bf16 under autocast on a GPU that has it, fp16 on older ones.

    On the CPU fp32: the networks and images of a search are small, and casting them costs more than the
    products save.
    """
    import torch

    if not device.startswith("cuda"):
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability(device) >= _FIRST_WITH_BF16 else "fp16"


# Ampere; `is_bf16_supported` is also true where bf16 is merely emulated.
_FIRST_WITH_BF16 = (8, 0)


def _all_gpus() -> tuple[str, ...]:
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))

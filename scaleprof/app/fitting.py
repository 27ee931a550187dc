"""What jobs are expected to take, in seconds and in bytes, and which of them fit in memory together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from scaleprof.app.counting import Counted, make_record
from scaleprof.measuring import estimate
from scaleprof.measuring.messages import Job
from scaleprof.measuring.weights import CALIBRATION_BATCH
from scaleprof.records import Record, Runtime, Workload
from scaleprof.units import format_bytes

# Seen: resident peaks are up to twice the counted activations, by the workspaces of convolutions.
_ACTIVATION_SLACK = 2.0
_MEMORY_SHARE = 0.8


# Exported runtimes hold weights of their own, packed for their kernels beside the ones they were given.
_WEIGHT_COPIES: dict[Runtime, int] = {"onnxruntime": 2, "openvino": 2}


class Forecast(msgspec.Struct, frozen=True):
    """What a job is expected to take: seconds a pass, and bytes that stay held and that a pass adds."""

    pass_s: float
    held_bytes: int
    pass_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The most bytes that the job holds at once."""
        return self.held_bytes + self.pass_bytes


def forecast(job: Job, counted: Counted, rate_macs_per_s: float) -> Forecast:
    """What a job takes, by its counts and the rate that is supposed here."""
    if counted.cost is None:
        return Forecast(0.0, 0, 0)
    cost, workload = counted.cost, job.workload
    most_images = max(workload.batch_size, CALIBRATION_BATCH)
    return Forecast(
        pass_s=estimate.pass_s(cost.macs * workload.batch_size, rate_macs_per_s, workload.device),
        held_bytes=_WEIGHT_COPIES.get(workload.runtime, 1) * cost.weight_bytes + cost.optimizer_bytes,
        pass_bytes=int(_ACTIVATION_SLACK * cost.peak_activation_bytes * most_images) + cost.gradient_bytes,
    )


def largest_batch(counted: Counted, expected: Forecast, available_bytes: int) -> int:
    """The largest batch of a network that fits by the forecast of memory; 0 if none does."""
    cost = counted.cost
    if cost is None or not cost.peak_activation_bytes:
        return 0
    free_bytes = _MEMORY_SHARE * available_bytes - expected.held_bytes - cost.gradient_bytes
    return max(0, int(free_bytes / (_ACTIVATION_SLACK * cost.peak_activation_bytes)))


def unfit(job: Job, counted: Counted, expected: Forecast, available_bytes: int) -> Record | None:
    """The record of a job that is not run: it could not be counted or matched, or does not fit."""
    record = make_record(counted, job.workload)
    if counted.status != "ok":
        return record
    refused = _why_refused(job.workload)
    if refused is not None:
        return msgspec.structs.replace(record, status="unsupported", reason=refused)
    if expected.peak_bytes <= _MEMORY_SHARE * available_bytes:
        return None
    reason = (
        f"needs about {format_bytes(expected.peak_bytes)} of memory, "
        f"{format_bytes(_MEMORY_SHARE * available_bytes)} may be used"
    )
    return msgspec.structs.replace(record, status="skipped", reason=reason)


def _why_refused(workload: Workload) -> str | None:
    """Why a workload is never run, if so."""
    if (workload.mode, workload.dtype, workload.cast) == ("train", "fp16", "weights"):
        return "gradients vanish in fp16 weights: use --cast autocast, which scales the loss, or bf16"
    return None


def group(
    jobs: Sequence[Job], forecasts: Mapping[int, Forecast], available_bytes: int
) -> tuple[tuple[int, ...], ...]:
    """Jobs that are measured together: of one number of threads, and as many as fit in memory."""
    groups: list[tuple[int, ...]] = []
    for threads in dict.fromkeys(job.workload.threads for job in jobs):
        numbers = [job.number for job in jobs if job.workload.threads == threads]
        groups.extend(_pack(numbers, forecasts, available_bytes))
    return tuple(groups)


def _pack(
    numbers: Sequence[int], forecasts: Mapping[int, Forecast], available_bytes: int
) -> list[tuple[int, ...]]:
    """Jobs in order, in as few groups as hold all weights and the largest activations.

    If there are several, the job that needs the least memory is in each of them, first: it joins the ratios
    of one group to those of another.
    """
    limit_bytes = _MEMORY_SHARE * available_bytes
    together = [*numbers]
    if _held_bytes(together, forecasts) <= limit_bytes:
        return [tuple(together)] if together else []
    anchor = min(numbers, key=lambda number: forecasts[number].peak_bytes)
    groups = [[anchor]]
    for number in (number for number in numbers if number != anchor):
        if len(groups[-1]) > 1 and _held_bytes([*groups[-1], number], forecasts) > limit_bytes:
            groups.append([anchor])
        groups[-1].append(number)
    return [tuple(group) for group in groups]


def _held_bytes(numbers: Sequence[int], forecasts: Mapping[int, Forecast]) -> int:
    """What these jobs hold at once: all weights and optimizers, and the activations of one at a time."""
    return sum(forecasts[number].held_bytes for number in numbers) + max(
        (forecasts[number].pass_bytes for number in numbers), default=0
    )

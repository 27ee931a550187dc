"""Whether a runtime puts out what eager puts out.

A fast wrong result is no result, so nothing is timed before this has been checked. How near is near enough
cannot be one number for all networks: rounding grows from layer to layer, and in a deep one eager's own
outputs are far from exact. So there is a distance that always passes; beyond it eager's own is measured.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from scaleprof.errors import NETWORK_ERRORS
from scaleprof.models.tensors import found_in
from scaleprof.records import DType, Workload

# Relative to the size of the outputs. Sums in another order, fused operators and other algorithms for
# convolutions stay below this in the shallower networks, and computing in the next coarser dtype does not.
_ALWAYS_ALLOWED: dict[DType, float] = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 4e-2}
# Two results that are each as far from exact as eager's are apart by the root of two of that. Sums are made
# in fp32 in any dtype: in the coarser ones what is stored decides, and all store nearly the same; in fp32 the
# way of summing decides, and a convolution by Winograd, or with a batch norm in its weights, rounds far more.
_OWN_ERRORS_ALLOWED: dict[DType, float] = {"fp32": 10.0, "fp16": 3.0, "bf16": 3.0}
# Outputs of another network are apart by the root of two of their size, and zeros by one.
_MOST_ALLOWED = 0.5


class OutputsDifferError(Exception):
    """A runtime's outputs are not eager's: by how much, and how much is allowed, in one line."""


class OutputStructureError(OutputsDifferError, ValueError):
    """Outputs of another number or other shapes, which cannot be compared."""


class Agreement(NamedTuple):
    """How far outputs are from eager's, and how far they may be, relative to their size."""

    error: float
    allowed: float


def check_outputs(
    expected: object, got: object, workload: Workload, own_error: Callable[[], float | None]
) -> Agreement:
    """How far a runtime's outputs are from eager's, if that is allowed.

    Args:
        expected: eager's.
        got: the runtime's.
        workload: whose dtype they were computed in.
        own_error: eager's own `rounding_error`; asked for only if they are further than always passes.

    Raises:
        OutputsDifferError: they are too far, or cannot be compared.
    """
    error, allowed = output_error(expected, got), allowed_error(workload)
    if error <= allowed:
        return Agreement(error, allowed)
    own = own_error()
    allowed = allowed_error(workload, own)
    if error <= allowed:
        return Agreement(error, allowed)
    beside = "" if own is None else f", where eager's own are off by {own:.2g}"
    raise OutputsDifferError(
        f"outputs differ from eager's by {error:.2g} of their size; {allowed:.2g} is allowed in "
        f"{workload.dtype}{beside}"
    )


def allowed_error(workload: Workload, own_error: float | None = None) -> float:
    """The largest `output_error` that rounding explains in the workload's dtype.

    Where eager's own error is known it is some times that, but never more than half of the outputs' size.

    >>> allowed_error(Workload("cpu")), allowed_error(Workload("cpu", dtype="bf16"), own_error=0.125)
    (0.0001, 0.375)
    """
    by_own = _OWN_ERRORS_ALLOWED[workload.dtype] * (own_error or 0.0)
    return min(max(_ALWAYS_ALLOWED[workload.dtype], by_own), _MOST_ALLOWED)


def rounding_error(
    network: nn.Module, inputs: tuple[torch.Tensor, ...], workload: Workload, expected: object
) -> float | None:
    """How far eager's outputs are from those of the same weights and inputs in a wider dtype.

    That is fp64 for fp32, and fp32 for the others. None if the network does not run in it, or its outputs are
    of another structure then.
    """
    wider = torch.float64 if workload.dtype == "fp32" else torch.float32
    try:
        exact = copy.deepcopy(network).to(wider)(*(_widened(tensor, wider) for tensor in inputs))
        return output_error(exact, expected)
    except NETWORK_ERRORS:
        return None


def _widened(tensor: torch.Tensor, wider: torch.dtype) -> torch.Tensor:
    return tensor.to(wider) if tensor.is_floating_point() else tensor


def output_error(expected: object, got: object) -> float:
    """The distance of outputs from expected ones over the size of these, both as root mean squares.

    Outputs are all floating tensors and arrays of a structure, in order; that of the largest error counts, so
    that large outputs do not hide small ones. Whole numbers count only if there is nothing else: the largest
    of several near-equal values may be another one after rounding. Numbers that are not finite are infinitely
    far off.

    Raises:
        OutputStructureError: their numbers or shapes differ, or there is nothing to compare.
    """
    pairs = _pairs(output_tensors(expected), output_tensors(got))
    return max(_distance(one, other) for one, other in pairs)


def output_tensors(outputs: object) -> list[torch.Tensor]:
    """All tensors and arrays in a structure of outputs, in order; what else is in it does not count."""
    found: list[Any] = found_in(outputs, (torch.Tensor, np.ndarray, np.generic))
    return [one if isinstance(one, torch.Tensor) else torch.as_tensor(one) for one in found]


def _pairs(expected: list[torch.Tensor], got: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if len(expected) != len(got):
        raise OutputStructureError(f"eager puts out {len(expected)} tensors, and it {len(got)}")
    pairs = list(zip(expected, got, strict=True))
    for number, (one, other) in enumerate(pairs):
        if one.shape != other.shape:
            raise OutputStructureError(
                f"output {number} has shape {list(one.shape)} in eager, and {list(other.shape)} in it"
            )
    filled = [pair for pair in pairs if pair[0].numel()]
    if not filled:
        raise OutputStructureError("there are no numbers in the outputs to compare")
    return [pair for pair in filled if pair[0].is_floating_point() or pair[0].is_complex()] or filled


def _distance(expected: torch.Tensor, got: torch.Tensor) -> float:
    one, other = _in_double_precision(expected), _in_double_precision(got)
    distance, size = _root_mean_square(one - other), _root_mean_square(one)
    if not math.isfinite(distance):
        return math.inf
    if distance == 0:
        return 0.0
    return distance / size if size else math.inf


def _in_double_precision(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64)


def _root_mean_square(values: torch.Tensor) -> float:
    return float(values.abs().square().mean().sqrt())

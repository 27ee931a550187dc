"""Whether a runtime puts out what eager puts out.

A fast wrong result is no result, so nothing is timed before this has been checked.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from scaleprof.records import DType, Workload

# Relative to the size of the outputs. Sums in another order, fused operators and other algorithms for a
# convolution move a network's outputs by some tens of roundings (6e-8, 5e-4 and 4e-3 of a value); computing
# in the next coarser dtype, or leaving something out, moves them by more than is allowed here.
_ALLOWED_ERRORS: dict[DType, float] = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1}


class OutputsDifferError(Exception):
    """A runtime's outputs are not eager's: by how much, and how much is allowed, in one line."""


class OutputStructureError(OutputsDifferError, ValueError):
    """Outputs of another number or other shapes, which cannot be compared."""


def check_outputs(expected: object, got: object, workload: Workload) -> float:
    """How far a runtime's outputs are from eager's, if that is allowed.

    Raises:
        OutputsDifferError: it is too far, or they cannot be compared.
    """
    error, allowed = output_error(expected, got), allowed_error(workload)
    if not error <= allowed:
        raise OutputsDifferError(
            f"outputs differ from eager's by {error:.2g} of their size, and {allowed:g} is allowed in "
            f"{workload.dtype}"
        )
    return error


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


def allowed_error(workload: Workload) -> float:
    """The largest `output_error` that rounding explains in the workload's dtype."""
    # TF32, in which convolutions compute on CUDA unless that is switched off, rounds as fp16 does.
    rounds_more = workload.dtype == "fp32" and workload.on_cuda and torch.backends.cudnn.allow_tf32
    return _ALLOWED_ERRORS["fp16" if rounds_more else workload.dtype]


def output_tensors(outputs: object) -> list[torch.Tensor]:
    """All tensors and arrays in a structure of outputs, in order; what else is in it does not count."""
    leaves = (_as_tensor(leaf) for leaf in tree_leaves(outputs))
    return [leaf for leaf in leaves if leaf is not None]


def _as_tensor(leaf: object) -> torch.Tensor | None:
    if isinstance(leaf, (np.ndarray, np.generic)):
        return torch.as_tensor(leaf)
    return leaf if isinstance(leaf, torch.Tensor) else None


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
    one, other = _as_doubles(expected), _as_doubles(got)
    distance, size = _root_mean_square(one - other), _root_mean_square(one)
    if not math.isfinite(distance):
        return math.inf
    if distance == 0:
        return 0.0
    return distance / size if size else math.inf


def _as_doubles(tensor: torch.Tensor) -> torch.Tensor:
    numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return numbers.detach().cpu().double()


def _root_mean_square(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())

"""Which operators multiply and add, which do not by convention, and which are unknown.

torch's own registry (`torch.utils.flop_counter`) gives each operator's floating-point operations, two for
a multiply-add. What has no formula there is either free by the field's convention, named below, or
reported as uncounted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

_FLOPS_PER_MAC = 2

# Free by the convention of the vision literature: normalisation, pooling, reductions, softmax, copies and
# lookups. Element-wise operators and views are recognised by torch's own tags.
_FREE = frozenset(
    {
        "_adaptive_avg_pool2d",
        "_batch_norm_no_update",
        "_batch_norm_with_update",
        "_log_softmax",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_safe_softmax",
        "_softmax",
        "_to_copy",
        "_unsafe_view",
        "adaptive_avg_pool2d",
        "amax",
        "arange",
        "argmax",
        "as_strided_",
        "avg_pool2d",
        "cat",
        "clone",
        "constant_pad_nd",
        "copy_",
        "cudnn_batch_norm",
        "detach",
        "embedding",
        "empty",
        "empty_like",
        "full",
        "gather",
        "hardsigmoid",
        "hardsigmoid_",
        "hardswish",
        "hardswish_",
        "index",
        "index_select",
        "lift_fresh",
        "max",
        "max_pool2d_with_indices",
        "mean",
        "min",
        "native_batch_norm",
        "native_dropout",
        "native_group_norm",
        "native_layer_norm",
        "new_empty",
        "new_zeros",
        "ones",
        "ones_like",
        "repeat",
        "roll",
        "scalar_tensor",
        "slice_scatter",
        "split",
        "split_with_sizes",
        "stack",
        "sum",
        "unsafe_split",
        "upsample_bilinear2d",
        "upsample_nearest2d",
        "zeros",
        "zeros_like",
    }
)


def operator_name(func: torch._ops.OpOverload) -> str:
    """The operator's name without its overload, such as `convolution` or `mylib::scan`."""
    namespace, _, name = func._schema.name.partition("::")
    return name if namespace == "aten" else f"{namespace}::{name}"


def macs_formula(func: torch._ops.OpOverload) -> Callable[..., int] | None:
    """A function `(*args, out_val=result, **kwargs) -> MACs` for the operator, or None if it has none."""
    formula: Callable[..., Any] | None = flop_registry.get(func._overloadpacket)
    if formula is None:
        return None
    return lambda *args, **kwargs: int(formula(*args, **kwargs)) // _FLOPS_PER_MAC


def is_free(func: torch._ops.OpOverload) -> bool:
    """Whether the operator adds no MACs by convention: element-wise, a view, or named above."""
    if torch.Tag.pointwise in func.tags or func.is_view:
        return True
    return func._schema.name.startswith(("aten::", "prim::")) and (
        operator_name(func) in _FREE or func._schema.name.startswith("prim::")
    )

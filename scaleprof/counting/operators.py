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
        "_adaptive_avg_pool3d",
        "_batch_norm_no_update",
        "_batch_norm_with_update",
        "_local_scalar_dense",
        "_log_softmax",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_safe_softmax",
        "_softmax",
        "_to_copy",
        "_unsafe_view",
        "_weight_norm_interface",
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "all",
        "amax",
        "any",
        "arange",
        "argmax",
        "as_strided_",
        "avg_pool2d",
        "avg_pool3d",
        "bernoulli_",
        "cat",
        "clone",
        "constant_pad_nd",
        "copy_",
        "cudnn_batch_norm",
        "detach",
        "elu",
        "embedding",
        "embedding_dense",
        "empty",
        "empty_like",
        "expand",
        "fill_",
        "flip",
        "full",
        "gather",
        "gelu",
        "hardsigmoid",
        "hardsigmoid_",
        "hardswish",
        "hardswish_",
        "hardtanh",
        "index",
        "index_put",
        "index_put_",
        "index_select",
        "lift_fresh",
        "linalg_vector_norm",
        "log_sigmoid",
        "max",
        "max_pool1d",
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "mean",
        "min",
        "native_batch_norm",
        "native_dropout",
        "native_group_norm",
        "native_layer_norm",
        "new_empty",
        "new_empty_strided",
        "new_zeros",
        "nonzero",
        "normal_",
        "ones",
        "ones_like",
        "pixel_shuffle",
        "rand",
        "randint",
        "randn",
        "reflection_pad2d",
        "repeat",
        "roll",
        "scalar_tensor",
        "scatter",
        "select",
        "silu",
        "slice",
        "slice_scatter",
        "split",
        "split_with_sizes",
        "squeeze_",
        "stack",
        "sum",
        "t_",
        "threshold",
        "transpose_",
        "tril",
        "triu",
        "uniform_",
        "unsafe_split",
        "unsqueeze_",
        "upsample_bicubic2d",
        "upsample_bilinear2d",
        "upsample_linear1d",
        "upsample_nearest2d",
        "zero_",
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
    if func._overloadpacket is torch.ops.aten.convolution_backward:
        return _convolution_backward_macs
    formula: Callable[..., Any] | None = flop_registry.get(func._overloadpacket)
    if formula is None:
        return None
    return lambda *args, **kwargs: int(formula(*args, **kwargs)) // _FLOPS_PER_MAC


def _convolution_backward_macs(
    gradient: torch.Tensor, images: torch.Tensor, weight: torch.Tensor, *others: Any, **_out: Any
) -> int:
    """MACs of a convolution's backward pass: those of the forward pass for each gradient that is asked for.

    Each is a convolution over the same triples of output place, weight and sample. torch's own formula
    ignores groups and is tenfold too large for depthwise convolutions.
    """
    transposed, wanted = others[4], others[7]
    places = (images if transposed else gradient).shape[2:].numel() * gradient.shape[0]
    return places * weight.numel() * (bool(wanted[0]) + bool(wanted[1]))


def is_free(func: torch._ops.OpOverload) -> bool:
    """Whether the operator adds no MACs by convention: element-wise, a view, or named above.

    What is free is free in place, and backwards.
    """
    if torch.Tag.pointwise in func.tags or func.is_view:
        return True
    namespace, _, name = func._schema.name.partition("::")
    forwards = name.removesuffix("_data").removesuffix("_backward")
    return namespace == "prim" or (
        namespace == "aten" and bool({name, name.removesuffix("_"), forwards} & _FREE)
    )

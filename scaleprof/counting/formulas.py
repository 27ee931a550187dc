"""MACs of the operators that multiply and add, from the shapes of their tensors.

A formula is called with an operator's arguments and `out_val`, its result, and returns multiply-adds. Complex
operands are counted as if they were real here; the ledger multiplies by four. Where torch's own registry
(`torch.utils.flop_counter`) has a formula that this file has not, that one is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from scaleprof.counting.tensors import first_of, is_sparse, stored_elements
from scaleprof.models.packed import packed_tensors

Formula = Callable[..., int]

_FLOPS_PER_MAC = 2
# A complex product is four real ones.
COMPLEX_FACTOR = 4


def find_formula(name: str, packet: Any) -> Formula | None:
    """The MACs formula of an operator, by its full name such as `aten::mm`; None if it has none."""
    known = FORMULAS.get(name) or FORMULAS.get(name.removesuffix("_"))  # in place or not
    if known is not None:
        return known
    from_torch: Callable[..., Any] | None = flop_registry.get(packet)
    if from_torch is None:
        return _BEFORE_TORCH_HAD_THEM.get(name)
    # torch counts an attention kernel's backward pass as five products: the scores are computed once more.
    # The two products of the forward pass have two gradients each, and recomputation is not counted.
    products, kept = (5, 4) if "backward" in name else (1, 1)
    return lambda *args, **kwargs: int(from_torch(*args, **kwargs)) * kept // (_FLOPS_PER_MAC * products)


def is_fused_attention(name: str) -> bool:
    """Whether the operator is a kernel of attention alone, whose scores are never a tensor."""
    return "attention" in name.lower() and "multi_head" not in name


def score_elements(name: str, args: tuple[Any, ...], macs: int) -> int:
    """Elements of the scores that a fused attention kernel computes and does not return."""
    first = 1 if name.endswith("no_dropout_inplace") else 0
    query, value = args[first], args[first + 2]
    return macs // max(1, int(query.shape[-1] + value.shape[-1]))


def _product(first: int) -> Formula:
    """A matrix product whose operands are the arguments `first` and `first + 1`; either may be sparse."""

    def macs(*args: Any, out_val: Any, **_: Any) -> int:
        left, right = args[first], args[first + 1]
        if is_sparse(left) and is_sparse(right):
            return _sparse_product_macs(left, right)
        if is_sparse(left):
            return stored_elements(left) * (right.shape[-1] if right.dim() > 1 else 1)
        if is_sparse(right):
            return stored_elements(right) * (left.shape[-2] if left.dim() > 1 else 1)
        return int(out_val.numel() * left.shape[-1])

    return macs


def _sparse_product_macs(left: torch.Tensor, right: torch.Tensor) -> int:
    """One multiply-add for each pair of stored elements that meet: (i, k) and (k, j)."""
    inner = left.shape[-1]
    columns = left.to_sparse_coo().coalesce().indices()[1].bincount(minlength=inner)
    rows = right.to_sparse_coo().coalesce().indices()[0].bincount(minlength=inner)
    return int((columns * rows).sum())


def _inner(*, of: int) -> Formula:
    """A product whose inner size is the last one of argument `of`; operands may be packed."""
    return lambda *args, out_val, **_: first_of(out_val).numel() * args[of].shape[-1]


def _summed_batch_product(*args: Any, **_: Any) -> int:
    """`addbmm`: the batch is summed over, so that the result has no batch."""
    return int(args[1].numel() * args[2].shape[-1])


def _many_products(*args: Any, **_: Any) -> int:
    return sum(int(left.numel()) * right.shape[-1] for left, right in zip(args[0], args[1], strict=True))


def _outer_product(*args: Any, **_: Any) -> int:
    return int(args[1].numel() * args[2].numel())


def _gathered_product(*args: Any, **_: Any) -> int:
    """A product fused with communication: the whole of the first operand is multiplied."""
    right = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
    return sum(args[0].numel() * one.shape[-1] for one in right)


def _two_products(*args: Any, **_: Any) -> int:
    return int(args[0].numel() * args[1].shape[-1] + args[2].numel() * args[3].shape[-1])


def _grouped_product(*args: Any, out_val: Any, **kwargs: Any) -> int:
    """A product in groups: rows, columns or inner slices of the operands belong to one group each.

    `[rows, inner] @ [groups, inner, columns]` multiplies each row once, `[groups, rows, inner] @ [inner,
    columns]` each column once, `[rows, inner] @ [inner, columns]` each inner slice once. Rows behind the last
    offset belong to no group; where offsets have no values, all rows are assumed to be in one.
    """
    left, right = args[0], args[1]
    offsets = kwargs.get("offs")
    if offsets is None:
        offsets = next((a for a in args[2:] if isinstance(a, torch.Tensor) and a.dtype == torch.int32), None)
    inner = left.shape[-1]
    if left.dim() == 3 and right.dim() == 3:
        return int(out_val.numel() * inner)
    known = int(offsets[-1]) if offsets is not None and not offsets.is_meta and len(offsets) else None
    if left.dim() == 2 and right.dim() == 3:
        return int((left.shape[0] if known is None else known) * inner * right.shape[-1])
    if left.dim() == 3:
        return int((right.shape[1] if known is None else known) * inner * left.shape[1])
    return int(left.shape[0] * right.shape[1] * (inner if known is None else known))


def _half_sparse_product(right: int) -> Formula:
    """A product with a 2:4 sparse matrix, which stores and multiplies half of its elements."""
    return lambda *args, out_val, **_: out_val.numel() * args[right].shape[0] // 2


def _half_sparse_linear(*args: Any, out_val: Any, **_: Any) -> int:
    return int(out_val.numel() * args[0].shape[-1] // 2)


def _half_sparse_custom(out_features: int) -> Formula:
    """torch's own wrappers of the same; every element of the dense operand meets half of the outputs."""
    return lambda *args, **_: args[0].numel() * args[out_features] // 2


def _classifier(*args: Any, **_: Any) -> int:
    return int(args[0].numel() * args[1].shape[0])


def _chunked_classifier(*args: Any, **_: Any) -> int:
    """The last layer with its loss in one call, which computes the gradients that are asked for at once."""
    return int(args[0].numel() * args[1].shape[0] * (1 + sum(map(bool, args[12:14]))))


def _sampled_product(*args: Any, **_: Any) -> int:
    """Only the stored elements of the first argument are computed."""
    return int(stored_elements(args[0]) * args[1].shape[-1])


def _reduced_sparse_product(*args: Any, **_: Any) -> int:
    return int(stored_elements(args[0]) * args[1].shape[-1])


def _reduced_sparse_product_backward(*args: Any, **_: Any) -> int:
    return int(stored_elements(args[0]) * args[1].shape[-1] * sum(map(bool, args[5])))


def _trilinear(*args: Any, **_: Any) -> int:
    """`_trilinear(i1, i2, i3, expand1, expand2, expand3, sumdim)`: two products, one after the other.

    Each operand lacks the dimensions that it is expanded by. The first product is over all dimensions of the
    first two operands; it sums over those of `sumdim` that the third operand lacks. `nn.Bilinear(a, b, c)` is
    `c·a·b` for the first input and `c·b` for the second.
    """
    operands, expansions, summed = args[:3], args[3:6], set(args[6])
    rank = operands[0].dim() + len(expansions[0])
    sizes: list[dict[int, int]] = []
    for operand, expansion in zip(operands, expansions, strict=True):
        own = [dim for dim in range(rank) if dim not in expansion]
        sizes.append(dict(zip(own, operand.shape, strict=True)))
    pair = {**sizes[0], **sizes[1]}
    left_over = {dim: size for dim, size in pair.items() if dim not in summed or dim in sizes[2]}
    return prod(pair.values()) + prod({**left_over, **sizes[2]}.values())


def _distance(*args: Any, out_val: Any, **_: Any) -> int:
    """Distances between rows: a multiply-add for each coordinate of each pair."""
    return int(out_val.numel() * args[0].shape[-1])


def _distance_backward(*args: Any, **_: Any) -> int:
    """One operand's gradient: a multiply-add for each coordinate of each pair."""
    return int(args[0].numel() * args[1].shape[-1])


def _convolution(weight: int = 1, *, transposed: bool = False) -> Formula:
    """A convolution of argument 0 with the weight at an argument's place.

    Each output (transposed: input) element meets one filter's weights.
    """

    def macs(*args: Any, out_val: Any, **_: Any) -> int:
        kernel = _weight_of(args[weight])
        places: torch.Tensor = args[0] if transposed else first_of(out_val)
        return places.numel() * _per_filter(kernel)

    return macs


def _fused_convolution(*args: Any, out_val: Any, **_: Any) -> int:
    """oneDNN's convolution with what follows: a tensor to be added may stand before the weight."""
    has_other = isinstance(args[2], torch.Tensor) and args[2].dim() > 1
    return int(out_val.numel() * _per_filter(args[2 if has_other else 1]))


def _general_convolution(*args: Any, out_val: Any, **_: Any) -> int:
    """`convolution(input, weight, bias, stride, padding, dilation, transposed, …)`."""
    places = args[0] if args[6] else out_val
    return int(places.numel() * _per_filter(args[1]))


def _convolution_backward(*args: Any, **_: Any) -> int:
    """MACs of a convolution's backward pass: those of the forward pass for each gradient that is asked for.

    Each is a convolution over the same triples of output place, weight and sample. torch's own formula
    ignores groups and is tenfold too large for depthwise convolutions.
    """
    gradient, images, weight = args[:3]
    transposed = next(one for one in args[3:] if isinstance(one, bool))
    wanted = next(one for one in reversed(args) if isinstance(one, (list, tuple)))
    places = images if transposed else gradient
    return int(places.numel() * _per_filter(weight) * (bool(wanted[0]) + bool(wanted[1])))


def _deformable_backward(*args: Any, **_: Any) -> int:
    """The gradients of the sampled columns and of the weight; torchvision always computes both."""
    return int(2 * args[0].numel() * _per_filter(args[2]))


def _time_convolution(*args: Any, out_val: Any, **_: Any) -> int:
    """`conv_tbc`: the weight is `[taps, in, out]`."""
    taps, inputs, _outputs = args[1].shape
    return int(out_val.numel() * taps * inputs)


def _per_filter(weight: torch.Tensor) -> int:
    return weight.numel() // max(1, weight.shape[0])


def _weight_of(operand: Any) -> torch.Tensor:
    """The weight, unpacked if a quantised kernel holds it packed."""
    return operand if isinstance(operand, torch.Tensor) else operand.unpack()[0]


def _linear_backward(*args: Any, **_: Any) -> int:
    """`linear_backward(input, gradient, weight, output_mask)`."""
    tokens = args[1].numel() // max(1, args[2].shape[0])
    return int(tokens * args[2].numel() * (bool(args[3][0]) + bool(args[3][1])))


def _matmul_backward(*args: Any, **_: Any) -> int:
    """`matmul_backward(gradient, self, other, mask)`: a product of the same three sizes for each gradient."""
    return int(args[0].numel() * args[1].shape[-1] * (bool(args[3][0]) + bool(args[3][1])))


def attention(query: int = 0) -> Formula:
    """Scores and their product with the values, `[…, tokens, channels]`; the full square if masked."""

    def macs(*args: Any, **_: Any) -> int:
        queries, keys, values = args[query : query + 3]
        return int(queries.shape[:-1].numel() * keys.shape[-2] * (queries.shape[-1] + values.shape[-1]))

    return macs


def attention_backward(query: int = 1) -> Formula:
    """Two gradients for each of the two products; scores that a kernel computes again are not counted."""
    forwards = attention(query)
    return lambda *args, **kwargs: 2 * forwards(*args, **kwargs)


def _onnx_attention(*args: Any, **kwargs: Any) -> int:
    """ONNX's Attention: `[batch, heads, tokens, channels]`, or heads and channels in one dimension."""
    query, key, value = args[:3]
    past = args[4] if len(args) > 4 else kwargs.get("past_key")
    in_one = query.dim() == 3
    heads = kwargs["q_num_heads"] if in_one else query.shape[1]
    channels = query.shape[-1] // (heads if in_one else 1)
    value_channels = value.shape[-1] // (kwargs["kv_num_heads"] if in_one else 1)
    keys = key.shape[-2] + (0 if past is None else past.shape[-2])
    return int(query.shape[0] * heads * query.shape[-2] * keys * (channels + value_channels))


def _inplace_flash_attention(*args: Any, **_: Any) -> int:
    """The same as `_flash_attention_forward`, behind an argument that takes the result."""
    return _flash_macs("_flash_attention_forward", args[1:])


def _flash_macs(name: str, args: tuple[Any, ...]) -> int:
    flops: Any = flop_registry[getattr(torch.ops.aten, name)]
    return int(flops(*args)) // _FLOPS_PER_MAC


def _attention_layer(*args: Any, **_: Any) -> int:
    """`(query, key, value, width, …)`: four projections and attention's two products."""
    return _attention_layer_macs(args[0], args[1])


def _attention_layer_macs(query: torch.Tensor, key: torch.Tensor) -> int:
    batch, queries, width = query.shape
    keys = key.shape[1]
    return batch * (2 * (queries + keys) * width**2 + 2 * queries * keys * width)


def _encoder_layer(*args: Any, **_: Any) -> int:
    """A whole encoder layer: attention and two layers, whose weights are arguments 14 and 16."""
    source = args[0]
    tokens = source.shape[0] * source.shape[1]
    return int(_attention_layer_macs(source, source) + tokens * (args[14].numel() + args[16].numel()))


def _recurrent(first: int, *, weights: int | None = None) -> Formula:
    """Recurrent layers in one call: each weight matrix is applied once to each token.

    The matrices are in the list at argument `first`, or are `weights` arguments from there on.
    """

    def macs(*args: Any, **_: Any) -> int:
        given = args[first] if weights is None else args[first : first + weights]
        return int(args[0].shape[:-1].numel() * sum(one.numel() for one in given if one.dim() > 1))

    return macs


def _recurrent_backward(*args: Any, **_: Any) -> int:
    """Each matrix has two gradients, its own and its input's; the first layers' input may need none."""
    inputs, given = args[0], args[1]
    wanted = args[-1]
    matrices = [one for one in given if one.dim() > 1]
    total = sum(one.numel() for one in matrices)
    bidirectional = next(one for one in reversed(args[:-4]) if isinstance(one, bool))
    first = 0 if wanted[0] else matrices[0].numel() * (1 + bidirectional)
    return int(inputs.shape[:-1].numel() * (total - first + (total if wanted[3] else 0)))


def _recurrent_layer_backward(*args: Any, **_: Any) -> int:
    """`mkldnn_rnn_layer_backward(input, weight1, weight2, …)`."""
    return int(2 * args[0].shape[:-1].numel() * (args[1].numel() + args[2].numel()))


def _packed_cell(*args: Any, **_: Any) -> int:
    """A quantised recurrent cell `(input, state, packed, packed, …)`."""
    samples = args[0].shape[:-1].numel()
    return int(samples * sum(_weight_of(one).numel() for one in args[2:4]))


def _packed_recurrent(*args: Any, **_: Any) -> int:
    """Quantised recurrent layers; their packed cell parameters hold two matrices each."""
    matrices = [one for cell in args[2] for one in packed_tensors(cell) if one.dim() > 1]
    return int(args[0].shape[:-1].numel() * sum(one.numel() for one in matrices))


def _named(namespace: str, names: str, formula: Formula) -> dict[str, Formula]:
    return {f"{namespace}::{name}": formula for name in names.split()}


# By full name. Whole-number and low-precision products are products like any other.
FORMULAS: dict[str, Formula] = {
    **_named("aten", "mm bmm mv dot vdot _sparse_mm linear hspmm _sparse_sparse_matmul", _product(0)),
    **_named("aten", "addmm baddbmm addmv _addmm_activation _sparse_addmm sspaddmm", _product(1)),
    **_named(
        "aten",
        "_int_mm _scaled_mm _scaled_mm_v2 _mixed_dtypes_linear mkldnn_linear _weight_int8pack_mm "
        "_weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros "
        "_dyn_quant_matmul_4bit",
        _inner(of=0),
    ),
    **_named("aten", "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2", _grouped_product),
    **_named("aten", "addbmm", _summed_batch_product),
    **_named("aten", "addr", _outer_product),
    **_named("aten", "_foreach_mm", _many_products),
    **_named("aten", "_sparse_semi_structured_mm", _half_sparse_product(2)),
    **_named("aten", "_sparse_semi_structured_addmm", _half_sparse_product(3)),
    **_named("aten", "_cslt_sparse_mm", _half_sparse_product(1)),
    **_named("aten", "_sparse_semi_structured_linear", _half_sparse_linear),
    **_named("aten", "sparse_sampled_addmm", _sampled_product),
    **_named("aten", "_sparse_mm_reduce_impl", _reduced_sparse_product),
    **_named("aten", "_sparse_mm_reduce_impl_backward", _reduced_sparse_product_backward),
    **_named("aten", "_trilinear", _trilinear),
    **_named("aten", "_cdist_forward _euclidean_dist _pdist_forward", _distance),
    **_named("aten", "_cdist_backward _pdist_backward", _distance_backward),
    **_named("aten", "linear_backward mkldnn_linear_backward", _linear_backward),
    **_named("aten", "matmul_backward", _matmul_backward),
    **_named("aten", "convolution _convolution convolution_overrideable", _general_convolution),
    **_named(
        "aten",
        "cudnn_convolution cudnn_convolution_relu cudnn_convolution_add_relu "
        "miopen_depthwise_convolution mkldnn_convolution _mps_convolution _conv_depthwise2d "
        "conv_depthwise3d _slow_conv2d_forward slow_conv3d_forward slow_conv_dilated2d "
        "slow_conv_dilated3d _nnpack_spatial_convolution miopen_convolution miopen_convolution_relu "
        "miopen_convolution_add_relu",
        _convolution(),
    ),
    **_named(
        "aten",
        "cudnn_convolution_transpose miopen_convolution_transpose _mps_convolution_transpose "
        "slow_conv_transpose2d slow_conv_transpose3d",
        _convolution(transposed=True),
    ),
    **_named("aten", "convolution_backward convolution_backward_overrideable", _convolution_backward),
    **_named("aten", "conv_tbc", _time_convolution),
    **_named(
        "aten",
        "_scaled_dot_product_efficient_attention _cudnn_attention_forward "
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable "
        "_scaled_dot_product_attention_math_for_mps _triton_scaled_dot_attention",
        attention(),
    ),
    **_named(
        "aten",
        "_scaled_dot_product_efficient_attention_backward "
        "_scaled_dot_product_flash_attention_for_cpu_backward "
        "_scaled_dot_product_flash_attention_backward _scaled_dot_product_cudnn_attention_backward "
        "_scaled_dot_product_fused_attention_overrideable_backward _cudnn_attention_backward",
        attention_backward(),
    ),
    **_named("aten", "_flash_attention_forward_no_dropout_inplace", _inplace_flash_attention),
    **_named("aten", "_native_multi_head_attention _triton_multi_head_attention", _attention_layer),
    **_named("aten", "_transformer_encoder_layer_fwd", _encoder_layer),
    **_named("aten", "_cudnn_rnn miopen_rnn", _recurrent(1)),
    **_named("aten", "_lstm_mps", _recurrent(2)),
    **_named("aten", "mkldnn_rnn_layer", _recurrent(1, weights=2)),
    **_named("aten", "_cudnn_rnn_backward miopen_rnn_backward", _recurrent_backward),
    **_named("aten", "mkldnn_rnn_layer_backward", _recurrent_layer_backward),
    **_named("aten", "quantized_lstm quantized_gru", _packed_recurrent),
    **_named("mkldnn", "_linear_pointwise", _inner(of=0)),
    **_named("mkldnn", "_convolution_pointwise", _fused_convolution),
    **_named("mkldnn", "_convolution_transpose_pointwise", _convolution(transposed=True)),
    **_named("mkl", "_mkl_linear", _inner(of=0)),
    **_named("onednn", "qlinear_pointwise linear_dynamic_fp16 linear_relu_dynamic_fp16", _inner(of=0)),
    **_named(
        "onednn",
        "qconv1d_pointwise qconv2d_pointwise qconv3d_pointwise qconv_pointwise",
        _convolution(3),
    ),
    **_named(
        "quantized",
        "linear linear_relu linear_leaky_relu linear_tanh linear_dynamic linear_relu_dynamic "
        "linear_dynamic_fp16 linear_relu_dynamic_fp16 linear_dynamic_fp16_unpacked_weight "
        "int4mm_packed_weight_cpu linear_with_input_q_dq_qweight_dq_output_fp32 "
        "linear_with_input_q_dq_qweight_dq_relu_output_fp32 matmul",
        _inner(of=0),
    ),
    **_named(
        "quantized",
        "conv1d conv1d_relu conv1d_dynamic conv2d conv2d_relu conv2d_dynamic conv3d conv3d_relu "
        "conv3d_dynamic",
        _convolution(),
    ),
    **_named("quantized", "conv2d_add conv2d_add_relu", _convolution(2)),
    **_named(
        "quantized",
        "conv_transpose1d conv_transpose2d conv_transpose3d conv_transpose1d_dynamic "
        "conv_transpose2d_dynamic conv_transpose3d_dynamic",
        _convolution(transposed=True),
    ),
    **_named(
        "quantized",
        "quantized_lstm_cell_dynamic quantized_gru_cell_dynamic quantized_rnn_relu_cell_dynamic "
        "quantized_rnn_tanh_cell_dynamic",
        _packed_cell,
    ),
    **_named(
        "_quantized",
        "linear linear_dynamic wrapped_quantized_linear _wrapped_quantized_linear_prepacked "
        "wrapped_fbgemm_linear_fp16_weight",
        _inner(of=0),
    ),
    **_named("_quantized", "conv2d conv2d_relu conv3d conv3d_relu", _convolution()),
    **_named("_quantized", "conv_transpose1d conv_transpose2d", _convolution(transposed=True)),
    **_named("sparse", "qlinear qlinear_relu qlinear_dynamic qlinear_relu_dynamic", _inner(of=0)),
    **_named("semi_structured", "cutlass_mm", _half_sparse_custom(4)),
    **_named("semi_structured", "cusparselt_mm", _half_sparse_custom(3)),
    **_named("torch_nn", "_linear_cross_entropy_batch_chunked", _chunked_classifier),
    **_named("torch_nn", "_linear_cross_entropy_batch_chunked_no_reduction", _classifier),
    **_named("inductor", "_mm_plus_mm", _two_products),
    **_named(
        "symm_mem",
        "fused_all_gather_matmul fused_all_gather_scaled_matmul fused_matmul_reduce_scatter "
        "fused_scaled_matmul_reduce_scatter _async_input_mm",
        _gathered_product,
    ),
    **_named("onnx", "Attention", _onnx_attention),
    **_named("_native", "_foreach_mm_native_1", _many_products),
    **_named("_native", "bmm_triton_0", _product(0)),
    **_named("torchvision", "deform_conv2d", _convolution()),
    **_named("torchvision", "_deform_conv2d_backward", _deformable_backward),
}
# Of torch 2.11, whose registry lacks them: packed sequences, by the formula of the kernel that they call.
_BEFORE_TORCH_HAD_THEM: dict[str, Formula] = {
    "torch_attn::_varlen_attn": lambda *args, **_: _flash_macs("_flash_attention_forward", args[:7]),
    "torch_attn::_varlen_attn_backward": lambda *args, **_: (
        _flash_macs("_flash_attention_backward", args[:10]) * 4 // 5  # scores that are computed again
    ),
}

"""Every operator of torch and torchvision is in one class: counted, free, composite, or unknown.

- `counted`: it multiplies and adds, and `formulas` says how much.
- `free`: no multiply-adds by the field's convention: element-wise arithmetic, views and copies,
  normalisation, pooling, reductions and scans, softmax, losses, resampling, look-ups, sorting, random
  numbers, communication.
- `composite`: torch takes it apart into other operators, which are then seen.
- `unknown`: it does arithmetic of another kind, and has no formula: Fourier transforms, factorisations.

An operator that is in no class is new: a test goes through torch's registry and fails on it. Until somebody
says what it is, it is reported as unknown, and so is every operator of other libraries without a formula.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

import torch

from scaleprof.counting.formulas import Formula, find_formula

Kind = Literal["counted", "free", "composite", "unknown"]


class Operator(NamedTuple):
    """What is known of an operator.

    Attributes:
        name: without its overload, such as `convolution` or `mylib::scan`.
        full_name: with its namespace, such as `aten::convolution`.
        kind: its class; None if nobody has said.
        macs: its formula, if it is counted.
    """

    name: str
    full_name: str
    kind: Kind | None
    macs: Formula | None


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# Element-wise operators and views are recognised by torch's own tags; what these lack is named here. A name
# stands for the operator in place, its backward pass, its `_copy`, its `_foreach` form, and so on (`_stems`).
_FREE = _words(
    # Arithmetic, comparison and activation functions, an element at a time.
    "add sub rsub mul div where relu elu celu gelu silu mish glu glu_jvp log_sigmoid leaky_relu",
    "hardshrink softshrink softplus threshold hardtanh hardswish hardsigmoid _prelu_kernel",
    "rrelu_with_noise lerp addcmul addcdiv pow polar complex remainder floor_divide bitwise_and",
    "bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift __irshift__ __lshift__ __rshift__",
    "_add_relu _conj _conj_physical isinf isnan isin linalg_cross heaviside copysign xlogy gcd lcm eq ne",
    "ge gt le lt masked_fill _masked_scale _transform_bias_rescale_qkv _thnn_fused_gru_cell",
    "_thnn_fused_lstm_cell abs _foobar _functional_assert_async fill zero clamp_max clamp_min maximum",
    "minimum",
    # Softmax and losses.
    "_softmax softmax log_softmax _log_softmax _safe_softmax _masked_softmax",
    "_nested_tensor_softmax_with_shape _sparse_softmax _sparse_log_softmax binary_cross_entropy",
    "binary_cross_entropy_with_logits huber_loss mse_loss smooth_l1_loss soft_margin_loss",
    "multi_margin_loss multilabel_margin_loss nll_loss nll_loss2d _ctc_loss _cudnn_ctc_loss",
    "miopen_ctc_loss _use_cudnn_ctc_loss _use_miopen_ctc_loss",
    # Normalisation and quantisation, which scale each element.
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training",
    "_batch_norm_no_update _batch_norm_with_update _batch_norm_with_update_functional cudnn_batch_norm",
    "miopen_batch_norm batch_norm quantized_batch_norm batch_norm_elemt batch_norm_backward_elemt",
    "batch_norm_backward_reduce batch_norm_gather_stats batch_norm_gather_stats_with_counts",
    "batch_norm_stats batch_norm_update_stats native_group_norm native_layer_norm _fused_rms_norm",
    "_weight_norm_interface renorm embedding_renorm quantize_per_tensor quantize_per_tensor_dynamic",
    "quantize_per_channel dequantize int_repr q_scale qscheme q_zero_point q_per_channel_axis",
    "q_per_channel_scales q_per_channel_zero_points _make_per_channel_quantized_tensor",
    "_make_per_tensor_quantized_tensor fake_quantize_per_channel_affine_cachemask",
    "fake_quantize_per_tensor_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "_fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine",
    "_fused_moving_avg_obs_fq_helper",
    # Dropout and random numbers.
    "native_dropout _fused_dropout bernoulli binomial cauchy exponential geometric log_normal multinomial",
    "normal poisson rand randint randn rand_like randint_like randn_like random randperm uniform",
    "_standard_gamma _dirichlet_grad _sample_dirichlet _cudnn_init_dropout_state",
    "_fill_mem_eff_dropout_mask_ _philox_normal _philox_uniform _philox_key_fold_in _philox_key_split",
    # Pooling, padding, resampling.
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d",
    "adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d",
    "fractional_max_pool2d fractional_max_pool3d max_pool1d max_pool2d max_pool2d_with_indices",
    "max_pool3d_with_indices max_unpool2d max_unpool3d mkldnn_adaptive_avg_pool2d mkldnn_max_pool2d",
    "mkldnn_max_pool3d quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d constant_pad_nd",
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d",
    "replication_pad3d affine_grid_generator cudnn_affine_grid_generator grid_sampler_2d grid_sampler_3d",
    "_grid_sampler_2d_cpu_fallback cudnn_grid_sampler upsample_bicubic2d upsample_bilinear2d",
    "upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d",
    "_upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d",
    "_upsample_nearest_exact2d _upsample_nearest_exact3d",
    # Reductions and scans.
    "all any amax amin aminmax _aminmax argmax argmin max min mean median nanmedian mode sum nansum prod",
    "std std_mean var var_mean norm native_norm linalg_vector_norm linalg__powsum powsum logsumexp dist",
    "trace cumsum cumprod cummax cummin _cummax_helper _cummin_helper logcumsumexp _logcumsumexp",
    "count_nonzero kthvalue segment_reduce _segment_reduce _is_all_true _is_any_true allclose bincount",
    "histc histogram hash_tensor _histogramdd_bin_edges _histogramdd_from_bin_cts",
    "_histogramdd_from_bin_tensors _nested_sum _sparse_sum _sparse_csr_sum _sparse_csr_prod",
    # Look-ups, selection, sorting.
    "embedding embedding_dense _embedding_bag _embedding_bag_forward_only _embedding_bag_dense",
    "_embedding_bag_per_sample_weights gather scatter scatter_add scatter_reduce index index_add",
    "index_fill index_put index_reduce index_select _index_put_impl _unsafe_index _unsafe_index_put",
    "_unsafe_masked_index _unsafe_masked_index_put_accumulate masked_scatter masked_select nonzero",
    "nonzero_static put take searchsorted bucketize sort topk _unique _unique2 unique_consecutive",
    "unique_dim unique_dim_consecutive repeat_interleave tril triu tril_indices triu_indices",
    # Making, copying and arranging tensors.
    "_local_scalar_dense _to_copy _unsafe_view arange as_strided as_strided_scatter cat clone copy detach",
    "diag_embed diagonal diagonal_scatter empty empty_like empty_permuted empty_strided empty_quantized",
    "expand eye flip from_file full full_like im2col col2im channel_shuffle block_diag lift lift_fresh",
    "linspace logspace new_empty new_empty_strided new_full new_ones new_zeros ones ones_like",
    "pixel_shuffle pixel_unshuffle range repeat roll rot90 scalar_tensor select select_scatter set slice",
    "slice_scatter split split_with_sizes squeeze stack _stack t transpose unfold unsafe_split",
    "unsafe_split_with_sizes unsqueeze zeros zeros_like resize resize_as _resize_output set_data",
    "shallow_copy_data_ record_stream is_pinned _pin_memory is_same_size is_set_to _chunk_cat _copy_from",
    "_copy_from_and_resize _lazy_clone _efficientzerotensor _pack_padded_sequence _empty_affine_quantized",
    "_empty_per_channel_affine_quantized _has_same_storage_numel _new_zeros_with_same_feature_meta",
    "bartlett_window blackman_window hamming_window hann_window kaiser_window fft_fftfreq fft_rfftfreq",
    "lu_unpack _mkldnn_reshape _mkldnn_transpose mkldnn_reorder_conv2d_weight",
    "mkldnn_reorder_conv3d_weight to_mkldnn _convert_weight_to_int4pack",
    "_convert_weight_to_int4pack_for_cpu _dyn_quant_pack_4bit_weight view view_as_complex view_as_real",
    "alias permute narrow unbind _reshape _cudnn_rnn_flatten_weight _make_dep_token _make_dual _fw_primal",
    "_neg_view _reshape_alias _values values",
    # Sparse and nested layouts.
    "indices _indices ccol_indices col_indices crow_indices row_indices _coalesce _coalesced is_coalesced",
    "copy_sparse_to_sparse dense_dim sparse_dim _dimI _dimV _nnz sparse_mask _sparse_mask_projection",
    "sparse_resize sparse_resize_and_clear resize_as_sparse _to_dense _to_sparse _to_sparse_bsc",
    "_to_sparse_bsr _to_sparse_csc _to_sparse_csr _to_sparse_semi_structured _spdiags",
    "_sparse_broadcast_to _sparse_compressed_tensor_with_dims _sparse_coo_tensor_with_dims",
    "sparse_coo_tensor _sparse_coo_tensor_with_dims_and_tensors sparse_compressed_tensor",
    "_validate_compressed_sparse_indices _convert_indices_from_coo_to_csr",
    "_convert_indices_from_csr_to_coo _cslt_compress _cslt_sparse_mm_search _sparse_semi_structured_apply",
    "_sparse_semi_structured_apply_dense _sparse_semi_structured_tile _jagged_to_padded_dense",
    "_padded_dense_to_jagged to_padded_tensor _nested_compute_contiguous_strides_offsets",
    "_nested_from_padded _nested_from_padded_and_nested_example _nested_from_padded_tensor",
    "_nested_get_jagged_dummy _nested_get_lengths _nested_get_max_seqlen _nested_get_min_seqlen",
    "_nested_get_offsets _nested_get_ragged_idx _nested_get_values _nested_select",
    "_nested_tensor_from_mask _nested_tensor_from_mask_left_aligned _nested_tensor_from_tensor_list",
    "_nested_tensor_size _nested_tensor_storage_offsets _nested_tensor_strides _nested_view_from_buffer",
    "_nested_view_from_jagged",
    # Optimizers' steps, checks, and torch's own tests.
    "_fused_adagrad _fused_adam _fused_adamw _fused_sgd _amp_update_scale _fused_sdp_choice",
    "_linalg_check_errors _amp_foreach_non_finite_check_and_unscale _amp_non_finite_check_and_unscale",
    "_assert_async _assert_scalar _assert_tensor_metadata _functional_assert_scalar",
    "_functional_sym_constrain_range _print _functional_sym_constrain_range_for_size sym_constrain_range",
    "sym_constrain_range_for_size _test_autograd_multiple_dispatch _test_autograd_multiple_dispatch_view",
    "_test_functorch_fallback _test_optional_filled_intlist _test_optional_floatlist",
    "_test_optional_intlist _test_parallel_materialize _test_warn_in_autograd",
)
_UNKNOWN = _words(
    "_fft_c2c _fft_c2r _fft_r2c _compute_linear_combination _cholesky_solve_helper cholesky cholesky_inverse",
    "cholesky_solve geqrf ormqr linalg_cholesky_ex linalg_eig linalg_eigvals _linalg_eigvals _linalg_eigh",
    "_linalg_det _linalg_slogdet _linalg_solve_ex _linalg_svd linalg_householder_product linalg_inv_ex",
    "linalg_ldl_factor_ex linalg_ldl_solve linalg_lstsq linalg_lu linalg_lu_factor_ex linalg_lu_solve",
    "linalg_matrix_exp linalg_matrix_sqrth linalg_pinv linalg_polar linalg_qr linalg_solve_triangular",
    "triangular_solve _spsolve",
    # Kernels of one vendor that torch never takes on the devices that are counted on.
    "_slow_conv2d lstm_mps mps_convolution mps_convolution_transpose mkldnn_linear_backward_input",
    "mkldnn_linear_backward_weights",
)

# What else torch registers: all of a namespace is free but what is named here or has a formula.
_UNKNOWN_ELSEWHERE = {
    "prims": _words("fft_c2c fft_c2r fft_r2c svd"),
    "_native": _words("linalg_polar_native_2 linalg_polar_out_native_3"),
    "mkldnn_prepacked": _words("conv2d_run"),
    "onnx_symbolic": _words("_symbolic _symbolic_multi_out"),
}
_KNOWN_NAMESPACES = _words(
    "prim prims rngprims debugprims c10d _c10d_functional _c10d_functional_autograd c10d_functional",
    "symm_mem _dtensor fsdp streams profiler mempool image export coor debug_mode_ops flex_lib inductor",
    "inductor_prims _inductor_test mkl mkldnn mkldnn_prepacked onednn onnx onnx_symbolic quantized",
    "_quantized quantization sparse static_runtime torchvision _native _test quantized_decomposed ao",
    "torch_nn torch_attn semi_structured triton",
)
# Namespaces in which a new operator may well multiply: what is free there is named.
_FREE_ELSEWHERE = {
    "torchvision": _words(
        "_cuda_version nms qnms roi_align qroi_align roi_pool ps_roi_align ps_roi_pool box_iou_rotated",
        "_roi_align _roi_pool _ps_roi_align _ps_roi_pool",
    ),
    "mkl": _words("_mkl_reorder_linear_weight"),
    "mkldnn": _words(
        "_get_mkldnn_serialized_md _nbytes _reorder_convolution_transpose_weight",
        "_reorder_convolution_weight _reorder_linear_weight _reorder_mkldnn_rnn_layer_weight data_ptr",
        "_is_mkldnn_acl_supported _is_mkldnn_bf16_supported _is_mkldnn_fp16_supported",
    ),
    "mkldnn_prepacked": _words("conv2d_prepack"),
    "onednn": _words(
        "qadd qadd_relu qmul qbatch_norm2d qconv_prepack qlinear_prepack linear_prepack_fp16",
    ),
    "onnx": _words("RotaryEmbedding"),
    "sparse": _words("qlinear_prepack qlinear_unpack"),
    "inductor": _words(
        "_alloc_from_pool _reinterpret_tensor accumulate_grad resize_storage_bytes",
    ),
    "static_runtime": _words(
        "VarTupleUnpack clamp_nan_to_num create_owned_ref dequantize dict_unpack embedding_bag",
        "expand_dims flatten fused_equally_split layer_norm permute reshape signed_log1p to to_maybe_copy",
        "select_tensor reshape_copy permute_copy flatten_copy to_copy expand_dims_copy dequantize_copy",
    ),
    # Nothing of these is free.
    **dict.fromkeys(("_native", "onnx_symbolic", "torch_nn", "torch_attn", "semi_structured"), _words()),
    "quantized": _words(
        "add add_relu add_scalar add_scalar_relu mul mul_relu mul_scalar mul_scalar_relu batch_norm",
        "batch_norm1d batch_norm1d_relu batch_norm2d batch_norm2d_relu batch_norm3d batch_norm3d_relu",
        "batch_norm_relu cat cat_relu celu clamp dropout elu group_norm hardswish instance_norm",
        "layer_norm leaky_relu max_pool1d max_pool2d prelu relu6 sigmoid softmax threshold linear_unpack",
        "linear_unpack_fp16 linear_prepack linear_prepack_fp16 linear_prepack_fp16_legacy",
        "linear_prepack_legacy make_quantized_cell_params make_quantized_cell_params_dynamic",
        "make_quantized_cell_params_fp16 conv_prepack embedding_4bit embedding_byte",
        "embedding_bag_2bit_rowwise_offsets embedding_bag_4bit embedding_bag_4bit_rowwise_offsets",
        "embedding_bag_byte embedding_bag_byte_rowwise_offsets",
    ),
    "_quantized": _words(
        "_wrapped_linear_prepack add linear_prepack linear_prepack_fp16 linear_prepack_fp16_legacy",
        "linear_prepack_legacy wrapped_fbgemm_pack_gemm_matrix_fp16",
    ),
}
# Reading or packing the weights of quantised layers.
_PACKING = (
    *("_prepack", "_unpack", "_prepack_with_rowwise_min_max", "_unpack_sizes"),
    *("_stride", "_padding", "_output_padding", "_dilation", "_groups", "_transpose"),
)


@cache
def describe(func: torch._ops.OpOverload) -> Operator:
    """What is known of an operator, by its name, its tags and the tables above."""
    full_name = func._schema.name
    namespace, _, name = full_name.partition("::")
    formula = find_formula(full_name, func._overloadpacket)
    kind: Kind | None = "counted" if formula else _kind(func, namespace, name)
    return Operator(name if namespace == "aten" else full_name, full_name, kind, formula)


def _kind(func: torch._ops.OpOverload, namespace: str, name: str) -> Kind | None:
    stems = _stems(name)
    if (namespace == "aten" and stems & _UNKNOWN) or stems & _UNKNOWN_ELSEWHERE.get(namespace, frozenset()):
        return "unknown"
    if func.is_view or _is_pointwise(func) or _is_free_by_name(namespace, name, stems):
        return "free"
    if func._can_decompose():
        return "composite"
    return "unknown" if namespace not in _KNOWN_NAMESPACES and namespace != "aten" else None


def _is_pointwise(func: torch._ops.OpOverload) -> bool:
    """By torch's tag, which some overloads lack (`add.out`) where others of the same name have it."""
    packet: Any = func._overloadpacket
    return any(torch.Tag.pointwise in getattr(packet, one).tags for one in packet.overloads())


def _is_free_by_name(namespace: str, name: str, stems: set[str]) -> bool:
    if namespace == "aten":
        return bool(stems & _FREE) or (name.startswith("_foreach_") and "_mm" not in name)
    if namespace not in _KNOWN_NAMESPACES:
        return False
    if namespace in ("quantized", "_quantized") and name.endswith(_PACKING):
        return True
    named = _FREE_ELSEWHERE.get(namespace)
    return True if named is None else bool(stems & named)


# What a name may carry around that of the operation it is a form of.
_SUFFIXES = ("_", "_out", "_copy", "_forward", "_backward", "_data", "_functional", "_impl", "_jvp", "_grad")


def _stems(name: str) -> set[str]:
    """The name and what is left of it without suffixes, such as `glu` of `glu_backward_jvp`."""
    found = {name}
    waiting = [name, name.removeprefix("_foreach_")]
    while waiting:
        stem = waiting.pop()
        found.add(stem)
        waiting += [
            stem.removesuffix(end) for end in _SUFFIXES if stem.endswith(end) and len(stem) > len(end)
        ]
    return found

"""Every operator that torch and torchvision register is in one class, and formulas agree with torch's own."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
import torchvision  # noqa: F401 - registers its operators
from torch.utils.flop_counter import flop_registry

from scaleprof.counting import higher_order
from scaleprof.counting.formulas import FORMULAS
from scaleprof.counting.operators import describe

# Parts of torch that register operators when they are first used.
LATE = (
    "torch._dynamo._trace_wrapped_higher_order_op",
    "torch._functorch._activation_offloading.offload_ops",
    "torch._higher_order_ops",
    "torch._inductor.fx_passes.control_dependencies",
    "torch.ao.quantization.fx._decomposed",
    "torch.distributed.tensor",
    "torch.nn.attention.varlen",
    "torch.nn.modules.linear_cross_entropy",
    "torch.onnx",
    "torch.sparse.semi_structured",
)


@pytest.fixture(scope="module", autouse=True)
def whole_registry() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LATE:
            with suppress(ImportError):  # some are younger than the oldest torch that is supported
                importlib.import_module(name)


def registered() -> Iterator[torch._ops.OpOverload]:
    """All overloads of all operators that this process knows, tests' own left out."""
    for full in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = full.partition("::")
        name, _, overload = rest.partition(".")
        if namespace.startswith("scaleprof"):
            continue
        try:
            yield getattr(getattr(getattr(torch.ops, namespace), name), overload or "default")
        except (AttributeError, RuntimeError):  # a name that is declared, and not to be called from Python
            continue


def test_every_registered_operator_is_in_a_class() -> None:
    classless = {describe(func).full_name for func in registered() if describe(func).kind is None}
    assert classless == set(), "say in scaleprof/counting/operators.py or formulas.py what these are"


def test_the_registry_that_the_classes_were_tried_on_is_a_whole_one() -> None:
    kinds = [describe(func).kind for func in registered()]
    assert {"counted", "free", "composite", "unknown"} == set(kinds)
    assert len(kinds) > 3000
    assert kinds.count("counted") > 200


def test_every_higher_order_operator_is_in_exactly_one_class() -> None:
    classes = [
        set(higher_order.COUNTED),
        set(higher_order.CHOOSING),
        set(higher_order.FREE),
        set(higher_order.LOOKED_INTO),
        set(higher_order.UNKNOWN),
    ]
    for name in torch._ops._higher_order_ops:
        assert sum(name in members for members in classes) == 1, name


def test_an_operator_of_another_library_is_unknown_unless_it_registers_its_operations() -> None:
    @torch.library.custom_op("scaleprof_operators::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x + x

    @torch.library.custom_op("scaleprof_operators::product", mutates_args=())
    def product(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    packet: Any = torch.ops.scaleprof_operators.product
    flop_registry[packet] = lambda x, **_: 2 * x.shape[0] ** 3
    try:
        assert describe(torch.ops.scaleprof_operators.twice.default).kind == "unknown"
        known = describe(packet.default)
        assert known.kind == "counted"
        assert known.macs is not None
        assert known.macs(torch.empty(4, 4), out_val=torch.empty(4, 4)) == 64
    finally:
        del flop_registry[packet]


@pytest.mark.parametrize(
    "name",
    [
        "prelu",
        "glu",
        "masked_fill_",
        "cumsum",
        "sort",
        "topk",
        "grid_sampler_2d",
        "var",
        "scatter_add",
        "histc",
    ],
)
def test_what_multiplies_and_adds_nothing_by_convention_is_free(name: str) -> None:
    packet = getattr(torch.ops.aten, "_prelu_kernel" if name == "prelu" else name)
    assert {describe(getattr(packet, one)).kind for one in packet.overloads()} <= {"free", "composite"}


@pytest.mark.parametrize("name", ["_fft_r2c", "linalg_inv_ex", "_linalg_svd", "linalg_solve_triangular"])
def test_arithmetic_of_another_kind_is_unknown(name: str) -> None:
    assert describe(getattr(torch.ops.aten, name).default).kind == "unknown"


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


B, H, Q, K, E, V = 2, 4, 5, 7, 16, 24  # batch, heads, queries, keys, channels of keys and of values
QUERY, KEY, VALUE = meta(B, H, Q, E), meta(B, H, K, E), meta(B, H, K, V)
SCORED = B * H * Q * K * (E + V)
IMAGES, FILTERS, SEEN = meta(2, 8, 9, 9), meta(12, 4, 3, 3), meta(2, 12, 7, 7)
CONVOLVED = 2 * 49 * 12 * 4 * 9
BACK = meta(8, 4, 3, 3)  # a transposed convolution's weight: 8 channels in, 4 of each of two groups out
SPREAD = 2 * 81 * 8 * 4 * 9
TOKENS, LEFT, RIGHT = 6, meta(6, 10), meta(10, 3)
# Kernels of other devices, which cannot be run here: arguments as torch calls them, and the MACs.
KERNELS: dict[str, tuple[tuple[Any, ...], Any, int]] = {
    "aten::_scaled_dot_product_efficient_attention": ((QUERY, KEY, VALUE, None, True), VALUE, SCORED),
    "aten::_scaled_dot_product_flash_attention": ((QUERY, KEY, VALUE), VALUE, SCORED),
    "aten::_scaled_dot_product_efficient_attention_backward": (
        (meta(B, H, Q, V), QUERY, KEY, VALUE),
        None,
        2 * SCORED,
    ),
    "aten::_cudnn_attention_forward": ((QUERY, KEY, VALUE), VALUE, SCORED),
    "aten::_triton_scaled_dot_attention": ((QUERY, KEY, VALUE), VALUE, SCORED),
    "aten::_native_multi_head_attention": (
        (meta(B, Q, 16), meta(B, K, 16), meta(B, K, 16), 16, 4),
        None,
        B * (2 * Q * 256 + 2 * K * 256 + 2 * Q * K * 16),
    ),
    "aten::_transformer_encoder_layer_fwd": (
        (meta(B, Q, 16), 16, 4, *[None] * 10, None, meta(32, 16), None, meta(16, 32), None),
        None,
        B * (4 * Q * 256 + 2 * Q * Q * 16 + 2 * Q * 16 * 32),
    ),
    "aten::cudnn_convolution": ((IMAGES, FILTERS), SEEN, CONVOLVED),
    "aten::cudnn_convolution_relu": ((IMAGES, FILTERS), SEEN, CONVOLVED),
    "aten::cudnn_convolution_transpose": ((IMAGES, BACK), None, SPREAD),
    "aten::miopen_convolution": ((IMAGES, FILTERS), SEEN, CONVOLVED),
    "aten::_mps_convolution": ((IMAGES, FILTERS), SEEN, CONVOLVED),
    "mkldnn::_convolution_pointwise": ((IMAGES, FILTERS, meta(12)), SEEN, CONVOLVED),
    "mkldnn::_convolution_transpose_pointwise": ((IMAGES, BACK, None), None, SPREAD),
    "onednn::qconv2d_pointwise": ((IMAGES, 1.0, 0, FILTERS), SEEN, CONVOLVED),
    "onednn::qlinear_pointwise": ((LEFT, 1.0, 0, RIGHT), meta(6, 3), 180),
    "mkldnn::_linear_pointwise": ((LEFT, meta(3, 10), None), meta(6, 3), 180),
    "mkl::_mkl_linear": ((LEFT, meta(3, 10), meta(3, 10), None, 6), meta(6, 3), 180),
    "aten::_scaled_mm": ((LEFT, RIGHT), meta(6, 3), 180),
    "aten::_scaled_mm_v2": ((LEFT, RIGHT), meta(6, 3), 180),
    "aten::_scaled_grouped_mm": (
        (meta(6, 10), meta(2, 10, 3), meta(1), meta(1), meta(2, dtype=torch.int32)),
        meta(6, 3),
        180,
    ),
    "aten::_weight_int4pack_mm": ((LEFT, meta(1, 1, 1, 1), 32, meta(1)), meta(6, 3), 180),
    "aten::_mixed_dtypes_linear": ((LEFT, RIGHT, meta(3)), meta(6, 3), 180),
    "aten::_addmm_activation": ((meta(3), LEFT, RIGHT), meta(6, 3), 180),
    "aten::linear_backward": ((LEFT, meta(6, 3), meta(3, 10), [True, True, True]), None, 360),
    "aten::matmul_backward": ((meta(6, 3), LEFT, RIGHT, [True, False]), None, 180),
    "aten::_sparse_semi_structured_linear": ((LEFT, meta(3, 5), meta(3, 1)), meta(6, 3), 90),
    "aten::_sparse_semi_structured_mm": ((meta(6, 5), meta(6, 1), RIGHT), meta(6, 3), 90),
    "aten::_cslt_sparse_mm": ((meta(6, 7), RIGHT), meta(6, 3), 90),
    "aten::_foreach_mm": (([LEFT, LEFT], [RIGHT, RIGHT]), None, 360),
    "aten::mkldnn_rnn_layer": ((meta(7, 2, 16), meta(128, 16), meta(128, 32)), None, 14 * 128 * 48),
    "aten::mkldnn_rnn_layer_backward": ((meta(7, 2, 16), meta(128, 16), meta(128, 32)), None, 28 * 128 * 48),
    "aten::_cudnn_rnn": (
        (meta(7, 2, 16), [meta(128, 16), meta(128, 32), meta(128), meta(128)]),
        None,
        14 * 128 * 48,
    ),
    "aten::_cudnn_rnn_backward": (
        (
            meta(7, 2, 16),
            [meta(128, 16), meta(128, 32), meta(128), meta(128)],
            *(4, meta(1), meta(1), None, meta(1), None, None, None, 2, 32, 0, 1, False, 0.0, True, False, []),
            *(None, meta(1), [False, True, True, True]),
        ),
        None,
        14 * 128 * (32 + 48),
    ),
    "symm_mem::fused_all_gather_matmul": ((LEFT, [RIGHT, RIGHT], 0, "world"), None, 360),
    "symm_mem::fused_matmul_reduce_scatter": ((LEFT, RIGHT, "sum", 0, "world"), None, 180),
    "inductor::_mm_plus_mm": ((LEFT, RIGHT, LEFT, RIGHT, meta(6, 3)), None, 360),
    "onnx::Attention": ((QUERY, KEY, VALUE), None, SCORED),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_of_another_device_has_the_macs_of_the_product_that_it_computes(name: str) -> None:
    args, result, macs = KERNELS[name]
    assert FORMULAS[name](*args, out_val=result) == macs


def test_attention_in_sequences_of_different_lengths_counts_each_square() -> None:
    starts = torch.tensor([0, 2, 5], dtype=torch.int32)
    packed = torch.empty(5, 4, 16)
    attend = torch.ops.aten._flash_attention_forward.default
    known = describe(attend).macs
    assert known is not None
    macs = known(packed, packed, packed, starts, starts, 3, 3, 0.0, False, False, out_val=packed)
    assert macs == 4 * (2 * 2 + 3 * 3) * 32
    backward = describe(torch.ops.aten._flash_attention_backward.default).macs
    assert backward is not None
    args = (packed, packed, packed, packed, packed, packed, starts, starts, 3, 3, 0.0, False, packed, packed)
    assert backward(*args, out_val=(packed, packed, packed)) == 2 * macs

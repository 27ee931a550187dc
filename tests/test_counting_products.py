"""Every kind of product against its closed form, derived here from shapes alone.

A MAC is one multiply-add of a product that contracts: a convolution, a matrix product, attention's two
products over the full square, a bilinear form, a distance. A complex multiply-add is four real ones. The
backward pass of a product costs it once more for each gradient that somebody needs: parameters need one,
inputs do not. Element-wise arithmetic, reductions, scans, look-ups, resampling, pooling, normalisation and
losses are free; what does arithmetic of another kind is named as uncounted.

Each case is counted twice: as it is, and inside a module that reads a value, so that it runs on the CPU.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from torch import nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_over
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence
from torch.utils.checkpoint import checkpoint

from scaleprof.counting import count
from scaleprof.records import Cost, Mode


class Applies(nn.Module):
    """A function as a network without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class Learns(nn.Module):
    """A function whose operands are all parameters."""

    def __init__(self, function: Callable[..., Any], *operands: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        self.operands = nn.ParameterList(operands)

    def forward(self) -> Any:
        return self.function(*self.operands)


class LearnsLast(nn.Module):
    """A function whose last operand is a parameter and whose others are inputs."""

    def __init__(self, function: Callable[..., Any], *shape: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(*shape, dtype=dtype))

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs, self.weight)


class Scales(nn.Module):
    """A function of inputs that are scaled by a parameter, so that they need gradients."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, first: torch.Tensor, *others: Any) -> Any:
        return self.function(first * self.scale, *others)


class Reads(nn.Module):
    """A network that runs on real values only, since it reads one."""

    zero: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("zero", torch.zeros(()))

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs) if float(self.zero) == 0 else None


class Case(NamedTuple):
    """A network, its inputs (a tuple of whole numbers is the shape of one), and its MACs."""

    make: Callable[[], nn.Module]
    inputs: Sequence[Any]
    macs: int
    train: int | None = None


Cases = dict[str, Case]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Silence what torch says of quantisation, of sparse layouts, and of attention that is not compiled."""
    with warnings.catch_warnings():
        for words in (
            "torch.ao.quantization is deprecated",
            "torch.quantize_per_tensor",
            "Sparse CSR tensor support",
            "Sparse BSR tensor support",
            "torch.chain_matmul is deprecated",
            "flex_attention called without torch.compile",
            "must_recompute",
            "lazy modules are a new feature",
        ):
            warnings.filterwarnings("ignore", message=f".*{words}")
        yield


def real(inputs: Sequence[Any], dtype: torch.dtype | None = None) -> list[Any]:
    def one(given: Any) -> Any:
        if callable(given) and not isinstance(given, nn.Module):
            return given()
        is_shape = type(given) is tuple and all(isinstance(size, int) for size in given)
        return torch.randn(given, dtype=dtype) if is_shape else given

    return [one(given) for given in inputs]


def cost_of(case: Case, mode: Mode, *, on_cpu: bool, dtype: torch.dtype | None = None) -> Cost:
    network = case.make()
    cost = count(Reads(network) if on_cpu else network, *real(case.inputs, dtype), mode=mode)
    assert not on_cpu or cost.counted_on == "cpu"
    return cost


def check(case: Case, mode: Mode, *, on_cpu: bool) -> None:
    cost = cost_of(case, mode, on_cpu=on_cpu)
    assert (cost.macs, cost.uncounted) == (case.macs if mode == "infer" else case.train, ())


def named(cases: Cases) -> pytest.MarkDecorator:
    """Each case, forward and in training where it has a closed form, as it is and on the CPU."""
    return pytest.mark.parametrize(
        ("case", "mode", "on_cpu"),
        [
            pytest.param(case, mode, on_cpu, id=f"{name}-{mode}-{'cpu' if on_cpu else 'any'}")
            for name, case in cases.items()
            for mode in ("infer", "train")
            for on_cpu in (False, True)
            if mode == "infer" or case.train is not None
        ],
    )


# Products of vectors, matrices and stacks of matrices ------------------------------------------------------


def einsum(equation: str) -> Callable[..., torch.Tensor]:
    return lambda *operands: torch.einsum(equation, *operands)


class Product(NamedTuple):
    """A function, its operands' shapes, its MACs, and those of training where both operands are learned."""

    function: Callable[..., torch.Tensor]
    shapes: Sequence[tuple[int, ...]]
    macs: int
    train: int | None = None


def three(macs: int) -> tuple[int, int]:
    """Forward, and with a gradient for each of two operands."""
    return macs, 3 * macs


PRODUCTS: dict[str, Product] = {
    # Between vectors: as many multiply-adds as they have elements.
    "dot": Product(torch.dot, [(5,), (5,)], 5),
    "vdot": Product(torch.vdot, [(5,), (5,)], 5),
    "inner of vectors": Product(torch.inner, [(5,), (5,)], 5),
    "vector @ vector": Product(torch.matmul, [(5,), (5,)], 5),
    "vecdot of vectors": Product(torch.linalg.vecdot, [(5,), (5,)], 5),
    # torch multiplies element by element and sums, which is free.
    "vecdot of rows": Product(torch.linalg.vecdot, [(3, 5), (3, 5)], 0, 0),
    "einsum of vectors": Product(einsum("i,i->"), [(5,), (5,)], 5),
    # Nothing is summed in an outer product; a rank-one update adds to what was there.
    "outer": Product(torch.outer, [(3,), (4,)], 0, 0),
    "ger": Product(torch.ger, [(3,), (4,)], 0, 0),
    "einsum, outer": Product(einsum("i,j->ij"), [(3,), (4,)], 0, 0),
    "addr": Product(torch.addr, [(3, 4), (3,), (4,)], 12),
    "kron": Product(torch.kron, [(2, 3), (4, 5)], 0, 0),
    "einsum, element by element": Product(einsum("bi,bi->bi"), [(2, 3), (2, 3)], 0, 0),
    "einsum, trace": Product(einsum("ii->"), [(3, 3)], 0, 0),
    "einsum, transposed": Product(einsum("bij->bji"), [(2, 3, 4)], 0, 0),
    "cross": Product(torch.linalg.cross, [(4, 3), (4, 3)], 0, 0),
    # A matrix and a vector.
    "mv": Product(torch.mv, [(4, 5), (5,)], 20),
    "addmv": Product(torch.addmv, [(4,), (4, 5), (5,)], 20),
    "addmv, scaled": Product(
        lambda c, a, x: torch.addmv(c, a, x, beta=0.5, alpha=2), [(4,), (4, 5), (5,)], 20
    ),
    "matrix @ vector": Product(torch.matmul, [(4, 5), (5,)], 20),
    "vector @ matrix": Product(torch.matmul, [(5,), (5, 4)], 20),
    "stack @ vector": Product(torch.matmul, [(3, 4, 5), (5,)], 60),
    "vector @ stack": Product(torch.matmul, [(5,), (3, 5, 4)], 60),
    "stack of stacks @ vector": Product(torch.matmul, [(2, 2, 3, 5), (5,)], 60),
    "inner of a matrix and a vector": Product(torch.inner, [(3, 5), (5,)], 15),
    "einsum of a matrix and a vector": Product(einsum("ij,j->i"), [(4, 5), (5,)], 20),
    "einsum of rows with rows": Product(einsum("bi,bi->b"), [(3, 5), (3, 5)], 15),
    "linear on a vector": Product(F.linear, [(5,), (4, 5)], 20),
    "linear with a vector for a weight": Product(F.linear, [(3, 5), (5,)], 15),
    # Matrices.
    "mm": Product(torch.mm, [(3, 5), (5, 4)], *three(60)),
    "matrix @ matrix": Product(torch.matmul, [(3, 5), (5, 4)], *three(60)),
    "one row @ one column": Product(torch.matmul, [(1, 5), (5, 1)], *three(5)),
    "one column @ one row": Product(torch.matmul, [(3, 1), (1, 4)], *three(12)),
    "addmm": Product(torch.addmm, [(3, 4), (3, 5), (5, 4)], *three(60)),
    "addmm, scaled": Product(
        lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), [(4,), (3, 5), (5, 4)], *three(60)
    ),
    "linear on a matrix": Product(F.linear, [(3, 5), (4, 5), (4,)], *three(60)),
    "linear on a stack": Product(F.linear, [(2, 3, 5), (4, 5)], *three(120)),
    "inner of matrices": Product(torch.inner, [(3, 5), (4, 5)], *three(60)),
    "inner of a stack and a matrix": Product(torch.inner, [(2, 3, 5), (4, 5)], *three(120)),
    "tensordot": Product(lambda a, b: torch.tensordot(a, b, dims=2), [(2, 3, 4), (3, 4, 5)], *three(120)),
    "tensordot over named dimensions": Product(
        lambda a, b: torch.tensordot(a, b, dims=([0, 2], [1, 0])), [(2, 3, 4), (4, 2, 5)], *three(120)
    ),
    "matrix power 3": Product(lambda a: torch.linalg.matrix_power(a, 3), [(4, 4)], *three(2 * 64)),
    "matrix power 5": Product(lambda a: torch.linalg.matrix_power(a, 5), [(4, 4)], *three(3 * 64)),
    "matrix power 8, stacked": Product(
        lambda a: torch.linalg.matrix_power(a, 8), [(2, 4, 4)], *three(2 * 3 * 64)
    ),
    # (AB)C costs 60 + 120, A(BC) 600 + 400.
    "multi_dot": Product(
        lambda *all_of: torch.linalg.multi_dot(all_of), [(2, 10), (10, 3), (3, 20)], *three(180)
    ),
    # v(Aw) costs 12 + 3, (vA)w 12 + 4.
    "multi_dot between vectors": Product(
        lambda *all_of: torch.linalg.multi_dot(all_of), [(3,), (3, 4), (4,)], 15
    ),
    "chain_matmul": Product(torch.chain_matmul, [(2, 10), (10, 3), (3, 20)], *three(180)),
    "einsum of three": Product(einsum("ij,jk,kl->il"), [(2, 3), (3, 4), (4, 5)], *three(24 + 40)),
    "cov": Product(torch.cov, [(3, 10)], *three(90)),
    "corrcoef": Product(torch.corrcoef, [(3, 10)], 90),
    # Stacks of matrices.
    "mm over a stack": Product(torch.vmap(torch.mm), [(2, 3, 5), (2, 5, 4)], *three(120)),
    "dot over a stack": Product(torch.vmap(torch.dot), [(3, 5), (3, 5)], 15),
    "bmm": Product(torch.bmm, [(2, 3, 5), (2, 5, 4)], *three(120)),
    "baddbmm": Product(torch.baddbmm, [(2, 3, 4), (2, 3, 5), (2, 5, 4)], *three(120)),
    "baddbmm, scaled": Product(
        lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2),
        [(1, 3, 4), (2, 3, 5), (2, 5, 4)],
        *three(120),
    ),
    "addbmm": Product(torch.addbmm, [(3, 4), (2, 3, 5), (2, 5, 4)], *three(120)),
    "addbmm, scaled": Product(
        lambda c, a, b: torch.addbmm(c, a, b, beta=0.5, alpha=2),
        [(3, 4), (2, 3, 5), (2, 5, 4)],
        *three(120),
    ),
    "stack @ matrix": Product(torch.matmul, [(2, 3, 5), (5, 4)], *three(120)),
    "matrix @ stack": Product(torch.matmul, [(3, 5), (2, 5, 4)], *three(120)),
    "stack @ stack": Product(torch.matmul, [(2, 3, 5), (2, 5, 4)], *three(120)),
    "one @ stack": Product(torch.matmul, [(1, 3, 5), (2, 5, 4)], *three(120)),
    "every one @ every one": Product(torch.matmul, [(7, 1, 3, 5), (2, 5, 4)], *three(840)),
    "stack of stacks @ matrix": Product(torch.matmul, [(2, 2, 3, 5), (5, 4)], *three(240)),
    "stack of stacks @ stack": Product(torch.matmul, [(2, 2, 3, 5), (2, 5, 4)], *three(240)),
    "einsum of stacks": Product(einsum("bij,bjk->bik"), [(2, 3, 5), (2, 5, 4)], *three(120)),
    "einsum of queries and keys": Product(
        einsum("bqhd,bkhd->bhqk"), [(2, 6, 3, 5), (2, 7, 3, 5)], *three(2 * 3 * 6 * 7 * 5)
    ),
    "einsum over two dimensions": Product(
        einsum("bijk,jkl->bil"), [(2, 3, 4, 5), (4, 5, 6)], *three(2 * 3 * 20 * 6)
    ),
}


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_counts_the_elements_it_makes_times_those_it_sums(name: str, on_cpu: bool) -> None:
    product = PRODUCTS[name]
    check(Case(lambda: Applies(product.function), product.shapes, product.macs), "infer", on_cpu=on_cpu)


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", [name for name, product in PRODUCTS.items() if product.train is not None])
def test_a_product_of_learned_operands_costs_itself_once_more_for_each(name: str, on_cpu: bool) -> None:
    product = PRODUCTS[name]
    operands = real(product.shapes)
    check(
        Case(lambda: Learns(product.function, *operands), (), product.macs, product.train),
        "train",
        on_cpu=on_cpu,
    )


def pair(first: nn.Module, second: nn.Module) -> nn.Module:
    return nn.Sequential(first, second)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


class BilinearOfLinears(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.form = nn.Linear(3, 3), nn.Linear(4, 4), nn.Bilinear(3, 4, 5)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.form(self.left(x), self.right(y))  # type: ignore[no-any-return]


def compiled() -> nn.Module:
    return torch.compile(nn.Linear(5, 4))  # type: ignore[return-value]


class Checkpointed(nn.Module):
    """Two layers, of which the first keeps nothing for its gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> Any:
        return self.second(checkpoint(lambda x: self.first(x).relu(), x, use_reentrant=False))


def bilinear(samples: int, first: int, second: int, makes: int) -> int:
    """The first input with the weights, then with the second input."""
    return samples * makes * (first * second + second)


def bilinear_weight(samples: int, first: int, second: int, makes: int) -> int:
    """The weights' gradient: the first input with the outputs' gradient, then with the second input."""
    return samples * makes * (first + first * second)


LINEAR: Cases = {
    "a learned vector": Case(lambda: LearnsLast(torch.matmul, 5), [(4, 5)], 20, 40),
    "a learned vector on a stack": Case(lambda: LearnsLast(torch.matmul, 5), [(3, 4, 5)], 60, 120),
    "a learned vector as a weight": Case(lambda: LearnsLast(F.linear, 5), [(3, 5)], 15, 30),
    "one sample": Case(lambda: nn.Linear(5, 4), [(1, 5)], 20, 40),
    "samples": Case(lambda: nn.Linear(5, 4), [(3, 5)], 60, 120),
    "samples, no bias": Case(lambda: nn.Linear(5, 4, bias=False), [(3, 5)], 60, 120),
    "tokens": Case(lambda: nn.Linear(5, 4), [(2, 3, 5)], 120, 240),
    "tokens in a grid, no bias": Case(lambda: nn.Linear(5, 4, bias=False), [(2, 2, 3, 5)], 240, 480),
    "lazy": Case(lambda: nn.LazyLinear(4), [(3, 5)], 60, 120),
    "half precision": Case(
        lambda: nn.Linear(5, 4, dtype=torch.bfloat16), [torch.randn(3, 5, dtype=torch.bfloat16)], 60, 120
    ),
    # The second layer's gradients are of its weight and its input; the first layer's input needs none.
    "two": Case(lambda: pair(nn.Linear(5, 4), nn.Linear(4, 6)), [(3, 5)], 60 + 72, 2 * 60 + 3 * 72),
    "compiled": Case(compiled, [(3, 5)], 60, 120),
    # The first layer is run again for its gradients.
    "two, the first checkpointed": Case(Checkpointed, [(3, 5)], 60 + 72, (60 + 72) + 60 + (60 + 2 * 72)),
    "frozen, then learned": Case(
        lambda: pair(frozen(nn.Linear(5, 4)), nn.Linear(4, 6)), [(3, 5)], 60 + 72, 60 + 2 * 72
    ),
    "learned, then frozen": Case(
        lambda: pair(nn.Linear(5, 4), frozen(nn.Linear(4, 6))), [(3, 5)], 60 + 72, 2 * 60 + 2 * 72
    ),
    "bilinear": Case(
        lambda: nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)], 120 + 40, 160 + bilinear_weight(2, 3, 4, 5)
    ),
    "bilinear, no bias": Case(
        lambda: nn.Bilinear(7, 2, 3, bias=False),
        [(4, 7), (4, 2)],
        bilinear(4, 7, 2, 3),
        bilinear(4, 7, 2, 3) + bilinear_weight(4, 7, 2, 3),
    ),
    "bilinear on one sample": Case(
        lambda: nn.Bilinear(3, 4, 5), [(3,), (4,)], 80, 80 + bilinear_weight(1, 3, 4, 5)
    ),
    "bilinear on tokens": Case(
        lambda: nn.Bilinear(3, 4, 5),
        [(2, 3, 3), (2, 3, 4)],
        bilinear(6, 3, 4, 5),
        bilinear(6, 3, 4, 5) + bilinear_weight(6, 3, 4, 5),
    ),
    # The first input's gradient: that of the outputs with the weights, then with the second input. The second
    # input's: the first input with the weights, then with the gradient of the outputs.
    "bilinear, of layers": Case(
        BilinearOfLinears,
        [(2, 3), (2, 4)],
        18 + 32 + 160,
        2 * (18 + 32) + 160 + bilinear_weight(2, 3, 4, 5) + 2 * (3 * 4 * 5 + 3 * 4) + 2 * (3 * 4 * 5 + 4 * 5),
    ),
}
if hasattr(nn, "LinearCrossEntropyLoss"):  # younger than the oldest torch that is supported
    LINEAR |= {
        "cross entropy with its layer": Case(
            lambda: nn.LinearCrossEntropyLoss(5, 9), [(4, 5), torch.tensor([1, 0, 2, 5])], 180, 2 * 180
        ),
        "cross entropy with its layer, in chunks": Case(
            lambda: nn.LinearCrossEntropyLoss(5, 9, options=nn.LinearCrossEntropyOptions()),
            [(4, 5), torch.tensor([1, 0, 2, 5])],
            180,
            2 * 180,
        ),
    }


@named(LINEAR)
def test_linear_and_bilinear_layers_equal_their_closed_forms(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


# Convolutions ----------------------------------------------------------------------------------------------


def conv_macs(makes: Sequence[int], of: int, kernel: Sequence[int], *, groups: int = 1) -> int:
    """The elements that it makes, times the input channels of a group, times the kernel's places."""
    return math.prod(makes) * (of // groups) * math.prod(kernel)


class TimeFirst(nn.Module):
    """`conv_tbc`: time, batch, channels."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 4, 5)), nn.Parameter(torch.randn(5))
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.conv_tbc(x, self.weight, self.bias, self.padding)


class Unfolds(nn.Module):
    """A convolution as one matrix product over unfolded patches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 27))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.weight @ F.unfold(image, 3)


def conv(make: Callable[[], nn.Module], shape: tuple[int, ...], macs: int) -> Case:
    """A convolution that learns, on an input that needs no gradient."""
    return Case(make, [shape], macs, 2 * macs)


CONVOLUTIONS: Cases = {
    "1d": conv(lambda: nn.Conv1d(3, 8, 5), (2, 3, 20), conv_macs((2, 8, 16), 3, (5,))),
    "1d, strided and dilated": conv(
        # 20 + 2 * 2 - 3 * 4 = 12 places, every second one, and the first
        lambda: nn.Conv1d(3, 8, 5, stride=2, dilation=3, padding=2),
        (2, 3, 20),
        conv_macs((2, 8, 6), 3, (5,)),
    ),
    "1d, causal depthwise": conv(
        lambda: nn.Conv1d(6, 6, 4, padding=3, groups=6), (1, 6, 10), conv_macs((1, 6, 13), 6, (4,), groups=6)
    ),
    "1d, unbatched": conv(lambda: nn.Conv1d(3, 8, 5), (3, 20), conv_macs((8, 16), 3, (5,))),
    "2d": conv(lambda: nn.Conv2d(3, 8, 3), (2, 3, 10, 12), conv_macs((2, 8, 8, 10), 3, (3, 3))),
    "2d, no bias": conv(lambda: nn.Conv2d(3, 8, 3, bias=False), (1, 3, 10, 12), 8 * 80 * 27),
    "2d, pointwise": conv(lambda: nn.Conv2d(16, 8, 1), (2, 16, 5, 5), 2 * 8 * 25 * 16),
    "2d, patches": conv(lambda: nn.Conv2d(3, 16, 4, stride=4), (1, 3, 16, 16), 16 * 16 * 3 * 16),
    "2d, oblong": conv(
        lambda: nn.Conv2d(3, 8, (1, 7), padding=(0, 3)), (1, 3, 9, 9), conv_macs((8, 9, 9), 3, (1, 7))
    ),
    "2d, strided": conv(
        lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), (1, 3, 9, 9), conv_macs((8, 5, 5), 3, (3, 3))
    ),
    "2d, dilated": conv(
        lambda: nn.Conv2d(3, 8, 3, dilation=2), (1, 3, 9, 9), conv_macs((8, 5, 5), 3, (3, 3))
    ),
    "2d, grouped": conv(
        lambda: nn.Conv2d(8, 12, 3, groups=4), (2, 8, 9, 9), conv_macs((2, 12, 7, 7), 8, (3, 3), groups=4)
    ),
    "2d, depthwise": conv(
        lambda: nn.Conv2d(8, 8, 3, groups=8), (2, 8, 9, 9), conv_macs((2, 8, 7, 7), 8, (3, 3), groups=8)
    ),
    "2d, depthwise with a multiplier": conv(
        lambda: nn.Conv2d(8, 16, 3, groups=8), (1, 8, 9, 9), conv_macs((16, 7, 7), 8, (3, 3), groups=8)
    ),
    "2d, padded to the same size": conv(
        lambda: nn.Conv2d(3, 8, (4, 3), padding="same"), (1, 3, 9, 9), conv_macs((8, 9, 9), 3, (4, 3))
    ),
    "2d, not padded": conv(
        lambda: nn.Conv2d(3, 8, 3, padding="valid"), (1, 3, 9, 9), conv_macs((8, 7, 7), 3, (3, 3))
    ),
    **{
        f"2d, padded: {how}": conv(
            lambda how=how: nn.Conv2d(3, 8, 3, padding=1, padding_mode=how),  # type: ignore[misc]
            (1, 3, 9, 9),
            conv_macs((8, 9, 9), 3, (3, 3)),
        )
        for how in ("zeros", "reflect", "replicate", "circular")
    },
    "2d, unbatched": conv(lambda: nn.Conv2d(3, 8, 3), (3, 9, 9), conv_macs((8, 7, 7), 3, (3, 3))),
    "2d, channels last": Case(
        lambda: nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last),
        [torch.randn(2, 3, 9, 9).to(memory_format=torch.channels_last)],
        conv_macs((2, 8, 7, 7), 3, (3, 3)),
        2 * conv_macs((2, 8, 7, 7), 3, (3, 3)),
    ),
    "2d, lazy": conv(lambda: nn.LazyConv2d(8, 3), (1, 3, 9, 9), conv_macs((8, 7, 7), 3, (3, 3))),
    "3d": conv(lambda: nn.Conv3d(3, 4, 3), (2, 3, 5, 6, 7), conv_macs((2, 4, 3, 4, 5), 3, (3, 3, 3))),
    "3d, grouped, strided, oblong": conv(
        lambda: nn.Conv3d(4, 6, (1, 3, 3), stride=(1, 2, 2), groups=2),
        (1, 4, 5, 7, 7),
        conv_macs((6, 5, 3, 3), 4, (1, 3, 3), groups=2),
    ),
    "3d, unbatched": conv(lambda: nn.Conv3d(3, 4, 2), (3, 4, 4, 4), conv_macs((4, 3, 3, 3), 3, (2, 2, 2))),
    "3d, lazy": conv(lambda: nn.LazyConv3d(4, 2), (1, 3, 4, 4, 4), conv_macs((4, 27), 3, (2, 2, 2))),
    # A transposed one spreads each element of its input over a kernel of each channel that it makes.
    "transposed 1d": conv(lambda: nn.ConvTranspose1d(3, 8, 5), (2, 3, 20), 2 * 3 * 20 * 8 * 5),
    "transposed 1d, strided, grouped": conv(
        lambda: nn.ConvTranspose1d(4, 8, 5, stride=3, groups=2), (1, 4, 20), 4 * 20 * 4 * 5
    ),
    "transposed 2d": conv(lambda: nn.ConvTranspose2d(3, 8, 3), (2, 3, 6, 7), 2 * 3 * 42 * 8 * 9),
    "transposed 2d, strided, cropped": conv(
        lambda: nn.ConvTranspose2d(3, 8, 3, stride=2, padding=1, output_padding=1),
        (1, 3, 6, 7),
        3 * 42 * 8 * 9,
    ),
    "transposed 2d, grouped": conv(
        lambda: nn.ConvTranspose2d(8, 12, 2, groups=4), (1, 8, 6, 7), 8 * 42 * 3 * 4
    ),
    "transposed 2d, depthwise": conv(
        lambda: nn.ConvTranspose2d(8, 8, 4, stride=2, groups=8), (1, 8, 6, 7), 8 * 42 * 16
    ),
    "transposed 2d, dilated": conv(
        lambda: nn.ConvTranspose2d(3, 8, 3, dilation=2), (1, 3, 6, 7), 3 * 42 * 8 * 9
    ),
    "transposed 2d, unbatched": conv(lambda: nn.ConvTranspose2d(3, 8, 3), (3, 6, 7), 3 * 42 * 8 * 9),
    "transposed 2d, lazy": conv(lambda: nn.LazyConvTranspose2d(8, 3), (1, 3, 6, 7), 3 * 42 * 8 * 9),
    "transposed 3d": conv(lambda: nn.ConvTranspose3d(3, 4, 2), (1, 3, 3, 4, 5), 3 * 60 * 4 * 8),
    # Both gradients are computed even where the input needs none: a product for each tap, without padding.
    "time first": Case(
        lambda: TimeFirst(0), [(10, 2, 4)], conv_macs((8, 2, 5), 4, (3,)), 3 * conv_macs((8, 2, 5), 4, (3,))
    ),
    "time first, padded": Case(
        lambda: TimeFirst(1),
        [(10, 2, 4)],
        conv_macs((10, 2, 5), 4, (3,)),
        conv_macs((10, 2, 5), 4, (3,)) + 2 * (9 + 10 + 9) * 2 * 4 * 5,
    ),
    "as a product over patches": Case(Unfolds, [(2, 3, 8, 8)], 2 * 36 * 8 * 27, 2 * 2 * 36 * 8 * 27),
    "one after another, 1d": Case(
        lambda: pair(nn.Conv1d(3, 8, 3), nn.Conv1d(8, 4, 3)),
        [(1, 3, 12)],
        8 * 10 * 9 + 4 * 8 * 24,
        2 * 8 * 10 * 9 + 3 * 4 * 8 * 24,
    ),
    "one after another, transposed 3d": Case(
        lambda: pair(nn.Conv3d(3, 4, 1), nn.ConvTranspose3d(4, 2, 2)),
        [(1, 3, 3, 3, 3)],
        27 * 12 + 27 * 4 * 2 * 8,
        2 * 27 * 12 + 3 * 27 * 4 * 2 * 8,
    ),
    "one after another, the second depthwise": Case(
        lambda: pair(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8)),
        [(1, 3, 9, 9)],
        81 * 24 + 49 * 8 * 9,
        2 * 81 * 24 + 3 * 49 * 8 * 9,
    ),
}


@named(CONVOLUTIONS)
def test_convolutions_equal_their_closed_forms(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


class Deforms(nn.Module):
    """A deformable convolution that learns where it looks, and how much what it sees there counts."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(4, 18, 3)
        self.mask = nn.Conv2d(4, 9, 3) if masked else None
        self.conv = torchvision.ops.DeformConv2d(4, 6, 3)

    def forward(self, image: torch.Tensor) -> Any:
        mask = None if self.mask is None else self.mask(image).sigmoid()
        return self.conv(image, self.offsets(image), mask)


def deform(shapes: Sequence[tuple[int, ...]], macs: int, *sizes: Any, **how: Any) -> Case:
    """A deformable convolution, whose kernel computes both gradients even where the input needs none."""
    return Case(lambda: torchvision.ops.DeformConv2d(*sizes, **how), shapes, macs, 3 * macs)


DEFORMABLE: Cases = {
    "plain": deform([(2, 4, 9, 9), (2, 18, 7, 7)], conv_macs((2, 6, 7, 7), 4, (3, 3)), 4, 6, 3),
    "masked": deform(
        [(2, 4, 9, 9), (2, 18, 7, 7), (2, 9, 7, 7)], conv_macs((2, 6, 7, 7), 4, (3, 3)), 4, 6, 3
    ),
    "no bias": deform([(1, 4, 9, 9), (1, 18, 7, 7)], 6 * 49 * 36, 4, 6, 3, bias=False),
    "grouped": deform(
        [(1, 4, 9, 9), (1, 18, 7, 7)], conv_macs((6, 7, 7), 4, (3, 3), groups=2), 4, 6, 3, groups=2
    ),
    "groups of offsets": deform(
        [(1, 4, 9, 9), (1, 36, 7, 7), (1, 18, 7, 7)], conv_macs((6, 7, 7), 4, (3, 3)), 4, 6, 3
    ),
    "groups of both, masked": deform(
        [(2, 8, 9, 9), (2, 36, 7, 7), (2, 18, 7, 7)],
        conv_macs((2, 12, 7, 7), 8, (3, 3), groups=4),
        8,
        12,
        3,
        groups=4,
    ),
    "strided": deform(
        [(1, 4, 9, 9), (1, 18, 5, 5)], conv_macs((6, 5, 5), 4, (3, 3)), 4, 6, 3, stride=2, padding=1
    ),
    "dilated": deform([(1, 4, 9, 9), (1, 18, 5, 5)], conv_macs((6, 5, 5), 4, (3, 3)), 4, 6, 3, dilation=2),
    "oblong": deform([(1, 4, 9, 9), (1, 6, 9, 7)], conv_macs((6, 9, 7), 4, (1, 3)), 4, 6, (1, 3)),
    # Whatever the offsets and the mask learn comes through one gradient: that of the sampled patches.
    "learning its offsets": Case(
        lambda: Deforms(masked=False),
        [(1, 4, 9, 9)],
        49 * 36 * (18 + 6),
        49 * 36 * (2 * 18 + 3 * 6),
    ),
    "learning its offsets and its mask": Case(
        lambda: Deforms(masked=True),
        [(1, 4, 9, 9)],
        49 * 36 * (18 + 9 + 6),
        49 * 36 * (2 * 18 + 2 * 9 + 3 * 6),
    ),
}


@named(DEFORMABLE)
def test_a_deformable_convolution_counts_as_a_plain_one(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


# Whole numbers, groups, sparse matrices, distances ---------------------------------------------------------


def whole(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.randint(-3, 4, shape, dtype=dtype)


def int4_product(x: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return torch._weight_int4pack_mm_for_cpu(x, weight, 32, scales)


INT4_WEIGHT = torch._convert_weight_to_int4pack_for_cpu(
    torch.randint(0, 16, (32, 64), dtype=torch.int32, generator=torch.Generator().manual_seed(0)), 2
)
WHOLE: Cases = {
    "matrices": Case(lambda: Applies(torch.matmul), [whole(3, 5), whole(5, 4)], 60),
    "stacks": Case(lambda: Applies(torch.matmul), [whole(2, 3, 5), whole(2, 5, 4)], 120),
    "stack @ matrix": Case(lambda: Applies(torch.matmul), [whole(2, 3, 5), whole(5, 4)], 120),
    "matrix @ vector": Case(lambda: Applies(torch.matmul), [whole(3, 5), whole(5)], 15),
    "vectors": Case(lambda: Applies(torch.dot), [whole(5), whole(5)], 5),
    "einsum": Case(lambda: Applies(einsum("bij,bjk->bik")), [whole(2, 3, 5), whole(2, 5, 4)], 120),
    "32-bit": Case(
        lambda: Applies(torch.mm), [whole(3, 5, dtype=torch.int32), whole(5, 4, dtype=torch.int32)], 60
    ),
    "_int_mm": Case(
        lambda: Applies(torch._int_mm),
        [whole(32, 16, dtype=torch.int8), whole(16, 8, dtype=torch.int8)],
        32 * 16 * 8,
    ),
    "8-bit weights": Case(
        lambda: Applies(torch._weight_int8pack_mm),
        [torch.randn(4, 16).bfloat16(), whole(32, 16, dtype=torch.int8), torch.randn(32).bfloat16()],
        4 * 16 * 32,
    ),
    "4-bit weights": Case(
        lambda: Applies(int4_product),
        [torch.randn(4, 64).bfloat16(), INT4_WEIGHT, torch.randn(2, 32, 2).bfloat16()],
        4 * 64 * 32,
    ),
    "8-bit floats": Case(
        lambda: Applies(
            lambda x, y, s: torch._scaled_mm(x, y, scale_a=s, scale_b=s, out_dtype=torch.float32)
        ),
        [
            torch.randn(16, 32).to(torch.float8_e4m3fn),
            torch.randn(48, 32).to(torch.float8_e4m3fn).t(),
            torch.ones(()),
        ],
        16 * 32 * 48,
    ),
}


@named(WHOLE)
def test_products_of_few_bits_count_as_those_of_floats(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


def dynamic(network: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    """A network of one layer whose weights are quantised and whose inputs will be."""
    layer = type(network)
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(network), {layer}, dtype)  # type: ignore[no-any-return]


class Quantizes(nn.Module):
    """A layer that computes with bytes, between floats."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(torch.quantize_per_tensor(x, 0.1, 64, torch.quint8)).dequantize()


class Quantized(NamedTuple):
    """A quantised network, its input, its MACs, its weights and its biases."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    macs: int
    weights: int
    biases: int
    bytes_a_weight: int = 1


def quantized(name: str) -> Any:
    return getattr(torch.ao.nn.quantized, name)


QUANTIZED: dict[str, Quantized] = {
    "linear, dynamic": Quantized(lambda: dynamic(nn.Linear(64, 32)), (7, 64), 7 * 64 * 32, 64 * 32, 32),
    "linear on tokens, dynamic": Quantized(
        lambda: dynamic(nn.Linear(64, 32)), (2, 7, 64), 14 * 64 * 32, 64 * 32, 32
    ),
    "linear, dynamic, of 16 bits": Quantized(
        lambda: dynamic(nn.Linear(64, 32), torch.float16), (7, 64), 7 * 64 * 32, 64 * 32, 32, 2
    ),
    "lstm, dynamic": Quantized(
        lambda: dynamic(nn.LSTM(16, 32)), (7, 1, 16), 7 * 128 * (16 + 32), 128 * (16 + 32), 256
    ),
    "gru, dynamic": Quantized(
        lambda: dynamic(nn.GRU(16, 32)), (7, 1, 16), 7 * 96 * (16 + 32), 96 * (16 + 32), 192
    ),
    "lstm of two layers both ways, dynamic": Quantized(
        lambda: dynamic(nn.LSTM(16, 32, 2, bidirectional=True)),
        (7, 2, 16),
        14 * 2 * 128 * (16 + 32) + 14 * 2 * 128 * (64 + 32),
        2 * 128 * (16 + 32) + 2 * 128 * (64 + 32),
        4 * 256,
    ),
    "lstm cell, dynamic": Quantized(
        lambda: dynamic(nn.LSTMCell(16, 32)), (7, 16), 7 * 128 * (16 + 32), 128 * (16 + 32), 256
    ),
    "linear": Quantized(lambda: Quantizes(quantized("Linear")(16, 8)), (3, 16), 3 * 128, 128, 8),
    "linear and relu": Quantized(
        lambda: Quantizes(torch.ao.nn.intrinsic.quantized.LinearReLU(16, 8)), (3, 16), 3 * 128, 128, 8
    ),
    "conv 2d and relu": Quantized(
        lambda: Quantizes(torch.ao.nn.intrinsic.quantized.ConvReLU2d(3, 8, 3)),
        (1, 3, 9, 9),
        8 * 49 * 27,
        8 * 27,
        8,
    ),
    "conv 1d": Quantized(lambda: Quantizes(quantized("Conv1d")(3, 8, 3)), (2, 3, 9), 2 * 8 * 7 * 9, 8 * 9, 8),
    "conv 2d": Quantized(
        lambda: Quantizes(quantized("Conv2d")(3, 8, 3)), (1, 3, 9, 9), 8 * 49 * 27, 8 * 27, 8
    ),
    "conv 2d, grouped, strided": Quantized(
        lambda: Quantizes(quantized("Conv2d")(4, 8, 3, stride=2, groups=2)),
        (1, 4, 9, 9),
        8 * 16 * 18,
        8 * 18,
        8,
    ),
    "conv 3d": Quantized(
        lambda: Quantizes(quantized("Conv3d")(3, 8, 3)), (1, 3, 5, 5, 5), 8 * 27 * 81, 8 * 81, 8
    ),
    "transposed 2d": Quantized(
        lambda: Quantizes(quantized("ConvTranspose2d")(3, 8, 3)), (1, 3, 9, 9), 3 * 81 * 8 * 9, 8 * 27, 8
    ),
}


@pytest.mark.skipif(
    not {"x86", "fbgemm", "onednn", "qnnpack"} & set(torch.backends.quantized.supported_engines),
    reason="torch was built without kernels for quantised layers",
)
@pytest.mark.parametrize("name", QUANTIZED)
def test_quantised_layers_count_what_they_multiply_and_what_they_hold(name: str) -> None:
    layer = QUANTIZED[name]
    cost = count(layer.make(), torch.randn(layer.shape))
    held = layer.weights * layer.bytes_a_weight + layer.biases * 4
    assert (cost.macs, cost.uncounted) == (layer.macs, ())
    assert cost.params == layer.weights + layer.biases
    # Each output channel may have a scale (8 bytes) and a zero point (8 bytes).
    assert held <= cost.weight_bytes <= held + 16 * layer.biases


def half(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16)


class Experts(nn.Module):
    """Rows go through the matrix of their group."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(half(2, 16, 32))

    def forward(self, rows: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        return torch._grouped_mm(rows, self.weight, offs=ends).relu()


def ends(*places: int) -> torch.Tensor:
    return torch.tensor(places, dtype=torch.int32)


def in_groups(a: torch.Tensor, b: torch.Tensor, ends: torch.Tensor | None = None) -> torch.Tensor:
    return torch._grouped_mm(a, b, offs=ends)


GROUPED: Cases = {
    "groups of rows": Case(
        lambda: Applies(in_groups), [half(12, 16), half(2, 16, 32), ends(4, 12)], 12 * 16 * 32
    ),
    "groups of rows, one empty": Case(
        lambda: Applies(in_groups), [half(12, 16), half(3, 16, 32), ends(4, 4, 12)], 12 * 16 * 32
    ),
    "groups of columns": Case(
        lambda: Applies(in_groups), [half(2, 8, 16), half(16, 24), ends(8, 24)], 8 * 16 * 24
    ),
    "groups of what is summed": Case(
        lambda: Applies(in_groups), [half(8, 24), half(24, 16), ends(8, 24)], 8 * 24 * 16
    ),
    "stacks": Case(lambda: Applies(in_groups), [half(2, 8, 16), half(2, 16, 24)], 2 * 8 * 16 * 24),
    "groups of rows, by its public name": Case(
        lambda: Applies(lambda a, b, ends: F.grouped_mm(a, b, offs=ends)),
        [half(12, 16), half(2, 16, 32), ends(4, 12)],
        12 * 16 * 32,
    ),
    "learned": Case(Experts, [half(12, 16), ends(4, 12)], 12 * 16 * 32, 2 * 12 * 16 * 32),
}


@named(GROUPED)
def test_a_grouped_product_counts_each_row_in_its_group(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


# Nine of 6 x 8 elements are there.
SPOTS = [(0, 1), (0, 5), (1, 0), (2, 2), (2, 3), (2, 7), (4, 4), (5, 0), (5, 6)]
NNZ = len(SPOTS)


def spots() -> torch.Tensor:
    dense = torch.zeros(6, 8)
    for row, column in SPOTS:
        dense[row, column] = 1 + row + column
    return dense


def coo() -> torch.Tensor:
    return spots().to_sparse()


def csr() -> torch.Tensor:
    return spots().to_sparse_csr()


def csc() -> torch.Tensor:
    return spots().to_sparse_csc()


def blocks() -> torch.Tensor:
    """Three blocks of 2 x 2 elements."""
    dense = torch.zeros(6, 8)
    dense[:2, :2] = dense[2:4, 6:] = dense[4:, 2:4] = 1
    return dense.to_sparse_bsr((2, 2))


class SparseWeight(nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(self.weight, x)  # type: ignore[no-any-return]


class GraphLayer(nn.Module):
    """A linear layer, whose outputs are summed over neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 4)

    def forward(self, neighbours: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(neighbours, self.linear(nodes))  # type: ignore[no-any-return]


SPARSE: Cases = {
    "coo": Case(lambda: Applies(torch.sparse.mm), [coo, (8, 5)], NNZ * 5),
    "csr": Case(lambda: Applies(torch.sparse.mm), [csr, (8, 5)], NNZ * 5),
    "csc": Case(lambda: Applies(torch.sparse.mm), [csc, (8, 5)], NNZ * 5),
    "blocks": Case(lambda: Applies(torch.sparse.mm), [blocks, (8, 5)], 3 * 4 * 5),
    "coo @ matrix": Case(lambda: Applies(torch.matmul), [coo, (8, 5)], NNZ * 5),
    "csr @ matrix": Case(lambda: Applies(torch.matmul), [csr, (8, 5)], NNZ * 5),
    "coo @ vector": Case(lambda: Applies(torch.matmul), [coo, (8,)], NNZ),
    "csr @ vector": Case(lambda: Applies(torch.matmul), [csr, (8,)], NNZ),
    "coo, mv": Case(lambda: Applies(torch.mv), [coo, (8,)], NNZ),
    "matrix @ coo": Case(lambda: Applies(torch.matmul), [(5, 6), coo], 5 * NNZ),
    "matrix @ csr": Case(lambda: Applies(torch.matmul), [(5, 6), csr], 5 * NNZ),
    "sparse.addmm": Case(lambda: Applies(torch.sparse.addmm), [(6, 5), coo, (8, 5)], NNZ * 5),
    "addmm": Case(lambda: Applies(torch.addmm), [(6, 5), csr, (8, 5)], NNZ * 5),
    "hspmm": Case(lambda: Applies(torch.hspmm), [coo, (8, 5)], NNZ * 5),
    "stack": Case(lambda: Applies(torch.bmm), [lambda: torch.stack([coo(), coo()]), (2, 8, 5)], 2 * NNZ * 5),
    "linear, coo": Case(lambda: Applies(F.linear), [(3, 8), coo], 3 * NNZ),
    "linear, csr": Case(lambda: Applies(F.linear), [(3, 8), csr], 3 * NNZ),
    # Only what is at the spots is made, each a sum of three.
    "sampled": Case(lambda: Applies(torch.sparse.sampled_addmm), [csr, (6, 3), (3, 8)], NNZ * 3),
    # A column of the first that has n elements meets a row of the second that has as many.
    "coo @ coo": Case(
        lambda: Applies(torch.sparse.mm), [coo, lambda: coo().t().coalesce()], 7 * 1 + 1 * 2 * 2
    ),
    "csr @ csr": Case(
        lambda: Applies(torch.sparse.mm), [csr, lambda: spots().t().contiguous().to_sparse_csr()], 7 + 4
    ),
    "sspaddmm": Case(
        lambda: Applies(torch.sspaddmm), [lambda: torch.eye(6, 5).to_sparse(), coo, (8, 5)], NNZ * 5
    ),
    "sampled, learned": Case(
        lambda: LearnsLast(torch.sparse.sampled_addmm, 3, 8), [csr, (6, 3)], NNZ * 3, 2 * NNZ * 3
    ),
    "a weight, coo": Case(lambda: SparseWeight(coo()), [(8, 5)], NNZ * 5),
    "a weight, csr": Case(lambda: SparseWeight(csr()), [(8, 5)], NNZ * 5),
    # The neighbours need no gradient, what comes from the linear layer does.
    "a graph's layer, coo": Case(GraphLayer, [coo, (8, 5)], 8 * 5 * 4 + NNZ * 4, 2 * 8 * 5 * 4 + 2 * NNZ * 4),
    "a graph's layer, csr": Case(GraphLayer, [csr, (8, 5)], 8 * 5 * 4 + NNZ * 4, 2 * 8 * 5 * 4 + 2 * NNZ * 4),
}


@named(SPARSE)
def test_a_sparse_product_counts_the_elements_that_are_there(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


def distance(p: float, products: str = "use_mm_for_euclid_dist_if_necessary") -> Callable[..., torch.Tensor]:
    return lambda a, b: torch.cdist(a, b, p=p, compute_mode=products)


IN_PRODUCTS, IN_PARTS = "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"
DISTANCES: Cases = {
    "p=1": Case(lambda: Applies(distance(1)), [(7, 5), (9, 5)], 7 * 9 * 5),
    "p=2": Case(lambda: Applies(distance(2)), [(7, 5), (9, 5)], 7 * 9 * 5),
    "p=3": Case(lambda: Applies(distance(3)), [(7, 5), (9, 5)], 7 * 9 * 5),
    "the greatest": Case(lambda: Applies(distance(math.inf)), [(7, 5), (9, 5)], 7 * 9 * 5),
    "p=2, many": Case(lambda: Applies(distance(2)), [(30, 5), (9, 5)], 30 * 9 * 5),
    "p=2, in products": Case(lambda: Applies(distance(2, IN_PRODUCTS)), [(7, 5), (9, 5)], 7 * 9 * 5),
    "p=2, in parts": Case(lambda: Applies(distance(2, IN_PARTS)), [(30, 5), (40, 5)], 30 * 40 * 5),
    "p=1, stacks": Case(lambda: Applies(distance(1)), [(3, 7, 5), (3, 9, 5)], 3 * 7 * 9 * 5),
    "p=2, stacks, in products": Case(
        lambda: Applies(distance(2, IN_PRODUCTS)), [(3, 7, 5), (3, 9, 5)], 3 * 7 * 9 * 5
    ),
    "p=1, one to each of a stack": Case(lambda: Applies(distance(1)), [(1, 7, 5), (3, 9, 5)], 3 * 7 * 9 * 5),
    "among themselves": Case(lambda: Applies(F.pdist), [(8, 5)], 8 * 7 // 2 * 5),
    "p=1, to learned places": Case(lambda: LearnsLast(distance(1), 9, 5), [(7, 5)], 7 * 9 * 5, 2 * 7 * 9 * 5),
    "p=1, between learned places": Case(
        lambda: Learns(distance(1), torch.randn(7, 5), torch.randn(9, 5)), [], 7 * 9 * 5, 3 * 7 * 9 * 5
    ),
    "p=2, between learned places": Case(
        lambda: Learns(distance(2, IN_PARTS), torch.randn(7, 5), torch.randn(9, 5)),
        [],
        7 * 9 * 5,
        3 * 7 * 9 * 5,
    ),
    "p=2, between learned places, in products": Case(
        lambda: Learns(distance(2, IN_PRODUCTS), torch.randn(7, 5), torch.randn(9, 5)),
        [],
        7 * 9 * 5,
        3 * 7 * 9 * 5,
    ),
    "among learned places": Case(
        lambda: Learns(F.pdist, torch.randn(8, 5)), [], 8 * 7 // 2 * 5, 2 * 8 * 7 // 2 * 5
    ),
    "of pairs": Case(lambda: Applies(F.pairwise_distance), [(7, 5), (7, 5)], 0),
    "of pairs, by angle": Case(lambda: Applies(F.cosine_similarity), [(7, 5), (7, 5)], 0),
}


@named(DISTANCES)
def test_distances_count_a_multiply_add_for_each_coordinate_of_each_pair(
    case: Case, mode: Mode, on_cpu: bool
) -> None:
    check(case, mode, on_cpu=on_cpu)


# Fused layers ----------------------------------------------------------------------------------------------


def attends(**how: Any) -> Callable[[], nn.Module]:
    return lambda: Applies(lambda q, k, v, *mask: scaled_dot_product_attention(q, k, v, *mask, **how))


class Projects(nn.Module):
    """Attention of three linear layers' outputs, where several queries may share keys."""

    def __init__(self, heads: int, groups: int, size: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, size
        self.q = nn.Linear(24, heads * size)
        self.k, self.v = nn.Linear(24, groups * size), nn.Linear(24, groups * size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (heads, self.size)).transpose(1, 2)
            for layer, heads in ((self.q, self.heads), (self.k, self.groups), (self.v, self.groups))
        )
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.groups)


class SelfAttention(nn.Module):
    def __init__(self, *, weights: bool = False, **how: Any) -> None:
        super().__init__()
        self.attention, self.weights = nn.MultiheadAttention(24, 4, **how), weights

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        return self.attention(x, x, x, key_padding_mask=mask, need_weights=self.weights)[0]


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 4, kdim=10, vdim=14, batch_first=True)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return self.attention(x, keys, values)[0]


# Two samples of six tokens of 24 channels: a projection of them, and one of attention's two products.
PROJECTION, SQUARE = 2 * 6 * 24 * 24, 2 * 6 * 6 * 24
SELF_ATTENTION = 4 * PROJECTION + 2 * SQUARE
# The three projections' inputs need no gradient; all else does.
SELF_ATTENTION_TRAINED = 2 * 3 * PROJECTION + 3 * (2 * SQUARE + PROJECTION)
FEED_FORWARD = 2 * 2 * 6 * 24 * 48
PADDED = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])


def encoder_layer(**how: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(24, 4, 48, batch_first=True, **how)


class PaddedEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(encoder_layer(), 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(x, src_key_padding_mask=mask)  # type: ignore[no-any-return]


ATTENTION: Cases = {
    "plain": Case(attends(), [(2, 3, 6, 8)] * 3, 2 * 3 * 6 * 6 * (8 + 8)),
    "causal, the full square": Case(attends(is_causal=True), [(2, 3, 6, 8)] * 3, 2 * 3 * 6 * 6 * (8 + 8)),
    "masked by truth": Case(
        attends(), [*[(2, 3, 6, 8)] * 3, torch.ones(6, 6).tril().bool()], 2 * 3 * 36 * (8 + 8)
    ),
    "masked by numbers": Case(attends(), [*[(2, 3, 6, 8)] * 3, (2, 1, 6, 6)], 2 * 3 * 36 * (8 + 8)),
    "of values of another size": Case(
        attends(), [(2, 3, 6, 8), (2, 3, 7, 8), (2, 3, 7, 5)], 2 * 3 * 6 * 7 * (8 + 5)
    ),
    "of three dimensions": Case(attends(), [(3, 6, 8), (3, 7, 8), (3, 7, 8)], 3 * 6 * 7 * (8 + 8)),
    "of grouped queries": Case(
        attends(enable_gqa=True), [(2, 8, 6, 16), (2, 2, 7, 16), (2, 2, 7, 16)], 2 * 8 * 6 * 7 * 32
    ),
    "of one query": Case(attends(), [(1, 4, 1, 8), (1, 4, 9, 8), (1, 4, 9, 8)], 4 * 9 * 16),
    "of half precision": Case(attends(), [half(1, 2, 6, 8)] * 3, 2 * 6 * 6 * 16),
    "of projections": Case(
        lambda: Projects(4, 4, 6),
        [(2, 6, 24)],
        3 * PROJECTION + 2 * SQUARE,
        2 * 3 * PROJECTION + 3 * 2 * SQUARE,
    ),
    "of projections, grouped": Case(
        lambda: Projects(4, 2, 6),
        [(2, 6, 24)],
        2 * PROJECTION + 2 * SQUARE,
        2 * 2 * PROJECTION + 3 * 2 * SQUARE,
    ),
    "a layer": Case(
        lambda: SelfAttention(batch_first=True), [(2, 6, 24)], SELF_ATTENTION, SELF_ATTENTION_TRAINED
    ),
    "a layer that returns its weights": Case(
        lambda: SelfAttention(batch_first=True, weights=True),
        [(2, 6, 24)],
        SELF_ATTENTION,
        SELF_ATTENTION_TRAINED,
    ),
    "a layer, padded": Case(
        lambda: SelfAttention(batch_first=True), [(2, 6, 24), PADDED], SELF_ATTENTION, SELF_ATTENTION_TRAINED
    ),
    "a layer, time first": Case(
        lambda: SelfAttention(), [(6, 2, 24)], SELF_ATTENTION, SELF_ATTENTION_TRAINED
    ),
    "a layer, unbatched": Case(
        lambda: SelfAttention(), [(6, 24)], SELF_ATTENTION // 2, SELF_ATTENTION_TRAINED // 2
    ),
    "a layer with dropout": Case(
        lambda: SelfAttention(dropout=0.1, batch_first=True),
        [(2, 6, 24)],
        SELF_ATTENTION,
        SELF_ATTENTION_TRAINED,
    ),
    "across, with sizes of their own": Case(
        CrossAttention,
        [(2, 6, 24), (2, 9, 10), (2, 9, 14)],
        2 * PROJECTION + 2 * 9 * 24 * (10 + 14) + 2 * 2 * 6 * 9 * 24,
        (2 + 3) * PROJECTION + 2 * 2 * 9 * 24 * (10 + 14) + 3 * 2 * 2 * 6 * 9 * 24,
    ),
    "encoder layer": Case(
        lambda: encoder_layer(),
        [(2, 6, 24)],
        SELF_ATTENTION + FEED_FORWARD,
        SELF_ATTENTION_TRAINED + 3 * FEED_FORWARD,
    ),
    # Normalised first, the projections' inputs need a gradient, for what normalises them learns.
    "encoder layer, normalised first": Case(
        lambda: encoder_layer(norm_first=True, activation="gelu"),
        [(2, 6, 24)],
        SELF_ATTENTION + FEED_FORWARD,
        3 * (SELF_ATTENTION + FEED_FORWARD),
    ),
    # Its queries of the memory need a gradient, the memory does not.
    "decoder layer": Case(
        lambda: nn.TransformerDecoderLayer(24, 4, 48, batch_first=True),
        [(2, 6, 24), (2, 9, 24)],
        SELF_ATTENTION + 2 * PROJECTION + 2 * 2 * 9 * 24 * 24 + 2 * 2 * 6 * 9 * 24 + FEED_FORWARD,
        SELF_ATTENTION_TRAINED
        + 3 * 2 * PROJECTION
        + 2 * 2 * 2 * 9 * 24 * 24
        + 3 * (2 * 2 * 6 * 9 * 24 + FEED_FORWARD),
    ),
    "encoder, padded": Case(
        PaddedEncoder,
        [(2, 6, 24), PADDED],
        2 * (SELF_ATTENTION + FEED_FORWARD),
        SELF_ATTENTION_TRAINED + 3 * FEED_FORWARD + 3 * (SELF_ATTENTION + FEED_FORWARD),
    ),
}


@named(ATTENTION)
def test_attention_counts_its_projections_and_its_full_squares(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


class Recurrent(NamedTuple):
    """The sizes of a recurrent layer, which say what it costs."""

    gates: int
    inputs: int
    hidden: int
    layers: int = 1
    directions: int = 1
    projection: int = 0

    def infer(self, tokens: int) -> int:
        return sum(sum(products) for products in self._products(tokens))

    def train(self, tokens: int, sequences: int) -> int:
        """The network's inputs need no gradient, and neither does the state before a first token."""
        total = 0
        for layer, (inputs, state, projection) in enumerate(self._products(tokens)):
            total += (3 if layer else 2) * inputs + 2 * state + state * (tokens - sequences) // tokens
            total += 3 * projection
        return total

    def _products(self, tokens: int) -> Iterator[tuple[int, int, int]]:
        """Those of each layer: with its inputs, with its state, and the one that makes the state smaller."""
        state = self.projection or self.hidden
        for layer in range(self.layers):
            inputs = self.directions * state if layer else self.inputs
            each = self.directions * tokens
            gates = self.gates * self.hidden
            yield each * gates * inputs, each * gates * state, each * self.hidden * self.projection


def recurrent(sizes: Recurrent, make: Callable[[], nn.Module], shape: tuple[int, ...]) -> Case:
    """On inputs of which the first two dimensions, or the first if unbatched, are time and batch (of 2)."""
    tokens = math.prod(shape[:-1])
    sequences = 2 if len(shape) == 3 else 1
    return Case(make, [shape], sizes.infer(tokens), sizes.train(tokens, sequences))


class Packs(nn.Module):
    """A recurrent layer on two sequences of four and three tokens, packed."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        packed = pack_padded_sequence(x, torch.tensor([4, 3]))
        outputs, state = self.layer(packed)
        return outputs.data, state


class OnPacked(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, packed: PackedSequence) -> Any:
        outputs, state = self.layer(packed)
        return outputs.data, state


class Walks(nn.Module):
    """A cell, walked over five steps of two sequences."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> Any:
        state = None
        for step in x:
            state = self.cell(step, state)
        return state


LSTM, GRU, RNN = Recurrent(4, 5, 6), Recurrent(3, 5, 6), Recurrent(1, 5, 6)
STEPS, BATCH_FIRST = (4, 2, 5), (2, 4, 5)
RECURRENT: Cases = {
    "lstm": recurrent(LSTM, lambda: nn.LSTM(5, 6), STEPS),
    "lstm, no bias": recurrent(LSTM, lambda: nn.LSTM(5, 6, bias=False), STEPS),
    "lstm, batch first": recurrent(LSTM, lambda: nn.LSTM(5, 6, batch_first=True), BATCH_FIRST),
    "lstm, unbatched": recurrent(LSTM, lambda: nn.LSTM(5, 6), (4, 5)),
    "lstm, one step": recurrent(LSTM, lambda: nn.LSTM(5, 6), (1, 2, 5)),
    "lstm, of layers with dropout": recurrent(
        LSTM._replace(layers=3), lambda: nn.LSTM(5, 6, 3, dropout=0.5), STEPS
    ),
    "lstm, both ways": recurrent(
        LSTM._replace(directions=2), lambda: nn.LSTM(5, 6, bidirectional=True), STEPS
    ),
    "lstm, projected": recurrent(LSTM._replace(projection=4), lambda: nn.LSTM(5, 6, proj_size=4), STEPS),
    "lstm, all of it": recurrent(
        LSTM._replace(layers=2, directions=2, projection=4),
        lambda: nn.LSTM(5, 6, 2, bidirectional=True, batch_first=True, dropout=0.1, proj_size=4),
        BATCH_FIRST,
    ),
    "gru": recurrent(GRU, lambda: nn.GRU(5, 6), STEPS),
    "gru, unbatched": recurrent(GRU, lambda: nn.GRU(5, 6), (4, 5)),
    "gru, all of it": recurrent(
        GRU._replace(layers=2, directions=2),
        lambda: nn.GRU(5, 6, 2, bidirectional=True, batch_first=True, dropout=0.1),
        BATCH_FIRST,
    ),
    "rnn": recurrent(RNN, lambda: nn.RNN(5, 6), STEPS),
    "rnn with relu": recurrent(RNN, lambda: nn.RNN(5, 6, nonlinearity="relu"), STEPS),
    "rnn, all of it": recurrent(
        RNN._replace(layers=2, directions=2),
        lambda: nn.RNN(5, 6, 2, bidirectional=True, batch_first=True, dropout=0.1),
        BATCH_FIRST,
    ),
    # Seven tokens, and no padding.
    "lstm, packed": Case(lambda: Packs(nn.LSTM(5, 6)), [STEPS], LSTM.infer(7), LSTM.train(7, 2)),
    "gru, packed": Case(lambda: Packs(nn.GRU(5, 6)), [STEPS], GRU.infer(7), GRU.train(7, 2)),
    "lstm, packed, both ways": Case(
        lambda: Packs(nn.LSTM(5, 6, bidirectional=True)), [STEPS], LSTM._replace(directions=2).infer(7)
    ),
    "lstm, on packed inputs": Case(
        lambda: OnPacked(nn.LSTM(5, 6)),
        [lambda: pack_sequence([torch.randn(4, 5), torch.randn(3, 5)])],
        LSTM.infer(7),
        LSTM.train(7, 2),
    ),
    "lstm cell": Case(lambda: nn.LSTMCell(5, 6), [(2, 5)], LSTM.infer(2), LSTM.train(2, 2)),
    "gru cell": Case(lambda: nn.GRUCell(5, 6), [(2, 5)], GRU.infer(2), GRU.train(2, 2)),
    "rnn cell": Case(lambda: nn.RNNCell(5, 6), [(2, 5)], RNN.infer(2), RNN.train(2, 2)),
    "lstm cell, five steps": Case(
        lambda: Walks(nn.LSTMCell(5, 6)), [(5, 2, 5)], LSTM.infer(10), LSTM.train(10, 2)
    ),
    "gru cell, five steps": Case(
        lambda: Walks(nn.GRUCell(5, 6)), [(5, 2, 5)], GRU.infer(10), GRU.train(10, 2)
    ),
    "rnn cell, five steps": Case(
        lambda: Walks(nn.RNNCell(5, 6)), [(5, 2, 5)], RNN.infer(10), RNN.train(10, 2)
    ),
}


@named(RECURRENT)
def test_recurrent_layers_equal_their_closed_forms(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


# Complex numbers -------------------------------------------------------------------------------------------


class Complex(NamedTuple):
    """A network on complex inputs, its complex multiply-adds, its outputs' elements, and training's."""

    make: Callable[[], nn.Module]
    shapes: Sequence[tuple[int, ...]]
    products: int
    activations: int
    train: int | None = None


def applies(function: Callable[..., Any]) -> Callable[[], nn.Module]:
    return lambda: Applies(function)


C64 = torch.cfloat
COMPLEX: dict[str, Complex] = {
    "linear": Complex(lambda: nn.Linear(5, 4, dtype=C64), [(3, 5)], 60, 12, 120),
    "linear, no bias, on tokens": Complex(
        lambda: nn.Linear(5, 4, bias=False, dtype=C64), [(2, 3, 5)], 120, 24, 240
    ),
    "linear, twice": Complex(
        lambda: pair(nn.Linear(5, 4, dtype=C64), nn.Linear(4, 6, dtype=C64)),
        [(3, 5)],
        60 + 72,
        12 + 18,
        2 * 60 + 3 * 72,
    ),
    "double precision": Complex(
        lambda: LearnsLast(lambda x, w: x.to(torch.cdouble) @ w, 5, 4, dtype=torch.cdouble),
        [(3, 5)],
        60,
        12,
        120,
    ),
    "conv 1d": Complex(
        lambda: nn.Conv1d(2, 3, 3, dtype=C64), [(2, 2, 9)], 2 * 3 * 7 * 6, 2 * 3 * 7, 2 * 2 * 3 * 7 * 6
    ),
    "conv 2d": Complex(
        lambda: nn.Conv2d(2, 3, 3, dtype=C64), [(1, 2, 8, 8)], 3 * 36 * 18, 3 * 36, 2 * 3 * 36 * 18
    ),
    "conv 2d, no bias": Complex(
        lambda: nn.Conv2d(2, 3, 3, bias=False, dtype=C64), [(1, 2, 8, 8)], 3 * 36 * 18, 108, 2 * 3 * 36 * 18
    ),
    "conv 2d, grouped, strided": Complex(
        lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2, dtype=C64),
        [(2, 4, 9, 9)],
        2 * 6 * 16 * 18,
        2 * 6 * 16,
        2 * 2 * 6 * 16 * 18,
    ),
    "conv 2d, depthwise": Complex(
        lambda: nn.Conv2d(4, 4, 3, groups=4, dtype=C64), [(1, 4, 9, 9)], 4 * 49 * 9, 4 * 49, 2 * 4 * 49 * 9
    ),
    "conv 2d, unbatched": Complex(
        lambda: nn.Conv2d(2, 3, 3, dtype=C64), [(2, 8, 8)], 3 * 36 * 18, 108, 2 * 3 * 36 * 18
    ),
    "conv 2d, padded by reflection": Complex(
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", dtype=C64),
        [(1, 2, 8, 8)],
        3 * 64 * 18,
        3 * 64,
        2 * 3 * 64 * 18,
    ),
    "conv 3d": Complex(
        lambda: nn.Conv3d(2, 3, 2, dtype=C64), [(1, 2, 4, 4, 4)], 3 * 27 * 16, 3 * 27, 2 * 3 * 27 * 16
    ),
    "transposed 1d": Complex(
        lambda: nn.ConvTranspose1d(2, 3, 3, dtype=C64), [(1, 2, 9)], 18 * 9, 3 * 11, 2 * 18 * 9
    ),
    "transposed 2d": Complex(
        lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, dtype=C64),
        [(1, 2, 8, 8)],
        2 * 64 * 27,
        3 * 17 * 17,
        2 * 2 * 64 * 27,
    ),
    "transposed 3d": Complex(
        lambda: nn.ConvTranspose3d(2, 3, 2, dtype=C64),
        [(1, 2, 3, 3, 3)],
        2 * 27 * 24,
        3 * 64,
        2 * 2 * 27 * 24,
    ),
    "conv after conv": Complex(
        lambda: pair(nn.Conv2d(2, 3, 1, dtype=C64), nn.Conv2d(3, 4, 3, dtype=C64)),
        [(1, 2, 6, 6)],
        36 * 6 + 16 * 4 * 27,
        36 * 3 + 16 * 4,
        2 * 36 * 6 + 3 * 16 * 4 * 27,
    ),
    "conv, then linear": Complex(
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, dtype=C64), nn.Flatten(), nn.Linear(3 * 7, 4, dtype=C64)),
        [(2, 2, 9)],
        2 * 21 * 6 + 2 * 21 * 4,
        2 * 21 + 2 * 4,
        2 * 2 * 21 * 6 + 3 * 2 * 21 * 4,
    ),
    "mm": Complex(applies(torch.mm), [(3, 5), (5, 4)], 60, 12),
    "mm, of conjugates": Complex(applies(lambda a, b: a.mH @ b), [(5, 3), (5, 4)], 60, 12),
    "addmm": Complex(applies(torch.addmm), [(3, 4), (3, 5), (5, 4)], 60, 12),
    "bmm": Complex(applies(torch.bmm), [(2, 3, 5), (2, 5, 4)], 120, 24),
    "baddbmm": Complex(applies(torch.baddbmm), [(2, 3, 4), (2, 3, 5), (2, 5, 4)], 120, 24),
    "addbmm": Complex(applies(torch.addbmm), [(3, 4), (2, 3, 5), (2, 5, 4)], 120, 12),
    "mv": Complex(applies(torch.mv), [(4, 5), (5,)], 20, 4),
    "addmv": Complex(applies(torch.addmv), [(4,), (4, 5), (5,)], 20, 4),
    "stack @ vector": Complex(applies(torch.matmul), [(3, 4, 5), (5,)], 60, 12),
    "dot": Complex(applies(torch.dot), [(5,), (5,)], 5, 1),
    "vdot": Complex(applies(torch.vdot), [(5,), (5,)], 5, 1),
    "inner": Complex(applies(torch.inner), [(3, 5), (4, 5)], 60, 12),
    "tensordot": Complex(
        applies(lambda a, b: torch.tensordot(a, b, dims=2)), [(2, 3, 4), (3, 4, 5)], 120, 10
    ),
    "einsum": Complex(applies(einsum("bij,bjk->bik")), [(2, 3, 5), (2, 5, 4)], 120, 24),
    "einsum of rows with rows": Complex(applies(einsum("bi,bi->b")), [(3, 5), (3, 5)], 15, 3),
    "bilinear": Complex(lambda: nn.Bilinear(3, 4, 5, dtype=C64), [(2, 3), (2, 4)], 160, 10),
    "outer": Complex(applies(torch.outer), [(3,), (4,)], 0, 0),
    "a learned matrix": Complex(lambda: LearnsLast(torch.matmul, 5, 4, dtype=C64), [(3, 5)], 60, 12, 120),
    "a learned stack": Complex(lambda: LearnsLast(torch.bmm, 2, 5, 4, dtype=C64), [(2, 3, 5)], 120, 24, 240),
}


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", COMPLEX)
def test_a_complex_product_counts_four_real_ones(name: str, on_cpu: bool) -> None:
    network = COMPLEX[name]
    cost = cost_of(Case(network.make, network.shapes, 0), "infer", on_cpu=on_cpu, dtype=C64)
    assert (cost.macs, cost.uncounted) == (4 * network.products, ())
    assert cost.activations == network.activations


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", [name for name, network in COMPLEX.items() if network.train is not None])
def test_training_a_complex_product_counts_four_real_ones_for_each_gradient(name: str, on_cpu: bool) -> None:
    network = COMPLEX[name]
    cost = cost_of(Case(network.make, network.shapes, 0), "train", on_cpu=on_cpu, dtype=C64)
    assert network.train is not None
    assert (cost.macs, cost.uncounted) == (4 * network.train, ())
    assert cost.activations == network.activations


# What is free, and what has no formula ---------------------------------------------------------------------

IMAGE, ROWS = (2, 4, 8, 8), (4, 6)
BOXES = torch.tensor([[0, 0, 0, 4.0, 4], [1, 2, 2, 6, 6]])


def made(namespace: Any, leave_out: Sequence[str] = ()) -> list[type[nn.Module]]:
    """The modules that a file of torch's offers."""
    return [getattr(namespace, name) for name in namespace.__all__ if name not in leave_out]


FREE_MODULES: dict[str, tuple[Callable[[], nn.Module], Sequence[Any]]] = {
    # Attention is no activation function, though it is in the same file of torch's.
    **{
        kind.__name__: (kind, [IMAGE])
        for kind in made(
            nn.modules.activation, ("MultiheadAttention", "Threshold", "PReLU", "Softmax2d", "Softmax")
        )
        if kind.__name__ not in ("LogSoftmax", "Softmin")
    },
    "Threshold": (lambda: nn.Threshold(0.1, 20), [IMAGE]),
    "PReLU of a channel": (lambda: nn.PReLU(4), [IMAGE]),
    "PReLU": (nn.PReLU, [IMAGE]),
    "Softmax": (lambda: nn.Softmax(1), [IMAGE]),
    "Softmax2d": (nn.Softmax2d, [IMAGE]),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), [IMAGE]),
    "Softmin": (lambda: nn.Softmin(1), [IMAGE]),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), [(2, 4, 8)]),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), [IMAGE]),
    "MaxPool3d": (lambda: nn.MaxPool3d(2), [(1, 2, 4, 4, 4)]),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), [(2, 4, 8)]),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), [IMAGE]),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), [(1, 2, 4, 4, 4)]),
    "FractionalMaxPool2d": (lambda: nn.FractionalMaxPool2d(2, output_size=5), [IMAGE]),
    "FractionalMaxPool3d": (lambda: nn.FractionalMaxPool3d(2, output_size=2), [(1, 2, 4, 4, 4)]),
    "LPPool1d": (lambda: nn.LPPool1d(2, 2), [(2, 4, 8)]),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), [IMAGE]),
    "LPPool3d": (lambda: nn.LPPool3d(2, 2), [(1, 2, 4, 4, 4)]),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(3), [(2, 4, 8)]),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(3), [IMAGE]),
    "AdaptiveAvgPool2d to one": (lambda: nn.AdaptiveAvgPool2d(1), [IMAGE]),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d(3), [(1, 2, 4, 4, 4)]),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(3), [(2, 4, 8)]),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(3), [IMAGE]),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d(3), [(1, 2, 4, 4, 4)]),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(6), [ROWS]),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), [IMAGE]),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(2), [(1, 2, 4, 4, 4)]),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4, affine=True), [(2, 4, 8)]),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, track_running_stats=True), [IMAGE]),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(2), [(1, 2, 4, 4, 4)]),
    "LayerNorm": (lambda: nn.LayerNorm(8), [IMAGE]),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [IMAGE]),
    "RMSNorm": (lambda: nn.RMSNorm(8), [IMAGE]),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), [IMAGE]),
    "CrossMapLRN2d": (lambda: nn.CrossMapLRN2d(3), [IMAGE]),
    "Dropout": (nn.Dropout, [IMAGE]),
    "Dropout1d": (nn.Dropout1d, [(2, 4, 8)]),
    "Dropout2d": (nn.Dropout2d, [IMAGE]),
    "Dropout3d": (nn.Dropout3d, [(1, 2, 4, 4, 4)]),
    "AlphaDropout": (nn.AlphaDropout, [IMAGE]),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout, [IMAGE]),
    "ZeroPad2d": (lambda: nn.ZeroPad2d(1), [IMAGE]),
    "ConstantPad3d": (lambda: nn.ConstantPad3d(1, 2.0), [(1, 2, 4, 4, 4)]),
    **{
        kind.__name__: (lambda kind=kind: kind(1), [shape])  # type: ignore[misc]
        for kinds in (
            (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
            (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
            (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
        )
        for kind, shape in zip(kinds, ((2, 4, 8), IMAGE, (1, 2, 4, 4, 4)), strict=True)
    },
    **{
        f"Upsample, {how}": (lambda how=how: nn.Upsample(scale_factor=2, mode=how), [shape])  # type: ignore[misc]
        for how, shape in (
            ("nearest", IMAGE),
            ("linear", (2, 4, 8)),
            ("bilinear", IMAGE),
            ("bicubic", IMAGE),
            ("trilinear", (1, 2, 4, 4, 4)),
        )
    },
    "PixelShuffle": (lambda: nn.PixelShuffle(2), [IMAGE]),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), [IMAGE]),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), [IMAGE]),
    "Unfold": (lambda: nn.Unfold(3), [IMAGE]),
    "Fold": (lambda: nn.Fold((8, 8), 2, stride=2), [(2, 16, 16)]),
    "CosineSimilarity": (nn.CosineSimilarity, [ROWS, ROWS]),
    "PairwiseDistance": (nn.PairwiseDistance, [ROWS, ROWS]),
    "StochasticDepth": (lambda: torchvision.ops.StochasticDepth(0.5, "row"), [IMAGE]),
    "DropBlock2d": (lambda: torchvision.ops.DropBlock2d(0.1, 3), [IMAGE]),
    "FrozenBatchNorm2d": (lambda: torchvision.ops.FrozenBatchNorm2d(4), [IMAGE]),
}


def unpools(x: torch.Tensor) -> Any:
    """Of a vector's, an image's or a volume's channels."""
    kinds = (nn.MaxPool1d, nn.MaxUnpool1d), (nn.MaxPool2d, nn.MaxUnpool2d), (nn.MaxPool3d, nn.MaxUnpool3d)
    pool, unpool = kinds[x.dim() - 3]
    return unpool(2)(*pool(2, return_indices=True)(x))


def warps(x: torch.Tensor, **how: Any) -> torch.Tensor:
    turn = torch.tensor([[0.8, -0.2, 0.1], [0.3, 0.9, 0.0]], device=x.device).expand(2, 2, 3)
    return F.grid_sample(
        x, F.affine_grid(turn, [2, 4, 6, 6], align_corners=False), align_corners=False, **how
    )


LABELS = torch.tensor([1, 0, 2, 5])
FREE_FUNCTIONS: dict[str, tuple[Callable[..., Any], Sequence[Any]]] = {
    "arithmetic": (lambda x, y: (x * y + x / 2 - y).addcmul(x, y, value=2).lerp(y, 0.3), [ROWS, ROWS]),
    "glu": (F.glu, [ROWS]),
    "masked_fill_": (lambda x: x.clone().masked_fill_(x > 0, 2.0), [ROWS]),
    "where": (lambda x, y: torch.where(x > 0, x, y), [ROWS, ROWS]),
    "cumsum": (lambda x: x.cumsum(1), [ROWS]),
    "cumprod": (lambda x: x.cumprod(1), [ROWS]),
    "cummax": (lambda x: x.cummax(1).values, [ROWS]),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), [ROWS]),
    "sort": (lambda x: x.sort(1).values, [ROWS]),
    "topk": (lambda x: x.topk(2).values, [ROWS]),
    "kthvalue": (lambda x: x.kthvalue(2).values, [ROWS]),
    "MaxUnpool1d": (unpools, [(2, 4, 8)]),
    "MaxUnpool2d": (unpools, [IMAGE]),
    "MaxUnpool3d": (unpools, [(1, 2, 4, 4, 4)]),
    **{
        f"interpolate, {how}": (lambda x, how=how: F.interpolate(x, scale_factor=1.5, mode=how), [shape])
        for how, shape in (
            ("nearest", IMAGE),
            ("nearest-exact", IMAGE),
            ("linear", (2, 4, 8)),
            ("bilinear", IMAGE),
            ("bicubic", IMAGE),
            ("trilinear", (1, 2, 4, 4, 4)),
            ("area", IMAGE),
        )
    },
    "interpolate without aliasing": (
        lambda x: F.interpolate(x, size=5, mode="bilinear", antialias=True),
        [IMAGE],
    ),
    "grid_sample": (warps, [IMAGE]),
    "grid_sample, nearest": (lambda x: warps(x, mode="nearest", padding_mode="border"), [IMAGE]),
    "grid_sample, bicubic": (lambda x: warps(x, mode="bicubic", padding_mode="reflection"), [IMAGE]),
    "index_add": (lambda x: x.index_add(0, torch.tensor([1, 1]).to(x.device), x[:2]), [ROWS]),
    "scatter_add": (lambda x, at: torch.zeros_like(x).scatter_add(0, at, x), [ROWS, whole(4, 6) % 4]),
    "scatter_reduce": (
        lambda x, at: torch.zeros_like(x).scatter_reduce(0, at, x, "mean"),
        [ROWS, whole(4, 6) % 4],
    ),
    "gather": (lambda x, at: x.gather(0, at), [ROWS, whole(4, 6) % 4]),
    "var and std": (lambda x: x.var(1) + x.std(1), [ROWS]),
    "norm": (lambda x: x.norm(dim=1) + torch.linalg.vector_norm(x, 3, dim=1), [ROWS]),
    "norm of a matrix": (torch.linalg.norm, [ROWS]),
    "normalize": (F.normalize, [ROWS]),
    "logsumexp": (lambda x: x.logsumexp(1), [ROWS]),
    "prod": (lambda x: x.prod(1), [ROWS]),
    "trapz": (torch.trapz, [ROWS]),
    "cumulative_trapezoid": (torch.cumulative_trapezoid, [ROWS]),
    "diff": (torch.diff, [ROWS]),
    "gradient": (lambda x: torch.gradient(x, dim=1)[0], [ROWS]),
    "roll, flip, rot90": (lambda x: x.roll(1, 1).flip(0).rot90(), [ROWS]),
    "tril": (lambda x: x.tril(), [ROWS]),
    "trace": (torch.trace, [(4, 4)]),
    "quantile": (lambda x: x.quantile(0.3, 1), [ROWS]),
    "median": (lambda x: x.median(1).values, [ROWS]),
    "nanmedian": (lambda x: x.nanmedian(1).values, [ROWS]),
    "weight_norm": (lambda x: torch._weight_norm(x, x.norm(dim=1, keepdim=True), 0), [ROWS]),
    "roi_align": (lambda x, boxes: torchvision.ops.roi_align(x, boxes, 2), [IMAGE, BOXES]),
    "roi_pool": (lambda x, boxes: torchvision.ops.roi_pool(x, boxes, 2), [IMAGE, BOXES]),
    "ps_roi_align": (lambda x, boxes: torchvision.ops.ps_roi_align(x, boxes, 2), [IMAGE, BOXES]),
    "ps_roi_pool": (lambda x, boxes: torchvision.ops.ps_roi_pool(x, boxes, 2), [IMAGE, BOXES]),
    "focal loss": (torchvision.ops.sigmoid_focal_loss, [ROWS, torch.ones(4, 6)]),
    "gumbel softmax": (F.gumbel_softmax, [ROWS]),
}


@pytest.mark.parametrize("file", ["pooling", "normalization", "dropout", "pixelshuffle", "fold"])
def test_every_free_module_of_these_files_of_torchs_is_among_the_free(file: str) -> None:
    offered = {kind.__name__ for kind in made(getattr(nn.modules, file))}
    assert offered <= {*FREE_MODULES, *FREE_FUNCTIONS}


# What these return has no gradient, or what they read has a value.
FREE_LOOKUPS: dict[str, tuple[Callable[..., Any], Sequence[Any]]] = {
    "argsort": (lambda x: x.argsort(1), [ROWS]),
    "argmax": (lambda x: x.argmax(1), [ROWS]),
    "unique": (torch.unique, [whole(12)]),
    "unique, counted": (lambda x: torch.unique(x, return_counts=True, dim=0), [whole(6, 2)]),
    "unique_consecutive": (torch.unique_consecutive, [whole(12)]),
    "one_hot": (F.one_hot, [LABELS]),
    "one_hot of classes": (lambda x: F.one_hot(x, 6), [LABELS]),
    "bincount": (torch.bincount, [LABELS]),
    "histc": (lambda x: torch.histc(x, 5, -2, 2), [(20,)]),
    "masked_select": (lambda x: x.masked_select(x > 0), [ROWS]),
    "nonzero": (torch.nonzero, [ROWS]),
    "x[x > 0]": (lambda x: x[x > 0], [ROWS]),
    "searchsorted": (torch.searchsorted, [torch.arange(6.0), (4,)]),
    "bucketize": (torch.bucketize, [ROWS, torch.arange(6.0)]),
    "repeat_interleave": (lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 3]).to(x.device), 0), [ROWS]),
    "nms": (torchvision.ops.nms, [BOXES[:, 1:], torch.tensor([0.9, 0.8]), 0.5]),
    "box_iou": (torchvision.ops.box_iou, [BOXES[:, 1:], BOXES[:, 1:]]),
    "random numbers": (lambda x: torch.rand_like(x).bernoulli().normal_(), [ROWS]),
    "multinomial": (lambda x: x.softmax(1).multinomial(2), [ROWS]),
    "whole-number arithmetic": (lambda x: (x * 3 + 1) // 2 % 5 ^ 1, [whole(4, 6)]),
    "windows": (lambda x: x * torch.hann_window(6, device=x.device), [ROWS]),
    "isin": (lambda x: torch.isin(x, x[:2]), [LABELS]),
    "cartesian_prod": (torch.cartesian_prod, [(3,), (4,)]),
    "meshgrid": (lambda x, y: torch.meshgrid(x, y, indexing="ij"), [(3,), (4,)]),
}


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", FREE_MODULES)
def test_modules_that_do_not_contract_are_free_forward_and_backward(name: str, on_cpu: bool) -> None:
    make, inputs = FREE_MODULES[name]
    check(Case(make, inputs, 0), "infer", on_cpu=on_cpu)
    check(Case(lambda: Scales(make()), inputs, 0, 0), "train", on_cpu=on_cpu)


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", FREE_FUNCTIONS)
def test_functions_that_do_not_contract_are_free_forward_and_backward(name: str, on_cpu: bool) -> None:
    function, inputs = FREE_FUNCTIONS[name]
    check(Case(lambda: Applies(function), inputs, 0), "infer", on_cpu=on_cpu)
    check(Case(lambda: Scales(function), inputs, 0, 0), "train", on_cpu=on_cpu)


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", FREE_LOOKUPS)
def test_sorting_looking_up_and_drawing_are_free(name: str, on_cpu: bool) -> None:
    function, inputs = FREE_LOOKUPS[name]
    check(Case(lambda: Applies(function), inputs, 0), "infer", on_cpu=on_cpu)


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_embeddings_are_free(how: str, mode: Mode) -> None:
    check(Case(lambda: nn.EmbeddingBag(9, 4, mode=how), [LABELS.view(2, 2)], 0, 0), mode, on_cpu=False)
    check(Case(lambda: nn.EmbeddingBag(9, 4, mode=how), [LABELS.view(2, 2)], 0, 0), mode, on_cpu=True)
    check(Case(lambda: nn.Embedding(9, 4), [LABELS], 0, 0), mode, on_cpu=False)


SIGNS, ONES = torch.tensor([1.0, -1, 1, -1]), torch.ones(4, 6)
CLASSES = torch.zeros(4, 6, dtype=torch.int64)
LOSSES: dict[str, tuple[Callable[[], nn.Module], Sequence[Any]]] = {
    "L1Loss": (nn.L1Loss, [ROWS, ONES]),
    "NLLLoss": (nn.NLLLoss, [ROWS, LABELS]),
    "NLLLoss of pixels": (nn.NLLLoss, [IMAGE, torch.ones(2, 8, 8, dtype=torch.int64)]),
    "PoissonNLLLoss": (nn.PoissonNLLLoss, [ROWS, ONES]),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, [ROWS, ONES, ONES]),
    "KLDivLoss": (lambda: nn.KLDivLoss(reduction="batchmean"), [ROWS, ONES]),
    "MSELoss": (nn.MSELoss, [ROWS, ONES]),
    "BCELoss": (lambda: nn.BCELoss(reduction="sum"), [torch.full((4, 6), 0.3), ONES]),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss, [ROWS, ONES]),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, [(4,), SIGNS]),
    "MultiLabelMarginLoss": (nn.MultiLabelMarginLoss, [ROWS, CLASSES]),
    "SmoothL1Loss": (nn.SmoothL1Loss, [ROWS, ONES]),
    "HuberLoss": (nn.HuberLoss, [ROWS, ONES]),
    "SoftMarginLoss": (nn.SoftMarginLoss, [ROWS, ONES]),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), [ROWS, LABELS]),
    "CrossEntropyLoss of shares": (nn.CrossEntropyLoss, [ROWS, torch.full((4, 6), 1 / 6)]),
    "MultiLabelSoftMarginLoss": (nn.MultiLabelSoftMarginLoss, [ROWS, ONES]),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, [ROWS, ROWS, SIGNS]),
    "MarginRankingLoss": (nn.MarginRankingLoss, [(4,), (4,), SIGNS]),
    "MultiMarginLoss": (nn.MultiMarginLoss, [ROWS, LABELS]),
    "TripletMarginLoss": (nn.TripletMarginLoss, [ROWS, ROWS, ROWS]),
    "TripletMarginWithDistanceLoss": (nn.TripletMarginWithDistanceLoss, [ROWS, ROWS, ROWS]),
    "CTCLoss": (
        nn.CTCLoss,
        [
            lambda: torch.randn(9, 2, 5).log_softmax(2),
            torch.tensor([[1, 2, 3], [4, 1, 2]]),
            torch.tensor([9, 8]),
            torch.tensor([3, 2]),
        ],
    ),
}


def test_every_loss_that_is_nothing_but_a_loss_is_among_the_losses() -> None:
    # One is an old name of another, and one has a linear layer inside: it is not free.
    assert {kind.__name__ for kind in made(nn.modules.loss, ["NLLLoss2d", "LinearCrossEntropyLoss"])} <= set(
        LOSSES
    )


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_free(name: str, mode: Mode, on_cpu: bool) -> None:
    make, inputs = LOSSES[name]
    check(Case(lambda: Scales(make()), inputs, 0, 0), mode, on_cpu=on_cpu)


def symmetric(x: torch.Tensor) -> torch.Tensor:
    """Positive definite, without a product."""
    return torch.diag_embed(x.abs() + 1)


class Other(NamedTuple):
    """Arithmetic of another kind, and a word of the name of its operator."""

    function: Callable[..., Any]
    shapes: Sequence[tuple[int, ...]]
    word: str


OTHERS: dict[str, Other] = {
    "fft": Other(torch.fft.fft, [(3, 8)], "fft"),
    "fft2": Other(torch.fft.fft2, [(3, 8, 8)], "fft"),
    "rfft": Other(torch.fft.rfft, [(3, 8)], "fft"),
    "irfft": Other(lambda x: torch.fft.irfft(torch.complex(x, x)), [(3, 5)], "fft"),
    "stft": Other(
        lambda x: torch.stft(x, 16, 4, window=torch.hann_window(16, device=x.device), return_complex=True),
        [(2, 64)],
        "fft",
    ),
    "svd": Other(lambda x: torch.linalg.svd(x)[1], [(4, 5)], "svd"),
    "singular values": Other(torch.linalg.svdvals, [(4, 5)], "svd"),
    "inverse": Other(torch.linalg.inv, [(4, 4)], "inv"),
    "istft": Other(
        lambda x: torch.istft(torch.complex(x, x), 16, 4, window=torch.hann_window(16, device=x.device)),
        [(2, 9, 17)],
        "fft",
    ),
    "pinv": Other(torch.linalg.pinv, [(5, 4)], "pinv"),
    "lstsq": Other(lambda a, b: torch.linalg.lstsq(a, b)[0], [(5, 4), (5, 2)], "lstsq"),
    "solve": Other(torch.linalg.solve, [(4, 4), (4, 2)], "solve"),
    "cholesky": Other(lambda x: torch.linalg.cholesky(symmetric(x)), [(4,)], "cholesky"),
    "eigh": Other(lambda x: torch.linalg.eigh(symmetric(x))[0], [(4,)], "eigh"),
    "qr": Other(lambda x: torch.linalg.qr(x)[1], [(5, 4)], "qr"),
    "matrix_exp": Other(torch.linalg.matrix_exp, [(4, 4)], "matrix_exp"),
    "det": Other(torch.linalg.det, [(4, 4)], "det"),
    "slogdet": Other(lambda x: torch.linalg.slogdet(x)[1], [(4, 4)], "det"),
    "lu_factor": Other(lambda x: torch.linalg.lu_factor(x)[0], [(4, 4)], "lu"),
    "solve_triangular": Other(
        lambda a, b: torch.linalg.solve_triangular(a, b, upper=True), [(4, 4), (4, 2)], "triangular"
    ),
}


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
@pytest.mark.parametrize("name", OTHERS)
def test_arithmetic_of_another_kind_is_named_and_not_counted(name: str, on_cpu: bool) -> None:
    other = OTHERS[name]
    cost = cost_of(Case(lambda: Applies(other.function), other.shapes, 0), "infer", on_cpu=on_cpu)
    (operator,) = cost.uncounted
    assert other.word in operator.operator
    assert (cost.macs, operator.calls) == (0, 1)


def test_an_operator_without_a_formula_tells_how_much_it_makes() -> None:
    def made_by(function: Callable[..., Any], *shape: int) -> list[int]:
        uncounted = count(Applies(function), torch.randn(shape)).uncounted
        return [operator.output_elements for operator in uncounted]

    assert made_by(torch.fft.fft, 3, 8) == [24]
    assert made_by(torch.fft.rfft, 3, 8) == [15]
    # 64 / 4 + 1 places of a window of 16, of which 9 frequencies are there
    assert made_by(OTHERS["stft"].function, 2, 64) == [2 * 17 * 9]
    assert made_by(torch.linalg.svdvals, 4, 5)[0] >= 4


@torch.library.custom_op("scaleprof_products::turn", mutates_args=())
def turn(x: torch.Tensor) -> torch.Tensor:
    return x.flip(0) @ x.T


@turn.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[0], x.shape[0])


@pytest.mark.parametrize("on_cpu", [False, True], ids=["any", "cpu"])
def test_an_operator_of_ones_own_is_named(on_cpu: bool) -> None:
    cost = cost_of(Case(lambda: Applies(turn), [(3, 4)], 0), "infer", on_cpu=on_cpu)
    (operator,) = cost.uncounted
    assert (operator.operator, operator.calls, operator.output_elements) == ("scaleprof_products::turn", 1, 9)


def test_a_solve_does_not_hide_the_products_around_it() -> None:
    cost = count(Applies(lambda a, b: torch.linalg.inv(a) @ b), torch.randn(4, 4), torch.randn(4, 3))
    assert cost.macs == 48
    assert len(cost.uncounted) == 1


# Operators that take functions -----------------------------------------------------------------------------


def nearer(score: torch.Tensor, _: Any, __: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return score - (query - key).abs()


def flexible(**how: Any) -> Callable[[], nn.Module]:
    return lambda: Applies(lambda q, k, v: flex_attention(q, k, v, **how))


def masked_flexible(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
    mask = create_block_mask(causal, None, None, 128, 128, device=q.device)
    return flex_attention(q, k, v, block_mask=mask)


def causal(_: Any, __: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return query >= key


FLEXIBLE: Cases = {
    "plain": Case(flexible(), [(1, 2, 128, 16)] * 3, 1_048_576),
    "of values of another size": Case(
        flexible(), [(1, 2, 128, 16), (1, 2, 128, 16), (1, 2, 128, 32)], 2 * 128**2 * (16 + 32)
    ),
    "of other lengths": Case(
        flexible(), [(1, 2, 128, 16), (1, 2, 256, 16), (1, 2, 256, 16)], 2 * 128 * 256 * 32
    ),
    "with changed scores": Case(flexible(score_mod=nearer), [(1, 2, 128, 16)] * 3, 1_048_576),
    "of grouped queries": Case(
        flexible(enable_gqa=True), [(1, 4, 128, 16), (1, 2, 128, 16), (1, 2, 128, 16)], 2 * 1_048_576
    ),
    "masked, the full square": Case(applies(masked_flexible), [(1, 2, 128, 16)] * 3, 1_048_576),
}


@named(FLEXIBLE)
def test_flexible_attention_counts_its_two_full_squares(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)


class Chooses(nn.Module):
    """Two layers, of which the values choose one."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.Linear(8, width), nn.Linear(width, 8)) for width in widths
        )

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cond(x.sum() > 0, self.first, self.second, (x,))


class Repeats(nn.Module):
    """A layer that is applied three times, as a value says."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> Any:
        zero = torch.zeros((), dtype=torch.int64, device=x.device)
        state = (zero, x * self.scale)
        return while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, self.layer(x)), state)[1]


class Scans(nn.Module):
    """A layer that takes a state through five steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, state: torch.Tensor, xs: torch.Tensor) -> Any:
        def step(state: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            state = self.layer(state) + x
            return state, state.sum(0)

        return scan(step, state * self.scale, xs)


class Maps(nn.Module):
    """A layer that is applied to each of a stack of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, xs: torch.Tensor) -> Any:
        return map_over(self.layer, xs * self.scale)


def products_so_far(matrices: torch.Tensor) -> Any:
    return associative_scan(torch.matmul, matrices, 0, combine_mode="generic")


# Of the dearer branch, the first layer's input needs no gradient.
BRANCH = 2 * 8 * 32
HIGHER: Cases = {
    "cond, the first is dearer and chosen": Case(
        lambda: Chooses(32, 4), [torch.ones(2, 8)], 2 * BRANCH, (2 + 3) * BRANCH
    ),
    "cond, the first is dearer": Case(
        lambda: Chooses(32, 4), [-torch.ones(2, 8)], 2 * BRANCH, (2 + 3) * BRANCH
    ),
    "cond, the second is dearer": Case(
        lambda: Chooses(4, 32), [torch.ones(2, 8)], 2 * BRANCH, (2 + 3) * BRANCH
    ),
    "while_loop": Case(Repeats, [(2, 8)], 3 * 2 * 8 * 8, 3 * 3 * 2 * 8 * 8),
    "scan": Case(Scans, [(3, 4), (5, 3, 4)], 5 * 3 * 4 * 4, 3 * 5 * 3 * 4 * 4),
    "map": Case(Maps, [(5, 3, 4)], 5 * 3 * 4 * 6, 3 * 5 * 3 * 4 * 6),
    # However it pairs them, three are combined twice.
    "associative_scan": Case(applies(products_so_far), [(3, 4, 4)], 2 * 64),
    "associative_scan of learned ones": Case(
        lambda: Learns(products_so_far, torch.randn(3, 4, 4)), [], 2 * 64, 3 * 2 * 64
    ),
    # Of eight it combines pairs, and pairs of those, and these: 4 + 2 + 1; then what is between: 1 + 3.
    "associative_scan of eight": Case(applies(products_so_far), [(8, 4, 4)], 11 * 64),
}


@named(HIGHER)
def test_operators_that_take_functions_count_each_step_of_them(case: Case, mode: Mode, on_cpu: bool) -> None:
    check(case, mode, on_cpu=on_cpu)

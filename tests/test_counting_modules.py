"""A module is counted as it is, from any thread, and is afterwards what it was."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import nn
from torch.distributions import Normal
from torch.nn.utils import prune

from scaleprof.counting import count, trace
from scaleprof.counting.counter import Call, _trace_on, trace_call
from scaleprof.errors import CountingError

functional: Any = F
X = torch.randn(3, 5)
LINEAR_MACS = 3 * 5 * 4


def with_old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(nn.Linear(5, 4))


def pruned() -> nn.Module:
    return prune.l1_unstructured(nn.Linear(5, 4), "weight", 0.5)  # type: ignore[no-any-return]


def locked() -> nn.Module:
    network: Any = nn.Linear(5, 4)
    network.lock = threading.Lock()
    return network  # type: ignore[no-any-return]


class Table:
    """An object that is not a module, with a tensor and a list that grows."""

    def __init__(self) -> None:
        self.offsets = torch.randn(3, 5)
        self.seen: list[torch.Tensor] = []


class Remembers(nn.Module):
    """It keeps tensors outside its tables, and changes what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.table = nn.Linear(5, 4), Table()
        self.cached, self.seen = torch.randn(3, 5), [torch.zeros(1)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.table.seen.append(x)
        self.seen.append(x)
        self.last = self.linear(x + self.cached + self.table.offsets + self.seen[0])
        return self.last  # type: ignore[no-any-return]


class DependsOnValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x if x.sum().item() > 0 else -x))  # type: ignore[no-any-return]


class Hooks(nn.Module):
    """It has attributes that are named like torch's tables, and adds a hook whenever it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.my_hooks, self._no_hooks = nn.Linear(5, 4), [1, 2], None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.linear.register_forward_hook(lambda *_: None)
        self.my_hooks.append(3)
        return self.linear(x)  # type: ignore[no-any-return]


MODULES: dict[str, Callable[[], nn.Module]] = {
    "weight norm as a hook": with_old_weight_norm,
    "weight norm as a parametrisation": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)),
    "pruned": pruned,
    "lock": locked,
    "tensors of its own": Remembers,
    "hooks of its own": Hooks,
    "lazy": lambda: nn.LazyLinear(4),
    "values": DependsOnValues,
    "frozen": lambda: nn.Linear(5, 4).requires_grad_(False),
    "half in training": lambda: nn.Sequential(nn.Linear(5, 4).eval(), nn.Dropout()),
    "shared": lambda: nn.Sequential(*[nn.Identity()] * 2, nn.Linear(5, 4)),
}


def state_of(module: nn.Module) -> list[tuple[Any, ...]]:
    """Each part's class and everything it holds, by identity; and the values of its tensors."""
    return [
        (
            type(part),
            {name: id(value) for name, value in vars(part).items()},
            {
                name: [(key, id(one)) for key, one in value.items()]
                for name, value in vars(part).items()
                if isinstance(value, dict)
            },
            [
                (id(tensor), tensor.device, tensor.grad, tensor._version)
                for tensor in (*part._parameters.values(), *part._buffers.values())
                if tensor is not None
            ],
        )
        for part in module.modules()
    ]


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("name", MODULES)
def test_any_module_is_counted_and_is_afterwards_what_it_was(name: str, mode: Any) -> None:
    network = MODULES[name]()
    before = state_of(network)
    if name == "frozen" and mode == "train":
        with pytest.raises(CountingError, match="nothing to train"):
            count(network, X, mode=mode)
    else:
        assert count(network, X, mode=mode).macs == (2 if mode == "train" else 1) * LINEAR_MACS
    assert state_of(network) == before


def test_objects_that_a_module_holds_are_afterwards_what_they_were() -> None:
    network = Remembers()
    seen, offsets = network.table.seen, network.table.offsets
    for device in ("meta", "cpu"):
        _trace_on(device, network, Call((X,), {}), "infer")
    assert network.table.seen is seen
    assert (seen, len(network.seen)) == ([], 1)
    assert network.table.offsets is offsets
    assert not hasattr(network, "last")


def test_a_lazy_module_has_the_parameters_that_it_would_get_and_stays_lazy() -> None:
    network = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    cost = count(network, X)
    assert (cost.macs, cost.params, cost.activations) == (LINEAR_MACS, 5 * 4 + 4 + 2 * 4, 12)
    assert "init" not in " ".join(one.operator for one in cost.operators)
    network(X)  # its hooks are still there, and make it what it is to be
    assert type(network[0]) is nn.Linear
    assert count(network, X).params == cost.params


def test_a_count_that_fails_leaves_the_module_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(5, 4), nn.Linear(5, 4)).train()
    before = state_of(network)
    with pytest.raises(CountingError, match="mat1 and mat2"):
        count(network, X)
    assert state_of(network) == before


def test_a_tensor_that_cannot_lose_its_values_costs_the_user_no_hook() -> None:
    class Stubborn(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.to:
                raise NotImplementedError("it stays where it is")
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]

    network: Any = nn.Linear(5, 4)
    network.register_forward_hook(lambda *_: None)
    network.table = torch.randn(3).as_subclass(Stubborn)
    before = state_of(network)
    with pytest.raises(CountingError, match="it stays where it is"):
        count(network, X)
    assert state_of(network) == before


def test_the_users_hooks_do_not_run_and_those_of_the_network_do() -> None:
    class Doubles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 4)
            self.first.register_forward_hook(self.project)
            self.second.register_forward_pre_hook(lambda module, inputs: (module.weight @ inputs[0].T,))

        def project(self, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            return output @ output.T @ output

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x)).T  # type: ignore[no-any-return]

    ran: list[str] = []
    network, inner = nn.Sequential(Doubles()), Doubles()
    network[0] = inner
    network.register_forward_hook(lambda *_: ran.append("forward"))
    inner.register_forward_pre_hook(lambda *_: ran.append("pre"))
    network.register_full_backward_hook(lambda *_: ran.append("backward"))
    inner.first.weight.register_hook(lambda _: ran.append("tensor"))
    everybody = nn.modules.module.register_module_forward_hook(lambda *_: ran.append("everybody"))
    square = torch.randn(4, 5)
    products = 4 * 5 * 4 + 2 * 4 * 4 * 4 + 4 * 4 * 4 + 4 * 4 * 4
    try:
        assert count(network, square).macs == products
        count(network, square, mode="train")
        assert ran == []
        network(square)
        assert set(ran) == {"forward", "pre", "everybody"}
    finally:
        everybody.remove()


def test_random_states_and_switches_are_afterwards_what_they_were() -> None:
    network = nn.Sequential(DependsOnValues(), nn.Dropout())

    def state() -> tuple[Any, ...]:
        return (
            torch.random.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # type: ignore[index]
            torch.backends.mha.get_fastpath_enabled(),
            torch.is_grad_enabled(),
            F.scaled_dot_product_attention,
            functional._verify_batch_size,
            torch.backends.cuda.flash_sdp_enabled(),
        )

    before = state()
    count(network, X, mode="train")
    after = state()
    assert before == after


def test_inputs_are_not_written_to() -> None:
    class Rectifies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depends = DependsOnValues()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.depends(x.relu_())  # type: ignore[no-any-return]

    x = -torch.ones(3, 5)
    assert count(Rectifies(), x).counted_on == "cpu"
    assert torch.equal(x, -torch.ones(3, 5))


@dataclasses.dataclass
class Scores:
    scores: torch.Tensor
    more: dict[str, torch.Tensor]


class Answers(nn.Module):
    """It takes whatever it is called with, and returns what `kind` says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(5, 4), kind

    def forward(self, inputs: Any, mask: torch.Tensor | None = None, times: int = 1) -> object:
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        scores = self.linear(x) * times
        if mask is not None:
            scores = scores * mask
        if self.kind == "dataclass":
            return Scores(scores, {"twice": 2 * scores})
        if self.kind == "distribution":
            return Normal(scores, 1.0, validate_args=False)
        return scores


@pytest.mark.parametrize("kind", ["tensor", "dataclass", "distribution"])
def test_whatever_a_network_takes_and_returns_it_is_counted_and_trained(kind: str) -> None:
    network = Answers(kind)
    for args, keywords in (
        ((X,), {}),
        (({"x": X}, None, 3), {}),
        ((X,), {"mask": torch.ones(3, 4), "times": 2}),
        ((), {"inputs": {"x": X}, "mask": None}),
    ):
        assert count(network, *args, **keywords).macs == LINEAR_MACS
        assert count(network, *args, mode="train", **keywords).macs == 2 * LINEAR_MACS


def test_a_keyword_of_a_network_may_have_any_name_in_a_call() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 4)

        def forward(self, module: torch.Tensor, mode: str, spend: int) -> torch.Tensor:
            assert (mode, spend) == ("b", 1)
            return self.linear(module)  # type: ignore[no-any-return]

    assert trace_call(Odd(), Call((), {"module": X, "mode": "b", "spend": 1})).cost.macs == LINEAR_MACS
    assert count(Odd(), X, "b", 1).macs == LINEAR_MACS


def test_sparse_gradients_are_counted() -> None:
    network = nn.Sequential(nn.Embedding(10, 5, sparse=True), nn.Linear(5, 4))
    cost = count(network, torch.tensor([1, 2, 2]), mode="train")
    assert (cost.macs, cost.uncounted) == (3 * LINEAR_MACS, ())
    cost = _trace_on("cpu", network, Call((torch.tensor([1, 2, 2]),), {}), "train").cost
    assert (cost.macs, cost.uncounted) == (3 * LINEAR_MACS, ())


def test_jagged_inputs_are_refused_in_one_line_with_the_way_out() -> None:
    jagged = torch.nested.nested_tensor([torch.randn(2, 5), torch.randn(3, 5)], layout=torch.jagged)
    with pytest.raises(CountingError, match=r"Linear cannot be counted on nested .*: pad them"):
        count(nn.Linear(5, 4), jagged)


@pytest.mark.parametrize("where", ["weights", "inputs"])
def test_where_only_real_weights_can_be_counted_the_message_says_so(where: str) -> None:
    if where == "weights":
        with torch.device("meta"):
            network = DependsOnValues()
        x = torch.ones(3, 5)
    else:
        network, x = DependsOnValues(), torch.ones(3, 5, device="meta")
    with pytest.raises(CountingError, match="only real weights and inputs can be counted"):
        count(network, x)


def test_threads_count_at_the_same_time_and_leave_torch_as_it_was() -> None:
    attention, verify = F.scaled_dot_product_attention, functional._verify_batch_size
    fastpath = torch.backends.mha.get_fastpath_enabled()
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    text = torch.randn(1, 5, 16)
    wanted = count(layer, text)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(count(layer, text))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 8
    assert F.scaled_dot_product_attention is attention
    assert functional._verify_batch_size is verify
    assert torch.backends.mha.get_fastpath_enabled() is fastpath


def test_what_another_thread_computes_meanwhile_is_not_counted() -> None:
    inside, done = threading.Event(), threading.Event()
    refused: list[str] = []

    class Waits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.set()
            assert done.wait(60)
            return F.scaled_dot_product_attention(x, x, x)

    def other() -> None:
        assert inside.wait(60)
        x = torch.randn(1, 2, 3, 4)
        F.scaled_dot_product_attention(x, x, x)
        try:
            F.batch_norm(torch.randn(1, 3), torch.zeros(3), torch.ones(3), training=True)
        except ValueError as error:
            refused.append(str(error))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    (attention,) = (one for one in count(Waits(), torch.randn(1, 1, 5, 8)).operators if one.macs)
    thread.join()
    assert (attention.calls, attention.macs) == (1, 2 * 25 * 8)
    assert len(refused) == 1  # torch's own check still holds there


class SharedByThree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(100, 100, bias=False)
        self.a, self.b, self.c = (nn.Sequential(shared) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x)))  # type: ignore[no-any-return]


def test_a_shared_module_is_shown_under_each_of_its_parents() -> None:
    whole, *parts = trace(SharedByThree(), torch.randn(1, 100)).modules(2)
    assert (whole.macs, whole.params) == (30_000, 10_000)
    assert [part.path for part in parts] == ["a", "a.0", "b", "b.0", "c", "c.0"]
    shown = {part.path: (part.macs, part.params, part.shared) for part in parts}
    for parent in "abc":
        assert shown[parent] == (10_000, 10_000, False)
        assert shown[f"{parent}.0"] == (10_000, 10_000, True)


def test_a_module_that_one_parent_holds_twice_is_shown_at_both_places() -> None:
    linear = nn.Linear(8, 8, bias=False)
    parts = trace(nn.Sequential(linear, nn.ReLU(), linear), torch.randn(1, 8)).modules(1)
    assert {part.path: part.macs for part in parts} == {"": 128, "0": 64, "1": 0, "2": 64}


QUANTISED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int, int]] = {
    # How to make it, its input, MACs, parameters, bytes.
    "linear": (
        lambda: nn.Sequential(nn.Linear(64, 32)),
        (2, 64),
        2 * 64 * 32,
        64 * 32 + 32,
        64 * 32 + 4 * 32,
    ),
    "lstm": (
        lambda: nn.Sequential(nn.LSTM(8, 16)),
        (3, 1, 8),
        3 * 64 * 24,
        64 * 24 + 2 * 64,
        64 * 24 + 4 * 2 * 64,
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_module_has_the_parameters_that_it_packs(name: str) -> None:
    make, shape, macs, params, weight_bytes = QUANTISED[name]
    network = torch.ao.quantization.quantize_dynamic(make(), {nn.Linear, nn.LSTM}, dtype=torch.qint8)
    cost = count(network, torch.randn(shape))
    assert (cost.macs, cost.params, cost.uncounted) == (macs, params, ())
    assert weight_bytes <= cost.weight_bytes <= weight_bytes + 64


def test_the_dearer_branch_of_a_switch_counts_and_loops_as_often_as_they_run() -> None:
    class Loops(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start = torch.zeros((), dtype=torch.int64, device=x.device)
            body = lambda i, x: (i + 1, x @ x)  # noqa: E731 - as people write it
            return torch.while_loop(lambda i, _: i < 3, body, (start, x))[1]  # type: ignore[no-any-return]

    cost = count(Loops(), torch.randn(4, 4))
    assert (cost.macs, cost.counted_on, cost.uncounted, cost.assumptions) == (3 * 64, "cpu", (), ())
    cost = count(Loops(), torch.randn(4, 4, device="meta"))
    assert (cost.macs, cost.counted_on) == (64, "meta")
    assert [one.operator for one in cost.uncounted] == ["while_loop"]
    (assumption,) = cost.assumptions
    assert assumption.startswith("while_loop: its body runs once")

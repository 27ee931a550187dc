"""Training: a step and its parts, what it holds, and the dtypes that it runs in."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import torch
from builders import QUICK_FAMILIES, make_launch, make_log, make_record
from torch import nn

from scaleprof.counting import count_spec
from scaleprof.engines.local import open_worker
from scaleprof.measuring.messages import Built, Job, Visited
from scaleprof.measuring.passes import TrainingStep, forward_pass, mean_square, recording
from scaleprof.measuring.preparing import Preparer
from scaleprof.measuring.timing import Call
from scaleprof.models import FAMILIES
from scaleprof.records import DType, Launch, StepParts, Workload
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.rows import measured_row
from scaleprof.scaling.sweep import base_spec

TRAIN = Workload("cpu", batch_size=2, threads=1, mode="train")


class TickingTimer:
    """Takes 1 s for each call, and notes in which order the parts of a step ran."""

    def __init__(self) -> None:
        self.calls = 0

    def wall_s(self, call: Call) -> float:
        call()
        self.calls += 1
        return float(self.calls)

    def gpu_s(self, call: Call) -> float | None:
        return None

    def synchronise(self) -> None:
        pass


def family_job(name: str, workload: Workload = TRAIN) -> Job:
    return Job(0, base_spec(FAMILIES[name]), workload, name)


def small_step(
    workload: Workload = TRAIN, network: nn.Module | None = None
) -> tuple[nn.Module, TrainingStep]:
    torch.manual_seed(0)
    network = network or nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    forward = forward_pass(network, (torch.randn(2, 4),), workload)
    return network, TrainingStep(forward, network, workload)


@pytest.mark.parametrize("name", sorted(QUICK_FAMILIES))
def test_every_family_trains(name: str) -> None:
    with recording("train"):
        prepared = Preparer("cpu", 0).prepare(family_job(name))
        step = prepared.call()
        outputs = step()
    assert isinstance(step, TrainingStep)
    assert prepared.network.training
    assert isinstance(outputs, torch.Tensor)
    assert torch.isfinite(outputs).all()
    assert all(parameter.grad is None for parameter in prepared.network.parameters())


def test_a_step_leaves_the_weights_as_they_are_so_that_the_next_takes_as_long() -> None:
    network, step = small_step()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for _ in range(3):
        step()
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_step_keeps_the_optimizers_two_moments_of_every_parameter() -> None:
    network, step = small_step()
    step()
    state = step._optimizer.state
    kept = sum(moments["exp_avg"].numel() + moments["exp_avg_sq"].numel() for moments in state.values())
    assert kept == 2 * sum(parameter.numel() for parameter in network.parameters())


def test_the_parts_of_a_step_are_timed_in_their_order_a_quarter_as_often() -> None:
    _, step = small_step()
    parts = step.time_parts(TickingTimer(), 9)
    assert parts == StepParts((1.0, 4.0), (2.0, 5.0), (3.0, 6.0))


def test_the_loss_is_the_mean_square_of_all_outputs_that_depend_on_the_weights() -> None:
    weight = torch.tensor([1.0, 3.0], requires_grad=True)
    outputs = {"a": weight * 2, "ids": torch.tensor([5]), "b": (weight[:1],)}
    assert mean_square(outputs).item() == pytest.approx((4 + 36) / 2 + 1)


def test_a_network_with_nothing_to_train_says_so() -> None:
    frozen = nn.Linear(4, 3).requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="nothing to train"):
        small_step(network=frozen)
    with pytest.raises(ValueError, match="nothing to train"):
        mean_square(torch.ones(2))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_autocast_computes_in_its_dtype_and_leaves_weights_and_moments_in_fp32(dtype: DType) -> None:
    workload = msgspec.structs.replace(TRAIN, dtype=dtype, cast="autocast")
    network, step = small_step(workload)
    outputs = step()
    assert isinstance(outputs, torch.Tensor)
    assert outputs.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert step._scaler.is_enabled() == (dtype == "fp16")


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Job, Built, Visited]]:
    job = family_job("mobilenet_v2", Workload("cpu", batch_size=2, threads=1, mode="train"))
    with open_worker(device="cpu", threads=1, seed=0, timeout_s=300) as bench:
        yield job, bench.build(job), bench.visit(job)


def test_a_worker_times_whole_steps_and_their_parts(trained: tuple[Job, Built, Visited]) -> None:
    _, _, visited = trained
    parts = visited.parts
    assert parts is not None
    assert len(parts.forward_s) == len(parts.backward_s) == len(parts.optimizer_s) >= 1


def test_a_step_holds_weights_gradients_and_moments(trained: tuple[Job, Built, Visited]) -> None:
    job, built, _ = trained
    cost = count_spec(FAMILIES["mobilenet_v2"], job.spec, "train")
    least = cost.weight_bytes + cost.gradient_bytes + cost.optimizer_bytes
    assert cost.gradient_bytes + cost.optimizer_bytes == 3 * 4 * cost.params
    assert built.peak_memory_bytes is not None
    assert built.peak_memory_bytes > least


def test_rows_of_training_have_their_parts_with_intervals_and_others_a_reason() -> None:
    parts = StepParts((0.004,), (0.005,), (0.001,))

    def with_parts(number: int) -> Launch:
        launch = make_launch(launch=number)
        visits = tuple(msgspec.structs.replace(visit, parts=parts) for visit in launch.visits)
        return msgspec.structs.replace(launch, visits=visits)

    record = make_record(workload=TRAIN)
    stepped = msgspec.structs.replace(record, launches=tuple(map(with_parts, range(3))))
    log = make_log(stepped)
    row = measured_row(stepped, RunComparer(log))
    assert (row.mode, row.forward_ms, row.backward_ms, row.optimizer_ms) == ("train", 4.0, 5.0, 1.0)
    assert (row.forward_ci_low_ms, row.forward_ci_high_ms) == (4.0, 4.0)
    inferred = measured_row(make_record(), RunComparer(log))
    assert inferred.backward_ms is None
    assert inferred.nulls["backward_ms"] == "only training has these parts (--mode train)"

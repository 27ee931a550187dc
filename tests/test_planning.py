"""Plans: workloads, groups that fit in memory with their anchor, and what a sweep is expected to take."""

from __future__ import annotations

from typing import Any

import pytest

from scaleprof.app.choosing import choose
from scaleprof.app.fitting import Forecast, _pack
from scaleprof.app.planning import plan_sweep
from scaleprof.app.workloads import list_workloads
from scaleprof.errors import UsageError
from scaleprof.measuring import host
from scaleprof.measuring.presets import make_plan

GIB = 2**30


def forecasts(weights_gib: list[float]) -> dict[int, Forecast]:
    return {number: Forecast(0.1, int(weight * GIB), GIB // 8) for number, weight in enumerate(weights_gib)}


def test_models_that_fit_together_are_one_group() -> None:
    assert _pack(range(3), forecasts([1, 1, 1]), 10 * GIB) == [(0, 1, 2)]
    assert _pack([], {}, GIB) == []


def test_models_that_do_not_fit_together_share_the_smallest_as_their_anchor() -> None:
    groups = _pack(range(5), forecasts([3, 1, 3, 3, 3]), 10 * GIB)
    assert [group[0] for group in groups] == [1] * len(groups)
    assert sorted(number for group in groups for number in group[1:]) == [0, 2, 3, 4]
    assert len(groups) == 2


def test_a_group_holds_more_than_its_anchor_however_little_memory_there_is() -> None:
    groups = _pack(range(3), forecasts([1, 5, 5]), 2 * GIB)
    assert groups == [(0, 1), (0, 2)]


def test_every_combination_of_the_axes_is_a_workload_once() -> None:
    workloads = list_workloads(
        "cpu", batch_size=[1, 4, 1], threads=1, dtype=["fp32", "bf16"], memory_format="channels_last"
    )
    assert [(w.dtype, w.batch_size, w.memory_format) for w in workloads] == [
        ("fp32", 1, "channels_last"),
        ("fp32", 4, "channels_last"),
        ("bf16", 1, "channels_last"),
        ("bf16", 4, "channels_last"),
    ]


def test_more_threads_than_the_process_may_use_are_refused() -> None:
    with pytest.raises(UsageError, match="this process may use 1 to"):
        list_workloads("cpu", threads=[1, host.usable_cpus() + 1])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"dtype": "bf61"}, "--dtype 'bf61': did you mean 'bf16'? (fp32, bf16, fp16)"),
        ({"dtype": []}, "--dtype '' is not known (fp32, bf16, fp16)"),
        ({"memory_format": ["nhwc"]}, "--memory-format 'nhwc' is not known (contiguous, channels_last)"),
        ({"threads": []}, "--threads : this process may use 1 to"),
        ({"batch_size": 0}, "every batch has at least 1 image"),
    ],
)
def test_axes_that_cannot_be_are_refused_from_python_too(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        list_workloads("cpu", **axes)
    assert message in str(caught.value)


def test_models_with_other_threads_are_in_other_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaleprof.measuring.host.usable_cpus", lambda: 2)
    planned = plan_sweep(choose("resnet18", phi="0"), device="cpu", threads=[1, 2], dtype=["fp32", "bf16"])
    assert planned.groups == ((0, 1), (2, 3))
    assert [planned.jobs[number].workload.threads for group in planned.groups for number in group] == [
        *(1, 1, 2, 2)
    ]


def test_half_precision_halves_the_bytes_that_are_counted() -> None:
    planned = plan_sweep(choose("resnet18", phi="0"), device="cpu", threads=1, dtype=["fp32", "bf16"])
    full, half = (planned.counted[number].cost for number in (0, 1))
    assert full is not None
    assert half is not None
    assert half.weight_bytes == full.weight_bytes // 2
    assert (half.macs, half.params) == (full.macs, full.params)


def test_the_expected_time_has_the_presets_in_order() -> None:
    choice = choose("resnet18", phi="0..1")
    most = [
        plan_sweep(choice, device="cpu", threads=1, plan=make_plan(preset)).expected_s()[1]
        for preset in ("quick", "default", "rigorous")
    ]
    assert most == sorted(most)


def test_the_axes_of_runtime_mode_and_cast_are_workloads_and_fp32_is_there_once() -> None:
    workloads = list_workloads(
        "cpu",
        threads=1,
        mode="train",
        runtime=["eager", "compile"],
        dtype=["fp32", "bf16"],
        cast=["weights", "autocast"],
    )
    assert {w.mode for w in workloads} == {"train"}
    assert [(w.runtime, w.dtype, w.cast) for w in workloads] == [
        (runtime, *how)
        for runtime in ("eager", "compile")
        for how in (("fp32", "weights"), ("bf16", "weights"), ("bf16", "autocast"))
    ]


def test_training_counts_its_backward_pass_and_holds_gradients_and_moments() -> None:
    choice = choose("mobilenet_v1", "width", "0")
    inferred, trained = (
        plan_sweep(choice, device="cpu", threads=1, mode=mode) for mode in ("infer", "train")
    )
    costs = [planned.counted[0].cost for planned in (inferred, trained)]
    assert all(cost is not None for cost in costs)
    assert costs[1].macs > 2.5 * costs[0].macs  # type: ignore[union-attr]
    assert trained.forecasts[0].held_bytes == 3 * inferred.forecasts[0].held_bytes - (
        2 * (costs[0].weight_bytes - 4 * costs[0].params)  # type: ignore[union-attr]
    )


def test_fp16_weights_are_not_trained_and_the_row_says_what_to_do() -> None:
    choice = choose("mobilenet_v1", "width", "0")
    planned = plan_sweep(choice, device="cpu", threads=1, mode="train", dtype=["fp16", "bf16"])
    assert [(record.status, record.reason) for record in planned.unfit.values()] == [
        (
            "unsupported",
            "gradients vanish in fp16 weights: use --cast autocast, which scales the loss, or bf16",
        )
    ]
    autocast = plan_sweep(choice, device="cpu", threads=1, mode="train", dtype="fp16", cast="autocast")
    assert not autocast.unfit


def test_compiling_is_foretold_and_no_part_of_the_time_budget() -> None:
    choice = choose("mobilenet_v1", "width", "0")
    plan = make_plan("quick", max_time_s=1.0)
    eager, compiled = (
        plan_sweep(choice, device="cpu", threads=1, runtime=runtime, plan=plan)
        for runtime in ("eager", "compile")
    )
    assert eager.expected_s()[1] == 1.0
    assert compiled.expected_s()[1] == 1.0 + compiled.compiling_s()
    assert compiled.compiling_s() > 10

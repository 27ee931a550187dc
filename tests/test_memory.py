"""Peak memory against networks whose peak is known: chains of tensors that are written and dropped."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaleprof.engines.local import LocalBench
from scaleprof.measuring import twin
from scaleprof.measuring.inspection import Subject, inspect_here
from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import BenchLostError, JobFailedError
from scaleprof.measuring.twin import Inspection
from scaleprof.models import find_models
from scaleprof.records import Workload
from scaleprof.scaling.sweep import base_spec

MIB = 2**20

# A pass makes tensors one after another: a step names what it makes, its MiB, and what it drops.
CHAIN = """
import torch
from torch import nn

MIB = 2**20


class Chain(nn.Module):
    def __init__(self, weight_mib, steps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(weight_mib * MIB // 4))
        self.steps = steps

    def forward(self, x):
        held = {}
        for made, size_mib, dropped in self.steps:
            held[made] = torch.ones(int(size_mib * MIB) // 4)
            for name in dropped:
                del held[name]
        return x * sum(tensor[0] for tensor in held.values()) + self.weight[0]


def build(scale):
    return Chain(WEIGHT, STEPS)


def example_inputs(scale, batch_size):
    return (torch.randn(batch_size, 16),)
"""

Steps = list[tuple[str, float, str]]
CHAINS: dict[str, tuple[int, Steps, float]] = {
    # weights in MiB, steps, and the most MiB that tensors of a pass hold at once
    "grows": (20, [("a", 40, ""), ("b", 60, ""), ("c", 50, "")], 150),
    "slides": (5, [("a", 40, ""), ("b", 40, "a"), ("c", 40, "b"), ("d", 40, "c")], 80),
    "small tensors": (1, [("a", 6, ""), ("b", 6, "a"), ("c", 6, "b"), ("d", 6, "")], 12),
    "a spike that lasts a millisecond": (5, [("a", 10, ""), ("s", 100, "s"), ("b", 10, "")], 110),
    "a small spike": (30, [("s", 4, "s"), ("a", 1, "")], 4),
    "large weights": (300, [("a", 8, "")], 8),
}


@pytest.fixture(scope="module")
def bench() -> Iterator[LocalBench]:
    """One worker for all tests that leave it running; each peak is taken in a process of its own."""
    made = LocalBench(device="cpu", threads=1, seed=0, timeout_s=120)
    yield made
    made.kill()
    made.close()


def chain_job(folder: Path, weight_mib: int, steps: Steps, number: int = 0) -> Job:
    file = folder / f"chain{number}.py"
    file.write_text(CHAIN + f"\nWEIGHT = {weight_mib}\nSTEPS = {steps!r}\n")
    return file_job(file, number)


def file_job(file: Path, number: int = 0) -> Job:
    (model,) = find_models((f"{file}:build",)).values()
    return Job(number, base_spec(model, "tf"), Workload("cpu", threads=1), model.locator)


def test_the_peak_of_every_chain_is_its_tensors_within_one_percent(bench: LocalBench, tmp_path: Path) -> None:
    for number, (name, (weight_mib, steps, held_mib)) in enumerate(CHAINS.items()):
        built = bench.build(chain_job(tmp_path, weight_mib, steps, number))
        known_bytes = (weight_mib + held_mib) * MIB
        assert built.peak_memory_bytes is not None, name
        assert abs(built.peak_memory_bytes - known_bytes) <= max(1e6, 0.01 * known_bytes), name
        assert built.baseline_memory_bytes
        assert built.input_bytes == 64


def test_the_peak_does_not_depend_on_the_models_before(bench: LocalBench, tmp_path: Path) -> None:
    weight_mib, steps, _ = CHAINS["slides"]
    small = chain_job(tmp_path, weight_mib, steps, 0)
    large = chain_job(tmp_path, 200, [("a", 300, "")], 1)
    first = bench.build(small).peak_memory_bytes
    bench.build(large)
    again = bench.build(small).peak_memory_bytes
    assert first is not None
    assert again is not None
    assert abs(first - again) <= 0.3e6


def test_memory_that_may_not_be_read_is_missing_with_the_kernels_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaleprof.measuring.memory._CLEAR_REFS", tmp_path / "no such folder" / "clear_refs")
    inspected = inspect_here(Subject(chain_job(tmp_path, 1, [("a", 1, "")])), 0)
    assert inspected.peaks_bytes == ()
    assert inspected.missing == (
        "the kernel does not let the memory high-water mark be reset (No such file or directory)"
    )


def test_a_child_that_is_killed_says_by_what() -> None:
    def out_of_memory() -> Inspection:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still there")

    assert twin._in_a_child(out_of_memory) == Inspection(killed_by="SIGKILL")


def test_a_model_that_kills_the_process_that_weighs_it_is_oom_and_the_worker_goes_on(
    bench: LocalBench, tmp_path: Path
) -> None:
    file = tmp_path / "greedy.py"
    file.write_text(
        textwrap.dedent("""
            import os, signal
            from torch import nn

            def build(scale):
                os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    job = Job(0, chain_job(tmp_path, 1, [("a", 1, "")]).spec, Workload("cpu", threads=1), f"{file}:build")
    with pytest.raises(JobFailedError) as caught:
        bench.build(job)
    assert not isinstance(caught.value, BenchLostError)
    assert caught.value.status == "oom"
    assert "SIGKILL" in caught.value.reason
    assert bench.build(chain_job(tmp_path, 1, [("a", 1, "")], 1)).cold_s > 0


def test_a_model_whose_code_breaks_the_process_is_killed_and_not_out_of_memory(
    bench: LocalBench, tmp_path: Path
) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import os, signal\n\ndef build(scale):\n    os.kill(os.getpid(), signal.SIGSEGV)\n")
    job = Job(0, chain_job(tmp_path, 1, [("a", 1, "")]).spec, Workload("cpu", threads=1), f"{file}:build")
    with pytest.raises(JobFailedError) as caught:
        bench.build(job)
    assert (caught.value.status, caught.value.reason) == (
        "killed",
        "the process that takes its peak memory was ended by SIGSEGV",
    )


def test_a_model_that_cannot_open_a_file_is_not_taken_for_a_kernel_that_refuses(tmp_path: Path) -> None:
    file = tmp_path / "absent.py"
    file.write_text("def build(scale):\n    open('/no such file')\n")
    job = Job(0, chain_job(tmp_path, 1, [("a", 1, "")]).spec, Workload("cpu", threads=1), f"{file}:build")
    missing = inspect_here(Subject(job), 0).missing
    assert missing is not None
    assert missing.startswith("the model failed in the process that takes its peak memory")


def test_killing_a_worker_ends_the_processes_that_it_started(tmp_path: Path) -> None:
    made = LocalBench(device="cpu", threads=1, seed=0, timeout_s=60)
    made.build(chain_job(tmp_path, 1, [("a", 1, "")]))
    assert len(processes_of_session(made.pid)) == 2
    made.kill()
    made.close()
    assert processes_of_session(made.pid) == []


def processes_of_session(leader: int) -> list[int]:
    """Living processes of the session that this process leads."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                _, _, rest = (entry / "stat").read_text().rpartition(") ")
            except OSError:
                continue
            state, _, _, session, *_ = rest.split()
            if int(session) == leader and state != "Z":
                found.append(int(entry.name))
    return found

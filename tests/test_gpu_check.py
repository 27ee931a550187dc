"""Each check of `benchmarks/gpu_check.py` without a GPU: what it sees is given to it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import torch
from builders import HOST, make_header, make_launch, make_record, make_spec

from scaleprof.measuring.cuda.energy import EnergyWindow
from scaleprof.measuring.rounds import BenchLostError
from scaleprof.records import GpuState, Record, Sustained
from scaleprof.store import RunWriter

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load_benchmark() -> ModuleType:
    """Its neighbours are on the path while it is loaded, and no longer: one has another project's name."""
    spec = importlib.util.spec_from_file_location("gpu_check", BENCHMARKS / "gpu_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


checks: Any = load_benchmark()


class Ran:
    """A runner of commands that says what it is told to, and notes what it was asked."""

    def __init__(
        self, code: int = 0, stdout: str = "", stderr: str = "", does: Callable[[], None] = lambda: None
    ) -> None:
        self._answer = (code, stdout, stderr)
        self._does = does
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
        self.commands.append(list(command))
        self._does()
        return subprocess.CompletedProcess(command, *self._answer)


def one_after_another(*values: float | None) -> Callable[[], float | None]:
    endless: Iterator[float | None] = cycle(values)
    return lambda: next(endless)


def test_the_cuda_tests_hold_if_some_passed_and_none_failed() -> None:
    ran = Ran(stdout="....\n15 passed, 600 deselected in 95.20s\n")
    assert checks.check_tests(ran) == ("15 passed", True)
    assert ran.commands == [[sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests"]]


@pytest.mark.parametrize(
    ("code", "stdout", "text"),
    [
        (1, "FAILED tests/x.py\n2 failed, 13 passed, 600 deselected in 95s", "2 failed, 13 passed"),
        (0, "17 skipped, 600 deselected in 3s", "17 skipped"),
        (2, "ERROR tests/test_x.py\n1 error in 3s", "1 error"),
        (4, "", "it said nothing"),
    ],
)
def test_the_cuda_tests_do_not_hold_if_any_failed_or_none_ran(code: int, stdout: str, text: str) -> None:
    assert checks.check_tests(Ran(code, stdout)) == (text, False)


def record_with_everything() -> Record:
    launch = make_launch()
    visit = msgspec.structs.replace(
        launch.visits[0], gpu_samples_s=(0.001,), graph_samples_s=(0.001,), gpu=GpuState(clock_mhz=1500.0)
    )
    sustained = Sustained(1, (1.0,), energy_j=2.0)
    whole = msgspec.structs.replace(launch, visits=(visit,), sustained=sustained)
    return msgspec.structs.replace(make_record(), launches=(whole,))


def written(path: Path, *records: Record) -> None:
    with RunWriter.create(path, make_header()) as writer:
        writer.append(records)


def test_a_sweep_holds_if_every_model_was_measured_and_tells_what_was_seen_of_each(tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "gpu_check.jsonl"
    bare = make_record(make_spec(phi=2, channels=40))
    ran = Ran(3, stderr="1 of 2 unstable", does=lambda: written(path, record_with_everything(), bare))
    seen = checks.check_sweep(ran, path)
    assert seen == ("2 of 2; 1 with device time, 1 with graph time, 1 with state, 1 with energy", True)
    (command,) = ran.commands
    assert command[1:6] == ["-m", "scaleprof", "sweep", "--phi", "0..7"]
    assert command[-2:] == ["-o", str(path)]


def test_a_sweep_with_a_model_that_failed_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "gpu_check.jsonl"
    failed = make_record(status="oom", reason="CUDA out of memory")
    text, holds = checks.check_sweep(Ran(3, does=lambda: written(path, failed)), path)
    assert text.startswith("0 of 1;")
    assert not holds


def test_a_sweep_that_does_not_start_is_no_verdict_on_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "gpu_check.jsonl"
    written(path, record_with_everything())
    with pytest.raises(checks.CouldNotRunError, match=r"^the measuring worker did not start$"):
        checks.check_sweep(Ran(3, stderr="counting\nthe measuring worker did not start\n"), path)


@pytest.mark.parametrize(
    ("values_s", "text", "holds"),
    [
        ([0.010, 0.010, 0.010], "0.00% of 10.000 ms", True),
        ([0.01000, 0.01002, 0.01004], "0.20% of 10.020 ms", True),
        ([0.0100, 0.0101, 0.0102], "0.99% of 10.100 ms", False),
    ],
)
def test_a_number_repeats_if_its_variation_over_launches_is_small(
    values_s: list[float], text: str, holds: bool
) -> None:
    assert checks.check_repeatability(values_s) == (text, holds)


def test_a_number_that_some_launch_lacks_is_not_judged() -> None:
    with pytest.raises(checks.CouldNotRunError, match="2 of 3 launches have one"):
        checks.check_repeatability([0.01, None, 0.01])


def test_two_ways_to_time_a_call_agree_by_the_median_of_their_ratios() -> None:
    ours, theirs = one_after_another(1.005, 1.005, 9.0), one_after_another(1.0)
    assert checks.check_agreement(ours, theirs, within=0.01, turns=3) == (
        "+0.50% (1005.0000 and 1000.0000 ms)",
        True,
    )
    seen = checks.check_agreement(one_after_another(0.98), one_after_another(1.0), within=0.01)
    assert (seen.text[:6], seen.holds) == ("-2.00%", False)


def test_two_ways_are_taken_in_turns() -> None:
    order: list[str] = []

    def noted(name: str) -> Callable[[], float]:
        def sample() -> float:
            order.append(name)
            return 1.0

        return sample

    checks.check_agreement(noted("ours"), noted("theirs"), within=0.01, turns=2)
    assert order == ["ours", "theirs", "ours", "theirs"]


def test_samples_that_could_not_be_verified_are_left_out_and_none_is_no_number() -> None:
    assert checks.median_of_verified(one_after_another(None, 1.0, 3.0), samples=3) == 2.0
    with pytest.raises(checks.CouldNotRunError, match="the queue ran dry each time"):
        checks.median_of_verified(one_after_another(None))


def test_the_clock_holds_within_five_percent_of_the_drivers_after_work() -> None:
    worked: list[str] = []
    state = GpuState(clock_mhz=1700.0, reported_clock_mhz=1755)
    seen = checks.check_clock(lambda: worked.append("busy"), lambda: state)
    assert seen.text.startswith("-3.1% (1700 / 1755, ")
    assert seen.holds
    assert len(worked) == checks.TURNS
    slow = GpuState(clock_mhz=1600.0, reported_clock_mhz=1755)
    assert not checks.check_clock(lambda: None, lambda: slow).holds


def test_a_clock_that_the_driver_does_not_tell_is_not_judged() -> None:
    with pytest.raises(checks.CouldNotRunError, match="not told"):
        checks.check_clock(lambda: None, lambda: GpuState(clock_mhz=1700.0))


@pytest.mark.parametrize(("twice_j", "text", "holds"), [(4.03, "2.015", True), (4.05, "2.025", False)])
def test_energy_holds_if_twice_the_work_takes_twice_the_joules(
    twice_j: float, text: str, holds: bool
) -> None:
    asked: list[int] = []

    def measure(times: int) -> EnergyWindow:
        asked.append(times)
        return EnergyWindow(100 * (2.0 if times == 1 else twice_j), 100, 5.0, 50)

    seen = checks.check_energy(measure)
    assert (seen.text[:5], seen.holds) == (text, holds)
    assert asked == [1, 2, 2, 1]


def test_energy_without_a_counter_is_not_judged_and_the_reason_is_the_counters() -> None:
    with pytest.raises(checks.CouldNotRunError, match="this GPU has no energy counter"):
        checks.check_energy(lambda _times: "this GPU has no energy counter")


def raising(error: Exception) -> Callable[[], object]:
    def check() -> object:
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (checks.CouldNotRunError("no graph | none"), "no graph / none"),
        (ModuleNotFoundError("No module named 'triton'"), "ModuleNotFoundError: No module named 'triton'"),
        (RuntimeError("CUDA error\nmore of it"), "RuntimeError: CUDA error"),
        (subprocess.TimeoutExpired("pytest", 200.0), "not finished after 200 s"),
    ],
)
def test_a_check_that_could_not_be_run_is_a_row_with_its_reason(error: Exception, reason: str) -> None:
    row = checks.attempt("energy", "2 ± 1%", raising(error))
    assert row.holds is None
    assert row.cells() == ["energy", "2 ± 1%", reason, "could not be run"]


def test_without_a_gpu_it_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.main([], has_gpu=lambda: False) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1


GOOD = checks.Row("clock", "within 5%", "+0.1%", True)
BAD = checks.Row("energy E(2N)/E(N)", "2 ± 1%", "2.300", False)
MISSING = checks.Row("graph", "within 1%", "no triton", None)


@pytest.mark.parametrize(
    ("rows", "code"), [([GOOD], 0), ([GOOD, BAD], 1), ([GOOD, MISSING], 1)], ids=["all", "one", "unknown"]
)
def test_it_succeeds_if_all_holds(rows: list[Any], code: int) -> None:
    assert checks.main([], has_gpu=lambda: True, describe=lambda: "A GPU.", check_all=lambda: rows) == code


def test_the_table_names_the_machine_and_is_written_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    written_down: dict[str, str] = {}
    checks.main(
        ["--write"],
        has_gpu=lambda: True,
        describe=lambda: "A GPU.",
        check_all=lambda: [GOOD, BAD, MISSING],
        write=written_down.__setitem__,
    )
    text = written_down["gpu"]
    assert capsys.readouterr().out == f"{text}\n"
    assert text.splitlines() == [
        "A GPU.",
        "",
        "| check | wanted | seen | holds |",
        "| :-- | --: | --: | --: |",
        "| clock | within 5% | +0.1% | yes |",
        "| energy E(2N)/E(N) | 2 ± 1% | 2.300 | **no** |",
        "| graph | within 1% | no triton | could not be run |",
        "",
        "1 of 3 hold.",
    ]


def test_a_gpu_is_described_by_name_memory_and_software() -> None:
    facts = msgspec.structs.replace(
        HOST,
        gpu_name="NVIDIA H100",
        gpu_memory_bytes=80 * 2**30,
        gpu_driver="580.1",
        cuda="13.0",
        cudnn="91900",
    )
    assert checks.describe_gpu(facts) == "NVIDIA H100, 80 GiB, driver 580.1, CUDA 13.0, cuDNN 91900."
    assert checks.describe_gpu(HOST) == "GPU, driver not told, CUDA not told, cuDNN not told."


@pytest.mark.skipif(torch.cuda.is_available(), reason="what needs a GPU would run")
def test_each_check_goes_on_when_the_others_cannot_be_run(tmp_path: Path) -> None:
    no_gpu = "--device cuda: torch sees no NVIDIA GPU"
    rows = checks.all_rows(
        run=Ran(2, stderr=no_gpu),
        launch=raising(BenchLostError("killed", "the worker was ended by SIGKILL")),
        run_file=tmp_path / "gpu_check.jsonl",
    )
    assert [row.holds for row in rows] == [False, *[None] * 7]
    assert [row.seen for row in rows[:4]] == [
        "it said nothing",
        *["BenchLostError: the worker was ended by SIGKILL"] * 2,
        no_gpu,
    ]

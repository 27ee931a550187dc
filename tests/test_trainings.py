"""Trials in worker processes: several at once, lost ones named, and nothing left behind or to do again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import torch
from builders import make_spec
from conftest import clean_environment

from scaleprof.engines.trainings import Progress, drop_checkpoint, run_trials
from scaleprof.errors import UsageError
from scaleprof.models import find_model
from scaleprof.records import ModelSpec
from scaleprof.records.searches import Trial
from scaleprof.search.data import open_images
from scaleprof.search.devices import training_slots
from scaleprof.search.heads import fit_head
from scaleprof.search.messages import Scoring, Slot, Training, TrialRequest
from scaleprof.search.recipes import make_recipe
from scaleprof.search.training import seed_everything, train

PX = 8
NETWORK = """
from torch import nn

def build(scale):
    width = scale.channels(8)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, 20)
    )

build.input_size = 8
"""
FUNCTIONS = """
import os, signal, time
from pathlib import Path

HERE = Path(__file__).parent

def growth(model, spec):
    return spec.depth * spec.width**2 * spec.resolution**2, 0.5

def refuses(model, spec):
    raise ValueError("not this one")

def dies(model, spec):
    os.kill(os.getpid(), signal.SIGKILL)

def needs_all_memory(model, spec):
    raise MemoryError

def hangs(model, spec):
    (HERE / "pid").write_text(str(os.getpid()))
    time.sleep(1000)

def meets(model, spec):
    (HERE / f"here-{spec.depth:g}").touch()
    for _ in range(6000):
        if len(list(HERE.glob("here-*"))) == 2:
            return 1.0
        time.sleep(0.01)
    raise TimeoutError("nobody came")
"""
CPU = Slot("cpu")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return tmp_path


def own_spec(depth: float = 1.0) -> ModelSpec:
    return make_spec(model="nets:build", depth=depth, input_size=PX, shape=None)


def scoring(home: Path, function: str, *, candidate: int = 0, depth: float = 1.0) -> TrialRequest:
    work = Scoring(f"{home}/mine.py:{function}")
    return TrialRequest(candidate, 1.0, 7, own_spec(depth), f"{home}/nets.py:build", work, macs=99)


def training(home: Path, *, epochs: int = 2, seed: int = 0) -> TrialRequest:
    facts = open_images("digits", root=home, base_input_size=PX).facts
    work = Training(make_recipe(facts, epochs=epochs), facts, "digits", str(home))
    checkpoint = str(home / "kept" / f"{seed}.pt")
    return TrialRequest(0, 1.0, seed, own_spec(), f"{home}/nets.py:build", work, checkpoint)


def run(
    requests: Sequence[TrialRequest], slots: Sequence[Slot] = (CPU,), *, timeout_s: float | None = None
) -> list[Trial]:
    with closing(run_trials(requests, slots=slots, timeout_s=timeout_s)) as trials:
        return list(trials)


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait for something that another process does soon; fail if it does not."""
    for _ in range(6000):
        if happened():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen")


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that its parent has not asked about yet has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def train_here(request: TrialRequest) -> tuple[float, ...]:
    """The scores of a training without a worker."""
    assert isinstance(request.work, Training)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seed_everything(request.seed)
        network = find_model(request.locator).build(request.spec)
        fit_head(network, torch.zeros(2, 3, PX, PX), 10)
        images = open_images("digits", root=Path("nowhere"), base_input_size=PX).at(PX)
        return train(network, images, request.work.recipe, seed=request.seed).curve
    finally:
        torch.set_num_threads(threads)


def test_a_worker_trains_as_it_is_trained_here_and_tells_of_each_epoch(home: Path) -> None:
    request = training(home)
    told: list[Progress] = []
    with closing(run_trials([request], slots=[CPU], observe=told.append)) as trials:
        (trial,) = trials
    expected = train_here(request)
    assert (trial.status, trial.curve, trial.score, trial.epochs) == ("ok", expected, expected[-1], 2)
    assert [(one.epochs, one.score) for one in told] == [(0, None), (1, expected[0]), (2, expected[1])]
    assert request.checkpoint is not None
    assert Path(request.checkpoint).exists()
    Path(f"{request.checkpoint}.part").touch()  # as a kill in the middle of writing leaves it
    drop_checkpoint(request)
    drop_checkpoint(request)
    assert list(Path(request.checkpoint).parent.iterdir()) == []


def test_a_trial_without_a_score_says_why_and_the_others_go_on(home: Path) -> None:
    functions = ["growth", "refuses", "dies", "growth", "needs_all_memory"]
    trials = run([scoring(home, name, candidate=number) for number, name in enumerate(functions)])
    assert [trial.candidate for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.status for trial in trials] == ["ok", "failed", "killed", "ok", "oom"]
    assert [trial.reason for trial in trials if trial.status == "ok"] == [None, None]
    assert "raised ValueError for nets:build/compound/1: not this one (mine.py:" in str(trials[1].reason)
    assert "ended by SIGKILL; the system may have run out of memory" in str(trials[2].reason)
    assert {trial.macs for trial in trials} == {99}
    expected = own_spec().requested_growth
    assert [(trials[n].score, trials[n].error, trials[n].seed) for n in (0, 3)] == [(expected, 0.5, 7)] * 2


def test_two_slots_run_two_trials_at_once(home: Path) -> None:
    requests = [scoring(home, "meets", candidate=number, depth=1.0 + number) for number in range(2)]
    trials = run(requests, [CPU, CPU])
    assert sorted((trial.candidate, trial.score) for trial in trials) == [(0, 1.0), (1, 1.0)]


def test_a_trial_beyond_its_time_is_stopped(home: Path) -> None:
    (trial,) = run([scoring(home, "hangs")], timeout_s=1.0)
    assert trial.status == "timeout"
    assert "no result within 1 s (--timeout)" in str(trial.reason)


def test_closing_the_iterator_ends_the_workers(home: Path) -> None:
    requests = [scoring(home, "growth"), scoring(home, "hangs")]
    with closing(run_trials(requests, slots=[CPU])) as trials:
        assert next(trials).status == "ok"
        wait_for((home / "pid").exists)
        wait_for(lambda: (home / "pid").read_text() != "")
        assert not is_gone(int((home / "pid").read_text()))
    assert is_gone(int((home / "pid").read_text()))


RUNS_TRIALS = """
import sys
import msgspec
from scaleprof.engines.trainings import run_trials
from scaleprof.search.messages import Slot, TrialRequest

request = msgspec.json.decode(sys.argv[1], type=TrialRequest)
told = lambda progress: print(progress.epochs, flush=True)
for trial in run_trials([request], slots=[Slot("cpu")], observe=told):
    print("finished", flush=True)
"""


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_nothing_is_left_running_and_the_training_goes_on(
    home: Path, ended_by: signal.Signals
) -> None:
    request = training(home, epochs=30)
    process = subprocess.Popen(
        [sys.executable, "-c", RUNS_TRIALS, msgspec.json.encode(request).decode()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    with process:
        assert [process.stdout.readline().strip() for _ in range(3)] == ["0", "1", "2"]
        (worker,) = children(process.pid)
        process.send_signal(ended_by)
    wait_for(lambda: is_gone(worker))
    told: list[Progress] = []
    with closing(run_trials([request], slots=[CPU], observe=told.append)) as trials:
        (trial,) = trials
    assert told[0].epochs >= 2
    assert trial.curve == train_here(request)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_on_the_cpu_trials_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert len(training_slots("cpu")) <= cores
    assert set(training_slots("cpu")) == {CPU}
    assert training_slots("cpu", jobs=3, threads=2) == (Slot("cpu", 2),) * 3
    assert training_slots("cpu", jobs=1)[0].threads >= 1
    with pytest.raises(UsageError, match="--jobs 0 must be at least 1"):
        training_slots("cpu", jobs=0)

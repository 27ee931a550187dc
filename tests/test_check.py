"""`scaleprof check` from end to end, in sample repositories with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import make_header, make_launch
from conftest import clean_environment

from scaleprof.app.choosing import choose
from scaleprof.app.counting import make_record
from scaleprof.app.planning import plan_sweep
from scaleprof.engines.local import ALLOCATORS
from scaleprof.measuring.host import OPENMP_WAITING, describe_host
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.records import Plan, Record, RunLog
from scaleprof.store import RunWriter, read_run

NET = "net:build/base/0"
# Steps of plain NumPy: extra work that no exact metric sees, so that only the clock can tell.
STEPS = 20
NETWORK = """
import numpy as np
from torch import nn

STEPS = {steps}
NUMBERS = np.random.default_rng(0).random({numbers})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, {channels}, 3, stride=2)

    def forward(self, images):
        for _ in range(STEPS):
            np.sort(NUMBERS)
        return self.layer(images).mean(dim=(2, 3))


def build(scale):
    return Net()


build.input_size = 32
"""

Git = Callable[..., str]
Check = Callable[..., subprocess.CompletedProcess[str]]


def git_in(folder: Path) -> Git:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


def write_network(folder: Path, *, steps: int = STEPS, channels: int = 8, numbers: int = 20_000) -> None:
    (folder / "net.py").write_text(NETWORK.format(steps=steps, channels=channels, numbers=numbers))


def commit(folder: Path, message: str) -> None:
    git = git_in(folder)
    git("add", "-A")
    git("commit", "-q", "-m", message)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one network, in two commits of which the second changes nothing that is run."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git_in(folder)("init", "-q", "-b", "main")
    write_network(folder)
    commit(folder, "a network")
    (folder / "README").write_text("nothing that is run\n")
    commit(folder, "an unrelated file")
    return folder


def check(folder: Path, *arguments: str, code: int | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "scaleprof", "check", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        env=clean_environment(),
        check=False,
    )
    if code is not None:
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def found(path: Path, metric: str) -> dict[str, Any]:
    (finding,) = [one for one in json.loads(path.read_text())["findings"] if one["metric"] == metric]
    assert isinstance(finding, dict)
    return finding


def race(folder: Path, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
    """A race that ends so; once more where chance may have spoken, as the rule allows it to.

    Identical code is called slower in up to one check of a hundred, and a machine busy enough leaves a
    slowdown undecided (0). Neither happens twice.
    """
    done = check(folder, *arguments, "--overwrite")
    is_undecided = code == 1 and done.returncode == 0 and "INCONCLUSIVE" in done.stdout
    is_alarm = code == 0 and done.returncode == 1 and "SLOWER" in done.stdout
    if is_undecided or is_alarm:
        done = check(folder, *arguments, "--overwrite")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


RACE = ("-m", "net.py:build", "--device", "cpu", "--threads", "1", "--format", "json", "-o", "../check.json")


def test_a_commit_that_adds_a_tenth_of_real_work_fails_and_is_named(repository: Path, tmp_path: Path) -> None:
    write_network(repository, steps=STEPS + STEPS // 10)
    commit(repository, "slower by a tenth")
    done = race(repository, *RACE, "--against", "HEAD~1", code=1)
    assert f"SLOWER {NET}: latency +" in done.stdout
    assert "1 regression in 1 target (exit code 1)" in done.stdout
    assert found(tmp_path / "check.json", "latency")["verdict"] == "SLOWER"
    # No exact metric tells: it was the clock.
    for metric in ("macs", "params", "activations", "operators"):
        assert found(tmp_path / "check.json", metric)["verdict"] == "PASS"
    replayed = check(tmp_path, "--replay", "check.json", code=1)
    assert replayed.stdout == done.stdout
    assert git_in(repository)("worktree", "list").count("\n") == 1


def test_an_unrelated_commit_passes(repository: Path, tmp_path: Path) -> None:
    done = race(repository, *RACE, "--against", "HEAD~1", code=0)
    assert "no regression" in done.stdout
    assert "minimum detectable effect: with this noise" in done.stdout
    assert found(tmp_path / "check.json", "latency")["verdict"] in ("PASS", "FASTER", "INCONCLUSIVE")
    assert git_in(repository)("status", "--porcelain") == ""


def test_exact_metrics_alone_catch_a_wider_layer_without_timing(repository: Path) -> None:
    arguments = ("-m", "net.py:build", "--exact-only", "--against", "HEAD")
    check(repository, *arguments, code=0)
    write_network(repository, channels=9)  # not committed: the working tree is what is checked
    done = check(repository, *arguments, code=1)
    assert f"FAIL {NET}: " in done.stdout
    assert "parameters (+12.5 %)" in done.stdout
    assert "pair" not in done.stderr
    accepted = (
        "[[check.accepted]]\nmodels = 'net:build'\nmetric = '{}'\nreason = 'wider'\nuntil = 2999-01-01\n"
    )
    (repository / "scaleprof.toml").write_text(
        "".join(accepted.format(metric) for metric in ("macs", "params", "activations"))
    )
    assert "accepted until 2999-01-01: wider" in check(repository, *arguments, code=0).stdout


def test_a_self_test_tells_what_this_machine_can_find(repository: Path) -> None:
    done = check(
        repository, "-m", "net.py:build", "-d", "cpu", "--threads", "1", "--self-test", "--max-time", "20s"
    )
    # On a machine so busy that too few pairs end in time, nothing is told: that is not green.
    assert done.returncode in (0, 3, 6), done.stderr
    assert ("finds what is slower by" in done.stdout) == (done.returncode == 0)
    assert "SLOWER" not in done.stdout or "a false alarm" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-m", "net.py:build", "--against", "nowhere"), 2, "there is no revision 'nowhere'"),
        (("-m", "none.py:build", "--against", "HEAD", "--exact-only"), 5, "neither then nor now"),
        (("-m", "resnet_18", "--against", "HEAD"), 2, "did you mean 'resnet18'?"),
    ],
)
def test_what_cannot_be_compared_ends_in_its_exit_code_and_one_sentence(
    arguments: Sequence[str], code: int, message: str, repository: Path
) -> None:
    done = check(repository, *arguments, code=code)
    assert message in done.stdout + done.stderr
    assert git_in(repository)("worktree", "list").count("\n") == 1


def test_a_folder_outside_git_is_a_usage_error(tmp_path: Path) -> None:
    write_network(tmp_path)
    env = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "scaleprof", "check", "-m", "net.py:build", "--against", "HEAD"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=clean_environment() | env,
        check=False,
    )
    assert done.returncode == 2
    assert "is in no git repository" in done.stderr


def test_a_network_that_raises_is_no_verdict_and_an_error_in_every_output(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "net.py").write_text("def build(scale):\n    raise ValueError('no weights')\n")
    arguments = ("-m", "net.py:build", "-d", "cpu", "--against", "HEAD", "--format", "junit")
    done = check(repository, *arguments, "-o", str(tmp_path / "check.xml"), code=3)
    assert "no weights" in done.stdout
    assert "SLOWER" not in done.stdout
    (error,) = ElementTree.parse(tmp_path / "check.xml").iter("error")
    assert "working tree" in error.attrib["message"]
    assert "no weights" in error.attrib["message"]


def make_baseline(folder: Path) -> None:
    """The run of the network in this folder that this machine would have made, but for its times."""
    plan = Plan("test", launches=5, min_rounds=6, max_rounds=6, target_ci=0.5)
    here = Path.cwd()
    os.chdir(folder)
    try:
        planned = plan_sweep(choose("net.py:build", "compound", "0"), device="cpu", threads=1, plan=plan)
    finally:
        os.chdir(here)
    launches = tuple(make_launch(0.002 * (1 + 0.005 * number), launch=number) for number in range(5))
    record = make_record(planned.counted[0], planned.jobs[0].workload)
    host = describe_host("cpu", ALLOCATORS["pinned"][0])
    waiting = f"spinning {OPENMP_WAITING['GOMP_SPINCOUNT']} times"
    # As a worker tells it, which is pinned to as many CPUs as it has threads.
    told = msgspec.structs.replace(host, openmp_wait_policy=waiting, usable_cpus=1)
    header = make_header(host=told, protocol=PROTOCOL_VERSION, plan=plan)
    with RunWriter.create(folder / "base.jsonl", header) as writer:
        writer.append([msgspec.structs.replace(record, launches=launches, stop="target_met")])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network and its baseline; tests copy what they change."""
    folder = tmp_path_factory.mktemp("kept")
    write_network(folder)
    make_baseline(folder)
    return folder


def edited(kept: Path, folder: Path, change: Callable[[RunLog], RunLog], *, network: bool = True) -> Path:
    """A copy of the kept baseline with something else in it, beside the network."""
    if network:
        write_network(folder)
    log = change(read_run(kept / "base.jsonl"))
    with RunWriter.create(folder / "base.jsonl", log.header) as writer:
        writer.append(log.records)
    return folder


BASELINE = ("-m", "net.py:build", "--baseline", "base.jsonl")


def quick_in(folder: Path) -> Callable[[RunLog], RunLog]:
    """Makes a run that tells its revision, and times that nothing here can reach."""

    def change(log: RunLog) -> RunLog:
        revision = git_in(folder)("rev-parse", "HEAD").strip()
        (record,) = log.records
        launches = tuple(make_launch(0.0001 * (1 + 0.005 * number), launch=number) for number in range(5))
        return RunLog(
            msgspec.structs.replace(log.header, revision=revision),
            (msgspec.structs.replace(record, launches=launches),),
        )

    return change


def test_what_is_flagged_is_raced_and_the_baseline_moves_only_since_it_was_asked(
    kept: Path, repository: Path
) -> None:
    folder = edited(kept, repository, quick_in(repository))
    before = read_run(folder / "base.jsonl")
    done = check(folder, "--baseline", "base.jsonl", "--update-baseline", "--max-time", "5m")
    # The code is the same: unless the race decides nothing, it was no regression.
    assert done.returncode in (0, 1), done.stderr
    assert ("not confirmed: latency ÷ reference network +" in done.stdout) == (done.returncode == 0)
    assert "note: what was flagged was raced against " in done.stdout
    assert "base.jsonl now holds what was measured here" in done.stderr
    now = read_run(folder / "base.jsonl")
    assert now != before
    assert [len(record.launches) for record in now.records] == [5]
    assert [path.name for path in folder.glob(".base*")] == []


def other_machine(log: RunLog) -> RunLog:
    host = msgspec.structs.replace(log.header.host, cpu_model="Another CPU")
    return msgspec.structs.replace(log, header=msgspec.structs.replace(log.header, host=host))


def test_another_machines_baseline_compares_exact_metrics_only(kept: Path, tmp_path: Path) -> None:
    folder = edited(kept, tmp_path, other_machine)
    done = check(folder, *BASELINE, code=6)
    assert "CPU Another CPU then, " in done.stdout
    assert "latency is not compared" in done.stdout
    assert "unchanged" in done.stdout
    assert "launch" not in done.stderr  # nothing was run for it


def test_an_increase_counts_on_another_machine_too(kept: Path, tmp_path: Path) -> None:
    folder = edited(kept, tmp_path, other_machine)
    write_network(folder, channels=9)
    assert "parameters (+12.5 %)" in check(folder, *BASELINE, code=1).stdout


def test_exact_metrics_are_held_against_a_run_without_timing(kept: Path, tmp_path: Path) -> None:
    folder = edited(kept, tmp_path, lambda log: log)
    check(folder, *BASELINE, "--exact-only", code=0)
    write_network(folder, channels=9)
    check(folder, *BASELINE, "--exact-only", code=1)


def few_launches(log: RunLog) -> RunLog:
    plan = msgspec.structs.replace(log.header.plan, launches=3)
    return msgspec.structs.replace(log, header=msgspec.structs.replace(log.header, plan=plan))


def without_rows(log: RunLog) -> RunLog:
    return msgspec.structs.replace(log, records=())


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            few_launches,
            2,
            "has 3 launches a model, a baseline needs 5: make it with scaleprof sweep --preset",
        ),
        (without_rows, 5, "base.jsonl holds no rows: nothing can be compared with it"),
    ],
)
def test_a_run_that_cannot_be_a_baseline_is_refused_in_one_sentence(
    change: Callable[[RunLog], RunLog], code: int, message: str, kept: Path, tmp_path: Path
) -> None:
    done = check(edited(kept, tmp_path, change), *BASELINE, code=code)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("length", "code", "message"),
    [
        (0, 2, "base.jsonl is not a scaleprof run: it is empty"),
        (40, 2, "base.jsonl is not a scaleprof run: it has no whole line"),
        (-100, 5, "base.jsonl holds no rows"),
    ],
)
def test_an_empty_or_truncated_baseline_is_no_verdict(
    length: int, code: int, message: str, kept: Path, tmp_path: Path
) -> None:
    write_network(tmp_path)
    (tmp_path / "base.jsonl").write_bytes((kept / "base.jsonl").read_bytes()[:length])
    assert message in check(tmp_path, *BASELINE, code=code).stderr


def test_a_model_that_the_baseline_lacks_matches_nothing(kept: Path, tmp_path: Path) -> None:
    folder = edited(kept, tmp_path, lambda log: log)
    done = check(folder, "-m", "resnet18", "--baseline", "base.jsonl", code=5)
    assert "base.jsonl holds no resnet18: it has net:build" in done.stderr


def test_a_model_of_the_baseline_that_is_gone_is_missing(kept: Path, tmp_path: Path) -> None:
    folder = edited(kept, tmp_path, other_machine, network=False)
    done = check(folder, "--baseline", "base.jsonl", "--fail-on", "missing", code=5)
    assert f"MISSING {NET}: missing now: " in done.stdout
    assert "a file of your own is named with -m" in done.stdout


def test_what_cannot_be_measured_leaves_the_baseline_as_it_was(kept: Path, tmp_path: Path) -> None:
    def with_another(log: RunLog) -> RunLog:
        (record,) = log.records
        spec = msgspec.structs.replace(record.spec, model="gone:build")
        other: Record = msgspec.structs.replace(record, spec=spec)
        return msgspec.structs.replace(log, records=(record, other))

    folder = edited(kept, tmp_path, with_another)
    before = (folder / "base.jsonl").read_bytes()
    done = check(folder, "--baseline", "base.jsonl", "--update-baseline", code=3)
    assert "base.jsonl is left as it was: gone:build/base/0 cannot be measured now" in done.stderr
    assert "launch" not in done.stderr  # it is known before any time is spent
    assert (folder / "base.jsonl").read_bytes() == before


def test_a_sweep_records_the_revision_only_of_a_clean_tree(repository: Path) -> None:
    from scaleprof.app.ledger import _revision_here

    here = Path.cwd()
    os.chdir(repository)
    try:
        assert _revision_here() == git_in(repository)("rev-parse", "HEAD").strip()
        write_network(repository, steps=1)
        assert _revision_here() is None
    finally:
        os.chdir(here)

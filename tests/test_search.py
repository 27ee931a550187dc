"""`scaleprof search` from the command line: what it finds, keeps, resumes, refuses and hands on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Scaleprof, clean_environment

import scaleprof as sp
from scaleprof.cli import run
from scaleprof.errors import UsageError
from scaleprof.records import SearchLog
from scaleprof.store import read_search

# Grows smoothly, so that many bases cost what is asked; it trains, too.
NET = """
from torch import nn


def build(scale):
    channels = round(10 * scale.width)
    layers = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(round(10 * scale.depth))]
    last = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(nn.Conv2d(3, channels, 1), *layers, *last)


build.input_size = 20
"""
# The best bases are known; each seed adds noise of its own where it is asked for.
SCORE = """
import random
import time


def far(spec):
    return (spec.depth - 1.3) ** 2 + (spec.width - 1.1) ** 2 + (spec.resolution - 1.1) ** 2


def exact(network, spec):
    return 90 - 100 * far(spec)


def noisy(network, spec):
    # The generator is seeded by the trial alone: as it is, its noise would be the same for all candidates.
    own = random.Random(f"{random.random()} {spec.depth} {spec.width} {spec.resolution}")
    return 90 - 10 * far(spec) + own.gauss(0, 0.3)


def slow(network, spec):
    time.sleep(0.1)
    return exact(network, spec)


def broken(network, spec):
    raise ValueError("no luck")


def partly(network, spec):
    if spec.depth > 1.25:
        raise ValueError("too deep for me")
    return exact(network, spec)
"""
Here = Callable[..., tuple[str, str]]
COARSE = ("search", "-m", "net.py:build", "--grid-step", "0.1", "--device", "cpu")
BEST = (1.3, 1.1, 1.1)


@pytest.fixture(autouse=True)
def own_code(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "score.py").write_text(SCORE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """Runs a command line in this process, which imports torch once; gives what it printed and said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `run` has its own

    def run_it(*arguments: str, check: int = 0) -> tuple[str, str]:
        capfd.readouterr()
        code = run(arguments)
        said = capfd.readouterr()
        assert code == check, said
        return said.out, said.err

    return run_it


def scored(log: SearchLog) -> dict[tuple[int, float, int], float | None]:
    return {trial.key: trial.score for trial in log.trials}


def test_the_optimum_of_a_known_objective_is_found_exactly_and_its_bases_sweep(
    scaleprof: Scaleprof, here: Here, tmp_path: Path
) -> None:
    done = scaleprof(
        *COARSE, "--objective", "score.py:exact", "-o", "found.jsonl", "--format", "json", check=0
    )
    rows = json.loads(done.stdout)
    tried = [row for row in rows if row["score"] is not None]
    best = max(tried, key=lambda row: row["score"])
    assert (best["depth"], best["width"], best["resolution"]) == BEST
    assert best["standing"] == "chosen"
    assert rows[0] == best
    bases = json.loads((tmp_path / "found.bases.json").read_text())
    assert (bases["depth"], bases["width"], bases["resolution"]) == BEST
    assert "1.3/1.1/1.1 is chosen" in done.stderr
    assert not (tmp_path / "found.checkpoints").exists()
    page = (tmp_path / "reports" / "found.html").read_text()
    assert "1.3/1.1/1.1 is chosen" in page
    # The command that is told at the end is one that runs.
    told = next(
        line.strip() for line in done.stderr.splitlines() if line.strip().startswith("scaleprof sweep")
    )
    _, *arguments = told.split()
    dry, _ = here(*arguments, "--dry-run", "--format", "json")
    strategies = {row["strategy"] for row in json.loads(dry)}
    assert strategies == {"base", "compound", "@found", "width", "depth", "resolution"}
    real = ["sweep", "-m", "net.py:build", "--strategy", "@found.bases.json", "--phi", "0..1"]
    quick = ["--preset", "quick", "--device", "cpu", "--no-report", "--format", "json"]
    measured = json.loads(scaleprof(*real, *quick, check=0).stdout)
    (row,) = [row for row in measured if row["strategy"] == "@found"]
    assert (row["depth"], row["width"], row["resolution"]) == BEST
    assert row["latency_ms"] > 0


def test_with_noise_the_true_optimum_is_chosen_or_tied_and_transfer_tries_larger_phi(
    scaleprof: Scaleprof, tmp_path: Path
) -> None:
    done = scaleprof(
        *(*COARSE, "--objective", "score.py:noisy", "--seeds", "3", "--transfer"),
        *("-o", "noisy.jsonl", "--format", "json"),
        check=0,
    )
    rows = json.loads(done.stdout)
    first = [row for row in rows if row["phi"] == 1 and row["score"] is not None]
    (true,) = [row for row in first if (row["depth"], row["width"], row["resolution"]) == BEST]
    assert true["standing"] in ("chosen", "tied")
    assert true["score_ci_low"] <= 90 <= true["score_ci_high"]
    assert {row["standing"] for row in first} == {"chosen", "tied", "behind"}
    assert all(row["seeds"] == 3 for row in first)
    assert "tied with it: noise may have made the difference" in done.stderr
    beyond = [row for row in rows if row["phi"] > 1]
    assert {row["phi"] for row in beyond} == {2, 3}
    (chosen,) = [row["name"] for row in first if row["standing"] == "chosen"]
    controls = {"depth-only", "width-only", "resolution-only"}
    assert {row["name"] for row in beyond} == {chosen, *controls, "1.2/1.1/1.15"}
    log = read_search(tmp_path / "noisy.jsonl")
    base = log.header.base_cost
    assert base is not None
    for trial in log.trials:
        assert trial.macs is not None
        assert trial.macs / base == pytest.approx(2**trial.phi, rel=0.35), trial
    assert "won at φ = 1" in done.stderr
    assert "At larger φ" in (tmp_path / "reports" / "noisy.html").read_text()


def kill_when(path: Path, lines: int, *arguments: str) -> None:
    """Run the command line in the file's folder, and kill it as soon as the file has so many lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scaleprof", *arguments],
        cwd=path.parent,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") >= lines):
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_killed_search_goes_on_and_comes_to_the_same(here: Here, tmp_path: Path) -> None:
    whole = (*COARSE, "--objective", "score.py:slow", "--no-report", "--format", "json")
    kill_when(tmp_path / "killed.jsonl", 8, *whole, "-o", "killed.jsonl")
    before = read_search(tmp_path / "killed.jsonl")
    printed, _ = here(*whole, "-o", "killed.jsonl", "--resume")
    after = read_search(tmp_path / "killed.jsonl")
    assert len(before.trials) < len(after.trials) == len({trial.key for trial in after.trials})
    assert after.trials[: len(before.trials)] == before.trials  # nothing was tried twice
    assert json.loads(printed)[0]["name"] == "1.3/1.1/1.1"
    here(*COARSE, "--objective", "score.py:exact", "-o", "whole.jsonl", "--no-report")
    assert scored(after) == scored(read_search(tmp_path / "whole.jsonl"))


def test_a_killed_training_goes_on_to_the_same_scores(here: Here, tmp_path: Path) -> None:
    training = ("search", "-m", "net.py:build", "--data", "digits", "--epochs", "1", "--input-size", "8")
    few = ("--grid-step", "0.4", "--tolerance", "20%", "--batch-size", "128", "--no-report", "-d", "cpu")
    kill_when(tmp_path / "killed.jsonl", 3, *training, *few, "-o", "killed.jsonl")
    printed, _ = here(*training, *few, "-o", "killed.jsonl", "--resume", "--format", "json")
    here(*training, *few, "-o", "whole.jsonl")
    killed, whole = read_search(tmp_path / "killed.jsonl"), read_search(tmp_path / "whole.jsonl")
    assert scored(killed) == pytest.approx(scored(whole))
    assert not (tmp_path / "killed.checkpoints").exists()
    # Only what was chosen was tried on the images that no choice is made on.
    held_out = [trial.candidate for trial in killed.trials if trial.held_out is not None]
    (chosen,) = [row for row in json.loads(printed) if row["standing"] == "chosen"]
    assert held_out == [chosen["candidate"]]
    # Its scores join a sweep as accuracies.
    with (tmp_path / "whole.accuracy.csv").open() as file:
        rows = {row["spec_id"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    assert rows["net:build/@whole/1"] == pytest.approx(chosen["score"], rel=1e-5)
    assert set(rows) >= {"net:build/depth/1", "net:build/width/1", "net:build/resolution/1"}
    sweep = ("sweep", "-m", "net.py:build", "--strategy", "@whole.bases.json,depth", "--phi", "1")
    dry, _ = here(*sweep, "--accuracy", "whole.accuracy.csv", "--dry-run", "--format", "json")
    accuracies = {name: row["accuracy"] for row in json.loads(dry) for name in (row["spec_id"], *row["also"])}
    assert accuracies["net:build/@whole/1"] == pytest.approx(chosen["score"], rel=1e-5)


def test_scores_from_a_table_are_ranked_and_strangers_are_listed(
    scaleprof: Scaleprof, tmp_path: Path
) -> None:
    table = "depth,width,resolution,seed,score\n1.3,1.1,1.1,0,77\n1.3,1.1,1.1,1,78\n1.2,1.1,1.15,0,75\n"
    table += "1.2,1.1,1.15,1,75.5\n2,1.0,1.0,0,60\n2,1.0,1.0,1,61\n1.9,1.9,1.9,0,99\n"
    (tmp_path / "scores.csv").write_text(table)
    done = scaleprof(*COARSE, "--scores", "scores.csv", "-o", "table.jsonl", "--format", "json", check=0)
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows if row["score"] is not None] == [
        *("1.3/1.1/1.1", "1.2/1.1/1.15", "depth-only")
    ]
    assert "1.9/1.9/1.9" in done.stderr
    assert any(row["status"] == "planned" for row in rows)
    assert not (tmp_path / "table.accuracy.csv").exists()  # nobody says that these are accuracies


def test_a_dry_run_lists_candidates_and_why_others_are_none(here: Here, tmp_path: Path) -> None:
    coarse = ("--grid-step", "0.1", "--tolerance", "20%")
    printed, said = here("search", "-m", "mobilenet_v2", *coarse, "--dry-run")
    assert "1.2/1.1/1.15" in printed
    assert "excluded, same network as" in printed
    assert "excluded by cost, 2× ± 20% was asked for:" in printed
    assert "a trial" in printed.splitlines()[0]
    assert "roughly" in said
    assert not (tmp_path / "searches").exists()


def test_failed_trials_are_told_and_the_others_count(here: Here) -> None:
    printed, said = here(*COARSE, "--objective", "score.py:partly", "-o", "some.jsonl", "--no-report")
    assert "raised ValueError" in printed
    assert "too deep for me" in printed
    assert "without a score" in said
    broken = (*COARSE, "--objective", "score.py:broken", "-o", "none.jsonl", "--no-report")
    _, said = here(*broken, check=3)
    assert "nothing was chosen" in said
    assert "0 of" in said


def test_what_may_not_be_is_refused_before_any_time_is_spent(here: Here, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("something of mine\n")
    (tmp_path / "old.bases.json").write_text(
        '{"kind": "bases", "schema": 1, "depth": 1.5, "width": 1.1, "resolution": 1.0}'
    )
    exact = ("--objective", "score.py:exact")
    for arguments, words in (
        ((*exact, "--data", "digits"), "exclude each other"),
        (("--objective", "score.py:exakt"), "exakt"),
        ((*exact, "-o", "mine.jsonl"), "is not a scaleprof search"),
        ((*exact, "-o", "old.jsonl"), "--overwrite replaces them"),
        (("--resume",), "--resume needs the search"),
        ((*exact, "-o", "no.jsonl", "--resume"), "does not exist"),
        ((*exact, "--target-growth", "1"), "--target-growth 1"),
        (("--data", "no_such_data"), "no_such_data"),
    ):
        _, said = here(*COARSE, *arguments, check=2)
        assert words in said
        assert len(said.strip().splitlines()) == 1
    assert (tmp_path / "mine.jsonl").read_text() == "something of mine\n"


def test_a_search_resumed_otherwise_is_refused_with_what_differs(here: Here) -> None:
    sp.search_bases("net.py:build", objective="score.py:exact", grid_step=0.1, device="cpu", output="a.jsonl")
    asked = (*COARSE, "--objective", "score.py:exact", "-o", "a.jsonl", "--no-report", "--resume")
    for more, words in (
        (("--seeds", "2"), "seeds (0,), this asks for (0, 1) (--seeds)"),
        (("--tolerance", "20%"), "tolerance 0.1, this asks for 0.2"),
        (("--input-size", "24"), "base input size 20, this asks for 24"),
    ):
        assert words in here(*asked, *more, check=2)[1]


def test_a_search_works_from_python_and_reports_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = sp.search_bases(
        "net.py:build", objective="score.py:exact", grid_step=0.1, device="cpu", output="python.jsonl"
    )
    assert found.bases is not None
    assert (found.bases.depth, found.bases.width, found.bases.resolution) == BEST
    assert found.to_frame().loc[0, "name"] == "1.3/1.1/1.1"
    assert sp.load_search("python.jsonl").sentences == found.sentences
    text = sp.report("python.jsonl", "found.md", format="markdown").read_text()
    assert "1.3/1.1/1.1 is chosen" in text
    rows = json.loads(sp.report(found, "found.json", format="json").read_text())
    assert len(rows) == len(found.rows)
    assert sp.report(found, "found.csv", format="csv").read_text().startswith("name,candidate,kind,")
    for kind in ("markdown", "json", "csv"):
        sp.report(found, f"found.{'md' if kind == 'markdown' else kind}", format=kind)
    with pytest.raises(UsageError, match="no option 'grid'"):
        sp.search_bases("net.py:build", grid=0.1)
    with pytest.raises(UsageError, match="--budget is about models of a run"):
        sp.report(found, "found.html", budget="latency_ms<=1")

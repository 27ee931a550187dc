"""The documented workflow, the action and the pre-commit hook: their commands are run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import clean_environment
from test_check import NET, commit, repository, write_network

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / "docs" / "checking-workflow.yml").read_text(encoding="utf-8")
ACTION = (ROOT / "action.yml").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")

__all__ = ["repository"]  # a fixture

CONFIG = '[check]\nmodel = ["net.py:build"]\nthreads = 1\n'


def commands_of(job: str) -> list[str]:
    """The lines with `scaleprof` of a job of the documented workflow."""
    text = WORKFLOW.partition(f"\n  {job}:")[2]
    text = re.split(r"\n  \w+:", text)[0]
    return list(re.findall(r"run: (scaleprof .*)", text))


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment in which `scaleprof` is this one, as a runner has it after its install step."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "scaleprof"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scaleprof "$@"\n')
    script.chmod(0o755)
    environment = clean_environment()
    return environment | {
        "PATH": f"{folder}:{environment['PATH']}",
        "BASE": "HEAD~1",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }


def run_step(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A step as GitHub's runner runs it with `shell: bash`."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def make_wider(folder: Path) -> None:
    (folder / "scaleprof.toml").write_text(CONFIG)
    commit(folder, "what is checked")
    write_network(folder, channels=9)
    commit(folder, "a wider layer")


def test_the_workflows_exact_job_names_what_grew(
    repository: Path, tools: dict[str, str], tmp_path: Path
) -> None:
    make_wider(repository)
    (command,) = commands_of("exact")
    done = run_step(command, repository, tools)
    assert done.returncode == 1, done.stderr
    assert f"::error title=FAIL {NET.replace(':', '%3A')}::" in done.stdout
    assert "parameters (+12.5 %25)" in done.stdout
    assert (tmp_path / "summary.md").read_text().startswith("<!-- scaleprof check -->")


def test_the_workflows_race_passes_an_unrelated_commit_in_every_format(
    repository: Path, tools: dict[str, str]
) -> None:
    (repository / "scaleprof.toml").write_text(CONFIG)
    commit(repository, "what is checked")
    (repository / "README").write_text("other words\n")
    commit(repository, "other words")
    race, annotate, junit = commands_of("race")
    done = run_step(race, repository, tools)
    if done.returncode == 1 and "SLOWER" in done.stdout:  # a false alarm, which the rule allows once in long
        (repository / "check.json").unlink()
        done = run_step(race, repository, tools)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_step(annotate, repository, tools).stdout.count("::notice title=scaleprof check::") == 1
    assert run_step(junit, repository, tools).returncode == 0
    assert (repository / "check.xml").read_text().count("<testcase") >= 5


def test_the_workflows_gpu_job_is_a_check_on_cuda(repository: Path, tools: dict[str, str]) -> None:
    (repository / "scaleprof.toml").write_text(CONFIG)
    (command,) = commands_of("gpu")
    assert "--device cuda" in command
    on_cpu = command.replace("--device cuda", "--device cpu --dry-run")
    assert run_step(on_cpu, repository, tools).stdout.startswith(NET)


def test_the_action_annotates_keeps_the_samples_and_exits_as_the_check(
    repository: Path, tools: dict[str, str], tmp_path: Path
) -> None:
    make_wider(repository)
    script = textwrap.dedent(ACTION.rpartition("run: |\n")[2])
    inputs = {"AGAINST": "HEAD~1", "ARGUMENTS": "--exact-only -m net.py:build", "JSON": "kept.json"}
    done = run_step(script, repository, tools | inputs)
    assert done.returncode == 1, done.stderr
    assert "::error title=FAIL" in done.stdout
    assert json.loads((repository / "kept.json").read_text())["exit_code"] == 1
    assert (tmp_path / "output").read_text() == "exit-code=1\n"
    (repository / "kept.json").write_text("of an earlier check")
    failed = run_step(script, repository, tools | inputs | {"AGAINST": "nowhere"})
    assert failed.returncode == 2
    assert "::error" not in failed.stdout
    assert (tmp_path / "output").read_text().endswith("exit-code=2\n")


def test_the_pre_commit_hook_stops_a_costlier_network_and_lets_others_pass(
    repository: Path, tools: dict[str, str]
) -> None:
    entry = re.findall(r"entry: (.*)", HOOKS)[0]
    assert run_step(f"{entry} -m net.py:build", repository, tools).returncode == 0
    write_network(repository, channels=9)
    assert run_step(f"{entry} -m net.py:build", repository, tools).returncode == 1

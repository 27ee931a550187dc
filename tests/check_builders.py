"""Git repositories with tiny networks, and requests to compare their revisions."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaleprof.app.comparing_arms import ArmsRequest
from scaleprof.records import CheckTarget, Workload

TINY_WORKLOAD = Workload("cpu", batch_size=1, threads=1)

# A linear layer of as many features as the width says; {extra} goes before it is returned.
NETWORK = """
import torch
from torch import nn


def build(scale):
    width = scale.channels(16)
    {extra}
    return nn.Linear(width, width{bias})


def example_inputs(scale, batch_size):
    return torch.randn(batch_size, scale.channels(16))
"""


def network_source(*, extra: str = "", bias: bool = True) -> str:
    """A builder's file: with a line of its own, without a bias."""
    return NETWORK.format(extra=extra or "pass", bias="" if bias else ", bias=False")


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person with a name, and return what it prints."""
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, with the folders that they are in."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(folder: Path, files: Mapping[str, str], message: str = "a change") -> None:
    """Write and commit files."""
    write_files(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)


def make_repository(folder: Path, *commits: Mapping[str, str]) -> Path:
    """A git repository with these commits, oldest first."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    for files in commits:
        commit(folder, files)
    return folder


def model_target(
    model: str = "net.py:build", strategy: str = "base", phi: float = 0.0, **more: Any
) -> CheckTarget:
    """A person's model, or a family."""
    name = f"{model.rpartition('/')[2].replace('.py', '')}/{strategy}/{phi:g}"
    return CheckTarget(name, TINY_WORKLOAD, model, strategy, phi, **more)


def function_target(function: str) -> CheckTarget:
    """What a function returns."""
    return CheckTarget(function, TINY_WORKLOAD, function=function)


def make_request(
    folder: Path, *targets: CheckTarget, revision: str | None = "HEAD~1", **more: Any
) -> ArmsRequest:
    """A request with as few rounds as there may be; one pair if nothing else is said."""
    options: dict[str, Any] = {"rounds": 10, "max_time_s": 0.0, "timeout_s": 60.0, **more}
    return ArmsRequest(folder=folder, revision=revision, targets=targets or (model_target(),), **options)


def worktrees_of(folder: Path) -> Sequence[str]:
    """The worktrees that git knows of besides the person's own."""
    lines = git(folder, "worktree", "list", "--porcelain").splitlines()
    return [line for line in lines if line.startswith("worktree ")][1:]

"""Worktrees of revisions, and environments for them: made by git and pip, and gone afterwards."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_builders import commit, git, make_repository, worktrees_of, write_files

from scaleprof.app.arm_places import open_places
from scaleprof.engines.arm_environments import differing_dependencies, make_environment
from scaleprof.engines.worktrees import (
    count_changed_files,
    find_repository,
    find_revision,
    head_of,
    worktree,
)
from scaleprof.errors import ExitCode, MeasuringError, UsageError


@pytest.fixture
def two_commits(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"a.txt": "one"}, {"a.txt": "two", "b.txt": ""})


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for temporary files, so that what is left can be seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_a_worktree_holds_the_revision_and_is_gone_afterwards(two_commits: Path, temporary: Path) -> None:
    repository = find_repository(two_commits)
    with worktree(repository, find_revision(repository, "HEAD~1")) as root:
        assert (root / "a.txt").read_text() == "one"
        assert not (root / "b.txt").exists()
        assert len(worktrees_of(two_commits)) == 1
    assert worktrees_of(two_commits) == []
    assert list(temporary.iterdir()) == []
    assert not (repository.git / "worktrees").exists()


def test_an_error_or_an_interruption_inside_leaves_no_worktree(two_commits: Path, temporary: Path) -> None:
    repository = find_repository(two_commits)
    with pytest.raises(KeyboardInterrupt), worktree(repository, find_revision(repository, "HEAD")):
        raise KeyboardInterrupt
    assert worktrees_of(two_commits) == []
    assert list(temporary.iterdir()) == []


def test_a_worktree_whose_making_was_interrupted_is_taken_away(two_commits: Path) -> None:
    """git locks it until it is whole, and forgets no locked one by itself."""
    repository = find_repository(two_commits)
    with worktree(repository, find_revision(repository, "HEAD")) as root:
        git(two_commits, "worktree", "lock", str(root))
    assert worktrees_of(two_commits) == []


def test_a_persons_own_worktrees_stay(two_commits: Path, tmp_path: Path) -> None:
    git(two_commits, "worktree", "add", "-q", "--detach", str(tmp_path / "mine"))
    git(two_commits, "worktree", "add", "-q", "--detach", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").rename(tmp_path / "not mounted now")
    repository = find_repository(tmp_path / "mine")
    with worktree(repository, find_revision(repository, "HEAD")):
        pass
    assert len(worktrees_of(two_commits)) == 2


def test_hooks_of_the_repository_are_not_run(two_commits: Path, tmp_path: Path) -> None:
    hook = two_commits / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    repository = find_repository(two_commits)
    with worktree(repository, find_revision(repository, "HEAD")):
        assert not (tmp_path / "ran").exists()


def test_within_a_hook_the_persons_index_is_left_alone(
    two_commits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(two_commits, {"b.txt": "staged"})
    git(two_commits, "add", "b.txt")
    before = git(two_commits, "status", "--porcelain")
    monkeypatch.setenv("GIT_INDEX_FILE", str(two_commits / ".git/index"))
    monkeypatch.setenv("GIT_DIR", str(two_commits / ".git"))
    repository = find_repository(two_commits)
    with worktree(repository, find_revision(repository, "HEAD~1")) as root:
        assert (root / "a.txt").read_text() == "one"
    assert git(two_commits, "status", "--porcelain") == before == "M  b.txt\n"


def test_a_revision_is_called_as_the_person_calls_it(two_commits: Path) -> None:
    repository = find_repository(two_commits)
    revision = find_revision(repository, "HEAD~1")
    short = revision.commit[:7]
    assert revision.label == f"HEAD~1 ({short})"
    assert find_revision(repository, short).label == short
    assert head_of(repository) == git(two_commits, "rev-parse", "HEAD").strip()


def test_changed_files_are_those_that_git_follows(two_commits: Path) -> None:
    repository = find_repository(two_commits)
    assert count_changed_files(repository) == 0
    write_files(two_commits, {"a.txt": "three", "b.txt": "staged", "new.txt": "not followed"})
    git(two_commits, "add", "b.txt")
    assert count_changed_files(repository) == 2


def test_a_folder_in_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is in no git repository .*--baseline") as told:
        find_repository(tmp_path)
    assert told.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["no-such-branch", "", "--help", "HEAD~9"])
def test_an_unknown_revision_is_told_with_a_way_out(two_commits: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"there is no revision '{name}' here: git branch -a"):
        find_revision(find_repository(two_commits), name)


def test_a_shallow_clone_is_told_how_to_get_more(two_commits: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", two_commits.as_uri(), "shallow")
    with pytest.raises(UsageError, match=r"shallow clone: git fetch --depth=50"):
        find_revision(find_repository(tmp_path / "shallow"), "HEAD~1")


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real file system that has room for next to nothing, for temporary files."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to be allowed to mount a file system")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_no_worktree(two_commits: Path, full_disk: Path) -> None:
    commit(two_commits, {"large.txt": random.Random(0).randbytes(200_000).hex()})
    repository = find_repository(two_commits)
    with (
        pytest.raises(
            MeasuringError, match=r"HEAD \(\w+\) cannot be had: .*unable to write file.* free there.*TMPDIR"
        ) as told,
        worktree(repository, find_revision(repository, "HEAD")),
    ):
        pass
    assert told.value.exit_code == ExitCode.FAILURE
    assert "\n" not in str(told.value)
    assert worktrees_of(two_commits) == []
    assert list(full_disk.iterdir()) == []


def test_the_revision_is_before_and_the_working_tree_after(two_commits: Path) -> None:
    inner = two_commits / "inner"
    inner.mkdir()
    write_files(two_commits, {"a.txt": "dirty"})
    with open_places(inner, "HEAD~1", lambda _words: None) as places:
        before, after = places.by_arm["before"], places.by_arm["after"]
        assert (before.root / "a.txt").read_text() == "one"
        assert before.folder == before.root / "inner"
        assert before.folder.is_dir()
        assert (after.root, after.folder) == (two_commits, inner)
        assert places.changed_files == 1
        assert before.python == after.python == Path(sys.executable)
    assert not before.root.exists()


def test_a_self_test_needs_no_repository(tmp_path: Path) -> None:
    with open_places(tmp_path, None, lambda _words: None) as places:
        assert {place.root for place in places.by_arm.values()} == {tmp_path}
        assert places.commits == {"before": None, "after": None}


def test_a_revision_of_this_package_from_before_there_was_check_is_refused(tmp_path: Path) -> None:
    make_repository(tmp_path / "own", {"scaleprof/__init__.py": ""})
    with (
        pytest.raises(MeasuringError, match=r"HEAD \(\w+\) of scaleprof .*older than check"),
        open_places(tmp_path / "own", "HEAD", lambda _words: None),
    ):
        pass
    assert worktrees_of(tmp_path / "own") == []


PYPROJECT = '[project]\nname = "a"\nversion = "{version}"\ndependencies = ["{dependency}"]\n'
SETUP_CFG = "[metadata]\nversion = {version}\n[options]\ninstall_requires =\n    {dependency}\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", PYPROJECT),
        ("setup.cfg", SETUP_CFG),
        ("requirements.txt", "# {version}\n{dependency}  # {version}\n"),
        ("requirements/test.txt", "{dependency}\n"),
    ],
)
def test_only_dependencies_that_differ_call_for_an_environment(tmp_path: Path, name: str, text: str) -> None:
    for folder, version, dependency in [("old", 1, "x>=1"), ("new", 2, "x>=1"), ("newer", 2, "x>=2")]:
        write_files(tmp_path / folder, {name: text.format(version=version, dependency=dependency)})
    assert differing_dependencies(tmp_path / "old", tmp_path / "new").installed == ()
    assert differing_dependencies(tmp_path / "old", tmp_path / "newer").installed == (name,)


def test_what_pip_cannot_install_from_is_noted(tmp_path: Path) -> None:
    write_files(tmp_path / "old", {"uv.lock": "1", "environment.yml": "same"})
    write_files(tmp_path / "new", {"uv.lock": "2", "environment.yml": "same"})
    differing = differing_dependencies(tmp_path / "old", tmp_path / "new")
    assert (differing.installed, differing.noted) == ((), ("uv.lock",))


@pytest.fixture
def without_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_an_environment_sees_what_is_installed_here(tmp_path: Path, without_index: None) -> None:
    write_files(tmp_path / "old", {"requirements.txt": "msgspec>=0.1\n"})
    python = make_environment(tmp_path / "old", ["requirements.txt"], tmp_path / "venv", "HEAD~1")
    program = "import msgspec, sys; print(sys.prefix)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "venv")


def test_what_pip_cannot_find_is_told_by_its_last_line(tmp_path: Path, without_index: None) -> None:
    write_files(tmp_path / "old", {"requirements.txt": "msgspec>=9999\n"})
    with pytest.raises(MeasuringError, match=r"pip cannot install what HEAD~1 asks for: .*msgspec>=9999"):
        make_environment(tmp_path / "old", ["requirements.txt"], tmp_path / "venv", "HEAD~1")

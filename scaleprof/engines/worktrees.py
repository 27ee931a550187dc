"""Git: which repository a folder is in, and a worktree of one of its revisions for as long as it is needed.

Nothing in the person's own tree is touched: no checkout, no stash, no hook. A worktree lives in a temporary
folder and is gone afterwards, from git's list too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from scaleprof.errors import MeasuringError, UsageError
from scaleprof.units import format_bytes

# Set where git runs a hook, such as pre-commit: they would have us write into the person's index.
_OF_A_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
_SHORT = 7


class Repository(msgspec.Struct, frozen=True):
    """A git repository with a working tree: the tree's folder, and the folder that git keeps its own in."""

    root: Path
    git: Path


class Revision(msgspec.Struct, frozen=True):
    """A commit, and how the person named it."""

    name: str
    commit: str

    @property
    def label(self) -> str:
        """Such as `HEAD~1 (1a2b3c4)`."""
        short = self.commit[:_SHORT]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"


def find_repository(folder: Path) -> Repository:
    """The repository that a folder is in.

    Raises:
        UsageError: it is in none that has a working tree, or there is no git.
    """
    if shutil.which("git") is None:
        raise UsageError("comparing with a revision needs git, and there is none on the PATH")
    done = _git(folder, "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir")
    if done.returncode:
        raise UsageError(
            f"{folder} is in no git repository that has a working tree ({_said(done)}): "
            f"go to one, or compare with a kept run (--baseline)"
        )
    root, git = done.stdout.splitlines()
    return Repository(Path(root).resolve(), Path(git).resolve())


def find_revision(repository: Repository, name: str) -> Revision:
    """The commit that a name means here.

    Raises:
        UsageError: there is none; a shallow clone may lack it.
    """
    found = _git(
        repository.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    )
    if found.returncode == 0:
        return Revision(name, found.stdout.strip())
    if _git(repository.root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        raise UsageError(
            f"there is no revision '{name}' in this shallow clone: git fetch --depth=50 brings more of its "
            f"history (--unshallow all; fetch-depth: 0 for actions/checkout)"
        )
    raise UsageError(
        f"there is no revision '{name}' here: git branch -a lists branches, git fetch brings more"
    )


def head_of(repository: Repository) -> str | None:
    """The commit that the working tree is based on; None before the first one."""
    found = _git(repository.root, "rev-parse", "--verify", "--quiet", "HEAD")
    return found.stdout.strip() or None


def count_changed_files(repository: Repository) -> int:
    """How many tracked files of the working tree differ from its commit, staged or not."""
    done = _git(repository.root, "--no-optional-locks", "diff", "--name-only", "-z", "HEAD")
    return sum(map(bool, done.stdout.split("\0")))


@contextmanager
def worktree(repository: Repository, revision: Revision) -> Iterator[Path]:
    """A folder with the revision's files, as git checks them out.

    Raises:
        MeasuringError: it cannot be made, for want of space perhaps.
    """
    name = f"scaleprof-{secrets.token_hex(6)}"
    with _temporary_folder(revision) as folder:
        path = folder / name
        try:
            _add(repository, revision, path)
            yield path
        finally:
            _remove(repository, path)


@contextmanager
def _temporary_folder(revision: Revision) -> Iterator[Path]:
    try:
        folder = TemporaryDirectory(prefix="scaleprof-check-", ignore_cleanup_errors=True)
    except OSError as error:
        raise MeasuringError(
            f"{revision.label} cannot be had: no temporary folder ({error.strerror}); TMPDIR names another"
        ) from error
    with folder as path:
        yield Path(path).resolve()


def _add(repository: Repository, revision: Revision, path: Path) -> None:
    """Check the revision out; a person's hooks are none of a check's business."""
    options = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
    done = _git(
        repository.root, *options, "worktree", "add", "--quiet", "--detach", str(path), revision.commit
    )
    if done.returncode:
        raise MeasuringError(
            f"{revision.label} cannot be had: git made no worktree in {path.parent} ({_said(done)}; "
            f"{format_bytes(shutil.disk_usage(path.parent).free)} free there); TMPDIR names another folder"
        )


def _remove(repository: Repository, path: Path) -> None:
    """Take the worktree out of git's list and off the disk, in whatever state it is.

    Only this one: `git worktree prune` would also forget a person's own that is on a disk not mounted now.
    """
    # Twice: a worktree whose making was interrupted is locked.
    _git(repository.root, "worktree", "remove", "--force", "--force", str(path))
    shutil.rmtree(repository.git / "worktrees" / path.name, ignore_errors=True)
    with suppress(OSError):  # there may be others in it, or it was never made
        (repository.git / "worktrees").rmdir()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git; in a session of its own, so that Ctrl-C in a terminal leaves it to us to clean up."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**environment, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """What git said first: what follows from it comes after."""
    lines = done.stderr.strip().splitlines() or [f"git ended with code {done.returncode}"]
    return next((line for line in lines if line.startswith(("error:", "fatal:"))), lines[-1])

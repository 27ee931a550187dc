"""Where the arms of a check run: the working tree, a worktree of the revision, and each one's interpreter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from scaleprof.engines.arm_environments import differing_dependencies, make_environment
from scaleprof.engines.arms import Place
from scaleprof.engines.worktrees import (
    Repository,
    Revision,
    count_changed_files,
    find_repository,
    find_revision,
    head_of,
    worktree,
)
from scaleprof.errors import MeasuringError, UsageError
from scaleprof.records import Arm

WORKING_TREE = "working tree"
_OWN_PACKAGES = ("scaleprof", "src/scaleprof")
_ARM_MODULE = "engines/arm_process.py"

OnPreparing = Callable[[str], None]


class Places(msgspec.Struct, frozen=True):
    """Both arms' places, the commits that they are of, and how many files differ from the working tree's."""

    by_arm: Mapping[Arm, Place]
    commits: Mapping[Arm, str | None]
    changed_files: int
    notes: tuple[str, ...] = ()


@contextmanager
def open_places(folder: Path, revision: str | None, on_preparing: OnPreparing) -> Iterator[Places]:
    """Both arms' places: the revision and the working tree, or without a revision the working tree twice.

    Raises:
        UsageError: no repository, or no such revision.
        MeasuringError: the revision's files or packages cannot be had.
    """
    folder = folder.resolve()
    with TemporaryDirectory(prefix="scaleprof-arms-", ignore_cleanup_errors=True) as temporary:
        caches = _make_caches(Path(temporary))
        if revision is None:
            yield _self_test(folder, caches)
            return
        repository = find_repository(folder)
        found = find_revision(repository, revision)
        on_preparing(f"worktree of {found.label}")
        with worktree(repository, found) as root:
            before, notes = _revision_place(found, root, repository, folder, caches["before"], on_preparing)
            after = _working_tree(repository.root, folder, caches["after"])
            commits: dict[Arm, str | None] = {"before": found.commit, "after": head_of(repository)}
            changed = count_changed_files(repository)
            yield Places({"before": before, "after": after}, commits, changed, notes)


def _self_test(folder: Path, caches: Mapping[Arm, Path]) -> Places:
    """The working tree twice; it need be in no repository."""
    try:
        repository: Repository | None = find_repository(folder)
    except UsageError:
        repository = None
    root = repository.root if repository else folder
    commit = head_of(repository) if repository else None
    places: dict[Arm, Place] = {arm: _working_tree(root, folder, cache) for arm, cache in caches.items()}
    changed = count_changed_files(repository) if repository else 0
    return Places(places, {"before": commit, "after": commit}, changed)


def _working_tree(root: Path, folder: Path, cache: Path) -> Place:
    return Place(WORKING_TREE, root, root, folder, Path(sys.executable), cache)


def _revision_place(
    revision: Revision,
    root: Path,
    repository: Repository,
    folder: Path,
    cache: Path,
    on_preparing: OnPreparing,
) -> tuple[Place, tuple[str, ...]]:
    _require_arm_module(root, revision)
    differing = differing_dependencies(root, repository.root)
    python = Path(sys.executable)
    notes = []
    if differing.installed:
        files = " and ".join(differing.installed)
        on_preparing(f"environment of {revision.label}: {files} differ")
        python = make_environment(root, differing.installed, cache / "venv", revision.label)
        notes.append(f"{revision.label} runs in an environment of its own, since {files} differ")
    if differing.noted:
        files = " and ".join(differing.noted)
        notes.append(f"{files} differ, and pip installs nothing by them: both arms have the packages here")
    here = root / folder.relative_to(repository.root)
    here.mkdir(parents=True, exist_ok=True)  # the person may be in a folder that the revision lacks
    place = Place(revision.label, root, repository.root, here, python, cache)
    return place, tuple(notes)


def _require_arm_module(root: Path, revision: Revision) -> None:
    """Where this package itself is checked, the revision's own code measures."""
    for package in (root / name for name in _OWN_PACKAGES):
        if (package / "__init__.py").is_file() and not (package / _ARM_MODULE).is_file():
            raise MeasuringError(
                f"{revision.label} of scaleprof has no scaleprof.engines.arm_process: it is older than "
                f"check, and its own families cannot be run by it; name a later revision"
            )


def _make_caches(folder: Path) -> dict[Arm, Path]:
    caches: dict[Arm, Path] = {"before": folder / "before", "after": folder / "after"}
    for cache in caches.values():
        cache.mkdir()
    return caches

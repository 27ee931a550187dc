"""Which interpreter an arm runs with: the person's own, or one with what its revision asks for.

Where a revision declares the same dependencies as the working tree, both arms run with this interpreter.
Where they differ, the revision gets a virtual environment that sees all that is installed here, and what it
asks for differently is installed on top of that, by pip.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec

from scaleprof.errors import MeasuringError

# What pip cannot install from as it is. A difference there is told, and nothing else is done about it.
_NOTED = (
    *("poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "conda-lock.yml", "pylock.toml"),
    *("environment.yml", "environment.yaml", "setup.py"),
)
_REQUIREMENTS = ("requirements*.txt", "requirements/*.txt")
_INSTALL_TIMEOUT_S = 900.0


class Differences(msgspec.Struct, frozen=True):
    """In what two trees declare dependencies differently; names of files.

    `installed`: what pip can be given. `noted`: what it cannot.
    """

    installed: tuple[str, ...]
    noted: tuple[str, ...]


def differing_dependencies(root: Path, other: Path) -> Differences:
    """How the tree at `root` differs from another in what it depends on."""
    mine, theirs = _declared(root), _declared(other)
    installed = [name for name, wanted in mine.items() if wanted and wanted != theirs.get(name)]
    noted = [name for name in _NOTED if _text(root / name) != _text(other / name)]
    return Differences(tuple(installed), tuple(noted))


def make_environment(root: Path, differing: Sequence[str], folder: Path, label: str) -> Path:
    """The interpreter of a new virtual environment in `folder`, with what these files of `root` ask for.

    Raises:
        MeasuringError: it cannot be made, or pip fails; the message has its last line.
    """
    # pip, too, is seen from here where it is here; a copy of its own takes ten seconds.
    bare = ["--without-pip"] if _has_pip() else []
    _run([sys.executable, "-m", "venv", *bare, str(folder)], root, f"no virtual environment for {label}")
    python = folder / "bin" / "python"
    (site_packages,) = folder.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in _site_packages()]
    (site_packages / "zz_parent.pth").write_text("\n".join(lines) + "\n")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = [argument for name in differing for argument in _pip_arguments(root, name)]
    _run([*command, *wanted], root, f"pip cannot install what {label} asks for")
    return python


def _has_pip() -> bool:
    """Whether pip is installed here; looking for its module would wake setuptools' hook on distutils."""
    try:
        distribution("pip")
    except PackageNotFoundError:
        return False
    return True


def _declared(root: Path) -> dict[str, tuple[str, ...]]:
    """What each file asks for, as pip takes it."""
    files = sorted({path for pattern in _REQUIREMENTS for path in root.glob(pattern)})
    return {
        "pyproject.toml": _of_pyproject(root / "pyproject.toml"),
        "setup.cfg": _of_setup_cfg(root / "setup.cfg"),
        **{str(path.relative_to(root)): _lines(_text(path)) for path in files},
    }


def _of_pyproject(path: Path) -> tuple[str, ...]:
    try:
        project = tomllib.loads(_text(path)).get("project", {})
    except tomllib.TOMLDecodeError:
        return ()  # whoever needs it will say so
    wanted = project.get("dependencies", []) if isinstance(project, dict) else []
    return tuple(str(one) for one in wanted) if isinstance(wanted, list) else ()


def _of_setup_cfg(path: Path) -> tuple[str, ...]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        return ()
    return _lines(parser.get("options", "install_requires", fallback=""))


def _lines(text: str) -> tuple[str, ...]:
    stripped = (line.partition(" #")[0].strip() for line in text.splitlines())
    return tuple(line for line in stripped if line and not line.startswith("#"))


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _pip_arguments(root: Path, name: str) -> Sequence[str]:
    if name.endswith(".txt"):
        return ("-r", str(root / name))
    return _declared(root)[name]


def _site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def _run(command: Sequence[str], folder: Path, failing: str) -> None:
    """Run a command of Python's own tools; what fails is told by its last line."""
    # Modules of the tree that is to be measured are none of pip's.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise MeasuringError(f"{failing}: not done after {_INSTALL_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["it said nothing"]
        raise MeasuringError(f"{failing}: {said[-1]}")

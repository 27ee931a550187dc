"""Where the code that an arm runs comes from: its own revision, or it is no comparison."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import msgspec

from scaleprof.errors import ModelError

# The folder of this package, whose own families are targets, too.
PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class Tree(msgspec.Struct, frozen=True):
    """The folder of an arm's revision, and that of the person's own tree; equal in the arm of the latter."""

    root: Path
    person_root: Path

    def own_reference(self, reference: str) -> str:
        """How a model is named in this tree: a full path into the person's tree leads into this one."""
        file, colon, function = reference.rpartition(":")
        path = Path(file)
        if path.is_absolute() and path.resolve().is_relative_to(self.person_root):
            return f"{self.root / path.resolve().relative_to(self.person_root)}{colon}{function}"
        return reference

    def holds(self, file: str | Path | None) -> bool:
        """Whether a file is one of this tree, and not of what is installed in an environment within it."""
        if file is None:
            return False
        path = Path(file).resolve()
        return path.is_relative_to(self.root) and not _INSTALLED & set(path.parts)

    def require_holding(self, what: str, file: str | None) -> None:
        """Refuse code from elsewhere.

        Raises:
            ModelError: the file is not of this tree.
        """
        if not self.holds(file):
            raise ModelError(
                f"{what} was imported from {file or 'no file'}, which is not in the revision's tree: an "
                f"installed copy is the same in both arms (uninstall it, or put its folder on PYTHONPATH)"
            )

    def require_no_strays(self) -> None:
        """Refuse what has imported something from the person's tree instead of its own.

        It is forgotten then, so that whoever else imports it is found, too, and nobody else is blamed.

        Raises:
            ModelError: so it is.
        """
        files = {name: _file_of(module) for name, module in list(sys.modules.items())}
        strays = {name: file for name, file in files.items() if file is not None and self._is_stray(file)}
        for name in strays:
            del sys.modules[name]
        for name, file in strays.items():
            raise ModelError(
                f"{name} was imported from the working tree ({file}) and not from the revision: "
                f"put its folder on PYTHONPATH, from where it is found in either"
            )

    def _is_stray(self, file: str) -> bool:
        path = Path(file).resolve()
        return (
            path.is_relative_to(self.person_root)
            and not path.is_relative_to(self.root)
            and not path.is_relative_to(PACKAGE)  # what measures may live where it likes
            and not _INSTALLED & set(path.parts)
        )


def _file_of(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None

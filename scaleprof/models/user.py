"""A person's own network: one function, by file, by module, or by entry point.

`build(scale)` returns an `nn.Module`. Next to it the module may define `example_inputs(scale, batch_size)`,
which returns a tensor, a tuple of positional inputs, or a dictionary of keyword inputs (the network is called
as `network(**inputs)`); `None`, numbers and strings may stand among the tensors, and so may lists, tuples and
dictionaries of them (`scaleprof.models.arguments`). Without that function the input is one image
`[batch, 3, px, px]` with `px = scale.pixels(build.input_size)`, 224 at scale 1 if `build` has no such
attribute. Its code is executed: load only what you trust.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from scaleprof.errors import UsageError, suggestion
from scaleprof.models.arguments import arguments_of
from scaleprof.models.family import Inputs, image_batch
from scaleprof.records import ModelSpec, Quoted
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.rules import DIMENSIONS

if TYPE_CHECKING:
    from torch import nn

ENTRY_POINT_GROUP = "scaleprof.models"
DEFAULT_INPUT_PX = 224


class Home(msgspec.Struct):
    """The folder that a model's file is in, and the modules that it imported from there.

    Two models may each have a `layers.py` beside them: the modules are there while the model is loaded or
    built, and out of the way of others in between.
    """

    folder: Path
    modules: dict[str, ModuleType]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let the model import what lies beside it, as it could if it were run."""
        others = {name: sys.modules[name] for name in self.modules if name in sys.modules}
        sys.modules.update(self.modules)
        sys.path.insert(0, str(self.folder))
        before = set(sys.modules)
        try:
            yield
        finally:
            sys.path.remove(str(self.folder))
            # A package that was there before stays whole, whatever of it is imported now.
            new = {name: one for name, one in sys.modules.items() if name.partition(".")[0] not in before}
            self.modules |= {name: one for name, one in new.items() if self._holds(one)}
            for name in self.modules:
                sys.modules.pop(name, None)
            sys.modules.update(others)

    def _holds(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or _is_installed(file):
            return False
        return Path(file).resolve().is_relative_to(self.folder)


class UserModel(msgspec.Struct, frozen=True):
    """A builder function and its inputs; known by factors, since its integers are its own business.

    `reference` is what the person wrote, `locator` finds the same from any folder, `digest` tells one text of
    the module's file from another.
    """

    name: str
    reference: str
    locator: str
    builder: Callable[..., object]
    digest: str
    make_inputs: Callable[..., object] | None = None
    home: Home | None = None
    input_unit: Literal["px", "tokens"] = "px"
    note: str = ""
    is_monotone: bool = False  # nobody knows what a builder does

    @property
    def title(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.builder) or "a network of your own").splitlines()[0]

    @property
    def source(self) -> str:
        """Where the builder is."""
        return self.reference

    @property
    def dimensions(self) -> tuple[str, ...]:
        """All three, until counting finds one that the builder ignores."""
        return DIMENSIONS

    @property
    def means(self) -> dict[str, str]:
        """What a builder is told."""
        return {name: f"what {self.name} makes of scale.{name}" for name in DIMENSIONS}

    @property
    def base_input_size(self) -> int | None:
        """Side of the image at scale 1; None where the module makes its own inputs.

        Raises:
            UsageError: `build.input_size` is no side of an image.
        """
        given = getattr(self.builder, "input_size", None if self.make_inputs else DEFAULT_INPUT_PX)
        if given is not None and (not isinstance(given, int) or given < 1):
            raise UsageError(f"{self.reference}: input_size {given!r} must be a whole number of pixels")
        return given

    def integers(self, scale: Scale, input_size: int | None = None) -> tuple[None, int | None]:
        """No integers but the input's side."""
        base = self.base_input_size
        size = scale.pixels(base) if input_size is None and base is not None else input_size
        if size is not None and size < 1:
            raise UsageError(f"resolution factor {scale.resolution:.3g} leaves no pixel (raise --phi)")
        return None, size

    def build(self, spec: ModelSpec) -> nn.Module:
        """What the builder makes of the spec's factors.

        Raises:
            UsageError: the builder raised, or returned something else than a module.
        """
        from torch import nn

        with self._at_home(), foreign_code(self.reference, f"at {_words(spec)}"):
            network = self.builder(_scale_of(spec))
        if not isinstance(network, nn.Module):
            raise UsageError(
                f"{self.reference} returned {type(network).__name__} at {_words(spec)}: "
                f"a builder returns a torch.nn.Module"
            )
        return network

    def inputs(self, spec: ModelSpec, batch_size: int) -> Inputs:
        """Return what the module's `example_inputs` makes, or one batch of images.

        Raises:
            UsageError: it raised, or returned what cannot be a network's inputs.
        """
        if self.make_inputs is None:
            return Inputs(image_batch(spec, batch_size))
        reference = f"example_inputs of {self.reference}"
        with self._at_home(), foreign_code(reference, f"at {_words(spec)}"):
            made = self.make_inputs(_scale_of(spec), batch_size)
        return arguments_of(made, reference)

    def _at_home(self) -> AbstractContextManager[None]:
        return nullcontext() if self.home is None else self.home.open()

    def quoted(self, spec: ModelSpec) -> Quoted | None:  # noqa: ARG002 - nobody has published it
        """None: join accuracies of your own from a file."""
        return None


def from_file(reference: str) -> UserModel:
    """The model of `FILE.py:FACTORY`, called `STEM:FACTORY`.

    Raises:
        UsageError: no such file or function, or the file does not run.
    """
    module, factory, home = load_file(reference)
    path = Path(reference.rpartition(":")[0])
    return _model(f"{path.stem}:{factory}", reference, f"{path.resolve()}:{factory}", module, factory, home)


def load_file(reference: str, example: str = "build") -> tuple[ModuleType, str, Home]:
    """The module of `FILE.py:FUNCTION`, the function's name, and what lies beside the file.

    `example` is a name that such a function may have, for the words where there is none.

    Raises:
        UsageError: no such file, no name of a function, or the file does not run.
    """
    file, _, factory = reference.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{reference}: there is no file {file}")
    if not factory:
        raise UsageError(f"{reference} names no function: write {file}:{example}")
    spec = importlib.util.spec_from_file_location(f"_scaleprof_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{reference}: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    home = Home(path.resolve().parent, {spec.name: module})
    with home.open(), foreign_code(reference, "while it was loaded"):
        spec.loader.exec_module(module)
    return module, factory, home


def from_module(reference: str) -> UserModel:
    """The model of `MODULE:FACTORY`; modules in the current folder are found.

    Raises:
        UsageError: no such module or function, or the module does not run.
    """
    name, _, factory = reference.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    with foreign_code(reference, "while it was loaded"):
        module = importlib.import_module(name)
    return _model(reference, reference, reference, module, factory)


def from_entry_point(entry: EntryPoint) -> UserModel:
    """The model that an installed package announces under `scaleprof.models`.

    Raises:
        UsageError: what it announces cannot be loaded.
    """
    reference = f"{entry.name} ({entry.value})"
    if not entry.attr:
        raise UsageError(f"{reference} names no function: its package must announce MODULE:FACTORY")
    with foreign_code(reference, "while it was loaded"):
        module = importlib.import_module(entry.module)
    return _model(entry.name, reference, entry.name, module, entry.attr)


def _model(
    name: str, reference: str, locator: str, module: ModuleType, factory: str, home: Home | None = None
) -> UserModel:
    builder = find_function(module, factory, reference)
    inputs = getattr(module, "example_inputs", None)
    return UserModel(name, reference, locator, builder, _digest(module), inputs, home)


def find_function(module: ModuleType, name: str, reference: str) -> Callable[..., object]:
    """The function of a module that a person named by `reference`.

    Raises:
        UsageError: there is none.
    """
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        missing = f"there is no function '{name}'" if found is None else f"'{name}' is no function"
        raise UsageError(f"{reference}: {missing}{suggestion(name, known)}")
    function: Callable[..., object] = found
    return function


def _digest(module: ModuleType) -> str:
    """What the module's file holds, in a few letters: another text may be another network."""
    text = Path(module.__file__).read_bytes() if module.__file__ else b""
    return hashlib.sha256(text).hexdigest()[:12]


def _scale_of(spec: ModelSpec) -> Scale:
    return Scale(spec.depth, spec.width, spec.resolution, spec.rounding)


def _words(spec: ModelSpec) -> str:
    return f"depth {spec.depth:.4g}, width {spec.width:.4g}, resolution {spec.resolution:.4g}"


@contextmanager
def foreign_code(reference: str, when: str) -> Iterator[None]:
    """Run code that is not ours: what it prints goes to stderr, what it raises is told in one line.

    Raises:
        UsageError: it raised; the cause is kept, since memory that ran out is not the builder's mistake.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        # Whatever somebody else's code raises, it is theirs to know of, and no bug of ours.
        words = " ".join(str(error).split()) or "without words"
        kind = type(error).__name__
        raise UsageError(f"{reference} raised {kind} {when}: {words}{place_of(error)}") from error


def place_of(error: BaseException) -> str:
    """The deepest line of the person's own code that the error came through, if there is one."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not _is_installed(frame.filename)
    ]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


def _is_installed(filename: str) -> bool:
    return filename.startswith("<") or "site-packages" in filename or filename.startswith(_library_folders())


@cache
def _library_folders() -> tuple[str, ...]:
    """Where Python's own library is."""
    return tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))

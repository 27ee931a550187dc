"""What an arm runs: a model at a scale, or what a person's function returns, by its own revision's code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from scaleprof.errors import UsageError
from scaleprof.measuring.making import make_checked
from scaleprof.measuring.messages import Job
from scaleprof.measuring.origins import PACKAGE, Tree
from scaleprof.measuring.preparing import Preparer
from scaleprof.measuring.timing import Call
from scaleprof.models.family import Model, ModelFamily
from scaleprof.models.user import UserModel, foreign_code
from scaleprof.records import BASE_STRATEGY, CheckTarget, ModelSpec
from scaleprof.scaling.rules import Bases
from scaleprof.scaling.sweep import PhiValues, Sweep, base_spec, expand, left_out


class AbsentError(UsageError):
    """This revision has no such model or function."""


class Returned(NamedTuple):
    """What a person's function returned: something to call, and what to call it with."""

    function: Callable[..., object]
    positional: tuple[Any, ...]
    keywords: dict[str, Any]

    @property
    def inputs(self) -> tuple[Any, ...]:
        """All of them, the keywords' last."""
        return (*self.positional, *self.keywords.values())

    def call(self) -> object:
        """Call it once."""
        return self.function(*self.positional, **self.keywords)


class Targets:
    """Loads and builds the targets of one process.

    Args:
        device: of models; what a function returns is where it put it.
        seed: of weights and inputs.
        tree: where code must come from.
        folder: for exported models.
    """

    def __init__(self, device: str, seed: int, tree: Tree, folder: Path) -> None:
        self._preparer = Preparer(device, seed)
        self._seed = seed
        self._tree = tree
        self._folder = folder

    def load(self, target: CheckTarget) -> None:
        """Execute a target's code, and build nothing.

        Raises:
            AbsentError: there is none.
            UsageError: it does not load.
            ModelError: it comes from elsewhere.
        """
        if target.function is not None:
            self._function(target.function)
        else:
            self.model(target)
        self.check_imports()

    def check_imports(self) -> None:
        """See that all code that was loaded so far is of this tree, or installed.

        Raises:
            ModelError: it is of the person's tree, and this is another.
        """
        self._tree.require_no_strays()

    def call(self, target: CheckTarget, *, settled: bool = True) -> Call:
        """A forward of a target, built and ready; without `settled` its numbers may fade, and its time lie.

        Raises:
            UsageError, ModelError: as `load`, or it cannot be built.
        """
        if target.function is not None:
            call: Call = self.returned(target.function).call
        else:
            model = self.model(target)
            prepared = self._preparer.prepare(self._job(target, model), settled=settled)
            folder = self._folder / target.name.replace("/", "-")
            call = (
                prepared.call() if target.workload.runtime == "eager" else make_checked(prepared, folder).call
            )
        self.check_imports()
        return call

    def model(self, target: CheckTarget) -> Model:
        """The model of a target.

        Raises:
            AbsentError: there is none of that name, or in that place.
            UsageError: its code does not load.
            ModelError: its code is not of this tree.
        """
        reference = self._reference(target)
        try:
            model = self._preparer.find(reference)
        except UsageError as error:
            if error.__cause__ is None or _is_missing(reference.partition(":")[0], error.__cause__):
                raise AbsentError(str(error)) from error
            raise
        if isinstance(model, UserModel) and ":" in reference:
            self._tree.require_holding(reference, _file_of(reference))
        return model

    def note(self, target: CheckTarget) -> str | None:
        """What is worth knowing of a target that has been loaded: that it cannot differ between the arms."""
        if self._tree.holds(self._source(target)):
            return None
        return f"{target.name} is no code of this repository: it is the same in both arms"

    def _source(self, target: CheckTarget) -> str | None:
        """The file that a target's own code is in."""
        if target.function is not None:
            return _file_of(target.function)
        model = self.model(target)
        if isinstance(model, ModelFamily):
            return str(PACKAGE / "__init__.py")
        if not isinstance(model, UserModel):
            return None
        reference = self._reference(target)
        return _file_of(reference if ":" in reference else model.builder.__module__)

    def spec(self, target: CheckTarget) -> ModelSpec:
        """The spec of a target, by this revision's own rules of scaling.

        Raises:
            UsageError: there is no such scale of it.
        """
        return spec_of(target, self.model(target))

    def returned(self, name: str) -> Returned:
        """What a function returns.

        Raises:
            AbsentError, UsageError, ModelError: as `load`; or it raised, or returned something else.
        """
        function = self._function(name)
        torch.manual_seed(self._seed)
        with torch.inference_mode(False), foreign_code(name, "when it was called"):
            made = function()
        if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0])):
            raise UsageError(f"{name} returned {_kind(made)}: it returns a callable and its inputs")
        called, inputs = made
        if isinstance(called, nn.Module):
            called.eval()
        return Returned(called, *_arguments(name, inputs))

    def _function(self, name: str) -> Callable[[], object]:
        module_name, _, path = name.partition(":")
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        try:
            with foreign_code(name, "while it was loaded"):
                found: Any = importlib.import_module(module_name)
        except UsageError as error:
            if _is_missing(module_name, error.__cause__):
                raise AbsentError(f"{name}: there is no module {module_name}") from error
            raise
        self._tree.require_holding(module_name, _file_of(name))
        for part in path.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise AbsentError(f"{name}: there is no function '{path}' in {module_name}")
        function: Callable[[], object] = found
        return function

    def _job(self, target: CheckTarget, model: Model) -> Job:
        return Job(0, spec_of(target, model), target.workload, self._reference(target))

    def _reference(self, target: CheckTarget) -> str:
        if target.model is None:
            raise TypeError(f"{target.name} is no model")
        return self._tree.own_reference(target.model)


def spec_of(target: CheckTarget, model: Model) -> ModelSpec:
    """The spec that a target means of a model.

    Raises:
        UsageError: a strategy or φ that the model cannot have.
    """
    if target.strategy == BASE_STRATEGY:
        return base_spec(model, target.rounding)
    phi = int(target.phi) if target.phi == int(target.phi) else target.phi
    bases = Bases(target.depth_base, target.width_base, target.resolution_base)
    sweep = Sweep((model.name,), (target.strategy,), PhiValues((phi,)), bases, target.rounding)
    if left_out(sweep, model):
        raise UsageError(
            f"{model.name} grows in {' and '.join(model.dimensions)} only: it has no {target.strategy}"
        )
    (spec,) = expand(sweep, {model.name: model})
    return spec


class AsNetwork(nn.Module):
    """What a function returned as a network with positional inputs, so that it can be counted like any other.

    Its parameters are those of the module that is called, or whose method is.
    """

    def __init__(self, returned: Returned) -> None:
        super().__init__()
        self.called = returned.function
        owner = getattr(returned.function, "__self__", None)
        self.owner = owner if isinstance(owner, nn.Module) else None
        self.names = tuple(returned.keywords)

    def forward(self, *inputs: Any) -> object:
        """Call it with its inputs where they belong."""
        split = len(inputs) - len(self.names)
        return self.called(*inputs[:split], **dict(zip(self.names, inputs[split:], strict=True)))


def _arguments(name: str, inputs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments: of a tensor, a tuple or list, or a dictionary by name."""
    if isinstance(inputs, torch.Tensor):
        return (inputs,), {}
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs), {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    raise UsageError(
        f"{name} returned inputs of type {type(inputs).__name__}: a tensor, a tuple or a dictionary is needed"
    )


def _kind(made: object) -> str:
    if isinstance(made, Sequence) and not isinstance(made, str):
        return f"{type(made).__name__} of {len(made)}"
    return type(made).__name__


def _is_missing(module: str, cause: BaseException | None) -> bool:
    """Whether a module is not there, as against one that does not find what it imports itself."""
    return isinstance(cause, ModuleNotFoundError) and f"{module}.".startswith(f"{cause.name}.")


def _file_of(reference: str) -> str | None:
    """The file that `FILE.py:FUNCTION` or `MODULE:FUNCTION` was loaded from."""
    name = reference.rpartition(":")[0] or reference
    if name.endswith(".py"):
        return name
    module = sys.modules.get(name)
    return getattr(module, "__file__", None)

"""A user's module, borrowed for a pass: on another device without a copy, and afterwards as it was.

A copy would need everything that a module holds to be copyable, which locks, cached tensors and weights that
are computed from others are not. So the module itself is run: while it is borrowed its tables of parameters
and buffers, its attributes and its hooks are others, which the pass may change as it likes.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MethodType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from scaleprof.models.packed import Held

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_EVERYBODYS_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
# Objects that a module holds, and those that these hold; deeper ones are not looked into.
_DEEPEST = 2
_CONTAINERS = (list, dict, OrderedDict, defaultdict, set, tuple, deque)


@contextmanager
def borrowed(module: nn.Module, device: str) -> Iterator[None]:
    """Have all of a module's tensors on `device` ("meta" or "cpu"), and undo what is done to it meanwhile.

    On the CPU parameters are the module's own, seen by other objects, and buffers are copied, since a pass
    may write to them. Weights that are shared stay shared. Hooks run that torch or an object of the network
    has installed, such as those of weight normalisation, pruning and lazy modules: they are part of what the
    network computes. All others are the user's, and do not run. The random state is kept, too.
    """
    mover = _Mover(device)
    with ExitStack() as undo:
        undo.callback(_random_state())
        parts = list(module.modules())
        network = _Network(parts)
        for part in parts:
            undo.callback(_lend(part, mover, network))
        undo.enter_context(_without_everybodys_hooks())
        yield


def is_lazy(held: Held) -> bool:
    """Whether a module waits for its first inputs to make its weights."""
    kinds = (UninitializedParameter, UninitializedBuffer)
    return any(isinstance(tensor, kinds) for tensor in (*held.parameters, *held.buffers))


class _Mover:
    """Other tensors in place of a module's, one for each, and containers of them; objects are kept."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._moved: dict[int, Any] = {}
        self._kept: list[Any] = []  # what ids in the table stand for must not be freed

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, (torch.Tensor, *_CONTAINERS)):
            return value
        if id(value) not in self._moved:
            self._kept.append(value)
            self._moved[id(value)] = value  # a container that holds itself
            self._moved[id(value)] = (
                self._tensor(value) if isinstance(value, torch.Tensor) else self._held(value)
            )
        return self._moved[id(value)]

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
            kind: Any = type(tensor)
            return kind(device=self.device, dtype=tensor.dtype)  # type: ignore[no-any-return]
        is_parameter = isinstance(tensor, nn.Parameter)
        moved = tensor.detach().to(self.device, copy=self.device == "cpu" and not is_parameter)
        if is_parameter:
            return nn.Parameter(moved, tensor.requires_grad)
        return moved

    def _held(self, container: Any) -> Any:
        kind = type(container)
        if kind not in _CONTAINERS:
            return container  # a named tuple, a configuration: somebody's own kind of container
        if kind is tuple:
            held = tuple(map(self, container))
            return container if all(a is b for a, b in zip(held, container, strict=True)) else held
        if kind is set:
            return set(container)
        if kind is deque:
            return deque(map(self, container), container.maxlen)
        if kind is list:
            return [self(one) for one in container]
        copied = container.copy()
        for name, one in container.items():
            copied[name] = self(one)
        return copied


class _Network:
    """What a network is made of, to tell its hooks from the user's."""

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        self._objects: set[int] = set()
        self._classes: set[tuple[str, str]] = set()
        for part in parts:
            self._objects.add(id(part))
            self._objects.update(map(id, vars(part).values()))
            self._classes.add((type(part).__module__, type(part).__qualname__))

    def has_installed(self, hook: Any) -> bool:
        """Whether a hook is torch's own, a method of something in the network, or written in its classes."""
        while isinstance(hook, partial):
            hook = hook.func
        owner = hook.__self__ if isinstance(hook, MethodType) else hook
        if id(owner) in self._objects:
            return True
        origin = owner if hasattr(owner, "__qualname__") else type(owner)
        module, name = str(origin.__module__), origin.__qualname__
        if module.partition(".")[0] == "torch":
            return True
        return any(module == of and name.startswith(f"{one}.") for of, one in self._classes)


def _lend(part: nn.Module, move: _Mover, network: _Network) -> Callable[[], None]:
    """Give one module other tables, and return how to give it its own back."""
    if isinstance(part, torch.jit.ScriptModule):
        return _lend_scripted(part)
    kind, own = part.__class__, dict(vars(part))
    objects = _Objects()
    lent = {}
    tables = [(value, value.copy()) for name, value in own.items() if _is_hook_table(name, value)]
    for name, value in own.items():
        if _is_hook_table(name, value):
            continue
        if isinstance(value, (torch.Tensor, *_CONTAINERS)):
            lent[name] = move(value)  # may raise: nothing is changed before it
        else:
            objects.hold(value)
    for name in _HOOKS:  # the tables stay, handles refer to them: lazy modules remove their hook by one
        for key in [key for key, hook in own[name].items() if not network.has_installed(hook)]:
            del own[name][key]
    vars(part).update(lent)

    def give_back() -> None:
        if part.__class__ is not kind:  # lazy modules become others
            part.__class__ = kind
        _restore(vars(part), own)
        for table, before in tables:
            table.clear()
            table.update(before)
        objects.restore()

    return give_back


def _is_hook_table(name: str, value: Any) -> bool:
    """Whether an attribute is one of torch's tables of hooks, and not the user's own of a similar name."""
    return name.startswith("_") and "_hooks" in name and isinstance(value, dict)


class _Objects:
    """What the objects that a module holds were like, such as a cache or a table of positions."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[Any, dict[str, Any], dict[str, Any]]] = {}

    def hold(self, value: Any, depth: int = 1) -> None:
        """Remember an object's attributes, and the contents of containers in them."""
        own = getattr(value, "__dict__", None)
        if type(own) is not dict or id(value) in self._before or _is_code(value):
            return
        contents = {name: one.copy() for name, one in own.items() if type(one) in (list, dict, set, deque)}
        self._before[id(value)] = (value, dict(own), contents)
        if depth < _DEEPEST:
            for one in own.values():
                self.hold(one, depth + 1)

    def restore(self) -> None:
        """Make all objects again what they were."""
        for value, own, contents in self._before.values():
            _restore(vars(value), own)
            for name, before in contents.items():
                held = own[name]
                held.clear()
                (held.extend if isinstance(held, (list, deque)) else held.update)(before)


def _restore(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    for name in attributes.keys() - before.keys():
        del attributes[name]
    attributes.update(before)


def _is_code(value: Any) -> bool:
    """Whether a value is a class, a function, or something that is looked after elsewhere."""
    kinds = (type, ModuleType, nn.Module, torch.Tensor, partial)
    return isinstance(value, kinds) or hasattr(value, "__code__") or hasattr(value, "__wrapped__")


def _lend_scripted(part: torch.jit.ScriptModule) -> Callable[[], None]:
    """Scripted modules keep their tensors to themselves: what a pass may change of these is put back."""
    training = part.training
    gradients = [(one, one.grad) for one in part.parameters(recurse=False)]
    buffers = [(one, one.clone()) for one in part.buffers(recurse=False)]

    def give_back() -> None:
        part.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)

    return give_back


@contextmanager
def _without_everybodys_hooks() -> Iterator[None]:
    """Hooks that run for every module of the process are the user's."""
    tables = [getattr(module_hooks, name) for name in _EVERYBODYS_HOOKS]
    before = [dict(table) for table in tables]
    try:
        for table in tables:
            table.clear()
        yield
    finally:
        for table, held in zip(tables, before, strict=True):
            table.update(held)


def _random_state() -> Callable[[], None]:
    """How to give Python's, torch's and NumPy's generators back the state that they have now."""
    undo = ExitStack()
    undo.callback(random.setstate, random.getstate())
    undo.callback(torch.random.set_rng_state, torch.random.get_rng_state())
    if torch.cuda.is_initialized():
        undo.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        undo.callback(numpy_random.set_state, numpy_random.get_state())
    return undo.close

"""`torch.compile` with inductor, its default mode, for the shapes of these inputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from scaleprof.measuring.passes import forward_pass
from scaleprof.measuring.runtimes.runnable import Runnable, RuntimeUnsupportedError, refusing
from scaleprof.records import Workload

NAME = "torch.compile"
# torch keeps what it compiled by code object, and after eight networks of one class, the scales of a family
# say, it runs the others in eager without an error. These are no limits.
_COMPILED_NETWORKS = 100_000


class _Inductor:
    """Inductor as a backend of its own for each network, which counts the graphs that it is given."""

    def __init__(self, threads: int) -> None:
        self.graphs = 0
        # Kernels are compiled for a number of threads; named here, it is part of what the cache goes by.
        self._options = {"cpp.threads": threads}

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        inductor = cast(Any, torch._dynamo.lookup_backend("inductor"))
        return cast(Callable[..., Any], inductor(graph, inputs, config_patches=self._options))


class CompiledNetwork:
    """A network that is called in its own place; the first pass compiles it, the first backward pass that.

    Raises:
        RuntimeUnsupportedError: `torch.compile` is switched off, or there is no C++ compiler.
    """

    def __init__(self, network: nn.Module, workload: Workload) -> None:
        _require_compiler(workload)
        config = torch._dynamo.config
        config.recompile_limit = config.accumulated_recompile_limit = _COMPILED_NETWORKS
        config.suppress_errors = False  # else what fails to compile runs in eager
        self._inductor = _Inductor(workload.threads)
        self._compiled = torch.compile(network, backend=self._inductor, dynamic=False)

    def __call__(self, *inputs: torch.Tensor) -> object:
        """What the network puts out."""
        return self._compiled(*inputs)

    @property
    def graphs(self) -> int:
        """In how many pieces it has been compiled so far; between two of them Python runs."""
        return self._inductor.graphs

    def require_compiled(self) -> None:
        """To be asked after a pass.

        Raises:
            RuntimeUnsupportedError: nothing has been compiled, and what runs is eager.
        """
        if not self.graphs:
            raise RuntimeUnsupportedError("torch.compile compiled none of it: it would be timed as in eager")


def make_runnable(network: nn.Module, inputs: tuple[torch.Tensor, ...], workload: Workload) -> Runnable:
    """Compile the network in a first pass."""
    compiled = CompiledNetwork(network, workload)
    call = forward_pass(compiled, inputs, workload)
    with refusing(NAME):
        call()
    compiled.require_compiled()
    return Runnable(call, compiler_version(), graphs=compiled.graphs)


def compiled_network(network: nn.Module, workload: Workload) -> CompiledNetwork:
    """The network as it is called in a step that trains it."""
    return CompiledNetwork(network, workload)


def prime_compiler(workload: Workload) -> None:
    """Compile one multiplication.

    The first compilation of a machine also probes the processor and compiles a header of its own, for all
    that follow: that is not the first network's compile time.

    Raises:
        RuntimeUnsupportedError: there is no working compiler.
    """
    _require_compiler(workload)

    def double(values: torch.Tensor) -> torch.Tensor:
        """Anything that becomes a kernel."""
        return values * 2

    with refusing(NAME):
        torch.compile(double, dynamic=False)(torch.ones(64, device=workload.device))


def compiler_version() -> str:
    """Inductor comes with torch."""
    return f"torch {torch.__version__} inductor"


def _require_compiler(workload: Workload) -> None:
    """On the CPU, inductor writes C++."""
    if torch._dynamo.config.disable or os.environ.get("TORCHDYNAMO_DISABLE") == "1":
        raise RuntimeUnsupportedError(
            "torch.compile is switched off: unset TORCH_COMPILE_DISABLE and TORCHDYNAMO_DISABLE"
        )
    compiler = os.environ.get("CXX", "g++")
    if not workload.on_cuda and shutil.which(compiler) is None:
        raise RuntimeUnsupportedError(
            f"torch.compile needs a C++ compiler, and there is no {compiler}: install g++, or name one in CXX"
        )

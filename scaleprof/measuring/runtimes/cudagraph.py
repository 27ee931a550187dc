"""The network's own kernels as a CUDA graph: replayed as one launch, outputs where they were captured."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from scaleprof.measuring.cuda.graphs import CaptureError, Captures
from scaleprof.measuring.passes import forward_pass
from scaleprof.measuring.runtimes.runnable import Runnable, RuntimeUnsupportedError
from scaleprof.records import Workload


def make_runnable(network: nn.Module, inputs: tuple[torch.Tensor, ...], workload: Workload) -> Runnable:
    """Capture a pass; each call replays it on the same inputs."""
    try:
        graph = _captures(workload.device).capture(forward_pass(network, inputs, workload))
    except CaptureError as error:
        raise RuntimeUnsupportedError(str(error)) from error
    return Runnable(graph, f"torch {torch.__version__} CUDA graph")


@cache
def _captures(device: str) -> Captures:
    """One of a process: its graphs share a stream and a pool of memory."""
    return Captures(device)

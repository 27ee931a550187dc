"""CUDA graphs: a pass is captured once, and then replayed as one launch without gaps between its kernels."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import torch

from scaleprof.errors import NETWORK_ERRORS
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.timing import Call

# Before capturing, libraries make their handles and workspaces, and choose their kernels; torch's notes on
# CUDA graphs ask for a few passes on a side stream.
_WARMUP_PASSES = 3
# What a block begins and ends with, some microseconds, is then below a thousandth of it.
BLOCK_S = 0.01
# The median of a visit's blocks, where one is disturbed.
_BLOCKS = 3
# A block that came out too short is made longer by this much more than it lacked.
_BLOCK_MARGIN = 1.1


class CaptureError(Exception):
    """A pass cannot be captured; the message says why, in one line."""


class Graph:
    """A captured pass. A call replays it and returns its outputs, which is what a pass is elsewhere.

    `outputs` are what the pass returned when it was captured; each replay writes their memory anew. Graphs
    share a pool of memory, so another graph's replay may overwrite them: look at them right after a replay.
    """

    def __init__(self, graph: Any, outputs: object, pool: Any) -> None:
        self._graph = graph
        self.outputs = outputs
        self.pool = pool

    def __call__(self) -> object:
        """Replay it, and give its outputs."""
        self.replay()
        return self.outputs

    def replay(self) -> None:
        """Enqueue the whole pass."""
        self._graph.replay()

    def release(self) -> None:
        """Give its memory back to the pool; it cannot be replayed any more."""
        self.outputs = None
        self._graph.reset()


class Captures:
    """Captures passes of one process on one device, on one side stream and into one pool of memory.

    So graphs of many models take as much memory as the largest, beside their outputs. They must not be
    replayed at the same time, and the outputs of one do not outlive the replay of another.

    Args:
        device: `cuda:N`.
        cuda: the module `torch.cuda`, or what stands in for it.
    """

    def __init__(self, device: str, *, cuda: Any = torch.cuda) -> None:
        self._device = torch.device(device)
        self._cuda = cuda
        # Workspaces that a library keeps for a stream are made once, with one stream for all captures.
        self._stream: Any = None
        self._pool: Any = None
        self._graphs: WeakSet[Graph] = WeakSet()

    def capture(self, call: Call) -> Graph:
        """The graph of one pass, which has been replayed once.

        The pass must have run before, and runs a few times more.

        Raises:
            CaptureError: the pass cannot be captured (it waits for the device, say), or memory ran out.
        """
        with self._cuda.device(self._device):
            self._stream = self._stream or self._cuda.Stream(self._device)
            if all(graph.pool != self._pool for graph in self._graphs):
                # A pool that no graph holds any more is on its way out: torch refuses to capture into it.
                self._pool = self._cuda.graph_pool_handle()
            self._stream.wait_stream(self._cuda.current_stream(self._device))
            # If a capture cannot be ended, torch.cuda.graph leaves its stream the current one; this does not.
            with self._cuda.stream(self._stream):
                graph = self._captured(call)
            graph.replay()  # the first one uploads it
            self._cuda.synchronize(self._device)
        self._graphs.add(graph)
        return graph

    def release(self, graph: Graph) -> None:
        """Free a graph now; one that nobody knows any more is freed by itself."""
        graph.release()
        self._graphs.discard(graph)

    def _captured(self, call: Call) -> Graph:
        graph, raised = self._cuda.CUDAGraph(), list[Exception]()
        generator = self._cuda.default_generators[self._index]
        sound_state = generator.clone_state()

        def pass_that_tells() -> object:
            """One pass; the end of the capture hides what went wrong in it."""
            try:
                return call()
            except NETWORK_ERRORS as error:
                raised.append(error)
                raise

        try:
            for _ in range(_WARMUP_PASSES):
                pass_that_tells()
            with self._cuda.graph(graph, pool=self._pool, stream=self._stream):
                outputs = pass_that_tells()
        except NETWORK_ERRORS as error:
            self._leave_behind(graph)
            generator.graphsafe_set_state(sound_state)
            reason = _first_line(raised[0] if raised else error)
            raise CaptureError(f"a pass cannot be captured: {reason}") from error
        return Graph(graph, outputs, self._pool)

    def _leave_behind(self, graph: Any) -> None:
        """After a failed capture, so that the process can go on and capture other passes.

        What is known of it, from torch's sources: the driver has ended the capture, and its error does not
        stay with the context. But

        - until torch's pull request 180395 (April 2026) the allocator goes on as if it were recording: it
          gives no cached memory back, keeps a filter of the graph, which may be gone, and refuses to record
          into that pool again. So recording is ended here, while the graph lives; a torch that has done so
          itself raises;
        - until its pull request 190348 (July 2026) the pool is never freed, and its memory stays with the
          process. Later captures take a pool, and a stream, of their own;
        - the generator may go on as if it were captured, and refuse random numbers (for dropout) from then
          on. So `_captured` gives it the state that it had before.
        """
        with suppress(RuntimeError):
            graph.reset()
        with suppress(RuntimeError, AttributeError):  # no part of torch's documented interface
            self._cuda.memory._cuda_endAllocateToPool(self._index, self._pool)
        self._stream = self._pool = None
        self._cuda.synchronize(self._device)
        self._cuda.empty_cache()

    @property
    def _index(self) -> int:
        return self._device.index or 0


class GraphTimer:
    """Times a graph in blocks of replays, each of at least 10 ms.

    Args:
        graph: what to replay.
        timer: the device's.
    """

    def __init__(self, graph: Graph, timer: CudaTimer) -> None:
        self.graph = graph
        self._timer = timer
        self._replays = 1

    def samples_s(self) -> tuple[float, ...]:
        """Seconds a pass of each of three blocks of replays, launched back to back and timed by events."""
        samples: list[float] = []
        while len(samples) < _BLOCKS:
            block_s = self._timer.block_s(self._block)
            if block_s >= BLOCK_S:
                samples.append(block_s / self._replays)
            else:
                self._replays = _longer(self._replays, block_s)
        return tuple(samples)

    def _block(self) -> None:
        for _ in range(self._replays):
            self.graph.replay()


def _longer(replays: int, block_s: float) -> int:
    """How many replays make a block that is long enough, when so many took `block_s` seconds."""
    if block_s <= 0:
        return 2 * replays
    return max(replays + 1, math.ceil(replays * _BLOCK_MARGIN * BLOCK_S / block_s))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

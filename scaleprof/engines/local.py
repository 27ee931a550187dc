"""Worker processes on this machine, watched from outside.

The parent sleeps on a pipe while a worker measures. A worker that dies, hangs or stops making sense is
turned into a `BenchLostError` that says which model was in hand.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from scaleprof.engines.workers import WorkerProcess
from scaleprof.errors import MeasuringError
from scaleprof.measuring.host import DEVICE_ORDER, OPENMP_WAITING
from scaleprof.measuring.messages import (
    Build,
    Built,
    CeilingsMeasured,
    Command,
    Compile,
    Job,
    Made,
    MeasureCeilings,
    Open,
    Opened,
    Ran,
    Refused,
    Reply,
    Sustain,
    Tried,
    Try,
    Visit,
    Visited,
)
from scaleprof.measuring.rounds import BenchLostError, JobFailedError
from scaleprof.records import DType, Host, Sustained

AllocatorPolicy = Literal["pinned", "default"]
# glibc otherwise falls at random into one of two states per process, which changes rankings of models.
# The mmap threshold is the largest that glibc takes; the others keep freed memory in the heap.
PINNED_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
# `default` leaves the allocator as the environment has it.
ALLOCATORS: dict[AllocatorPolicy, tuple[str, dict[str, str]]] = {
    "pinned": ("glibc pinned", PINNED_ALLOCATOR),
    "default": ("default", {}),
}
# It would be a second word on how threads wait.
_DROPPED = ("OMP_WAIT_POLICY",)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Inductor keeps a precompiled header below TMPDIR whatever its cache's folder.
_COMPILED_IN = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "TMPDIR": ""}
# Inductor's pool of compiling processes would stay there beside what is timed.
_COMPILING_ALONE = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
_START_TIMEOUT_S = 300.0
# Compilers take minutes and are outside every budget; one that takes an hour hangs.
_COMPILE_TIMEOUT_S = 3600.0
# A second or two; on a processor without the dtype a single product may take longer.
_CEILINGS_TIMEOUT_S = 60.0

_Answer = TypeVar("_Answer", Made, Built, Visited, Ran, Tried, CeilingsMeasured)


class LocalBench:
    """One worker process; a `scaleprof.measuring.rounds.Bench`.

    Args:
        device: `cpu` or `cuda:N`.
        threads: intra-operator threads, and CPUs to pin to.
        seed: of weights and inputs.
        timeout_s: longest time that building or visiting one model may take, compiling aside.
        allocator: `pinned`, or `default` for malloc as the environment has it.
        folder: where compiled code and exported models are kept for the sweep's next workers; without one,
            they are gone with this worker.
    """

    def __init__(
        self,
        *,
        device: str,
        threads: int,
        seed: int,
        timeout_s: float,
        folder: Path | None = None,
        allocator: AllocatorPolicy = "pinned",
    ) -> None:
        self._timeout_s = timeout_s
        self.worker = secrets.token_hex(4)
        name, variables = ALLOCATORS[allocator]
        self._own_folder = None if folder else tempfile.TemporaryDirectory(prefix="scaleprof-")
        folder = Path(self._own_folder.name) if self._own_folder else folder
        self._process = WorkerProcess(
            "scaleprof.measuring.worker", worker_environment(os.environ, threads, variables, folder)
        )
        with ExitStack() as on_error:  # an interruption here must not leave the process behind
            on_error.callback(self.close)
            on_error.callback(self.kill)
            self.host = self._open(Open(device, threads, seed, name, str(folder)))
            on_error.pop_all()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def build(self, job: Job, *, inspect: bool = True) -> Built:
        """Build and warm up a model in the worker; compile it before, if its runtime does."""
        if job.workload.runtime != "eager":
            self._ask(Compile(job), job, Made, limit_s=_COMPILE_TIMEOUT_S)
        return self._ask(Build(job, inspect), job, Built)

    def visit(self, job: Job) -> Visited:
        """Time a model in the worker."""
        return self._ask(Visit(job.number), job, Visited)

    def sustain(self, job: Job, at_least_s: float, energy_s: float) -> Sustained:
        """Run a model back to back in the worker."""
        return self._ask(Sustain(job.number, at_least_s, energy_s), job, Ran).sustained

    def ceilings(self, dtype: DType) -> CeilingsMeasured:
        """The machine's ceilings, as the worker's last work; where it is lost over that, the reason."""
        limit_s = _CEILINGS_TIMEOUT_S
        try:
            return self._ask(
                MeasureCeilings(dtype),
                None,
                CeilingsMeasured,
                limit_s=limit_s,
                rule="no ceiling may take longer",
            )
        except BenchLostError as lost:
            return CeilingsMeasured(None, lost.reason)

    def try_out(self, job: Job) -> float:
        """Seconds a pass of a model in the worker, roughly; it is not kept."""
        if job.workload.runtime != "eager":
            self._ask(Compile(job), job, Made, limit_s=_COMPILE_TIMEOUT_S)
        return self._ask(Try(job), job, Tried).pass_s

    def close(self) -> None:
        """End the worker and free what belongs to it."""
        self._process.close()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def kill(self) -> None:
        """End the worker at once, whatever it is doing, and with it what it has started."""
        self._process.kill()

    def _open(self, opening: Open) -> Host:
        try:
            self._process.send(opening)
            reply = _reply_decoder.decode(self._process.receive(_START_TIMEOUT_S))
        except (TimeoutError, EOFError, BrokenPipeError) as error:
            self._process.wait_or_kill()
            reason = f"{self._process.how_it_ended()}; scaleprof doctor says whether torch works here"
            raise MeasuringError(f"the measuring worker did not start: {reason}") from error
        if not isinstance(reply, Opened):
            raise MeasuringError(f"the measuring worker did not start: it answered {reply}")
        return reply.host

    def _ask(
        self,
        command: Command,
        job: Job | None,
        wanted: type[_Answer],
        *,
        limit_s: float | None = None,
        rule: str = "compiling may take no longer",
    ) -> _Answer:
        """The worker's answer to a command; without `limit_s`, within the time-out that was asked for.

        `rule` says what sets the limit.
        """
        rule = rule if limit_s else "--timeout"
        reply: Reply = _reply_decoder.decode(self._process.ask(command, limit_s or self._timeout_s, rule))
        if isinstance(reply, Refused):
            raise (BenchLostError if reply.fatal else JobFailedError)(reply.status, reply.reason)
        if not isinstance(reply, wanted):
            about = job.spec.spec_id if job else type(command).__name__
            raise MeasuringError(f"the worker answered {type(reply).__name__} for {about}")
        return reply


_reply_decoder = msgspec.json.Decoder(Reply)


@contextmanager
def open_worker(
    *,
    device: str,
    threads: int,
    seed: int,
    timeout_s: float,
    allocator: AllocatorPolicy = "pinned",
    folder: Path | None = None,
) -> Iterator[LocalBench]:
    """A fresh worker that is ended on the way out, at once if on an error."""
    bench = LocalBench(
        device=device, threads=threads, seed=seed, timeout_s=timeout_s, folder=folder, allocator=allocator
    )
    finished = False
    try:
        yield bench
        finished = True
    finally:
        if not finished:
            bench.kill()
        bench.close()


def worker_environment(
    parent: Mapping[str, str],
    threads: int,
    allocator: Mapping[str, str] = PINNED_ALLOCATOR,
    folder: Path | None = None,
) -> dict[str, str]:
    """The worker's environment: the parent's, with threads, allocator and device order set explicitly.

    torch keeps compiled code in the sweep's own `folder`: what a person's earlier run left would make compile
    times untrue.
    """
    package_root = str(Path(__file__).parents[2])
    # Last: what a person put on the path wins here as it does in the process that plans.
    search_path = [*filter(None, [parent.get("PYTHONPATH")]), package_root]
    return {
        **{name: value for name, value in parent.items() if name not in _DROPPED},
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        **allocator,
        **OPENMP_WAITING,
        **DEVICE_ORDER,
        **_COMPILING_ALONE,
        **({name: str(folder / place) for name, place in _COMPILED_IN.items()} if folder else {}),
        "PYTHONPATH": os.pathsep.join(search_path),
    }

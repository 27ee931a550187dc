"""Runs the trials of a search in worker processes, several at once: one a GPU, or a share of the CPU's cores.

A trial that fails, or whose worker dies, is a `Trial` with a status and a reason; the others go on. Trainings
keep checkpoints, so that whatever ends this process, the same requests go on from there.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from scaleprof.engines.local import worker_environment
from scaleprof.engines.workers import WorkerProcess
from scaleprof.errors import MeasuringError
from scaleprof.records.searches import Trial
from scaleprof.search.messages import (
    EpochDone,
    Prepare,
    Ready,
    Reply,
    Run,
    Scored,
    Slot,
    TrialRequest,
    Unscored,
    written_aside,
)
from scaleprof.units import format_duration

_WORKER = "scaleprof.search.worker"
_START_TIMEOUT_S = 300.0
_decoder = msgspec.json.Decoder(Reply)


class Progress(msgspec.Struct, frozen=True):
    """A running trial: `epochs` done, of those that it takes `request.epochs`; first told when it starts,
    with the epochs that an earlier process has kept.

    `score` is that of the last epoch, None before there is one; `seconds` that all epochs so far have taken.
    """

    request: TrialRequest
    slot: Slot
    epochs: int
    score: float | None
    seconds: float


Observer = Callable[[Progress], None]


def run_trials(
    requests: Sequence[TrialRequest],
    *,
    slots: Sequence[Slot],
    timeout_s: float | None = None,
    observe: Observer = lambda _progress: None,
) -> Generator[Trial, None, None]:
    """The trials, each as it finishes; as many run at once as there are slots, begun in the order given.

    Use it under `contextlib.closing`: closing the iterator ends the workers at once, whatever they do, and an
    exception (Ctrl-C) inside it does, too. Checkpoints stay until `drop_checkpoint`.

    Args:
        requests: what to run.
        slots: where, such as `scaleprof.search.devices.training_slots` gives; a device twice runs two
            trials on it at once.
        timeout_s: longest time that one trial may take here; then its status is `timeout`.
        observe: told of each start of a trial and of each epoch.

    Raises:
        MeasuringError: a worker does not start.
    """
    waiting = deque(requests)
    with ExitStack() as ending:
        trainers = [_Trainer(slot, timeout_s, observe) for slot in slots[: len(waiting)]]
        for trainer in trainers:
            ending.callback(trainer.close)
        for trainer in trainers:
            trainer.start()
        while waiting or any(trainer.is_busy for trainer in trainers):
            _share_out(waiting, trainers)
            finished = [trial for trainer in _with_news(trainers) for trial in trainer.news()]
            _share_out(waiting, trainers)  # no slot is idle while the results are looked at
            yield from finished


def drop_checkpoint(request: TrialRequest) -> None:
    """Delete what a trial has kept, once its result is safe elsewhere; there may be nothing."""
    if request.checkpoint is not None:
        kept = Path(request.checkpoint)
        for path in (kept, written_aside(kept)):
            path.unlink(missing_ok=True)


def _share_out(waiting: deque[TrialRequest], trainers: Sequence[_Trainer]) -> None:
    for trainer in trainers:
        if waiting and trainer.is_free:
            trainer.begin(waiting.popleft())


class _Trainer:
    """One slot: its worker process, started again where one was lost, and the trial in hand."""

    def __init__(self, slot: Slot, timeout_s: float | None, observe: Observer) -> None:
        self._slot = slot
        self._timeout_s = timeout_s
        self._observe = observe
        self._process: WorkerProcess | None = None
        self._is_ready = False
        self._request: TrialRequest | None = None
        self._began_s = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a trial is in hand."""
        return self._request is not None

    @property
    def is_free(self) -> bool:
        """Whether the worker is ready for a trial."""
        return self._is_ready and not self.is_busy

    @property
    def reply_fd(self) -> int:
        """Where news of it can be waited for."""
        return self._running().reply_fd

    @property
    def deadline_s(self) -> float | None:
        """When it must have answered, on the monotonic clock; None if it may take its time."""
        if not self._is_ready:
            return self._began_s + _START_TIMEOUT_S
        limited = self.is_busy and self._timeout_s is not None
        return self._began_s + (self._timeout_s or 0.0) if limited else None

    def start(self) -> None:
        """Start the worker process; it says when it is ready."""
        self._is_ready = False
        self._began_s = time.monotonic()
        self._process = WorkerProcess(_WORKER, worker_environment(os.environ, self._slot.threads))
        with suppress(BrokenPipeError):  # its end is read from the other pipe, with the reason
            self._send(Prepare(self._slot.device, self._slot.threads))

    def begin(self, request: TrialRequest) -> None:
        """Take a trial in hand."""
        self._request = request
        self._began_s = time.monotonic()
        with suppress(BrokenPipeError):
            self._send(Run(request))

    def news(self) -> Iterator[Trial]:
        """What the worker has said: its trial, if that is over. One that was lost is started again."""
        if self.deadline_s is not None and time.monotonic() > self.deadline_s:
            yield from self._lost("timeout", f"no result within {format_duration(self._limit_s)} (--timeout)")
            return
        try:
            lines = self._running().lines()
        except EOFError:
            process = self._running()
            process.wait_or_kill()
            yield from self._lost("killed", process.how_it_ended())
            return
        for line in lines:
            yield from self._heard(_decoder.decode(line))

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.close()
            self._process = None

    def _heard(self, reply: Reply) -> Iterator[Trial]:
        if isinstance(reply, Ready):
            self._is_ready = True
        elif isinstance(reply, EpochDone):
            self._observe(Progress(self._in_hand(), self._slot, reply.epochs, reply.score, reply.seconds))
        else:
            yield self._finished(reply)
            if isinstance(reply, Unscored) and reply.fatal:
                self.close()
                self.start()

    def _lost(self, status: str, reason: str) -> Iterator[Trial]:
        if not self._is_ready:
            raise MeasuringError(
                f"the training worker on {self._slot.device} did not start: {reason}; "
                f"scaleprof doctor says whether torch works here"
            )
        self.close()
        yield self._finished(Unscored("timeout" if status == "timeout" else "killed", reason))
        self.start()

    def _finished(self, outcome: Scored | Unscored) -> Trial:
        request, self._request = self._in_hand(), None
        finished_at = datetime.now(UTC).isoformat(timespec="seconds")
        common = (request.candidate, request.phi, request.seed)
        if isinstance(outcome, Unscored):
            seconds = time.monotonic() - self._began_s
            return Trial(
                *common,
                outcome.status,
                outcome.reason,
                seconds,
                finished_at,
                device=self._slot.device,
                macs=request.macs,
            )
        return Trial(
            *common,
            "ok",
            None,
            outcome.seconds,
            finished_at,
            score=outcome.score,
            error=outcome.error,
            held_out=outcome.held_out,
            epochs=len(outcome.curve),
            curve=outcome.curve,
            device=self._slot.device,
            macs=request.macs,
        )

    @property
    def _limit_s(self) -> float:
        return self._timeout_s if self._is_ready and self._timeout_s is not None else _START_TIMEOUT_S

    def _running(self) -> WorkerProcess:
        if self._process is None:
            raise TypeError("the worker has not been started")
        return self._process

    def _in_hand(self) -> TrialRequest:
        if self._request is None:
            raise MeasuringError("a training worker told of a trial that it was not given")
        return self._request

    def _send(self, command: Prepare | Run) -> None:
        self._running().send(command)


def _with_news(trainers: Sequence[_Trainer]) -> list[_Trainer]:
    """Those that have said something or are past their time; sleeps until there is one."""
    deadlines_s = [trainer.deadline_s for trainer in trainers if trainer.deadline_s is not None]
    patience_s = max(0.0, min(deadlines_s) - time.monotonic()) if deadlines_s else None
    readable, _, _ = select.select([trainer.reply_fd for trainer in trainers], [], [], patience_s)
    now_s = time.monotonic()
    late = [t for t in trainers if t.deadline_s is not None and now_s > t.deadline_s]
    return [trainer for trainer in trainers if trainer.reply_fd in readable or trainer in late]

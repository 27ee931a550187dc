"""A worker process as seen from outside: started, spoken to over pipes, and ended.

Commands go to its standard input and replies come on a pipe of their own, one JSON value a line; what it
prints otherwise is kept, for the case that it dies.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from scaleprof.measuring.rounds import BenchLostError
from scaleprof.units import format_duration

_STOP_TIMEOUT_S = 5.0
_CHUNK_BYTES = 65536


class WorkerProcess:
    """One process; whoever makes it must `close` it, after `kill` where it may be busy.

    Args:
        module: what it runs; the descriptor that it replies to is its argument.
        environment: all of its environment.
        folder: where it runs; here, if left out.
        python: the interpreter; this process's, if left out.

    `reply_fd` is where its replies come, for whoever waits for several workers at once.
    """

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        *,
        folder: Path | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self.reply_fd, worker_fd = os.pipe()
        self._pending = b""
        try:
            self._process = subprocess.Popen(
                [str(python), "-P", "-m", module, str(worker_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(worker_fd,),
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        finally:
            os.close(worker_fd)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def ask(self, command: msgspec.Struct, limit_s: float, rule: str = "--timeout") -> bytes:
        """Its reply to a command; `rule` says what sets the limit.

        Raises:
            BenchLostError: it took longer and was ended, or it is gone.
        """
        try:
            self.send(command)
            return self.receive(limit_s)
        except TimeoutError:
            self.kill()
            limit = format_duration(limit_s)
            raise BenchLostError(
                "timeout", f"no answer within {limit} ({rule}); the worker was stopped"
            ) from None
        except (EOFError, BrokenPipeError):
            self.wait_or_kill()
            raise BenchLostError("killed", self.how_it_ended()) from None

    def send(self, command: msgspec.Struct) -> None:
        """Have it do something.

        Raises:
            BrokenPipeError: the worker is gone.
        """
        stdin = self._process.stdin
        if stdin is None:
            raise BrokenPipeError("the worker has no standard input")
        stdin.write(msgspec.json.encode(command) + b"\n")
        stdin.flush()

    def receive(self, timeout_s: float) -> bytes:
        """The next reply, a line; sleeps on the pipe until it is there.

        Raises:
            TimeoutError: none came in time.
            EOFError: the worker is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self.reply_fd], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise TimeoutError
            self._read()
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def lines(self) -> list[bytes]:
        """The replies that are there, whole lines; waits for the first bytes if there are none yet.

        Raises:
            EOFError: the worker is gone.
        """
        self._read()
        *lines, self._pending = self._pending.split(b"\n")
        return lines

    def _read(self) -> None:
        chunk = os.read(self.reply_fd, _CHUNK_BYTES)
        if not chunk:
            raise EOFError
        self._pending += chunk

    def close(self) -> None:
        """End the worker and free what belongs to it."""
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it is gone already
                self._process.stdin.close()
        self.wait_or_kill()
        os.close(self.reply_fd)
        self._stderr.close()

    def kill(self) -> None:
        """End the worker at once, whatever it is doing, and with it what it has started."""
        if self._process.returncode is None:  # not waited for yet, so that its number is still its own
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_or_kill(self) -> None:
        """Let it end by itself within a few seconds."""
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def how_it_ended(self) -> str:
        """In words: the signal, or the code and the last line that it said."""
        code = self._process.returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            cause = "; the system may have run out of memory" if name == "SIGKILL" else ""
            return f"the worker was ended by {name}{cause}"
        return f"the worker ended with code {code}: {_last_words(self._stderr)}"


def _last_words(file: IO[bytes]) -> str:
    """The last line that was written, and of a traceback the place that it is about."""
    file.seek(0)
    text = file.read().decode(errors="replace").strip()
    if not text:
        return "it said nothing"
    place = re.findall(r'^ *File "(.+)", line (\d+)', text, flags=re.MULTILINE)
    where = f" ({Path(place[-1][0]).name}:{place[-1][1]})" if place else ""
    return text.splitlines()[-1] + where

"""A worker process that takes one JSON value a line on standard input and answers on a pipe of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress

_CHUNK_BYTES = 65536
_STOP_TIMEOUT_S = 5.0


class WorkerProcess:
    """`python -m MODULE REPLY_FD` in a session of its own, out of reach of the terminal's Ctrl-C.

    What it prints is kept aside, to tell how it ended.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._pending = b""
        self.reply_fd, worker_fd = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(worker_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(worker_fd,),
            env=environment,
            start_new_session=True,
        )
        os.close(worker_fd)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Write one line to the worker.

        Raises:
            BrokenPipeError: it is gone.
        """
        stdin = self._process.stdin
        if stdin is None:
            raise BrokenPipeError("the worker has no standard input")
        stdin.write(line + b"\n")
        stdin.flush()

    def lines(self) -> list[bytes]:
        """The whole lines that have come since; waits for the first bytes if there are none yet.

        Raises:
            EOFError: the worker is gone.
        """
        chunk = os.read(self.reply_fd, _CHUNK_BYTES)
        if not chunk:
            raise EOFError
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        return lines

    def kill(self) -> None:
        """End the worker at once, and with it what it has started."""
        if self._process.returncode is None:  # not waited for yet, so that its number is still its own
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kill the worker and free what belongs to it."""
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it is gone already
                self._process.stdin.close()
        self.kill()
        os.close(self.reply_fd)
        self._stderr.close()

    def how_it_ended(self) -> str:
        """In words, of a worker that has ended or is about to."""
        try:
            code = self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "the worker stopped answering, and was stopped"
        if code < 0:
            name = signal.Signals(-code).name
            cause = "; the system may have run out of memory" if name == "SIGKILL" else ""
            return f"the worker was ended by {name}{cause}"
        return f"the worker ended with code {code}: {self._last_line()}"

    def _last_line(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

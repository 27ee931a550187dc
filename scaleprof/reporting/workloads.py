"""What tells the workloads of a run apart, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from scaleprof.units import plural


class HasWorkload(Protocol):
    """A workload, or a row that carries its fields."""

    @property
    def threads(self) -> int:
        """CPU threads."""

    @property
    def dtype(self) -> str:
        """Of weights and inputs."""

    @property
    def memory_format(self) -> str:
        """Of weights and images."""

    @property
    def cast(self) -> str:
        """How it is computed in that dtype."""

    @property
    def mode(self) -> str:
        """A forward pass, a training step, or one token."""

    @property
    def runtime(self) -> str:
        """What runs the network."""

    @property
    def batch_size(self) -> int:
        """Samples a pass."""


_MODES = {"infer": "forward pass", "train": "training step", "decode": "one token"}
FIELDS = ("threads", "mode", "runtime", "dtype", "cast", "memory_format", "batch_size")


def varying(workloads: Iterable[HasWorkload]) -> list[str]:
    """The fields in which these differ."""
    known = list(workloads)
    return [name for name in FIELDS if len({getattr(one, name) for one in known}) > 1]


def words(workload: HasWorkload, fields: Iterable[str]) -> list[str]:
    """These fields of a workload, for people."""
    texts = {
        "threads": plural(workload.threads, "thread", "threads"),
        "mode": _MODES[workload.mode],
        "runtime": workload.runtime,
        "dtype": workload.dtype,
        "cast": "autocast" if workload.cast == "autocast" else "cast weights",
        "memory_format": workload.memory_format,
        "batch_size": f"batch {workload.batch_size}",
    }
    return [texts[name] for name in fields]

"""What one model of a sweep holds at most, seen by the worker's twin (`scaleprof.measuring.twin`)."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec
import torchvision  # noqa: F401 - loaded once in the twin instead of once for each model

from scaleprof.measuring.messages import Job
from scaleprof.measuring.preparing import Preparer
from scaleprof.measuring.runtimes import open_artifact
from scaleprof.measuring.timing import Call
from scaleprof.measuring.twin import Inspection, Twin, inspect_call


class Subject(msgspec.Struct, frozen=True):
    """The model to inspect; `artifact` is the file that its runtime opens, where it has one."""

    job: Job
    artifact: str | None = None


class Inspector(Twin):
    """A twin process that inspects one model at a time, each in a child of its own.

    Make it before torch has run anything.

    Args:
        seed: of weights and inputs.
        not_ours: the worker's own reply pipe, which must not stay open here when the worker is gone.
    """

    def __init__(self, seed: int, not_ours: BinaryIO) -> None:
        super().__init__(lambda line: inspect_here(msgspec.json.decode(line, type=Subject), seed), not_ours)

    def inspect(self, job: Job, artifact: Path | None = None) -> Inspection:
        """The peaks of a model; whatever happens to the child, there is an answer."""
        return self.ask(Subject(job, None if artifact is None else str(artifact)))


def inspect_here(subject: Subject, seed: int) -> Inspection:
    """Peak memory of a model in this process, which must have run nothing before."""
    preparer = Preparer("cpu", seed)
    return inspect_call(
        lambda: preparer.load(subject.job), lambda: _call(subject, preparer), subject.job.workload.mode
    )


def _call(subject: Subject, preparer: Preparer) -> Call:
    """One pass of the model, or of what its runtime has made of it: what is deployed has no exporter."""
    job = subject.job
    if subject.artifact is None:
        return preparer.prepare(job, settled=False).call()  # memory is not a matter of values
    return open_artifact(job.workload.runtime, Path(subject.artifact), preparer.inputs(job), job.workload)

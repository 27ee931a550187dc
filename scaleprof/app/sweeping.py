"""The main job: a sweep planned, measured, and kept as it goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from scaleprof.app.choosing import DEFAULT_MODEL, DEFAULT_PHI, choose
from scaleprof.app.ledger import Ledger, Watcher
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.run import Run
from scaleprof.engines.local import AllocatorPolicy
from scaleprof.errors import MeasuringError
from scaleprof.measuring.presets import make_plan
from scaleprof.measuring.schedule import Schedule
from scaleprof.records import MatchMetric, Phi
from scaleprof.scaling.rounding import RoundingName
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, Bases
from scaleprof.store import check_replaceable


def run_sweep(
    planned: SweepPlan,
    *,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> Run:
    """Measure a planned sweep; with `output`, every result is in that file as soon as it is there.

    Raises:
        UsageError: `output` may not be written.
        HostMismatchError: the run to go on with was made on another machine or by another protocol.
        MeasuringError: no model can be measured, or the worker does not start.
    """
    if output is not None and not resume:
        check_replaceable(output, overwrite=overwrite)
    if not planned.groups:
        raise MeasuringError(f"no model can be measured: {next(iter(planned.unfit.values())).reason}")
    with Ledger(planned, output, resume, overwrite, tuple(command), watcher or Watcher()) as ledger:
        done = ledger.finished_launches()
        groups = [[planned.jobs[number] for number in group] for group in planned.groups]
        Schedule(
            plan=planned.plan,
            open_bench=ledger.open_bench,
            keep=ledger.keep,
            observe=ledger.observe,
            clock=time.monotonic,
            seed=planned.seed,
        ).run(groups, done)
        return Run(ledger.log())


def sweep(
    model: str | Sequence[str] = DEFAULT_MODEL,
    *,
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    phi: str | Phi | Sequence[Phi | str] = DEFAULT_PHI,
    device: str = "auto",
    batch_size: int | Sequence[int] = 1,
    threads: int | Sequence[int] | None = None,
    dtype: str | Sequence[str] = "fp32",
    memory_format: str | Sequence[str] = "contiguous",
    allocator: AllocatorPolicy = "pinned",
    bases: Bases | None = None,
    rounding: RoundingName = "tf",
    match: MatchMetric | Literal["none"] | None = None,
    preset: str = "default",
    seed: int = 0,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Build, count and measure families of scaled models on a real device.

    Args:
        model: a family (`scaleprof models` lists them), `FILE.py:FACTORY`, `MODULE:FACTORY`,
            `torchvision:NAME` or `timm:NAME`; or several.
        strategies: names, or one text with commas.
        phi: values of φ, or a text such as `0..3`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: one size or several.
        threads: CPU threads, one number or several; by default the CPUs that this process may use.
        dtype: `fp32`, `bf16`, `fp16`, or several; weights and inputs are cast.
        memory_format: `contiguous`, `channels_last`, or both.
        allocator: `pinned` (the same in every process), or `default` for malloc as the environment has it.
        bases: the compound bases, Tan & Le's unless given.
        rounding: `tf` or `pycls`.
        match: the metric (`macs`, `params`, `activations`) to bring to base × 2^φ for every strategy.
        preset: `quick` (1 launch), `default` (3) or `rigorous` (5).
        seed: of weights, inputs and visiting order.
        output: a run file to keep the results in as they come.
        resume: go on with the run in `output`.
        overwrite: replace the run in `output`.

    Raises:
        ScaleprofError: the request cannot be carried out; the message says why and what to do.
    """
    planned = plan_sweep(
        choose(model, strategies, phi, bases=bases, rounding=rounding, match=match),
        device=device,
        batch_size=batch_size,
        threads=threads,
        dtype=dtype,
        memory_format=memory_format,
        allocator=allocator,
        plan=make_plan(preset),
        seed=seed,
    )
    path = None if output is None else Path(output)
    asked: dict[str, object] = {
        "model": model,
        "strategies": strategies,
        "phi": phi,
        "device": device,
        "batch_size": batch_size,
    }
    asked |= {"threads": threads, "dtype": dtype, "memory_format": memory_format, "allocator": allocator}
    asked |= {"bases": bases, "rounding": rounding, "match": match, "preset": preset, "seed": seed}
    command = (f"scaleprof.sweep({', '.join(f'{name}={value!r}' for name, value in asked.items())})",)
    return run_sweep(planned, output=path, resume=resume, overwrite=overwrite, command=command)

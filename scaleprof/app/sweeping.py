"""The main job: a sweep planned, measured, and kept as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from scaleprof.app.batching import OnTrial, find_batches
from scaleprof.app.choosing import DEFAULT_MODEL, DEFAULT_PHI, Choice, choose
from scaleprof.app.counting import OnDone
from scaleprof.app.ledger import Ledger, Watcher
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.run import Run
from scaleprof.engines.local import AllocatorPolicy
from scaleprof.errors import MeasuringError, UsageError
from scaleprof.measuring.presets import make_plan
from scaleprof.measuring.schedule import Schedule
from scaleprof.records import Launch, MatchMetric, Phi, Record, RunLog
from scaleprof.reporting.accuracy import join_logs, read_accuracies
from scaleprof.scaling.rounding import RoundingName
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, Bases
from scaleprof.store import RunWriter, check_replaceable, read_run

SEARCHED_BATCH = "max"


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
    with (
        TemporaryDirectory(prefix="scaleprof-") as folder,
        Ledger(
            planned, output, resume, overwrite, tuple(command), watcher or Watcher(), Path(folder)
        ) as ledger,
    ):
        measure(ledger, ledger.finished_launches())
        log = ledger.log()
    return Run(_with_accuracies(log, planned, output), planned.doubts)


def measure(ledger: Ledger, done: Mapping[int, tuple[Launch, ...]]) -> None:
    """Measure what the ledger has planned; `done` are launches, by job, that need not be done again."""
    planned = ledger.planned
    Schedule(
        plan=planned.plan,
        open_bench=ledger.open_bench,
        keep=ledger.keep,
        observe=ledger.observe,
        clock=time.monotonic,
        seed=planned.seed,
    ).run([[planned.jobs[number] for number in group] for group in planned.groups], done)


def _with_accuracies(log: RunLog, planned: SweepPlan, output: Path | None) -> RunLog:
    """The run with the accuracies that were given, on records that it held before, too; so in its file."""
    if planned.accuracies is None:
        return log
    (joined,), _ = join_logs(planned.accuracies, [log])
    changed = [now for now, then in zip(joined.records, log.records, strict=True) if now != then]
    if changed and output is not None:
        with RunWriter.resume(output) as writer:
            writer.append(changed)
    return joined


def plan_with_batches(
    choice: Choice,
    *,
    batch_size: int | str | Sequence[int | str] = 1,
    known: Sequence[Record] = (),
    search: bool = True,
    on_done: OnDone = lambda _done, _total: None,
    on_trial: OnTrial = lambda _job, _trial: None,
    on_doubts: Callable[[Sequence[str]], None] = lambda _doubts: None,
    **options: Any,
) -> SweepPlan:
    """The plan of a sweep; where `max` is among the batches, with those that a search finds.

    Args:
        choice: the models.
        batch_size: sizes, and `max`.
        known: records of a run that is resumed, whose searches and accuracies are taken over.
        search: whether to search; without, `max` counts as a batch of one.
        on_done: told of models counted.
        on_trial: told of batches tried.
        on_doubts: told, before anything runs, of what is doubtful about the table of accuracies.
        options: as for `plan_sweep`.
    """
    asked = [batch_size] if isinstance(batch_size, (int, str)) else list(batch_size)
    sizes = [size for size in asked if isinstance(size, int)]
    for size in asked:
        if not isinstance(size, int) and size != SEARCHED_BATCH:
            raise UsageError(f"--batch-size {size} is not a whole number above zero, nor {SEARCHED_BATCH}")
    planned = plan_sweep(choice, batch_size=sizes or 1, known=known, on_done=on_done, **options)
    on_doubts(planned.doubts)
    if len(sizes) == len(asked) or not search:
        return planned
    searched = find_batches(planned, known=known, on_trial=on_trial)
    if not searched:
        return planned
    return plan_sweep(
        choice, batch_size=sizes, counted=planned.networks, searched=searched, known=known, **options
    )


def sweep(
    model: str | Sequence[str] = DEFAULT_MODEL,
    *,
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    phi: str | Phi | Sequence[Phi | str] = DEFAULT_PHI,
    device: str = "auto",
    batch_size: int | str | Sequence[int | str] = 1,
    threads: int | Sequence[int] | None = None,
    dtype: str | Sequence[str] = "fp32",
    memory_format: str | Sequence[str] = "contiguous",
    mode: str = "infer",
    runtime: str | Sequence[str] = "eager",
    cast: str | Sequence[str] = "weights",
    allocator: AllocatorPolicy = "pinned",
    bases: Bases | None = None,
    rounding: RoundingName = "tf",
    match: MatchMetric | Literal["none"] | None = None,
    preset: str = "default",
    seed: int = 0,
    accuracy: str | Path | None = None,
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
        batch_size: one size or several; `max` searches the largest that fits and the one with the best
            throughput, of each model.
        threads: CPU threads, one number or several; by default the CPUs that this process may use.
        dtype: `fp32`, `bf16`, `fp16`, or several.
        memory_format: `contiguous`, `channels_last`, or both.
        mode: `infer`, `train` for steps of forward pass, backward pass and optimizer, or `decode` for one
            new token a sample against a key–value cache.
        runtime: `eager`, `compile`, `onnxruntime`, `openvino`, on CUDA `cudagraph`, or several.
        cast: how to compute in a dtype: `weights` are cast with the inputs, `autocast`, or both.
        allocator: `pinned` (the same in every process), or `default` for malloc as the environment has it.
        bases: the compound bases, Tan & Le's unless given.
        rounding: `tf` or `pycls`.
        match: the metric (`macs`, `params`, `activations`) to bring to base × 2^φ for every strategy.
        preset: `quick` (1 launch), `default` (3) or `rigorous` (5).
        seed: of weights, inputs and visiting order.
        accuracy: a CSV file of accuracies that the run keeps with its models; what it has that joins none of
            them is in the run's `doubts`.
        output: a run file to keep the results in as they come.
        resume: go on with the run in `output`.
        overwrite: replace the run in `output`.

    Raises:
        ScaleprofError: the request cannot be carried out; the message says why and what to do.
    """
    path = None if output is None else Path(output)
    accuracies = None if accuracy is None else read_accuracies(accuracy)
    planned = plan_with_batches(
        choose(model, strategies, phi, bases=bases, rounding=rounding, match=match),
        device=device,
        batch_size=batch_size,
        threads=threads,
        dtype=dtype,
        memory_format=memory_format,
        mode=mode,
        runtime=runtime,
        cast=cast,
        allocator=allocator,
        plan=make_plan(preset),
        seed=seed,
        accuracies=accuracies,
        known=read_run(path).records if resume and path is not None and path.exists() else (),
    )
    asked: dict[str, object] = {
        "model": model,
        "strategies": strategies,
        "phi": phi,
        "device": device,
        "batch_size": batch_size,
    }
    asked |= {"threads": threads, "dtype": dtype, "memory_format": memory_format, "mode": mode}
    asked |= {"runtime": runtime, "cast": cast, "allocator": allocator}
    asked |= {"bases": bases, "rounding": rounding, "match": match, "preset": preset, "seed": seed}
    asked |= {} if accuracy is None else {"accuracy": str(accuracy)}
    command = (f"scaleprof.sweep({', '.join(f'{name}={value!r}' for name, value in asked.items())})",)
    return run_sweep(planned, output=path, resume=resume, overwrite=overwrite, command=command)

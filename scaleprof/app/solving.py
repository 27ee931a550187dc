"""`solve`: per strategy the φ whose measured model meets budgets, found by measuring, and measured together.

A starting curve is interpolated; what is proposed is built and measured beside the base and each strategy's
best so far, in shared rounds, until nothing nearer can be had. All of it lands in one run, record by record.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from scaleprof.app.choosing import DEFAULT_MODEL, DEFAULT_PHI, choose
from scaleprof.app.ledger import Ledger, Watcher
from scaleprof.app.planning import SweepPlan
from scaleprof.app.run import Run
from scaleprof.app.solve_plan import SolvePlan, plan_solve
from scaleprof.app.solver import Solver, Watch
from scaleprof.engines.local import AllocatorPolicy
from scaleprof.measuring.presets import make_plan
from scaleprof.records import MatchMetric, Phi
from scaleprof.reporting.solutions import SolvedRow, sentences
from scaleprof.scaling.rounding import RoundingName
from scaleprof.scaling.rules import DEFAULT_STRATEGIES, Bases
from scaleprof.store import check_replaceable


class Solution(msgspec.Struct, frozen=True):
    """What `solve` found.

    Attributes:
        rows: what each strategy buys within the budgets, a row a strategy.
        run: everything that was measured on the way.
        sentences: the same in words.
    """

    rows: tuple[SolvedRow, ...]
    run: Run
    sentences: tuple[str, ...]


def run_solve(
    planned: SolvePlan,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    command: Sequence[str] = (),
    watch: Watch = lambda _words, _part: nullcontext(Watcher()),
) -> Solution:
    """Measure the starting curve and what it leads to; with `output`, every result is in that file at once.

    Raises:
        UsageError: `output` may not be written, or no model has a quantity that a budget is about.
        HostMismatchError: the given run was made on another machine.
        MeasuringError: no model can be measured, or the worker does not start.
    """
    if output is not None:
        check_replaceable(output, overwrite=overwrite)
    with TemporaryDirectory(prefix="scaleprof-") as folder, ExitStack() as stack:

        def open_ledger(part: SweepPlan, watcher: Watcher) -> Ledger:
            return stack.enter_context(
                Ledger(
                    part, output, False, overwrite, tuple(command), watcher, Path(folder),
                    header_plan=planned.plan, given=planned.given,
                )
            )  # fmt: skip

        solver = Solver(planned, open_ledger, watch)
        rows = solver.run()
        log = solver.log()
    return Solution(tuple(rows), Run(log), tuple(sentences(rows, log)))


def solve(
    model: str | Sequence[str] = DEFAULT_MODEL,
    *,
    budget: str | Sequence[str],
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    phi: str | Phi | Sequence[Phi | str] = DEFAULT_PHI,
    run: Run | str | Path | None = None,
    device: str = "auto",
    batch_size: int = 1,
    threads: int | None = None,
    dtype: str = "fp32",
    memory_format: str = "contiguous",
    mode: str = "infer",
    runtime: str = "eager",
    cast: str = "weights",
    allocator: AllocatorPolicy = "pinned",
    bases: Bases | None = None,
    rounding: RoundingName = "tf",
    match: MatchMetric | Literal["none"] | None = None,
    preset: str = "default",
    max_time_s: float | None = None,
    seed: int = 0,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Solution:
    """Find, per strategy, the φ whose measured model meets budgets on this device.

    Args:
        model: as for `sweep`.
        budget: such as `latency_ms<=40` or `peak_memory_bytes<=2GiB`; of several the tightest counts.
        strategies: names of strategies with a formula, or one text with commas.
        phi: the starting curve, measured first by the quick preset.
        run: a run, or its file, whose rows are the starting curve instead.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; this and the next ones are one workload.
        batch_size: samples a pass.
        threads: CPU threads; by default the CPUs that this process may use.
        dtype: `fp32`, `bf16` or `fp16`.
        memory_format: `contiguous` or `channels_last`.
        mode: `infer`, `train` or `decode`.
        runtime: as for `sweep`.
        cast: `weights` or `autocast`.
        allocator: `pinned` or `default`.
        bases: the compound bases, Tan & Le's unless given.
        rounding: `tf` or `pycls`.
        match: the metric that φ is about (see `sweep`), instead of the strategies' formulas.
        preset: of the iterations: `quick`, `default` or `rigorous`.
        max_time_s: when to stop measuring, compiling aside.
        seed: of weights, inputs and visiting order.
        output: a run file to keep everything in as it comes.
        overwrite: replace the run in `output`.

    Raises:
        ScaleprofError: the request cannot be carried out; the message says why and what to do.
    """
    asked = {name: value for name, value in locals().items() if name not in ("output", "overwrite")}
    axes: dict[str, Any] = {
        "batch_size": batch_size,
        "threads": threads,
        "dtype": dtype,
        "memory_format": memory_format,
    }
    planned = plan_solve(
        choose(model, strategies, phi, bases=bases, rounding=rounding, match=match),
        budget,
        given=run,
        plan=make_plan(preset, max_time_s=max_time_s),
        seed=seed,
        device=device,
        allocator=allocator,
        **axes | {"mode": mode, "runtime": runtime, "cast": cast},
    )
    command = (f"scaleprof.solve({', '.join(f'{name}={value!r}' for name, value in asked.items())})",)
    path = None if output is None else Path(output)
    return run_solve(planned, output=path, overwrite=overwrite, command=command)

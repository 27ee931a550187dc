"""Sweeps alone and beside a busy process: `python benchmarks/neighbour.py [--write]`.

The same models are swept twice, the second time beside a process that never rests; first with one thread,
which leaves the neighbour a CPU, then with as many threads as CPUs. Milliseconds then rise,
and the run must say that the machine was noisy; the ratios to the base, taken inside the same rounds, should
stay within their intervals.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tables import Table, describe_machine, write_between

import scaleprof as sp
from scaleprof.measuring import host
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.tables import latency_text, ratio_text

BUSY = "while True: sum(range(10_000))"


@contextmanager
def busy_process() -> Iterator[None]:
    neighbour = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


def sweep(threads: int) -> sp.Run:
    return sp.sweep("efficientnet_b0", phi="0..1", device="cpu", threads=threads)


def holds(alone: MeasuredRow, beside: MeasuredRow) -> bool:
    """Whether the busy run's interval holds what was measured alone."""
    if alone.ratio_to_base is None or beside.ratio_ci_low is None or beside.ratio_ci_high is None:
        return False
    return beside.ratio_ci_low <= alone.ratio_to_base <= beside.ratio_ci_high


def as_text(threads: int) -> str:
    alone = sweep(threads)
    with busy_process():
        beside = sweep(threads)
    pairs = list(zip(alone.rows, beside.rows, strict=True))[1:]
    rows = [
        [
            quiet.spec_id,
            *(latency_text(row) for row in (quiet, busy)),
            *(ratio_text(row) for row in (quiet, busy)),
            *(f"{row.cpu_share or 0:.1%}" for row in (quiet, busy)),
            "yes" if holds(quiet, busy) else "**no**",
        ]
        for quiet, busy in pairs
    ]
    named = f"{threads} {'thread' if threads == 1 else 'threads'}"
    header = (
        *(named, "alone", "beside a busy process", "÷ base alone", "÷ base beside"),
        *("CPU share alone", "beside", "ratio within"),
    )
    kept = sum(holds(quiet, busy) for quiet, busy in pairs)
    return "\n".join(
        [
            Table(header, rows).markdown(),
            "",
            f"Alone the run calls the machine {alone.noise_verdict} (matrix product p90/p10 "
            f"{alone.noise or 0:.2f}), beside the busy process {beside.noise_verdict} "
            f"({beside.noise or 0:.2f}). {kept} of {len(pairs)} ratios lie within the busy run's interval.",
        ]
    )


def main() -> None:
    counts = dict.fromkeys([1, host.usable_cpus()])
    text = "\n\n".join([describe_machine(), *map(as_text, counts)])
    print(text)
    if "--write" in sys.argv[1:]:
        write_between("neighbour", text)


if __name__ == "__main__":
    main()

"""What measuring costs beside itself, and how true the clock is: `python benchmarks/overhead.py [--write]`.

First table: a default sweep of `efficientnet_b0`, `--phi 0..3`, and where its wall time goes once workers
have started. Passes are those that are timed or warm up, of models and of references. Wanted: 85 % at least.

Second table: calls of known duration through the timer and through whole visits, as a model's would be: one
that does nothing, and some that wait for a moment on the same clock. Wanted: a bias below 1 µs + 0.05 %.

`--write` puts the tables into docs/measuring.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from tables import Table, describe_machine, write_between

from scaleprof.app.choosing import choose
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.engines.local import LocalBench, open_worker
from scaleprof.measuring.presets import MIN_VISIT_CPU_S
from scaleprof.measuring.schedule import Progress, Schedule
from scaleprof.measuring.timing import CpuTimer, sample_s
from scaleprof.records import Launch
from scaleprof.stats.intervals import median_interval

KNOWN_S = (0.0, 10e-6, 100e-6, 1e-3, 10e-3, 100e-3)
VISITS = 15
PARTS = ("back to back", "visits", "warm-up", "first calls", "references")


class Clocked:
    """Workers whose starts and ends are kept out of the wall time."""

    def __init__(self, planned: SweepPlan) -> None:
        self._planned = planned
        self.started_s = 0.0
        self.running_s = 0.0

    @contextmanager
    def open(self, threads: int) -> Iterator[LocalBench]:
        planned, began_s = self._planned, time.perf_counter()
        with open_worker(
            device=planned.device,
            threads=threads,
            seed=planned.seed,
            timeout_s=planned.plan.timeout_s,
        ) as bench:
            ready_s = time.perf_counter()
            yield bench
            self.running_s += time.perf_counter() - ready_s
        self.started_s += ready_s - began_s


def passes_s(launch: Launch) -> dict[str, float]:
    """Seconds of a model's passes in a launch; references after a visit are those before the next."""
    samples_s = sum(sum(visit.samples_s) for visit in launch.visits)
    references_s = sum(sum(visit.reference_network_s + visit.matrix_product_s) for visit in launch.visits) / 2
    sustained_s = sum(launch.sustained.chunks_s) if launch.sustained else 0.0
    return dict(
        zip(PARTS, (sustained_s, samples_s, launch.warmup.seconds, launch.cold_s, references_s), strict=True)
    )


def sweep_shares() -> tuple[Table, float]:
    planned = plan_sweep(choose("efficientnet_b0", phi="0..3"), device="cpu")
    clocked, kept = Clocked(planned), dict[int, Progress]()
    Schedule(
        plan=planned.plan,
        open_bench=clocked.open,
        keep=lambda progress: kept.update({one.job.number: one for one in progress}),
        observe=lambda _step: None,
        clock=time.monotonic,
        seed=planned.seed,
    ).run([[planned.jobs[number] for number in group] for group in planned.groups])
    launches = [launch for one in kept.values() for launch in one.launches]
    fast = [one.job.spec.spec_id for one in kept.values() if one.launches[0].warmup.seconds < 0.01]
    assert not fast, f"models above 10 ms are wanted: {fast}"
    sums = {part: sum(passes_s(launch)[part] for launch in launches) for part in PARTS}
    share = sum(sums.values()) / clocked.running_s
    rows = [[part, f"{sums[part]:.0f} s", f"{100 * sums[part] / clocked.running_s:.1f} %"] for part in PARTS]
    building_s = sum(launch.build_s for launch in launches)
    other_s = clocked.running_s - building_s - sum(sums.values())
    rows.append(["**passes in all**", f"**{sum(sums.values()):.0f} s**", f"**{100 * share:.1f} %**"])
    rows.append(["building", f"{building_s:.0f} s", f"{100 * building_s / clocked.running_s:.1f} %"])
    rest = "peak memory, checks, talk between processes"
    rows.append([rest, f"{other_s:.0f} s", f"{100 * other_s / clocked.running_s:.1f} %"])
    rows.append(["all, after workers have started", f"{clocked.running_s:.0f} s", "100 %"])
    rows.append([f"start of {planned.plan.launches} workers, beside it", f"{clocked.started_s:.0f} s", ""])
    title = (
        f"{len(kept)} models, {planned.plan.launches} launches, {planned.jobs[0].workload.threads} threads"
    )
    return Table((title, "wall time", "share"), rows), share


def waiting_for(duration_s: float) -> Callable[[], None]:
    """A call that is over as soon as the clock shows that so much time has passed."""
    duration_ns = round(duration_s * 1e9)

    def nothing() -> None:
        pass

    def wait() -> None:
        ends_ns = time.perf_counter_ns() + duration_ns
        while time.perf_counter_ns() < ends_ns:
            pass

    return wait if duration_ns else nothing


def biases() -> tuple[Table, bool]:
    timer, rows, holds = CpuTimer(), [], True
    for known_s in KNOWN_S:
        call = waiting_for(known_s)
        medians_s = [median(sample_s(timer, call, MIN_VISIT_CPU_S)) for _ in range(VISITS)]
        interval = median_interval(medians_s)
        assert interval is not None
        bias_s, allowed_s = median(medians_s) - known_s, 1e-6 + 0.0005 * known_s
        holds &= bias_s <= allowed_s
        ends = f"[{1e9 * (interval.low - known_s):.0f}–{1e9 * (interval.high - known_s):.0f}]"
        name = "a call that does nothing" if not known_s else f"{1e6 * known_s:g} µs"
        verdict = "yes" if bias_s <= allowed_s else "**no**"
        rows.append([name, f"{1e9 * bias_s:.0f} ns {ends}", f"{1e9 * allowed_s:.0f} ns", verdict])
    return Table(("known duration", "bias of the median [95 %]", "allowed", "within"), rows), holds


def main() -> None:
    bias_table, holds = biases()
    share_table, share = sweep_shares()
    text = "\n\n".join(
        [
            f"{describe_machine()}",
            share_table.markdown(),
            f"Passes take {100 * share:.0f} % of the wall time; at least 85 % were wanted.",
            bias_table.markdown(),
            "The bias is below 1 µs + 0.05 % throughout."
            if holds
            else "The bias is too large where it says no.",
        ]
    )
    print(text)
    if "--write" in sys.argv[1:]:
        write_between("overhead", text)


if __name__ == "__main__":
    main()

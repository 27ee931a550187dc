"""What only a GPU can show, in under ten minutes: `python benchmarks/gpu_check.py [--write]`.

- The tests that need a GPU (`pytest -m cuda`).
- How well wall and graph time repeat: five fresh workers on EfficientNet-B0, at a batch so large that
  launches do not bound it.
- `scaleprof sweep --phi 0..7 --device cuda`, kept under `profiles/`.
- Energy: twice the passes take twice the joules.
- The timed clock against NVML's.
- Device time against `triton.testing.do_bench` on a matrix product so long that the cache, which `do_bench`
  empties before each pass, is next to nothing; graph time against `do_bench_cudagraph` on EfficientNet-B0.

Where two numbers are compared, they are taken in turns, and the median of their ratios counts. A check that
could not be run is a row with its reason, and the others go on. `--write` puts the table into
docs/measuring.md. Exit code 0: all holds; 1: something does not, or could not be run; 2: there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

import torch
from tables import Table, describe_machine, write_between

from scaleprof.engines.local import open_worker
from scaleprof.measuring import host
from scaleprof.measuring.cuda.energy import EnergyWindow
from scaleprof.measuring.cuda.graphs import Captures, GraphTimer
from scaleprof.measuring.cuda.side import CudaSide
from scaleprof.measuring.cuda.timer import CudaTimer
from scaleprof.measuring.messages import Job
from scaleprof.measuring.nvml import find_nvml
from scaleprof.measuring.preparing import Preparer
from scaleprof.measuring.timing import Call
from scaleprof.models import FAMILIES
from scaleprof.records import MEASURED_STATUSES, GpuState, Host, Record, Visit, Workload
from scaleprof.scaling.sweep import base_spec
from scaleprof.store import read_run

GPU = "cuda:0"
ROOT = Path(__file__).parents[1]
RUN = ROOT / "profiles" / "gpu_check.jsonl"
MODEL = "efficientnet_b0"

TESTS_LIMIT_S = 200.0
SWEEP_LIMIT_S = 250.0
SWEEP_MAX_TIME = "200s"
LAUNCHES, VISITS, LAUNCH_BATCH = 5, 10, 64
WORKER_LIMIT_S = 60.0
TURNS = 5
SAMPLES = 7
PRODUCT_SIDE = 8192
BUSY_CYCLES = 500_000_000
ENERGY_SIDE, ENERGY_PRODUCTS, ENERGY_WINDOW_S = 4096, 4, 5.0

WITHIN_CLOCK = 0.05
WITHIN_TRITON = 0.01
WITHIN_LAUNCHES = 0.003
WITHIN_ENERGY = 0.01

Runner = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]
Seconds = Callable[[], float]
Launch = Callable[[], dict[str, float | None]]


class Seen(NamedTuple):
    """What a check saw, in words, and whether that is what is wanted."""

    text: str
    holds: bool


class Row(NamedTuple):
    """One line of the table; `holds` is None where nothing could be seen."""

    check: str
    wanted: str
    seen: str
    holds: bool | None

    def cells(self) -> list[str]:
        verdict = {True: "yes", False: "**no**", None: "could not be run"}[self.holds]
        return [self.check, self.wanted, self.seen.replace("|", "/"), verdict]


class CouldNotRunError(Exception):
    """A check has nothing to judge; the message says why."""


def attempt(name: str, wanted: str, check: Callable[[], Seen]) -> Row:
    """The row of a check; if it raises, a row with the reason, and the traceback on stderr."""
    try:
        row = Row(name, wanted, *check())
    # Time on a GPU machine may be short: whatever one check dies of, the others go on.
    except Exception as error:  # noqa: BLE001
        if not isinstance(error, CouldNotRunError):
            traceback.print_exc()
        row = Row(name, wanted, _reason(error), None)
    print(" | ".join(row.cells()), file=sys.stderr, flush=True)
    return row


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not finished after {error.timeout:g} s"
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, CouldNotRunError) else f"{type(error).__name__}: {lines[0]}"


def run_command(command: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run it in the repository, for so many seconds at most."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)


def check_tests(run: Runner) -> Seen:
    """The tests that need a GPU pass here, and are not all skipped."""
    done = run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests"], TESTS_LIMIT_S)
    print(done.stdout, file=sys.stderr)
    last = (done.stdout.strip() or "it said nothing").splitlines()[-1]
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", last)
    passed = any(count.endswith("passed") for count in counts)
    return Seen(", ".join(counts) or last.strip("= "), done.returncode == 0 and passed)


def check_sweep(run: Runner, path: Path) -> Seen:
    """The sweep measures every model; the run file stays at `path`."""
    path.unlink(missing_ok=True)  # an earlier run's is no evidence
    options = ["--phi", "0..7", "--device", "cuda", "--preset", "quick", "--max-time", SWEEP_MAX_TIME]
    command = [sys.executable, "-m", "scaleprof", "sweep", *options, "--no-report", "--yes"]
    done = run([*command, "-o", str(path)], SWEEP_LIMIT_S)
    print(done.stderr, file=sys.stderr)
    if not path.exists():
        raise CouldNotRunError((done.stderr.strip() or "it said nothing").splitlines()[-1])
    records = read_run(path).records
    measured = [record for record in records if record.status in MEASURED_STATUSES]
    parts = [f"{sum(map(has, measured))} with {what}" for what, has in PARTS.items()]
    text = f"{len(measured)} of {len(records)}; {', '.join(parts)}"
    return Seen(text, bool(records) and len(measured) == len(records))


def visits_of(record: Record) -> Iterator[Visit]:
    return (visit for launch in record.launches for visit in launch.visits)


PARTS: dict[str, Callable[[Record], bool]] = {
    "device time": lambda record: any(visit.gpu_samples_s for visit in visits_of(record)),
    "graph time": lambda record: any(visit.graph_samples_s for visit in visits_of(record)),
    "state": lambda record: any(visit.gpu for visit in visits_of(record)),
    "energy": lambda record: any(one.sustained and one.sustained.energy_j for one in record.launches),
}


def check_repeatability(values_s: Sequence[float | None]) -> Seen:
    """The coefficient of variation of one number over fresh processes."""
    known_s = [value_s for value_s in values_s if value_s is not None]
    if len(known_s) < len(values_s):
        raise CouldNotRunError(f"{len(known_s)} of {len(values_s)} launches have one")
    variation = stdev(known_s) / fmean(known_s)
    return Seen(f"{variation:.2%} of {1e3 * fmean(known_s):.3f} ms", variation <= WITHIN_LAUNCHES)


def check_agreement(ours: Seconds, theirs: Seconds, *, within: float, turns: int = TURNS) -> Seen:
    """Whether two ways to time the same call agree, taken in turns."""
    pairs = [(ours(), theirs()) for _ in range(turns)]
    off = median(our_s / their_s for our_s, their_s in pairs) - 1
    ours_ms, theirs_ms = (1e3 * median(values_s) for values_s in zip(*pairs, strict=True))
    return Seen(f"{off:+.2%} ({ours_ms:.4f} and {theirs_ms:.4f} ms)", abs(off) <= within)


def check_clock(keep_busy: Callable[[], object], state: Callable[[], GpuState]) -> Seen:
    """The clock that spins of known cycles show, against the driver's right after them."""
    ratios, seen = [], []
    for _ in range(TURNS):
        keep_busy()
        now = state()
        if now.clock_mhz is None or now.reported_clock_mhz is None:
            raise CouldNotRunError("NVML's clock or the timed one is not told")
        ratios.append(now.clock_mhz / now.reported_clock_mhz)
        seen.append(f"{now.clock_mhz:.0f} / {now.reported_clock_mhz}")
    off = median(ratios) - 1
    return Seen(f"{off:+.1%} ({', '.join(seen)} MHz)", abs(off) <= WITHIN_CLOCK)


def check_energy(measure: Callable[[int], EnergyWindow | str]) -> Seen:
    """Joules of a call of twice as many passes over those of one of so many, in the order 1, 2, 2, 1."""
    joules: dict[int, list[float]] = {1: [], 2: []}
    for times in (1, 2, 2, 1):
        window = measure(times)
        if isinstance(window, str):
            raise CouldNotRunError(window)
        joules[times].append(window.joules / window.passes)
    once_j, twice_j = fmean(joules[1]), fmean(joules[2])
    ratio = twice_j / once_j
    text = f"{ratio:.3f} ({twice_j:.3f} and {once_j:.3f} J)"
    return Seen(text, abs(ratio / 2 - 1) <= WITHIN_ENERGY)


def median_of_verified(sample: Callable[[], float | None], samples: int = SAMPLES) -> float:
    """The median of the samples that could be verified."""
    values_s = [value_s for _ in range(samples) if (value_s := sample()) is not None]
    if not values_s:
        raise CouldNotRunError("no sample could be verified: the queue ran dry each time")
    return median(values_s)


def job_of(batch_size: int) -> Job:
    return Job(0, base_spec(FAMILIES[MODEL]), Workload(GPU, batch_size=batch_size, threads=1), MODEL)


def in_a_worker() -> dict[str, float | None]:
    """Wall and graph time of a pass, medians of one fresh worker."""
    job = job_of(LAUNCH_BATCH)
    with open_worker(device=GPU, threads=1, seed=0, timeout_s=WORKER_LIMIT_S) as bench:
        bench.build(job, inspect=False)
        visits = [bench.visit(job) for _ in range(VISITS)]
    graph_s = [median(visit.graph_samples_s) for visit in visits if visit.graph_samples_s]
    return {
        "wall": median(median(visit.samples_s) for visit in visits),
        "graph": median(graph_s) if graph_s else None,
    }


def products(count: int, side: int) -> Call:
    """A call of so many matrix products."""
    left, right = (torch.randn(side, side, device=GPU) for _ in range(2))

    def call() -> None:
        for _ in range(count):
            torch.mm(left, right)

    return call


def triton_testing() -> Any:
    """triton's own benchmarks; it ships no types."""
    return importlib.import_module("triton.testing")


def see_device_time() -> Seen:
    timer, call, triton = CudaTimer(GPU), products(1, PRODUCT_SIDE), triton_testing()
    call()
    return check_agreement(
        lambda: median_of_verified(lambda: timer.gpu_s(call)),
        lambda: float(triton.do_bench(call, return_mode="median")) / 1e3,
        within=WITHIN_TRITON,
    )


def see_graph_time() -> Seen:
    call, triton = Preparer(GPU, 0).prepare(job_of(1)).call(), triton_testing()
    call()
    graph = GraphTimer(Captures(GPU).capture(call), CudaTimer(GPU))
    return check_agreement(
        lambda: median(graph.samples_s()),
        lambda: float(triton.do_bench_cudagraph(call, return_mode="median")) / 1e3,
        within=WITHIN_TRITON,
    )


def see_clock(side: CudaSide) -> Seen:
    def keep_busy() -> None:
        side.timer.wall_s(lambda: torch.cuda._sleep(BUSY_CYCLES))

    return check_clock(keep_busy, side.state)


def see_energy(side: CudaSide) -> Seen:
    def measure(times: int) -> EnergyWindow | str:
        call = products(times * ENERGY_PRODUCTS, ENERGY_SIDE)
        pass_s = min(side.timer.wall_s(call) for _ in range(3))
        return side.energy(call, pass_s, ENERGY_WINDOW_S)

    return check_energy(measure)


def all_rows(run: Runner = run_command, launch: Launch = in_a_worker, run_file: Path = RUN) -> list[Row]:
    """Other processes first: this one has no context on the GPU until then."""
    launches = cache(lambda: [launch() for _ in range(LAUNCHES)])
    side = cache(lambda: CudaSide(GPU, nvml=find_nvml()))
    repeats, agrees = f"CV ≤ {WITHIN_LAUNCHES:.1%}", f"within {WITHIN_TRITON:.0%}"
    batch = f"{LAUNCHES} launches, {MODEL}, batch {LAUNCH_BATCH}"
    checks: list[tuple[str, str, Callable[[], Seen]]] = [
        ("tests marked `cuda`", "all pass", lambda: check_tests(run)),
        (f"`wall` over {batch}", repeats, lambda: check_repeatability([one["wall"] for one in launches()])),
        (f"`graph` over {batch}", repeats, lambda: check_repeatability([one["graph"] for one in launches()])),
        ("`sweep --phi 0..7 --device cuda`", "all measured", lambda: check_sweep(run, run_file)),
        ("energy E(2N)/E(N)", f"2 ± {WITHIN_ENERGY:.0%}", lambda: see_energy(side())),
        ("timed SM clock against NVML", f"within {WITHIN_CLOCK:.0%}", lambda: see_clock(side())),
        (f"`gpu` against `do_bench`, product of {PRODUCT_SIDE}²", agrees, see_device_time),
        (f"`graph` against `do_bench_cudagraph`, {MODEL}", agrees, see_graph_time),
    ]
    with torch.inference_mode():
        return [attempt(*check) for check in checks]


def describe_gpu(facts: Host) -> str:
    memory = "" if facts.gpu_memory_bytes is None else f", {facts.gpu_memory_bytes / 2**30:.0f} GiB"
    return (
        f"{facts.gpu_name or 'GPU'}{memory}, driver {facts.gpu_driver or 'not told'}, "
        f"CUDA {facts.cuda or 'not told'}, cuDNN {facts.cudnn or 'not told'}."
    )


def describe_both() -> str:
    return f"{describe_machine()} {describe_gpu(host.describe_host(GPU, 'as it is'))}"


def as_text(rows: Sequence[Row], machine: str) -> str:
    table = Table(("check", "wanted", "seen", "holds"), [row.cells() for row in rows])
    kept = sum(row.holds is True for row in rows)
    return f"{machine}\n\n{table.markdown()}\n\n{kept} of {len(rows)} hold."


def main(
    arguments: Sequence[str] | None = None,
    *,
    has_gpu: Callable[[], bool] = torch.cuda.is_available,
    describe: Callable[[], str] = describe_both,
    check_all: Callable[[], list[Row]] = all_rows,
    write: Callable[[str, str], None] = write_between,
) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the table into docs/measuring.md")
    options = parser.parse_args(arguments)
    if not has_gpu():
        print("gpu_check needs an NVIDIA GPU that torch can use: scaleprof doctor says more", file=sys.stderr)
        return 2
    machine = describe()
    rows = check_all()
    text = as_text(rows, machine)
    print(text)
    if options.write:
        write("gpu", text)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

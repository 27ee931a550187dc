"""How well numbers repeat in fresh processes: `python benchmarks/repeatability.py [--write]`.

EfficientNet-B0 and ResNet-18 at batch 1, measured again and again in fresh processes by five rules at equal
time, in blocks that hold each rule once, in random order:

- timm's: the mean of 40 passes after 10 warm-ups, again as long as there is time, averaged;
- `torch.utils.benchmark`: the medians of `blocked_autorange` and of `adaptive_autorange`;
- the minimum of 100 passes, or of as many more as there is time for;
- scaleprof's: one launch of its worker, both models in the same rounds.

All time the same networks with the same weights and inputs, build them outside the time, and get the same
seconds for both models, warm-up included. The first four run as their users run them: both models in one
process, one after the other in random order, with malloc and OpenMP as they are. Reported are coefficients of
variation over launches of a latency as it stands, of the drift-corrected latency, and of the ratio of the two
models, with bootstrap intervals (over blocks) of how many times better scaleprof's is than the best other.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from tables import Table, describe_machine, write_between

from scaleprof.engines.local import open_worker
from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import LaunchLog, Step, run_launch
from scaleprof.models import FAMILIES
from scaleprof.records import Launch, Plan, Workload
from scaleprof.scaling.sweep import base_spec
from scaleprof.stats.contrasts import ratio
from scaleprof.stats.drift import best_decile_s
from scaleprof.stats.latency import summarise

MODELS = ("efficientnet_b0", "resnet18")
OURS = "scaleprof"
RIVALS = ("timm: mean of 40", "blocked_autorange", "adaptive_autorange", "minimum of 100")
RESAMPLES = 4000
TIMEOUT_S = 600.0
# What is written down of a launch: seconds of each model, and their quotient.
Numbers = dict[str, float]
Call = Callable[[], object]


def job(number: int, model: str, threads: int) -> Job:
    return Job(number, base_spec(FAMILIES[model]), Workload("cpu", threads=threads), model)


def by_rival(method: str, seconds: float, threads: int, seed: int) -> Numbers:
    """One launch by a rival's rule; runs in a process of its own."""
    import torch

    from scaleprof.measuring.preparing import Preparer

    torch.set_num_threads(threads)
    rule = {
        "timm: mean of 40": mean_of_40,
        "blocked_autorange": blocked,
        "adaptive_autorange": adaptive,
        "minimum of 100": minimum,
    }[method]
    order = list(MODELS)
    random.Random(seed).shuffle(order)
    with torch.inference_mode():
        calls = {name: Preparer("cpu", 0).prepare(job(0, name, threads)).call() for name in MODELS}
        return {name: rule(calls[name], seconds / len(order), threads) for name in order}


def timed(call: Call) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def mean_of_40(call: Call, seconds: float, _threads: int) -> float:
    ends_s = time.perf_counter() + seconds
    means: list[float] = []
    while not means or time.perf_counter() < ends_s:
        for _ in range(10):
            call()
        means.append(fmean(timed(call) for _ in range(40)))
    return fmean(means)


def minimum(call: Call, seconds: float, _threads: int) -> float:
    ends_s = time.perf_counter() + seconds
    times_s: list[float] = []
    while len(times_s) < 100 or time.perf_counter() < ends_s:
        times_s.append(timed(call))
    return min(times_s)


def blocked(call: Call, seconds: float, threads: int) -> float:
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=threads)
    return float(timer.blocked_autorange(min_run_time=seconds).median)


def adaptive(call: Call, seconds: float, threads: int) -> float:
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=threads)
    return float(timer.adaptive_autorange(max_run_time=seconds, min_run_time=seconds / 4).median)


def in_a_process(method: str, seconds: float, threads: int, seed: int) -> Numbers:
    arguments = ["--one", method, "--seconds", str(seconds), "--threads", str(threads), "--seed", str(seed)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    numbers: Numbers = json.loads(done.stdout)
    return numbers | {"ratio": numbers[MODELS[0]] / numbers[MODELS[1]]}


def by_scaleprof(seconds: float, threads: int, seed: int) -> Numbers:
    """One launch of scaleprof's worker: rounds until the seconds, warm-ups included, are used up."""
    jobs = [job(number, model, threads) for number, model in enumerate(MODELS)]
    plan = Plan("benchmark", launches=1, min_rounds=6, max_rounds=10_000, target_ci=0.0)
    log, ends_s = LaunchLog(0), 0.0

    def observe(step: Step) -> None:
        nonlocal ends_s
        if step.doing == "build":
            ends_s = time.monotonic() + seconds - sum(map(log.warmup_s, jobs))

    with open_worker(device="cpu", threads=threads, seed=0, timeout_s=TIMEOUT_S) as bench:
        run_launch(
            bench,
            jobs,
            plan,
            log,
            rng=random.Random(seed),
            out_of_time=lambda: time.monotonic() >= ends_s,
            observe=observe,
            inspect=lambda _job: False,
        )
    launches = [launch for job in jobs if (launch := log.result(job, complete=True))]
    return ours_of(launches)


def ours_of(launches: Sequence[Launch]) -> Numbers:
    best_s = best_decile_s(launches)
    between = ratio([launches[0]], [launches[1]])
    assert best_s is not None
    assert between is not None
    numbers = {"ratio": between.value}
    for model, launch in zip(MODELS, launches, strict=True):
        summary = summarise([launch])
        assert summary is not None
        numbers |= {model: summary.median_s, f"{model} corrected": summary.relative * best_s}
    return numbers


def cv(values: Sequence[float]) -> float:
    """Coefficient of variation."""
    return stdev(values) / fmean(values)


Blocks = Sequence[dict[str, Numbers]]


def absolute_cv(blocks: Blocks, method: str, suffix: str = "") -> float:
    """Of a latency, the mean over both models."""
    return fmean(cv([block[method][model + suffix] for block in blocks]) for model in MODELS)


def ratio_cv(blocks: Blocks, method: str) -> float:
    return cv([block[method]["ratio"] for block in blocks])


def ratio_share(blocks: Blocks) -> float:
    """Our ratio's CV as a share of the best rival's."""
    best = min(ratio_cv(blocks, method) for method in RIVALS)
    return ratio_cv(blocks, OURS) / best if best else math.inf  # a resample may hold one block only


def corrected_share(blocks: Blocks) -> float:
    """Our drift-corrected CV as a share of the best absolute one, ours among them."""
    best = min(absolute_cv(blocks, method) for method in (*RIVALS, OURS))
    return absolute_cv(blocks, OURS, " corrected") / best if best else math.inf


def bootstrap(statistic: Callable[[Blocks], float], blocks: Blocks) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over resampled blocks."""
    rng = random.Random(1)
    values = sorted(statistic(rng.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES))
    return values[round(0.025 * RESAMPLES)], values[round(0.975 * RESAMPLES) - 1]


def as_text(blocks: Blocks, seconds: float, threads: int) -> str:
    def cell(statistic: Callable[[Blocks], float]) -> str:
        low, high = bootstrap(statistic, blocks)
        return f"{100 * statistic(blocks):.1f} % [{100 * low:.1f}–{100 * high:.1f}]"

    rows = []
    for method in (*RIVALS, OURS):
        corrected = cell(lambda b: absolute_cv(b, OURS, " corrected")) if method == OURS else "–"
        shown = f"**{method}**" if method == OURS else method
        rows.append(
            [
                shown,
                cell(lambda b, method=method: absolute_cv(b, method)),  # type: ignore[misc]
                corrected,
                cell(lambda b, method=method: ratio_cv(b, method)),  # type: ignore[misc]
            ]
        )
    header = ("rule", "CV of a latency [95 %]", "drift-corrected", "CV of the ratio of both models")
    lines = [
        f"{describe_machine()} {len(blocks)} blocks, {seconds:g} s a launch for both models, "
        f"{threads} {'thread' if threads == 1 else 'threads'}.",
        "",
        Table(header, rows).markdown(),
        "",
        _verdict("The ratio's CV", ratio_share, blocks, 1 / 3, "of the best other rule's"),
        _verdict("The drift-corrected latency's CV", corrected_share, blocks, 1 / 2, "of the best latency's"),
    ]
    return "\n".join(lines)


def _verdict(
    name: str, statistic: Callable[[Blocks], float], blocks: Blocks, wanted: float, of_what: str
) -> str:
    value, (low, high) = statistic(blocks), bootstrap(statistic, blocks)
    reached = "reached" if value <= wanted else "**not reached**"
    is_now = f"is {value:.2f} [{low:.2f}–{high:.2f}] {of_what}"
    return f"- {name} {is_now}; at most {wanted:.2f} was wanted: {reached}."


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", choices=RIVALS, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="put the table into docs/measuring.md")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.one:
        print(json.dumps(by_rival(options.one, options.seconds, options.threads, options.seed)))
        return
    rng, blocks = random.Random(options.seed), []
    for number in range(options.blocks):
        order = [*RIVALS, OURS]
        rng.shuffle(order)
        block: dict[str, Numbers] = {}
        for method in order:
            seed = rng.randrange(2**31)
            if method == OURS:
                block[method] = by_scaleprof(options.seconds, options.threads, seed)
            else:
                block[method] = in_a_process(method, options.seconds, options.threads, seed)
        blocks.append(block)
        ratios = ", ".join(f"{method} {block[method]['ratio']:.3f}" for method in (*RIVALS, OURS))
        print(f"block {number + 1} of {options.blocks}: {ratios}", file=sys.stderr, flush=True)
    text = as_text(blocks, options.seconds, options.threads)
    print(text)
    if options.write:
        write_between("repeatability", text)


if __name__ == "__main__":
    main()

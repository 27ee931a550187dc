"""How often the 95 % intervals hold the truth: `python benchmarks/coverage.py [--rounds N] [--write]`.

Simulated machines have a truth; measured ones do not. Prints a table of the scenarios by the number of
launches: in percent the share of trials whose interval covers the truth, its own 95 % Monte-Carlo interval,
and half the interval's median width. Wanted: 92 to 98 % from three launches on; other cells are marked ✗.
A single launch does not know what differs from one process to another, and is marked in every report.

The truth is what the headline goes to with ever more launches: the median of a round over all rounds and
processes (of throughput: the mean time of a pass), and the ratio of two such medians.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from scaleprof.records import Launch, Sustained, Visit, Warmup
from scaleprof.stats import intervals
from scaleprof.stats.contrasts import ratio
from scaleprof.stats.intervals import Estimate, over_launches
from scaleprof.stats.sustained import throughput

PAGE = Path(__file__).parents[1] / "docs" / "measuring.md"
MARKERS = re.compile(r"(<!-- coverage -->\n).*?(<!-- /coverage -->)", flags=re.DOTALL)

LAUNCHES = (1, 3, 5, 10)
WANTED = (0.92, 0.98)
NOISE_SD = 0.05  # on logarithms, as of all that follows
SLOW_BY = math.log(1.25)
SPIKES = (2.0, 3.0)
RATIO = 1.3
MEANT_RATIO = math.log(RATIO)
MACHINE_SD = 0.2

Logs = NDArray[np.float64]  # [launches, rounds]


class Scenario(NamedTuple):
    """A machine: lognormal noise of 5 %, and what comes on top of it.

    `correlation`: of a round's noise with the one before it. `drift`: by how much the last round of each
    launch is slower than the first. `slow_share`: of rounds that take 25 % longer; `stay`: how likely a round
    copies the state of the one before it. `spike_share`: of rounds that take 2 to 3 times as long.
    `launch_sd`: of a factor that is common to the rounds of a launch.
    """

    name: str
    correlation: float = 0.0
    drift: float = 0.0
    slow_share: float = 0.0
    stay: float = 0.0
    spike_share: float = 0.0
    launch_sd: float = 0.0

    def simulate(self, rng: np.random.Generator, launches: int, rounds: int) -> Logs:
        """Logarithms of the rounds of one run; the noise alone has median 0."""
        shape = (launches, rounds)
        logs = NOISE_SD * autoregressive(rng, shape, self.correlation)
        logs += np.log1p(self.drift * np.linspace(0, 1, rounds))
        logs += SLOW_BY * self._slow(rng, shape)
        logs += np.log(rng.uniform(*SPIKES, shape)) * (rng.random(shape) < self.spike_share)
        return logs + self.launch_sd * rng.standard_normal((launches, 1))

    def truth(self, rounds: int) -> float:
        """The median of the logarithm of a round: of a mixture of normal distributions."""
        drifts = np.log1p(self.drift * np.linspace(0, 1, rounds))
        parts = [(1 - self.slow_share - self.spike_share, 0.0), (self.slow_share, SLOW_BY)]
        parts.append((self.spike_share, math.log(sum(SPIKES) / 2)))
        sd = math.hypot(NOISE_SD, self.launch_sd)
        low, high = -1.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            below = sum(share * float(ndtr((middle - drifts - shift) / sd).mean()) for share, shift in parts)
            low, high = (middle, high) if below < 0.5 else (low, middle)
        return low

    def _slow(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
        slow = rng.random(shape) < self.slow_share
        stays = rng.random(shape) < self.stay
        for n in range(1, shape[1]):
            slow[:, n] = np.where(stays[:, n], slow[:, n - 1], slow[:, n])
        return slow


SCENARIOS = (
    Scenario("independent"),
    Scenario("AR(1) 0.3", correlation=0.3),
    Scenario("AR(1) 0.7", correlation=0.7),
    Scenario("drift 10 % in each launch", drift=0.1),
    Scenario("bimodal: 30 % slow by 25 %", slow_share=0.3),
    Scenario("the same in spells", slow_share=0.3, stay=0.7),
    Scenario("spikes 2–3× in 5 %", spike_share=0.05),
    Scenario("spikes 2–3× in 10 %", spike_share=0.1),
    Scenario("launches differ, SD 2 %", launch_sd=0.02),
    Scenario("launches differ, SD 5 %", launch_sd=0.05),
    Scenario("SD 2 % and AR(1) 0.7", launch_sd=0.02, correlation=0.7),
)


class Coverage(NamedTuple):
    """How many trials covered the truth, and half the median width of the intervals as a share of it."""

    covered: int
    trials: int
    half_width: float

    @property
    def share(self) -> float:
        return self.covered / self.trials

    def monte_carlo(self, deviations: float = 1.96) -> tuple[float, float]:
        """Wilson's interval of the share; so many standard errors to either side."""
        z2 = deviations**2 / self.trials
        centre = (self.share + z2 / 2) / (1 + z2)
        spread = self.share * (1 - self.share) / self.trials + z2 / (4 * self.trials)
        half_width = deviations * math.sqrt(spread) / (1 + z2)
        return centre - half_width, centre + half_width


def autoregressive(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> Logs:
    """Standard normal values, along the last axis correlated with the one before."""
    values = rng.standard_normal(shape)
    for n in range(1, shape[1]):
        values[:, n] = correlation * values[:, n - 1] + math.sqrt(1 - correlation**2) * values[:, n]
    return values


def coverage(draw: Callable[[], Estimate | None], truth: float, trials: int) -> Coverage:
    """Draw so many estimates; one without an interval covers nothing."""
    covered, half_widths = 0, []
    for _ in range(trials):
        estimate = draw()
        if estimate is not None and estimate.interval is not None:
            low, high = estimate.interval
            covered += low <= truth <= high
            half_widths.append((high - low) / 2 / truth)
    return Coverage(covered, trials, median(half_widths))


def of_latency(scenario: Scenario, launches: int, rounds: int, trials: int, seed: int = 0) -> Coverage:
    """Coverage of the headline of one scenario."""
    rng = np.random.default_rng((seed, launches, rounds))

    def draw() -> Estimate:
        return over_launches(np.exp(scenario.simulate(rng, launches, rounds)).tolist())

    return coverage(draw, math.exp(scenario.truth(rounds)), trials)


def of_ratio(
    scenario: Scenario, launches: int, rounds: int, trials: int, *, apart: bool = False, seed: int = 0
) -> Coverage:
    """Coverage of the ratio of two models that both behave like the scenario on a slow machine in common.

    What they have in common is a factor for each round of SD 20 % and AR(1) 0.7. With `apart` they are in
    groups of their own, each with its own such factors and the anchor model.
    """
    rng = np.random.default_rng((seed, launches, rounds, apart))

    def draw() -> Estimate | None:
        shape = (launches, rounds)
        first = MACHINE_SD * autoregressive(rng, shape, 0.7)
        second = MACHINE_SD * autoregressive(rng, shape, 0.7) if apart else first
        own = [scenario.simulate(rng, launches, rounds) for _ in range(4)]
        a = model(own[0] + first + MEANT_RATIO, group=0)
        b = model(own[1] + second, group=int(apart))
        anchor = (*model(own[2] + first, group=0), *model(own[3] + second, group=1)) if apart else ()
        return ratio(a, b, anchor=anchor)

    return coverage(draw, RATIO, trials)


def of_throughput(scenario: Scenario, launches: int, rounds: int, trials: int, seed: int = 0) -> Coverage:
    """Coverage of the throughput, in chunks that behave like the scenario's rounds."""
    rng = np.random.default_rng((seed, launches, rounds))
    truth = 1 / mean_of(scenario)

    def draw() -> Estimate | None:
        chunks_s = np.exp(scenario.simulate(rng, launches, rounds)).tolist()
        runs = [Sustained(1, tuple(launch), energy_missing="simulated") for launch in chunks_s]
        return throughput([make_launch(n, sustained=run) for n, run in enumerate(runs)], batch_size=1)

    return coverage(draw, truth, trials)


def mean_of(scenario: Scenario) -> float:
    """The mean of a round: of a mixture of lognormal distributions."""
    low, high = SPIKES
    shares = 1 + scenario.slow_share * (math.exp(SLOW_BY) - 1) + scenario.spike_share * ((low + high) / 2 - 1)
    return shares * (1 + scenario.drift / 2) * math.exp((NOISE_SD**2 + scenario.launch_sd**2) / 2)


def model(logs: Logs, *, group: int) -> list[Launch]:
    """Launches of a model whose visits take these times, one sample each."""
    return [
        make_launch(n, [Visit(place, (value,), (1.0,), (1.0,)) for place, value in enumerate(row)], group)
        for n, row in enumerate(np.exp(logs).tolist())
    ]


def make_launch(
    number: int, visits: Sequence[Visit] = (), group: int = 0, sustained: Sustained | None = None
) -> Launch:
    return Launch(
        launch=number,
        complete=True,
        build_s=1.0,
        cold_s=1.0,
        warmup=Warmup(1, 1.0, stationary=True),
        peak_memory_bytes=None,
        peak_memory_missing="simulated",
        output_std=1.0,
        visits=tuple(visits),
        group=group,
        sustained=sustained,
    )


def table(rounds: int, trials: int) -> Iterator[str]:
    """The lines of the table."""
    quick = max(1, trials // 4)  # launches of two or three models take longer to make up
    yield f"| {rounds} rounds a launch | " + " | ".join(map(launches_text, LAUNCHES)) + " |"
    yield "| --- |" + " ---: |" * len(LAUNCHES)
    independent, correlated, bimodal, spiky, differing = (SCENARIOS[n] for n in (0, 2, 4, 7, 9))
    for it in SCENARIOS:
        yield line(it.name, partial(of_latency, it, rounds=rounds, trials=trials))
    for it in (independent, correlated, bimodal, differing):
        yield line(f"ratio: {it.name}", partial(of_ratio, it, rounds=rounds, trials=quick))
    by_anchor = partial(of_ratio, independent, rounds=rounds, trials=quick, apart=True)
    yield line("ratio by an anchor: independent", by_anchor)
    for it in (independent, correlated, spiky, differing):
        yield line(f"throughput: {it.name}", partial(of_throughput, it, rounds=rounds, trials=trials))


def line(name: str, cover: Callable[[int], Coverage]) -> str:
    return f"| {name} | " + " | ".join(cell(cover(launches), launches) for launches in LAUNCHES) + " |"


def cell(found: Coverage, launches: int) -> str:
    """`coverage [Monte-Carlo interval] ± half-width`, in percent.

    >>> cell(Coverage(950, 1000, 0.031), 3), cell(Coverage(99, 100, 0.031), 3)
    ('95.0 [93.5–96.2] ±3.1', '✗ 99.0 [94.6–99.8] ±3.1')
    """
    low, high = found.monte_carlo()
    mark = "" if launches < 3 or WANTED[0] <= found.share <= WANTED[1] else "✗ "
    return f"{mark}{found.share:.1%} [{low:.1%}–{high:.1%}] ±{found.half_width:.1%}".replace("%", "")


def launches_text(launches: int) -> str:
    return f"{launches} launch" if launches == 1 else f"{launches} launches"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument(
        "--floor",
        type=float,
        default=intervals.FLOOR_CONFIDENCE,
        help="try another confidence of the floor; the one that is built in stays",
    )
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    if options.write and options.floor != intervals.FLOOR_CONFIDENCE:
        parser.error("--write takes the floor that is built in")
    intervals.FLOOR_CONFIDENCE = options.floor
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if options.write and not MARKERS.search(page):
        print(f"{PAGE} has no <!-- coverage --> and <!-- /coverage -->: add them first", file=sys.stderr)
        sys.exit(2)
    lines = []
    for text in table(options.rounds, options.trials):
        print(text, flush=True)
        lines.append(text)
    if options.write:
        written = "\n".join(lines)
        PAGE.write_text(MARKERS.sub(lambda found: f"{found[1]}{written}\n{found[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The intervals hold the truth as often as they say, on simulated machines that have one."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scaleprof.stats.contrasts import ratio
from scaleprof.stats.intervals import CONFIDENCE, Estimate, median_interval
from scaleprof.stats.latency import summarise

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "coverage.py"


def load_benchmark() -> ModuleType:
    """The benchmark under a name of its own: `coverage` is another project's."""
    spec = importlib.util.spec_from_file_location("coverage_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


simulated = load_benchmark()
SCENARIOS: dict[str, Any] = {scenario.name: scenario for scenario in simulated.SCENARIOS}
TRIALS = 500
FEW_TRIALS = 150


def assert_covers(found: Any, least: float = 0.92, most: float = 0.98) -> None:
    """Between 92 and 98 %, as far as so many trials can tell: two standard errors, at fixed seeds."""
    low, high = found.monte_carlo(2)
    assert low <= most, f"{found.share:.1%} is too much"
    assert high >= least, f"{found.share:.1%} is too little"


@pytest.mark.parametrize("rounds", [10, 15, 30])
@pytest.mark.parametrize("launches", [3, 5, 10])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_headlines_interval_holds_the_truth_in_92_to_98_percent(
    name: str, launches: int, rounds: int
) -> None:
    # Long simulations tell little more than short ones of the same kind.
    trials = TRIALS if launches * rounds <= 100 else FEW_TRIALS
    assert_covers(simulated.of_latency(SCENARIOS[name], launches, rounds, trials))


def test_independent_rounds_of_three_launches_are_not_covered_too_often() -> None:
    # The widest margin over 95 % is here: the pooled rounds are a floor that is often the wider interval.
    assert_covers(simulated.of_latency(SCENARIOS["independent"], 3, 15, 2500))


@pytest.mark.parametrize("launches", [3, 10])
def test_the_textbook_interval_of_pooled_rounds_is_found_wanting(launches: int) -> None:
    scenario, rng = SCENARIOS["launches differ, SD 5 %"], np.random.default_rng(1)

    def draw() -> Estimate:
        pooled = np.exp(scenario.simulate(rng, launches, 15)).ravel().tolist()
        return Estimate(1.0, median_interval(pooled, CONFIDENCE))

    with pytest.raises(AssertionError, match="too little"):
        assert_covers(simulated.coverage(draw, 1.0, FEW_TRIALS))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("launches", [3, 5, 10])
@pytest.mark.parametrize("name", ["independent", "AR(1) 0.7"])
def test_a_ratios_interval_holds_the_truth_in_92_to_98_percent(name: str, launches: int, apart: bool) -> None:
    assert_covers(simulated.of_ratio(SCENARIOS[name], launches, 10, FEW_TRIALS, apart=apart))


@pytest.mark.parametrize("launches", [3, 5, 10])
@pytest.mark.parametrize("name", ["independent", "AR(1) 0.7", "launches differ, SD 5 %"])
def test_a_throughputs_interval_holds_the_truth_in_92_to_98_percent(name: str, launches: int) -> None:
    assert_covers(simulated.of_throughput(SCENARIOS[name], launches, 10, TRIALS))


def test_a_ratio_in_the_same_rounds_is_known_far_better_than_either_latency() -> None:
    rng = np.random.default_rng(2)
    widths: list[tuple[float, float]] = []
    for _ in range(20):
        machine = 0.2 * simulated.autoregressive(rng, (5, 15), 0.7)
        a, b = (simulated.model(machine + 0.02 * rng.standard_normal((5, 15)), group=0) for _ in range(2))
        compared, alone = ratio(a, b), summarise(a)
        assert compared is not None
        assert compared.interval is not None
        assert alone is not None
        assert alone.interval_s is not None
        widths.append((math.log(compared.interval.ratio), math.log(alone.interval_s.ratio)))
    assert np.median([narrow for narrow, _ in widths]) < np.median([wide for _, wide in widths]) / 5


def test_a_single_launch_does_not_know_what_differs_between_processes() -> None:
    found = simulated.of_latency(SCENARIOS["launches differ, SD 5 %"], 1, 15, FEW_TRIALS)
    assert found.share < 0.7


def test_the_truth_of_a_scenario_is_the_median_of_very_many_rounds() -> None:
    rng = np.random.default_rng(3)
    for scenario in simulated.SCENARIOS:
        rounds = scenario.simulate(rng, 20_000, 15)
        # Two standard errors of the median of as many independent values are 0.001 at most here.
        assert np.median(rounds) == pytest.approx(scenario.truth(15), abs=0.002)

"""`benchmarks/gate.py`: the work that it adds, the file that it keeps, and rates whose truth is known."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROUNDS = 30


def load(name: str) -> ModuleType:
    """Its neighbours are on the path while it is loaded, and no longer: one has another project's name."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


gate: Any = load("gate")
rates: Any = load("gate_rates")
recordings: Any = load("gate_recording")
rivals: Any = load("gate_rivals")
networks: Any = load("gate_networks")


def simulated(
    pairs: int, *, truth: float = 1.0, tau: float = 0.015, noise: float = 0.06, seed: int = 0
) -> Any:
    """A recording whose changes are `truth` times what their names say."""
    rng = np.random.default_rng(seed)
    names = [
        recordings.target_name(name, change) for name in ("a", "b", "c") for change in recordings.CHANGES
    ]
    lines = []
    for number in range(pairs):
        before_ns, after_ns = {}, {}
        for name in names:
            change = truth * int(name.rpartition("_")[2]) / 100
            shift = math.log1p(change) + tau * rng.standard_normal()
            spell, own = (
                0.1 * rng.standard_normal((ROUNDS, 1)),
                noise / 2 * rng.standard_normal((2, ROUNDS, 2)),
            )
            before_ns[name] = (12e6 * np.exp(spell + own[0])).astype(int).tolist()
            after_ns[name] = (12e6 * np.exp(spell + own[1] + shift)).astype(int).tolist()
        lines.append(recordings.Pair(number, (0,), 4.0, 15.0, 30.0, before_ns, after_ns))
    return recordings.Recording(recordings.Header("A machine.", ROUNDS, dict.fromkeys(names, 1)), lines)


def test_the_extra_work_is_so_many_products_and_nothing_else() -> None:
    with torch.inference_mode():
        flops = []
        for products in (0, 7):
            network, inputs = networks.build("encoder", products)
            with FlopCounterMode(display=False) as counter:
                outputs, _ = network(inputs)
            flops.append(counter.get_total_flops())
        assert flops[1] - flops[0] == 7 * 2 * networks.ROWS * networks.FEATURES**2
        plain, inputs = networks.build("encoder", 0)
        assert torch.equal(plain(inputs)[0], outputs)


def test_arms_differ_by_the_work_of_the_one_after_alone(tmp_path: Path) -> None:
    places = gate.make_places(tmp_path, {"resnet18_5": 52})
    work = {arm: json.loads((place.root / "extra_work.json").read_text()) for arm, place in places.items()}
    assert work == {"before": {}, "after": {"resnet18_5": 52}}
    code = {(place.root / "gate_networks.py").read_bytes() for place in places.values()}
    assert code == {(BENCHMARKS / "gate_networks.py").read_bytes()}


def test_a_recording_is_read_as_it_was_written_and_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path, recording = tmp_path / "gate.jsonl", simulated(2)
    assert gate.read(path) is None
    for line in (recording.header, *recording.pairs):
        gate.append(path, line)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"pair": 2, "cp')
    again = gate.read(path)
    assert (again.header, again.pairs) == (recording.header, recording.pairs)
    assert path.read_bytes() == whole
    path.write_bytes(b'{"mach')
    assert gate.read(path) is None
    assert path.read_bytes() == b""


def test_a_check_goes_on_behind_the_pairs_of_the_one_before() -> None:
    recording = simulated(60, truth=2.0, tau=0.001, noise=0.01)
    outcomes = list(rates.checks(recording, "a", 10, 1, np.random.default_rng(0)))
    # 20 % in quiet pairs are found at the first look: three pairs a check, while twelve are left.
    assert {(one.verdict, one.pairs) for one in outcomes} == {("SLOWER", 3)}
    assert len(outcomes) == 17
    assert outcomes[0].seconds == pytest.approx(3 * (4 + 45 / 15))


def test_a_check_takes_as_long_as_its_models_that_are_still_open() -> None:
    recording = simulated(12, truth=2.0, tau=0.001, noise=0.01)
    (outcome,) = rates.checks(recording, "a", 10, 3, np.random.default_rng(0))
    assert outcome.seconds == pytest.approx(3 * (4 + 3 * 45 / 15))


def test_rates_of_simulated_recordings_are_near_their_truth() -> None:
    recording = simulated(48)
    alarms, caught = (rates.slower(rates.all_checks(recording, change, 1)) for change in (0, 5))
    assert alarms.share <= 0.04
    assert caught.share >= 0.95
    # 48 pairs make nine to thirteen checks of three or four pairs, of each of three networks.
    assert 24 <= alarms.trials <= 39


def test_an_interval_is_clopper_and_pearsons() -> None:
    assert recordings.Rate(0.0, 30).text == "0.0 % [0–12]"
    assert recordings.Rate(1.0, 30).text == "100.0 % [88–100]"
    assert recordings.Rate(0.5, 10).text == "50.0 % [19–81]"


QUIET = np.array([1.00, 1.01, 1.02, 1.01, 1.00, 1.02, 1.01, 1.00, 1.02, 1.01])


@pytest.mark.parametrize(
    ("factor", "flagged"),
    [
        (0.8, set()),
        (1.0, set()),
        (1.02, {"pyperf", "google_benchmark"}),
        (1.07, {"pyperf", "google_benchmark", "pytest_benchmark", "asv_of_five"}),
        (1.2, {"pyperf", "google_benchmark", "pytest_benchmark", "asv_of_five", "asv"}),
    ],
)
def test_other_rules_flag_what_their_tools_would(factor: float, flagged: set[str]) -> None:
    found = {rule.__name__ for rule in rivals.RIVALS.values() if rule(QUIET, factor * QUIET)}
    assert found == flagged


def test_what_is_slower_by_accident_is_flagged_by_thresholds_alone() -> None:
    before_s = np.array([1.0, 1.0, 1.0, 3.0, 0.5])
    after_s = np.array([1.2, 1.2, 0.5, 3.0, 1.2])
    assert {name for name, rule in rivals.RIVALS.items() if rule(before_s, after_s)} == {
        "pytest-benchmark: median +5 %"
    }


def test_the_table_has_all_rules_all_changes_and_what_was_wanted() -> None:
    text = rates.as_text(simulated(24), orders=4)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.count(" % [") for line in table[2:15]] == [5] * 13
    for name in ("scaleprof check**, 8 models", *rivals.RIVALS, "| b, 1", "of 5 % caught"):
        assert name in text
    assert "30 rounds: 24 with no change" in text


def test_runs_one_after_the_other_compare_the_pairs_before_with_those_behind() -> None:
    recording = simulated(20)
    seen: list[tuple[float, float]] = []

    def rule(before_s: Any, after_s: Any) -> bool:
        seen.append((before_s[0], after_s[0]))
        return True

    rate = rivals.rival_rate_apart(recording, rule, 0)
    series = recording.series("a", 0)
    assert seen[:2] == [(series.before_s[n][0], series.after_s[n + 5][0]) for n in (0, 10)]
    assert (rate.share, rate.trials) == (1.0, 6)


def test_a_recording_of_too_few_pairs_says_so() -> None:
    assert rates.as_text(simulated(3)) == "3 pairs hold all changes: a check may take 12."


def without_changes(pair: Any) -> Any:
    """The pair as `--changes 0` records it."""
    names = [name for name in pair.before_ns if name.endswith("_0")]
    return msgspec.structs.replace(
        pair,
        before_ns={name: pair.before_ns[name] for name in names},
        after_ns={name: pair.after_ns[name] for name in names},
    )


def test_pairs_of_identical_code_alone_count_for_false_alarms_and_for_nothing_else() -> None:
    whole = simulated(48)
    mixed = recordings.Recording(
        whole.header, [*whole.pairs[:24], *(without_changes(pair) for pair in whole.pairs[24:])]
    )
    first = recordings.Recording(whole.header, whole.pairs[:24])
    alarms = [rates.all_checks(one, 0, 3, 2) for one in (whole, mixed, first)]
    caught = [rates.all_checks(one, 5, 3, 2) for one in (mixed, first)]
    assert [one.verdict for one in alarms[0]] == [one.verdict for one in alarms[1]]
    assert len(alarms[1]) > len(alarms[2])
    assert caught[0] == caught[1]
    # A pair of three networks takes as long as it took, one of fifteen a fifth of that.
    assert (mixed.seconds(30, 3), mixed.seconds(3, 3)) == (4 + 45, 4 + 45 / 5)
    assert "of 30 rounds: 48 with no change, 24 with +2 %, 24 with +3 %," in rates.as_text(mixed, 1)
    assert rates.alarms_as_text(mixed.after(24), 2).count("false alarms") == 3

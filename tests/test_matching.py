"""Matching strategies at equal cost: the search never misses a nearer neighbour."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.app.choosing import choose
from scaleprof.app.costs import CostBook
from scaleprof.app.counting import count_choice, count_families
from scaleprof.app.matching import Matcher
from scaleprof.cli import run as run_cli
from scaleprof.errors import UsageError
from scaleprof.models import FAMILIES
from scaleprof.records import MatchMetric
from scaleprof.scaling.budget import TOLERANCE, Curve, is_off, nearest
from scaleprof.scaling.rules import Bases, factors
from scaleprof.scaling.sweep import base_spec, make_spec, scale_at

GRID_PER_DOUBLING = 400


def toy_curve(repeats: int, channels: int, side: int, strategy: str) -> tuple[Curve, list[int]]:
    """A network of three whole numbers, whose cost is their product; and the costs asked for."""
    asked = []

    def network(x: float) -> tuple[int, int, int]:
        wanted = factors(strategy, x)
        if wanted.depth * repeats < 1 - 1e-9:
            raise UsageError("no layer left")
        return (
            math.ceil(repeats * wanted.depth - 1e-9),
            max(1, round(channels * wanted.width / 8)) * 8,
            round(side * wanted.resolution),
        )

    def cost(x: float) -> float:
        depth, width, px = network(x)
        asked.append(depth * width**2 * px**2)
        return asked[-1]

    return Curve(network, cost), asked


@given(
    repeats=st.integers(1, 9),
    channels=st.sampled_from([8, 16, 24, 64, 320]),
    side=st.sampled_from([32, 65, 224]),
    strategy=st.sampled_from(["depth", "width", "resolution", "compound", "dw", "fast", "d1_w2_r1"]),
    phi=st.floats(-3, 3).filter(lambda phi: abs(phi) > 0.01),
)
@settings(max_examples=150, deadline=None)
def test_no_growth_on_a_strategy_comes_nearer(
    repeats: int, channels: int, side: int, strategy: str, phi: float
) -> None:
    curve, _ = toy_curve(repeats, channels, side, strategy)
    target = repeats * (max(1, round(channels / 8)) * 8) ** 2 * side**2 * 2.0**phi
    found = nearest(curve, target, phi)
    exhaustive = [
        curve.cost_at(x)
        for x in (phi + step / GRID_PER_DOUBLING for step in range(-1200, 1201))
        if curve.exists(x)
    ]
    assert abs(found.cost - target) <= min(abs(cost - target) for cost in exhaustive)
    assert curve.cost_at(found.growth_log2) == found.cost


def test_a_network_is_counted_few_times_and_never_twice() -> None:
    curve, asked = toy_curve(4, 320, 224, "resolution")
    nearest(curve, 4 * 320**2 * 224**2 * 8, 3)
    assert len(asked) <= 8
    before = len(asked)
    nearest(curve, 4 * 320**2 * 224**2 * 8, 3)
    assert len(asked) == before


def test_of_two_equally_near_the_smaller_is_taken() -> None:
    curve = Curve(network=round, cost=lambda x: float(round(x) + 10))
    assert nearest(curve, 12.5, 2.0).cost == 12.0


def test_a_cost_that_does_not_move_is_said_to_stay() -> None:
    curve = Curve(network=lambda x: round(100 * x), cost=lambda _: 7.0)
    assert not nearest(curve, 14.0, 1.0).moves


def test_a_curve_that_ends_gives_its_end() -> None:
    def network(x: float) -> int:
        if x < -1:
            raise UsageError("too small")
        return round(100 * x)

    found = nearest(Curve(network, lambda x: 2.0 ** (round(100 * x) / 100)), 2.0**-3, -3.0)
    assert found.at_limit
    assert found.cost == 0.5


def test_a_dip_in_cost_is_not_overlooked() -> None:
    """Where cost may fall as a factor grows, cells beyond the crossing are looked at too."""
    costs = {0: 100.0, 1: 150.0, 2: 210.0, 3: 201.0, 4: 260.0}

    def cost(x: float) -> float:
        return costs[max(0, min(4, round(4 * x)))]

    dipping = Curve(lambda x: max(0, min(4, round(4 * x))), cost, is_monotone=False)
    assert nearest(dipping, 200.0, 0.5).cost == 201.0


@pytest.mark.parametrize("metric", ["macs", "params", "activations"])
@pytest.mark.parametrize(("model", "strategy"), [("resnet18", "depth"), ("mobilenet_v1", "width")])
def test_a_familys_match_is_nearer_than_all_its_neighbours(
    model: str, strategy: str, metric: MatchMetric
) -> None:
    """The neighbours, searched one by one: every network of the strategy around the solution."""
    choice = choose(model, strategy, "1", match=metric)
    costs, family = CostBook(), FAMILIES[model]
    spec = Matcher(choice, metric, costs).place(family, strategy, 1)
    base = getattr(costs.cost(family, base_spec(family)), metric)

    def distance(depth: float, width: float, resolution: float) -> float:
        scale = type(scale_at(choice.sweep, strategy, 0))(depth, width, resolution)
        cost = getattr(costs.cost(family, make_spec(family, strategy, 1, scale)), metric)
        return float(abs(cost - 2 * base))

    ours = distance(spec.depth, spec.width, spec.resolution)
    for step in range(-60, 61):
        wanted = factors(strategy, 1 + step / 40)
        assert ours <= distance(wanted.depth, wanted.width, wanted.resolution)


def test_one_budget_is_met_the_same_alone_and_among_others() -> None:
    """pycls' halves go to the even neighbour, so that a network may exist at a single growth."""
    asked = {"strategies": "depth", "match": "macs", "rounding": "pycls"}
    (alone,) = count_families("convnext_tiny", phi="-1", **asked)  # type: ignore[arg-type]
    among = count_families("convnext_tiny", phi="-1.5,-1,-0.5", **asked)  # type: ignore[arg-type]
    (same,) = [row for row in among if row.phi == -1]
    assert (alone.macs, alone.shape) == (same.macs, same.shape)
    (formula,) = count_families("convnext_tiny", strategies="depth", rounding="pycls", phi="-1")
    assert abs((alone.matched_growth or 0) - 0.5) <= abs((formula.achieved_growth or 0) - 0.5)


def test_requests_that_come_to_one_network_do_not_hide_behind_each_other() -> None:
    rows = count_families("resnet18", strategies="depth", phi="-0.1,0,0.1,0.2,0.3", match="macs")
    assert rows[0].spec_id == "resnet18/base/0"
    for row in rows:
        near = not is_off(row.requested_growth, row.matched_growth or 1)
        assert near or row.status == "unmatched" or row.warnings
    told = next(row for row in rows if row.phi == 0.3)
    assert told.status == "unmatched"
    assert (told.reason or "").startswith("the nearest network is resnet18/base/0 (1×), 1.23× was asked for")


def test_bases_that_shrink_a_dimension_are_not_matched() -> None:
    with pytest.raises(UsageError, match="--match macs needs compound bases of at least 1"):
        choose(strategies="compound", match="macs", bases=Bases(3, 0.7, 1.6))


def test_a_network_without_parameters_has_none_to_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conv.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, c):\n        super().__init__()\n        self.c = c\n"
        "    def forward(self, x): return x.flatten(1) @ x.new_empty(x[0].numel(), self.c)\n"
        "def build(scale): return Net(scale.channels(16))\n"
    )
    base, wide = count_families("conv.py:build", strategies="width", phi="0..1", match="params")
    assert (base.params, wide.status, wide.reason) == (0, "unmatched", "the base has no parameters")


def test_four_strategies_meet_every_budget_or_say_why_not() -> None:
    rows = count_families("mobilenet_v2", phi="-1..2", match="macs")
    assert {row.strategy for row in rows} == {"base", "compound", "width", "depth", "resolution"}
    for row in rows[1:]:
        assert row.matched_growth is not None
        said = row.status == "unmatched" or any(caution.code == "match_off" for caution in row.warnings)
        assert is_off(row.requested_growth, row.matched_growth) == said
        assert row.requested_growth == 2.0 ** (row.phi or 0)
    near = [row for row in rows[1:] if not is_off(row.requested_growth, row.matched_growth or 0)]
    assert len(near) >= 10


def test_solved_factors_make_the_network_that_was_counted() -> None:
    for counted in count_choice(choose(strategies="compound,fast", phi="1", match="params")):
        spec = counted.spec
        if spec.phi:
            family = FAMILIES[spec.model]
            scale = type(scale_at(choose().sweep, "width", 0))(spec.depth, spec.width, spec.resolution)
            assert family.integers(scale) == (spec.shape, spec.input_size)
            assert counted.matched_growth == pytest.approx(2, rel=TOLERANCE)


def test_what_a_strategy_cannot_move_is_unmatched_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["count", "-m", "resnet18", "--match", "params", "--phi", "-2..1", "--format", "json"]
    assert run_cli([*arguments, "--strategy", "resolution,depth"]) == 0
    rows = {row["spec_id"]: row for row in json.loads(capsys.readouterr().out)}
    resolution = rows["resnet18/resolution/1"]
    assert resolution["status"] == "unmatched"
    assert resolution["reason"].startswith("resolution does not change parameters: no factor brings them to")
    shallow = rows["resnet18/depth/-2"]
    assert (shallow["status"], shallow["shape"]["stage_repeats"]) == ("unmatched", [1, 1, 1, 1])
    assert shallow["reason"].startswith("the least parameters that depth can have are 5.42 M")
    assert rows["resnet18/depth/1"]["status"] == "ok"


def test_without_matching_the_formula_stands() -> None:
    (row,) = count_families("resnet18", strategies="depth", phi=1)
    assert (row.match, row.matched_growth, row.depth) == (None, None, 2.0)

"""Candidates of a search: an exact grid, costs within the tolerance, each network once, controls beside."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.errors import UsageError
from scaleprof.models import FAMILIES
from scaleprof.records import Candidate, ModelSpec
from scaleprof.scaling.candidates import (
    PUBLISHED_BASES,
    Price,
    bases_name,
    distinct,
    judge,
    place,
    propose,
)
from scaleprof.scaling.rounding import Scale, round_px
from scaleprof.scaling.rules import Bases
from scaleprof.scaling.sweep import make_spec

RESNET = FAMILIES["resnet18"]


def network_of(bases: Bases) -> ModelSpec:
    scale = Scale(bases.depth, bases.width, bases.resolution)
    return make_spec(RESNET, bases_name(bases), 1, scale, input_size=round_px(64 * bases.resolution))


def judged(
    growth: Callable[[ModelSpec], float] = lambda spec: spec.depth * spec.width**2 * spec.resolution**2,
    *,
    target: float = 2.0,
    tolerance: float = 0.1,
    step: float = 0.05,
) -> tuple[Candidate, ...]:
    """Candidates whose cost is a function of the network, the base's being 100."""
    return judge(
        place(propose(step, target, tolerance), network_of),
        lambda spec: Price(round(100 * growth(spec)), 100 * growth(spec)),
        base_cost=100.0,
        target=target,
        tolerance=tolerance,
        metric="macs",
    )


def test_the_grid_of_tan_and_le_holds_their_bases_and_215_others_are_of_that_growth() -> None:
    proposals = propose(0.05, 2.0, 0.1)
    grid = [one.bases for one in proposals if one.kind == "grid"]
    assert PUBLISHED_BASES in grid
    # Counted in whole twentieths, which shares no code with decimals; depth alone is a control.
    twentieths = [
        (d, w, r)
        for d in range(20, 41)
        for w in range(20, 29)
        for r in range(20, 29)
        if Fraction(9, 5) <= Fraction(d * w * w * r * r, 20**5) <= Fraction(11, 5)
    ]
    assert {(round(b.depth * 20), round(b.width * 20), round(b.resolution * 20)) for b in grid} == (
        set(twentieths) - {(40, 20, 20)}
    )


def test_bases_are_the_decimals_that_a_person_would_write() -> None:
    assert all(
        value == float(f"{value:.2f}")
        for one in propose(0.05, 2.0, 0.1)
        if one.kind == "grid"
        for value in (one.bases.depth, one.bases.width, one.bases.resolution)
    )


@given(
    step=st.sampled_from([0.05, 0.07, 0.1, 0.25]),
    target=st.floats(1.2, 3),
    tolerance=st.floats(0.02, 0.2),
)
def test_every_set_of_bases_grows_by_about_the_target_and_no_dimension_shrinks_or_exceeds_it(
    step: float, target: float, tolerance: float
) -> None:
    for one in propose(step, target, tolerance):
        bases = one.bases
        assert min(bases.depth, bases.width, bases.resolution) >= 1
        assert abs(bases.growth / target - 1) <= tolerance + 1e-9
        assert bases.depth <= target * (1 + 1e-9) or one.is_published
        assert max(bases.width, bases.resolution) <= math.sqrt(target) * (1 + 1e-9) or one.is_published


@given(target=st.floats(1.1, 5))
def test_controls_grow_a_single_dimension_by_exactly_the_target(target: float) -> None:
    controls = [one.bases for one in propose(0.1, target, 0.1) if one.kind == "control"]
    singles = [b for b in controls if b != PUBLISHED_BASES]
    assert [sum(v != 1 for v in (b.depth, b.width, b.resolution)) for b in singles] == [1, 1, 1]
    assert [b.growth for b in singles] == pytest.approx([target] * 3)


def test_published_bases_join_a_grid_that_leaves_them_out_only_where_they_are_of_its_growth() -> None:
    coarse = propose(0.1, 2.0, 0.1)
    assert [one.kind for one in coarse if one.is_published] == ["control"]
    assert not any(one.is_published for one in propose(0.1, 4.0, 0.1))


def test_a_model_that_grows_in_two_dimensions_has_a_grid_of_these() -> None:
    proposals = propose(0.05, 2.0, 0.1, ("depth", "width"))
    assert all(one.bases.resolution == 1 for one in proposals)
    assert len([one for one in proposals if one.kind == "control"]) == 2


def test_bases_whose_network_costs_something_else_are_excluded_in_words() -> None:
    candidates = judged(lambda spec: 2.0 if (spec.input_size or 0) < 80 else 2.6)
    off = [one for one in candidates if one.kind == "grid" and (one.spec.input_size or 0) >= 80]
    assert off
    assert {one.excluded for one in off} == {"2.6× the base's MACs after rounding, 2× ± 10% was asked for"}


def test_of_bases_with_one_network_the_nearest_to_the_target_stands_and_others_name_it() -> None:
    candidates = judged(lambda _spec: 2.0)
    by_network: dict[tuple[object, ...], list[Candidate]] = {}
    for one in candidates:
        by_network.setdefault(one.spec.identity, []).append(one)
    assert any(len(same) > 1 for same in by_network.values())
    for same in by_network.values():
        (stands,) = [one for one in same if one.excluded is None]
        for other in same:
            if other is stands:
                continue
            assert other.excluded == f"same network as {bases_name(stands).replace('-', '/')}"
            if stands.kind == "grid" and bases_name(stands) != bases_name(PUBLISHED_BASES):
                assert abs(stands.nominal_growth - 2) <= abs(other.nominal_growth - 2) + 1e-8


def test_controls_and_published_bases_stay_whatever_rounding_made_of_them() -> None:
    candidates = judged(lambda _spec: 3.0)
    assert {bases_name(one) for one in candidates if one.excluded is None} == {
        "2-1-1", "1-1.4142-1", "1-1-1.4142", "1.2-1.1-1.15"
    }  # fmt: skip
    assert {one.kind for one in candidates if one.excluded is None} == {"control"}
    assert {one.cost_growth for one in candidates if one.kind == "control"} == {3.0}


def test_a_network_is_priced_once() -> None:
    asked: list[tuple[object, ...]] = []

    def price(spec: ModelSpec) -> Price:
        asked.append(spec.identity)
        return Price(200, 200.0)

    placed = place(propose(), network_of)
    judge(placed, price, base_cost=100.0, target=2.0, tolerance=0.1, metric="macs")
    assert len(asked) == len(set(asked)) == len(distinct(placed, 2.0))


def test_what_cannot_be_counted_is_excluded_with_the_reason() -> None:
    placed = place(propose(), network_of)
    candidates = judge(
        placed,
        lambda _spec: Price(None, None, "too deep"),
        base_cost=100.0,
        target=2.0,
        tolerance=0.1,
        metric="macs",
    )
    assert {one.excluded for one in candidates} == {"too deep"}
    assert {one.cost_growth for one in candidates} == {None}


@pytest.mark.parametrize(
    ("step", "target", "tolerance", "words"),
    [
        (0.0, 2.0, 0.1, r"--grid-step 0 must be above 0"),
        (3.0, 2.0, 0.1, r"--grid-step 3 must be above 0 and below"),
        (0.0001, 2.0, 0.1, r"--grid-step 0.0001 is too fine"),
        (0.01, 2.0, 0.1, r"--grid-step 0.01 leaves \d+ sets of bases, at most 2000"),
        (0.05, 1.0, 0.1, r"--target-growth 1 must be above 1"),
        (0.05, 50.0, 0.1, r"--target-growth 50 must be above 1 and at most 10"),
        (0.05, 2.0, 0.0, r"--tolerance 0 must be above 0"),
    ],
)
def test_a_grid_that_cannot_be_is_a_usage_error(
    step: float, target: float, tolerance: float, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        propose(step, target, tolerance)

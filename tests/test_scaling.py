"""Which models a sweep means."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.errors import UsageError
from scaleprof.models import FAMILIES
from scaleprof.scaling.published import EFFICIENTNET, find_row
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName, Scale, round_channels, round_px, round_repeats
from scaleprof.scaling.rules import EXPONENTS, Bases, factors
from scaleprof.scaling.sweep import PhiValues, Sweep, expand, parse_phi, phi_values

# google/automl, efficientnetv2/effnetv2_configs.py, and the integers that its rounding makes of them:
# width, depth, input, stem, stage channels, repeats, head.
PUBLISHED_INTEGERS = {
    "B0": (1.0, 1.0, 224, 32, "16 24 40 80 112 192 320", "1 2 2 3 3 4 1", 1280),
    "B1": (1.0, 1.1, 240, 32, "16 24 40 80 112 192 320", "2 3 3 4 4 5 2", 1280),
    "B2": (1.1, 1.2, 260, 32, "16 24 48 88 120 208 352", "2 3 3 4 4 5 2", 1408),
    "B3": (1.2, 1.4, 300, 40, "24 32 48 96 136 232 384", "2 3 3 5 5 6 2", 1536),
    "B4": (1.4, 1.8, 380, 48, "24 32 56 112 160 272 448", "2 4 4 6 6 8 2", 1792),
    "B5": (1.6, 2.2, 456, 48, "24 40 64 128 176 304 512", "3 5 5 7 7 9 3", 2048),
    "B6": (1.8, 2.6, 528, 56, "32 40 72 144 200 344 576", "3 6 6 8 8 11 3", 2304),
    "B7": (2.0, 3.1, 600, 64, "32 48 80 160 224 384 640", "4 7 7 10 10 13 4", 2560),
    "B8": (2.2, 3.6, 672, 72, "32 56 88 176 248 424 704", "4 8 8 11 11 15 4", 2816),
    "L2": (4.3, 5.3, 800, 136, "72 104 176 344 480 824 1376", "6 11 11 16 16 22 6", 5504),
}  # fmt: skip

phis = st.floats(-6, 6, allow_nan=False)


relative = st.tuples(*[st.integers(0, 9)] * 3).filter(any).map(lambda e: "d{}_w{}_r{}".format(*e))


@given(phi=phis, strategy=st.sampled_from(sorted(EXPONENTS)) | relative)
def test_every_formula_grows_macs_by_two_to_the_phi(phi: float, strategy: str) -> None:
    assert math.isclose(factors(strategy, phi).growth, 2**phi, rel_tol=1e-9)


@given(phi=phis)
def test_relative_exponents_name_the_strategies_they_equal(phi: float) -> None:
    for name, twin in (("dw", "d1_w1"), ("wr", "w3_r3"), ("fast", "d1_w8_r1"), ("width", "w1")):
        ours, theirs = factors(name, phi), factors(twin, phi)
        for dimension in ("depth", "width", "resolution"):
            assert math.isclose(getattr(ours, dimension), getattr(theirs, dimension), rel_tol=1e-12)


def test_fast_scaling_grows_activations_least() -> None:
    """Dollár et al. 2021, section 5: activations grow with depth · width · resolution², here 2^0.6."""
    at_one = factors("fast", 1)
    assert math.isclose(at_one.depth * at_one.width * at_one.resolution**2, 2**0.6)


@given(phi=phis)
def test_compound_raises_each_base_to_the_phi(phi: float) -> None:
    grown = factors("compound", phi)
    assert (grown.depth, grown.width, grown.resolution) == (1.2**phi, 1.1**phi, 1.15**phi)


MONOTONE = sorted(name for name, family in FAMILIES.items() if family.is_monotone)


def scale_at(strategy: str, phi: float, rounding: RoundingName = "tf") -> Scale:
    wanted = factors(strategy, phi)
    return Scale(wanted.depth, wanted.width, wanted.resolution, rounding)


@given(
    phi=phis,
    step=st.floats(0.01, 2),
    strategy=st.sampled_from(["compound", *EXPONENTS]),
    rounding=st.sampled_from(ROUNDINGS),
    name=st.sampled_from(MONOTONE),
)
def test_more_phi_never_shrinks_an_integer(
    phi: float, step: float, strategy: str, rounding: RoundingName, name: str
) -> None:
    family = FAMILIES[name]
    small, large = (family.shape_at(scale_at(strategy, value, rounding)) for value in (phi, phi + step))
    for key, value in small.items():
        before, after = (v if isinstance(v, tuple) else (v,) for v in (value, large[key]))
        if key != "expanded_channels":  # one a block, and more blocks come in between
            assert all(a <= b for a, b in zip(before, after, strict=True)), key


@given(base=st.integers(1, 64), width=st.floats(0.1, 8))
def test_pycls_rounding_is_to_the_nearest(base: int, width: float) -> None:
    scale = Scale(depth=width, width=width, resolution=width, rounding="pycls")
    assert abs(scale.repeats(base) - base * width) <= max(0.5, 1 - base * width)
    assert scale.channels(8 * base) % 8 == 0
    assert abs(scale.channels(8 * base) - 8 * base * width) <= max(4, 8 - 8 * base * width)
    assert scale.pixels(32 * base) % 4 == 0
    assert abs(scale.pixels(32 * base) - 32 * base * width) <= 2


@given(patches=st.integers(1, 30), step=st.sampled_from((1, 4, 14, 16, 28)), resolution=st.floats(0.1, 8))
def test_pixels_in_steps_are_the_nearest_whole_ones(patches: int, step: int, resolution: float) -> None:
    base = patches * step
    tf, pycls = (Scale(resolution=resolution, rounding=rounding) for rounding in ("tf", "pycls"))
    assert tf.pixels(base, step=step) % step == 0
    assert abs(tf.pixels(base, step=step) - base * resolution) <= step / 2 + 1e-9
    least = math.lcm(step, 4)
    assert pycls.pixels(base, step=step) % least == 0
    assert abs(pycls.pixels(base, step=step) - base * resolution) <= least / 2 + 1e-9


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rounding_leaves_a_base_as_its_authors_made_it(name: str, rounding: RoundingName) -> None:
    family = FAMILIES[name]
    assert family.integers(Scale(rounding=rounding)) == family.integers(Scale())
    assert family.integers(Scale())[1] == family.base_input_size


@given(channels=st.floats(1, 5000))
def test_channels_are_multiples_of_eight_and_never_lose_more_than_a_tenth(channels: float) -> None:
    rounded = round_channels(channels)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels)
    assert abs(rounded - channels) <= 12


@given(repeats=st.floats(0.01, 500))
def test_repeats_round_up_to_at_least_one(repeats: float) -> None:
    assert max(1, repeats) - 1e-6 <= round_repeats(repeats) < max(1, repeats + 1)


def test_a_hair_above_a_whole_number_is_not_another_layer() -> None:
    assert round_repeats(3 * (1 + 1e-12)) == 3
    assert round_px(224.5) == 225


@pytest.mark.parametrize("name", PUBLISHED_INTEGERS)
def test_published_rows_have_the_integers_of_the_authors(name: str) -> None:
    width, depth, px, stem, channels, repeats, head = PUBLISHED_INTEGERS[name]
    row = next(row for row in EFFICIENTNET if row.name == name)
    assert (row.width, row.depth, row.input_px) == (width, depth, px)
    shape, size = FAMILIES["efficientnet_b0"].integers(Scale(row.depth, row.width), row.input_px)
    assert size == px
    assert shape == {
        "stem_channels": stem,
        "stage_channels": tuple(map(int, channels.split())),
        "stage_repeats": tuple(map(int, repeats.split())),
        "head_channels": head,
    }


def test_published_rows_are_found_by_number_and_by_name() -> None:
    assert find_row("efficientnet_b0", 3) is find_row("efficientnet_b0", "b3")
    assert find_row("efficientnet_b0", "L2").number is None
    assert find_row("efficientnet_lite0", 4) is find_row("efficientnet_lite0", "Lite4")


def test_depth_scaling_leaves_stem_and_head_and_deepens_every_stage() -> None:
    family = FAMILIES["efficientnet_b0"]
    base, deep = family.shape_at(Scale()), family.shape_at(scale_at("depth", 1))
    assert {k: v for k, v in deep.items() if k != "stage_repeats"} == {
        k: v for k, v in base.items() if k != "stage_repeats"
    }
    assert deep["stage_repeats"] == (2, 4, 4, 6, 6, 8, 2)


def sweep_ids(strategies: str, phi: str) -> list[str]:
    sweep = Sweep(("efficientnet_b0",), tuple(strategies.split(",")), parse_phi(phi))
    return [spec.spec_id.removeprefix("efficientnet_b0/") for spec in expand(sweep, FAMILIES)]


def test_the_default_sweep_has_thirteen_distinct_models() -> None:
    ids = sweep_ids("compound,width,depth,resolution", "0..3")
    assert len(ids) == len(set(ids)) == 13
    assert ids[0] == "base/0"


def test_specs_that_coincide_become_one_that_names_the_others() -> None:
    sweep = Sweep(("efficientnet_b0",), ("published", "compound"), parse_phi("0"))
    (base,) = expand(sweep, FAMILIES)
    assert base.spec_id == "efficientnet_b0/base/0"
    assert base.also == ("efficientnet_b0/published/0",)
    # φ too small to move a single integer is the base again.
    assert sweep_ids("width", "0,0.005") == ["base/0"]


def test_without_phi_zero_there_is_no_base() -> None:
    assert sweep_ids("width,depth", "1..2") == ["width/1", "width/2", "depth/1", "depth/2"]


def test_names_of_published_rows_mix_with_numbers() -> None:
    assert sweep_ids("published", "1,L2") == ["published/1", "published/L2"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0..3", (0, 1, 2, 3)),
        ("-1..2", (-1, 0, 1, 2)),
        ("0..2:0.5", (0, 0.5, 1, 1.5, 2)),
        ("0..1:0.3", (0, 0.3, 0.6, 0.9)),
        ("3", (3,)),
        ("0, 1,2.5", (0, 1, 2.5)),
        ("1,1,1", (1,)),
    ],
)
def test_phi_is_read_as_people_write_it(text: str, numbers: tuple[float, ...]) -> None:
    assert parse_phi(text) == PhiValues(numbers)


def test_phi_from_python_takes_ranges_and_numbers() -> None:
    assert phi_values(range(3)).numbers == (0, 1, 2)
    assert phi_values(1.5).numbers == (1.5,)
    assert phi_values([0, "L2"]) == PhiValues((0,), ("L2",))


@pytest.mark.parametrize(
    ("strategies", "phi", "message"),
    [
        ("compound", "7..0", "--phi 7..0 is empty: the first value must not exceed the last"),
        ("compound", "0...3", "--phi 0...3 has three dots"),
        ("compound", "0..2:0", "the step must be above zero"),
        ("compound", "0..2:-1", "the step must be above zero"),
        ("compound", "0..x", "is not a range"),
        ("compound", "1,,2", "has an empty value"),
        ("compound", "0..9999", "at most 1000"),
        ("compound", "0..5:1e-320", "at most 1000"),
        ("compound", "-1e308..1e308", "at most 1000"),
        ("compound", "nan", "--phi nan is not a number"),
        ("compound", "L2", "--phi L2 is not a number"),
        ("published,width", "L2", "--phi L2 means nothing to --strategy width"),
        ("published", "9", "has no published row 9: --phi takes 0..8 or L2"),
        ("published", "0.5", "has no published row 0.5"),
        ("published", "X1", "has no published row X1"),
        ("resolution", "-20", "at least 32 are needed"),
        ("depth", "12", "at most 4096 are built"),
        ("width", "40", "must lie within -20..20"),
        ("compoud", "1", "unknown strategy 'compoud': did you mean 'compound'?"),
        ("d0_w0_r0", "1", "unknown strategy 'd0_w0_r0'"),
        ("d1_d2", "1", "unknown strategy 'd1_d2'"),
        ("d1_w-2", "1", "or relative exponents such as d1_w2_r1"),
        ("depth", "-3", "depth factor 0.125 is below what it can have: its largest stage has 4 layers"),
        ("width", "-12", "width factor 0.0156 is below what it can have: its largest stage has 320 channels"),
    ],
)
def test_a_sweep_that_cannot_be_says_why_in_one_line(strategies: str, phi: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        sweep_ids(strategies, phi)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bases", [(0, 1.1, 1.1), (1e200, 1, 1), (1, 1, 1), (float("nan"), 1, 1), (0.5, 1.1, 1.1)]
)
def test_bases_that_do_not_grow_a_model_are_refused(bases: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="base"):
        Bases(*bases)

"""The other families against torchvision's and timm's models, published counts and closed forms."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from closed_forms import CLOSED_FORMS
from closed_forms_sequences import SEQUENCE_FORMS
from closed_forms_vision import VISION_FORMS
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.counting import count
from scaleprof.counting.families import count_spec
from scaleprof.models import FAMILIES
from scaleprof.models.family import many, one
from scaleprof.records import Cost, ModelSpec, Shape
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName, Scale
from scaleprof.scaling.rules import factors
from scaleprof.scaling.sweep import Sweep, base_spec, expand, make_spec, parse_phi

TORCHVISION = (
    "efficientnet_v2_s",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "resnet18",
    "resnet50",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
)
TIMM = {
    "efficientnet_lite0": "efficientnet_lite0",
    "mobilenet_v1": "mobilenetv1_100",
    "regnet_y_4gf": "regnety_040",
}
# Their oracles are in files of their own.
ELSEWHERE = {
    *("efficientnet_b0", "efficientdet_d0", "efficientdet_d0_nms"),
    *("deeplabv3_resnet50", "lraspp_mobilenet_v3_large"),
    *SEQUENCE_FORMS,
}
REGNETS = ("regnet_y_400mf", "regnet_y_4gf")
FORMS = CLOSED_FORMS | VISION_FORMS | SEQUENCE_FORMS

BASE, LARGER, SMALLER = Scale(), Scale(1.4, 1.2, 1.3), Scale(0.6, 0.7, 0.8)

# Repeats upwards; channels to the nearest multiple of 8, or the next if that loses over a tenth: 19.2 is 24.
TF = Scale(depth=1.4, width=1.2)
TF_INTEGERS: dict[str, Shape] = {
    "efficientnet_v2_s": {
        "stem_channels": 32,
        "stage_channels": (32, 56, 80, 152, 192, 304),
        "stage_repeats": (3, 6, 6, 9, 13, 21),
        "head_channels": 1536,
    },
    "efficientnet_lite0": {
        "stem_channels": 32,
        "stage_channels": (24, 32, 48, 96, 136, 232, 384),
        "stage_repeats": (1, 3, 3, 5, 5, 6, 1),
        "head_channels": 1280,
    },
    "mobilenet_v1": {
        "stem_channels": 40,
        "stage_channels": (80, 152, 304, 616, 1232),
        "stage_repeats": (2, 3, 3, 9, 3),
    },
    "mobilenet_v2": {
        "stem_channels": 40,
        "stage_channels": (24, 32, 40, 80, 112, 192, 384),
        "stage_repeats": (2, 3, 5, 6, 5, 5, 2),
        "head_channels": 1536,
    },
    "mobilenet_v3_large": {
        "stem_channels": 24,
        "stage_channels": (24, 32, 48, 96, 136, 192),
        "stage_repeats": (2, 3, 5, 6, 3, 5),
        "expanded_channels": (
            24,
            *(80, 88),
            *(88, 144, 144),
            *(288, 240, 224, 224),
            *(576, 808),
            *(808, 1152, 1152),
        ),
        "head_channels": 1536,
    },
    "resnet18": {
        "stem_channels": 80,
        "stage_channels": (80, 152, 304, 616),
        "stage_repeats": (3, 3, 3, 3),
    },
    "resnet50": {
        "stem_channels": 80,
        "stage_channels": (80, 152, 304, 616),
        "stage_repeats": (5, 6, 9, 5),
    },
    # 56, 128, 248 and 528 channels to the nearest number of groups of 16 (9.6, but 8 loses over a tenth).
    "regnet_y_400mf": {
        "stem_channels": 40,
        "stage_channels": (64, 128, 256, 528),
        "stage_repeats": (2, 5, 9, 9),
        "group_widths": (16, 16, 16, 16),
    },
    # 152, 232, 616 and 1304 channels to the nearest number of groups of 80.
    "regnet_y_4gf": {
        "stem_channels": 40,
        "stage_channels": (160, 240, 640, 1280),
        "stage_repeats": (3, 9, 17, 3),
        "group_widths": (80, 80, 80, 80),
    },
    "convnext_tiny": {
        "stage_channels": (112, 232, 464, 920),
        "stage_repeats": (5, 5, 13, 5),
    },
    "vit_b_16": {"stage_channels": (896,), "stage_repeats": (17,), "heads": 14},
    "swin_t": {
        "stage_channels": (128, 256, 512, 1024),
        "stage_repeats": (2, 2, 5, 2),
        "heads": (4, 8, 16, 32),
    },
}
TF_INTEGERS["deeplabv3_resnet50"] = TF_INTEGERS["resnet50"] | {"head_channels": 304}
TF_INTEGERS["lraspp_mobilenet_v3_large"] = TF_INTEGERS["mobilenet_v3_large"] | {"head_channels": 152}

# Everything to the nearest, and halves to the even neighbour: 2.5 repeats are 2 and 7.5 are 8; 2.5 times 8
# channels are 16 and 17.5 times 8 are 144.
PYCLS = Scale(depth=1.25, width=1.25, rounding="pycls")
PYCLS_INTEGERS: dict[str, Shape] = {
    "efficientnet_v2_s": {
        "stem_channels": 32,
        "stage_channels": (32, 64, 80, 160, 200, 320),
        "stage_repeats": (2, 5, 5, 8, 11, 19),
        "head_channels": 1600,
    },
    "efficientnet_lite0": {
        "stem_channels": 32,
        "stage_channels": (16, 32, 48, 96, 144, 240, 400),
        "stage_repeats": (1, 2, 2, 4, 4, 5, 1),
        "head_channels": 1280,
    },
    "mobilenet_v1": {
        "stem_channels": 40,
        "stage_channels": (80, 160, 320, 640, 1280),
        "stage_repeats": (1, 2, 2, 8, 2),
    },
    "mobilenet_v2": {
        "stem_channels": 40,
        "stage_channels": (16, 32, 40, 80, 120, 200, 400),
        "stage_repeats": (1, 2, 4, 5, 4, 4, 1),
        "head_channels": 1600,
    },
    "mobilenet_v3_large": {
        "stem_channels": 16,
        "stage_channels": (16, 32, 48, 96, 144, 200),
        "stage_repeats": (1, 2, 4, 5, 2, 4),
        "expanded_channels": (
            16,
            *(80, 88),
            *(88, 152, 152),
            *(304, 248, 232, 232),
            *(600, 840),
            *(840, 1200, 1200),
        ),
        "head_channels": 1600,
    },
    "resnet18": {
        "stem_channels": 80,
        "stage_channels": (80, 160, 320, 640),
        "stage_repeats": (2, 2, 2, 2),
    },
    "resnet50": {
        "stem_channels": 80,
        "stage_channels": (80, 160, 320, 640),
        "stage_repeats": (4, 5, 8, 4),
    },
    "regnet_y_400mf": {
        "stem_channels": 40,
        "stage_channels": (64, 128, 256, 552),
        "stage_repeats": (1, 4, 8, 8),
        "group_widths": (8, 8, 8, 8),
    },
    "regnet_y_4gf": {
        "stem_channels": 40,
        "stage_channels": (160, 240, 640, 1360),
        "stage_repeats": (2, 8, 15, 2),
        "group_widths": (80, 80, 80, 80),
    },
    "convnext_tiny": {
        "stage_channels": (120, 240, 480, 960),
        "stage_repeats": (4, 4, 11, 4),
    },
    "vit_b_16": {"stage_channels": (960,), "stage_repeats": (15,), "heads": 15},
    "swin_t": {
        "stage_channels": (128, 256, 512, 1024),
        "stage_repeats": (1, 1, 4, 1),
        "heads": (4, 8, 16, 32),
    },
}
PYCLS_INTEGERS["deeplabv3_resnet50"] = PYCLS_INTEGERS["resnet50"] | {"head_channels": 320}
PYCLS_INTEGERS["lraspp_mobilenet_v3_large"] = PYCLS_INTEGERS["mobilenet_v3_large"] | {"head_channels": 160}

# tensorflow/tpu, models/official/efficientnet/lite/README.md: parameters (M) and multiply-adds (M) as
# printed; our MACs; by how many percent the printed ones exceed them.
LITE = {
    0: (4.7, 407, 385_187_552, 5.7),
    1: (5.4, 631, 600_185_232, 5.1),
    2: (6.1, 899, 859_736_272, 4.6),
    3: (8.2, 1440, 1_383_321_872, 4.1),
    4: (13.0, 2640, 2_553_034_336, 3.4),
}

# The models of Tan & Le 2019, table 3, counted by another program: G MACs and M parameters.
TABLE_3 = [
    ("mobilenet_v1", BASE, 0.569, 4.23),
    ("mobilenet_v1", Scale(width=2), 2.216, 14.74),
    ("mobilenet_v1", Scale(resolution=2), 2.272, 4.23),
    ("mobilenet_v1", LARGER, 2.470, 8.68),
    ("mobilenet_v2", BASE, 0.301, 3.50),
    ("mobilenet_v2", Scale(depth=4), 1.220, 12.05),
    ("mobilenet_v2", Scale(width=2), 1.137, 11.26),
    ("mobilenet_v2", Scale(resolution=2), 1.199, 3.50),
    ("mobilenet_v2", LARGER, 1.442, 7.99),
    ("resnet50", BASE, 4.089, 25.56),
    ("resnet50", Scale(depth=4), 14.571, 89.82),
    ("resnet50", Scale(width=2), 16.117, 98.00),
    ("resnet50", Scale(resolution=2), 16.351, 25.56),
]


def spec_at(name: str, scale: Scale) -> ModelSpec:
    return make_spec(FAMILIES[name], "d1_w1_r1", 1, scale)


def published_lite(number: int) -> ModelSpec:
    (spec,) = expand(Sweep(("efficientnet_lite0",), ("published",), parse_phi(str(number))), FAMILIES)
    return spec


def meta_network(spec: ModelSpec) -> torch.nn.Module:
    with torch.device("meta"):
        return FAMILIES[spec.model].build(spec)


def tensors(network: torch.nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in network.state_dict().items()]


def sizes(network: torch.nn.Module) -> list[torch.Size]:
    return sorted(shape for _, shape in tensors(network))


def counts(cost: Cost) -> tuple[int, int, int]:
    return cost.macs, cost.params, cost.activations


@cache
def cost_at(name: str, scale: Scale) -> Cost:
    return count_spec(FAMILIES[name], spec_at(name, scale))


@cache
def cost_of_lite(number: int) -> Cost:
    return count_spec(FAMILIES["efficientnet_lite0"], published_lite(number))


@cache
def torchvisions(name: str) -> torch.nn.Module:
    # RegNet's widths are computed with tensors, which the meta device cannot do.
    network: torch.nn.Module = torchvision.models.get_model(name).to("meta")
    return network


def closed_form(name: str, scale: Scale) -> tuple[int, int, int]:
    shape, px = FAMILIES[name].integers(scale)
    return FORMS[name](px, **shape)


def test_every_family_has_an_oracle_a_closed_form_and_pinned_integers() -> None:
    here = {*TORCHVISION, *TIMM}
    assert here | ELSEWHERE == FAMILIES.keys()
    assert here <= TF_INTEGERS.keys() & PYCLS_INTEGERS.keys() & FORMS.keys()


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_base_has_the_tensors_of_torchvisions_model_in_their_order(name: str) -> None:
    assert tensors(meta_network(base_spec(FAMILIES[name]))) == tensors(torchvisions(name))


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_base_costs_what_torchvisions_model_costs(name: str) -> None:
    px = FAMILIES[name].base_input_size
    theirs = count(torchvisions(name), torch.empty(1, 3, px, px, device="meta"))
    assert counts(cost_at(name, BASE)) == counts(theirs)


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_base_has_torchvisions_published_ops_and_parameters(name: str) -> None:
    side = FAMILIES[name].base_input_size
    published = {
        (weights.meta["_ops"], weights.meta["num_params"])
        for weights in torchvision.models.get_model_weights(name)
        if weights.transforms().crop_size == [side]
    }
    cost = cost_at(name, BASE)
    assert published == {(round(cost.macs / 1e9, 3), cost.params)}


@pytest.mark.parametrize("width", [0.5, 0.75, 1.2, 1.4])
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large"])
def test_a_wider_mobilenet_has_the_tensors_of_torchvisions_own_width_multiplier(
    name: str, width: float
) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, width_mult=width)
    assert tensors(meta_network(spec_at(name, Scale(width=width)))) == tensors(theirs)


@pytest.mark.parametrize(("name", "timms"), TIMM.items())
def test_a_base_that_torchvision_lacks_has_the_tensors_and_the_cost_of_timms(name: str, timms: str) -> None:
    theirs = timm.create_model(timms).to("meta")
    px = FAMILIES[name].base_input_size
    assert sizes(meta_network(base_spec(FAMILIES[name]))) == sizes(theirs)
    assert counts(cost_at(name, BASE)) == counts(count(theirs, torch.empty(1, 3, px, px, device="meta")))


@pytest.mark.parametrize(
    ("name", "row"), [("regnet_y_400mf", (0.4, 4.3, 3.9)), ("regnet_y_4gf", (4, 20.6, 12.3))]
)
def test_regnets_have_the_flops_parameters_and_activations_of_pycls_model_zoo(
    name: str, row: tuple[float, float, float]
) -> None:
    cost = cost_at(name, BASE)
    assert (round(cost.macs / 1e9, 1), round(cost.params / 1e6, 1), round(cost.activations / 1e6, 1)) == row


def test_mobilenet_v1_costs_what_its_paper_prints() -> None:
    cost = cost_at("mobilenet_v1", BASE)
    assert (cost.macs, cost.params) == (568_740_352, 4_231_976)
    # Howard et al. 2017, table 4.
    assert (round(cost.macs / 1e6), round(cost.params / 1e6, 1)) == (569, 4.2)


@pytest.mark.parametrize(("name", "scale", "giga_macs", "mega_params"), TABLE_3)
def test_models_of_table_3_cost_what_another_program_counted(
    name: str, scale: Scale, giga_macs: float, mega_params: float
) -> None:
    cost = cost_at(name, scale)
    assert (round(cost.macs / 1e9, 3), round(cost.params / 1e6, 2)) == (giga_macs, mega_params)


def test_resnet50_rounds_the_channels_of_its_bottlenecks_and_multiplies_them_by_four() -> None:
    # The other program rounds a block's output instead and divides by four, to bottlenecks of 76, 154, 308
    # and 614 channels: 15.862 G and 55.02 M. The two agree where nothing is rounded.
    assert FAMILIES["resnet50"].shape_at(LARGER)["stage_channels"] == (80, 152, 304, 616)
    cost = cost_at("resnet50", LARGER)
    assert (round(cost.macs / 1e9, 3), round(cost.params / 1e6, 2)) == (15.946, 54.80)


@pytest.mark.parametrize("number", LITE)
def test_a_published_lite_model_has_the_tensors_and_the_cost_of_timms(number: int) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(f"efficientnet_lite{number}")
    spec = published_lite(number)
    assert spec.input_size == (224, 240, 260, 280, 300)[number]
    images = torch.empty(1, 3, spec.input_size, spec.input_size, device="meta")
    assert sizes(meta_network(spec)) == sizes(theirs)
    assert counts(cost_of_lite(number)) == counts(count(theirs, images))


@pytest.mark.parametrize("number", LITE)
def test_a_published_lite_model_has_the_printed_parameters(number: int) -> None:
    mega_params, _, macs, _ = LITE[number]
    cost = cost_of_lite(number)
    assert (round(cost.params / 1e6, 1), cost.macs) == (mega_params, macs)


@pytest.mark.parametrize("number", LITE)
def test_printed_multiply_adds_of_a_lite_model_exceed_its_macs_by_a_few_percent(number: int) -> None:
    _, printed_mega, _, percent = LITE[number]
    assert round(100 * (printed_mega * 1e6 / cost_of_lite(number).macs - 1), 1) == percent


@pytest.mark.parametrize("scale", [BASE, LARGER, SMALLER], ids=["base", "larger", "smaller"])
@pytest.mark.parametrize("name", FORMS)
def test_the_count_equals_the_closed_form(name: str, scale: Scale) -> None:
    cost = cost_at(name, scale)
    assert counts(cost) == closed_form(name, scale)
    assert cost.uncounted == ()


@pytest.mark.parametrize(("name", "integers"), TF_INTEGERS.items())
def test_integers_are_rounded_as_in_the_efficientnet_code(name: str, integers: Shape) -> None:
    assert FAMILIES[name].shape_at(TF) == integers


@pytest.mark.parametrize(("name", "integers"), PYCLS_INTEGERS.items())
def test_integers_are_rounded_as_in_pycls(name: str, integers: Shape) -> None:
    assert FAMILIES[name].shape_at(PYCLS) == integers


scales = st.builds(
    Scale, depth=st.floats(0.3, 8), width=st.floats(0.3, 8), rounding=st.sampled_from(ROUNDINGS)
)


@given(scale=scales)
@settings(max_examples=50, deadline=None)
def test_a_lite_model_keeps_its_stem_its_head_and_the_repeats_of_its_outer_stages(scale: Scale) -> None:
    shape = FAMILIES["efficientnet_lite0"].shape_at(scale)
    repeats = many(shape, "stage_repeats")
    assert (one(shape, "stem_channels"), one(shape, "head_channels")) == (32, 1280)
    assert (repeats[0], repeats[-1]) == (1, 1)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("width", "head"), [(0.35, 1280), (0.75, 1280), (1, 1280), (1.2, 1536), (2, 2560)])
def test_the_head_of_mobilenet_v2_grows_and_never_shrinks(
    width: float, head: int, rounding: RoundingName
) -> None:
    assert FAMILIES["mobilenet_v2"].shape_at(Scale(width=width, rounding=rounding))["head_channels"] == head


@pytest.mark.parametrize("name", REGNETS)
@given(scale=scales)
@settings(max_examples=50, deadline=None)
def test_every_stage_of_a_regnet_is_whole_groups(name: str, scale: Scale) -> None:
    shape = FAMILIES[name].shape_at(scale)
    widths, groups = many(shape, "stage_channels"), many(shape, "group_widths")
    assert [width % group for width, group in zip(widths, groups, strict=True)] == [0, 0, 0, 0]
    assert min(widths) >= min(groups) >= 8


@pytest.mark.parametrize(
    ("name", "width", "channels", "wider", "channels_then"),
    [
        ("regnet_y_400mf", 1.11, (56, 112, 232, 488), 1.12, (64, 128, 224, 496)),
        ("regnet_y_4gf", 1.31, (160, 240, 640, 1440), 1.32, (176, 264, 704, 1408)),
    ],
)
def test_a_wider_regnet_may_have_a_narrower_stage_when_its_groups_widen(
    name: str, width: float, channels: tuple[int, ...], wider: float, channels_then: tuple[int, ...]
) -> None:
    family = FAMILIES[name]
    assert family.shape_at(Scale(width=width))["stage_channels"] == channels
    assert family.shape_at(Scale(width=wider))["stage_channels"] == channels_then
    assert not family.is_monotone


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("width", "stem"), [(0.5, 32), (1.5, 96), (2, 128)])
def test_the_stem_of_a_resnet_is_as_wide_as_its_first_stage(name: str, width: float, stem: int) -> None:
    shape = FAMILIES[name].shape_at(Scale(width=width))
    assert (one(shape, "stem_channels"), many(shape, "stage_channels")[0]) == (stem, stem)


@given(scale=scales)
@settings(max_examples=50, deadline=None)
def test_mobilenet_v3_has_expanded_channels_for_each_block_of_the_base(scale: Scale) -> None:
    shape = FAMILIES["mobilenet_v3_large"].shape_at(scale)
    assert len(many(shape, "expanded_channels")) == 15


WALK_STEPS = 100
monotone = pytest.mark.parametrize("name", [name for name in FORMS if FAMILIES[name].is_monotone])
formulas = pytest.mark.parametrize("strategy", ["compound", "width", "depth", "resolution", "dw", "fast"])
offsets = st.floats(0, 1)


def walk(strategy: str, offset: float, rounding: RoundingName) -> list[Scale]:
    """Scales from φ = -1 to 3 in small steps, so that neighbours differ in few integers."""
    values = (-1 + 4 * (step + offset) / WALK_STEPS for step in range(WALK_STEPS))
    wanted = [factors(strategy, phi) for phi in values]
    return [Scale(at.depth, at.width, at.resolution, rounding) for at in wanted]


@monotone
@formulas
@given(offset=offsets, rounding=st.sampled_from(ROUNDINGS))
@settings(max_examples=4, deadline=None)
def test_more_phi_never_means_fewer_macs(
    name: str, strategy: str, offset: float, rounding: RoundingName
) -> None:
    macs = [closed_form(name, scale)[0] for scale in walk(strategy, offset, rounding)]
    assert macs == sorted(macs)
    assert macs[0] < macs[-1]


@monotone
@formulas
@given(offset=offsets, rounding=st.sampled_from(ROUNDINGS))
@settings(max_examples=4, deadline=None)
def test_no_integer_of_a_monotone_family_shrinks_with_more_phi(
    name: str, strategy: str, offset: float, rounding: RoundingName
) -> None:
    for (less, px), (more, more_px) in pairwise(
        map(FAMILIES[name].integers, walk(strategy, offset, rounding))
    ):
        assert px <= more_px
        for key in less:
            pairs = list(zip(as_tuple(less[key]), as_tuple(more[key]), strict=True))
            assert all(before <= after for before, after in pairs), (key, pairs)


def as_tuple(integers: int | tuple[int, ...]) -> tuple[int, ...]:
    return (integers,) if isinstance(integers, int) else integers

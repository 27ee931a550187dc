"""Trainings of a search: the recipe, the same result interrupted or not, fitting heads, own scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from builders import QUICK_FAMILIES, make_spec
from torch import nn

from scaleprof.errors import ModelError, UsageError
from scaleprof.models import FAMILIES, find_model
from scaleprof.records.searches import DatasetFacts, Recipe
from scaleprof.scaling.rounding import Scale
from scaleprof.search.data import Images, open_images
from scaleprof.search.heads import fit_head
from scaleprof.search.objective import load_objective
from scaleprof.search.recipes import make_recipe, why_untrainable
from scaleprof.search.training import (
    Outcome,
    augment,
    learning_rate,
    mixed_seed,
    seed_everything,
    train,
)

PX = 8
NO_HEAD = ("deeplabv3_resnet50", "lraspp_mobilenet_v3_large")


def make_network() -> nn.Module:
    """A network of three thousand parameters, with what draws and what remembers: dropout, batch norm."""
    seed_everything(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 10),
    )


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads gain a network of this size nothing, and wait for each other where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images() -> Images:
    return open_images("digits", root=Path("nowhere"), base_input_size=PX).at(PX)


FACTS = DatasetFacts("digits", 10, 1078, 359, 360, PX, "0")
RECIPE = make_recipe(FACTS, epochs=3)


class Killed(Exception):  # noqa: N818 - no error: what a kill looks like from inside
    pass


def run_until(
    epochs: int, network: nn.Module, images: Images, recipe: Recipe, path: Path, key: str = ""
) -> None:
    """Train, and be interrupted as soon as so many epochs are kept."""

    def stop(done: int, _score: float | None, _seconds: float) -> None:
        if done == epochs:
            raise Killed

    with pytest.raises(Killed):
        train(network, images, recipe, seed=3, checkpoint=path, key=key, observe=stop)


def test_three_short_epochs_teach_a_small_network_most_digits(images: Images) -> None:
    outcome = train(make_network(), images, RECIPE, seed=0, held_out=True)
    assert outcome.score > 60
    assert outcome.held_out == pytest.approx(outcome.score, abs=12)
    assert len(outcome.curve) == 3


def test_the_score_is_the_last_epochs_whatever_came_before(images: Images) -> None:
    seen: list[tuple[int, float | None]] = []
    outcome = train(
        make_network(),
        images,
        RECIPE,
        seed=0,
        observe=lambda done, score, _seconds: seen.append((done, score)),
    )
    assert outcome.score == outcome.curve[-1]
    assert seen == [(0, None), *enumerate(outcome.curve, start=1)]


def test_the_same_seed_gives_the_same_training_and_another_seed_another(images: Images) -> None:
    def weights_after(seed: int) -> torch.Tensor:
        network = make_network()
        train(network, images, msgspec.structs.replace(RECIPE, epochs=1), seed=seed)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights_after(1), weights_after(1))
    assert not torch.equal(weights_after(1), weights_after(2))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_training_that_goes_on_from_a_checkpoint_is_the_uninterrupted_one_to_the_bit(
    images: Images, tmp_path: Path, optimizer: str, killed_after: int
) -> None:
    recipe = make_recipe(FACTS, epochs=3, optimizer=optimizer)  # type: ignore[arg-type]
    whole, resumed = make_network(), make_network()
    expected = train(whole, images, recipe, seed=3)
    run_until(killed_after, make_network(), images, recipe, tmp_path / "one.pt")
    told: list[int] = []
    outcome = train(
        resumed,
        images,
        recipe,
        seed=3,
        checkpoint=tmp_path / "one.pt",
        observe=lambda done, _score, _seconds: told.append(done),
    )
    assert told == list(range(killed_after, 4))
    assert outcome.curve == expected.curve
    states = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in states)


def test_what_is_kept_of_another_training_is_not_gone_on_from(images: Images, tmp_path: Path) -> None:
    run_until(1, make_network(), images, RECIPE, tmp_path / "one.pt", key="mine")
    told: list[int] = []

    def note(done: int, _score: float | None, _seconds: float) -> None:
        told.append(done)

    train(make_network(), images, RECIPE, seed=3, checkpoint=tmp_path / "one.pt", key="yours", observe=note)
    assert told[0] == 0


def test_a_torn_checkpoint_begins_anew(images: Images, tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    run_until(2, make_network(), images, RECIPE, path)
    path.write_bytes(path.read_bytes()[:1000])
    assert (
        train(make_network(), images, RECIPE, seed=3, checkpoint=path)[:3]
        == train(make_network(), images, RECIPE, seed=3)[:3]
    )


def test_a_finished_training_is_tried_on_what_was_held_out_without_training(
    images: Images, tmp_path: Path
) -> None:
    path = tmp_path / "one.pt"
    first = train(make_network(), images, RECIPE, seed=3, checkpoint=path)
    assert first.held_out is None
    told: list[int] = []
    again = train(
        make_network(),
        images,
        RECIPE,
        seed=3,
        checkpoint=path,
        held_out=True,
        observe=lambda done, _score, _seconds: told.append(done),
    )
    assert told == [3]
    assert again == Outcome(first.score, again.held_out, first.curve, first.seconds)
    whole = train(make_network(), images, RECIPE, seed=3, held_out=True)
    assert again.held_out == whole.held_out


def test_a_training_that_diverges_has_no_score(images: Images) -> None:
    recipe = make_recipe(FACTS, epochs=2, learning_rate=1e20)
    with pytest.raises(ModelError, match=r"diverged at learning rate 1e\+20 \(lower --learning-rate\)"):
        train(make_network(), images, recipe, seed=0)


def test_a_network_without_weights_is_not_trained(images: Images) -> None:
    with pytest.raises(ModelError, match="nothing to train"):
        train(nn.Flatten(), images, RECIPE, seed=0)


def test_products_in_bf16_teach_as_well(images: Images) -> None:
    recipe = msgspec.structs.replace(RECIPE, precision="bf16")
    assert train(make_network(), images, recipe, seed=0).score > 60


def test_the_rate_warms_up_and_falls_to_zero_along_a_cosine() -> None:
    recipe = make_recipe(FACTS, epochs=10, batch_size=64, learning_rate=1.0)
    rates = [learning_rate(step, 10, recipe) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[55] == pytest.approx(0.5)  # half way between the end of the warm-up and the end
    assert rates[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_recipe_follows_from_the_data() -> None:
    assert (RECIPE.optimizer, RECIPE.batch_size, RECIPE.augmentation) == ("sgd", 32, "crop")
    assert RECIPE.learning_rate == pytest.approx(0.1 * 32 / 256)
    cifar = DatasetFacts("cifar10", 10, 40_000, 10_000, 10_000, 32, "0")
    recipe = make_recipe(cifar, epochs=100, optimizer="adamw")
    assert (recipe.batch_size, recipe.augmentation, recipe.warmup_epochs) == (128, "crop+flip", 5)
    assert (recipe.learning_rate, recipe.weight_decay) == (1e-3, 0.05)
    with pytest.raises(UsageError, match="--epochs 0 must be at least 1"):
        make_recipe(FACTS, epochs=0)
    with pytest.raises(UsageError, match="batches of 1 cannot be had from 1078 training images"):
        make_recipe(FACTS, epochs=1, batch_size=1)


def test_a_crop_moves_the_image_by_up_to_an_eighth_into_black() -> None:
    images = torch.arange(1, 1 + 3 * 16 * 16).remainder(200).add(1).to(torch.uint8).view(1, 3, 16, 16)
    batch = images.expand(400, -1, -1, -1)
    seen = set()
    for cropped in augment(batch, "crop", torch.Generator().manual_seed(0)):
        padded = nn.functional.pad(images[0], (2, 2, 2, 2))
        fits = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(padded[:, top : top + 16, left : left + 16], cropped)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 25


def test_half_of_the_images_are_mirrored_and_none_by_crop_alone() -> None:
    images = torch.randint(0, 256, (200, 3, 8, 8), dtype=torch.uint8)
    flipped = augment(images, "flip", torch.Generator().manual_seed(0))
    mirrored = [torch.equal(one, other.flip(2)) for one, other in zip(flipped, images, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(flipped, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 60 < sum(mirrored) < 140
    assert torch.equal(augment(images, "none", torch.Generator()), images)


def test_seeds_of_neighbouring_numbers_are_unrelated() -> None:
    seeds = {mixed_seed(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(seeds) == 900
    assert min(seeds) >= 0
    assert max(seeds) < 2**63


@pytest.mark.parametrize("name", [name for name in QUICK_FAMILIES if name not in NO_HEAD])
def test_each_familys_head_is_replaced_and_nothing_else(name: str) -> None:
    family = FAMILIES[name]
    px = family.base_input_size
    with torch.device("meta"):
        network = family.construct(family.integers(Scale(), px)[0])
        before = {key: value.shape for key, value in network.state_dict().items()}
        assert fit_head(network, torch.zeros(2, 3, px, px), 10) == 10
        assert network(torch.zeros(2, 3, px, px)).shape == (2, 10)
    after = {key: value.shape for key, value in network.state_dict().items()}
    changed = {key for key in before if before[key] != after[key]}
    assert before.keys() == after.keys()
    assert {before[key][0] for key in changed} == {1000}
    assert {after[key][0] for key in changed} == {10}
    assert len(changed) == 2


def test_a_head_that_is_a_convolution_is_replaced() -> None:
    network = find_model("torchvision:squeezenet1_1").build(
        make_spec(model="torchvision:squeezenet1_1", input_size=64, shape={})
    )
    fit_head(network, torch.zeros(2, 3, 64, 64), 7)
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_a_network_with_enough_outputs_of_its_own_is_left_alone() -> None:
    network = make_network()
    before = [id(module) for module in network.modules()]
    assert fit_head(network, torch.zeros(2, 3, PX, PX), 10) == 10
    headless = nn.Sequential(nn.Conv2d(3, 12, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert fit_head(headless, torch.zeros(2, 3, PX, PX), 10) == 12
    assert [id(module) for module in network.modules()] == before


def test_a_network_with_too_few_outputs_and_no_head_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelError, match="puts out 4 numbers, the data has 10 classes"):
        fit_head(network, torch.zeros(2, 3, PX, PX), 10)


def test_outputs_that_are_no_classes_are_refused() -> None:
    with pytest.raises(ModelError, match=r"puts out \[2, 4, 6, 6\]: score it by a function of your own"):
        fit_head(nn.Conv2d(3, 4, 3), torch.zeros(2, 3, PX, PX), 4)


def test_what_takes_no_image_cannot_be_trained_on_images() -> None:
    assert why_untrainable(make_spec()) is None
    assert "lstm takes tokens, no image" in str(why_untrainable(make_spec(model="lstm", input_unit="tokens")))
    assert "inputs of its own" in str(why_untrainable(make_spec(input_size=None)))


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("1.5", (1.5, None)),
        ("(70, 0.25)", (70.0, 0.25)),
        ("(1.0, None)", (1.0, None)),
        ("__import__('numpy').float32(2)", (2.0, None)),
        ("next(model.parameters()).detach().sum() * 0 + 3", (3.0, None)),
        ("float(spec.input_size), spec.depth", (258.0, 1.2)),
    ],
)
def test_a_function_returns_a_score_or_a_score_and_its_error(
    tmp_path: Path, returned: str, expected: tuple[float, float | None]
) -> None:
    (tmp_path / "mine.py").write_text(f"def score(model, spec):\n    return {returned}\n")
    assert load_objective(f"{tmp_path}/mine.py:score").score(make_network(), make_spec()) == expected


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("float('nan')", "returned nan as score: it must be a finite number"),
        ("1.0, float('inf')", "returned inf as error: it must be a finite number"),
        ("'good'", "returned str as score: it returns a score, or a pair of a score and its error"),
        ("True", "returned bool as score"),
        ("None", "returned NoneType as score"),
        ("1, 2, 3", "returned 3 values"),
        ("1.0, -0.5", "returned the error -0.5"),
        ("next(model.parameters())", "returned Parameter as score"),
    ],
)
def test_what_is_no_score_is_told_as_such(tmp_path: Path, returned: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(f"def score(model, spec):\n    return {returned}\n")
    with pytest.raises(ModelError, match=message.replace("(", r"\(")):
        load_objective(f"{tmp_path}/mine.py:score").score(make_network(), make_spec())


def test_a_function_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(model, spec):\n    return 1 / 0\n")
    with pytest.raises(UsageError, match=r"raised ZeroDivisionError .*efficientnet_b0/compound/1.*mine.py:2"):
        load_objective(f"{tmp_path}/mine.py:score").score(make_network(), make_spec())


def test_a_function_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 4.5\n")
    (tmp_path / "mine.py").write_text(
        "def score(model, spec):\n    from beside import VALUE\n    return VALUE\n"
    )
    assert load_objective(f"{tmp_path}/mine.py:score").score(make_network(), make_spec()).value == 4.5


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gone.py:score", "there is no file gone.py"),
        ("mine.py:", "write mine.py:score"),
        ("mine.py:scroe", "did you mean 'score'"),
    ],
)
def test_a_function_that_is_not_there_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def score(model, spec):\n    return 1\n")
    with pytest.raises(UsageError, match=message):
        load_objective(reference)

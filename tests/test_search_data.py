"""The images of a search: where they come from, how they are cut in three, and at what size they come."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scaleprof.errors import UsageError
from scaleprof.search import data as data_module
from scaleprof.search.data import Images, ImageSet, in_batches, open_images, split_parts, square
from scaleprof.search.sources import Part, Parts, native_input_size


def digits(px: int = 8) -> ImageSet:
    return open_images("digits", root=Path("nowhere"), base_input_size=px)


def make_part(labels: Sequence[int]) -> Part:
    return Part(np.asarray(labels, dtype=np.int64), lambda _index: Image.new("L", (4, 4)), lambda: iter(()))


def write_images(folder: Path, classes: Sequence[str], images: int, *, start: int = 0) -> Path:
    """Folders of grey images, each of a shade of its own, wider than high."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(images):
            shade = (start + 7 * index + 60 * number) % 256
            Image.new("RGB", (12, 8), (shade, shade, shade)).save(folder / name / f"{index}.png")
    return folder


def all_pixels(images: Images) -> torch.Tensor:
    return next(images.pixels.batches([np.arange(len(images.labels))]))


def test_the_digits_are_cut_sixty_twenty_twenty_and_no_image_serves_twice() -> None:
    image_set = digits()
    split = image_set.at(8).split
    facts = image_set.facts
    assert (facts.name, facts.classes) == ("digits", 10)
    assert facts.train + facts.validation + facts.held_out == 1797
    assert (facts.train, facts.validation, facts.held_out) == tuple(len(part) for part in split)
    assert facts.train == pytest.approx(0.6 * 1797, abs=10)
    assert facts.validation == pytest.approx(facts.held_out, abs=10)
    assert sorted(np.concatenate(split)) == list(range(1797))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80).map(lambda extra: [0, 1, 2, 3, 4] * 5 + extra))
def test_each_part_has_each_class_in_its_share(labels: list[int]) -> None:
    split = split_parts(Parts(tuple("abcde"), make_part(labels)))
    of_class = np.bincount(labels)
    for part, share in zip(split, (0.6, 0.2, 0.2), strict=True):
        counts = np.bincount(np.asarray(labels)[part], minlength=5)
        assert (counts >= 1).all()
        assert (abs(counts - share * of_class) <= 1.5).all()
    assert sorted(np.concatenate(split)) == list(range(len(labels)))


def test_the_cut_is_the_same_every_time() -> None:
    first, second = digits().at(8).split, digits().at(16).split
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    assert digits().facts.digest == digits().facts.digest


def test_what_the_makers_keep_apart_is_what_is_held_out() -> None:
    train, test = make_part([0, 1] * 20), make_part([0, 1] * 5)
    split = split_parts(Parts(("a", "b"), train, held_out=test))
    assert list(split.held_out) == list(range(40, 50))
    assert len(split.validation) == 8
    assert len(split.train) == 32
    with_both = split_parts(Parts(("a", "b"), train, make_part([0, 1]), test))
    assert list(with_both.validation) == [40, 41]
    assert list(with_both.train) == list(range(40))


def test_images_come_at_the_size_that_a_candidate_takes() -> None:
    for px in (8, 13):
        images = digits().at(px)
        assert all_pixels(images).shape == (1797, 3, px, px)
        assert all_pixels(images).dtype == torch.uint8


def test_grey_images_become_three_equal_channels_of_all_shades() -> None:
    pixels = all_pixels(digits().at(8))
    assert (pixels[:, :1] == pixels).all()
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)


def test_normalising_makes_training_images_of_mean_zero_and_deviation_one() -> None:
    images = digits().at(8)
    train = all_pixels(images)[torch.from_numpy(images.split.train)].double()
    normalised = (train - images.mean.view(1, 3, 1, 1)) / images.std.view(1, 3, 1, 1)
    assert normalised.mean().item() == pytest.approx(0, abs=1e-5)
    assert normalised.std().item() == pytest.approx(1, abs=1e-3)


def test_of_an_oblong_image_the_middle_square_is_taken() -> None:
    stripes = Image.fromarray(np.repeat([[0] * 4 + [200] * 8 + [0] * 4], 8, axis=0).astype(np.uint8))
    assert np.asarray(square(stripes, 8)).tolist() == [[200] * 8] * 8
    assert square(stripes, 3).size == (3, 3)


def test_images_that_do_not_fit_memory_are_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_set = open_images(str(write_images(tmp_path / "set", "ab", 9)), root=tmp_path, base_input_size=8)
    held = image_set.at(8)
    monkeypatch.setattr(data_module, "_MEMORY_LIMIT_BYTES", 0)
    lazy = image_set.at(8)
    assert type(lazy.pixels) is not type(held.pixels)
    wanted = in_batches(held.split.train[::-1].copy(), 4)
    pairs = zip(lazy.pixels.batches(wanted), held.pixels.batches(wanted), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert torch.equal(lazy.mean, held.mean)


def test_a_folder_of_classes_is_cut_in_three(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "birds", ["crow", "wren"], 10)
    facts = open_images(str(folder), root=tmp_path, base_input_size=64).facts
    assert (facts.name, facts.classes, facts.base_input_size) == ("birds", 2, 64)
    assert (facts.train, facts.validation, facts.held_out) == (12, 4, 4)


def test_a_folder_with_a_part_of_its_own_for_tests_keeps_it_out_of_every_choice(tmp_path: Path) -> None:
    write_images(tmp_path / "set" / "train", "ab", 10)
    write_images(tmp_path / "set" / "val", "ab", 3, start=100)
    facts = open_images(str(tmp_path / "set"), root=tmp_path, base_input_size=8).facts
    assert (facts.train, facts.validation, facts.held_out) == (16, 4, 6)
    write_images(tmp_path / "set" / "test", "ab", 2, start=200)
    facts = open_images(str(tmp_path / "set"), root=tmp_path, base_input_size=8).facts
    assert (facts.train, facts.validation, facts.held_out) == (20, 6, 4)


def test_parts_of_other_classes_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "set" / "train", "ab", 5)
    write_images(tmp_path / "set" / "val", "ac", 5)
    with pytest.raises(UsageError, match=r"val has other classes than .*train: b, c"):
        open_images(str(tmp_path / "set"), root=tmp_path, base_input_size=8)


def test_another_image_makes_another_digest(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set", "ab", 6)
    before = open_images(str(folder), root=tmp_path, base_input_size=8).facts.digest
    assert open_images(str(folder), root=tmp_path, base_input_size=8).facts.digest == before
    Image.effect_noise((12, 8), 90).save(folder / "a" / "0.png")
    assert open_images(str(folder), root=tmp_path, base_input_size=8).facts.digest != before


@pytest.mark.parametrize(("classes", "images"), [("a", 20), ("ab", 4)])
def test_a_set_that_cannot_be_cut_in_three_is_refused(tmp_path: Path, classes: str, images: int) -> None:
    folder = write_images(tmp_path / "set", classes, images)
    with pytest.raises(UsageError, match="at least 2 classes of 5 are needed"):
        open_images(str(folder), root=tmp_path, base_input_size=8)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is no folder of images with one folder a class"):
        open_images(str(tmp_path / "empty"), root=tmp_path, base_input_size=8)


def test_torchvisions_own_files_are_read_from_the_root(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 40), ("t10k", 20)):
        shades = (np.arange(count * 28 * 28) % 251).astype(np.uint8)
        header = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + shades.tobytes())
        labels = (np.arange(count) % 2).astype(np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
    image_set = open_images("Fashion-MNIST", root=tmp_path, base_input_size=28)
    facts = image_set.facts
    assert (facts.name, facts.classes) == ("fashionmnist", 2)
    assert (facts.train, facts.validation, facts.held_out) == (32, 8, 20)
    pixels = all_pixels(image_set.at(28))
    assert pixels[0, 0].flatten().tolist() == [value % 251 for value in range(28 * 28)]


def test_a_set_that_cannot_be_fetched_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(
        UsageError, match=r"--data cifar10 is not in .* and could not be fetched \("
    ) as caught:
        open_images("cifar10", root=tmp_path, base_input_size=32)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("put torchvision's files there, or name a folder of images")


def test_a_misspelt_set_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"--data cifar1O is neither .*did you mean 'cifar10'\?"):
        open_images("cifar1O", root=Path("nowhere"), base_input_size=32)


def test_small_sets_have_a_size_of_their_own() -> None:
    assert native_input_size("CIFAR-100") == 32
    assert native_input_size("stl10") == 96
    assert native_input_size("food101") is None
    assert native_input_size("some/folder") is None

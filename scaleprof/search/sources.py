"""Where images come from: scikit-learn's digits, torchvision's datasets by name, or a folder of images."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaleprof.errors import UsageError, suggestion

if TYPE_CHECKING:
    from PIL import Image

DIGITS = "digits"
DEFAULT_ROOT = Path("~/.cache/scaleprof/data")
_SMALL_PX = 32
# Of 17 shades, 0 to 16.
_DIGIT_SHADES = 16
_DOWNLOAD_TIMEOUT_S = 30.0


class Part(NamedTuple):
    """Some of a set's images: their classes, how one is had, and what tells them from others."""

    labels: NDArray[np.int64]
    image: Callable[[int], Image.Image]
    fingerprint: Callable[[], Iterator[bytes]]


class Parts(NamedTuple):
    """A set as its makers divide it, and the names of its classes."""

    class_names: tuple[str, ...]
    train: Part
    validation: Part | None = None
    held_out: Part | None = None

    @property
    def present(self) -> tuple[Part, ...]:
        """The parts that there are."""
        return tuple(part for part in (self.train, self.validation, self.held_out) if part is not None)


class _Known(NamedTuple):
    """A dataset of torchvision's: its class, and what asks for each part."""

    kind: str
    train: Mapping[str, Any]
    held_out: Mapping[str, Any] | None
    validation: Mapping[str, Any] | None = None
    native_px: int | None = None


def _by_flag(kind: str, px: int) -> _Known:
    return _Known(kind, {"train": True}, {"train": False}, native_px=px)


def _by_split(kind: str, *, validation: str | None = None, px: int | None = None) -> _Known:
    middle = None if validation is None else {"split": validation}
    return _Known(kind, {"split": "train"}, {"split": "test"}, middle, px)


TORCHVISION_SETS: dict[str, _Known] = {
    "mnist": _by_flag("MNIST", _SMALL_PX),
    "fashionmnist": _by_flag("FashionMNIST", _SMALL_PX),
    "kmnist": _by_flag("KMNIST", _SMALL_PX),
    "cifar10": _by_flag("CIFAR10", _SMALL_PX),
    "cifar100": _by_flag("CIFAR100", _SMALL_PX),
    "svhn": _by_split("SVHN", px=_SMALL_PX),
    "gtsrb": _by_split("GTSRB", px=_SMALL_PX),
    "stl10": _by_split("STL10", px=96),
    "eurosat": _Known("EuroSAT", {}, None, native_px=64),
    "dtd": _by_split("DTD", validation="val"),
    "flowers102": _by_split("Flowers102", validation="val"),
    "food101": _by_split("Food101"),
    "fgvcaircraft": _by_split("FGVCAircraft", validation="val"),
    "oxfordiiitpet": _Known("OxfordIIITPet", {"split": "trainval"}, {"split": "test"}),
    "country211": _by_split("Country211", validation="valid"),
    "imagenette": _Known("Imagenette", {"split": "train"}, {"split": "val"}),
}


def native_input_size(data: str) -> int | None:
    """Side in pixels that a set is usually trained at; None where the model's own is (photographs, folders).

    >>> native_input_size("digits"), native_input_size("CIFAR-10"), native_input_size("photos/")
    (32, 32, None)
    """
    if _plain(data) == DIGITS:
        return _SMALL_PX
    known = TORCHVISION_SETS.get(_plain(data))
    return known.native_px if known else None


def set_name(data: str) -> str:
    """What a set is called: its own name, or its folder's.

    >>> set_name("CIFAR-10"), set_name("photos/birds/")
    ('cifar10', 'birds')
    """
    is_known = _plain(data) == DIGITS or _plain(data) in TORCHVISION_SETS
    return _plain(data) if is_known else Path(data).name


def open_parts(data: str, root: Path) -> Parts:
    """The parts of the set that a person names.

    Raises:
        UsageError: there is no such set, or it cannot be had.
    """
    name = _plain(data)
    if name == DIGITS:
        return _digits()
    if name in TORCHVISION_SETS:
        return _torchvision(data, TORCHVISION_SETS[name], root.expanduser())
    if Path(data).is_dir():
        return _folder(Path(data))
    known = (DIGITS, *TORCHVISION_SETS)
    raise UsageError(
        f"--data {data} is neither a folder nor a known set{suggestion(name, known)} "
        f"(known: {', '.join(known)})"
    )


def _plain(data: str) -> str:
    return data.lower().replace("-", "").replace("_", "")


def _digits() -> Parts:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UsageError("--data digits needs scikit-learn: pip install 'scaleprof[search]'") from None
    from PIL import Image

    loaded = load_digits()
    shades = np.round(loaded.images * (255 / _DIGIT_SHADES)).astype(np.uint8)
    part = Part(
        loaded.target.astype(np.int64),
        lambda index: Image.fromarray(shades[index]),
        lambda: iter((shades.tobytes(),)),
    )
    return Parts(tuple(str(digit) for digit in loaded.target_names), part)


def _torchvision(data: str, known: _Known, root: Path) -> Parts:
    from torchvision import datasets

    kind = getattr(datasets, known.kind)

    def part(options: Mapping[str, Any] | None) -> Part | None:
        if options is None:
            return None
        with _fetching(data, root):
            return _part_of(kind(root=str(root), download=True, **options))

    train = part(known.train)
    if train is None:
        raise TypeError(f"{known.kind} has no training images")
    classes = int(train.labels.max()) + 1
    return Parts(tuple(map(str, range(classes))), train, part(known.validation), part(known.held_out))


@contextmanager
def _fetching(data: str, root: Path) -> Iterator[None]:
    """Let torchvision find or fetch a set; what it prints goes to stderr.

    Raises:
        UsageError: it could not.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)  # torchvision sets none, and a silent server would hang it
    try:
        root.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):
            yield
    except (OSError, RuntimeError, ImportError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"--data {data} is not in {root} and could not be fetched ({words}): "
            f"put torchvision's files there, or name a folder of images"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _part_of(dataset: Any) -> Part:
    """A map-style dataset of torchvision's, whose items are an image and its class."""
    labels = _labels_of(dataset)
    return Part(labels, lambda index: dataset[index][0], lambda: _pieces(dataset))


def _labels_of(dataset: Any) -> NDArray[np.int64]:
    """The classes of all items, without decoding an image where the dataset keeps them anywhere."""
    for name in ("targets", "labels", "_labels"):
        if hasattr(dataset, name):
            return np.asarray(getattr(dataset, name), dtype=np.int64)
    if hasattr(dataset, "_samples"):
        return np.asarray([label for _, label in dataset._samples], dtype=np.int64)
    return np.asarray([dataset[index][1] for index in range(len(dataset))], dtype=np.int64)


def _pieces(dataset: Any) -> Iterator[bytes]:
    """What tells its images from others: the pixels if they are in memory, else names and sizes of files."""
    if hasattr(dataset, "data"):
        yield np.ascontiguousarray(dataset.data).tobytes()
    for item in getattr(dataset, "samples", getattr(dataset, "_samples", ())):
        path = Path(item[0])
        yield f"{path.parent.name}/{path.name} {path.stat().st_size}\n".encode()


def _folder(folder: Path) -> Parts:
    """A folder with one folder a class; or of `train`, and `val` or `test` or both, that are such folders."""
    if not (folder / "train").is_dir():
        names, whole = _image_folder(folder)
        return Parts(names, whole)
    names, train = _image_folder(folder / "train")
    others = [folder / name for name in ("val", "test") if (folder / name).is_dir()]
    parts: list[Part] = []
    for other in others:
        its_names, part = _image_folder(other)
        if its_names != names:
            raise UsageError(
                f"{other} has other classes than {folder / 'train'}: {_difference(names, its_names)}"
            )
        parts.append(part)
    # The last of them is what the set's owner keeps apart: nothing is chosen by it.
    held_out = parts.pop() if parts else None
    return Parts(names, train, parts[0] if parts else None, held_out)


def _image_folder(folder: Path) -> tuple[tuple[str, ...], Part]:
    from torchvision.datasets import ImageFolder

    try:
        dataset = ImageFolder(str(folder))
    except FileNotFoundError as error:
        words = " ".join(str(error).split())
        raise UsageError(
            f"--data {folder} is no folder of images with one folder a class: {words}"
        ) from error
    return tuple(dataset.classes), _part_of(dataset)


def _difference(one: Sequence[str], other: Sequence[str]) -> str:
    return ", ".join(sorted(set(one) ^ set(other))[:5])

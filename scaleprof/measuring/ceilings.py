"""The machine's ceilings: the most MACs and bytes a second that a worker sees its device do.

A square matrix product in the models' dtype, and a copy of a buffer far beyond the caches, on the device and
threads of a launch, after its last sample: nothing that is timed runs beside or after them. Times are kept
as they are; `scaleprof.stats.roofline` takes the ceilings from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from scaleprof.measuring import host
from scaleprof.measuring.passes import TORCH_DTYPES
from scaleprof.measuring.timing import Call, Timer
from scaleprof.records import DType, MachineCeilings
from scaleprof.units import format_bytes

_SEED = 20090401

# The best side differs between devices, and on a CPU whose threads wait for others: each is tried in turn.
_FIRST_SIDE, _LAST_SIDE = 128, 16384
_SIDE_S = 0.05
# Shorter products tell of launching them, which costs some ten microseconds, rather than of arithmetic.
_SHORT_S = 0.005
# Gains below this are noise.
_GROWTH = 1.05
# A product of the next side takes eight times as long; none is begun that would take longer than this.
_LONGEST_S = 0.25
_COPY_S = 0.3
_LEAST_TIMES, _MOST_TIMES = 3, 30

# Source and target together are many times the last-level cache: a few to some hundred MiB on a processor, of
# which one process seldom has all, and up to some hundred on a GPU, where a copy must outlast its launch too.
# The copied numbers repeat: drawing all of them would take longer than copying.
_TILE_ELEMENTS = 2**20
_COPIED_ON_CPU_BYTES = 256 * 2**20
_COPIED_ON_CUDA_BYTES = 2**30
_MEMORY_SHARE = 0.5


class CeilingsUnavailableError(Exception):
    """The ceilings cannot be measured; the message says why."""


class Kernels(Protocol):
    """What the ceilings are taken from."""

    def product(self, side: int) -> Call:
        """A call that multiplies two matrices of `side` × `side`: `side`³ MACs."""

    def copy(self, size_bytes: int) -> Call:
        """A call that copies so many bytes: it reads them and writes them."""


class DeviceKernels:
    """The kernels on one device, in one dtype, on random values: on zeros a GPU is faster than on any."""

    def __init__(self, device: str, dtype: DType) -> None:
        self._device = torch.device(device)
        self._dtype = TORCH_DTYPES[dtype]

    def product(self, side: int) -> Call:
        """A call that multiplies two matrices of `side` × `side`: `side`³ MACs."""
        left, right = (self._random(side * side, seed).view(side, side) for seed in (0, 1))
        into = torch.empty_like(left)
        return lambda: torch.mm(left, right, out=into)

    def copy(self, size_bytes: int) -> Call:
        """A call that copies so many bytes: it reads them and writes them."""
        tiles = size_bytes // self._dtype.itemsize // _TILE_ELEMENTS
        source = self._random(_TILE_ELEMENTS, 0).repeat(tiles)
        target = source.clone()
        return lambda: target.copy_(source)

    def _random(self, elements: int, seed: int) -> torch.Tensor:
        """Normal numbers, by a generator of its own: nobody else's numbers change."""
        generator = torch.Generator(self._device).manual_seed(_SEED + seed)
        return torch.randn(elements, device=self._device, dtype=self._dtype, generator=generator)


def measure_ceilings(timer: Timer, kernels: Kernels, copied_bytes: int) -> MachineCeilings:
    """The times of the fastest product and of the copy, a second or two in all.

    Args:
        timer: of the device.
        kernels: on the device.
        copied_bytes: size of the buffer that is copied.
    """
    side, product_s = fastest_product(
        lambda side: _times_s(timer, kernels.product(side), _SIDE_S), range_of_sides()
    )
    copy_s = _times_s(timer, kernels.copy(copied_bytes), _COPY_S)
    return MachineCeilings(
        matrix_side=side,
        product_s=tuple(round(value, 9) for value in product_s),
        moved_bytes=2 * copied_bytes,
        copy_s=tuple(round(value, 9) for value in copy_s),
    )


def range_of_sides() -> list[int]:
    """The sides that may be tried, each twice the last."""
    return [2**power for power in range(_FIRST_SIDE.bit_length() - 1, _LAST_SIDE.bit_length())]


def fastest_product(
    times_of: Callable[[int], Sequence[float]], sides: Sequence[int]
) -> tuple[int, Sequence[float]]:
    """The side whose product does the most MACs a second, and its times.

    Sides are tried in turn until one brings no more than the best before it, unless it was too short to tell,
    or until the next would take too long.

    Args:
        times_of: the times of products of a side, in seconds.
        sides: each twice the last.
    """
    best: tuple[int, Sequence[float]] = (0, ())
    best_rate = 0.0
    for side in sides:
        times_s = times_of(side)
        least_s = min(times_s)
        rate = side**3 / least_s
        has_grown = rate > _GROWTH * best_rate
        if rate > best_rate:
            best, best_rate = (side, times_s), rate
        if 8 * least_s > _LONGEST_S or not (has_grown or least_s < _SHORT_S):
            break
    return best


def copied_bytes(device: str, available_bytes: Callable[[], int] = host.available_memory_bytes) -> int:
    """How large a buffer is copied on a device.

    Raises:
        CeilingsUnavailableError: on the CPU two of them would take most of what memory is left. A GPU refuses
            what it has no room for; beside a CPU, the system ends programs.
    """
    if device != "cpu":
        return _COPIED_ON_CUDA_BYTES
    needed, free = 2 * _COPIED_ON_CPU_BYTES, available_bytes()
    if needed > _MEMORY_SHARE * free:
        raise CeilingsUnavailableError(
            f"a copy far beyond the caches takes {format_bytes(needed)}, {format_bytes(free)} is available"
        )
    return _COPIED_ON_CPU_BYTES


@contextmanager
def fastest_fp32(device: str) -> Iterator[None]:
    """Let products of fp32 matrices use TF32 for a while, where convolutions of fp32 numbers may.

    That is torch's default; a ceiling without it would be far below what convolutions do.
    """
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    if device != "cpu" and torch.backends.cudnn.allow_tf32:
        products.allow_tf32 = True
    try:
        yield
    finally:
        products.allow_tf32 = before


def _times_s(timer: Timer, call: Call, at_least_s: float) -> list[float]:
    """Times of a call that has run once: as many as so many seconds hold, between 3 and 30."""
    timer.wall_s(call)
    times_s: list[float] = []
    while len(times_s) < _LEAST_TIMES or (sum(times_s) < at_least_s and len(times_s) < _MOST_TIMES):
        times_s.append(timer.wall_s(call))
    return times_s

"""What `benchmarks/gate.py` recorded: pairs of processes, and what checks see of them."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from scaleprof.stats.effects import PairTimes, tau_of

CHANGES = (0, 2, 3, 5, 10)  # percent
ORDERS = 40

Times = dict[str, list[list[int]]]
Seconds = NDArray[np.float64]


class Header(msgspec.Struct, frozen=True):
    """`products`: of each target, in the arm after."""

    machine: str
    rounds: int
    products: dict[str, int]


class Pair(msgspec.Struct, frozen=True):
    """Forwards in nanoseconds of each target, by rounds; and what it took to start, build and time them."""

    pair: int
    cpus: tuple[int, ...]
    opened_s: float
    built_s: float
    timed_s: float
    before_ns: Times
    after_ns: Times


class Series(NamedTuple):
    """One network at one change: of each pair what a check sees, and all forwards before and after."""

    pairs: list[PairTimes]
    before_s: list[Seconds]
    after_s: list[Seconds]


class Recording:
    """What a file holds. Pairs of identical code alone stand among those that hold all changes."""

    def __init__(self, header: Header, pairs: list[Pair]) -> None:
        self.header = header
        self.pairs = pairs
        self._series: dict[tuple[str, int], Series] = {}

    @cached_property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(target.rpartition("_")[0] for target in self.header.products))

    def holding(self, change: int) -> Recording:
        """The pairs in which every network was timed with this change."""
        wanted = {target_name(name, change) for name in self.networks}
        return Recording(self.header, [pair for pair in self.pairs if wanted <= pair.before_ns.keys()])

    def after(self, pairs: int) -> Recording:
        """What was recorded after so many pairs."""
        return Recording(self.header, [pair for pair in self.pairs if pair.pair >= pairs])

    def pair_noise(self, name: str) -> float:
        """By how much pairs of identical code differ, as a self-test of all these pairs would tell."""
        return tau_of(self.series(name, 0).pairs) or math.nan

    def seconds(self, pair: int, targets: int) -> float:
        """What this pair would have taken with so many targets."""
        one = self.pairs[pair]
        return one.opened_s + (one.built_s + one.timed_s) * targets / len(one.before_ns)

    def series(self, name: str, change: int) -> Series:
        """One network at one change, which all pairs must hold."""
        if (name, change) not in self._series:
            target = target_name(name, change)
            self._series[name, change] = _series(
                [np.array(pair.before_ns[target]) / 1e9 for pair in self.pairs],
                [np.array(pair.after_ns[target]) / 1e9 for pair in self.pairs],
            )
        return self._series[name, change]


def _series(before_s: list[Seconds], after_s: list[Seconds]) -> Series:
    """Of each pair's rounds × forwards in each arm."""
    pairs = [
        PairTimes(tuple(np.log(b.min(axis=1) / a.min(axis=1))), float(np.median(a.min(axis=1))))
        for a, b in zip(before_s, after_s, strict=True)
    ]
    return Series(pairs, [a.ravel() for a in before_s], [b.ravel() for b in after_s])


class Rate(NamedTuple):
    """A share of checks; `trials` are those that share no pair."""

    share: float
    trials: float

    @property
    def text(self) -> str:
        hits, misses = self.share * self.trials, (1 - self.share) * self.trials
        low = beta.ppf(0.025, hits, misses + 1) if self.share > 0 else 0.0
        high = beta.ppf(0.975, hits + 1, misses) if self.share < 1 else 1.0
        return f"{100 * self.share:.1f} % [{_digits(low)}–{_digits(high)}]"


def _digits(share: float) -> str:
    """A percentage; tenths are told where they matter."""
    return f"{100 * share:.1f}".removesuffix(".0") if share < 0.095 else f"{100 * share:.0f}"


def target_name(network: str, change: int) -> str:
    return f"{network}_{change}"

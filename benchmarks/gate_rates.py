"""How often rules call a network slower, by what `benchmarks/gate.py` recorded.

Checks are cut from the recorded pairs: in a random order of them, the first check takes as many pairs as its
verdict needs, the next one goes on behind it, and so on, so that no pair is in two checks. A rate is the mean
over many orders. Its interval is Clopper and Pearson's for the number of checks in *one* order: further
orders see the same pairs again and make the rate smoother, but no surer. It takes the three networks of a
pair for independent of each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from statistics import fmean, median
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, mannwhitneyu, ttest_ind
from tables import Table

from scaleprof.stats.compare import LOOKS, Comparison, decide
from scaleprof.stats.effects import TAU_0, PairTimes, effect, tau_of

CHANGES = (0, 2, 3, 5, 10)  # percent
MODELS = (1, 3, 8)
ORDERS = 40
# What other tools are given: about as many pairs as ours takes.
RIVAL_PAIRS = 5

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
    """What a file holds."""

    def __init__(self, header: Header, pairs: list[Pair]) -> None:
        self.header = header
        self.pairs = pairs

    @cached_property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(target.rpartition("_")[0] for target in self.header.products))

    @cached_property
    def series(self) -> dict[tuple[str, int], Series]:
        return {(name, change): self._series(name, change) for name in self.networks for change in CHANGES}

    @cached_property
    def pair_noise(self) -> float:
        """By how much pairs of identical code differ here, as a self-test of all these pairs would tell."""
        return tau_of([one for name in self.networks for one in self.series[name, 0].pairs]) or TAU_0

    def seconds(self, pair: int, targets: int) -> float:
        """What this pair would have taken with so many targets."""
        one = self.pairs[pair]
        return one.opened_s + (one.built_s + one.timed_s) * targets / len(self.header.products)

    def _series(self, name: str, change: int) -> Series:
        target = target_name(name, change)
        before_s = [np.array(pair.before_ns[target]) / 1e9 for pair in self.pairs]
        after_s = [np.array(pair.after_ns[target]) / 1e9 for pair in self.pairs]
        pairs = [
            PairTimes(tuple(np.log(b.min(axis=1) / a.min(axis=1))), float(np.median(a.min(axis=1))))
            for a, b in zip(before_s, after_s, strict=True)
        ]
        return Series(pairs, [a.ravel() for a in before_s], [b.ravel() for b in after_s])


class Outcome(NamedTuple):
    """One check: the verdict on the target, and what all of it took."""

    verdict: str
    pairs: int
    seconds: float


class Rate(NamedTuple):
    """A share of checks; `trials` are those that share no pair."""

    share: float
    trials: float

    @property
    def text(self) -> str:
        hits, misses = self.share * self.trials, (1 - self.share) * self.trials
        low = beta.ppf(0.025, hits, misses + 1) if self.share > 0 else 0.0
        high = beta.ppf(0.975, hits + 1, misses) if self.share < 1 else 1.0
        return f"{100 * self.share:.1f} % [{100 * low:.0f}–{100 * high:.0f}]"


def target_name(network: str, change: int) -> str:
    return f"{network}_{change}"


def checks(
    recording: Recording,
    network: str,
    change: int,
    models: int,
    rng: np.random.Generator,
    tau_0: float = TAU_0,
) -> Iterator[Outcome]:
    """The checks of one order of the pairs: a changed network, and others that nothing was done to."""
    order = rng.permutation(len(recording.pairs))
    start = 0
    while start + LOOKS[-1] <= len(order):
        places = order[start : start + LOOKS[-1]]
        targets = {"it": drawn(recording, network, change, places)}
        others = [name for name in recording.networks if name != network]
        for n in range(models - 1):
            # The first ones are those that were timed beside it; for more, pairs are drawn again.
            beside = places if n < len(others) else rng.permutation(len(order))[: LOOKS[-1]]
            targets[str(n)] = drawn(recording, others[n % len(others)], 0, beside)
        judged = decide(targets, tau_0=tau_0)
        used = [found.effect.pairs for found in judged.values() if found.effect]
        seconds = math.fsum(
            recording.seconds(place, sum(pairs > n for pairs in used))
            for n, place in enumerate(places[: max(used)])
        )
        yield Outcome(judged["it"].verdict, max(used), seconds)
        start += used[0]


def drawn(recording: Recording, network: str, change: int, places: NDArray[np.int64]) -> Comparison:
    pairs = recording.series[network, change].pairs
    return Comparison([pairs[place] for place in places])


def all_checks(
    recording: Recording, change: int, models: int, orders: int = ORDERS, tau_0: float = TAU_0
) -> list[Outcome]:
    """All checks of all networks, in many orders."""
    rng = np.random.default_rng(0)
    return [
        outcome
        for network in recording.networks
        for _ in range(orders)
        for outcome in checks(recording, network, change, models, rng, tau_0)
    ]


def pyperf(before_s: Seconds, after_s: Seconds) -> bool:
    """`pyperf compare_to`: Student's t of all values, two-sided at 95 %, of one variance."""
    return bool(after_s.mean() > before_s.mean() and ttest_ind(before_s, after_s).pvalue < 0.05)


def pytest_benchmark(before_s: Seconds, after_s: Seconds) -> bool:
    """`--benchmark-compare-fail=median:5%`."""
    return bool(np.median(after_s) > 1.05 * np.median(before_s))


def google_benchmark(before_s: Seconds, after_s: Seconds) -> bool:
    """`compare.py`: Mann and Whitney's U, two-sided at 5 %."""
    return bool(np.median(after_s) > np.median(before_s) and mann_whitney(before_s, after_s) < 0.05)


def asv(before_s: Seconds, after_s: Seconds, factor: float = 1.1) -> bool:
    """`asv continuous`: medians that differ by the factor, and Mann and Whitney's U at 0.2 %."""
    return bool(np.median(after_s) > factor * np.median(before_s) and mann_whitney(before_s, after_s) < 0.002)


def asv_of_five(before_s: Seconds, after_s: Seconds) -> bool:
    return asv(before_s, after_s, 1.05)


def mann_whitney(before_s: Seconds, after_s: Seconds) -> float:
    return float(mannwhitneyu(before_s, after_s, alternative="two-sided").pvalue)


Rule = Callable[[Seconds, Seconds], bool]
RIVALS: dict[str, Rule] = {
    "pyperf compare_to: t-test of all values": pyperf,
    "pytest-benchmark: median +5 %": pytest_benchmark,
    "Google Benchmark: Mann–Whitney, 5 %": google_benchmark,
    "asv continuous: factor 1.1": asv,
    "the same with factor 1.05": asv_of_five,
}


def rival_rate(recording: Recording, rule: Rule, change: int, orders: int = ORDERS) -> Rate:
    rng, flags = np.random.default_rng(0), []
    for network in recording.networks:
        series = recording.series[network, change]
        for _ in range(orders):
            order = rng.permutation(len(recording.pairs))
            for start in range(0, len(order) - RIVAL_PAIRS + 1, RIVAL_PAIRS):
                places = order[start : start + RIVAL_PAIRS]
                sides = (
                    np.concatenate([times_s[place] for place in places])
                    for times_s in (series.before_s, series.after_s)
                )
                flags.append(rule(*sides))
    return Rate(fmean(flags), len(flags) / orders)


def rival_rate_apart(recording: Recording, rule: Rule, change: int) -> Rate:
    """The same where the forwards after are of the pairs that were recorded behind those of before."""
    flags = []
    for network in recording.networks:
        series = recording.series[network, change]
        for start in range(0, len(recording.pairs) - 2 * RIVAL_PAIRS + 1, 2 * RIVAL_PAIRS):
            middle, end = start + RIVAL_PAIRS, start + 2 * RIVAL_PAIRS
            before_s, after_s = series.before_s[start:middle], series.after_s[middle:end]
            flags.append(rule(np.concatenate(before_s), np.concatenate(after_s)))
    return Rate(fmean(flags), len(flags))


def as_text(recording: Recording, orders: int = ORDERS) -> str:
    if len(recording.pairs) < LOOKS[-1]:
        return f"{len(recording.pairs)} pairs are recorded: a check may take {LOOKS[-1]}."
    outcomes, own = (
        {
            (change, models): all_checks(recording, change, models, orders, tau_0)
            for change in CHANGES
            for models in MODELS
        }
        for tau_0 in (TAU_0, recording.pair_noise)
    )
    header = ("called slower", *(f"+{change} %" if change else "no change" for change in CHANGES))
    ours = [
        [
            f"**scaleprof check**, {models} {'model' if models == 1 else 'models'}{option}",
            *(slower(found[change, models], orders).text for change in CHANGES),
        ]
        for option, found in (("", outcomes), (f", `--pair-noise {recording.pair_noise:.1%}`", own))
        for models in MODELS
    ]
    theirs = [
        [name, *(rival_rate(recording, rule, change, orders).text for change in CHANGES)]
        for name, rule in RIVALS.items()
    ]
    apart = [
        [
            f"{name}, one run after the other",
            *(rival_rate_apart(recording, rule, change).text for change in CHANGES),
        ]
        for name, rule in RIVALS.items()
    ]
    return "\n\n".join(
        [
            _opening(recording),
            Table(header, [*ours, *theirs, *apart]).markdown(),
            _costs(outcomes),
            _truth(recording),
            "\n".join([*_reached(outcomes, orders), *_reached_with_own_noise(recording, own, orders)]),
        ]
    )


def slower(outcomes: Sequence[Outcome], orders: int = ORDERS) -> Rate:
    return Rate(fmean(one.verdict == "SLOWER" for one in outcomes), len(outcomes) / orders)


def _opening(recording: Recording) -> str:
    header = recording.header
    return (
        f"{header.machine} {len(recording.pairs)} pairs of processes of {header.rounds} rounds. One network "
        f"is changed, and the others of its check are not. Other tools judge all forwards of "
        f"{RIVAL_PAIRS} pairs, before against after: of the same pairs, in which both took turns (kind to "
        f"them), and of {RIVAL_PAIRS} pairs and the next {RIVAL_PAIRS}, as when a benchmark is run once "
        f"before and once after a change."
    )


def _costs(outcomes: dict[tuple[int, int], list[Outcome]]) -> str:
    """What becomes of the changed network among three, and what the check takes."""
    verdicts = ("SLOWER", "PASS", "FASTER", "INCONCLUSIVE")
    rows = []
    for change in CHANGES:
        among = outcomes[change, 3]
        counts = Counter(one.verdict for one in among)
        seconds = sorted(one.seconds for one in among)
        rows.append(
            [
                f"+{change} %" if change else "no change",
                *(f"{100 * counts[verdict] / len(among):.1f} %" for verdict in verdicts),
                f"{fmean(one.pairs for one in among):.1f}",
                f"{median(seconds):.0f} s",
                f"{seconds[math.ceil(0.95 * len(seconds)) - 1]:.0f} s",
            ]
        )
    header = ("among three models", *verdicts, "pairs", "time, median", "95th percentile")
    return Table(header, rows).markdown()


def _truth(recording: Recording) -> str:
    """What each network's change comes to over all pairs."""
    rows = []
    for network in recording.networks:
        found = [effect(recording.series[network, change].pairs) for change in CHANGES]
        cells = [f"{100 * one.change:+.1f} % ±{100 * (one.upper - one.change):.1f}" for one in found]
        rows.append([f"{network}, {1e3 * found[0].before_s:.1f} ms", *cells])
    header = ("measured over all pairs", *(f"+{change} %" if change else "no change" for change in CHANGES))
    return Table(header, rows).markdown()


def _reached(outcomes: dict[tuple[int, int], list[Outcome]], orders: int) -> list[str]:
    alarms = max(slower(outcomes[0, models], orders).share for models in MODELS)
    caught = min(slower(outcomes[5, models], orders).share for models in MODELS)
    seconds = median(one.seconds for one in outcomes[0, 3])

    def line(what: str, is_reached: bool) -> str:
        return f"- {what}: {'reached' if is_reached else '**not reached**'}."

    return [
        line(f"False alarms {100 * alarms:.1f} % a model; at most 1 % was wanted", alarms <= 0.01),
        line(f"Slowdowns of 5 % caught {100 * caught:.1f} %; at least 95 % was wanted", caught >= 0.95),
        line(f"Three unchanged models take {seconds:.0f} s; at most 120 s was wanted", seconds <= 120),
    ]


def _reached_with_own_noise(
    recording: Recording, own: dict[tuple[int, int], list[Outcome]], orders: int
) -> list[str]:
    alarms = max(slower(own[0, models], orders).share for models in MODELS)
    caught = min(slower(own[5, models], orders).share for models in MODELS)
    return [
        f"- With this machine's own pair noise ({recording.pair_noise:.1%} instead of {TAU_0:.1%}, from the "
        f"same pairs of identical code, as `--self-test` tells it): false alarms {100 * alarms:.1f} %, "
        f"slowdowns of 5 % caught {100 * caught:.1f} %."
    ]

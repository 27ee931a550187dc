"""How often rules call a network slower, by what `benchmarks/gate.py` recorded.

Checks are cut from the recorded pairs: in a random order of them, the first check takes as many pairs as its
verdict needs, the next one goes on behind it, and so on, so that no pair is in two checks. A rate is the mean
over many orders. Its interval is Clopper and Pearson's for the number of checks in *one* order: further
orders see the same pairs again and make the rate smoother, but no surer. It takes the three networks of a
pair for independent of each other, which they nearly are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from gate_recording import CHANGES, ORDERS, Rate, Recording
from gate_rivals import RIVAL_PAIRS, RIVALS, rival_rate, rival_rate_apart
from numpy.typing import NDArray
from tables import Table

from scaleprof.stats.compare import LOOKS, Comparison, decide
from scaleprof.stats.effects import TAU_0, effect
from scaleprof.units import plural

MODELS = (1, 3, 8)


class Outcome(NamedTuple):
    """One check: the verdict on the target, and what all of it took."""

    verdict: str
    pairs: int
    seconds: float


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
    pairs = recording.series(network, change).pairs
    return Comparison([pairs[place] for place in places])


def all_checks(
    recording: Recording, change: int, models: int, orders: int = ORDERS, tau_0: float = TAU_0
) -> list[Outcome]:
    """All checks of all networks, in many orders."""
    recording = recording.holding(change)
    rng = np.random.default_rng(0)
    return [
        outcome
        for network in recording.networks
        for _ in range(orders)
        for outcome in checks(recording, network, change, models, rng, tau_0)
    ]


def as_text(recording: Recording, orders: int = ORDERS, tau_0: float = TAU_0) -> str:
    whole = min(len(recording.holding(change).pairs) for change in CHANGES)
    if whole < LOOKS[-1]:
        return f"{plural(whole, 'pair', 'pairs')} hold all changes: a check may take {LOOKS[-1]}."
    outcomes = {
        (change, models): all_checks(recording, change, models, orders, tau_0)
        for change in CHANGES
        for models in MODELS
    }
    return "\n\n".join(
        [
            _opening(recording, tau_0),
            _rates(recording, outcomes, orders),
            _costs(outcomes),
            _truth(recording),
            "\n".join(_reached(outcomes, orders)),
        ]
    )


def alarms_as_text(recording: Recording, orders: int = ORDERS, tau_0: float = TAU_0) -> str:
    """False alarms alone, for a part of a recording that holds too few changes."""
    return "\n".join(
        f"{plural(models, 'model', 'models')}: "
        f"{slower(all_checks(recording, 0, models, orders, tau_0), orders).text} false alarms"
        for models in MODELS
    )


def _rates(recording: Recording, outcomes: dict[tuple[int, int], list[Outcome]], orders: int) -> str:
    """How often each rule calls a network slower."""
    header = ("called slower", *map(_name, CHANGES))
    ours = [
        [
            f"**scaleprof check**, {plural(models, 'model', 'models')}",
            *(slower(outcomes[change, models], orders).text for change in CHANGES),
        ]
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
    return Table(header, [*ours, *theirs, *apart]).markdown()


def slower(outcomes: Sequence[Outcome], orders: int = ORDERS) -> Rate:
    return Rate(fmean(one.verdict == "SLOWER" for one in outcomes), len(outcomes) / orders)


def _opening(recording: Recording, tau_0: float) -> str:
    header = recording.header
    counts = ", ".join(f"{len(recording.holding(change).pairs)} with {_name(change)}" for change in CHANGES)
    return (
        f"{header.machine} Pairs of processes of {header.rounds} rounds: {counts}. One network is changed, "
        f"and the others of its check are not; the rule believes that pairs of identical code differ by "
        f"{tau_0:.1%}. Other tools judge all forwards of {RIVAL_PAIRS} pairs, before against after: of the "
        f"same pairs, in which both took turns (kind to them), and of {RIVAL_PAIRS} pairs and the next "
        f"{RIVAL_PAIRS}, as when a benchmark is run once before and once after a change."
    )


def _name(change: int) -> str:
    return f"+{change} %" if change else "no change"


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
                _name(change),
                *(f"{100 * counts[verdict] / len(among):.1f} %" for verdict in verdicts),
                f"{fmean(one.pairs for one in among):.1f}",
                f"{median(seconds):.0f} s",
                f"{seconds[math.ceil(0.95 * len(seconds)) - 1]:.0f} s",
            ]
        )
    header = ("among three models", *verdicts, "pairs", "time, median", "95th percentile")
    return Table(header, rows).markdown()


def _truth(recording: Recording) -> str:
    """What each network's change comes to over all pairs, and by how much those of identical code differ."""
    rows = []
    for network in recording.networks:
        found = [effect(recording.holding(change).series(network, change).pairs) for change in CHANGES]
        cells = [f"{100 * one.change:+.1f} % ±{100 * (one.upper - one.change):.1f}" for one in found]
        noise = f"{100 * recording.holding(0).pair_noise(network):.1f} %"
        rows.append([f"{network}, {1e3 * found[0].before_s:.1f} ms", *cells, noise])
    header = ("measured over all pairs", *map(_name, CHANGES), "pair noise (standard deviation)")
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

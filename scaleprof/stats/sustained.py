"""Throughput and energy, from passes that ran back to back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.records import Launch, Sustained
from scaleprof.stats.intervals import Estimate, Interval, enclosing, launch_interval, mean_over_launches


class EnergyPerPass(msgspec.Struct, frozen=True):
    """Joules of one pass: `gross_j` all that was drawn, `net_j` without what the idle machine draws anyway.

    `net_j` is None where the idle power is not known.
    """

    gross_j: Estimate
    net_j: Estimate | None


def throughput(launches: Sequence[Launch], batch_size: int) -> Estimate | None:
    """Samples a second: all passes of all launches over all their seconds; None if none ran back to back.

    Its interval is that of the mean time of a pass, over launches and chunks.
    """
    runs = _runs(launches)
    if not runs:
        return None
    chunks_s = [[chunk_s / run.passes_per_chunk for chunk_s in run.chunks_s] for run in runs]
    pass_s = sum(map(_seconds, runs)) / sum(map(_passes, runs))
    return mean_over_launches(chunks_s, pass_s).inverse().scaled(batch_size)


def energy_per_pass(launches: Sequence[Launch]) -> EnergyPerPass | None:
    """Joules a pass, gross and net, with intervals over launches; None if no launch has an energy.

    A launch reads the counter once, so a single one has no interval; nor has a net energy that is not above
    zero in every launch: there the idle power was taken too high.
    """
    drawn_j = [(run, run.energy_j) for run in _runs(launches) if run.energy_j is not None]
    if not drawn_j:
        return None
    beyond_idle_j = [
        (run, gross_j - run.idle_power_w * (run.energy_window_s or _seconds(run)))
        for run, gross_j in drawn_j
        if run.idle_power_w is not None
    ]
    return EnergyPerPass(_per_pass(drawn_j), _per_pass(beyond_idle_j) if beyond_idle_j else None)


def _per_pass(energies_j: Sequence[tuple[Sustained, float]]) -> Estimate:
    value = sum(energy_j for _, energy_j in energies_j) / sum(_energy_passes(run) for run, _ in energies_j)
    per_launch = [energy_j / _energy_passes(run) for run, energy_j in energies_j]
    across = launch_interval(per_launch) if min(per_launch) > 0 else None
    return Estimate(value, across and enclosing(across, Interval(value, value)))


def _runs(launches: Sequence[Launch]) -> list[Sustained]:
    return [launch.sustained for launch in launches if launch.sustained is not None]


def _energy_passes(run: Sustained) -> float:
    """The passes that the energy is of: those between ticks, where the counter moves in slow ones."""
    return _passes(run) if run.energy_passes is None else run.energy_passes


def _passes(run: Sustained) -> int:
    return run.passes_per_chunk * len(run.chunks_s)


def _seconds(run: Sustained) -> float:
    return sum(run.chunks_s)

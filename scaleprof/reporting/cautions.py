"""Doubts about a row, each with its cause and its remedy."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from scaleprof.records import Host, Launch, Record
from scaleprof.reporting.comparing import RunComparer
from scaleprof.scaling.budget import is_off
from scaleprof.stats.contention import is_contended
from scaleprof.stats.latency import UNSTABLE_RATIO, LatencySummary
from scaleprof.stats.noise import noise_verdict
from scaleprof.stats.parts import launch_bound_ratio

_INPUT_NOUNS = {"px": "pixels", "tokens": "tokens"}
_MATCH_NOUNS = {"macs": "MACs", "params": "parameters", "activations": "activations"}
# Outputs beyond these are not those of a trained network, and tiny ones may be slow to compute with.
_LEAST_OUTPUT_STD = 1e-3
_MOST_OUTPUT_STD = 1e3
# One denormal in a thousand numbers, each some ten times as slow, is a percent of a pass.
_MOST_DENORMALS = 1e-3
# A page fault takes about a microsecond: fewer are lost in the noise.
_MOST_FAULTS = 100
_MOST_THROTTLED = 0.01
# Names of NVML's clock event reasons.
_POWER_EVENTS = {"sw_power_cap", "hw_power_brake_slowdown"}
_HEAT_EVENTS = {"sw_thermal_slowdown", "hw_thermal_slowdown"}
# A quarter of the time in gaps between kernels is worth a hint.
LAUNCH_BOUND_FROM = 1.25


class Caution(msgspec.Struct, frozen=True):
    """A doubt about a number, and what to do about it."""

    code: str
    message: str
    remedy: str


def cost_cautions(record: Record) -> tuple[Caution, ...]:
    """Doubts about what a model is and costs."""
    return tuple(_cost_cautions(record))


def measuring_cautions(
    record: Record, summary: LatencySummary | None, comparer: RunComparer
) -> tuple[Caution, ...]:
    """Doubts about what was measured of a model."""
    if summary is None:
        return ()
    launches = [launch for launch in record.launches if launch.visits]
    return (
        *_about_numbers(record, launches, comparer),
        *_about_intervals(summary, comparer),
        *_about_contention(record, summary),
        *_about_gpu(record, launches),
        *_about_disturbances(summary, launches, comparer.header.host),
    )


def _cost_cautions(record: Record) -> Iterator[Caution]:
    if record.cost and record.cost.uncounted:
        names = ", ".join(operator.operator for operator in record.cost.uncounted)
        yield Caution("uncounted", f"operators without a formula: {names}", "read MACs as a lower bound")
    if record.cost and record.cost.counted_on == "cpu":
        yield Caution(
            "counted_on_cpu",
            "it does not run on shapes alone: it was run once on random values",
            "other values may take other branches: read its counts as one example",
        )
    if record.cost and record.cost.assumptions:
        yield Caution(
            "assumed",
            f"counted without knowing values: {'; '.join(record.cost.assumptions)}",
            "read MACs as those of this case; real weights and inputs may take another",
        )
    asked, got = record.spec.requested_growth, record.matched_growth
    if got is not None and record.status != "unmatched" and is_off(asked, got):
        noun = _MATCH_NOUNS[record.spec.match or "macs"]
        yield Caution(
            "match_off",
            f"{noun} grew by {got:.3g} where {asked:.3g} was asked for: "
            f"along this strategy whole layers, channels and {_INPUT_NOUNS[record.spec.input_unit]} come no "
            f"nearer",
            "compare at the growth achieved, or choose another φ",
        )


def _about_numbers(record: Record, launches: list[Launch], comparer: RunComparer) -> Iterator[Caution]:
    """The numbers that were computed with: out of scale, denormal, or of a type that is emulated."""
    stds = [launch.output_std for launch in launches]
    if not all(_LEAST_OUTPUT_STD <= std <= _MOST_OUTPUT_STD for std in stds):
        yield Caution(
            "output_scale",
            f"random weights make outputs with a standard deviation of {stds[0]:.3g}, far from one",
            "latency may be that of denormal numbers: initialise the network so that it keeps scale",
        )
    denormal = max((launch.denormal_share or 0.0 for launch in launches), default=0.0)
    if denormal > _MOST_DENORMALS:
        yield Caution(
            "denormals",
            f"{denormal:.1%} of the numbers between its modules are denormal, with which a CPU is slow",
            "initialise the network so that it keeps scale, or call torch.set_flush_denormal(True) in it",
        )
    native = comparer.header.host.native_dtypes
    if native is not None and record.workload.dtype not in native:
        yield Caution(
            "emulated_dtype",
            f"this processor does not compute in {record.workload.dtype}: it converts, which is slower",
            f"its own types are {', '.join(native)}",
        )


def _about_intervals(summary: LatencySummary, comparer: RunComparer) -> Iterator[Caution]:
    if summary.launches == 1:
        yield Caution(
            "single_launch",
            "one process was measured; another may differ by more than the interval says",
            "use --preset default (3 launches) or rigorous (5)",
        )
    if summary.interval_s and summary.interval_s.ratio > UNSTABLE_RATIO and not summary.unstable:
        yield Caution(
            "wide_interval",
            f"milliseconds are not known to a factor of {UNSTABLE_RATIO:g}, for the machine's speed "
            f"changed while it was measured; the ratios to the base and to the reference network are",
            "compare models by their ratios, or measure on a quieter machine",
        )
    target = comparer.header.plan.target_ci
    if summary.stop(target) == "budget_exhausted":
        yield Caution(
            "target_missed",
            f"half its 95 % interval is above the target of {100 * target:.3g} % of the latency, "
            f"and its rounds were used up",
            _remedy_for_noise(comparer.noise),
        )


def _remedy_for_noise(spread: float | None) -> str:
    if spread is not None and noise_verdict(spread) != "quiet":
        return (
            f"the machine was {noise_verdict(spread)} (p90/p10 {spread:.2f}): scaleprof doctor says what "
            f"disturbs it; ratios inside the same rounds are known better"
        )
    return "use --preset rigorous, which takes more launches and rounds"


def _about_contention(record: Record, summary: LatencySummary) -> Iterator[Caution]:
    if record.workload.on_cuda or not is_contended(summary.cpu_share):
        return
    threads = record.workload.threads
    fewer = f", or give it a CPU (--threads {threads - 1})" if threads > 1 else ""
    yield Caution(
        "contended",
        f"others had {1 - (summary.cpu_share or 0):.0%} of its CPUs' work, and one may lose more by that "
        f"than another: the intervals of ratios allow for it",
        f"stop the other process, which scaleprof doctor names{fewer}",
    )


def _about_gpu(record: Record, launches: list[Launch]) -> Iterator[Caution]:
    """What held the GPU back while it was timed, and who else was on it."""
    states = [visit.gpu for launch in launches for visit in launch.visits if visit.gpu is not None]
    events = [set(state.events) for state in states if state.events is not None]
    if capped := sum(bool(seen & _POWER_EVENTS) for seen in events):
        yield Caution(
            "power_capped",
            f"the GPU's power limit held its clock down in {capped / len(events):.0%} of the visits",
            "this is what it delivers under load; compare at the same limit, or use a smaller batch",
        )
    if hot := sum(bool(seen & _HEAT_EVENTS) for seen in events):
        yield Caution(
            "thermal",
            f"heat held the GPU's clock down in {hot / len(events):.0%} of the visits",
            "let it cool down and check its air flow, then measure again",
        )
    if any(state.other_processes for state in states):
        yield Caution(
            "contended",
            "other processes held the GPU while it was timed",
            "stop them, which scaleprof doctor names, or choose another GPU with --device cuda:N",
        )
    bound = launch_bound_ratio(record.launches)
    if bound is not None and bound.value > LAUNCH_BOUND_FROM and record.workload.runtime == "eager":
        yield Caution(
            "launch_bound",
            f"a pass takes {bound.value:.1f} times as long as its graph's replay: the GPU waits for launches",
            "try --runtime compile or cudagraph, or a larger batch",
        )


def _about_disturbances(summary: LatencySummary, launches: list[Launch], host: Host) -> Iterator[Caution]:
    if not all(launch.warmup.stationary for launch in launches):
        yield Caution(
            "warmup_not_settled",
            "the time per pass was still moving when warming up ended",
            "quieten the machine (scaleprof doctor), or use --preset rigorous",
        )
    sampled_s = sum(sum(visit.samples_s) for launch in launches for visit in launch.visits)
    if summary.throttled_s and summary.throttled_s > _MOST_THROTTLED * sampled_s:
        yield Caution(
            "throttled",
            "a CPU quota held the process back while it was timed",
            "raise the container's CPU limit, or give fewer --threads",
        )
    if summary.faults_per_pass and summary.faults_per_pass > _MOST_FAULTS:
        yield Caution(
            "page_faults",
            "a pass takes a hundred page faults or more: memory goes back to the system and is fetched anew",
            "leave --allocator at pinned"
            if host.allocator == "default"
            else "none here: a tensor above 32 MiB has pages of its own under any malloc, deployed too",
        )
    if not all(launch.complete for launch in launches):
        yield Caution("incomplete_launch", "the sweep was interrupted in this launch", "go on with --resume")

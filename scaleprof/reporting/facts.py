"""What a page says of a run beside its models: its conditions, its machine, and whether to trust it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from scaleprof.records import BASE_STRATEGY, MEASURED_STATUSES, UNTRIED_STATUSES, Host, RunLog
from scaleprof.reporting.fronts import Front
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.workloads import FIELDS, words
from scaleprof.stats.noise import noise_spread, noise_verdict
from scaleprof.units import format_bytes, plural

# Further kinds of warnings would take more room than the first screen has.
_NAMED_KINDS = 2


class Fact(msgspec.Struct, frozen=True):
    """A label and its text; `alarming` ones are set apart. `more`: the part of the page that tells more."""

    label: str
    value: str
    alarming: bool = False
    more: str = ""


def trust_facts(log: RunLog, rows: Sequence[MeasuredRow], first: Front | None = None) -> tuple[Fact, ...]:
    """What was compared, on what, and how far it can be trusted: for the first screen.

    `first` is the front of the first chart, whose unsure places are counted.
    """
    header = log.header
    workload = log.records[0].workload
    told = [name for name in FIELDS if name != "cast" or workload.dtype != "fp32"]
    strategies = len({row.strategy for row in rows} - {BASE_STRATEGY})
    missed = sum(row.stop == "budget_exhausted" for row in rows)
    within = len([row for row in rows if row.stop]) - missed
    processes = plural(header.plan.launches, "fresh process", "fresh processes")
    matched = next((METRICS[row.match].label for row in rows if row.match), None)
    return (
        Fact("Device", device_name(log)),
        Fact("Workload", ", ".join(words(workload, told))),
        Fact("Models", f"{len(rows)} in {plural(strategies, 'strategy', 'strategies')}"),
        Fact("Growth", f"equal {matched} at each φ" if matched else "each strategy's own formula"),
        Fact("Measured", f"{processes} ({header.plan.preset} preset)"),
        Fact("Software", f"torch {header.host.torch}"),
        Fact("Machine", _noise_words(log)),
        Fact(f"Intervals within ±{100 * header.plan.target_ci:.3g} %", f"{within} of {within + missed}"),
        Fact("Date", header.started_at[:10]),
        *_doubts(rows, first),
    )


def _doubts(rows: Sequence[MeasuredRow], first: Front | None) -> list[Fact]:
    """What is undecided, failed or missing, as counts that lead to where it is told; noughts too."""
    counts = Counter(row.status for row in rows)
    untried = [status for status in sorted(UNTRIED_STATUSES) if counts[status]]
    failed = sum(
        number for status, number in counts.items() if status not in (*MEASURED_STATUSES, *UNTRIED_STATUSES)
    )
    unsure = 0 if first is None else len({*first.likely, *first.undecided})
    return [
        Fact("Unsure on the front", str(unsure), more="places" if unsure else ""),
        Fact("Unstable", str(counts["unstable"]), counts["unstable"] > 0, "doubts"),
        Fact("Failed", str(failed), failed > 0, "doubts"),
        *(Fact(status.capitalize(), str(counts[status]), more="doubts") for status in untried),
        _warnings(rows),
    ]


def _warnings(rows: Sequence[MeasuredRow]) -> Fact:
    """How many models carry warnings, and of which kinds most do."""
    warned = sum(bool(row.warnings) for row in rows)
    kinds = Counter(code for row in rows for code in sorted({one.code for one in row.warnings})).most_common()
    named = [f"{code.replace('_', ' ')} {count}" for code, count in kinds[:_NAMED_KINDS]]
    rest = len(kinds) - _NAMED_KINDS
    more = [plural(rest, "more kind", "more kinds")] if rest > 0 else []
    words = f" ({', '.join([*named, *more])})" if named else ""
    return Fact("With warnings", f"{warned}{words}", more="doubts" if warned else "")


def _noise_words(log: RunLog) -> str:
    """How quiet the machine was, from the matrix product timed between all visits."""
    spread = spread_of(log)
    return "unknown" if spread is None else f"{noise_verdict(spread)} (p90/p10 {spread:.2f})"


def spread_of(log: RunLog) -> float | None:
    """How much the matrix product timed between all visits varied, p90 over p10."""
    return noise_spread([launch for record in log.records for launch in record.launches])


def device_name(log: RunLog) -> str:
    """The device that the run measured, by the name its maker gave it."""
    host = log.header.host
    return host.gpu_name or f"{host.cpu_model} ({host.cpu_capability})"


def constant_facts(rows: Sequence[MeasuredRow]) -> tuple[Fact, ...]:
    """Columns with one value for all rows, for the table's caption."""
    names = ("model", "device", "dtype", "batch_size", "threads", "mode", "runtime", "memory_format")
    facts = []
    for name in names:
        values = {str(getattr(row, name)) for row in rows}
        if len(values) == 1:
            facts.append(Fact(name.replace("_", " "), values.pop()))
    return tuple(facts)


def environment_facts(log: RunLog) -> tuple[Fact, ...]:
    """The machine and the software that the run was made with."""
    header, host = log.header, log.header.host
    gpu = (
        f"{host.gpu_name}, {format_bytes(host.gpu_memory_bytes or 0)}, "
        f"driver {host.gpu_driver or 'unknown'}, CUDA {host.cuda}, cuDNN {host.cudnn}"
        if host.gpu_name
        else "none used"
    )
    return (
        Fact(
            "CPU",
            f"{host.cpu_model}, {host.usable_cpus} of {host.logical_cpus} CPUs usable, {host.cpu_capability}",
        ),
        Fact("GPU", gpu),
        Fact("Clock and load", _conditions(host)),
        Fact("Memory", format_bytes(host.memory_bytes)),
        Fact("System", host.system),
        Fact("Python", host.python),
        Fact("torch", f"{host.torch}, torchvision {host.torchvision}"),
        Fact("Threads", f"{host.openmp or 'OpenMP'}, waiting {host.openmp_wait_policy or 'as it does'}"),
        Fact("Allocator", host.allocator),
        Fact("scaleprof", f"{header.scaleprof}, protocol {header.protocol}, seed {header.seed}"),
        Fact("Started", header.started_at),
    )


def _conditions(host: Host) -> str:
    """What the machine's speed hung on when the run began, as far as the system tells."""
    switches = {None: "not told", True: "on", False: "off"}
    parts = [
        f"governor {host.governor or 'not told'}",
        f"turbo {switches[host.turbo]}",
        f"hyper-threads {switches[host.smt]}",
        f"quota {'none' if host.cgroup_cpus is None else f'{host.cgroup_cpus:.3g} CPUs'}",
    ]
    if host.load_1m is not None:
        parts.append(f"load {host.load_1m:.2f}")
    if host.cpu_pressure is not None:
        parts.append(f"{host.cpu_pressure:.0%} of the last 10 s waited for a CPU")
    return ", ".join(parts)

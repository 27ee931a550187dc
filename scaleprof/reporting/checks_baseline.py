"""What a run that was measured now says against a kept one, target by target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from statistics import median

from msgspec.structs import replace

from scaleprof.records import BaselineLog, CheckedTarget, Host, Launch, Record, RunHeader, RunLog
from scaleprof.reporting.checks import Finding, Outcome
from scaleprof.reporting.checks_exact import as_increase, exact_findings
from scaleprof.reporting.checks_memory import Measured, budget_finding, memory_finding
from scaleprof.reporting.checks_rules import Rules
from scaleprof.reporting.checks_timed import judge_log
from scaleprof.reporting.checks_words import percent
from scaleprof.reporting.differing import LABELS
from scaleprof.reporting.workloads import varying, words
from scaleprof.stats.compare import Judged
from scaleprof.stats.latency import summarise
from scaleprof.stats.tripwire import Tripped, trip
from scaleprof.units import MS_PER_S

_LABELS = LABELS | {"cuda": "CUDA", "gpu_driver": "GPU driver branch", "protocol": "protocol"}


def target_name(record: Record, log: RunLog) -> str:
    """A record's name in a check: its spec's, with what tells its workload apart from others of the run."""
    fields = varying(one.workload for one in log.records)
    return " ".join([record.spec.spec_id, *words(record.workload, fields)])


def differences(header: RunHeader, now: Host, protocol: int) -> tuple[str, ...]:
    """The facts that forbid to compare latencies: of machine, software and protocol, with both values.

    Speeds that were measured are none of them. Of the GPU's driver its branch counts.
    """
    then_facts, now_facts = _facts(header.host, header.protocol), _facts(now, protocol)
    return tuple(
        f"{_LABELS.get(name, name)} {_told(value)} then, {_told(now_facts[name])} now"
        for name, value in then_facts.items()
        if now_facts[name] != value
    )


def _facts(host: Host, protocol: int) -> dict[str, object]:
    branch = host.gpu_driver and host.gpu_driver.partition(".")[0]
    return host.stable_part() | {"gpu_driver": branch, "cuda": host.cuda, "protocol": protocol}


def _told(value: object) -> str:
    return "unknown" if value is None else str(value)


def baseline_findings(log: BaselineLog, rules: Rules, today: date) -> tuple[list[Finding], dict[str, float]]:
    """All findings of a check against a kept run, target by target; and what it could have found of each."""
    tripped = _trip(log)
    findings: list[Finding] = []
    for target in log.targets:
        findings += exact_findings(target, rules, today)
        if not target.absent and not log.header.exact_only:
            findings += _timed(log, target, tripped, rules, today)
    detectable = {name: one.detectable for name, one in tripped.items() if one.detectable is not None}
    return findings, detectable


def flagged(log: BaselineLog) -> list[str]:
    """The targets whose latency the tripwire warns of."""
    return [name for name, one in _trip(log).items() if one.verdict in ("WARN", "FAIL")]


def _trip(log: BaselineLog) -> dict[str, Tripped]:
    """What the tripwire says of each target that both runs have; nothing where they may not be compared."""
    if log.candidate is None or log.mismatch:
        return {}
    then, now = _by_name(log.baseline), _by_name(log.candidate, log.baseline)
    return trip(
        {
            one.target.name: (then[one.target.name].launches, now[one.target.name].launches)
            for one in log.targets
            if _why_not(one, then, now) is None
        }
    )


def baseline_notes(log: BaselineLog) -> list[str]:
    """What a reader should know of the two runs."""
    notes = [f"this is not the machine or software of the baseline: {words}" for words in log.mismatch]
    if log.not_retested is not None:
        notes.append(f"what was flagged could not be raced: {log.not_retested}")
    if log.retested is not None:
        label, pairs = log.retested.header.before.label, len(log.retested.pairs)
        notes.append(f"what was flagged was raced against {label} in {pairs} pairs of processes")
    return notes


def _by_name(log: RunLog, like: RunLog | None = None) -> dict[str, Record]:
    """Records by their targets' names; those of a run that was measured after `like` are called as there."""
    fields = varying(one.workload for one in (like or log).records)
    return {
        " ".join([record.spec.spec_id, *words(record.workload, fields)]): record for record in log.records
    }


def _timed(
    log: BaselineLog, target: CheckedTarget, tripped: Mapping[str, Tripped], rules: Rules, today: date
) -> list[Finding]:
    name = target.target.name
    then, now = _by_name(log.baseline), _by_name(log.candidate, log.baseline) if log.candidate else {}
    latency = _latency(log, target, tripped, then, now)
    latency = _confirmed(latency, {} if log.retested is None else judge_log(log.retested, rules))
    if latency.outcome == "regression":
        latency = as_increase(latency, rules, today, verdict=latency.verdict)
    if name not in now or not now[name].measured:
        return [latency]
    budgets = [
        budget_finding(name, budget, _known(target, now[name]).get(budget.metric))
        for budget in rules.budgets_of(name)
    ]
    memory = None
    if not log.mismatch:
        memory = memory_finding(
            name,
            _peaks(then[name].launches),
            _peaks(now[name].launches),
            on_cuda=target.target.workload.on_cuda,
            rules=rules,
            today=today,
        )
    return [latency, *([memory] if memory else []), *budgets]


def _latency(
    log: BaselineLog,
    target: CheckedTarget,
    tripped: Mapping[str, Tripped],
    then: Mapping[str, Record],
    now: Mapping[str, Record],
) -> Finding:
    name = target.target.name
    found = Finding(target=name, metric="latency", verdict="INVALID", outcome="failed", words="", unit="ms")
    if log.mismatch:
        words = f"latency is not compared: {'; '.join(log.mismatch)}"
        return replace(found, outcome="mismatch", words=words)
    if name in tripped:
        return _judged(found, tripped[name], then[name], now[name])
    why = _why_not(target, then, now)
    return replace(found, outcome=why[0], words=f"latency is not compared: {why[1]}") if why else found


_ByName = Mapping[str, Record]


def _why_not(target: CheckedTarget, then: _ByName, now: _ByName) -> tuple[Outcome, str] | None:
    """Why the latency of a target is not compared, and how grave that is; None if it is."""
    name = target.target.name
    if target.invalid is not None:
        return "failed", target.invalid
    if not then[name].measured:
        return "told", f"the baseline has none ({then[name].reason})"
    if name not in now or not now[name].measured:
        return "failed", (now[name].reason if name in now else None) or "it was not measured"
    was, here = then[name].spec, now[name].spec
    if (was.input_size, was.input_unit) != (here.input_size, here.input_unit):
        inputs = (f"{spec.input_size} {spec.input_unit}" for spec in (was, here))
        return "mismatch", "its input was {}, and is {} now".format(*inputs)
    return None


def _judged(found: Finding, tripped: Tripped, then: Record, now: Record) -> Finding:
    outcomes: dict[str, Outcome] = {"PASS": "ok", "WARN": "warning", "FAIL": "regression"}
    found = replace(
        found,
        verdict=tripped.verdict,
        outcome=outcomes.get(tripped.verdict, "undecided"),
        before=_median_ms(then),
        after=_median_ms(now),
    )
    if tripped.change is None or tripped.interval is None:
        return replace(found, words=f"latency is not compared: {tripped.reason}")
    low, high = tripped.interval
    told = f"{percent(tripped.change)} [{100 * low:+.1f}–{100 * high:+.1f}]"
    return replace(
        found,
        words=f"latency ÷ reference network {told}: {tripped.reason}",
        change=tripped.change,
        change_low=low,
        change_high=high,
    )


def _confirmed(found: Finding, retested: Mapping[str, Judged]) -> Finding:
    """What was flagged, as the race against the baseline's revision has it.

    Where the race finds it as fast as before, the machine was slower and not the target. Where it decides
    nothing, the flag stands.
    """
    raced = retested.get(found.target)
    if raced is None or raced.effect is None or found.verdict not in ("WARN", "FAIL"):
        return found
    told = f"raced against its revision: {percent(raced.effect.change)}, {raced.reason}"
    words = f"{found.words}; {told}"
    if raced.verdict in ("PASS", "FASTER"):
        return replace(found, verdict="PASS", outcome="warning", words=f"not confirmed: {words}")
    if raced.verdict == "SLOWER":
        return replace(found, verdict="FAIL", outcome="regression", words=f"confirmed: {words}")
    return replace(found, words=words)


def _median_ms(record: Record) -> float | None:
    summary = summarise(record.launches)
    return None if summary is None else summary.median_s * MS_PER_S


def _peaks(launches: Sequence[Launch]) -> list[int]:
    return [one.peak_memory_bytes for one in launches if one.peak_memory_bytes is not None]


def _known(target: CheckedTarget, record: Record) -> dict[str, Measured]:
    """What is known of a target as it is now, by the names that budgets have for it."""
    known: dict[str, Measured] = {}
    if target.after is not None:
        cost = target.after
        known |= {name: Measured(float(getattr(cost, name))) for name in ("macs", "params", "activations")}
    summary = summarise(record.launches)
    if summary is not None:
        latency = Measured(summary.median_s, *(summary.interval_s or ()))
        known["latency_ms"] = latency.scaled(MS_PER_S)
        if summary.p95 is not None:
            p95 = Measured(summary.p95.value_s, summary.p95.value_s, summary.p95.upper_s)
            known["latency_p95_ms"] = p95.scaled(MS_PER_S)
    peaks = _peaks(record.launches)
    if peaks:
        known["peak_memory_bytes"] = Measured(float(median(peaks)), min(peaks), max(peaks))
    return known

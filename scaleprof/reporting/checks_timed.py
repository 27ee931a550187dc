"""What two arms that were timed side by side say of each target: latency, memory, budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from statistics import median

from msgspec.structs import replace

from scaleprof.records import Arm, ArmTimes, CheckedTarget, CheckLog, CheckPair, PairTarget
from scaleprof.reporting.checks import Finding, Outcome
from scaleprof.reporting.checks_exact import as_increase, exact_findings
from scaleprof.reporting.checks_memory import Measured, budget_finding, memory_finding
from scaleprof.reporting.checks_rules import Rules
from scaleprof.reporting.checks_words import percent
from scaleprof.stats.compare import DEFAULT_LIMIT, Judged, comparison_of, decide
from scaleprof.stats.intervals import over_launches
from scaleprof.stats.latency import min_tail_samples
from scaleprof.units import MS_PER_S

_P95 = 0.95


def judge_log(log: CheckLog, rules: Rules) -> dict[str, Judged]:
    """The verdict on the latency of each target that both arms have; every look is gone through again."""
    comparisons = {
        one.target.name: comparison_of(log.pairs, one.target.name, limit=latency_limit(one, rules))
        for one in log.targets
        if one.invalid is None and not one.absent
    }
    return decide(comparisons, tau_0=log.header.tau_0)


def latency_limit(target: CheckedTarget, rules: Rules) -> float:
    """The share by which a target may become slower."""
    given = rules.limit(target.target.name, "latency")
    return DEFAULT_LIMIT if given is None else given


def log_findings(log: CheckLog, rules: Rules, judged: Mapping[str, Judged], today: date) -> list[Finding]:
    """All findings of a check of two revisions, target by target."""
    findings = []
    for target in log.targets:
        findings += exact_findings(target, rules, today)
        if not target.absent:
            findings += _timed(log, target, rules, judged, today)
    return findings


def self_test_findings(log: CheckLog, rules: Rules, judged: Mapping[str, Judged]) -> list[Finding]:
    """Those of a check of the working tree against itself: what is called slower there is a false alarm."""
    findings = []
    for target in log.targets:
        found = _latency(log, target, judged, rules)
        if found.verdict in ("SLOWER", "FASTER"):
            words = f"a false alarm: both arms are the same code, and {found.words}"
            found = replace(found, outcome="warning", words=words)
        findings.append(found)
    return findings


def _timed(
    log: CheckLog, target: CheckedTarget, rules: Rules, judged: Mapping[str, Judged], today: date
) -> list[Finding]:
    if log.header.exact_only and target.invalid is None:
        return _budgets(target, [], rules)
    latency = _latency(log, target, judged, rules)
    if latency.verdict == "SLOWER":
        latency = as_increase(latency, rules, today, verdict="SLOWER")
    if target.invalid is not None:
        return [latency]
    parts = parts_of(log.pairs, target.target.name)
    memory = memory_finding(
        target.target.name,
        _peaks(parts, "before"),
        _peaks(parts, "after"),
        on_cuda=target.target.workload.on_cuda,
        rules=rules,
        today=today,
    )
    tail = _tail(target.target.name, parts)
    return [
        latency,
        *([tail] if tail else []),
        *([memory] if memory else []),
        *_budgets(target, parts, rules),
    ]


def _latency(log: CheckLog, target: CheckedTarget, judged: Mapping[str, Judged], rules: Rules) -> Finding:
    name = target.target.name
    found = Finding(
        target=name,
        metric="latency",
        verdict="INVALID",
        outcome="failed",
        words="",
        unit="ms",
        limit=latency_limit(target, rules),
    )
    if target.invalid is not None:
        return replace(found, words=f"could not be timed: {target.invalid}")
    verdict = judged[name]
    parts = parts_of(log.pairs, name)
    times = {
        "before": _median_ms(parts, "before"),
        "after": _median_ms(parts, "after"),
    }
    found = replace(found, verdict=verdict.verdict, outcome=_outcome(verdict, parts), **times)
    if verdict.effect is None:
        ended = "; the time was over" if log.ended == "time" else ""
        return replace(found, words=f"{verdict.reason}{ended}")
    low, high = verdict.effect.interval
    change = verdict.effect.change
    return replace(
        found,
        words=f"latency {percent(change)} [{100 * low:+.1f}–{100 * high:+.1f}]: {verdict.reason}",
        change=change,
        change_low=low,
        change_high=high,
        more_pairs=verdict.more_pairs,
    )


def _outcome(judged: Judged, parts: Sequence[PairTarget]) -> Outcome:
    if judged.verdict == "INVALID":
        return "undecided" if parts else "failed"
    outcomes: dict[str, Outcome] = {"PASS": "ok", "FASTER": "good", "SLOWER": "regression"}
    return outcomes.get(judged.verdict, "undecided")


def parts_of(pairs: Sequence[CheckPair], name: str) -> list[PairTarget]:
    """What each pair of processes holds of a target."""
    return [target for pair in pairs for target in pair.targets if target.target == name and target.rounds]


def arm_times(part: PairTarget, arm: Arm) -> list[ArmTimes]:
    """One arm's forwards in the rounds of a pair."""
    return [one.before if arm == "before" else one.after for one in part.rounds]


def _median_ms(parts: Sequence[PairTarget], arm: Arm) -> float | None:
    samples = _samples_s(parts, arm)
    return MS_PER_S * median(samples) if samples else None


def _samples_s(parts: Sequence[PairTarget], arm: Arm) -> list[float]:
    return [sample for part in parts for times in arm_times(part, arm) for sample in times.samples_s]


def _peaks(parts: Sequence[PairTarget], arm: Arm) -> list[int]:
    peaks = [
        part.before_peak_memory_bytes if arm == "before" else part.after_peak_memory_bytes for part in parts
    ]
    return [peak for peak in peaks if peak is not None]


def _p95_ms(parts: Sequence[PairTarget], arm: Arm) -> float | None:
    samples = sorted(_samples_s(parts, arm))
    if len(samples) < min_tail_samples(_P95):
        return None
    return MS_PER_S * samples[int(_P95 * (len(samples) - 1))]


def _tail(name: str, parts: Sequence[PairTarget]) -> Finding | None:
    """The 95th percentile, which is told and decides nothing."""
    then, now = _p95_ms(parts, "before"), _p95_ms(parts, "after")
    if then is None or now is None:
        return None
    return Finding(
        target=name,
        metric="latency_p95",
        verdict="TOLD",
        outcome="told",
        words="decides nothing",
        unit="ms",
        before=then,
        after=now,
        change=now / then - 1,
    )


def _budgets(target: CheckedTarget, parts: Sequence[PairTarget], rules: Rules) -> list[Finding]:
    known = _known(target, parts)
    return [
        budget_finding(target.target.name, budget, known.get(budget.metric))
        for budget in rules.budgets_of(target.target.name)
        if parts or budget.metric in ("macs", "params", "activations")
    ]


def _known(target: CheckedTarget, parts: Sequence[PairTarget]) -> dict[str, Measured]:
    """What is known of the target as it is now, by the names that budgets have for it."""
    known: dict[str, Measured] = {}
    if target.after is not None:
        cost = target.after
        known |= {name: Measured(float(getattr(cost, name))) for name in ("macs", "params", "activations")}
    if parts:
        rounds = [[median(times.samples_s) for times in arm_times(part, "after")] for part in parts]
        latency = over_launches(rounds).scaled(MS_PER_S)
        known["latency_ms"] = Measured(latency.value, *(latency.interval or ()))
    p95 = _p95_ms(parts, "after")
    if p95 is not None:
        known["latency_p95_ms"] = Measured(p95)
    peaks = _peaks(parts, "after")
    if peaks:
        known["peak_memory_bytes"] = Measured(float(median(peaks)), min(peaks), max(peaks))
    return known

"""From the record of a check to what every output shows of it; the same record gives the same view again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date

from scaleprof.records import ArmFacts, BaselineLog, CheckedTarget, CheckHeader, CheckLog, Workload
from scaleprof.reporting.checks import CheckView, exit_code, summarise
from scaleprof.reporting.checks_baseline import baseline_findings, baseline_notes
from scaleprof.reporting.checks_rules import Rules
from scaleprof.reporting.checks_timed import judge_log, latency_limit, log_findings, self_test_findings
from scaleprof.reporting.checks_words import plain_percent
from scaleprof.stats.compare import LOOKS, Judged, comparison_of, minimum_detectable_effect
from scaleprof.stats.effects import tau_of
from scaleprof.units import plural

AnyLog = CheckLog | BaselineLog

_ENDED = {
    "decided": "every target was decided",
    "looks": "that is the last look",
    "time": "the time was over",
    "failed": "no target was left",
}
# Pairs that differ by this many times what is believed of them do so by more than rounds' noise and chance.
_WIDE_SPREAD = 2.0
# More packages than these are for the JSON, not for a sentence.
_MOST_PACKAGES = 8


def view_check(
    log: AnyLog, *, rules: Rules | None = None, fail_on: Collection[str] | None = None
) -> CheckView:
    """A recorded check as it is shown.

    Args:
        log: what was measured, of two revisions or against a kept run.
        rules: what is allowed; by default what the record was made with.
        fail_on: what fails besides a regression; by default as recorded.
    """
    header = log.header
    allowed = Rules.of(header) if rules is None else rules
    failing = header.fail_on if fail_on is None else fail_on
    # The day of measuring: an acceptance that expires later does not change what a replay says.
    today = date.fromisoformat(header.started_at[:10])
    if isinstance(log, BaselineLog):
        findings, detectable = baseline_findings(log, allowed, today)
        extra = baseline_notes(log)
    else:
        judged = judge_log(log, allowed) if not header.exact_only else {}
        self_test = header.mode == "self_test"
        findings = (
            self_test_findings(log, allowed, judged)
            if self_test
            else log_findings(log, allowed, judged, today)
        )
        detectable = _detectable(log, allowed, judged)
        extra = [*_pair_notes(log), *([] if self_test else _spread_notes(judged, header.tau_0)), *log.notes]
    code = exit_code(findings, fail_on=failing, timed=not header.exact_only)
    return CheckView(
        mode=header.mode,
        before=log.name if isinstance(log, BaselineLog) else arm_words(header.before),
        after=arm_words(header.after),
        setting=_setting([one.target.workload for one in log.targets]),
        findings=tuple(findings),
        detectable=detectable,
        resolution=_resolution(detectable, header),
        notes=(*extra, *_rule_notes(log.targets, allowed, today)),
        exit_code=code,
        summary=summarise(findings, code),
    )


def arm_words(arm: ArmFacts) -> str:
    """What an arm is, with how much differs from its revision."""
    if not arm.changed_files:
        return arm.label
    return f"{arm.label} ({plural(arm.changed_files, 'changed file', 'changed files')})"


def _setting(workloads: Sequence[Workload]) -> str:
    texts = [
        f"{one.device}, {plural(one.threads, 'thread', 'threads')}, batch {one.batch_size}, {one.dtype}"
        + (f", {one.mode}" if one.mode != "infer" else "")
        + (f", {one.runtime}" if one.runtime != "eager" else "")
        for one in workloads
    ]
    return "; ".join(dict.fromkeys(texts))


def _detectable(log: CheckLog, rules: Rules, judged: Mapping[str, Judged]) -> dict[str, float]:
    """Per target the least slowdown that this noise lets a whole check find nine times in ten."""
    limits = {one.target.name: latency_limit(one, rules) for one in log.targets}
    return {
        name: minimum_detectable_effect(found.effect, limit=limits[name], models=len(judged))
        for name, found in judged.items()
        if found.effect is not None
    }


def _resolution(detectable: Mapping[str, float], header: CheckHeader) -> str:
    if not detectable:
        asked = "was to be" if header.exact_only else "could be"
        return f"minimum detectable effect: unknown, nothing {asked} timed"
    least, most = min(detectable.values()), max(detectable.values())
    span = plain_percent(least) if least == most else f"{plain_percent(least)} to {plain_percent(most)}"
    return (
        f"minimum detectable effect: with this noise a check finds what is slower by {span} nine times in ten"
    )


def _pair_notes(log: CheckLog) -> Iterator[str]:
    header = log.header
    if log.pairs:
        pairs = plural(len(log.pairs), "pair", "pairs")
        yield f"{pairs} of processes (looks after {', '.join(map(str, LOOKS))}): {_ENDED[log.ended]}"
    differing = packages_apart(header.before, header.after)
    if differing:
        shown = ", ".join(differing[:_MOST_PACKAGES])
        rest = f" and {len(differing) - _MOST_PACKAGES} more" if len(differing) > _MOST_PACKAGES else ""
        yield f"the arms have different packages: {shown}{rest}"
    if header.mode == "self_test":
        found = [pair for one in log.targets for pair in comparison_of(log.pairs, one.target.name).measured]
        tau = tau_of(found)
        if tau is not None:
            yield (
                f"fresh pairs of the same code differ by {plain_percent(tau)} (standard deviation), where "
                f"{plain_percent(header.tau_0)} was expected: tell others by --pair-noise {100 * tau:.2g}%"
            )


def _spread_notes(judged: Mapping[str, Judged], tau_0: float) -> Iterator[str]:
    """Targets whose pairs differ by far more than was believed: there a verdict is less sure than it says."""
    for name, found in judged.items():
        if found.effect is None:
            continue
        spread = found.effect.se * math.sqrt(found.effect.pairs)
        if spread > _WIDE_SPREAD * tau_0:
            yield (
                f"{name}: its pairs of processes differ by {plain_percent(spread)}, where "
                f"{plain_percent(tau_0)} was expected: the machine is too noisy for its verdict to be sure; "
                f"--self-test tells by how much, --pair-noise takes it"
            )


def packages_apart(before: ArmFacts, after: ArmFacts) -> list[str]:
    """Packages whose versions differ between the arms, with both.

    Empty where one arm's are not known.
    """
    if not before.packages or not after.packages:
        return []
    names = sorted({*before.packages, *after.packages})
    return [
        f"{name} {before.packages.get(name, 'none')} → {after.packages.get(name, 'none')}"
        for name in names
        if before.packages.get(name) != after.packages.get(name)
    ]


def _rule_notes(targets: Sequence[CheckedTarget], rules: Rules, today: date) -> Iterator[str]:
    names = [one.target.name for one in targets]
    for accepted in rules.accepted:
        if accepted.until < today:
            yield (
                f"the acceptance of {accepted.metric} for '{accepted.pattern}' expired on {accepted.until} "
                f"and counts no more ({accepted.reason}): remove it"
            )
    for pattern in rules.idle_patterns(names):
        yield f"the pattern '{pattern}' of the configuration names no target of this check"

"""Checks made by hand: two arms whose times are known exactly."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import msgspec
from builders import CPU, HOST, make_header, make_launch, make_record, make_spec

from scaleprof.records import (
    Arm,
    ArmFacts,
    ArmTimes,
    BaselineLog,
    CheckedTarget,
    CheckHeader,
    CheckLog,
    CheckPair,
    CheckRound,
    CheckTarget,
    ExactCost,
    PairTarget,
    RunLog,
    Workload,
)

STARTED_AT = "2026-06-15T12:00:00+00:00"
REVISION = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d"
COST = ExactCost(
    macs=1_000_000, params=2_000, activations=30_000, operators={"aten.convolution": 4, "aten.relu": 4}
)


def make_target(name: str = "net:build/base/0", workload: Workload = CPU) -> CheckTarget:
    return CheckTarget(name=name, workload=workload, model="net.py:build")


def make_checked(
    name: str = "net:build/base/0",
    before: ExactCost | None = COST,
    after: ExactCost | None = COST,
    **fields: object,
) -> CheckedTarget:
    return CheckedTarget(make_target(name), before, after, **fields)  # type: ignore[arg-type]


def make_check_header(**fields: object) -> CheckHeader:
    defaults: dict[str, object] = {
        "scaleprof": "0.1.0",
        "command": ("scaleprof", "check", "--against", "HEAD~1"),
        "started_at": STARTED_AT,
        "mode": "revision",
        "protocol": 1,
        "seed": 0,
        "before": ArmFacts("HEAD~1 (1a2b3c4)", REVISION, HOST, {"torch": "2.11.0"}),
        "after": ArmFacts("working tree", REVISION, HOST, {"torch": "2.11.0"}, changed_files=2),
    }
    return CheckHeader(**defaults | fields)  # type: ignore[arg-type]


def make_pairs(
    slowdowns: Mapping[str, float],
    *,
    pairs: int = 3,
    rounds: int = 30,
    base_s: float = 0.01,
    noise: float = 0.02,
    bias: float = 0.002,
    memory: Sequence[int] = (50_000_000, 50_000_000),
    seed: int = 7,
) -> tuple[CheckPair, ...]:
    """Pairs in which each target's arm after takes `1 + slowdown` times as long, but for noise."""
    dice = random.Random(seed)

    def times(seconds: float) -> ArmTimes:
        return ArmTimes((seconds, seconds * 1.01), cpu_s=2 * seconds, involuntary_switches=0)

    def one_round(number: int, slowdown: float, apart: float) -> CheckRound:
        first: Arm = dice.choice(("before", "after"))
        here = base_s * (1 + abs(dice.gauss(0, noise)))
        after = here * (1 + slowdown) * (1 + apart + dice.gauss(0, noise))
        return CheckRound(number, first, times(here), times(after))

    def one_target(name: str, slowdown: float) -> PairTarget:
        apart = dice.gauss(0, bias)
        return PairTarget(
            name, tuple(one_round(number, slowdown, apart) for number in range(rounds)), *memory
        )

    return tuple(
        CheckPair(
            pair=number + 1,
            seed=number,
            started_at=STARTED_AT,
            cpus=(0, 1),
            paddings=(17, 1234),
            targets=tuple(one_target(name, slowdown) for name, slowdown in slowdowns.items()),
        )
        for number in range(pairs)
    )


def make_check_log(
    slowdowns: Mapping[str, float] | None = None,
    *,
    targets: Sequence[CheckedTarget] | None = None,
    pairs: int = 3,
    ended: str = "decided",
    header: Mapping[str, object] | None = None,
    **timing: object,
) -> CheckLog:
    """A check of targets by name and true slowdown."""
    asked = {"net:build/base/0": 0.0} if slowdowns is None else slowdowns
    return CheckLog(
        header=make_check_header(**header or {}),
        targets=tuple(make_checked(name) for name in asked) if targets is None else tuple(targets),
        pairs=make_pairs(asked, pairs=pairs, **timing) if asked and pairs else (),  # type: ignore[arg-type]
        ended=ended,  # type: ignore[arg-type]
    )


def make_run(latencies_s: Mapping[str, float], *, launches: int = 5, seed: int = 3) -> RunLog:
    """A run of models, by names and latencies, whose launches differ by half a percent."""
    dice = random.Random(seed)
    records = []
    for name, latency_s in latencies_s.items():
        model, strategy, phi = name.rsplit("/", 2)
        spec = make_spec(strategy, int(phi), model=model, shape=None)
        measured = tuple(
            make_launch(latency_s * (1 + dice.gauss(0, 0.005)), launch=number) for number in range(launches)
        )
        record = make_record(spec, latency_s=latency_s)
        records.append(msgspec.structs.replace(record, launches=measured))
    return RunLog(make_header(), tuple(records))


def make_baseline_log(
    then: Mapping[str, float], now: Mapping[str, float], *, launches: int = 5, **fields: object
) -> BaselineLog:
    """A check of models against a kept run, by their latencies then and now."""
    defaults: dict[str, object] = {
        "header": make_check_header(mode="baseline", before=ArmFacts("base.jsonl", None, HOST, {})),
        "name": "base.jsonl",
        "baseline": make_run(then, launches=launches),
        "targets": tuple(make_checked(name) for name in then),
        "candidate": make_run(now, launches=launches, seed=4),
    }
    return BaselineLog(**defaults | fields)  # type: ignore[arg-type]

"""`solve`: the search over synthetic curves, mistakes, and real models measured end to end."""

from __future__ import annotations

import bisect
import csv
import io
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from builders import HOST, SimulatedBench, family_log, make_header, make_plan_of, make_record, make_spec
from conftest import clean_environment
from hypothesis import given
from hypothesis import strategies as st

import scaleprof as sp
from scaleprof.app.choosing import choose
from scaleprof.app.costs import CostBook
from scaleprof.app.ledger import Ledger, Watcher
from scaleprof.app.planning import SweepPlan
from scaleprof.app.solve_plan import MAX_ITERATIONS, plan_solve
from scaleprof.app.solver import Solver
from scaleprof.app.solving import Solution, run_solve
from scaleprof.app.tracks import Track
from scaleprof.cli import run as run_cli
from scaleprof.engines.local import LocalBench
from scaleprof.errors import UsageError
from scaleprof.measuring import host
from scaleprof.measuring.messages import Built, Job, Visited
from scaleprof.measuring.presets import make_plan
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.measuring.rounds import JobFailedError
from scaleprof.records import ModelSpec, Plan, RunLog, Workload
from scaleprof.reporting import solutions
from scaleprof.reporting.budgets import parse_budgets
from scaleprof.reporting.rows import measured_rows
from scaleprof.reporting.solutions import SolvedRow, sentences, standing_of
from scaleprof.scaling.solving import TOLERANCE, Ended, Point, Try, answer, decide
from scaleprof.store import RunWriter, read_run

LOWEST, HIGHEST = -3, 6

TINY_NET = """
from torch import nn


def build(scale):
    channels = scale.channels(16)
    blocks = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(scale.repeats(2))]
    return nn.Sequential(nn.Conv2d(3, channels, 3, stride=2), *blocks, nn.Flatten())


build.input_size = 32
"""


# A launch of a few rounds and nothing back to back.
SHORT = make_plan_of(launches=1, min_rounds=6, max_rounds=6, sustained_s=0.0)


class Steps:
    """A strategy whose networks change at `edges` and whose prices never fall."""

    def __init__(self, edges: Sequence[float], growth: Sequence[float], base: float) -> None:
        self.edges = sorted(edges)
        prices = [base * 2.0**LOWEST]
        for share, (before, edge) in zip(growth, pairwise([LOWEST, *self.edges]), strict=True):
            prices.append(prices[-1] * (1.0001 + share * (2 ** (edge - before) - 1)))
        self.prices = prices

    def network(self, phi: float) -> int | None:
        return bisect.bisect_right(self.edges, phi) if LOWEST <= phi <= HIGHEST else None

    def price(self, phi: float) -> float:
        network = self.network(phi)
        assert network is not None, f"φ {phi} cannot be built"
        return self.prices[network]

    @property
    def to_be_had(self) -> list[int]:
        """The networks that some φ of four decimals has."""
        places = {math.floor(edge * 10**4) + step for edge in self.edges for step in (0, 1)}
        found = {self.network(place / 10**4) for place in (LOWEST * 10**4, *places)}
        return sorted(number for number in found if number is not None)


@st.composite
def step_curves(draw: st.DrawFn) -> Steps:
    edges = draw(st.lists(st.floats(LOWEST + 0.01, HIGHEST - 0.01), min_size=1, max_size=40, unique=True))
    growth = draw(st.lists(st.floats(0.2, 1.2), min_size=len(edges), max_size=len(edges)))
    return Steps(edges, growth, draw(st.floats(0.03, 7)))


def follow(
    steps: Steps, price: Callable[[float], float], start: Sequence[float], *, limit: int = 60
) -> tuple[list[Point], Ended | None]:
    """Search until it ends, or for so many tries."""
    points = [Point(phi, (price(phi),)) for phi in start]
    for _ in range(limit):
        outcome = decide(points, steps.network)
        if isinstance(outcome, Ended):
            return points, outcome
        points.append(Point(outcome.phi, (price(outcome.phi),), proposed=True))
    return points, None


@given(step_curves(), st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=4, unique=True))
def test_the_search_ends_at_the_largest_network_that_meets_or_within_three_percent(
    steps: Steps, start: list[int]
) -> None:
    points, ended = follow(steps, steps.price, start)
    assert ended is not None
    found = answer(points)
    assert found is not None
    meeting = [number for number in steps.to_be_had if steps.prices[number] <= 1]
    if ended.stop == "within_3_percent":
        assert 1 - TOLERANCE <= found.price <= 1
    elif ended.stop == "out_of_reach":
        assert not meeting
        assert steps.network(found.phi) == 0
    else:
        assert steps.network(found.phi) == max(meeting)


@given(step_curves(), st.integers(0, 2**32), st.floats(0, 0.3))
def test_whatever_the_noise_a_model_that_misses_is_never_the_answer_while_one_meets(
    steps: Steps, seed: int, noise: float
) -> None:
    rng = random.Random(seed)
    points, ended = follow(steps, lambda phi: steps.price(phi) * math.exp(rng.gauss(0, noise)), (0, 1, 2, 3))
    assert ended is not None
    found = answer(points)
    assert found is not None
    assert found.meets or not any(point.meets for point in points)
    assert (ended.stop == "out_of_reach") == (not found.meets)


@given(step_curves())
def test_no_network_is_proposed_twice_and_each_phi_is_short(steps: Steps) -> None:
    points, _ = follow(steps, steps.price, (0, 2))
    networks = [steps.network(point.phi) for point in points if point.proposed]
    assert len(networks) == len(set(networks))
    assert not {steps.network(0), steps.network(2)} & set(networks)
    for point in points:
        assert float(format(point.phi, ".10g")) == round(point.phi, 4) == point.phi


def smooth(phi: float) -> float:
    """A network of its own at every φ."""
    return phi


def doubling(*phis: float, at_zero: float) -> list[Point]:
    return [Point(phi, (at_zero * 2**phi,)) for phi in phis]


def test_a_bound_between_points_is_read_off_straight_lines_of_logarithms() -> None:
    outcome = decide(doubling(0, 1, 2, 3, at_zero=0.2), smooth)
    assert isinstance(outcome, Try)
    assert outcome.phi == pytest.approx(math.log2((1 - TOLERANCE / 2) / 0.2), abs=0.001)


def test_beyond_the_measured_range_it_goes_by_the_last_slope_and_one_at_most() -> None:
    upwards = decide(doubling(0, 1, at_zero=0.01), smooth)
    downwards = decide(doubling(0, 1, at_zero=40), smooth)
    near = decide(doubling(0, 1, at_zero=0.4), smooth)
    assert (upwards, downwards) == (Try(2), Try(-1))
    assert isinstance(near, Try)
    assert near.phi == pytest.approx(1 + math.log2((1 - TOLERANCE / 2) / 0.8), abs=0.001)


def test_of_several_budgets_the_tightest_counts() -> None:
    points = [Point(phi, (0.1 * 2**phi, 0.3 * 4**phi)) for phi in (0, 1, 2)]
    outcome = decide(points, smooth)
    assert isinstance(outcome, Try)
    assert outcome.phi == pytest.approx(math.log((1 - TOLERANCE / 2) / 0.3, 4), abs=0.001)


def test_what_is_too_large_to_be_measured_misses_and_is_halved_towards() -> None:
    points = [Point(0, (0.1,)), Point(4, None)]
    assert decide(points, smooth) == Try(2)
    assert decide([Point(0, None)], smooth) == Try(-1)
    assert answer(points) == points[0]
    assert answer([Point(0, None)]) is None


def test_net_energy_of_zero_and_below_is_far_within() -> None:
    outcome = decide([Point(0, (-0.2,)), Point(1, (0.0,)), Point(2, (3.0,))], smooth)
    assert isinstance(outcome, Try)
    assert 1 < outcome.phi < 2


def test_it_ends_where_the_architecture_does() -> None:
    flat = Steps([0.5], [1.0], 0.001)
    assert follow(flat, flat.price, (0, 1))[1] == Ended("largest_network")
    dear = Steps([0.5], [1.0], 1000)
    points, ended = follow(dear, dear.price, (0, 1))
    assert ended == Ended("out_of_reach")
    assert answer(points) == points[0]


def track_of(model: str, strategy: str, **rules: object) -> Track:
    choice = choose(model, strategy, "0..1", **rules)  # type: ignore[arg-type]
    return Track(choice, choice.models[model], strategy, CostBook())


def test_a_familys_networks_are_told_apart_without_building_one() -> None:
    track = track_of("resnet18", "depth")
    # Stages of two blocks: between two and three of them there is nothing.
    assert track.network(0.0001) == track.network(0.58)
    assert track.network(0.58) != track.network(0.59)
    outcome = decide([Point(0, (0.5,)), Point(0.3, (1.5,))], track.network)
    assert outcome == Ended("no_network_between")
    assert track.network(-1.5) is None


def test_a_matched_track_has_the_networks_that_matching_finds() -> None:
    track = track_of("mobilenet_v2", "width", match="macs")
    spec = track.spec(0.37)
    assert spec is not None
    assert (spec.match, spec.spec_id) == ("macs", "mobilenet_v2/width/0.37")


def solved_rows(log: RunLog, *budgets: str, **fields: object) -> list[SolvedRow]:
    """The largest of each strategy in a synthetic run, as if it had been solved."""
    rows = [row for row in measured_rows(log) if row.phi == 3]
    parsed = parse_budgets(budgets)
    defaults = {"stop": "no_network_between", "stop_reason": "no network lies between", "iterations": 2}
    return [
        SolvedRow(
            strategy=row.strategy,
            model=row.model,
            phi=row.phi,
            budgets=parsed,
            standing=standing_of(row, parsed),
            row=row,
            **defaults | fields,  # type: ignore[arg-type]
        )
        for row in rows
    ]


def test_sentences_say_what_each_strategy_buys_and_what_is_not_told_apart() -> None:
    log = family_log()
    said = " ".join(sentences(solved_rows(log, "latency_ms<=200"), log))
    assert "buys the most MACs (capacity proxy) of efficientnet_b0: 3.20 G at φ 3" in said
    assert "then width 3.20 G at φ 3" in said
    assert "Not told apart" not in said  # width takes 1.3 times the time in the same rounds
    twins = family_log(strategies=("compound",))
    other = [
        msgspec.structs.replace(
            record, spec=msgspec.structs.replace(record.spec, strategy="width", shape={"stem_channels": 7})
        )
        for record in twins.records
        if record.spec.phi == 3
    ]
    log = RunLog(twins.header, (*twins.records, *other))
    said = " ".join(sentences(solved_rows(log, "latency_ms<=200"), log))
    assert "Not told apart by time per MAC, compound's over theirs: width 1.00 [1.00–1.00]" in said


def test_sentences_never_count_what_misses_among_what_is_bought() -> None:
    log = family_log()
    rows = solved_rows(
        log, "latency_ms<=90", stop="out_of_reach", stop_reason="no smaller network can be had"
    )
    said = list(sentences(rows, log))
    assert said[0].startswith("Within latency_ms<=90, compound buys the most MACs")
    assert "width" not in said[0]
    assert said[-1].startswith("Out of reach of width: efficientnet_b0/width/3 is at 105 ms")
    assert [row.standing for row in rows] == ["meets", "misses"]


def test_every_format_tells_the_same_rows_under_the_same_names() -> None:
    rows = solved_rows(family_log(), "latency_ms<=90", "peak_memory_bytes<=1GiB")
    told = json.loads(solutions.to_json(rows))
    assert [row["spec_id"] for row in told] == [f"efficientnet_b0/{name}/3" for name in ("compound", "width")]
    first = list(told[0])
    assert first[:9] == [
        *("strategy", "model", "phi", "spec_id", "budgets", "standing", "stop", "stop_reason", "iterations")
    ]
    assert {"latency_ms", "latency_ci_low_ms", "macs", "params", "ratio_to_base", "measuring_stop"} < set(
        first
    )
    assert [list(row) for row in csv.DictReader(io.StringIO(solutions.to_csv(rows)))] == [first] * 2
    header, _, *body = solutions.to_markdown(rows).splitlines()
    assert header.startswith(
        "| strategy | φ | model | latency_ms<=90 [95 %] | peak_memory_bytes<=1GiB [95 %] |"
    )
    assert [line.split(" | ")[5] for line in body] == ["meets", "misses"]


def write_log(path: Path, log: RunLog) -> Path:
    with RunWriter.create(path, log.header) as writer:
        writer.append(log.records)
    return path


def given_log(**workload: object) -> RunLog:
    """A run of this protocol on another machine."""
    used = Workload("cpu", threads=host.usable_cpus())
    used = msgspec.structs.replace(used, **workload)
    spec = make_spec("base", 0, depth=1, width=1, resolution=1)
    header = make_header(plan=make_plan("quick"), protocol=PROTOCOL_VERSION, host=HOST)
    return RunLog(header, (make_record(spec, workload=used),))


BUDGET = ["--budget", "latency_ms<=10"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], 'solve needs a budget: --budget "latency_ms<=10"'),
        (["--budget", "latency_ms<10"], "is not METRIC<=QUANTITY"),
        (["--budget", "latency<=10"], "did you mean 'latency_ms'?"),
        (["--budget", "latency_ms>=10"], "latency_ms is to be small"),
        (["--budget", "accuracy>=70"], "accuracy is not measured: leave it out"),
        (
            ["--device", "cpu", "--budget", "gpu_ms<=3"],
            "no model here has gpu_ms (it is measured on",
        ),
        (["--budget", "forward_ms<=3"], "only training has these parts (--mode train)"),
        (["--budget", "compile_s<=3"], "eager compiles nothing"),
        (
            [*BUDGET, "--strategy", "compound,published"],
            "--strategy published has rows and no φ between them",
        ),
        ([*BUDGET, "--strategy", "wide"], "unknown strategy 'wide'"),
        ([*BUDGET, "--phi", "3..0"], "--phi 3..0 is empty"),
        ([*BUDGET, "-m", "mobilenet_v9"], "unknown model 'mobilenet_v9'"),
        ([*BUDGET, "-b", "1,4"], "--batch-size 1,4: solve works on one workload, give one value"),
        ([*BUDGET, "-b", "max"], "--batch-size max: solve works on one workload"),
        ([*BUDGET, "--threads", "1,2"], "--threads 1,2: solve works on one workload"),
        ([*BUDGET, "--dtype", "fp32,bf16"], "--dtype fp32,bf16: solve works on one workload"),
        ([*BUDGET, "--runtime", "eager,compile"], "--runtime eager,compile: solve works on one workload"),
        (
            [*BUDGET, "--memory-format", "contiguous,channels_last"],
            "--memory-format contiguous,channels_last: solve works on one workload",
        ),
        ([*BUDGET, "--preset", "fast"], "unknown preset 'fast'"),
        ([*BUDGET, "-o", "thesis.txt"], "thesis.txt exists and is not a scaleprof run"),
        ([*BUDGET, "-o", "run.jsonl"], "run.jsonl exists: --overwrite replaces it, --run starts from it"),
        ([*BUDGET, "--overwrite"], "--overwrite needs the run that is meant"),
        ([*BUDGET, "--report", "thesis.txt"], "thesis.txt exists and is no html report"),
        ([*BUDGET, "--report", "x.html", "--no-report"], "exclude each other"),
        ([*BUDGET, "-o", "run.jsonl", "--run", "run.jsonl", "--overwrite"], "are one file"),
        (
            [*BUDGET, "--run", "run.jsonl", "--phi", "0..2"],
            "--phi 0..2 and --run run.jsonl exclude each other",
        ),
        ([*BUDGET, "--run", "none.jsonl"], "none.jsonl cannot be read"),
        ([*BUDGET, "--run", "thesis.txt"], "thesis.txt is not a scaleprof run"),
        (
            [*BUDGET, "--run", "batch.jsonl"],
            "with batch_size 7, this asks for 1: give --batch-size 7",
        ),
        (
            [*BUDGET, "--run", "bf16.jsonl"],
            "with dtype bf16, this asks for fp32: give --dtype bf16",
        ),
        ([*BUDGET, "--run", "run.jsonl"], "run.jsonl holds another efficientnet_b0/compound/0"),
        (
            [*BUDGET, "--run", "run.jsonl", "-m", "resnet18"],
            "holds no measured resnet18 for --strategy compound under these options",
        ),
    ],
)
def test_mistakes_are_one_line_and_exit_2_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work\n")
    write_log(tmp_path / "run.jsonl", given_log())
    write_log(tmp_path / "batch.jsonl", given_log(batch_size=7))
    write_log(tmp_path / "bf16.jsonl", given_log(dtype="bf16"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run_cli(["solve", "--device", "cpu", *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_of_another_protocol_is_no_starting_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_log(tmp_path / "old.jsonl", family_log())
    assert run_cli(["solve", *BUDGET, "--device", "cpu", "--run", str(path)]) == 6
    assert "was measured by protocol 1" in capsys.readouterr().err


def test_a_dry_run_tells_the_starting_curve_and_the_time_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["solve", *BUDGET, "--device", "cpu", "-m", "mobilenet_v2", "--strategy", "width,depth"]
    assert run_cli([*asked, "--phi", "1..2", "--dry-run", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert [row["spec_id"].removeprefix("mobilenet_v2/") for row in json.loads(out)] == [
        *("base/0", "width/1", "width/2", "depth/1", "depth/2")
    ]
    assert (
        "starting curve of 5 models (1 launch), then 1 to 6 iterations of up to 5 models (3 launches" in err
    )
    assert "on cpu: roughly" in err
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_fits_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["solve", *BUDGET, "--device", "cpu", "-b", "90000000", "--phi", "0", "--strategy", "width"]
    assert run_cli(asked) == 3
    assert "no model can be measured: needs about" in capsys.readouterr().err


class TimedBench(SimulatedBench):
    """Models take the times of a function, and fail where it raises."""

    def __init__(self, latency_s: Callable[[ModelSpec, int], float]) -> None:
        super().__init__({})
        self._of = latency_s

    def build(self, job: Job, *, inspect: bool) -> Built:
        self._of(job.spec, self.opened)
        return super().build(job, inspect=inspect)

    def visit(self, job: Job) -> Visited:
        return Visited((self._of(job.spec, self.opened),), (0.001,), (0.0005,), None)


class SimulatedLedger(Ledger):
    """Keeps what a simulated bench measures."""

    bench: TimedBench

    @contextmanager
    def open_bench(self, threads: int) -> Iterator[LocalBench]:
        with self.bench.open(threads):
            self._begin(HOST)
            yield self.bench  # type: ignore[misc]


def simulate(
    latency_s: Callable[[ModelSpec, int], float],
    budget: str,
    *,
    strategies: str = "depth,width",
    phi: str = "0..2",
    plan: Plan | None = None,
    folder: Path = Path(),
) -> tuple[list[SolvedRow], list[str], RunLog]:
    """Solve for resnet18 on a bench whose models take exactly `latency_s(spec, number of the part)`."""
    told: list[str] = []

    def watch(words: str, _part: SweepPlan) -> AbstractContextManager[Watcher]:
        told.append(words)
        return nullcontext(Watcher())

    def open_ledger(part: SweepPlan, watcher: Watcher) -> Ledger:
        ledger = SimulatedLedger(part, None, False, False, ("test",), watcher, folder)
        ledger.bench = TimedBench(latency_s)
        return ledger

    planned = plan_solve(
        choose("resnet18", strategies, phi), budget, plan=plan or SHORT, device="cpu", threads=1
    )
    solver = Solver(planned, open_ledger, watch)
    return solver.run(), told, solver.log()


def by_blocks_and_channels(spec: ModelSpec, _part: int = 0) -> float:
    """10 ms for resnet18, and as its blocks times its channels squared."""
    assert spec.shape is not None
    repeats, channels = spec.shape["stage_repeats"], spec.shape["stage_channels"]
    assert isinstance(repeats, tuple)
    assert isinstance(channels, tuple)
    return 0.01 * sum(repeats) / 8 * (sum(channels) / 960) ** 2


def test_a_latency_is_met_by_the_largest_network_and_all_answers_are_of_one_worker() -> None:
    rows, told, log = simulate(by_blocks_and_channels, "latency_ms<=25")
    depth, width = rows
    # 4 × 5 blocks of 1.25 ms are the bound itself, and no fewer come within 3 %.
    assert (depth.row.shape or {})["stage_repeats"] == (5, 5, 5, 5)
    assert (depth.stop, depth.standing, depth.row.latency_ms) == ("within_3_percent", "meets", 25)
    assert width.stop == "within_3_percent"
    assert 0.97 * 25 <= (width.row.latency_ms or 0) <= 25
    assert told[0] == "starting curve"
    assert told[1].startswith("iteration 1: depth φ 1.")
    assert len(told) <= 1 + MAX_ITERATIONS
    last = f"worker {len(told)}"
    records = {record.spec.spec_id: record for record in log.records}
    for spec_id in ("resnet18/base/0", depth.spec_id, width.spec_id):
        assert [launch.worker for launch in records[spec_id].launches] == [last]
    assert depth.row.ratio_to_base == pytest.approx(2.5)


def test_a_ratio_to_the_base_is_a_budget_however_fast_each_part_of_the_work_was() -> None:
    rows, _, _ = simulate(lambda spec, part: by_blocks_and_channels(spec) * (1 + part), "ratio_to_base<=2.5")
    assert (rows[0].row.shape or {})["stage_repeats"] == (5, 5, 5, 5)
    for row in rows:
        assert row.stop == "within_3_percent"
        assert row.row.ratio_to_base is not None
        assert 0.97 * 2.5 <= row.row.ratio_to_base <= 2.5 * (1 + 1e-6)


def test_what_was_measured_while_the_machine_was_slow_is_read_at_its_speed_of_now() -> None:
    rows, told, _ = simulate(
        lambda spec, part: by_blocks_and_channels(spec) * (1.5 if part == 2 else 1), "latency_ms<=25.1"
    )
    assert (rows[0].row.shape or {})["stage_repeats"] == (5, 5, 5, 5)
    assert [row.stop for row in rows] == ["within_3_percent"] * 2
    assert [row.row.latency_ms for row in rows] == pytest.approx([25, 25], rel=0.03)
    assert len(told) <= 5


def test_between_whole_layers_there_is_nothing_nearer() -> None:
    (row,), _, _ = simulate(by_blocks_and_channels, "latency_ms<=24", strategies="depth")
    assert (row.row.shape or {})["stage_repeats"] == (4, 4, 4, 4)
    assert (row.stop, row.row.latency_ms, row.standing) == ("no_network_between", 20, "meets")


def test_what_even_the_smallest_network_misses_is_out_of_reach_and_named() -> None:
    (row,), told, log = simulate(by_blocks_and_channels, "latency_ms<=2", strategies="depth", phi="0")
    assert (row.row.shape or {})["stage_repeats"] == (1, 1, 1, 1)
    assert (row.stop, row.standing, row.phi) == ("out_of_reach", "misses", -1)
    (said,) = sentences([row], log)
    assert said.startswith("Out of reach of depth: resnet18/depth/-1 is at 5.00 ms")
    assert said.endswith("and no smaller network can be had.")
    assert len(told) == 2


def test_what_runs_out_of_memory_is_too_large_and_the_search_goes_on_below() -> None:
    def limited(spec: ModelSpec, part: int) -> float:
        if (latency_s := by_blocks_and_channels(spec, part)) > 0.031:
            raise JobFailedError("oom", "no memory is left")
        return latency_s

    (row,), _, log = simulate(limited, "latency_ms<=100", strategies="depth")
    assert (row.row.shape or {})["stage_repeats"] == (6, 6, 6, 6)
    assert (row.stop, row.standing) == ("no_network_between", "meets")
    assert "oom" in {record.status for record in log.records}


def test_where_nothing_of_the_starting_curve_runs_a_smaller_model_is_tried() -> None:
    def limited(spec: ModelSpec, part: int) -> float:
        if (latency_s := by_blocks_and_channels(spec, part)) > 0.006:
            raise JobFailedError("oom", "no memory is left")
        return latency_s

    (row,), told, _ = simulate(limited, "latency_ms<=100", strategies="depth", phi="0")
    assert told[1] == "iteration 1: depth φ -1"
    assert (row.phi, row.stop, row.standing) == (-1, "no_network_between", "meets")


def test_where_nothing_runs_at_all_each_strategy_has_the_reason() -> None:
    def broken(_spec: ModelSpec, _part: int) -> float:
        raise JobFailedError("failed", "no such kernel")

    (row,), _, log = simulate(broken, "latency_ms<=100", strategies="depth", phi="0..1")
    assert (row.phi, row.stop, row.standing) == (None, "failed", None)
    assert row.stop_reason == "resnet18/depth/1 failed: no such kernel"
    assert list(sentences([row], log)) == [f"depth was not solved: {row.stop_reason}."]


def test_a_budget_on_what_no_model_has_is_told_after_the_starting_curve() -> None:
    with pytest.raises(UsageError, match=r"no model here has energy_j .*: leave it out"):
        simulate(by_blocks_and_channels, "energy_j<=1", strategies="depth", phi="0")


def test_a_proposal_that_fails_ends_its_strategy_with_the_reason() -> None:
    def broken(spec: ModelSpec, part: int) -> float:
        if spec.strategy == "depth" and part > 1:
            raise JobFailedError("failed", "no such kernel")
        return by_blocks_and_channels(spec, part)

    depth, width = simulate(broken, "latency_ms<=25")[0]
    assert (depth.stop, width.stop) == ("failed", "within_3_percent")
    assert depth.stop_reason.startswith("resnet18/depth/1.")
    assert depth.stop_reason.endswith("failed: no such kernel")


@pytest.mark.parametrize("seed", range(2))
def test_on_a_machine_whose_speed_wanders_nothing_beyond_the_bound_is_called_within(seed: int) -> None:
    rng = random.Random(seed)
    speeds = [math.exp(rng.gauss(0, 0.15)) for _ in range(20)]
    rows, told, log = simulate(
        lambda spec, part: by_blocks_and_channels(spec) * speeds[part], "latency_ms<=25"
    )
    assert len(told) <= 1 + MAX_ITERATIONS + 1
    records = {record.spec.spec_id: record for record in log.records}
    for row in rows:
        assert row.row.latency_ms is not None
        assert row.is_within == (row.row.latency_ms <= 25)
        assert row.standing == ("meets" if row.row.latency_ms <= 25 else "misses")
        assert row.stop != "within_3_percent" or 0.97 * 25 <= row.row.latency_ms <= 25
        assert records[row.spec_id].launches[-1].worker == f"worker {len(told)}"


def test_where_the_time_is_over_the_starting_curve_has_the_answer() -> None:
    plan = msgspec.structs.replace(SHORT, max_time_s=1e-6)
    rows, told, _ = simulate(by_blocks_and_channels, "latency_ms<=25", plan=plan)
    assert told == ["starting curve"]
    assert [(row.stop, row.phi, row.iterations) for row in rows] == [("out_of_time", 1, 0)] * 2


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Solution, list[str]]:
    """Real models of a tiny network, solved for MACs: the folder, the solution, and what was told."""
    folder = tmp_path_factory.mktemp("solved")
    (folder / "tiny.py").write_text(TINY_NET)
    told: list[str] = []
    planned = plan_solve(
        choose(f"{folder / 'tiny.py'}:build", ["width", "resolution"], (0, 3)),
        ["macs<=4M", "peak_memory_bytes<=1GiB"],
        plan=SHORT,
        device="cpu",
        threads=1,
    )

    def watch(words: str, _part: SweepPlan) -> AbstractContextManager[Watcher]:
        told.append(words)
        return nullcontext(Watcher())

    solution = run_solve(planned, output=folder / "run.jsonl", command=("test",), watch=watch)
    return folder, solution, told


def test_each_strategy_comes_to_the_largest_network_within_the_tightest_budget(
    solved: tuple[Path, Solution, list[str]],
) -> None:
    _, solution, _ = solved
    assert [row.strategy for row in solution.rows] == ["width", "resolution"]
    for row in solution.rows:
        assert row.standing == "meets"
        assert row.row.macs is not None
        assert row.row.macs <= 4e6
        assert row.stop in ("within_3_percent", "no_network_between")
        assert row.stop == "no_network_between" or row.row.macs >= (1 - TOLERANCE) * 4e6
        assert 1 <= row.iterations <= MAX_ITERATIONS
        assert row.phi is not None
        assert row.spec_id == f"tiny:build/{row.strategy}/{row.phi:.10g}"
        growth = row.row.depth * row.row.width**2 * row.row.resolution**2
        assert growth == pytest.approx(2**row.phi)


def test_the_answers_and_the_base_are_measured_in_the_same_rounds(
    solved: tuple[Path, Solution, list[str]],
) -> None:
    _, solution, _ = solved
    records = {record.spec.spec_id: record for record in solution.run.log.records}
    workers = {records[row.spec_id].launches[-1].worker for row in solution.rows}
    assert workers == {records["tiny:build/base/0"].launches[-1].worker}
    for row in solution.rows:
        assert row.row.ratio_to_base is not None
    start = records["tiny:build/width/3"]
    assert start.launches[-1].worker not in workers


def test_all_of_it_is_one_run_that_can_be_shown_and_reported(
    solved: tuple[Path, Solution, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, solution, told = solved
    assert told[0] == "starting curve"
    assert told[1].startswith("iteration 1: width φ ")
    log = read_run(folder / "run.jsonl")
    assert {record.key for record in log.records} == {record.key for record in solution.run.log.records}
    assert (log.header.plan, log.header.command) == (SHORT, ("test",))
    assert len({record.spec.spec_id for record in log.records}) == len(log.records)
    page = sp.report(solution.run, folder / "page.html", budget="latency_ms<=1000")
    assert page.stat().st_size > 1_000_000
    assert run_cli(["show", str(folder / "run.jsonl"), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(log.records)


AGAIN = ["--device", "cpu", "--threads", "1", "--budget", "macs<=4M", "--strategy", "width"]


def test_a_given_run_is_the_starting_curve_and_its_rows_are_in_the_new_run(
    solved: tuple[Path, Solution, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(solved[0] / "tiny.py", tmp_path / "tiny.py")
    run = ["--run", str(solved[0] / "run.jsonl"), "-o", "new.jsonl", "--preset", "quick", "--format", "json"]
    code = run_cli(["solve", "-m", "tiny.py:build", *AGAIN, *run])
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert code == 0 or row["status"] == "unstable", err
    assert (row["strategy"], row["standing"], row["iterations"]) == ("width", "meets", 0)
    assert row["latency_ms"] > 0
    assert row["ratio_to_base"] > 0
    assert "iteration 1: the answers once more" in err
    assert "Within macs<=4M, width buys the most MACs (capacity proxy) of tiny:build" in err
    assert "run: new.jsonl\nreport: reports/new.html\n" in err
    assert err.endswith("1 of 1 strategy solved\n")
    kept = {record.spec.spec_id for record in read_run(tmp_path / "new.jsonl").records}
    assert {"tiny:build/base/0", "tiny:build/width/3"} < kept
    assert not any("/resolution/" in name for name in kept)


def test_a_given_run_of_another_machine_is_refused_before_anything_is_written(
    solved: tuple[Path, Solution, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    log = read_run(solved[0] / "run.jsonl")
    other = msgspec.structs.replace(log.header.host, cpu_model="Test CPU")
    write_log(tmp_path / "other.jsonl", RunLog(msgspec.structs.replace(log.header, host=other), log.records))
    shutil.copy(solved[0] / "tiny.py", tmp_path / "tiny.py")
    run = ["--run", "other.jsonl", "-o", "new.jsonl"]
    assert run_cli(["solve", "-m", "tiny.py:build", *AGAIN, *run]) == 6
    err = capsys.readouterr().err
    assert "other.jsonl was measured with cpu_model Test CPU, this is" in err
    assert "leave out --run" in err
    assert not (tmp_path / "new.jsonl").exists()


def test_a_builder_that_has_changed_since_is_refused(
    solved: tuple[Path, Solution, list[str]], tmp_path: Path
) -> None:
    (tmp_path / "tiny.py").write_text(TINY_NET.replace("channels(16)", "channels(24)"))
    with pytest.raises(UsageError, match="holds another tiny:build/width/3"):
        plan_solve(
            choose(f"{tmp_path / 'tiny.py'}:build", ["width"], 0),
            "macs<=4M",
            given=solved[0] / "run.jsonl",
            device="cpu",
            threads=1,
        )


def test_an_interrupted_solve_keeps_what_was_measured_whole_and_exits_130(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY_NET)
    command = ["solve", "-m", "tiny.py:build", "--strategy", "width", "--phi", "0", "--device", "cpu"]
    command += [
        "--threads",
        "1",
        "--budget",
        "macs<=4M",
        "--preset",
        "quick",
        "-o",
        "run.jsonl",
        "--no-report",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "scaleprof", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        start_new_session=True,
    )
    assert process.stderr is not None
    said = ""
    while "iteration 1: width φ" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    time.sleep(1)  # a worker is starting, or measures
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, said + err
    assert "what was measured is in run.jsonl" in err
    assert "--run run.jsonl" in err
    (base, *_) = [r for r in read_run(tmp_path / "run.jsonl").records if r.spec.strategy == "base"]
    assert base.launches[0].complete


def test_python_solves_by_one_call_and_its_names_are_public() -> None:
    assert {"solve", "Solution"} <= set(sp.__all__)
    with pytest.raises(UsageError, match="solve works on one workload"):
        sp.solve("mobilenet_v2", budget="latency_ms<=40", batch_size=[1, 2], device="cpu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has rows and no φ between them"):
        sp.solve(budget="latency_ms<=40", strategies="published", device="cpu")

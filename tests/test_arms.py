"""Two arms of a check: turns in random order, real processes on this CPU, and what may go wrong in them."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from check_builders import (
    function_target,
    make_repository,
    make_request,
    model_target,
    network_source,
    worktrees_of,
    write_files,
)

from scaleprof.app.comparing_arms import compare_revisions
from scaleprof.app.pair_loop import CheckWatcher, PairLoop, Wanted
from scaleprof.engines.arm_rounds import PairLostError, Rounds, run_rounds
from scaleprof.engines.arms import Place, TargetFaultError, arm_environment
from scaleprof.errors import UsageError
from scaleprof.measuring.arm_messages import TargetBuilt
from scaleprof.measuring.rounds import BenchLostError
from scaleprof.records import (
    Arm,
    ArmTimes,
    CheckedTarget,
    CheckLog,
    CheckPair,
    CheckRound,
    CheckTarget,
    ExactCost,
    PairTarget,
)
from scaleprof.reporting.checks_rules import Rules

A, B = model_target("a.py:build"), model_target("b.py:build")


class SimulatedArm:
    """An arm whose forwards take what they are told to; it notes what it was asked for."""

    def __init__(self, arm: Arm, asked: list[tuple[Arm, str, int]], pass_s: float = 0.01) -> None:
        self._arm = arm
        self._asked = asked
        self._pass_s = pass_s
        self.fails: Mapping[str, Exception] = {}

    def build(self, target: CheckTarget) -> TargetBuilt:
        return TargetBuilt(self._pass_s, 1000)

    def settle(self) -> None:
        self._asked.clear()

    def time(self, target: CheckTarget, forwards: int) -> ArmTimes:
        self._asked.append((self._arm, target.name, forwards))
        if target.name in self.fails:
            raise self.fails[target.name]
        return ArmTimes((self._pass_s,) * forwards)


def simulated_rounds(
    seed: int = 0, before_s: float = 0.01, after_s: float = 0.01
) -> tuple[Rounds, dict[Arm, SimulatedArm], list[tuple[Arm, str, int]]]:
    asked: list[tuple[Arm, str, int]] = []
    arms: dict[Arm, SimulatedArm] = {
        "before": SimulatedArm("before", asked, before_s),
        "after": SimulatedArm("after", asked, after_s),
    }
    return Rounds(arms, [A, B], random.Random(seed)), arms, asked


def test_models_and_arms_take_turns_in_random_order_that_a_seed_repeats() -> None:
    orders = []
    for seed in (1, 1, 2):
        rounds, _, asked = simulated_rounds(seed)
        measured = run_rounds(rounds, 200, lambda _done: None)
        orders.append(list(asked))
        of_a = next(target.rounds for target in measured if target.target == A.name)
        assert 70 < sum(each.first == "before" for each in of_a) < 130
        first_models = [name for _, name, _ in asked[::4]]
        assert 70 < first_models.count(A.name) < 130
    assert orders[0] == orders[1] != orders[2]


def test_both_arms_of_a_model_run_one_right_after_the_other_in_every_round() -> None:
    rounds, _, asked = simulated_rounds()
    run_rounds(rounds, 10, lambda _done: None)
    turns = [tuple(asked[place : place + 2]) for place in range(0, len(asked), 2)]
    assert len(turns) == 20
    assert all(one[1] == other[1] and {one[0], other[0]} == {"before", "after"} for one, other in turns)


@pytest.mark.parametrize(
    ("before_s", "after_s", "forwards"), [(0.012, 0.013, 2), (0.099, 0.098, 2), (0.099, 0.101, 1), (3, 3, 1)]
)
def test_two_forwards_a_turn_but_one_of_what_takes_longer_than_a_tenth_of_a_second(
    before_s: float, after_s: float, forwards: int
) -> None:
    rounds, _, asked = simulated_rounds(before_s=before_s, after_s=after_s)
    run_rounds(rounds, 10, lambda _done: None)
    assert {count for _, _, count in asked} == {forwards}


def test_a_model_that_fails_is_out_and_the_others_go_on() -> None:
    rounds, arms, _ = simulated_rounds()
    arms["after"].fails = {A.name: TargetFaultError("after", "RuntimeError: no")}
    (measured,) = run_rounds(rounds, 10, lambda _done: None)
    assert (measured.target, len(measured.rounds)) == (B.name, 10)
    assert (rounds.faults[A.name].arm, rounds.faults[A.name].reason) == ("after", "RuntimeError: no")


def test_a_lost_process_ends_the_pair_and_names_the_model_in_hand() -> None:
    rounds, arms, _ = simulated_rounds()
    arms["before"].fails = {B.name: BenchLostError("killed", "the worker was ended by SIGKILL")}
    with pytest.raises(PairLostError) as lost:
        run_rounds(rounds, 10, lambda _done: None)
    assert (lost.value.target, lost.value.fault.arm) == (B.name, "before")


def simulated_pair(number: int, names: Mapping[str, float]) -> CheckPair:
    """A pair in which each model is slower by this share, and noise is the same everywhere."""
    rng = random.Random(number)
    targets = [
        PairTarget(
            name,
            tuple(
                CheckRound(
                    place,
                    "before",
                    ArmTimes((0.01,)),
                    ArmTimes((0.01 * (1 + slower) * rng.uniform(0.99, 1.01),)),
                )
                for place in range(30)
            ),
        )
        for name, slower in names.items()
    ]
    return CheckPair(number, 0, "2026-01-01T00:00:00+00:00", (0,), (0, 0), tuple(targets))


class SimulatedPairs:
    """Measures simulated pairs, each a minute long, and notes which models were wanted."""

    def __init__(self, slower: Mapping[str, float]) -> None:
        self.slower = slower
        self.wanted: list[Wanted] = []
        self.lost: Callable[[Wanted], str | None] = lambda _wanted: None
        self.now_s = 0.0

    def measure(self, wanted: Wanted) -> tuple[CheckPair | None, Mapping[str, TargetFaultError]]:
        self.now_s += 60.0
        self.wanted.append(wanted)
        name = self.lost(wanted)
        if name is not None:
            raise PairLostError(name, TargetFaultError("after", "the worker was ended by SIGKILL"))
        return simulated_pair(wanted.number, {one.name: self.slower[one.name] for one in wanted.targets}), {}

    def loop(self, *, ends_s: float | None = None, all_looks: bool = False) -> PairLoop:
        return PairLoop(
            targets=[CheckedTarget(target) for target in (A, B)],
            labels={"before": "HEAD~1 (1a2b3c4)", "after": "working tree"},
            limits=Rules(),
            tau_0=0.015,
            measure=self.measure,
            watcher=CheckWatcher(),
            clock=lambda: self.now_s,
            ends_s=ends_s,
            all_looks=all_looks,
        )

    def models(self) -> list[set[str]]:
        return [{target.name for target in wanted.targets} for wanted in self.wanted]


def test_a_decided_model_is_not_measured_in_later_pairs() -> None:
    pairs = SimulatedPairs({A.name: 0.5, B.name: 0.02})
    pairs.loop().run()
    assert pairs.models()[:3] == [{A.name, B.name}] * 3
    assert len(pairs.wanted) > 3
    assert all(models == {B.name} for models in pairs.models()[3:])


def test_a_check_ends_when_all_is_decided_unless_all_looks_are_wanted() -> None:
    pairs = SimulatedPairs({A.name: 0.5, B.name: -0.5})
    assert pairs.loop().run() == "decided"
    assert len(pairs.wanted) == 3
    pairs = SimulatedPairs({A.name: 0.5, B.name: -0.5})
    assert pairs.loop(all_looks=True).run() == "decided"
    assert pairs.models() == [{A.name, B.name}] * 12


@pytest.mark.parametrize(("ends_s", "count"), [(0, 1), (119, 1), (120, 2), (200, 3)])
def test_no_pair_is_begun_that_would_end_too_late(ends_s: float, count: int) -> None:
    pairs = SimulatedPairs({A.name: 0.02, B.name: 0.02})
    assert pairs.loop(ends_s=ends_s).run() == "time"
    assert len(pairs.wanted) == count


def test_a_lost_pair_is_begun_again_without_the_model_that_was_in_hand() -> None:
    pairs = SimulatedPairs({A.name: 0.5, B.name: 0.5})
    pairs.lost = lambda wanted: A.name if (wanted.number, wanted.attempt) == (2, 0) else None
    loop = pairs.loop()
    assert loop.run() == "decided"
    assert pairs.models() == [{A.name, B.name}] * 2 + [{B.name}] * 2
    assert [pair.pair for pair in loop.pairs] == [1, 2, 3]
    reasons = {checked.target.name: checked.invalid for checked in loop.targets}
    assert reasons == {A.name: "working tree: the worker was ended by SIGKILL", B.name: None}


def test_where_processes_are_lost_again_nothing_was_measured() -> None:
    pairs = SimulatedPairs({A.name: 0.5, B.name: 0.5})
    pairs.lost = lambda wanted: wanted.targets[0].name
    loop = pairs.loop()
    assert loop.run() == "failed"
    assert len(pairs.wanted) == 2
    assert loop.pairs == []
    assert all("SIGKILL" in str(checked.invalid) for checked in loop.targets)


def make_place(root: Path, person_root: Path) -> Place:
    return Place("HEAD", root, person_root, root, Path(sys.executable), root)


def test_an_arm_finds_its_own_tree_first_and_never_the_persons(tmp_path: Path) -> None:
    (tmp_path / "revision/src").mkdir(parents=True)
    place = make_place(tmp_path / "revision", tmp_path / "mine")
    parent = {"PYTHONPATH": f"{tmp_path}/mine/lib:{tmp_path}/other:", "HOME": "/h"}
    path = arm_environment(parent, place, 1)["PYTHONPATH"].split(":")
    revision = str(tmp_path / "revision")
    assert path[:4] == [revision, f"{revision}/src", f"{revision}/lib", f"{tmp_path}/other"]
    assert not any(entry.startswith(str(tmp_path / "mine")) for entry in path)


def test_arms_differ_by_padding_that_no_setting_of_ours_is_named_like(tmp_path: Path) -> None:
    place = make_place(tmp_path, tmp_path)
    short, long = (arm_environment({}, place, 1, padding) for padding in (3, 3000))
    differing = [name for name in long if long[name] != short[name]]
    assert len(differing) == 1
    assert not differing[0].startswith("SCALEPROF_")
    assert len(long[differing[0]]) == 3000


# A network that ends its own process with a signal while it is timed: garbage is collected at other times.
KILLED = """
import gc, os, signal
from torch import nn


class Network(nn.Linear):
    def forward(self, x):
        if {kills} and not gc.isenabled():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def build(scale):
    return Network(8, 8)


def example_inputs(scale, batch_size):
    import torch
    return torch.randn(batch_size, 8)
"""
FUNCTIONS = """
import torch
from torch import nn


def network():
    return nn.Linear(8, 4), {{"input": torch.randn(2, 8)}}


def plain():
    weight = torch.randn(8, {width})
    return lambda x: x @ weight, (torch.randn(1, 8),)
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> CheckLog:
    """One pair of a check with a bit of everything; the working tree has changes that are not committed."""
    folder = make_repository(
        tmp_path_factory.mktemp("compared") / "repository",
        {
            "src/nets/__init__.py": "",
            "src/nets/functions.py": FUNCTIONS.format(width=4),
            "bench/net.py": network_source(),
            "bench/killed.py": KILLED.format(kills=False),
        },
        {"README.md": "nothing that matters"},
    )
    write_files(
        folder,
        {
            "src/nets/functions.py": FUNCTIONS.format(width=6),
            "bench/net.py": network_source(bias=False),
            "bench/killed.py": KILLED.format(kills=True),
            "bench/new.py": network_source(),
        },
    )
    targets = (
        model_target("net.py:build"),
        model_target(str(folder / "bench/net.py:build"), "width", 2.0),
        function_target("nets.functions:network"),
        function_target("nets.functions:plain"),
        model_target("killed.py:build"),
        model_target("new.py:build"),
    )
    log = compare_revisions(make_request(folder / "bench", *targets))
    assert worktrees_of(folder) == []
    return log


def checked_target(log: CheckLog, name: str) -> CheckedTarget:
    return next(checked for checked in log.targets if checked.target.name == name)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("net:build/base/0", (256, 272, 16), (256, 256, 16)),
        ("net:build/width/2", (1024, 1056, 32), (1024, 1024, 32)),
        ("nets.functions:network", (64, 36, 8), (64, 36, 8)),
        ("nets.functions:plain", (32, 0, 4), (48, 0, 6)),
    ],
)
def test_each_arm_is_counted_by_its_own_code(
    compared: CheckLog, name: str, before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    checked = checked_target(compared, name)

    def numbers(cost: ExactCost | None) -> tuple[int, int, int] | None:
        return None if cost is None else (cost.macs, cost.params, cost.activations)

    assert (numbers(checked.before), numbers(checked.after)) == (before, after)
    assert checked.invalid is None


def test_operators_are_told_by_name_and_calls(compared: CheckLog) -> None:
    checked = checked_target(compared, "net:build/base/0")
    assert checked.before is not None
    assert checked.after is not None
    assert (checked.before.operators, checked.after.operators) == ({"addmm": 1}, {"mm": 1})


def test_what_a_model_needs_that_the_revision_lacks_is_absent(compared: CheckLog) -> None:
    checked = checked_target(compared, "new:build/base/0")
    assert (checked.absent, checked.invalid_arm) == (True, "before")
    assert checked.invalid is not None
    assert "HEAD~1 (" in checked.invalid
    assert "there is no file new.py" in checked.invalid
    assert checked.after is not None


def test_a_process_killed_in_mid_check_costs_only_the_model_in_hand(compared: CheckLog) -> None:
    checked = checked_target(compared, "killed:build/base/0")
    assert (checked.invalid_arm, checked.absent) == ("after", False)
    assert checked.invalid is not None
    assert checked.invalid.startswith("working tree: the worker was ended by SIGKILL")
    assert compared.notes == ("pair 1 was begun again, since a process was lost in it",)


def test_a_pair_holds_every_round_of_both_arms(compared: CheckLog) -> None:
    (pair,) = compared.pairs
    assert compared.ended == "time"
    assert len(pair.cpus) == 1
    assert pair.paddings[0] != pair.paddings[1]
    assert {target.target for target in pair.targets} == {
        "net:build/base/0",
        "net:build/width/2",
        "nets.functions:network",
        "nets.functions:plain",
    }
    for target in pair.targets:
        assert [each.round for each in target.rounds] == list(range(10))
        assert {len(each.before.samples_s) + len(each.after.samples_s) for each in target.rounds} == {4}
        assert all(each.after.involuntary_switches is not None for each in target.rounds)
        assert target.before_peak_memory_bytes is None or target.before_peak_memory_bytes > 0


def test_the_header_tells_what_the_arms_are(compared: CheckLog) -> None:
    before, after = compared.header.before, compared.header.after
    assert before.label == f"HEAD~1 ({str(before.revision)[:7]})"
    assert (after.label, before.changed_files, after.changed_files) == ("working tree", 0, 3)
    assert after.revision != before.revision
    assert before.packages == after.packages
    assert "torch" in before.packages


def test_a_revision_that_does_not_build_is_told_with_the_line(tmp_path: Path) -> None:
    broken = {"net.py": network_source(extra="raise KeyError('stem')")}
    folder = make_repository(tmp_path / "repository", broken, {"net.py": network_source()})
    log = compare_revisions(make_request(folder))
    (target,) = log.targets
    assert re.fullmatch(
        r"HEAD~1 \(\w+\): net.py:build raised KeyError .*stem.*\(net.py:8\)", str(target.invalid)
    )
    assert (log.ended, log.pairs) == ("failed", ())
    assert worktrees_of(folder) == []


def test_one_model_that_does_not_load_is_invalid_beside_others(tmp_path: Path) -> None:
    broken = {
        "syntax.py": "import torch\ndef build(scale) return 1\n",
        "importing.py": "import torch\nimport no_such_module_here\n",
        "exiting.py": "import os\nos._exit(7)\n",
    }
    whole = {"net.py": network_source()}
    folder = make_repository(tmp_path / "repository", broken | whole, dict.fromkeys(broken, network_source()))
    targets = [model_target(f"{name}:build") for name in (*broken, "net.py")]
    log = compare_revisions(make_request(folder, *targets, exact_only=True))
    syntax, importing, exiting, net = (checked.invalid for checked in log.targets)
    assert syntax is not None
    assert "SyntaxError" in syntax
    assert "line 2)" in syntax
    assert importing is not None
    assert "no_such_module_here" in importing
    assert "(importing.py:2)" in importing
    assert exiting is not None
    assert "the worker ended with code 7" in exiting
    assert net is None
    assert not any(checked.absent for checked in log.targets)


def test_code_that_is_not_of_the_revision_is_no_comparison(tmp_path: Path) -> None:
    """An installed copy is the same in both arms, and so is what a path leads to in the person's tree."""
    folder = tmp_path / "repository"
    stray = f"import sys; sys.path.append({str(folder / 'lib')!r}); import helper\n{network_source()}"
    files = {"stray.py": stray, "lib/helper.py": "", "net.py": network_source()}
    make_repository(folder, files, {"net.py": network_source(bias=False)})
    targets = [function_target("json.decoder:JSONDecoder"), model_target("stray.py:build"), model_target()]
    log = compare_revisions(make_request(folder, *targets, model_target("resnet18"), exact_only=True))
    installed, stray_target, own, family = log.targets
    assert installed.invalid is not None
    assert "an installed copy is the same in both arms" in installed.invalid
    assert stray_target.invalid is not None
    assert "helper was imported from the working tree" in stray_target.invalid
    assert own.invalid is None
    assert family.invalid is None
    assert log.notes == ("resnet18/base/0 is no code of this repository: it is the same in both arms",)
    assert (log.ended, log.pairs) == ("exact", ())


def test_where_every_model_is_new_there_is_a_log_without_pairs(tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "repository", {"a.txt": ""}, {"net.py": network_source()})
    log = compare_revisions(make_request(folder))
    assert log.targets[0].absent
    assert (log.ended, log.pairs) == ("exact", ())


def test_requests_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="9 rounds are too few to compare by: at least 10"):
        compare_revisions(make_request(tmp_path, rounds=9))
    with pytest.raises(UsageError, match="two targets are called net:build/base/0"):
        compare_revisions(make_request(tmp_path, model_target(), model_target()))


INTERRUPTED = """
import signal, sys
from pathlib import Path
from check_builders import make_request
from scaleprof.app.comparing_arms import CheckWatcher, compare_revisions

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs have it ignored
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line has it


class Told(CheckWatcher):
    def round_ended(self, pair, done, rounds):
        if done == 1:
            print("timing", flush=True)


try:
    compare_revisions(make_request(Path(sys.argv[1]), rounds=1_000_000), Told())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_no_worktree_and_no_process(
    tmp_path: Path, ending: signal.Signals
) -> None:
    folder = make_repository(tmp_path / "repository", {"net.py": network_source()}, {})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    search_path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": search_path},
    ) as check:
        assert check.stdout is not None
        assert check.stdout.readline() == b"timing\n"
        assert len(worktrees_of(folder)) == 1
        started = processes_that_mention(temporary)
        assert len(started) >= 2
        check.send_signal(ending)
        assert check.wait() == 130
    assert worktrees_of(folder) == []
    assert list(temporary.iterdir()) == []
    assert not any(is_running(pid) for pid in started)


def processes_that_mention(folder: Path) -> list[int]:
    """Processes with this folder's path in their environment, other than this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            mentions = str(folder).encode() in entry.read_bytes()
        except OSError:
            continue
        if mentions and b"ARM_PADDING" in entry.read_bytes():
            found.append(int(entry.parent.name))
    return found


def is_running(pid: int, patience_s: float = 5.0) -> bool:
    """Whether a process is there and no zombie, after a while."""
    for _ in range(int(patience_s / 0.1)):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True

"""How often `scaleprof check` is right: `python benchmarks/gate.py record FILE --pairs N`, then `table FILE`.

`record` times three networks of about 12 ms as a check would: pairs of fresh processes that take turns, by
scaleprof's own arms. In the arm before, each network stands as it is; in the arm after it stands five times,
with 0, 2, 3, 5 and 10 % of real work more: products of a part of its input with a matrix, as many as make
this share of its time. All are in the same pairs, in rounds of random order, and see the same noise. How
long a product takes inside a network is found first, in one process that runs the same network with and
without them in turns. Each pair is appended to FILE when it is there; the same command goes on with a file.
With `--changes 0` further pairs hold the unchanged networks alone, with `--changes 0 5` those and one change:
false alarms are rare, and it takes many pairs to count them.

`table` draws checks from what was recorded, and prints how often each network is called slower: by
scaleprof's rule, and by those of other tools on the same samples (`benchmarks/gate_rates.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import torch
from gate_networks import NETWORKS, WithWork, build
from gate_rates import alarms_as_text, as_text
from gate_recording import CHANGES, Header, Pair, Recording, target_name
from tables import describe_machine, write_between

from scaleprof.engines.arm_rounds import Rounds, run_rounds
from scaleprof.engines.arms import ARMS, Place, draw_paddings, open_arms
from scaleprof.measuring.cpus import quietest_cpus
from scaleprof.records import Arm, CheckTarget, PairTarget, Workload
from scaleprof.stats.effects import ROUNDS, TAU_0, pseudo_median

CALIBRATION_ROUNDS = 150
CALIBRATED_BY = 120  # products: about 10 %
TIMEOUT_S = 300.0


def read(path: Path) -> Recording | None:
    """What a file holds; a last line that was torn is cut off. None if there is no file yet."""
    if not path.exists():
        return None
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        path.write_bytes(whole + b"\n" if whole else b"")
    header, *pairs = whole.split(b"\n") if whole else [b""]
    if not header:
        return None
    return Recording(
        msgspec.json.decode(header, type=Header), [msgspec.json.decode(line, type=Pair) for line in pairs]
    )


def append(path: Path, line: Header | Pair) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def calibrate() -> dict[str, int]:
    """For each target the products that make its share of the network's time."""
    allowed = os.sched_getaffinity(0)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, quietest_cpus(1, 1.0))
    try:
        shares = {name: share_of_a_product(name) for name in NETWORKS}
    finally:
        os.sched_setaffinity(0, allowed)
    return {
        target_name(name, change): round(change / 100 / share)
        for name, share in shares.items()
        for change in CHANGES
    }


def share_of_a_product(name: str) -> float:
    network, inputs = build(name, 0)
    rng = random.Random(0)
    logs = []
    for _ in range(CALIBRATION_ROUNDS):
        order = [0, CALIBRATED_BY]
        rng.shuffle(order)
        times_s = {products: timed(network, inputs, products) for products in order}
        logs.append(times_s[CALIBRATED_BY] / times_s[0] - 1)
    return pseudo_median(logs) / CALIBRATED_BY


@torch.inference_mode()
def timed(network: WithWork, inputs: torch.Tensor, products: int) -> float:
    """The quicker of two forwards in seconds."""
    network.products = products
    times_s = []
    for _ in range(2):
        began_s = time.perf_counter()
        network(inputs)
        times_s.append(time.perf_counter() - began_s)
    return min(times_s)


def make_places(folder: Path, products: dict[str, int]) -> dict[Arm, Place]:
    """A folder for each arm, which differ by nothing but the work of the one after."""
    places: dict[Arm, Place] = {}
    for arm in ARMS:
        root, cache = folder / arm, folder / f"{arm}-cache"
        root.mkdir()
        cache.mkdir()
        shutil.copy(Path(__file__).with_name("gate_networks.py"), root)
        work = products if arm == "after" else {}
        (root / "extra_work.json").write_text(json.dumps(work), encoding="utf-8")
        places[arm] = Place(arm, root, root, root, Path(sys.executable), cache)
    return places


def record_pair(number: int, places: dict[Arm, Place], names: Sequence[str], rounds: int) -> Pair:
    rng = random.Random(f"gate/{number}")
    workload = Workload("cpu", threads=1)
    targets = [CheckTarget(name, workload, function=f"gate_networks:{name}") for name in names]
    cpus = quietest_cpus(1, 1.0)
    paddings = dict(zip(ARMS, draw_paddings(rng), strict=True))
    stamps_s = [time.monotonic()]
    with open_arms(places, targets, paddings=paddings, cpus=cpus, timeout_s=TIMEOUT_S) as arms:
        stamps_s.append(time.monotonic())
        turns = Rounds(arms, targets, rng)
        measured = run_rounds(
            turns, rounds, lambda done: stamps_s.append(time.monotonic()) if done in (0, rounds) else None
        )
    for fault in turns.faults.values():
        raise SystemExit(f"a network failed in the arm {fault.arm}: {fault.reason}")
    opened_s, built_s, timed_s = (round(b - a, 3) for a, b in pairwise(stamps_s))
    return Pair(number, cpus, opened_s, built_s, timed_s, *times_ns(measured))


def times_ns(measured: Sequence[PairTarget]) -> list[dict[str, list[list[int]]]]:
    """Each arm's forwards of each round, before and after, in nanoseconds."""
    return [
        {
            one.target: [
                [round(sample_s * 1e9) for sample_s in getattr(turn, arm).samples_s] for turn in one.rounds
            ]
            for one in measured
        }
        for arm in ARMS
    ]


def record(path: Path, pairs: int, rounds: int, changes: Sequence[int]) -> None:
    recording = read(path)
    if recording is None:
        recording = Recording(Header(describe_machine(), rounds, calibrate()), [])
        append(path, recording.header)
    header = recording.header
    names = [target_name(network, change) for network in recording.networks for change in changes]
    with TemporaryDirectory(prefix="scaleprof-gate-") as folder:
        places = make_places(Path(folder), header.products)
        for number in range(len(recording.pairs), pairs):
            pair = record_pair(number, places, names, header.rounds)
            append(path, pair)
            spent_s = pair.opened_s + pair.built_s + pair.timed_s
            print(f"pair {number + 1} of {pairs}: {spent_s:.0f} s", file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    recorder = verbs.add_parser("record", help="time pairs of processes until the file holds so many")
    recorder.add_argument("file", type=Path)
    recorder.add_argument("--pairs", type=int, default=60)
    recorder.add_argument("--rounds", type=int, default=ROUNDS, help="of each pair, in a new file")
    recorder.add_argument(
        "--changes",
        type=int,
        nargs="+",
        choices=CHANGES,
        default=CHANGES,
        help="that further pairs hold, 0 among them",
    )
    table = verbs.add_parser("table", help="print how often each rule calls a network slower")
    table.add_argument("file", type=Path)
    table.add_argument("--write", type=Path, metavar="PAGE", help="put it between PAGE's marks, too")
    table.add_argument("--pair-noise", type=float, default=TAU_0, help="judge as with this, a share")
    table.add_argument("--after", type=int, default=0, help="false alarms alone, without so many first pairs")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.verb == "record":
        record(options.file, options.pairs, options.rounds, sorted({0, *options.changes}))
        return
    recording = read(options.file)
    if recording is None:
        raise SystemExit(f"{options.file} holds no recording: make one with gate.py record")
    if options.after:
        print(alarms_as_text(recording.after(options.after), tau_0=options.pair_noise))
        return
    text = as_text(recording, tau_0=options.pair_noise)
    print(text)
    if options.write:
        write_between("gate", text, options.write)


if __name__ == "__main__":
    main()

"""How long the command line takes to answer: `python benchmarks/startup.py`.

Prints the median and the interval of the median of 21 fresh processes of `scaleprof --help`, beside an
interpreter that does nothing, interleaved. Wanted: help within 0.25 s.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from scaleprof.stats.intervals import median_interval

REPEATS = 21
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "scaleprof --help": [sys.executable, "-m", "scaleprof", "--help"],
    "scaleprof models": [sys.executable, "-m", "scaleprof", "models"],
}


def seconds(command: list[str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


def main() -> None:
    times_s: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(REPEATS):
        for name, command in COMMANDS.items():
            times_s[name].append(seconds(command))
    for name, values in times_s.items():
        interval = median_interval(values)
        brackets = f"[{interval.low:.3f}–{interval.high:.3f}]" if interval else ""
        print(f"{name:20} {median(values):.3f} s {brackets}")


if __name__ == "__main__":
    main()

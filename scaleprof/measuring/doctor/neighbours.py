"""Who else uses this machine's CPUs: load, pressure, busy processes, the virtual machine's host.

The look takes a second in which this process sleeps, so that it does not see itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from scaleprof.measuring.doctor.finding import UNTOLD, Finding, fine, percent, printable, unknown, warn
from scaleprof.measuring.kernel_files import cpu_pressure, read_text
from scaleprof.units import plural

LOOK_S = 1.0

# Per CPU: a load of a quarter means that a core is asked for by others a quarter of the time.
_LOAD_A_CPU = 0.25
_PRESSURE = 0.05
# Of one CPU: a clock tick is a hundredth of a second, so less cannot be told from nothing.
_BUSY_CPUS = 0.05
_HIDDEN_CPUS = 0.2
_STEAL = 0.005
_SHOWN_PROCESSES = 3
_STOP_THEM = "stop them, or wait until they are done"


class BusyProcess(msgspec.Struct, frozen=True):
    """Another process, and how many CPUs it kept busy during the look."""

    pid: int
    name: str
    cpus: float


class NeighbourFacts(msgspec.Struct, frozen=True):
    """What the kernel tells of other work; None where it does not.

    `cpu_pressure`: share of the last ten seconds in which some task waited for a CPU. `hidden_cpus`: CPUs in
    use during the look that no process visible from here accounts for. Steal is a share of CPU time.
    """

    cpus: int
    load_1m: float | None = None
    cpu_pressure: float | None = None
    busy: tuple[BusyProcess, ...] | None = None
    hidden_cpus: float | None = None
    steal_now: float | None = None
    steal_since_start: float | None = None
    virtual: bool | None = None
    virtual_name: str | None = None


class _Glance(NamedTuple):
    """CPU time since start-up in clock ticks: of all, of those at work, stolen; and of each process."""

    total: int
    working: int
    stolen: int
    processes: dict[int, tuple[str, int]]


def read_neighbours(
    cpus: int,
    root: Path = Path("/"),
    *,
    pause: Callable[[float], None] = time.sleep,
    own_pid: int | None = None,
) -> NeighbourFacts:
    """The facts, from procfs and sysfs below `root`, on a machine of so many CPUs."""
    load, pressure = _load(root), cpu_pressure(root)  # before the look: they are of the past
    before = _glance(root)
    pause(LOOK_S)
    after = _glance(root)
    virtual, virtual_name = _virtual(root)
    facts = NeighbourFacts(
        cpus, load, pressure, steal_since_start=_steal(after), virtual=virtual, virtual_name=virtual_name
    )
    if before is None or after is None or after.total <= before.total:
        return facts
    elapsed = after.total - before.total
    used = {pid: now - before.processes.get(pid, ("", 0))[1] for pid, (_, now) in after.processes.items()}
    hidden = max(0, after.working - before.working - sum(used.values()))
    own = os.getpid() if own_pid is None else own_pid
    busy = [
        BusyProcess(pid, after.processes[pid][0], cpus * ticks / elapsed)
        for pid, ticks in used.items()
        if pid != own and cpus * ticks / elapsed >= _BUSY_CPUS
    ]
    return msgspec.structs.replace(
        facts,
        busy=tuple(sorted(busy, key=lambda process: -process.cpus)),
        hidden_cpus=cpus * hidden / elapsed,
        steal_now=(after.stolen - before.stolen) / elapsed,
    )


def _load(root: Path) -> float | None:
    text = read_text(root / "proc" / "loadavg")
    return float(text.split()[0]) if text else None


def _glance(root: Path) -> _Glance | None:
    """One reading of /proc/stat and of every process's; None where the kernel's counters stand still."""
    first = (read_text(root / "proc" / "stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    user, nice, system, *_waiting, steal = ticks = [int(field) for field in first[1:9]]
    return _Glance(sum(ticks), user + nice + system, steal, _processes(root))


def _processes(root: Path) -> dict[int, tuple[str, int]]:
    """Name and CPU time of each process that can be seen; one may end while it is looked at."""
    found = {}
    for folder in (root / "proc").iterdir():
        text = read_text(folder / "stat") if folder.name.isdecimal() else None
        if text is None:
            continue
        # The name stands in brackets and may hold brackets and blanks itself.
        name, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        found[int(folder.name)] = (printable(name), int(fields[11]) + int(fields[12]))
    return found


def _steal(glance: _Glance | None) -> float | None:
    return glance.stolen / glance.total if glance and glance.total else None


def _virtual(root: Path) -> tuple[bool | None, str | None]:
    """Whether this is a virtual machine, and what it calls itself."""
    dmi = root / "sys" / "class" / "dmi" / "id"
    words = [read_text(dmi / name) for name in ("sys_vendor", "product_name")]
    called = printable(" ".join(filter(None, words))) or None
    if read_text(root / "sys" / "hypervisor" / "type"):
        return True, called
    for line in (read_text(root / "proc" / "cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":  # x86 only
            return "hypervisor" in value.split(), called
    return None, called


def check_load(facts: NeighbourFacts) -> Finding:
    """The mean number of tasks that ran or wanted to, over the last minute."""
    name = "load"
    if facts.load_1m is None:
        return unknown(name)
    seen = f"{facts.load_1m:.2f} over the last minute, {plural(facts.cpus, 'CPU', 'CPUs')}"
    if facts.load_1m < _LOAD_A_CPU * facts.cpus:
        return fine(name, seen)
    return warn(name, seen, "wait a minute if that was your own last command, else stop the other work")


def check_pressure(facts: NeighbourFacts) -> Finding:
    """How often some task had to wait for a CPU."""
    name = "CPU pressure"
    if facts.cpu_pressure is None:
        return unknown(name, UNTOLD, "a kernel with CONFIG_PSI tells it (start it with psi=1)")
    seen = f"some task waited for a CPU in {percent(facts.cpu_pressure)} of the last ten seconds"
    if facts.cpu_pressure < _PRESSURE:
        return fine(name, seen)
    return warn(name, seen, "fewer processes, or fewer --threads than CPUs")


def check_processes(facts: NeighbourFacts) -> Finding:
    """Other processes that kept a CPU busy during the look."""
    name = "other processes"
    if facts.busy is None:
        return unknown(name, "CPU times of processes are " + UNTOLD)
    if facts.busy:
        shown = [f"{p.name} (pid {p.pid}) {percent(p.cpus)}" for p in facts.busy[:_SHOWN_PROCESSES]]
        more = len(facts.busy) - len(shown)
        seen = ", ".join(shown) + (f" and {more} more" if more else "")
        return warn(name, f"{seen} of a CPU", _STOP_THEM)
    if (facts.hidden_cpus or 0.0) >= _HIDDEN_CPUS:
        return warn(
            name,
            f"{facts.hidden_cpus:.1f} CPUs are in use by processes that cannot be seen from here",
            "look from outside the container (top on the host), or measure on a machine of your own",
        )
    return fine(name, f"none that used {percent(_BUSY_CPUS)} of a CPU during a look of {LOOK_S:.0f} s")


def check_virtual(facts: NeighbourFacts) -> Finding:
    """Neighbours on a virtual machine's host are invisible from inside."""
    name = "virtual machine"
    if facts.virtual is None:
        return unknown(name, UNTOLD, "if it is one, measure with --preset rigorous")
    if not facts.virtual:
        return fine(name, "no")
    called = f" ({facts.virtual_name})" if facts.virtual_name else ""
    return warn(
        name,
        f"yes{called}: what else runs on its host cannot be seen from here",
        "a dedicated host or real hardware; else more launches: --preset rigorous",
    )


def check_steal(facts: NeighbourFacts) -> Finding:
    """CPU time that the host gave to others while this machine wanted it."""
    name = "stolen CPU time"
    if facts.virtual is False:
        return fine(name, "none: nobody can take it from a machine that is not virtual")
    if facts.steal_now is None or facts.steal_since_start is None:
        return unknown(name)
    now, ever = facts.steal_now, facts.steal_since_start
    seen = f"{percent(now)} during the look, {percent(ever)} since the machine started"
    if max(now, ever) >= _STEAL:
        return warn(
            name, seen, "a dedicated host, or an instance type whose CPUs are not shared or burstable"
        )
    if not now and not ever:
        return unknown(name, "none reported; a host need not report it")
    return fine(name, seen)


NEIGHBOUR_CHECKS = (
    check_load,
    check_pressure,
    check_processes,
    check_virtual,
    check_steal,
)

"""Energy of the processor by its own counters (RAPL), or the reason why there is none.

The counters are of whole packages: everything that runs on the machine is in them. So energy is taken while
passes run back to back, gross, and the machine's idle power is measured beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_UJ_PER_J = 1e6
IDLE_LOOK_S = 1.0


class EnergyUnavailableError(Exception):
    """There is no counter that this process may read; the message says why."""


class Rapl:
    """Joules of all processor packages since this was made, wraps of the counters undone.

    Args:
        root: the kernel's powercap folder.

    Raises:
        EnergyUnavailableError: no counter, or none that may be read.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        self._domains = [_Domain(folder) for folder in packages(root)]
        if not self._domains:
            raise EnergyUnavailableError(
                "this machine has no RAPL energy counter (usual in virtual machines)"
            )

    def joules(self) -> float:
        """Joules since this was made. Call it more often than the counters wrap (minutes)."""
        return sum(domain.joules() for domain in self._domains)

    def idle_power_w(
        self,
        look_s: float = IDLE_LOOK_S,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> float:
        """Watts over a while in which this process does nothing."""
        began_j, began_s = self.joules(), clock_s()
        sleep(look_s)
        return (self.joules() - began_j) / (clock_s() - began_s)


def packages(root: Path) -> list[Path]:
    """The counters of whole packages: their parts (cores, memory) are inside them."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.name.count(":") == 1 and "mmio" not in path.name)


class _Domain:
    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        try:
            self._range_uj = int((folder / "max_energy_range_uj").read_text())
            self._last_uj = self._read_uj()
        except OSError as error:
            raise EnergyUnavailableError(
                f"the RAPL counter {self._counter} may not be read ({error.strerror}); "
                f"as root: chmod a+r {self._counter}"
            ) from error
        self._total_uj = 0

    def joules(self) -> float:
        now_uj = self._read_uj()
        grown_uj = now_uj - self._last_uj
        self._total_uj += grown_uj if grown_uj >= 0 else grown_uj + self._range_uj
        self._last_uj = now_uj
        return self._total_uj / _UJ_PER_J

    def _read_uj(self) -> int:
        return int(self._counter.read_text())

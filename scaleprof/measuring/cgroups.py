"""The CPU time that this process's cgroup, and those around it, allow; versions 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from scaleprof.measuring.kernel_files import read_int, read_text

_CGROUPS = Path("sys/fs/cgroup")
_US_PER_S = 1e6
_NS_PER_S = 1e9


class Quota(NamedTuple):
    """A cgroup's limit in CPUs, infinite without one, and how often it was reached."""

    folder: Path
    cpus: float
    periods: int | None
    throttled: int | None


def smallest_quota(root: Path = Path("/")) -> Quota | None:
    """The least of the quotas that hold for this process; None if the system does not tell."""
    quotas = [quota for folder in _cpu_cgroups(root) if (quota := _quota(folder)) is not None]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def throttled_s() -> float | None:
    """Seconds for which a quota has held this process back so far; None if it is not told."""
    file = _stat_file()
    return None if file is None else parse_throttled_s(read_text(file) or "")


def parse_throttled_s(stat: str) -> float | None:
    """Throttled seconds from the text of a `cpu.stat`, of cgroup version 2 (µs) or 1 (ns).

    >>> parse_throttled_s("nr_periods 3\\nthrottled_usec 1500000"), parse_throttled_s("usage_usec 3")
    (1.5, None)
    """
    fields = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
    if "throttled_usec" in fields:
        return int(fields["throttled_usec"]) / _US_PER_S
    return int(fields["throttled_time"]) / _NS_PER_S if "throttled_time" in fields else None


@cache
def _stat_file() -> Path | None:
    """The `cpu.stat` of the cgroup whose quota is the least: found once, read beside every visit."""
    quota = smallest_quota()
    return None if quota is None or not math.isfinite(quota.cpus) else quota.folder / "cpu.stat"


def _cpu_cgroups(root: Path) -> Iterator[Path]:
    """Folders of the cgroups that may limit this process's CPU time, innermost first; v2, then v1."""
    for line in (read_text(root / "proc" / "self" / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / _CGROUPS
        mounts = [top / controllers, top / "cpu"] if controllers else [top, top / "unified"]
        for mount in mounts:
            # Inside a container the path may be the host's: then the mount itself is this cgroup.
            folder = mount / path.strip("/")
            for place in (folder, *folder.parents):
                if place.is_relative_to(mount):
                    yield place


def _quota(folder: Path) -> Quota | None:
    """A cgroup's CPU quota; None if this is not one that limits CPU time."""
    limit = read_text(folder / "cpu.max")
    micros = read_int(folder / "cpu.cfs_quota_us")
    if limit is not None:
        quota, _, period = limit.partition(" ")
        cpus = math.inf if quota == "max" else int(quota) / int(period or 100_000)
    elif micros is not None:
        period_us = read_int(folder / "cpu.cfs_period_us")
        cpus = math.inf if micros < 0 or not period_us else micros / period_us
    elif "cpu" in (read_text(folder / "cgroup.controllers") or "").split():
        return Quota(folder, math.inf, None, None)  # the outermost cgroup has no cpu.max and no limit
    else:
        return None
    lines = (read_text(folder / "cpu.stat") or "").splitlines()
    counts = dict(line.split() for line in lines)
    periods, throttled = (
        int(counts[name]) if name in counts else None for name in ("nr_periods", "nr_throttled")
    )
    return Quota(folder, cpus, periods, throttled)

"""What is read of the machine: CPUs to pin to, the kernel's counters, energy, denormal numbers."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from scaleprof.measuring.cgroups import parse_throttled_s, smallest_quota
from scaleprof.measuring.counters import counting
from scaleprof.measuring.cpus import busy_ticks, choose_cpus, parse_cpu_list, quietest_cpus
from scaleprof.measuring.denormals import count_denormals, denormal_share
from scaleprof.measuring.energy import EnergyUnavailableError, Rapl, packages

STAT = """cpu  30 3 6 900 0 1 2 4 0 0
cpu0 10 1 2 450 7 0 1 3 0 0
cpu1 20 2 4 450 7 1 1 1 0 0
intr 12345
"""


def test_busy_ticks_are_work_and_steal_but_not_idling() -> None:
    assert busy_ticks(STAT) == {0: 10 + 1 + 2 + 0 + 1 + 3, 1: 20 + 2 + 4 + 1 + 1 + 1}


def test_the_least_busy_cpus_are_chosen() -> None:
    alone = {cpu: (cpu,) for cpu in range(4)}
    assert choose_cpus({0: 50, 1: 3, 2: 90, 3: 1}, alone, 2) == (1, 3)


def test_hyper_threads_of_one_core_are_taken_only_when_every_core_has_one() -> None:
    pairs = {0: (0, 2), 2: (0, 2), 1: (1, 3), 3: (1, 3)}
    idle = dict.fromkeys(range(4), 0)
    assert choose_cpus(idle, pairs, 2) == (0, 1)
    assert choose_cpus(idle, pairs, 3) == (0, 1, 2)


def test_a_core_is_as_busy_as_its_threads_together() -> None:
    pairs = {0: (0, 2), 2: (0, 2), 1: (1, 3), 3: (1, 3)}
    assert choose_cpus({0: 0, 2: 99, 1: 10, 3: 10}, pairs, 1) == (1,)


@given(st.dictionaries(st.integers(0, 63), st.integers(0, 100), min_size=1), st.data())
def test_as_many_allowed_cpus_are_chosen_as_asked_for(busy: dict[int, int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(busy)))
    chosen = choose_cpus(busy, {cpu: (cpu, cpu ^ 1) for cpu in busy}, count)
    assert len(set(chosen)) == count
    assert set(chosen) <= set(busy)


def test_a_worker_gets_cpus_that_it_may_use() -> None:
    assert len(quietest_cpus(1)) == 1


@pytest.mark.parametrize(("text", "cpus"), [("0", (0,)), ("0-3\n", (0, 1, 2, 3)), ("1,4-5", (1, 4, 5))])
def test_the_kernels_lists_of_cpus_are_read(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


def test_what_is_counted_is_what_happened_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    throttled = iter([1.0, 3.5])
    monkeypatch.setattr("scaleprof.measuring.counters.throttled_s", lambda: next(throttled, None))
    with mmap.mmap(-1, 64 * mmap.PAGESIZE) as pages:
        with counting() as counts:
            pages.write(b"x" * len(pages))
        with counting() as none:
            pass
    assert (counts["minor_faults"] or 0) >= 1
    assert counts["throttled_s"] == 2.5
    assert (counts["cpu_s"] or 0) >= 0
    assert (none["minor_faults"] or 0) < (counts["minor_faults"] or 0) + 8


def test_work_of_others_is_what_the_cpus_did_beyond_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = sorted(os.sched_getaffinity(0))
    ticks = os.sysconf("SC_CLK_TCK")

    def stat(seconds: int) -> str:
        return "\n".join(f"cpu{cpu} {seconds * ticks} 0 0 5 0 0 0 {ticks}" for cpu in mine)

    texts = iter([stat(10), stat(13), "", ""])
    monkeypatch.setattr("scaleprof.measuring.counters.read_text", lambda _: next(texts))
    with counting() as counts:
        pass
    with counting() as untold:
        pass
    assert counts["cpu_s"] is not None
    assert counts["foreign_cpu_s"] == pytest.approx(3 * len(mine) - counts["cpu_s"])
    assert untold["foreign_cpu_s"] is None


def test_cpus_whose_counts_stand_still_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = "\n".join(f"cpu{cpu} 0 0 0 0 0 0 0 0" for cpu in os.sched_getaffinity(0))
    monkeypatch.setattr("scaleprof.measuring.counters.read_text", lambda _: stopped)
    began_s = time.process_time()
    with counting() as counts:
        while time.process_time() < began_s + 0.1:
            pass
    assert counts["foreign_cpu_s"] is None


def test_a_quota_that_is_not_told_stays_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaleprof.measuring.counters.throttled_s", lambda: None)
    with counting() as counts:
        pass
    assert counts["throttled_s"] is None


def test_throttling_is_read_of_both_cgroup_versions() -> None:
    assert parse_throttled_s("nr_periods 5\nnr_throttled 2\nthrottled_usec 250000\n") == 0.25
    assert parse_throttled_s("nr_periods 5\nnr_throttled 2\nthrottled_time 250000000\n") == 0.25
    assert parse_throttled_s("usage_usec 17\n") is None


def make_cgroup(root: Path, line: str, **limits: str) -> None:
    (root / "proc" / "self").mkdir(parents=True, exist_ok=True)
    (root / "proc" / "self" / "cgroup").write_text(line + "\n")
    for place, text in limits.items():
        file = (
            root / "sys/fs/cgroup" / place.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_the_least_quota_of_nested_cgroups_counts(tmp_path: Path) -> None:
    make_cgroup(tmp_path, "0::/pod/box", pod__cpu_max="150000 100000", pod__box__cpu_max="max 100000")
    quota = smallest_quota(tmp_path)
    assert quota is not None
    assert quota.cpus == 1.5
    assert quota.folder.name == "pod"


def test_quotas_of_the_first_cgroup_version_are_read(tmp_path: Path) -> None:
    limits = {"cpu__box__cpu_cfs_quota_us": "250000", "cpu__box__cpu_cfs_period_us": "100000"}
    make_cgroup(tmp_path, "3:cpu:/box", **limits)
    quota = smallest_quota(tmp_path)
    assert quota is not None
    assert quota.cpus == 2.5


def test_a_system_without_cgroups_tells_no_quota(tmp_path: Path) -> None:
    assert smallest_quota(tmp_path) is None


def make_rapl(root: Path, name: str, energy_uj: int, range_uj: int = 1_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def test_energy_is_summed_over_packages_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    first, second = make_rapl(tmp_path, "intel-rapl:0", 100), make_rapl(tmp_path, "intel-rapl:1", 500)
    part = make_rapl(tmp_path, "intel-rapl:0:0", 7)
    make_rapl(tmp_path, "intel-rapl-mmio:0", 7)
    assert packages(tmp_path) == [first.parent, second.parent]
    counter = Rapl(tmp_path)
    first.write_text("2100")
    second.write_text("1500")
    part.write_text("999999")
    assert counter.joules() == pytest.approx(0.003)


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    energy = make_rapl(tmp_path, "intel-rapl:0", 900_000)
    counter = Rapl(tmp_path)
    energy.write_text("100000")
    assert counter.joules() == pytest.approx(0.2)
    energy.write_text("300000")
    assert counter.joules() == pytest.approx(0.4)


def test_idle_power_is_joules_over_seconds(tmp_path: Path) -> None:
    energy = make_rapl(tmp_path, "intel-rapl:0", 0, range_uj=10**9)
    counter, now = Rapl(tmp_path), [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        energy.write_text("24000000")

    assert counter.idle_power_w(2.0, sleep=sleep, clock_s=lambda: now[0]) == 12.0


def test_no_counter_is_told_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(EnergyUnavailableError, match="no RAPL energy counter"):
        Rapl(tmp_path / "none")
    (make_rapl(tmp_path, "intel-rapl:0", 1)).unlink()
    with pytest.raises(EnergyUnavailableError, match="may not be read"):
        Rapl(tmp_path)


def test_denormals_are_nonzero_and_below_the_smallest_normal_number() -> None:
    tiny = torch.finfo(torch.float32).tiny
    values = torch.tensor([0.0, 1.0, tiny, tiny / 2, -tiny / 4, float("nan")])
    assert count_denormals(values) == 2


def test_a_network_that_fades_shows_its_denormals() -> None:
    class Fade(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 1e-20

    network = nn.Sequential(*(Fade() for _ in range(4)))
    share = denormal_share(network, lambda: network(torch.ones(10)))
    # 1e-20 is normal, 1e-40 denormal, and what follows is zero.
    assert share == pytest.approx(1 / 4)
    assert denormal_share(nn.Identity(), lambda: None) is None

"""Rounds, launches and warm-up on simulated benches and clocks: exact numbers, no waiting."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from builders import SimulatedBench, make_job, make_plan_of

from scaleprof.measuring.messages import Job
from scaleprof.measuring.presets import PRESETS, launch_s, rounds_of
from scaleprof.measuring.rounds import (
    Attendance,
    BenchLostError,
    JobFailedError,
    LaunchLog,
    Step,
    run_launch,
)
from scaleprof.measuring.schedule import Progress, Schedule
from scaleprof.measuring.sustained import sustain
from scaleprof.measuring.timing import MOST_SAMPLES, Call, CpuTimer, sample_s
from scaleprof.measuring.warmup import warm_up
from scaleprof.records import Plan, Sustained, Visit, Workload
from scaleprof.stats.intervals import median_interval


class FakeClock:
    """Advances by what the call costs."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def call_of(self, *seconds: float) -> Call:
        costs = iter(seconds)

        def call() -> None:
            self.now_ns += round(next(costs) * 1e9)

        return call


class Kept:
    """Collects what a schedule hands over."""

    def __init__(self) -> None:
        self.progress: dict[int, Progress] = {}
        self.batches: list[list[int]] = []

    def __call__(self, progress: Sequence[Progress]) -> None:
        self.batches.append([one.job.number for one in progress])
        self.progress |= {one.job.number: one for one in progress}

    def launches(self, number: int) -> list[int]:
        return [launch.launch for launch in self.progress[number].launches]


def schedule(bench: SimulatedBench, kept: Kept, plan: Plan | None = None) -> Schedule:
    return Schedule(
        plan=plan or make_plan_of(),
        open_bench=bench.open,
        keep=kept,
        observe=lambda _step: None,
        clock=bench.clock,
        seed=3,
    )


def test_wall_time_is_the_clocks_difference() -> None:
    clock = FakeClock()
    assert CpuTimer(clock).wall_s(clock.call_of(0.25)) == 0.25


def test_a_visit_takes_samples_until_it_is_long_enough_and_one_at_least() -> None:
    clock = FakeClock()
    assert sample_s(CpuTimer(clock), clock.call_of(0.02, 0.02, 0.02, 0.02), 0.05) == [0.02, 0.02, 0.02]
    assert sample_s(CpuTimer(clock), clock.call_of(0.2), 0.05) == [0.2]
    assert len(sample_s(CpuTimer(clock), lambda: None, 0.05)) == MOST_SAMPLES


def test_passes_run_back_to_back_in_chunks_until_it_has_been_long_enough() -> None:
    clock = FakeClock()
    ran = sustain(clock.call_of(*[0.1] * 100), 0.1, 2.0, clock_ns=clock)
    assert ran.passes_per_chunk == 2
    assert ran.chunks_s == (0.2,) * 10
    assert (ran.energy_j, ran.energy_missing) == (None, "not asked for")


def test_energy_is_what_the_counter_grew_by_while_passes_ran() -> None:
    clock, joules = FakeClock(), iter([100.0, 142.0])

    class Counter:
        def joules(self) -> float:
            return next(joules)

    ran = sustain(clock.call_of(*[1.0] * 9), 1.0, 3.0, clock_ns=clock, energy=Counter(), idle_power_w=5.0)
    assert (ran.energy_j, ran.idle_power_w, ran.energy_missing) == (42.0, 5.0, None)


def test_a_device_is_waited_for_once_a_chunk() -> None:
    clock, waits = FakeClock(), []
    ran = sustain(
        clock.call_of(*[0.1] * 100), 0.1, 2.0, clock_ns=clock, synchronise=lambda: waits.append(clock.now_ns)
    )
    assert len(waits) == len(ran.chunks_s) + 1


def test_warming_up_ends_when_two_windows_agree() -> None:
    clock = FakeClock()
    warmup = warm_up(CpuTimer(clock), clock.call_of(0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1))
    assert (warmup.passes, warmup.stationary) == (8, True)
    assert warmup.seconds == pytest.approx(1.5)


def test_warming_up_is_bounded_and_says_that_it_did_not_settle() -> None:
    clock = FakeClock()
    restless = [0.001 * 2 ** (n % 3 + n // 3) for n in range(60)]
    warmup = warm_up(CpuTimer(clock), clock.call_of(*restless))
    assert not warmup.stationary
    assert warmup.seconds >= 5


def run_rounds(
    bench: SimulatedBench, jobs: Sequence[Job], plan: Plan, *, seed: int = 1
) -> tuple[LaunchLog, list[Step]]:
    log = LaunchLog(0)
    steps: list[Step] = []
    run_launch(
        bench, jobs, plan, log, rng=random.Random(seed), out_of_time=lambda: False, observe=steps.append
    )
    return log, steps


def test_every_round_visits_every_model_in_a_fresh_order() -> None:
    bench = SimulatedBench(dict.fromkeys(range(8), 0.01))
    run_rounds(bench, [make_job(n) for n in range(8)], make_plan_of())
    rounds = [bench.visited[start : start + 8] for start in range(0, len(bench.visited), 8)]
    assert all(sorted(one) == list(range(8)) for one in rounds)
    assert len({tuple(one) for one in rounds}) == len(rounds) == 6


def test_the_order_follows_from_the_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        bench = SimulatedBench(dict.fromkeys(range(5), 0.01))
        run_rounds(bench, [make_job(n) for n in range(5)], make_plan_of(), seed=seed)
        orders.append(bench.visited)
    assert orders[0] == orders[1] != orders[2]


def test_steady_models_stop_at_the_least_rounds_and_restless_ones_at_the_most() -> None:
    steady = SimulatedBench({0: 0.01})
    run_rounds(steady, [make_job(0)], make_plan_of(min_rounds=6, max_rounds=9))
    assert len(steady.visited) == 6
    latency_s = {0: 0.01}

    def drift(_job: Job) -> None:
        latency_s[0] *= 1.5

    restless = SimulatedBench(latency_s, on_visit=drift)
    run_rounds(restless, [make_job(0)], make_plan_of(min_rounds=6, max_rounds=9))
    assert len(restless.visited) == 9


def test_settled_models_come_back_in_every_fourth_round_only() -> None:
    latency_s = {0: 0.01, 1: 0.01}

    def drift(job: Job) -> None:
        if job.number == 1:
            latency_s[1] *= 1.5

    bench = SimulatedBench(latency_s, on_visit=drift)
    log, _ = run_rounds(bench, [make_job(0), make_job(1)], make_plan_of(min_rounds=6, max_rounds=15))
    rounds = {number: [visit.round for visit in visits(log, number)] for number in (0, 1)}
    assert rounds == {0: [*range(6), 8, 12], 1: [*range(15)]}


def test_heavy_models_are_visited_in_fewer_rounds_and_never_in_fewer_than_the_least() -> None:
    latency_s = {0: 0.01, 1: 0.3, 2: 5.0}

    def drift(job: Job) -> None:
        latency_s[job.number] *= 1.0 + 0.1 * (len(bench.visited) % 3)

    bench = SimulatedBench(latency_s, on_visit=drift)
    plan = make_plan_of(min_rounds=6, max_rounds=15, heavy_s=4.0)
    log, _ = run_rounds(bench, [make_job(number) for number in range(3)], plan)
    light, heavy, huge = (len(visits(log, number)) for number in range(3))
    assert light == 15
    assert 6 < heavy < 15
    assert huge == 6


def test_intervals_are_looked_at_after_rounds_that_grow_by_a_third() -> None:
    looks: list[int] = []

    class Log(LaunchLog):
        def half_width(self, job: Job) -> float:
            looks.append(rounds)
            return math.inf

    attendance = Attendance([make_job()], make_plan_of(min_rounds=6, max_rounds=40))
    for rounds in range(1, 41):
        attendance.look(rounds, Log(0))
    assert looks == [6, 8, 11, 15, 20, 27, 36]


def test_each_model_runs_back_to_back_after_the_rounds_and_keeps_what_it_did() -> None:
    bench = SimulatedBench(dict.fromkeys(range(4), 0.01))
    log, steps = run_rounds(bench, [make_job(n) for n in range(4)], make_plan_of(sustained_s=2.0))
    assert sorted(bench.sustained) == [0, 1, 2, 3]
    assert [step.doing for step in steps] == ["build"] * 4 + ["visit"] * 24 + ["sustain"] * 4
    launch = log.result(make_job(0), complete=True)
    assert launch is not None
    assert launch.sustained == Sustained(1, (2.0,), energy_missing="simulated")
    assert launch.worker == bench.worker


def visits(log: LaunchLog, number: int) -> tuple[Visit, ...]:
    launch = log.result(make_job(number), complete=True)
    return launch.visits if launch else ()


def test_a_model_that_fails_is_left_out_and_the_others_go_on() -> None:
    def fail(job: Job) -> None:
        if job.number == 1:
            raise JobFailedError("failed", "ValueError: no")

    bench = SimulatedBench(dict.fromkeys(range(3), 0.01), on_visit=fail)
    log, _ = run_rounds(bench, [make_job(n) for n in range(3)], make_plan_of())
    assert list(log.failed) == [1]
    assert bench.visited.count(1) == 1
    assert bench.visited.count(0) == bench.visited.count(2) == 6


def test_each_launch_is_a_fresh_worker_and_is_kept_at_once() -> None:
    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}), Kept()
    schedule(bench, kept, make_plan_of(launches=3)).run([[make_job(0), make_job(1)]])
    assert bench.opened == 3
    assert kept.launches(0) == kept.launches(1) == [0, 1, 2]
    assert [batch for batch in kept.batches if batch] == [[0, 1]] * 3


def test_groups_that_do_not_fit_together_have_workers_of_their_own() -> None:
    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}), Kept()
    schedule(bench, kept, make_plan_of(launches=2)).run([[make_job(0)], [make_job(1)]])
    assert bench.opened == 4
    assert kept.launches(0) == kept.launches(1) == [0, 1]


def test_an_anchor_is_in_every_group_and_has_a_launch_in_each() -> None:
    bench, kept = SimulatedBench(dict.fromkeys(range(5), 0.01)), Kept()
    anchor, *others = (make_job(number) for number in range(5))
    schedule(bench, kept, make_plan_of(launches=2)).run([[anchor, *others[:2]], [anchor, *others[2:]]])
    assert kept.launches(0) == [0, 0, 1, 1]
    assert [kept.launches(number) for number in range(1, 5)] == [[0, 1]] * 4
    launches = [kept.progress[number].launches for number in range(5)]
    assert [launch.group for launch in launches[0]] == [0, 1, 0, 1]
    # What one worker measured stands in the same rounds; the anchor shares a worker with every other model.
    for number in range(1, 5):
        assert {launch.process for launch in launches[number]} < {launch.process for launch in launches[0]}
    assert {launch.process for launch in launches[1]}.isdisjoint(launch.process for launch in launches[3])


def test_a_resumed_group_is_measured_with_its_anchor_and_a_finished_one_not_at_all() -> None:
    bench, kept = SimulatedBench(dict.fromkeys(range(3), 0.01)), Kept()
    anchor, first, second = (make_job(number) for number in range(3))
    schedule(bench, kept, make_plan_of(launches=1)).run([[anchor, first]])
    done = {number: kept.progress[number].launches for number in (0, 1)}
    again, later = SimulatedBench(dict.fromkeys(range(3), 0.01)), Kept()
    schedule(again, later, make_plan_of(launches=1)).run([[anchor, first], [anchor, second]], done)
    assert set(again.visited) == {0, 2}
    assert later.launches(0) == [0, 0]


def test_peak_memory_is_taken_in_a_models_first_launch_only() -> None:
    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}), Kept()
    schedule(bench, kept, make_plan_of(launches=3)).run([[make_job(0), make_job(1)]])
    assert bench.inspected == [0, 1]


def test_a_worker_has_as_many_threads_as_its_group_asks_for() -> None:
    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}), Kept()
    jobs = [make_job(n, workload=Workload("cpu", threads=threads)) for n, threads in enumerate((1, 2))]
    schedule(bench, kept, make_plan_of(launches=2)).run([[jobs[0]], [jobs[1]]])
    assert bench.threads == [1, 2, 1, 2]


def test_a_lost_worker_costs_only_the_model_in_hand() -> None:
    visits: list[int] = []

    def die_in_the_second_launch(job: Job) -> None:
        visits.append(job.number)
        if job.number == 1 and visits.count(1) == 9:
            raise BenchLostError("killed", "the worker was ended by SIGKILL")

    bench, kept = SimulatedBench(dict.fromkeys(range(3), 0.01), on_visit=die_in_the_second_launch), Kept()
    schedule(bench, kept, make_plan_of(launches=2)).run([[make_job(n) for n in range(3)]])
    assert bench.opened == 3
    assert kept.launches(0) == kept.launches(2) == [0, 1]
    assert all(launch.complete and len(launch.visits) == 6 for launch in kept.progress[0].launches)
    failure = kept.progress[1].failure
    assert failure is not None
    assert failure.status == "killed"
    assert kept.launches(1) == [0]


def test_a_worker_lost_while_building_costs_only_that_model() -> None:
    def die(job: Job) -> None:
        if job.number == 0:
            raise BenchLostError("oom", "no memory")

    bench, kept = SimulatedBench(dict.fromkeys(range(2), 0.01), on_build=die), Kept()
    schedule(bench, kept).run([[make_job(0), make_job(1)]])
    assert kept.launches(1) == [0, 1]
    assert kept.progress[0].launches == ()


def test_an_interruption_keeps_what_was_measured_as_an_incomplete_launch() -> None:
    def interrupt(job: Job) -> None:
        if len(bench.visited) == 2 * 6 + 5:
            raise KeyboardInterrupt

    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}, on_visit=interrupt), Kept()
    with pytest.raises(KeyboardInterrupt):
        schedule(bench, kept, make_plan_of(launches=2)).run([[make_job(0), make_job(1)]])
    complete = [[launch.complete for launch in kept.progress[number].launches] for number in (0, 1)]
    assert complete == [[True, False], [True, False]]
    assert sum(len(kept.progress[number].launches[1].visits) for number in (0, 1)) == 4


def test_a_resumed_schedule_does_only_the_launches_that_are_missing() -> None:
    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}), Kept()
    schedule(bench, kept, make_plan_of(launches=1)).run([[make_job(0), make_job(1)]])
    done = {0: kept.progress[0].launches}
    again, later = SimulatedBench({0: 0.01, 1: 0.02}), Kept()
    schedule(again, later, make_plan_of(launches=2)).run([[make_job(0), make_job(1)]], done)
    assert later.launches(0) == later.launches(1) == [0, 1]
    assert again.visited.count(0) == 6
    assert again.visited.count(1) == 12


def test_the_time_limit_ends_a_launch_after_its_round_and_the_sweep_after_its_launch() -> None:
    bench, kept = SimulatedBench({0: 1.0, 1: 1.0}), Kept()
    plan = make_plan_of(launches=3, max_time_s=12.0)
    schedule(bench, kept, plan).run([[make_job(0), make_job(1)]])
    # Building takes 2 s; rounds of 2 s end the first launch at its share of 4 s, then at 8 s and 12 s.
    assert [len(launch.visits) for launch in kept.progress[0].launches] == [1, 1, 1]
    assert bench.now_s == 12


def test_presets_can_always_give_an_interval() -> None:
    for plan in PRESETS.values():
        assert median_interval([1.0] * plan.min_rounds) is not None


def test_a_forecast_grows_with_models_rounds_and_their_times() -> None:
    plan = make_plan_of()
    assert launch_s([], 1, 6, plan, "cpu") == 0
    base = launch_s([0.01] * 5, 1, 6, plan, "cpu")
    assert base < launch_s([0.01] * 6, 1, 6, plan, "cpu")
    assert base < launch_s([0.01] * 5, 1, 7, plan, "cpu")
    assert base < launch_s([0.5] * 5, 1, 6, plan, "cpu")
    assert base < launch_s([0.01] * 5, 0, 6, plan, "cpu")
    assert base < launch_s([0.01] * 5, 1, 6, make_plan_of(sustained_s=2.0), "cpu")


def test_a_forecast_gives_heavy_models_fewer_rounds_and_never_below_the_least() -> None:
    plan = make_plan_of(min_rounds=6, max_rounds=15, heavy_s=2.0)
    assert rounds_of(0.01, 15, plan, "cpu") == 15
    assert rounds_of(0.23, 15, plan, "cpu") == 8
    assert rounds_of(3.0, 15, plan, "cpu") == 6


def test_an_interruption_after_a_failure_keeps_the_failure() -> None:
    def fail_then_interrupt(job: Job) -> None:
        if job.number == 1:
            raise JobFailedError("oom", "no memory")
        if len(bench.visited) > 4:
            raise KeyboardInterrupt

    bench, kept = SimulatedBench({0: 0.01, 1: 0.02}, on_visit=fail_then_interrupt), Kept()
    with pytest.raises(KeyboardInterrupt):
        schedule(bench, kept).run([[make_job(0), make_job(1)]])
    failure = kept.progress[1].failure
    assert failure is not None
    assert failure.status == "oom"
    assert not kept.progress[0].launches[0].complete

"""Budgets: the grammar, what meets them, and which model is recommended within."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec
from hypothesis import given
from hypothesis import strategies as st
from test_side_by_side import runtimes_log

import scaleprof as sp
from scaleprof.errors import UsageError
from scaleprof.reporting.budgets import QUANTITIES, Budget, parse_budgets
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.recommending import Recommendation, advise, recommend
from scaleprof.reporting.rows import CostRow, MeasuredRow
from scaleprof.units import SUFFIXES, parse_quantity, plain_quantity

(TEMPLATE,) = sp.Run(make_log()).rows

BUDGETS = st.builds(
    lambda name, value: Budget(name, QUANTITIES[name].sense, value),
    st.sampled_from(sorted(QUANTITIES)),
    st.floats(min_value=1e-9, max_value=1e16) | st.integers(1, 10**15).map(float),
)
SPACES = st.text(" \t", max_size=2)

# Texts that are no budgets, and what is said of them after the text itself.
WRONG = {
    "": " is not METRIC<=QUANTITY, nor METRIC>=QUANTITY: write latency_ms<=10",
    "latency_ms<10": " is not METRIC<=QUANTITY, nor METRIC>=QUANTITY: write latency_ms<=10",
    "latency_ms=<10": " is not METRIC<=QUANTITY, nor METRIC>=QUANTITY: write latency_ms<=10",
    "10>=latency_ms": " is not METRIC<=QUANTITY, nor METRIC>=QUANTITY: write latency_ms<=10",
    "latency<=10": ": 'latency' is not a metric that can have a budget: did you mean 'latency_ms'?",
    "peak_memory<=1": ": 'peak_memory' is not a metric that can have a budget: "
    "did you mean 'peak_memory_bytes'?",
    "throughput>=1": ": 'throughput' is not a metric that can have a budget: "
    "did you mean 'throughput_per_s'?",
    "zz<=1": f": 'zz' is not a metric that can have a budget: it takes {', '.join(QUANTITIES)}",
    "latency_ms>=10": ": latency_ms is to be small: write latency_ms<=10",
    "accuracy <= 77": ": accuracy is to be large: write accuracy>=77",
    "latency_ms<=ten": ": 'ten' is not a quantity above zero: write a number, alone or with one of ms, us, s",
    "latency_ms<=0": ": '0' is not a quantity above zero: write a number, alone or with one of ms, us, s",
    "latency_ms<=-1": ": '-1' is not a quantity above zero: write a number, alone or with one of ms, us, s",
    "latency_ms<=": ": '' is not a quantity above zero: write a number, alone or with one of ms, us, s",
    "latency_ms<=nan": ": 'nan' is not a quantity above zero: write a number, alone or with one of ms, us, s",
    "latency_ms<=5constructor": ": '5constructor' is not a quantity above zero: write a number, alone or "
    "with one of ms, us, s",
    f"macs<={'9' * 400}": f": '{'9' * 400}' is not a quantity above zero: write a number, alone or with one "
    "of k, M, G, T",
    "peak_memory_bytes<=2gib": ": '2gib' is not a quantity above zero: write a number, alone or with one of "
    "B, KiB, MiB, GiB, TiB, k, M, G, T, kB, MB, GB, TB",
    "latency_ms<=__import__('os')": ": '__import__('os')' is not a quantity above zero: write a number, "
    "alone or with one of ms, us, s",
}


def make_row(name: str, macs: int, latency_ms: float | None = 10.0, **fields: Any) -> MeasuredRow:
    """A measured row whose latency is known to a tenth."""
    ends = (None, None) if latency_ms is None else (0.9 * latency_ms, 1.1 * latency_ms)
    return msgspec.structs.replace(
        TEMPLATE,
        spec_id=f"efficientnet_b0/{name}",
        macs=macs,
        latency_ms=latency_ms,
        **{"latency_ci_low_ms": ends[0], "latency_ci_high_ms": ends[1], **fields},
    )


def with_throughput(row: MeasuredRow, rate: float) -> MeasuredRow:
    ends = {"throughput_ci_low_per_s": 0.9 * rate, "throughput_ci_high_per_s": 1.1 * rate}
    return msgspec.structs.replace(row, throughput_per_s=rate, **ends)


class Case(NamedTuple):
    """Rows, a text of budgets, and the quality to order by; None for the usual one."""

    rows: Sequence[MeasuredRow]
    text: str
    quality: str | None = None

    def recommend(self) -> Recommendation:
        quality = None if self.quality is None else METRICS[self.quality]
        return recommend(self.rows, parse_budgets(self.text), quality=quality)


def with_error(row: MeasuredRow, error: float) -> MeasuredRow:
    """The row with an accuracy that is known to so many points."""
    accuracy = row.accuracy or 0.0
    return msgspec.structs.replace(
        row, accuracy_error=error, accuracy_ci_low=accuracy - error, accuracy_ci_high=accuracy + error
    )


LADDER = (
    make_row("base/0", 400_000_000, 4.0),
    make_row("width/1", 800_000_000, 7.0),
    make_row("depth/1", 810_000_000, 8.0),
    make_row("width/2", 1_600_000_000, 10.5),
    make_row("compound/2", 1_700_000_000, 14.0),
    make_row("compound/3", 3_200_000_000, 12.3),
)
ACCURATE = tuple(
    msgspec.structs.replace(row, accuracy=accuracy, accuracy_recipe="a paper")
    for row, accuracy in zip(LADDER, (76.3, 77.0, 78.8, 78.9, 79.8, 79.1), strict=True)
)
CASES = {
    "ladder": Case(LADDER, "latency_ms<=10"),
    "accuracy": Case(ACCURATE, "latency_ms<=10"),
    "accuracy with errors": Case(tuple(with_error(row, 0.4) for row in ACCURATE), "accuracy>=78.5"),
    "parameters": Case(LADDER, "latency_ms<=10", "params"),
    "best": Case(LADDER, "latency_ms<=20"),
    "undecided beside the runner-up": Case(
        (*LADDER, make_row("depth/1.5", 805_000_000, 9.5), make_row("depth/0.5", 500_000_000, 9.6)),
        "latency_ms<=10",
    ),
    "only undecided": Case(LADDER[:1], "latency_ms<=4"),
    "none": Case(LADDER, "latency_ms<=1"),
    "narrowly missed": Case([make_row("base/0", 4, 10.01, latency_ci_low_ms=10.005)], "latency_ms<=10"),
    "two budgets": Case(LADDER, "latency_ms<=12, macs<=1.65G"),
    "to be large": Case(
        [with_throughput(LADDER[0], 90.0), with_throughput(LADDER[1], 40.0)], "throughput_per_s>=60"
    ),
    "several models": Case(
        [*LADDER, msgspec.structs.replace(LADDER[0], model="resnet18", spec_id="resnet18/base/0")],
        "latency_ms<=10",
    ),
    "left out": Case(
        [
            *LADDER,
            make_row("width/3", 1, None, status="oom", reason="no memory"),
            make_row("width/4", 1, peak_memory_bytes=None),
            make_row("width/5", 1, peak_memory_bytes=None),
        ],
        "peak_memory_bytes<=2GiB, latency_ms<=10",
    ),
    "no row has both": Case(
        [make_row("base/0", 4, peak_memory_bytes=None), make_row("width/1", 8, None)],
        "peak_memory_bytes<=2GiB, latency_ms<=10",
    ),
    "without an interval": Case(
        [make_row("base/0", 4, 5.0, latency_ci_low_ms=None, latency_ci_high_ms=None)], "latency_ms<=10"
    ),
    "equal quality": Case([make_row("depth/1", 8, 7.0), make_row("width/1", 8, 5.0)], "latency_ms<=10"),
    "all better undecided": Case([LADDER[0], LADDER[3]], "latency_ms<=10"),
    "quality is the budget": Case(LADDER, "macs<=1G"),
    "a tail": Case(
        [make_row("base/0", 4, latency_p95_ms=9.0, latency_p95_upper_ms=11.0)], "latency_p95_ms<=10"
    ),
}  # fmt: skip


def random_cases(count: int, seed: int = 0) -> list[Case]:
    """Small runs with ties, missing values and failures, and one or two budgets amid their values."""
    dice = random.Random(seed)
    texts = ("latency_ms<={:.3g}", "peak_memory_bytes<={:.0f}MiB", "macs<={:.2f}G", "latency_ms<={:.0f}us")
    cases = []
    for _ in range(count):
        rows = [random_row(dice, place) for place in range(dice.randint(1, 8))]
        picked = dice.sample(texts, dice.randint(1, 2))
        scale = {texts[0]: 20, texts[1]: 300, texts[2]: 4, texts[3]: 20_000}
        text = ", ".join(one.format(dice.uniform(0.05, 1) * scale[one]) for one in picked)
        cases.append(Case(rows, text, dice.choice((None, "macs", "params"))))
    return cases


def random_row(dice: random.Random, place: int) -> MeasuredRow:
    latency_ms = None if dice.random() < 0.1 else dice.choice((5.0, 12.5, round(dice.uniform(1, 20), 6)))
    spread = dice.choice((0.0, 0.05, 0.5))
    memory = dice.randint(10, 300) * 2**20 + 4096 * dice.randint(0, 255)
    status = dice.choice(("ok", "ok", "ok", "unstable", "failed"))
    return make_row(
        f"width/{place}",
        dice.choice((10**9, dice.randint(10**8, 4 * 10**9))),
        latency_ms,
        latency_ci_low_ms=None if latency_ms is None else latency_ms * (1 - spread),
        latency_ci_high_ms=None if latency_ms is None or dice.random() < 0.1 else latency_ms * (1 + spread),
        peak_memory_bytes=memory,
        peak_memory_min_bytes=memory - 2**20 * dice.randint(0, 9),
        peak_memory_max_bytes=memory + 2**20 * dice.randint(0, 9),
        params=dice.choice((5_000_000, dice.randint(10**6, 10**8))),
        accuracy=dice.choice((None, 77.1)),
        model=dice.choice(("efficientnet_b0", "efficientnet_b0", "resnet18")),
        status=status,
        reason=None if status == "ok" else "it broke",
    )


def name_of(row: MeasuredRow | None) -> str | None:
    return None if row is None else row.spec_id.split("/", 1)[1]


# ---- the grammar ----


@given(BUDGETS)
def test_a_budget_reads_back_from_its_own_text(budget: Budget) -> None:
    assert parse_budgets(str(budget)) == (budget,)


@given(st.lists(BUDGETS, min_size=1, max_size=4), SPACES, SPACES)
def test_spaces_and_commas_between_budgets_change_nothing(
    budgets: list[Budget], before: str, after: str
) -> None:
    parts = [str(budget).replace(budget.sense, f"{before}{budget.sense}{after}") for budget in budgets]
    text = f"{after},{before}".join(parts)
    assert parse_budgets(f"{before}{text}{after}") == tuple(budgets) == parse_budgets(parts)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("latency_ms<=10", 10.0),
        ("latency_ms <= 0.5 s", 500.0),
        ("latency_ms<=250us", 0.25),
        ("peak_memory_bytes<=2GiB", 2.0**31),
        ("peak_memory_bytes<=1.5G", 1.5e9),
        ("peak_memory_bytes<=100MB", 1e8),
        ("macs<=1.5G", 1.5e9),
        ("energy_j<=5mJ", 0.005),
        ("compile_s<=2m", 120.0),
        ("accuracy>=77.1%", 77.1),
        ("throughput_per_s>=1k", 1000.0),
        ("ratio_to_base<=1.5x", 1.5),
    ],
)
def test_quantities_take_the_suffixes_of_their_unit(text: str, value: float) -> None:
    (budget,) = parse_budgets(text)
    assert budget.value == value


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_budget_is_told_in_one_line_with_the_text_and_the_way_out(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_budgets(text)
    assert str(error.value) == f"budget '{text}'{WRONG[text]}"


def test_a_text_of_several_lines_is_told_in_one() -> None:
    with pytest.raises(UsageError, match=r"^budget 'latency_ms < 10' is not METRIC<=QUANTITY"):
        parse_budgets("latency_ms\n< 10")


@given(st.sampled_from(sorted(SUFFIXES)), st.floats(min_value=1e-9, max_value=1e16))
def test_the_shortest_text_of_a_quantity_reads_back_exactly(unit: Any, value: float) -> None:
    assert parse_quantity(plain_quantity(value, unit), unit, option="-") == value


def test_every_quantity_and_both_ends_of_its_interval_are_fields_of_rows() -> None:
    for quantity in QUANTITIES.values():
        fields = {quantity.name, *(quantity.ends or ())}
        assert fields <= set(MeasuredRow.__struct_fields__) | set(CostRow.__struct_fields__), quantity.name
    assert set(METRICS) <= set(QUANTITIES)


# ---- what meets a budget ----


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [(8.0, 10.0, "meets"), (9.0, 10.1, "undecided"), (10.0, 12.0, "undecided"), (10.1, 12.0, "misses")],
)
def test_the_interval_decides_and_not_the_value(low: float, high: float, standing: str) -> None:
    row = make_row("base/0", 4, 9.9, latency_ci_low_ms=low, latency_ci_high_ms=high)
    (budget,) = parse_budgets("latency_ms<=10")
    assert budget.standing(row) == standing


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [(50.0, 60.0, "meets"), (49.0, 60.0, "undecided"), (40.0, 50.0, "undecided"), (40.0, 49.0, "misses")],
)
def test_what_is_to_be_large_is_decided_from_below(low: float, high: float, standing: str) -> None:
    ends = {"throughput_ci_low_per_s": low, "throughput_ci_high_per_s": high}
    (budget,) = parse_budgets("throughput_per_s>=50")
    assert budget.standing(make_row("base/0", 4, throughput_per_s=50.0, **ends)) == standing


def test_memory_is_decided_by_its_range_and_a_count_by_its_value() -> None:
    row = make_row("base/0", 400, peak_memory_min_bytes=90, peak_memory_bytes=95, peak_memory_max_bytes=101)
    memory, macs, fewer = parse_budgets("peak_memory_bytes<=100, macs<=400, macs<=399")
    assert [one.standing(row) for one in (memory, macs, fewer)] == ["undecided", "meets", "misses"]


def test_a_measurement_without_an_interval_decides_nothing() -> None:
    assert CASES["without an interval"].recommend().sentences == (
        "No model meets latency_ms<=10 for certain.",
        "Undecided, since the bound lies inside the interval: base/0 at 5.00 ms [?].",
    )


# ---- the recommendation ----


def test_the_largest_model_within_is_recommended_with_its_runner_up_and_the_next_steps_price() -> None:
    found = CASES["ladder"].recommend()
    assert (name_of(found.row), name_of(found.runner_up)) == ("depth/1", "width/1")
    assert found.next_step is not None
    assert name_of(found.next_step.row) == "compound/3"
    assert found.next_step.price == pytest.approx(1.23)
    assert found.standings == ("meets", "meets", "meets", "undecided", "misses", "misses")
    assert found.words == (
        "Within latency_ms<=10 for certain, the best by MACs (capacity proxy) is depth/1, 810 M MACs, "
        "8.00 ms [7.20–8.80]. "
        "Runner-up: width/1, 800 M MACs, 7.00 ms [6.30–7.70]. "
        "Undecided, since the bound lies inside the interval: width/2 at 10.5 ms [9.45–11.6]. "
        "Next step: compound/3, 3.20 G MACs, at 12.3 ms [11.1–13.5], 1.23× the budget."
    )


def test_an_undecided_model_that_may_beat_the_runner_up_is_named_and_a_lesser_one_is_not() -> None:
    found = CASES["undecided beside the runner-up"].recommend()
    assert (name_of(found.row), name_of(found.runner_up)) == ("depth/1", "width/1")
    assert [name_of(row) for row in found.undecided] == ["width/2", "depth/1.5"]


def test_accuracy_is_the_quality_only_where_every_candidate_has_one() -> None:
    found = CASES["accuracy"].recommend()
    assert (found.quality, name_of(found.row)) == ("accuracy", "depth/1")
    assert found.sentences[0] == (
        "Within latency_ms<=10 for certain, the best by accuracy is depth/1, 78.8 % accuracy, "
        "8.00 ms [7.20–8.80]."
    )
    mixed = Case([*ACCURATE[:2], *LADDER[2:]], "latency_ms<=10").recommend()
    assert mixed.quality == "macs"
    lacking = make_row("width/9", 9, peak_memory_bytes=None)
    assert Case([*ACCURATE, lacking], "peak_memory_bytes<=2GiB").recommend().quality == "accuracy"


def test_the_next_step_is_the_cheapest_better_model_and_not_the_next_larger() -> None:
    rows = [LADDER[0], make_row("depth/2", 1_000_000_000, 40.0), make_row("width/3", 2_000_000_000, 20.0)]
    found = Case(rows, "latency_ms<=10").recommend()
    assert found.next_step is not None
    assert name_of(found.next_step.row) == "width/3"


def test_a_worse_model_that_misses_is_no_next_step() -> None:
    rows = [LADDER[1], make_row("depth/0", 1_000_000, 40.0)]
    found = Case(rows, "latency_ms<=10").recommend()
    assert found.next_step is None
    assert found.sentences[-1] == "No better model was measured."


def test_where_every_better_model_is_undecided_that_is_said() -> None:
    assert CASES["all better undecided"].recommend().sentences[-1] == "Every better model is undecided."


def test_of_models_of_equal_quality_the_cheapest_is_recommended() -> None:
    found = CASES["equal quality"].recommend()
    assert (name_of(found.row), name_of(found.runner_up)) == ("width/1", "depth/1")


def test_all_budgets_must_be_met_and_a_miss_names_each_that_is_not() -> None:
    found = CASES["two budgets"].recommend()
    assert name_of(found.row) == "width/2"
    assert found.next_step is not None
    assert found.sentences[-1] == (
        "Next step: compound/2, at 14.0 ms [12.6–15.4], 1.17× the budget, and 1.70 G MACs, 1.03× the budget."
    )


def test_where_no_model_meets_it_the_nearest_is_told_with_its_price() -> None:
    found = CASES["none"].recommend()
    assert (found.row, found.runner_up, found.next_step) == (None, None, None)
    assert name_of(found.nearest) == "base/0"
    assert found.words == (
        "No model meets latency_ms<=1; base/0 comes nearest at 4.00 ms [3.60–4.40], 4.00× the budget."
    )


def test_an_undecided_model_is_never_recommended() -> None:
    found = CASES["only undecided"].recommend()
    assert (found.row, name_of(found.nearest)) == (None, "base/0")
    assert found.sentences[0] == "No model meets latency_ms<=4 for certain."


def test_a_narrow_miss_is_not_rounded_to_once_the_budget() -> None:
    assert CASES["narrowly missed"].recommend().words.endswith("1.001× the budget.")


def test_models_without_a_value_are_no_candidates_and_are_counted() -> None:
    found = CASES["left out"].recommend()
    assert found.sentences[-1] == (
        "Left out: 1 model that was not measured, 2 models without peak_memory_bytes."
    )
    assert found.standings[-3:] == (None, None, None)
    assert CASES["no row has both"].recommend().sentences[0] == (
        "No model has a value of each of peak_memory_bytes, latency_ms, macs."
    )


def test_macs_of_several_models_are_told_to_be_a_doubtful_quality() -> None:
    found = CASES["several models"].recommend()
    assert "MACs stand in for quality among one model's rows, hardly between models." in found.sentences
    assert "is efficientnet_b0/depth/1, " in found.words


def test_a_budget_on_what_no_model_has_tells_the_reason() -> None:
    with pytest.raises(UsageError) as error:
        Case(LADDER, "gpu_ms<=3").recommend()
    assert str(error.value) == (
        "budget 'gpu_ms<=3': no model here has gpu_ms (measured on CUDA only): leave it out"
    )
    with pytest.raises(UsageError, match=r"no model here has accuracy \(it is not known of these networks\)"):
        Case(LADDER, "accuracy>=77").recommend()
    failed = make_row("base/0", 4, None, status="oom", reason="no memory")
    with pytest.raises(UsageError, match=r"no model here has latency_ms \(oom: no memory\)"):
        Case([failed], "latency_ms<=1").recommend()


def test_a_recommendation_is_the_best_of_those_that_meet_the_budgets() -> None:
    recommended = 0
    for case in random_cases(300):
        found = advise(case.rows, parse_budgets(case.text))
        kinds = zip(case.rows, found.standings, strict=found.refused is None)
        meeting = [row for row, standing in kinds if standing == "meets"]
        assert (found.row is None) == (not meeting)
        if found.row is None:
            continue
        recommended += 1
        quality = getattr(found.row, found.quality)
        assert quality == max(getattr(row, found.quality) for row in meeting)
        assert (found.runner_up is None) == (len(meeting) == 1)
        if found.next_step is not None:
            assert getattr(found.next_step.row, found.quality) > quality
            assert found.next_step.price > 1
    assert recommended > 100


# ---- runs ----


def test_a_run_recommends_from_python() -> None:
    run = sp.Run(family_log())
    found = run.recommend("latency_ms<=50", "peak_memory_bytes<=2GiB")
    assert name_of(found.row) == "compound/2"
    assert (found.workload, found.quality) == ("", "macs")
    assert run.recommend("latency_ms<=50", quality="params").quality == "params"
    with pytest.raises(UsageError, match="quality macz is not a metric"):
        run.recommend("latency_ms<=50", quality="macz")
    with pytest.raises(UsageError, match="a recommendation needs a budget, such as latency_ms<=10"):
        run.recommend()


def test_each_workload_of_a_run_has_a_recommendation_of_its_own() -> None:
    run = sp.Run(runtimes_log(compile=0.5))
    eager, compiled = run.recommendations("latency_ms<=50")
    assert (eager.workload, compiled.workload) == ("eager", "compile")
    assert (name_of(eager.row), name_of(compiled.row)) == ("compound/2", "compound/3")
    assert compiled.words.startswith("compile: Within latency_ms<=50 for certain, ")
    with pytest.raises(UsageError, match=r"several workloads \(eager; compile\): recommendations\(\) gives"):
        run.recommend("latency_ms<=50")


def test_a_workload_that_lacks_the_quantity_does_not_hide_the_others() -> None:
    run = sp.Run(runtimes_log(compile=0.5))
    eager, compiled = run.recommendations("ratio_to_eager<=0.7")
    assert eager.refused is not None
    assert "no model here has ratio_to_eager (this is eager)" in eager.words
    assert name_of(compiled.row) == "compound/3"


def test_a_run_of_failures_has_nothing_to_recommend() -> None:
    run = sp.Run(make_log(make_record(make_spec(), status="timeout", reason="no answer")))
    with pytest.raises(UsageError, match="timeout: no answer"):
        run.recommend("latency_ms<=10")

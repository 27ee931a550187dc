"""What models are compared to, how single passes spread, curves in words, and which strategy leads where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from builders import family_log, make_launch, make_log, make_record, make_spec, make_visit
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.errors import UsageError
from scaleprof.records import ModelSpec, Record, RunLog
from scaleprof.reporting.baseline import against
from scaleprof.reporting.budgets import parse_budgets
from scaleprof.reporting.distributions import PROBABILITIES, distribution, distribution_words
from scaleprof.reporting.view import RunView, view_runs


def view_of(log: RunLog, **options: Any) -> RunView:
    return view_runs([log], **options)[0]


# ---- the baseline ----
def test_left_to_itself_every_model_is_compared_to_its_base() -> None:
    view = view_of(family_log())
    assert (view.baseline.spec_id, view.baseline.given) == ("efficientnet_b0/base/0", False)
    for row, ratio in zip(view.rows, view.baseline.ratios, strict=True):
        assert ratio is not None
        assert ratio.value == pytest.approx(row.ratio_to_base)


def test_ratios_to_a_baseline_that_was_asked_for_are_those_of_the_same_rounds() -> None:
    view = view_of(family_log(), baseline="efficientnet_b0/compound/2")
    by_name = {row.spec_id: ratio for row, ratio in zip(view.rows, view.baseline.ratios, strict=True)}
    assert by_name["efficientnet_b0/compound/2"].value == 1.0  # type: ignore[union-attr]
    assert by_name["efficientnet_b0/base/0"].value == pytest.approx(1 / 4)  # type: ignore[union-attr]
    assert by_name["efficientnet_b0/width/2"].value == pytest.approx(1.3)  # type: ignore[union-attr]


def test_two_families_are_each_compared_to_their_own_base() -> None:
    records = [
        make_record(make_spec(strategy, phi, model=model, channels=n * 10 + phi), latency_s=0.01 * n * 2**phi)
        for n, model in enumerate(("a", "b"), start=1)
        for strategy, phi in (("base", 0), ("width", 1))
    ]
    view = view_of(make_log(*records))
    assert view.baseline.spec_id is None
    assert [round(ratio.value, 6) for ratio in view.baseline.ratios if ratio] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("compound/2", "did you mean 'efficientnet_b0/compound/2'?"),
        ("efficientnet_b0/compund/2", "did you mean 'efficientnet_b0/compound/2'?"),
        ("zzz", "scaleprof show lists them"),
    ],
)
def test_a_baseline_that_no_run_has_is_refused_with_the_way_out(asked: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        view_of(family_log(), baseline=asked)
    assert str(caught.value).startswith(f"--baseline {asked} is no measured model of these runs")
    assert str(caught.value).endswith(hint)


def test_a_model_that_failed_is_no_baseline() -> None:
    failed = make_record(make_spec("depth", 1, channels=9), status="oom", reason="no memory")
    log = family_log()
    with pytest.raises(UsageError, match="is no measured model"):
        view_of(
            msgspec.structs.replace(log, records=(*log.records, failed)), baseline="efficientnet_b0/depth/1"
        )


def test_what_a_model_costs_beside_the_baseline_is_told_with_its_interval_and_doubt() -> None:
    view = view_of(family_log(), baseline="efficientnet_b0/compound/2")
    rows = {row.spec_id: (row, ratio) for row, ratio in zip(view.rows, view.baseline.ratios, strict=True)}
    base, _ = rows["efficientnet_b0/compound/2"]
    row, ratio = rows["efficientnet_b0/width/3"]
    assert against(row, base, ratio) == (
        "Against the baseline efficientnet_b0/compound/2 (40.4 ms): 2.60 [2.60–2.60] times as long, "
        "2.00 times its MACs, 1.00 times its peak memory."
    )
    assert against(base, base, None) == "efficientnet_b0/compound/2 is the baseline."
    assert "no shared rounds to compare latencies in" in against(row, base, None)


def test_a_ratio_whose_interval_holds_one_is_undecided() -> None:
    noisy = [
        measured(make_spec("base", 0), [[0.010] * 6, [0.012] * 6, [0.011] * 6]),
        measured(make_spec("width", 1, channels=9), [[0.011] * 6, [0.0115] * 6, [0.0113] * 6]),
    ]
    view = view_of(make_log(*noisy))
    assert against(view.rows[1], view.rows[0], view.baseline.ratios[1]).count("undecided") == 1


def measured(spec: ModelSpec, passes_s: Sequence[Sequence[float]]) -> Record:
    """A record of a pass a visit, by launch."""
    launches = tuple(
        msgspec.structs.replace(
            make_launch(launch=number),
            visits=tuple(make_visit(s, round_number=n, samples=1) for n, s in enumerate(values)),
        )
        for number, values in enumerate(passes_s)
    )
    return msgspec.structs.replace(make_record(spec), launches=launches)


def test_the_recommended_model_is_set_beside_the_baseline() -> None:
    view = view_of(family_log(), budgets=parse_budgets("latency_ms<=50"))
    assert view.budget.versus is not None
    assert view.budget.versus.startswith(
        "Against the baseline efficientnet_b0/base/0 (10.1 ms): 4.00 [4.00–4.00]"
    )


# ---- single passes ----
@given(st.lists(st.lists(st.floats(1e-4, 10), min_size=1, max_size=9), min_size=1, max_size=4))
def test_quantiles_are_samples_in_order_and_the_ends_hold_the_medians(passes_s: list[list[float]]) -> None:
    spread = distribution(measured(make_spec(), passes_s), embed_samples=True)
    assert spread is not None
    pooled = sorted(s * 1e3 for values in passes_s for s in values)
    assert spread.count == len(pooled)
    assert set(spread.quantiles_ms) <= set(pooled)
    assert list(spread.quantiles_ms) == sorted(spread.quantiles_ms)
    assert len(spread.quantiles_ms) == len(PROBABILITIES)
    assert all(pooled[0] <= one <= pooled[-1] for one in spread.launch_medians_ms)
    assert sorted(one for launch in spread.samples_ms or () for one in launch) == pooled


def test_a_spread_is_told_in_words_and_samples_stay_out_unless_asked_for() -> None:
    spread = distribution(family_log().records[0])
    assert spread is not None
    assert spread.samples_ms is None
    words = distribution_words("m", spread)
    assert words.startswith("m: half of ")
    assert f"{spread.count} passes within 10.1 ms, nine in ten between 10.0 and 10.2 ms" in words


def test_what_was_not_measured_has_no_spread() -> None:
    failed: Record = make_record(make_spec(), status="oom", reason="no memory")
    assert distribution(failed) is None


def test_at_first_the_baseline_and_what_may_be_taken_are_pinned() -> None:
    plain, within = view_of(family_log()), view_of(family_log(), budgets=parse_budgets("latency_ms<=50"))
    assert [plain.rows[i].spec_id for i in plain.pins] == [
        f"efficientnet_b0/{name}" for name in ("base/0", "compound/1", "compound/2", "compound/3")
    ]
    assert [within.rows[i].spec_id for i in within.pins] == [
        f"efficientnet_b0/{name}" for name in ("base/0", "compound/2", "compound/1")
    ]


# ---- curves ----
def test_curves_are_told_against_macs_and_against_phi() -> None:
    curves = {curve.y: curve.words for curve in view_of(family_log()).curves}
    assert {"latency_ms", "peak_memory_bytes", "activations", "params"} <= set(curves)
    assert "energy_j" not in curves
    assert "width: 10.1 ms at 400 M to 105 ms at 3.20 G" in curves["latency_ms"]["macs"]
    assert "width: 10.1 ms at φ = 0 to 105 ms at φ = 3" in curves["latency_ms"]["phi"]


# ---- which strategy leads where ----
def test_the_verdict_says_from_where_to_where_a_strategy_leads() -> None:
    # Read from 2^(1/2) times the base's MACs on, where compound takes 10.1 ms times 2^(1/2).
    assert (
        "Fastest at equal MACs on cpu at batch 1: compound from 14.3 to 80.8 ms (566 M to 3.20 G MACs)."
        in view_of(family_log()).verdict
    )


def test_where_curves_cross_each_range_of_latency_has_its_own_leader() -> None:
    # Width starts out slower than depth and ends up faster: latency ∝ MACs^0.7 against MACs^1.0.
    records = [make_record(make_spec("base", 0), latency_s=0.010, macs=10**8)]
    for strategy, factor, power in (("width", 1.4, 0.7), ("depth", 1.0, 1.0)):
        for phi in (1, 2, 3):
            spec = make_spec(strategy, phi, channels=phi + 10 * (strategy == "width"))
            records.append(
                make_record(spec, latency_s=0.010 * factor * 2 ** (power * phi), macs=10**8 * 2**phi)
            )
    (ranges,) = [s for s in view_of(make_log(*records)).verdict if s.startswith("Fastest at equal MACs")]
    assert "depth from " in ranges
    assert ranges.index("depth from ") < ranges.index("width from ")

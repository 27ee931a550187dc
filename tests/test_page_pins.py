"""Pinned models, the baseline and the curves' axis in a real browser."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec
from pages import HOSTILE, POINTS, OpenReport, table_values, violations
from playwright.sync_api import Page

from scaleprof.records import Quoted
from scaleprof.reporting.baseline import against
from scaleprof.reporting.distributions import distribution, distribution_words
from scaleprof.reporting.view import view_runs

pytestmark = pytest.mark.browser

COMPOUND_2 = "efficientnet_b0/compound/2"


def named(page: Page, chart: str, name: str) -> list[dict[str, Any]]:
    """The traces of a chart that have this name."""
    traces: list[dict[str, Any]] = page.evaluate(f"document.getElementById('{chart}').data")
    return [trace for trace in traces if trace.get("name") == name]


def pinned(page: Page) -> list[str]:
    """The models whose times are drawn, by their own names, from the top."""
    return [trace["ids"][0].split("/", 1)[1] for trace in named(page, "run1-spread", "median")]


def test_the_spread_of_pinned_models_is_drawn_where_their_samples_are(open_report: OpenReport) -> None:
    log = family_log()
    page = open_report(log)
    assert pinned(page) == ["base/0", "compound/1", "compound/2", "compound/3"]
    spread = distribution(log.records[1])
    assert spread is not None
    assert named(page, "run1-spread", "median")[1]["x"] == pytest.approx([spread.quantiles_ms[3]], rel=1e-3)
    assert named(page, "run1-spread", "launches")[1]["x"] == pytest.approx(spread.launch_medians_ms, rel=1e-3)
    assert distribution_words("efficientnet_b0/compound/1", spread) in page.inner_text("#run1-words-spread")


def test_pinning_by_keyboard_draws_a_model_and_is_in_the_link(open_report: OpenReport) -> None:
    page = open_report(family_log())
    button = page.get_by_role("button", name="Pin efficientnet_b0/width/3")
    assert button.get_attribute("aria-pressed") == "false"
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert pinned(page)[-1] == "width/3"
    again = open_report(family_log(), hash_="#" + page.url.split("#")[1])
    assert pinned(again) == pinned(page)
    page.keyboard.press("Enter")
    assert "width/3" not in pinned(page)
    assert "pins" not in page.url


def test_with_no_model_pinned_the_chart_says_so(open_report: OpenReport) -> None:
    page = open_report(family_log(), hash_="#run1.pins=")
    assert pinned(page) == []
    assert page.inner_text("#run1-words-spread") == "No model is pinned."


def test_samples_are_in_the_page_only_if_asked_for(open_report: OpenReport) -> None:
    assert named(open_report(family_log()), "run1-spread", "samples") == []
    page = open_report(family_log(), report={"embed_samples": True})
    (samples, *_) = named(page, "run1-spread", "samples")
    spread = distribution(family_log().records[0], embed_samples=True)
    assert spread is not None
    flat = [one for launch in spread.samples_ms or () for one in launch]
    assert samples["x"] == pytest.approx(flat, rel=1e-3)


def test_the_page_says_of_every_model_beside_the_baseline_what_python_says(open_report: OpenReport) -> None:
    log = family_log()
    quoted = [
        msgspec.structs.replace(record, quoted=Quoted(70.0 + 1.3 * n, "r", 0.4 if n % 3 else None))
        for n, record in enumerate(log.records)
    ]
    log = msgspec.structs.replace(log, records=tuple(quoted))
    (view,) = view_runs([log], baseline=COMPOUND_2)
    page = open_report(log, report={"baseline": COMPOUND_2})
    base = next(row for row in view.rows if row.spec_id == COMPOUND_2)
    told = page.evaluate(
        """() => {
          const run = JSON.parse(document.getElementById('scaleprof-data').textContent)[0];
          run.rows = charting.rowsOf(run.rows);
          return run.rows.map((row) => pinning.against(run, row));
        }"""
    )
    assert told == [
        against(row, base, ratio) for row, ratio in zip(view.rows, view.baseline.ratios, strict=True)
    ]


def test_a_baseline_has_a_star_a_column_and_its_part_of_the_front_list(open_report: OpenReport) -> None:
    page = open_report(family_log(), report={"baseline": COMPOUND_2})
    (star,) = named(page, "run1-pareto", "baseline")
    latency, macs = table_values(page, "latency_ms"), table_values(page, "macs")
    assert star["x"][0] == pytest.approx(latency[COMPOUND_2], rel=0.005)
    assert star["y"][0] == pytest.approx(macs[COMPOUND_2], rel=0.005)
    assert page.locator("th", has_text="÷ baseline [95 %]").count() == 1
    ratios = table_values(page, "ratio")
    assert ratios["efficientnet_b0/base/0"] == 0.25
    assert ratios["efficientnet_b0/width/2"] == 1.3
    assert "2.00 [2.00–2.00] × baseline" in page.inner_text("#run1-front")
    page.click("text='÷ baseline [95 %]'")
    assert page.inner_text("#run1-table tbody tr:first-child th span") == "efficientnet_b0/base/0"


def test_a_given_error_is_a_whisker_and_in_the_table(open_report: OpenReport) -> None:
    records = [
        msgspec.structs.replace(record, quoted=Quoted(70.0 + n, "r", 0.4))
        for n, record in enumerate(family_log().records)
    ]
    page = open_report(make_log(*records))
    assert page.input_value("#run1-y") == "accuracy"
    (width,) = named(page, "run1-pareto", "width")
    assert width["error_y"]["array"] == pytest.approx([0.4] * 3)
    assert width["error_y"]["arrayminus"] == pytest.approx([0.4] * 3)
    assert table_values(page, "accuracy")[COMPOUND_2] == 72
    assert "72.0 % [71.6–72.4]" in page.inner_text("#run1-table")


def test_growth_sorts_by_what_the_column_shows(open_report: OpenReport) -> None:
    base, *others = family_log().records
    matched = [
        msgspec.structs.replace(record, matched_growth=10.0 - n, achieved_growth=float(n))
        for n, record in enumerate(others)
    ]
    page = open_report(make_log(base, *matched))
    page.get_by_role("button", name="Growth").click()
    shown = list(table_values(page, "growth").values())
    assert shown == sorted(shown) == [1, 5, 6, 7, 8, 9, 10]


def test_curves_are_drawn_against_phi_too(open_report: OpenReport) -> None:
    page = open_report(family_log())
    page.select_option("#run1-against", "phi")
    latency = table_values(page, "latency_ms")
    for chart in ("run1-curve-latency_ms", "run1-curve-peak_memory_bytes", "run1-curve-activations"):
        points = page.evaluate(POINTS, chart)
        assert {spec: round(x, 2) for spec, (x, _, _) in points.items()} == {
            spec: float(spec.rsplit("/", 1)[1]) for spec in latency
        }, chart
    points = page.evaluate(POINTS, "run1-curve-latency_ms")
    assert all(y == pytest.approx(latency[spec], rel=0.01) for spec, (_, y, _) in points.items())
    assert "Latency against φ" in page.inner_text("#run1-words-latency_ms")
    assert "run1.against=phi" in page.url
    again = open_report(family_log(), hash_="#run1.against=phi")
    assert again.input_value("#run1-against") == "phi"


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1440)])
def test_axe_finds_no_violation_with_a_baseline_and_nothing_overflows(
    open_report: OpenReport, scheme: str, width: int
) -> None:
    page = open_report(
        family_log(),
        budget="latency_ms<=50",
        report={"baseline": COMPOUND_2, "embed_samples": True},
        color_scheme=scheme,
        width=width,
        bypass_csp=True,
    )
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_hostile_name_is_text_as_baseline_and_when_pinned(open_report: OpenReport) -> None:
    records = [
        make_record(make_spec(strategy, n, model=HOSTILE, channels=n), latency_s=0.01 * n, macs=10**8 * n)
        for n, strategy in enumerate(("width", "width", "depth"), start=1)
    ]
    page = open_report(make_log(*records), budget="latency_ms<=25", report={"baseline": f"{HOSTILE}/width/1"})
    assert page.locator("img").count() == 0
    assert HOSTILE in page.inner_text("#run1-words-spread")
    assert f"Against the baseline {HOSTILE}/width/1" in page.inner_text("#run1-advice")


def test_the_data_block_holds_quantiles_and_ratios_for_programs(open_report: OpenReport) -> None:
    page = open_report(family_log(), java_script_enabled=False)
    (data,) = json.loads(page.locator("#scaleprof-data").text_content() or "")
    assert len(data["spreads"]) == len(data["baseline"]["ratios"]) == data["rows"]["count"] == 7
    assert data["baseline"]["spec_id"] == "efficientnet_b0/base/0"
    assert "half of" in page.inner_text("#run1-words-spread")

"""The report in a real browser: drawn where the table says, silent on the network, readable by everyone."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec
from pages import HOSTILE, POINTS, OpenReport, table_values, violations
from playwright.sync_api import Page
from test_budgets import CASES, WRONG, Case, random_cases
from test_side_by_side import runtimes_log, searched_log

import scaleprof as sp
from scaleprof.errors import UsageError
from scaleprof.reporting.budgets import QUANTITIES, parse_budgets
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.recommending import recommend, why_unknown
from scaleprof.units import STEPS, SUFFIXES, quantity_text

pytestmark = pytest.mark.browser


def test_a_real_sweep_of_thirteen_models_is_drawn_where_its_table_says(
    measured_sweep: Path, open_report: OpenReport
) -> None:
    page = open_report(path=measured_sweep / "reports" / "b0.html")
    latency, macs = table_values(page, "latency_ms"), table_values(page, "macs")
    memory = table_values(page, "peak_memory_bytes")
    assert len(latency) == 13
    for chart, x, y, scale in (
        ("run1-pareto", latency, macs, 1),
        ("run1-curve-latency_ms", macs, latency, 1),
        ("run1-curve-peak_memory_bytes", macs, memory, 2**20),
    ):
        points = page.evaluate(POINTS, chart)
        assert set(points) == set(latency), chart
        for spec, (drawn_x, drawn_y, width_px) in points.items():
            assert drawn_x == pytest.approx(x[spec], rel=0.01), (chart, spec)
            assert drawn_y == pytest.approx(y[spec] / scale, rel=0.01), (chart, spec)
            assert width_px > 3


def test_changing_an_axis_redraws_the_points_the_front_and_the_words(open_report: OpenReport) -> None:
    page = open_report(family_log())
    page.select_option("#run1-x", "peak_memory_bytes")
    page.select_option("#run1-y", "params")
    points = page.evaluate(POINTS, "run1-pareto")
    memory = table_values(page, "peak_memory_bytes")
    assert all(x == pytest.approx(memory[spec] / 2**20, rel=0.01) for spec, (x, _, _) in points.items())
    assert "Parameters (capacity proxy) against peak memory" in page.inner_text("#run1-words")
    assert "run1.x=peak_memory_bytes" in page.url


def test_the_view_is_a_link(open_report: OpenReport) -> None:
    page = open_report(family_log(), hash_="#run1.x=params&run1.filter=width&theme=dark")
    assert page.input_value("#run1-x") == "params"
    assert page.inner_text("#run1-shown") == "3 of 7 models"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_quantity_against_itself_is_explained_and_not_drawn(open_report: OpenReport) -> None:
    page = open_report(family_log())
    page.select_option("#run1-x", "macs")
    assert "choose two different axes" in page.inner_text("#run1-words")
    assert page.evaluate(POINTS, "run1-pareto") == {}
    assert page.locator("tr.front").count() == 0
    page.select_option("#run1-x", "latency_ms")
    assert len(page.evaluate(POINTS, "run1-pareto")) == 7
    assert page.evaluate("document.getElementById('run1-pareto')._ev.listenerCount('plotly_click')") == 1


def test_the_front_is_a_staircase_through_its_members(open_report: OpenReport) -> None:
    page = open_report(family_log())
    trace = page.evaluate("document.getElementById('run1-pareto').data.find(t => t.name === 'front')")
    assert trace["line"]["shape"] == "hv"
    latency = table_values(page, "latency_ms")
    assert trace["x"] == [pytest.approx(latency[spec], rel=0.005) for spec in page.eval_on_selector_all(
        "#run1-front li", "items => items.map(item => item.firstChild.textContent)"
    )]  # fmt: skip
    marked = page.eval_on_selector_all("tr.front th span", "names => names.map(name => name.textContent)")
    assert len(marked) == len(trace["x"]) == 4


def test_failed_rows_are_never_points_but_are_in_the_table_and_told(open_report: OpenReport) -> None:
    log = family_log()
    failed = make_record(
        make_spec("depth", 3, channels=999), status="killed", reason="the worker was ended by SIGKILL"
    )
    page = open_report(msgspec.structs.replace(log, records=(*log.records, failed)))
    assert len(page.evaluate(POINTS, "run1-pareto")) == 7
    assert page.locator("#run1-table tbody tr").count() == 8
    assert "killed: the worker was ended by SIGKILL" in page.inner_text("#run1-doubts")


def test_no_control_sends_the_figure_anywhere(open_report: OpenReport) -> None:
    page = open_report(family_log())
    titles = page.eval_on_selector_all(
        ".modebar-btn", "buttons => buttons.map(b => b.dataset.title || b.ariaLabel || '')"
    )
    assert any("png" in title.lower() for title in titles)
    assert not [
        title for title in titles if any(w in title.lower() for w in ("share", "cloud", "edit", "plotly"))
    ]


def test_a_hostile_name_is_text_everywhere(open_report: OpenReport) -> None:
    records = [
        make_record(make_spec(strategy, n, model=HOSTILE, channels=n), latency_s=0.01 * n, macs=10**8 * n)
        for n, strategy in enumerate(("width", "width", "depth", "depth"), start=1)
    ]
    page = open_report(make_log(*records))
    assert page.locator("img").count() == 0
    assert page.locator("h1", has_text=HOSTILE).count() == 1
    assert page.locator("tbody th", has_text=HOSTILE).count() == 4
    page.locator("#run1-pareto .nsewdrag").hover()
    assert page.evaluate("document.querySelectorAll('svg image, svg a').length") == 0


def test_only_our_own_scripts_may_run(open_report: OpenReport) -> None:
    page = open_report(family_log())
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(open_report: OpenReport, tmp_path: Path, scheme: str) -> None:
    log = family_log()
    failed = make_record(make_spec("depth", 3, channels=999), status="oom", reason="no memory", launches=1)
    page = open_report(
        msgspec.structs.replace(log, records=(*log.records, failed)), color_scheme=scheme, bypass_csp=True
    )
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_overflows_sideways(open_report: OpenReport, width: int) -> None:
    page = open_report(family_log(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_table_sorts_by_value_and_filters_by_words(open_report: OpenReport) -> None:
    page = open_report(family_log())
    first = "#run1-table tbody tr:first-child"
    page.click("text='Latency [95 %]'")
    assert page.inner_text(f"{first} th span") == "efficientnet_b0/base/0"
    page.click("text='Latency [95 %]'")
    assert page.inner_text(f"{first} th span") == "efficientnet_b0/width/3"
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.fill("#run1-filter", "compound ok")
    assert page.locator("#run1-table tbody tr:visible").count() == 3


def test_every_number_is_there_without_javascript(open_report: OpenReport) -> None:
    page = open_report(family_log(), java_script_enabled=False)
    assert page.locator("#run1-table tbody tr").count() == 7
    assert "is the fastest way to scale" in page.inner_text(".verdict")
    data = json.loads(page.locator("#scaleprof-data").text_content() or "")
    assert data[0]["rows"]["count"] == 7
    assert data[0]["rows"]["columns"]["spec_id"][0] == "efficientnet_b0/base/0"
    assert data[0]["rows"]["constants"]["model"] == "efficientnet_b0"


def test_the_theme_button_goes_round_and_redraws(open_report: OpenReport) -> None:
    page = open_report(family_log(), color_scheme="light")
    ink = "document.getElementById('run1-pareto')._fullLayout.font.color"
    light = page.evaluate(ink)
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark"
    assert page.evaluate(ink) != light


def test_runs_of_two_machines_are_sections_of_their_own(open_report: OpenReport) -> None:
    page = open_report(family_log(), family_log(strategies=("depth", "resolution")))
    titles = page.locator("section.run h1").all_inner_texts()
    assert len(titles) == len(set(titles)) == 3  # their comparison comes first
    assert len(page.evaluate(POINTS, "run2-pareto")) == 7


@pytest.mark.parametrize("records", [1, 60, 2000])
def test_few_and_many_records_are_all_drawn(open_report: OpenReport, tmp_path: Path, records: int) -> None:
    log = make_log(
        *(
            make_record(make_spec("width", n, channels=n), latency_s=0.001 * n, macs=10**6 * n)
            for n in range(1, records + 1)
        )
    )
    page = open_report(log)
    assert len(page.evaluate(POINTS, "run1-pareto")) == records
    empty = tmp_path / "small.html"
    sp.report(sp.Run(make_log()), empty)
    growth = (tmp_path / "report.html").stat().st_size - empty.stat().st_size
    assert growth <= 2000 * records


def test_it_prints_on_a4_without_clipping(open_report: OpenReport, tmp_path: Path) -> None:
    page = open_report(family_log(), width=794)
    page.emulate_media(media="print")
    # A4 less its margins at 96 dots an inch; nothing on the page is wider.
    page.set_viewport_size({"width": 703, "height": 1000})
    page.wait_for_timeout(300)
    widest = page.evaluate(
        "Math.max(...Array.from(document.querySelectorAll('table, figure'),"
        " element => element.getBoundingClientRect().right))"
    )
    assert widest <= 703
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_workloads_side_by_side_are_drawn_where_their_table_says(
    open_report: OpenReport, scheme: str
) -> None:
    page = open_report(runtimes_log(compile=0.5), color_scheme=scheme, bypass_csp=True)
    shown = page.eval_on_selector_all("td[data-side='1']", "cells => cells.map(c => Number(c.dataset.value))")
    trace = page.evaluate("document.getElementById('side1-chart').data[1]")
    assert trace["name"] == "compile"
    assert trace["x"] == pytest.approx(shown)
    assert "compile takes 0.500 times as long as eager" in page.inner_text("#side1")
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 1440])
def test_batches_that_were_tried_are_drawn_and_fit_any_screen(open_report: OpenReport, width: int) -> None:
    page = open_report(searched_log(), width=width, bypass_csp=True)
    (trace,) = page.evaluate("document.getElementById('run1-batches-chart').data")
    assert (trace["x"], trace["y"]) == ([1, 4, 6], [20.0, 99.0, 100.0])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


# ---- budgets ----

# What the page's script makes of rows and a text, in the shape of `decided`.
DECIDE = """
(cases) => cases.map(({ rows, text, quality, unknown }) => {
  const name = (row) => row && row.spec_id;
  try {
    const found = budgeting.recommend(rows, budgeting.parse(text), quality, unknown);
    return {
      names: [found.row, found.runner_up, found.next_step, found.nearest].map(name),
      undecided: found.undecided.map(name),
      standings: found.standings,
      sentences: found.sentences,
    };
  } catch (error) {
    if (!(error instanceof budgeting.BudgetError)) throw error;
    return error.message;
  }
})
"""
# Within this, compound/2 of the family is the best, and width/3 costs 2.10 times as much.
WITHIN_50 = "latency_ms<=50"


def as_page_has_it(case: Case) -> dict[str, object]:
    """A case with its quality, which a page takes from its chart."""
    metric = METRICS[case.quality or recommend(case.rows, parse_budgets(case.text)).quality]
    reasons = {name: why_unknown(case.rows, name) for name in QUANTITIES}
    return {
        "rows": msgspec.to_builtins(list(case.rows)),
        "text": ", ".join(map(str, parse_budgets(case.text))),
        "quality": {"name": metric.name, "label": metric.label, "quality_label": metric.quality_label},
        "unknown": {name: reason for name, reason in reasons.items() if reason is not None},
    }


def decided(case: Case) -> object:
    """What Python makes of a case."""
    found = case.recommend()
    step = found.next_step and found.next_step.row
    return {
        "names": [row and row.spec_id for row in (found.row, found.runner_up, step, found.nearest)],
        "undecided": [row.spec_id for row in found.undecided],
        "standings": list(found.standings),
        "sentences": list(found.sentences),
    }


def with_answers(cases: Iterable[Case]) -> list[Case]:
    """Those of the cases that Python does not refuse."""
    kept = []
    for case in cases:
        with suppress(UsageError):
            case.recommend()
            kept.append(case)
    return kept


def test_the_page_comes_to_the_same_decisions_in_the_same_words_as_python(open_report: OpenReport) -> None:
    cases = [*CASES.values(), *with_answers(random_cases(300, seed=1))]
    assert len(cases) > 200
    page = open_report(make_log())
    answers = page.evaluate(DECIDE, [as_page_has_it(case) for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        assert answer == decided(case), case.text


def test_the_page_says_of_a_wrong_budget_what_python_says(open_report: OpenReport) -> None:
    page = open_report(make_log())
    names = [
        "latensy_ms",
        "mac",
        "peak",
        "energy",
        "throughput_s",
        "memory",
        "p95",
        "ratio",
        "x",
        "bytes_peak",
    ]
    texts = [*WRONG, *(f"{name}<=1" for name in names), "gpu_ms<=1"]
    (row,) = sp.Run(make_log()).rows
    for text in texts:
        page.fill("#run1-budget", text)
        with pytest.raises(UsageError) as error:
            recommend([row], parse_budgets(text))
        # A field without a text asks for nothing, and has nothing to say.
        assert page.inner_text("#run1-advice") == ("" if not text else str(error.value))
        assert page.get_attribute("#run1-budget", "aria-invalid") == str(bool(text)).lower()


def test_the_page_reads_every_suffix_as_python_does(open_report: OpenReport) -> None:
    texts = [
        f" {one.name}  {one.sense} 1.25 {suffix} , macs<=007"
        for one in QUANTITIES.values()
        for suffix in SUFFIXES[one.unit]
    ]
    page = open_report(make_log())
    script = "texts => texts.map(text => budgeting.parse(text).map(one => [one.quantity.name, one.value]))"
    for text, budgets in zip(texts, page.evaluate(script, texts), strict=True):
        assert budgets == [[one.metric, one.value] for one in parse_budgets(text)], text


def test_the_page_writes_numbers_as_python_does(open_report: OpenReport) -> None:
    dice = random.Random(2)
    values = [dice.choice((1, 2, 4, 8, 16, 64)) ** -1 * dice.randint(0, 10**4) for _ in range(1000)]
    values += [10 ** dice.uniform(-7, 14) for _ in range(2000)] + [0.0, -2.5, 0.99955, 9.9949, 99.949]
    asked = [(value, unit, [value * 0.9, value * 1.3]) for value in values for unit in STEPS]
    page = open_report(make_log())
    script = "asked => asked.map(([value, unit, ends]) => budgeting.quantityText(value, unit, ends))"
    for (value, unit, ends), text in zip(asked, page.evaluate(script, asked), strict=True):
        assert text == quantity_text(value, unit, *ends), (value, unit)


def marks(page: Page, key: str = "run1") -> dict[str, str]:
    """Each row's mark in the table, by strategy and φ."""
    found = page.eval_on_selector_all(
        f"#{key}-table .mark",
        "all => all.map(one => [one.closest('th').querySelector('span').textContent, one.textContent])",
    )
    return {spec.split("/", 1)[1]: mark for spec, mark in found if mark}


def shapes_of(page: Page, chart: str) -> list[dict[str, Any]]:
    shapes: list[dict[str, Any]] = page.evaluate(f"document.getElementById('{chart}').layout.shapes")
    return shapes


def test_typing_a_budget_recommends_marks_points_and_rows_and_draws_its_line(open_report: OpenReport) -> None:
    page = open_report(family_log())
    assert (page.inner_text("#run1-advice"), marks(page), shapes_of(page, "run1-pareto")) == ("", {}, [])
    assert page.locator(".of-budget:visible").count() == 0
    page.focus("#run1-x")
    page.keyboard.press("Tab")
    page.keyboard.type(WITHIN_50)
    assert page.inner_text("#run1-advice").split("\n\n") == [
        *sp.Run(family_log()).recommend(WITHIN_50).sentences,
        "Against the baseline efficientnet_b0/base/0 (10.1 ms): 4.00 [4.00–4.00] times as long, "
        "4.00 times its MACs, 1.00 times its peak memory.",
    ]
    assert marks(page) == {
        "base/0": "meets",
        "compound/1": "runner-up",
        "width/1": "meets",
        "compound/2": "recommended",
        "width/2": "misses",
        "compound/3": "misses",
        "width/3": "misses",
    }
    (line,) = shapes_of(page, "run1-pareto")
    assert (line["x0"], line["x1"], line["yref"]) == (50, 50, "paper")
    (line,) = shapes_of(page, "run1-curve-latency_ms")
    assert (line["y0"], line["y1"], line["xref"]) == (50, 50, "paper")
    assert shapes_of(page, "run1-curve-peak_memory_bytes") == []
    traces = {trace["name"]: trace for trace in page.evaluate("document.getElementById('run1-pareto').data")}
    assert traces["width"]["marker"]["symbol"] == ["square", "square-open", "square-open"]
    assert len(traces["misses"]["x"]) == 3
    assert page.locator(".of-budget:visible").count() == 3
    page.fill("#run1-budget", "")
    assert (page.inner_text("#run1-advice"), marks(page), shapes_of(page, "run1-pareto")) == ("", {}, [])


def test_a_budgets_line_is_drawn_on_logarithmic_axes_and_in_the_units_of_the_axis(
    open_report: OpenReport,
) -> None:
    page = open_report(family_log(range(1, 7)), budget="latency_ms<=100, peak_memory_bytes<=50MiB, macs<=2G")
    layout = page.evaluate("document.getElementById('run1-pareto')._fullLayout")
    assert (layout["xaxis"]["type"], layout["yaxis"]["type"]) == ("log", "log")
    across, up = layout["shapes"]
    assert (across["x0"], up["y0"]) == (pytest.approx(100), pytest.approx(2e9))
    placed = page.evaluate("document.getElementById('run1-pareto').layout.annotations.map(a => [a.x, a.y])")
    assert placed == [pytest.approx([2, 1]), pytest.approx([0, math.log10(2e9)])]
    across, memory = shapes_of(page, "run1-curve-peak_memory_bytes")
    assert (across["x0"], memory["y0"]) == (2e9, 50)


def test_a_budget_far_from_all_points_does_not_squeeze_them(open_report: OpenReport) -> None:
    page = open_report(family_log(), budget="latency_ms<=100s")
    assert shapes_of(page, "run1-pareto") == []
    assert "recommended" in marks(page).values()


def test_the_recommendation_goes_by_the_quality_of_the_chart(open_report: OpenReport) -> None:
    page = open_report(family_log(), budget=WITHIN_50)
    assert "the best by MACs (capacity proxy) is compound/2" in page.inner_text("#run1-advice")
    page.select_option("#run1-y", "params")
    assert "the best by parameters (capacity proxy) is base/0" in page.inner_text("#run1-advice")


def test_a_budget_is_in_the_link_and_comes_back_from_it(open_report: OpenReport) -> None:
    page = open_report(family_log(), family_log(), budget=WITHIN_50)
    assert "budget" not in page.evaluate("location.hash")
    page.fill("#run2-budget", "macs<=1G, latency_ms<=1s")
    hash_ = page.evaluate("location.hash")
    again = open_report(family_log(), family_log(), budget=WITHIN_50, hash_=hash_)
    assert again.input_value("#run1-budget") == WITHIN_50
    assert again.input_value("#run2-budget") == "macs<=1G, latency_ms<=1s"
    assert "Within macs<=1G, latency_ms<=1s for certain, the best by" in again.inner_text("#run2-advice")
    assert (marks(again)["compound/2"], marks(again, "run2")["compound/2"]) == ("recommended", "misses")
    again.fill("#run1-budget", "")
    emptied = open_report(family_log(), family_log(), budget=WITHIN_50, hash_="#run1.budget=")
    assert emptied.inner_text("#run1-advice") == ""
    assert "run1.budget=" in again.url


def test_without_javascript_the_first_budget_is_answered_and_marked(open_report: OpenReport) -> None:
    plain = open_report(family_log(), budget=WITHIN_50, java_script_enabled=False)
    scripted = open_report(family_log(), budget=WITHIN_50)
    assert "Within latency_ms<=50 for certain, the best by MACs" in plain.inner_text("#run1-advice")
    assert plain.inner_text("#run1-advice") == scripted.inner_text("#run1-advice")
    assert plain.input_value("#run1-budget") == WITHIN_50
    assert marks(plain) == marks(scripted)


def test_a_workload_that_lacks_the_quantity_says_so_beside_one_that_has_it(open_report: OpenReport) -> None:
    page = open_report(runtimes_log(compile=0.5), budget="ratio_to_eager<=0.7")
    assert "no model here has ratio_to_eager (this is eager): leave it out" in page.inner_text("#run1-advice")
    assert "the best by MACs (capacity proxy) is compound/3" in page.inner_text("#run2-advice")


@pytest.mark.parametrize(
    ("scheme", "width", "budget"),
    [
        ("light", 1440, WITHIN_50),
        ("dark", 320, WITHIN_50),
        ("dark", 1440, "latency_ms<=__"),
        ("light", 320, "latency_ms<=__"),
    ],
)
def test_axe_finds_no_violation_in_budgets_and_nothing_overflows(
    open_report: OpenReport, scheme: str, width: int, budget: str
) -> None:
    page = open_report(family_log(), color_scheme=scheme, width=width, bypass_csp=True)
    page.fill("#run1-budget", budget)
    assert page.inner_text("#run1-advice") != ""
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_hostile_name_is_text_in_a_recommendation_too(open_report: OpenReport) -> None:
    records = [
        make_record(make_spec("width", n, model=HOSTILE, channels=n), latency_s=0.01 * n, macs=10**8 * n)
        for n in (1, 2, 3)
    ]
    page = open_report(make_log(*records), make_log(make_record()), budget="latency_ms<=15")
    assert page.locator("img").count() == 0
    assert "is width/1, 100 M MACs" in page.inner_text("#run1-advice")
    page.fill("#run1-budget", "<img src=x onerror=alert(1)>")
    assert page.inner_text("#run1-advice").startswith("budget '<img src=x onerror=alert(1)>' is not METRIC")
    assert page.locator("img").count() == 0

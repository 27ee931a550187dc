"""The report in a real browser: drawn where the table says, silent on the network, readable by everyone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_core_python.sync_playwright import Axe
from builders import family_log, make_log, make_record, make_spec
from playwright.sync_api import Browser, BrowserContext, Page
from test_side_by_side import runtimes_log, searched_log

import scaleprof as sp
from scaleprof.records import RunLog

pytestmark = pytest.mark.browser

OpenReport = Callable[..., Page]
HOSTILE = "</script><img src=x onerror=alert(1)>"

# Each drawn point's place on the axes, read back from the pixels of its mark.
POINTS = """
(id) => {
  const chart = document.getElementById(id);
  const { xaxis, yaxis } = chart._fullLayout;
  const points = {};
  chart.querySelectorAll('.scatterlayer .trace').forEach((trace) => {
    trace.querySelectorAll('.points path').forEach((path) => {
      const data = path.__data__;
      const [, x, y] = /translate\\(([-0-9.]+)[, ]([-0-9.]+)\\)/.exec(path.getAttribute('transform'));
      points[data.id] = [xaxis.p2d(Number(x)), yaxis.p2d(Number(y)), path.getBoundingClientRect().width];
    });
  });
  return points;
}
"""


@pytest.fixture
def open_report(chromium: Browser, tmp_path: Path) -> Iterator[OpenReport]:
    """Opens a page of these runs from a file, noting every request and error; fails on any at the end."""
    contexts: list[BrowserContext] = []
    requests: list[str] = []
    errors: list[str] = []

    def open_page(
        *logs: RunLog, path: Path | None = None, width: int = 1440, hash_: str = "", **context: Any
    ) -> Page:
        if path is None:
            path = tmp_path / "report.html"
            sp.report([sp.Run(log) for log in logs], path)
        contexts.append(
            chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **context)
        )
        page = contexts[-1].new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(path.resolve().as_uri() + hash_)
        if context.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def table_values(page: Page, metric: str) -> dict[str, float]:
    cells = page.eval_on_selector_all(
        f"td[data-metric={metric}]",
        "cells => cells.map(cell => [cell.closest('tr').dataset.spec, cell.dataset.value])",
    )
    return {spec: float(value) for spec, value in cells if value}


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
    assert trace["x"] == [latency[spec] for spec in page.eval_on_selector_all(
        "#run1-front li", "items => items.map(item => item.firstChild.textContent)"
    )]  # fmt: skip
    marked = page.eval_on_selector_all("tr.front", "rows => rows.map(row => row.dataset.spec)")
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
    # axe is injected as a script of the test's own, which the page's policy rightly refuses.
    page = open_report(
        msgspec.structs.replace(log, records=(*log.records, failed)), color_scheme=scheme, bypass_csp=True
    )
    violations = Axe().run(page)["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in violations] == []


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_overflows_sideways(open_report: OpenReport, width: int) -> None:
    page = open_report(family_log(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_table_sorts_by_value_and_filters_by_words(open_report: OpenReport) -> None:
    page = open_report(family_log())
    first = "#run1-table tbody tr:first-child"
    page.click("text='Latency [95 %]'")
    assert page.get_attribute(first, "data-spec") == "efficientnet_b0/base/0"
    page.click("text='Latency [95 %]'")
    assert page.get_attribute(first, "data-spec") == "efficientnet_b0/width/3"
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.fill("#run1-filter", "compound ok")
    assert page.locator("#run1-table tbody tr:visible").count() == 3


def test_every_number_is_there_without_javascript(open_report: OpenReport) -> None:
    page = open_report(family_log(), java_script_enabled=False)
    assert page.locator("#run1-table tbody tr").count() == 7
    assert "is the fastest way to scale" in page.inner_text(".verdict")
    data = json.loads(page.locator("#scaleprof-data").text_content() or "")
    assert data[0]["rows"][0]["spec_id"] == "efficientnet_b0/base/0"


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
    assert page.locator("section.run h1").count() == 2
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
    assert growth <= 4500 * records


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
    assert "compile takes 0.5 times as long as eager" in page.inner_text("#side1")
    assert [violation["id"] for violation in Axe().run(page)["violations"]] == []


@pytest.mark.parametrize("width", [320, 1440])
def test_batches_that_were_tried_are_drawn_and_fit_any_screen(open_report: OpenReport, width: int) -> None:
    page = open_report(searched_log(), width=width, bypass_csp=True)
    (trace,) = page.evaluate("document.getElementById('run1-batches-chart').data")
    assert (trace["x"], trace["y"]) == ([1, 4, 6], [20.0, 99.0, 100.0])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [violation["id"] for violation in Axe().run(page)["violations"]] == []

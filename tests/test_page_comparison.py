"""The comparison of several runs in a real browser, and the selector that shows one part of a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import HOST, family_log, make_log, make_record, make_spec
from pages import HOSTILE, POINTS, OpenReport, violations
from playwright.sync_api import Page
from test_comparison import GPU, GPU_HOST, failing, ladder, noisy
from test_side_by_side import runtimes_log

import scaleprof as sp
from scaleprof.app.reporting import run_names
from scaleprof.records import RunLog
from scaleprof.reporting.comparison import MOST_DRAWN, compare_runs
from scaleprof.store import RunWriter

pytestmark = pytest.mark.browser

# Ratios by model: the name stands in the points' ids, one trace a run.
RATIOS = """
(id) => document.getElementById(id).data.map((trace) =>
  trace.ids.map((model, i) => [
    model, trace.x[i], trace.x[i] - trace.error_x.arrayminus[i], trace.x[i] + trace.error_x.array[i],
  ]))
"""
VISIBLE = "() => [...document.querySelectorAll('[data-part]')].filter(s => !s.hidden).map(s => s.id)"

OpenRuns = Callable[..., Page]


@pytest.fixture
def open_runs(open_report: OpenReport, tmp_path: Path) -> OpenRuns:
    """Opens the page of run files of these names."""

    def open_page(runs: dict[str, RunLog], **how: Any) -> Page:
        paths = []
        for name, log in runs.items():
            paths.append(tmp_path / f"{name}.jsonl")
            if not paths[-1].exists():
                write_run(paths[-1], log)
        page = tmp_path / "both.html"
        sp.report(list(paths), page)
        return open_report(path=page, **how)

    return open_page


def write_run(path: Path, log: RunLog) -> None:
    with RunWriter.create(path, log.header) as writer:
        writer.append(log.records)


def laptop_and_gpu() -> dict[str, RunLog]:
    log = family_log()
    gpu = noisy(log, seed=2, factor=0.2, workload=GPU, host=GPU_HOST)
    return {"laptop": noisy(log, seed=1), "server gpu": failing(gpu, 2, "oom", "no memory")}


def table_rows(page: Page) -> dict[str, list[dict[str, str]]]:
    """The cells of the table of models, by model: text and number."""
    rows = page.eval_on_selector_all(
        "#comparison-1-table tbody tr",
        "rows => rows.map(row => [row.cells[0].textContent, [...row.cells].slice(1)"
        ".map(cell => ({ text: cell.textContent, value: cell.dataset.value ?? '' }))])",
    )
    return dict(rows)


def test_ratios_are_drawn_with_the_whiskers_that_the_table_tells(open_runs: OpenRuns) -> None:
    runs = laptop_and_gpu()
    page = open_runs(runs)
    found = compare_runs(list(runs.values()), list(runs))
    assert found is not None
    rows = table_rows(page)
    (trace,) = page.evaluate(RATIOS, "comparison-1-ratios")
    assert len(rows) == 7
    assert len(trace) == 6  # one failed
    for model, value, low, high in trace:
        ratio = rows[f"efficientnet_b0/{model}"][2]
        assert float(ratio["value"]) == pytest.approx(value, rel=1e-6)
        line = next(line for line in found.parts[0].lines if line.label == model)
        drawn = line.cells[1].ratio
        assert drawn is not None
        assert (low, high) == pytest.approx(drawn.interval, rel=1e-6)
    assert rows["efficientnet_b0/compound/2"][3]["text"] == "oom in server gpu"
    # A point stands where its number is, and the line of each ratio in the order of the names.
    points = page.evaluate(POINTS, "comparison-1-ratios")
    assert len(points) == 6
    for model, value, _, _ in trace:
        assert points[model][0] == pytest.approx(value, rel=0.01)
        assert points[model][2] > 3


def test_each_runs_latencies_and_front_are_drawn_where_the_table_says(open_runs: OpenRuns) -> None:
    page = open_runs(laptop_and_gpu())
    rows = table_rows(page)
    traces = page.evaluate(
        "document.getElementById('comparison-1-chart').data"
        ".map(({ name, ids, x, y, line, marker, text }) => ({ name, ids, x, y, line, marker, text }))"
    )
    by_name = {trace["name"]: trace for trace in traces}
    assert set(by_name) == {"laptop", "server gpu", "front of laptop", "front of server gpu"}
    for column, (name, count) in enumerate((("laptop", 7), ("server gpu", 6))):
        points = by_name[name]
        assert len(points["ids"]) == count
        for model, latency in zip(points["ids"], points["x"], strict=True):
            assert float(rows[model][column]["value"]) == pytest.approx(latency, rel=1e-6)
        front = by_name[f"front of {name}"]
        assert front["line"]["shape"] == "hv"
        assert front["x"] == sorted(front["x"])
        assert set(front["x"]) <= set(points["x"])
        assert len([text for text in points["text"] if text]) == 1
    labels = [text for trace in by_name.values() for text in trace.get("text") or [] if text]
    assert labels == ["laptop (Test CPU (AVX2))", "server gpu (Test GPU)"]
    a, b = by_name["laptop"], by_name["server gpu"]
    for kind, name in (("line", "color"), ("line", "dash"), ("marker", "symbol")):
        assert a[kind][name] != b[kind][name]
    drawn = page.locator("#comparison-1-chart .scatterlayer .points path").count()
    assert drawn == 13


def test_lines_stand_at_one_and_at_the_limits(open_runs: OpenRuns) -> None:
    page = open_runs(laptop_and_gpu())
    shapes = page.evaluate("document.getElementById('comparison-1-ratios').layout.shapes")
    assert [shape["x0"] for shape in shapes] == pytest.approx([1, 1 / 1.03, 1.03])
    assert page.locator("#comparison-1-ratios .shapelayer path").count() == 3


def test_the_comparison_stands_before_the_runs_and_says_what_differs(open_runs: OpenRuns) -> None:
    page = open_runs(laptop_and_gpu())
    assert page.locator("main > section").first.get_attribute("id") == "comparison"
    assert page.inner_text("#comparison-title") == "Comparison"
    text = page.inner_text("#comparison")
    assert "server gpu takes 0.2" in text
    assert "their ratios are of milliseconds" in text
    differing = page.inner_text("#comparison-differing")
    assert "Test GPU" in differing
    assert "none used" in differing
    words = page.get_attribute("#comparison-1-ratios", "aria-labelledby")
    assert "95 % intervals: 6 models" in page.inner_text(f"#{words}")
    assert "front base/0" in page.inner_text("#comparison-1-words")


def test_one_run_has_no_comparison_and_of_one_workload_no_selector(open_runs: OpenRuns) -> None:
    page = open_runs({"alone": family_log()})
    assert page.locator("#comparison, #show, #scaleprof-comparison").count() == 0


def test_the_selector_shows_one_part_and_the_address_keeps_it(open_runs: OpenRuns) -> None:
    runs = laptop_and_gpu()
    page = open_runs(runs)
    buttons = page.locator("#show button")
    assert buttons.all_inner_texts() == ["everything", "Comparison", "laptop", "server gpu"]
    assert page.evaluate(VISIBLE) == ["comparison", "run1", "run2"]
    page.focus("#theme")
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate(VISIBLE) == ["run2"]
    assert page.get_attribute("#show button:nth-of-type(4)", "aria-pressed") == "true"
    assert page.locator("#show [aria-pressed=true]").count() == 1
    assert "show=2" in page.url
    again = open_runs(runs, hash_="#show=comparison")
    assert again.evaluate(VISIBLE) == ["comparison"]
    assert again.locator("#comparison-1-ratios .points path").count() == 6
    again.click("text='everything'")
    assert again.evaluate(VISIBLE) == ["comparison", "run1", "run2"]
    assert "show" not in again.evaluate("location.hash")
    unknown = open_runs(runs, hash_="#show=9")
    assert unknown.evaluate(VISIBLE) == ["comparison", "run1", "run2"]


def test_charts_that_were_hidden_at_first_fill_their_place_once_they_are_shown(open_runs: OpenRuns) -> None:
    # Waiting is done by a script of the test's own, which the page's policy rightly refuses.
    page = open_runs(laptop_and_gpu(), hash_="#show=1", bypass_csp=True)
    page.click("text='Comparison'")
    for chart in ("comparison-1-ratios", "comparison-1-chart"):
        page.wait_for_function(
            f"document.querySelector('#{chart} .main-svg').getBoundingClientRect().width"
            f" === document.getElementById('{chart}').clientWidth"
        )
    assert len(page.evaluate(POINTS, "comparison-1-ratios")) == 6
    page.click("text='everything'")
    page.wait_for_function(
        "document.querySelector('#run2-pareto .main-svg').getBoundingClientRect().width"
        " === document.getElementById('run2-pareto').clientWidth"
    )


def test_workloads_of_one_run_can_be_shown_one_by_one(open_runs: OpenRuns) -> None:
    page = open_runs({"both": runtimes_log(compile=0.5)})
    texts = page.locator("#show button").all_inner_texts()
    assert texts == ["everything", "Side by side: runtime", "eager", "compile"]
    page.click("#show >> text='compile'")
    assert page.evaluate(VISIBLE) == ["run2"]
    page.click("#show >> text='Side by side: runtime'")
    assert page.evaluate(VISIBLE) == ["side1"]


def test_runs_of_one_title_have_landmarks_of_different_names(open_runs: OpenRuns) -> None:
    log = runtimes_log(compile=0.5)
    page = open_runs({"monday": log, "tuesday": log})
    titles = page.locator("main > section > h1").all_inner_texts()
    assert len(titles) == 7
    assert len(set(titles)) == len(titles)
    assert sum("(tuesday)" in title for title in titles) == 3
    page.click("#show >> text='tuesday'")
    assert page.evaluate(VISIBLE) == ["side2", "run3", "run4"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1440])
def test_axe_finds_no_violation_and_nothing_overflows(open_runs: OpenRuns, scheme: str, width: int) -> None:
    page = open_runs(laptop_and_gpu(), color_scheme=scheme, width=width, bypass_csp=True)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 1440])
def test_hostile_and_endless_names_of_runs_are_text_and_overflow_nothing(
    open_report: OpenReport,
    tmp_path: Path,
    width: int,
) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    long = folder / f"{'long' * 50}.jsonl"
    bold = folder / "<b>bold<br> {{ 7 }} & <img src=x>.jsonl"
    model = make_log(
        *(make_record(make_spec("width", n, model=HOSTILE, channels=n), macs=10**8 * n) for n in (1, 2))
    )
    write_run(long, model)
    write_run(bold, noisy(model, seed=1))
    page = tmp_path / "page.html"
    sp.report([long, bold], page)
    opened = open_report(path=page, width=width)
    assert opened.locator("img, b").count() == 0
    assert opened.evaluate("document.querySelectorAll('svg image, svg a').length") == 0
    assert opened.locator("#show button").nth(3).inner_text() == "<b>bold<br> {{ 7 }} & <img src=x>"
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.click("#show button >> nth=1")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert len(opened.evaluate(POINTS, "comparison-1-ratios")) == 2


def test_without_javascript_all_parts_and_numbers_are_there_and_no_selector(open_runs: OpenRuns) -> None:
    page = open_runs(laptop_and_gpu(), java_script_enabled=False)
    assert not page.locator("#show").is_visible()
    assert page.locator("#comparison-1-table tbody tr").count() == 7
    for part in ("comparison", "run1", "run2"):
        assert page.locator(f"#{part}").is_visible()
    data = json.loads(page.locator("#scaleprof-comparison").text_content() or "")
    assert [one["name"] for one in data["parts"][0]["series"]] == ["laptop", "server gpu"]


def test_the_selector_is_not_printed(open_runs: OpenRuns) -> None:
    page = open_runs(laptop_and_gpu())
    page.emulate_media(media="print")
    assert not page.locator("#show").is_visible()
    page.set_viewport_size({"width": 703, "height": 1000})
    page.wait_for_timeout(300)
    widest = page.evaluate(
        "Math.max(...Array.from(document.querySelectorAll('#comparison table, #comparison figure'),"
        " element => element.getBoundingClientRect().right))"
    )
    assert widest <= 703


def test_runs_that_are_not_compared_say_so_on_the_page(open_runs: OpenRuns) -> None:
    log = family_log()
    page = open_runs({"old": log, "new": noisy(log, seed=1, protocol=2)})
    assert "measurements of two protocols are not compared" in page.inner_text("#comparison")
    assert page.locator("#comparison .chart").count() == 0
    assert page.locator("#comparison-differing").count() == 1


def test_of_many_models_the_farthest_are_drawn_and_all_are_in_the_table(open_runs: OpenRuns) -> None:
    count = MOST_DRAWN + 10
    slow = ladder({n: 0.01 * n for n in range(1, count + 1)})
    fast = ladder({n: 0.01 * n * 0.99**n for n in range(1, count + 1)})
    page = open_runs({"a": slow, "b": fast})
    assert page.locator("#comparison-1-ratios .points path").count() == MOST_DRAWN
    assert page.locator("#comparison-1-table tbody tr").count() == count
    assert page.locator("#comparison-1-chart .points path").count() == 2 * count


def test_three_runs_have_a_series_each_in_both_charts(open_runs: OpenRuns) -> None:
    log = family_log()
    other_host = msgspec.structs.replace(HOST, cpu_model="Another CPU")
    page = open_runs(
        {
            "a": noisy(log, seed=1),
            "b": noisy(log, seed=2, factor=0.98),
            "c": noisy(log, seed=3, factor=3, host=other_host),
        }
    )
    traces = page.evaluate(
        "document.getElementById('comparison-1-ratios').data.map(({ name, marker }) =>"
        " [name, marker.color, marker.symbol])"
    )
    assert [name for name, _, _ in traces] == ["b", "c"]
    assert len({tuple(style) for _, *style in traces}) == 2
    assert page.locator("#comparison .key li").all_inner_texts() == [
        "a (Test CPU (AVX2))",
        "b (Test CPU (AVX2))",
        "c (Another CPU (AVX2))",
    ]


def test_names_of_runs_are_the_stems_of_their_files_and_all_different() -> None:
    run = sp.Run(family_log())
    assert run_names(["profiles/laptop.jsonl", Path("server.jsonl"), run]) == ["laptop", "server", "run 3"]
    assert run_names(["a/b0.jsonl", "b/b0.jsonl"]) == ["a/b0", "b/b0"]
    assert run_names(["x/b0.jsonl", "x/b0.jsonl"]) == ["x/b0", "x/b0 (2)"]
    assert run_names([run, run]) == ["run 1", "run 2"]


def test_markdown_has_the_comparison_before_the_runs(tmp_path: Path) -> None:
    runs = laptop_and_gpu()
    for name, log in runs.items():
        write_run(tmp_path / f"{name}.jsonl", log)
    out = tmp_path / "both.md"
    sp.report([tmp_path / f"{name}.jsonl" for name in runs], out, format="markdown")
    text = out.read_text(encoding="utf-8")
    assert text.index("### Comparison") < text.index("### laptop")
    assert "- server gpu takes 0.2" in text
    assert "| efficientnet_b0/compound/2 | " in text
    assert "oom in server gpu" in text

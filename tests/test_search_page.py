"""A search in a real browser: the map tells what the table tells, points stand where their numbers are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import HOST, family_log, make_spec
from pages import HOSTILE, POINTS, OpenReport, violations
from playwright.sync_api import Page

import scaleprof as sp
from scaleprof.records import (
    Candidate,
    DatasetFacts,
    ModelSpec,
    Recipe,
    RunLog,
    SearchHeader,
    SearchLog,
    Trial,
)
from scaleprof.store import SearchWriter

pytestmark = pytest.mark.browser

BASE_MACS = 6_000_000
CHART = "search1-chart"
RECIPE = Recipe(3, 32, "adamw", 2e-3, 0.05, 0.9, 0.1, 0.3, "fp32", "crop")
DIGITS = DatasetFacts("digits", 10, 1078, 360, 359, 32, "abc123")
# A score for each, with the third the best, the second not told apart from it, and the others behind.
GRID = {
    (1.0, 1.0, 1.4): 70.0,
    (1.1, 1.1, 1.2): 77.6,
    (1.2, 1.1, 1.15): 78.0,
    (1.3, 1.1, 1.1): 74.0,
    (1.4, 1.2, 1.0): 72.0,
}
CONTROLS = {(2.0, 1.0, 1.0): 66.0, (1.0, 1.414, 1.0): 71.0, (1.0, 1.0, 1.414): 69.0}
OUT = {
    (1.1, 1.2, 1.1): "2.51× the base's MACs after rounding, 2× ± 10% was asked for",
    (1.3, 1.2, 1.0): "same network as 1.4/1.2/1",
}


def spec_at(bases: Sequence[float], strategy: str, phi: float = 1, model: str = "mobilenet_v2") -> ModelSpec:
    d, w, r = (base**phi for base in bases)
    return make_spec(
        strategy,
        phi,
        model=model,
        depth=d,
        width=w,
        resolution=r,
        input_size=round(32 * r),
        channels=round(1e6 * (bases[0] + 7 * bases[1] + 53 * bases[2])),
    )


def search_log(
    *, seeds: Sequence[int] = (0, 1, 2), model: str = "mobilenet_v2", transfer: bool = False
) -> SearchLog:
    """A search of five candidates, two that were excluded, and three controls."""
    candidates = []
    for number, bases in enumerate([*GRID, *OUT, *CONTROLS]):
        d, w, r = bases
        growth = 1.9 + 0.02 * number
        candidates.append(
            Candidate(
                number,
                "control" if bases in CONTROLS else "grid",
                d,
                w,
                r,
                spec_at(bases, "control" if bases in CONTROLS else f"c{number}", model=model),
                round(BASE_MACS * growth),
                BASE_MACS * growth,
                growth if bases not in OUT else 2.51,
                OUT.get(bases),
            )
        )
    header = SearchHeader(
        scaleprof="0.1.0",
        command=("scaleprof", "search", "-m", model),
        started_at="2026-01-01T00:00:00+00:00",
        host=HOST,
        model=model,
        base=spec_at((1, 1, 1), "base", 0, model),
        base_cost=BASE_MACS,
        objective="train",
        cost_metric="macs",
        target_growth=2.0,
        tolerance=0.1,
        grid_step=0.05,
        seeds=tuple(seeds),
        candidates=tuple(candidates),
        recipe=RECIPE,
        dataset=DIGITS,
        transfer_phis=(2.0, 3.0) if transfer else (),
    )
    return SearchLog(header, tuple(trials(candidates, seeds, transfer=transfer)))


def trials(candidates: Sequence[Candidate], seeds: Sequence[int], *, transfer: bool) -> list[Trial]:
    scores = GRID | CONTROLS
    carried = {(1.1, 1.1, 1.2), (1.2, 1.1, 1.15), *CONTROLS}
    found = []
    for phi in (1.0, 2.0, 3.0) if transfer else (1.0,):
        for one in candidates:
            bases = (one.depth, one.width, one.resolution)
            if one.excluded or (phi > 1 and bases not in carried):
                continue
            for seed in seeds:
                # What a seed does to all alike, and noise of its own of each trial.
                score = (
                    scores[bases]
                    + 2 * (phi - 1)
                    + 0.4 * (seed - 1)
                    + ((7 * one.number + 5 * seed) % 3 - 1) / 4
                )
                found.append(
                    Trial(
                        *(one.number, phi, seed, "ok", None, 12.0, "2026-01-01T00:00:00+00:00", score),
                        epochs=3,
                        macs=round(2**phi * BASE_MACS),
                    )
                )
    return found


def write_search(path: Path, log: SearchLog) -> Path:
    with SearchWriter.create(path, log.header, overwrite=True) as writer:
        for trial in log.trials:
            writer.append(trial)
    return path


def cells_of(page: Page, table: str) -> dict[str, list[str]]:
    rows = page.eval_on_selector_all(
        f"#{table} tbody tr",
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent.trim()))",
    )
    return {name: cells for name, *cells in rows}


@pytest.fixture
def open_search(open_report: OpenReport, tmp_path: Path) -> OpenReport:
    """Opens the page of a search, beside runs if there are any."""

    def open_page(log: SearchLog, *runs: RunLog, **how: Any) -> Page:
        path = write_search(tmp_path / "found.jsonl", log)
        page = tmp_path / "search.html"
        sp.report([path, *(sp.Run(run) for run in runs)], page)
        return open_report(path=page, **how)

    return open_page


def map_of(page: Page) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Of each cell by depth and width: its number, its note, and its classes."""
    cells = page.evaluate(
        """() => {
          const table = document.getElementById('search1-surface');
          const widths = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
          return [...table.tBodies[0].rows].flatMap((row) => [...row.cells].slice(1).map((cell, i) =>
            [row.cells[0].textContent, widths[i], cell.querySelector('b')?.textContent ?? '',
             cell.querySelector('small')?.textContent ?? '', cell.className]));
        }"""
    )
    return {(depth, width): (text, note, look) for depth, width, text, note, look in cells}


def test_the_map_tells_the_scores_of_the_table_where_their_bases_are(open_search: OpenReport) -> None:
    page = open_search(search_log())
    table, cells = cells_of(page, "search1-table"), map_of(page)
    for depth, width, resolution in GRID:
        text, note, look = cells[f"{depth:g}", f"{width:g}"]
        row = table[f"{depth:g}/{width:g}/{resolution:g}"]
        assert text == re.match(r"[0-9.]+", row[5])[0], (depth, width)  # type: ignore[index]
        assert note == f"r {resolution:g}"
        assert "heat" in look
    assert cells["1.3", "1.2"] == ("–", "= 1.4/1.2/1", "out")
    assert cells["1.1", "1.2"] == ("–", "grows 2.51×", "out")
    assert cells["1", "1.1"] == ("", "", "none")


def test_ties_the_chosen_one_and_the_published_bases_are_marked(open_search: OpenReport) -> None:
    page = open_search(search_log())
    cells = map_of(page)
    assert cells["1.2", "1.1"][2] == "heat chosen"
    assert cells["1.1", "1.1"][2] == "heat tied"
    assert cells["1", "1"][2] == "heat"
    surface = page.locator("#search1-surface")
    assert surface.locator("td", has_text="★").inner_text().split() == ["78.0", "★◆", "r", "1.15"]
    assert surface.locator("td", has_text="≈").count() == 1
    width = "e => parseFloat(getComputedStyle(e).outlineWidth)"
    assert page.eval_on_selector("#search1-surface .tied", width) >= 2
    assert page.eval_on_selector("#search1-surface .chosen", width) >= 2
    assert "1.1/1.1/1.2 is tied with it" in page.inner_text("#search1 .verdict")


def test_better_cells_have_more_colour(open_search: OpenReport) -> None:
    page = open_search(search_log())
    found = page.evaluate(
        """() => [...document.querySelectorAll('#search1-surface .heat')].map((cell) =>
          [Number(cell.querySelector('b').textContent), getComputedStyle(cell).backgroundColor])"""
    )
    strengths = [float(colour.rstrip(")").split(",")[-1]) for _, colour in sorted(found)]
    assert strengths == sorted(strengths)
    assert strengths[-1] > 2 * strengths[0]


def test_points_stand_at_cost_and_score_with_the_tables_whiskers(open_search: OpenReport) -> None:
    page = open_search(search_log())
    log = search_log()
    points = page.evaluate(POINTS, CHART)
    rows = {row["candidate"]: row for row in searches_of(page)[0]["rows"] if row["score"] is not None}
    assert set(points) == {str(number) for number in rows}
    assert len(points) == 8
    for candidate in log.header.candidates:
        if candidate.excluded is None:
            cost, score, width_px = points[str(candidate.number)]
            assert cost == pytest.approx(candidate.macs, rel=0.005)
            assert score == pytest.approx(rows[candidate.number]["score"], abs=0.1)
            assert width_px > 3
    traces = page.evaluate(f"document.getElementById('{CHART}').data.filter(t => t.ids)")
    for trace in traces:
        for number, y, up in zip(trace["ids"], trace["y"], trace["error_y"]["array"], strict=True):
            assert y + up == pytest.approx(rows[int(number)]["score_ci_high"], rel=1e-5)
    assert {trace["name"] for trace in traces} == {"chosen", "candidate", "control of one dimension"}


def test_the_front_is_a_staircase_through_candidates_that_no_other_beats(open_search: OpenReport) -> None:
    page = open_search(search_log())
    stair = page.evaluate(f"document.getElementById('{CHART}').data.find(t => t.name === 'front')")
    assert stair["line"]["shape"] == "hv"
    assert stair["x"] == sorted(stair["x"])
    assert stair["y"] == pytest.approx([70.0, 77.6, 78.0], abs=0.3)
    words = page.inner_text("#search1-words")
    assert "no other is as good for less: 1/1/1.4 at" in words
    assert page.get_attribute(f"#{CHART}", "aria-labelledby") == "search1-words"


def test_what_is_excluded_is_told_with_the_reason(open_search: OpenReport) -> None:
    page = open_search(search_log())
    doubts = page.inner_text("#search1-doubts")
    assert "excluded, same network as 1.4/1.2/1: 1.3/1.2/1." in doubts
    assert "excluded by cost, 2× ± 10% was asked for: 1.1/1.2/1.1 (2.51×)." in doubts
    assert page.inner_text("#search1 .trust a") == "2"


def test_transfer_has_its_verdict_and_a_table_by_phi(open_search: OpenReport) -> None:
    page = open_search(search_log(transfer=True))
    rows = cells_of(page, "search1-transfer")
    assert set(rows) == {"1.2/1.1/1.15", "1.1/1.1/1.2", "depth-only", "width-only", "resolution-only"}
    first, second, third = (float(cell.split()[0]) for cell in rows["1.2/1.1/1.15"])
    assert first < second < third
    assert "What won at φ = 1 wins" in page.inner_text("section:has(> #search1-transfer-title)")
    assert open_search(search_log()).locator("#search1-transfer").count() == 0


def test_a_search_stands_alone_or_beside_runs(open_search: OpenReport) -> None:
    alone = open_search(search_log())
    assert alone.locator("section.run h1").all_inner_texts() == ["Which bases to grow mobilenet_v2 by"]
    assert json.loads(alone.locator("#scaleprof-data").text_content() or "") == []
    both = open_search(search_log(), family_log())
    assert len(both.evaluate(POINTS, "run1-pareto")) == 7
    assert len(both.evaluate(POINTS, CHART)) == 8
    buttons = both.locator("#show button")
    both.click("#show button >> nth=2")
    assert both.locator("#search1:visible").count() == 1
    assert both.locator("#run1:visible").count() == 0
    assert buttons.count() == 3
    assert len(both.evaluate(POINTS, CHART)) == 8


def test_every_number_of_a_search_is_there_without_javascript(open_search: OpenReport) -> None:
    page = open_search(search_log(transfer=True), java_script_enabled=False)
    assert "1.2/1.1/1.15 is chosen" in page.inner_text("#search1 .verdict")
    assert page.locator("#search1-table tbody tr").count() == 8
    assert page.locator("#search1-surface td.heat").count() == 5
    assert page.locator("#search1-transfer tbody tr").count() == 5
    assert "no other is as good for less" in page.inner_text("#search1-words")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_a_search(open_search: OpenReport, scheme: str) -> None:
    page = open_search(search_log(transfer=True), color_scheme=scheme, bypass_csp=True)
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 1440])
def test_a_search_fits_any_screen(open_search: OpenReport, width: int) -> None:
    page = open_search(search_log(transfer=True), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(page.evaluate(POINTS, CHART)) == 8


def test_a_search_prints_on_a4_without_clipping(open_search: OpenReport, tmp_path: Path) -> None:
    page = open_search(search_log(transfer=True), width=794)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 703, "height": 1000})
    page.wait_for_timeout(300)
    widest = page.evaluate(
        "Math.max(...Array.from(document.querySelectorAll('table, figure'),"
        " element => element.getBoundingClientRect().right))"
    )
    assert widest <= 703
    page.pdf(path=tmp_path / "search.pdf", format="A4")
    assert (tmp_path / "search.pdf").stat().st_size > 10_000


def test_a_hostile_name_is_text_in_a_search(open_search: OpenReport) -> None:
    page = open_search(search_log(model=HOSTILE))
    assert HOSTILE in page.inner_text("#search1-title")
    assert page.locator("img").count() == 0
    assert len(page.evaluate(POINTS, CHART)) == 8


def searches_of(page: Page) -> list[dict[str, Any]]:
    """The data of the page's searches."""
    found: list[dict[str, Any]] = json.loads(page.locator("#scaleprof-searches").text_content() or "")
    return found

"""The roofline in a real browser: models are drawn where the table says, under the roof that was measured."""

from __future__ import annotations

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec
from pages import HOSTILE, POINTS, OpenReport, violations
from playwright.sync_api import Page

from scaleprof.records import MachineCeilings, Record, RunLog, Workload

pytestmark = pytest.mark.browser

CHART = "run1-roofline"
# 100 GMAC/s, 20 GB/s, a ridge at 5 MAC/byte; the family's models stand at 4, 8 and more MAC/byte.
SEEN = MachineCeilings(1000, (0.012, 0.01), 2_000_000_000, (0.1, 0.11))


def under_a_roof(record: Record) -> Record:
    cost = record.cost
    assert cost is not None
    launches = tuple(msgspec.structs.replace(launch, ceilings=SEEN) for launch in record.launches)
    moving = msgspec.structs.replace(cost, read_bytes=70_000_000, written_bytes=30_000_000)
    return msgspec.structs.replace(record, launches=launches, cost=moving)


def roof_log(log: RunLog | None = None) -> RunLog:
    log = log or family_log()
    return msgspec.structs.replace(log, records=tuple(map(under_a_roof, log.records)))


def waiting_log() -> RunLog:
    """On a GPU; the first model's pass takes twice as long as its replay."""
    records = []
    for phi, factor in ((1, 2.0), (2, 1.0)):
        record = under_a_roof(
            make_record(make_spec("width", phi, channels=phi), workload=Workload("cuda:0"), macs=10**9 * phi)
        )
        launches = tuple(
            msgspec.structs.replace(
                launch,
                visits=tuple(
                    msgspec.structs.replace(visit, graph_samples_s=(visit.samples_s[0] / factor,))
                    for visit in launch.visits
                ),
            )
            for launch in record.launches
        )
        records.append(msgspec.structs.replace(record, launches=launches))
    return make_log(*records)


def table_of(page: Page) -> dict[str, list[str]]:
    rows = page.eval_on_selector_all(
        f"#{CHART}-table tbody tr", "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return {name: cells for name, *cells in rows}


def number(text: str) -> float:
    return float(text.split()[0])


def test_models_are_drawn_where_the_table_says_under_the_measured_roof(open_report: OpenReport) -> None:
    page = open_report(roof_log())
    points, table = page.evaluate(POINTS, CHART), table_of(page)
    assert set(points) == set(table)
    assert len(table) == 7
    for spec, (intensity, rate, width_px) in points.items():
        assert intensity == pytest.approx(number(table[spec][0]), rel=0.02), spec
        assert rate == pytest.approx(1e9 * number(table[spec][1]), rel=0.02), spec
        assert width_px > 3
    roof = page.evaluate(f"document.getElementById('{CHART}').data.find(t => t.name === 'roof')")
    assert roof["x"][1] == 5.0
    assert roof["y"] == pytest.approx([roof["x"][0] * 2e10, 1e11, 1e11])
    assert roof["x"][0] < min(x for x, _, _ in points.values())
    assert roof["x"][2] > max(x for x, _, _ in points.values())


def test_whiskers_are_the_intervals_of_the_table(open_report: OpenReport) -> None:
    page = open_report(roof_log())
    traces = page.evaluate(f"document.getElementById('{CHART}').data.filter(t => t.error_y)")
    table = table_of(page)
    drawn = {
        name: (y - below, y + above)
        for trace in traces
        for name, y, below, above in zip(
            trace["ids"], trace["y"], trace["error_y"]["arrayminus"], trace["error_y"]["array"], strict=True
        )
    }
    assert set(drawn) == set(table)
    for spec, ends in drawn.items():
        low, high = table[spec][1].split("[")[1].split("]")[0].split("–")
        assert ends == pytest.approx((1e9 * float(low), 1e9 * float(high)), rel=0.01), spec


def test_the_caption_says_what_is_drawn_without_javascript_too(open_report: OpenReport) -> None:
    page = open_report(roof_log(), java_script_enabled=False)
    words = page.inner_text("#run1-words-roofline")
    assert "100 GMAC/s in a matrix product (fp32), 18.6 GiB/s in a copy" in words
    assert "Nearest to its ceiling is" in words
    assert len(table_of(page)) == 7
    assert page.get_attribute(f"#{CHART}", "aria-labelledby") == "run1-words-roofline"


def test_models_that_wait_for_launches_are_open_symbols(open_report: OpenReport) -> None:
    page = open_report(waiting_log())
    (trace,) = page.evaluate(f"document.getElementById('{CHART}').data.filter(t => t.ids)")
    symbols = dict(zip(trace["ids"], trace["marker"]["symbol"], strict=True))
    assert symbols["efficientnet_b0/width/1"].endswith("-open")
    assert not symbols["efficientnet_b0/width/2"].endswith("-open")
    assert "Open symbols wait for launches: efficientnet_b0/width/1." in page.inner_text(
        "#run1-words-roofline"
    )
    assert table_of(page)["efficientnet_b0/width/1"][-1].endswith("waits for launches")


def test_without_a_roof_the_page_says_why_and_draws_none(open_report: OpenReport) -> None:
    page = open_report(family_log())
    assert page.locator(f"#{CHART}").count() == 0
    assert "No model has a place under a roof here" in page.inner_text("section:has(> #run1-roofline-title)")


def test_a_point_picks_its_row_and_tells_its_share(open_report: OpenReport) -> None:
    page = open_report(roof_log())
    hovers = page.evaluate(
        f"document.getElementById('{CHART}').data.filter(t => t.ids).flatMap(t => t.hovertext)"
    )
    assert len(hovers) == 7
    shares = {spec: cells[3].split()[0] for spec, cells in table_of(page).items()}
    for spec, share in shares.items():
        (hover,) = [text for text in hovers if f"<b>{spec}</b>" in text]
        assert f"<br>{share} [" in hover
    page.locator(f"#{CHART} .points path").first.click(force=True)
    assert page.locator("#run1-table tr.picked").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_the_roofline(open_report: OpenReport, scheme: str) -> None:
    page = open_report(roof_log(), color_scheme=scheme, bypass_csp=True)
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 1440])
def test_the_roofline_fits_any_screen(open_report: OpenReport, width: int) -> None:
    page = open_report(roof_log(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(page.evaluate(POINTS, CHART)) == 7


def test_a_hostile_name_is_text_in_the_roofline(open_report: OpenReport) -> None:
    records = [
        make_record(make_spec(strategy, n, model=HOSTILE, channels=n), latency_s=0.01 * n, macs=10**8 * n)
        for n, strategy in enumerate(("width", "width", "depth", "depth"), start=1)
    ]
    page = open_report(roof_log(make_log(*records)))
    assert len(page.evaluate(POINTS, CHART)) == 4
    assert page.locator(f"#{CHART}-table tbody th", has_text=HOSTILE).count() == 4
    assert HOSTILE in page.inner_text("#run1-words-roofline")
    page.locator(f"#{CHART} .nsewdrag").hover()
    assert page.locator("img").count() == 0
    assert page.evaluate("document.querySelectorAll('svg image, svg a').length") == 0

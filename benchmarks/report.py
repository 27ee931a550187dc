"""How large a page is and how fast it opens: `python benchmarks/report.py [--write]` (needs Chromium).

Pages of 13, 200 and 2,000 records are made from the kept run, whose records are repeated with other names,
sizes and times. Told of each: seconds to write it; its size, and what a record adds to an empty page; seconds
from opening the file until the charts of the first screen are drawn, and until all are; seconds from a
changed budget until charts, table and sentences have followed. The first row is a page of plotly's bundle and
a line of two points: no chart can be there sooner. Times are medians of several with the interval of the
median. Wanted: charts within 1.5 s for 200 records, at most 2 kB a record.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec
from playwright.sync_api import Browser, sync_playwright
from plotly.offline import get_plotlyjs
from tables import Table, describe_machine, write_between

import scaleprof as sp
from scaleprof.records import Launch, Record, RunLog
from scaleprof.stats.intervals import median_interval

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "profiles" / "efficientnet_b0-cpu.jsonl"
COUNTS = (13, 200, 2000)
OPENINGS = 7
STROKES = 7
SEED = 0
BYTES_PER_MB = 1e6


def many_records(log: RunLog, count: int) -> RunLog:
    """A run of so many records: the kept ones, and copies of them that are other models."""
    chance = random.Random(SEED)
    records = [
        log.records[n] if n < len(log.records) else _other(log.records[n % len(log.records)], n, chance)
        for n in range(count)
    ]
    return msgspec.structs.replace(log, records=tuple(records))


def _other(record: Record, n: int, chance: random.Random) -> Record:
    """A copy of a record as another model's: its φ, cost and times are changed."""
    factor = chance.uniform(0.5, 8)
    strategy = record.spec.strategy if record.spec.strategy != "base" else "compound"
    assert record.cost is not None
    return msgspec.structs.replace(
        record,
        spec=msgspec.structs.replace(
            record.spec, strategy=strategy, phi=n / 100, depth=record.spec.depth * (1 + n / 1e4), also=()
        ),
        cost=msgspec.structs.replace(record.cost, macs=int(record.cost.macs * factor)),
        launches=tuple(_slowed(launch, factor * chance.uniform(0.7, 1.4)) for launch in record.launches),
    )


def _slowed(launch: Launch, factor: float) -> Launch:
    return msgspec.structs.replace(
        launch,
        visits=tuple(
            msgspec.structs.replace(visit, samples_s=tuple(s * factor for s in visit.samples_s))
            for visit in launch.visits
        ),
    )


def opening_s(browser: Browser, path: Path) -> tuple[float, float]:
    """Seconds from opening the page until the first screen's charts are drawn, and until all are.

    By the page's own clock, which begins when the file is opened.
    """
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(
        """new MutationObserver(() => {
          const { ready, drawn } = document.documentElement.dataset;
          window.times ??= {};
          if (ready) window.times.ready ??= performance.now();
          if (drawn) window.times.drawn ??= performance.now();
        }).observe(document, { attributes: true, subtree: true })"""
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=true]")
    times_ms = page.evaluate("window.times")
    page.close()
    return times_ms["ready"] / 1e3, times_ms["drawn"] / 1e3


def stroke_s(browser: Browser, path: Path) -> list[float]:
    """Seconds that the page takes to follow a changed budget, for each of several."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=true]")
    script = """(text) => {
      const box = document.getElementById('run1-budget');
      const began = performance.now();
      box.value = text;
      box.dispatchEvent(new Event('input'));
      return (performance.now() - began) / 1000;
    }"""
    times_s = [page.evaluate(script, f"latency_ms<={40 + n}") for n in range(STROKES)]
    page.close()
    return times_s


def seconds(values: Sequence[float]) -> str:
    interval = median_interval(values)
    brackets = f" [{interval.low:.2f}–{interval.high:.2f}]" if interval else ""
    return f"{median(values):.2f} s{brackets}"


def measure(browser: Browser, log: RunLog, count: int, folder: Path, empty_bytes: int) -> list[str]:
    """One row of the table."""
    path = folder / f"{count}.html"
    run = sp.Run(many_records(log, count))
    began_s = time.perf_counter()
    sp.report(run, path)
    writing_s = time.perf_counter() - began_s
    size = path.stat().st_size
    return [
        f"{count:,} records",
        f"{writing_s:.1f} s",
        f"{size / BYTES_PER_MB:.2f} MB",
        f"{(size - empty_bytes) / count:,.0f} B",
        *map(seconds, zip(*(opening_s(browser, path) for _ in range(OPENINGS)), strict=True)),
        seconds(stroke_s(browser, path)),
    ]


def bundle_alone(browser: Browser, folder: Path) -> list[str]:
    """The row of a page that has plotly's bundle, one line of two points, and nothing else."""
    path = folder / "bundle.html"
    bundle = get_plotlyjs().replace("</script", "<\\/script")
    draw = """Plotly.newPlot("chart", [{ x: [1, 2], y: [1, 2] }]);
      Object.assign(document.documentElement.dataset, { ready: "true", drawn: "true" });"""
    body = f'<div id="chart"></div><script>{bundle}</script><script>{draw}</script>'
    path.write_text(f"<!doctype html><html><body>{body}</body></html>", encoding="utf-8")
    first, _ = zip(*(opening_s(browser, path) for _ in range(OPENINGS)), strict=True)
    return [
        "plotly alone",
        "–",
        f"{path.stat().st_size / BYTES_PER_MB:.2f} MB",
        "–",
        seconds(first),
        "–",
        "–",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/reports.md")
    write = parser.parse_args().write
    log = sp.load(KEPT).log
    binary = os.environ.get("SCALEPROF_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        failed = msgspec.structs.replace(log.records[0], status="failed", reason="left out", launches=())
        empty = sp.report(sp.Run(msgspec.structs.replace(log, records=(failed,))), folder / "empty.html")
        empty_bytes = empty.stat().st_size
        browser = playwright.chromium.launch(
            executable_path=binary, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        rows = [bundle_alone(browser, folder)]
        rows += [measure(browser, log, count, folder, empty_bytes) for count in COUNTS]
        browser.close()
    header = [
        "page of",
        "written in",
        "size",
        "a record adds",
        "first charts after",
        "all charts after",
        "a budget's change",
    ]
    text = f"{Table(header, rows).markdown()}\n\n{describe_machine()}"
    print(text)
    if write:
        write_between("report", text, ROOT / "docs" / "reports.md")


if __name__ == "__main__":
    main()

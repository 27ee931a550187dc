"""Draws the README's picture from the kept report: `python docs/pictures.py` (needs Chromium)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "reports" / "efficientnet_b0-cpu.html"
PICTURE = ROOT / "docs" / "report.png"


def main() -> None:
    """Take the first screen of the report."""
    binary = os.environ.get("SCALEPROF_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        page.goto(REPORT.as_uri())
        page.wait_for_selector("html[data-ready=true]")
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()

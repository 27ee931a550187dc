"""Draws the README's pictures from the kept report, light and dark: `python docs/pictures.py`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "reports" / "efficientnet_b0-cpu.html"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def picture(scheme: str) -> Path:
    """Where the first screen in this colour scheme is kept."""
    return ROOT / "docs" / f"report-{scheme}.png"


def main() -> None:
    """Take the first screen of the report in both colour schemes."""
    binary = os.environ.get("SCALEPROF_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for scheme in SCHEMES:
            page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
            page.goto(REPORT.as_uri())
            page.wait_for_selector("html[data-drawn=true]")
            page.wait_for_timeout(500)
            page.screenshot(path=picture(scheme))
        browser.close()


if __name__ == "__main__":
    main()

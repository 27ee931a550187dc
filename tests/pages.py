"""Reading a report in a browser: where points are drawn, and what the table says."""

from __future__ import annotations

import re
from collections.abc import Callable

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page

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

# The first number of a cell, in base units: "41.8 MiB [39.3–41.8]".
NUMBER = re.compile(r"([0-9.]+)(?: (KiB|MiB|GiB|k|M|G|T))?")
FACTORS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def table_values(page: Page, metric: str) -> dict[str, float]:
    """What people read in the column of a quantity, by the name of the model, to three digits."""
    cells = page.evaluate(
        """(metric) => {
          const table = document.querySelector('.candidates');
          const column = table.querySelector(`th[data-field=${metric}]`).cellIndex;
          const name = (row) => row.querySelector('th span').textContent;
          return [...table.tBodies[0].rows].map((row) => [name(row), row.cells[column].textContent]);
        }""",
        metric,
    )
    found = {spec: NUMBER.match(text) for spec, text in cells}
    return {spec: float(m[1]) * FACTORS[m[2] or ""] for spec, m in found.items() if m}


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core minds in the page, and where; it must have been opened with `bypass_csp`.

    axe is injected as a script of the test's own, which the page's policy rightly refuses.
    """
    # Of rules that are kept, no place is gathered: that takes as long as the rest.
    found = Axe().run(page, options={"resultTypes": ["violations"]})["violations"]
    return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found]

"""The report as one HTML file that opens offline, for ever: no request leaves it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from scaleprof.reporting.budgets import QUANTITIES
from scaleprof.reporting.comparison import Comparison
from scaleprof.reporting.comparison_data import comparison_data, comparison_styles
from scaleprof.reporting.distributions import distribution_words
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.page_data import line_styles, page_data
from scaleprof.reporting.searches import SearchView
from scaleprof.reporting.searches_data import searches_data
from scaleprof.reporting.selecting import choices, part_of
from scaleprof.reporting.tables import (
    accuracy_text,
    estimate_text,
    growth_text,
    input_text,
    latency_text,
    memory_text,
)
from scaleprof.reporting.view import RunView
from scaleprof.units import STEPS, SUFFIXES, three_digits

# In the order in which they rest on each other.
_SCRIPTS = (
    *("budgets.js", "charting.js", "candidates.js", "pins.js", "budget_marks.js"),
    *("fronts.js", "curves.js", "roofline.js", "workloads.js", "comparison.js", "search.js"),
    *("selector.js", "report.js"),
)


def render(
    views: Sequence[RunView],
    *,
    version: str,
    comparison: Comparison | None = None,
    doubts: Sequence[str] = (),
    searches: Sequence[SearchView] = (),
) -> str:
    """The page for these runs, each in a section of its own, after their comparison if there is one.

    `doubts` are told besides those of the runs; `searches` follow them, or are there alone.
    """
    environment = Environment(
        loader=PackageLoader("scaleprof.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Data keep their order: budgets' suffixes are told in it.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals.update(
        metrics=METRICS,
        accuracy_text=accuracy_text,
        growth_text=growth_text,
        input_text=input_text,
        latency_text=latency_text,
        memory_text=memory_text,
        estimate_text=estimate_text,
        three_digits=three_digits,
        distribution_words=distribution_words,
        comparison_data=comparison_data,
        comparison_styles=comparison_styles,
        part_of=part_of,
        zip=zip,
    )
    scripts = [get_plotlyjs(), *(_asset(name) for name in _SCRIPTS)]
    return environment.get_template("report.html.j2").render(
        views=list(views),
        doubts=doubts,
        comparison=comparison,
        searches=list(searches),
        searches_data=searches_data(searches),
        choices=choices(views, comparison, searches),
        data=page_data(views),
        grammar=_grammar(),
        version=version,
        css=Markup(_asset("report.css")),
        scripts=[Markup(_inline_script(script)) for script in scripts],
        policy=_policy([_inline_script(script) for script in scripts]),
        styles={view.key: line_styles(view) for view in views},
        marks={view.key: _marks(view) for view in views},
    )


def _grammar() -> dict[str, object]:
    """What the page's script reads and writes budgets by."""
    quantities = [msgspec.to_builtins(quantity) for quantity in QUANTITIES.values()]
    return {"quantities": quantities, "suffixes": SUFFIXES, "steps": STEPS}


def _marks(view: RunView) -> list[str]:
    """What the first budgets make of each row, in a word; empty without any, or for no candidate."""
    advice = view.budget.advice
    if advice is None or advice.refused is not None:
        return [""] * len(view.rows)
    names = {id(advice.row): "recommended", id(advice.runner_up): "runner-up"}
    return [
        names.get(id(row), standing or "") for row, standing in zip(view.rows, advice.standings, strict=True)
    ]


def _asset(name: str) -> str:
    return (files("scaleprof.reporting") / "templates" / name).read_text(encoding="utf-8")


def _inline_script(source: str) -> str:
    """The source as an element's text: an end tag inside it would end the element."""
    return source.replace("</script", "<\\/script")


def _policy(scripts: Sequence[str]) -> str:
    """A content-security policy under which only these scripts run and nothing is fetched.

    Styles are inline because plotly sets them so; images are data or blobs for its picture download.
    """
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

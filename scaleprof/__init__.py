"""scaleprof: which way should this network be scaled on this device, and what does each step cost?

>>> import scaleprof as sp                                            # doctest: +SKIP
>>> run = sp.sweep(model="efficientnet_b0", phi=range(4))             # doctest: +SKIP
>>> sp.report(run, "reports/b0.html")                                 # doctest: +SKIP

`sweep`, `count`, `report`, `solve`, `search_bases`, `load`, `load_search` and `Scale` are imported on first
use, so that `import scaleprof` (and `scaleprof --help`) does not pay for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from scaleprof.errors import ExitCode, ScaleprofError

if TYPE_CHECKING:
    from scaleprof.app.reporting import load, report
    from scaleprof.app.run import Run
    from scaleprof.app.search_result import Search, load_search
    from scaleprof.app.searching import search_bases
    from scaleprof.app.solving import Solution, solve
    from scaleprof.app.sweeping import sweep
    from scaleprof.counting import count
    from scaleprof.scaling.rounding import Scale

__version__ = "0.1.0"

__all__ = [
    "ExitCode",
    "Run",
    "Scale",
    "ScaleprofError",
    "Search",
    "Solution",
    "count",
    "load",
    "load_search",
    "report",
    "search_bases",
    "solve",
    "sweep",
]

_HOMES = {
    "Run": "scaleprof.app.run",
    "Scale": "scaleprof.scaling.rounding",
    "Search": "scaleprof.app.search_result",
    "Solution": "scaleprof.app.solving",
    "count": "scaleprof.counting",
    "load": "scaleprof.app.reporting",
    "load_search": "scaleprof.app.search_result",
    "report": "scaleprof.app.reporting",
    "search_bases": "scaleprof.app.searching",
    "solve": "scaleprof.app.solving",
    "sweep": "scaleprof.app.sweeping",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'scaleprof' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

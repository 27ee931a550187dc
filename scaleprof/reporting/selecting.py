"""Which parts of a page can be shown alone: the comparison, each run or workload of one run, each search."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scaleprof.reporting.comparison import Comparison
from scaleprof.reporting.searches import SearchView
from scaleprof.reporting.view import RunView


class Choice(msgspec.Struct, frozen=True):
    """A part of the page: the value by which its sections and the address know it, and what it is called."""

    value: str
    label: str


def choices(
    views: Sequence[RunView], comparison: Comparison | None, searches: Sequence[SearchView] = ()
) -> list[Choice]:
    """The parts of a page, in their order; fewer than two leave nothing to choose."""
    found = [] if comparison is None else [Choice(comparison.key, "Comparison")]
    for view in views:
        if view.side_by_side is not None and not view.name:
            found.append(Choice(view.side_by_side.key, view.side_by_side.title))
        found.append(Choice(part_of(view), view.name or view.apart or view.title))
    found += [Choice(search.key, search.name or search.title) for search in searches]
    return list({choice.value: choice for choice in found}.values())


def part_of(view: RunView) -> str:
    """The part that a view's section belongs to: with several runs that of its run, else its own."""
    return str(view.run) if view.name else view.key

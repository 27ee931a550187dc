"""Models under the roof of the machine's ceilings: how near each is, in a chart's data, words and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from scaleprof.records import MEASURED_STATUSES
from scaleprof.reporting.analysis_tables import TextTable
from scaleprof.reporting.cautions import LAUNCH_BOUND_FROM
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.tables import bracketed
from scaleprof.stats.roofline import Bound, Ceilings
from scaleprof.units import format_bytes, format_count, plural, three_digits

_GIGA = 1e9
# A table beyond this is not read: of more models the nearest and the farthest are listed.
_MOST_ROWS = 40
# Nor is a sentence with more names.
_MOST_NAMED = 5


class RoofPoint(msgspec.Struct, frozen=True):
    """A model under the roof; `row` is its place among the rows.

    `launch_bound`: whether the device waits for launches, None where that is not known (it is measured on
    CUDA). Rates are MACs a second; `low`, `high`, `share_low` and `share_high` are 95 % intervals.
    """

    row: int
    spec_id: str
    macs_per_byte: float
    macs_per_s: float
    low: float | None
    high: float | None
    ceiling_macs_per_s: float
    share: float
    share_low: float | None
    share_high: float | None
    bound: Bound
    launch_bound: bool | None


class RooflineView(msgspec.Struct, frozen=True):
    """The chart of one workload: the roof, the models under it, and what it shows in words and as a table."""

    macs_per_s: float
    bytes_per_s: float
    ridge_macs_per_byte: float
    points: tuple[RoofPoint, ...]
    words: str
    table: TextTable


def roofline_view(rows: Sequence[MeasuredRow], ceilings: Ceilings | None) -> RooflineView | str:
    """The chart of rows that share one workload, or a sentence that says why there is none.

    Args:
        rows: of one workload.
        ceilings: that the rows' shares are of.
    """
    points = roof_points(rows)
    if not points or ceilings is None:
        return _why_none(rows)
    return RooflineView(
        macs_per_s=ceilings.macs_per_s,
        bytes_per_s=ceilings.bytes_per_s,
        ridge_macs_per_byte=ceilings.ridge_macs_per_byte,
        points=points,
        words=" ".join(_sentences(rows, points, ceilings)),
        table=_table(points),
    )


def roof_points(rows: Sequence[MeasuredRow]) -> tuple[RoofPoint, ...]:
    """The rows that have a place under the roof, in their order."""
    points = (_point(place, row) for place, row in enumerate(rows) if row.status in MEASURED_STATUSES)
    return tuple(point for point in points if point is not None)


def _point(place: int, row: MeasuredRow) -> RoofPoint | None:
    known = (row.batch_macs_per_byte, row.attained_macs_per_s, row.ceiling_macs_per_s, row.ceiling_share)
    intensity, attained, ceiling, share = known
    if intensity is None or attained is None or ceiling is None or share is None or row.ceiling_bound is None:
        return None
    waits = None if row.launch_bound_ratio is None else row.launch_bound_ratio > LAUNCH_BOUND_FROM
    return RoofPoint(
        row=place,
        spec_id=row.spec_id,
        macs_per_byte=intensity,
        macs_per_s=attained,
        low=row.attained_ci_low_macs_per_s,
        high=row.attained_ci_high_macs_per_s,
        ceiling_macs_per_s=ceiling,
        share=share,
        share_low=row.ceiling_share_ci_low,
        share_high=row.ceiling_share_ci_high,
        bound=row.ceiling_bound,
        launch_bound=waits,
    )


def _why_none(rows: Sequence[MeasuredRow]) -> str:
    measured = [row for row in rows if row.status in MEASURED_STATUSES]
    if not measured:
        return "No model was measured."
    return f"No model has a place under a roof here: {_reasons(measured) or 'no ceiling is known'}."


def _reasons(rows: Sequence[MeasuredRow]) -> str:
    """Why rows have no place, each reason once; of many the first."""
    reasons = list(dict.fromkeys(row.nulls["ceiling_share"] for row in rows if "ceiling_share" in row.nulls))
    return _listed(reasons, "; ")


def _listed(texts: Sequence[str], between: str = ", ") -> str:
    more = f"{between}{len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return between.join(texts[:_MOST_NAMED]) + more


def _sentences(rows: Sequence[MeasuredRow], points: Sequence[RoofPoint], ceilings: Ceilings) -> Iterator[str]:
    """The chart's text alternative."""
    limited = sum(point.bound == "memory" for point in points)
    yield f"MACs a second against MACs a byte of {plural(len(points), 'model', 'models')}, both logarithmic."
    yield (
        f"The roof is the most that this machine was seen to do: {rate_text(ceilings.macs_per_s)} in a "
        f"matrix product ({rows[points[0].row].dtype}), {format_bytes(ceilings.bytes_per_s)}/s in a copy; "
        f"below {three_digits(ceilings.ridge_macs_per_byte)} MAC/byte memory is the limit, as for "
        f"{limited or 'none'} of the models."
    )
    ranked = sorted(points, key=lambda point: -point.share)
    yield f"Nearest to its ceiling is {ranked[0].spec_id} with {_share_text(ranked[0])} of it."
    if len(ranked) > 1:
        yield f"Farthest is {ranked[-1].spec_id} with {_share_text(ranked[-1])}."
    if above := [point.spec_id for point in ranked if point.share > 1]:
        yield (
            f"Above the roof: {_listed(above)}. It takes every operator to fetch all from memory, and a "
            f"product of other shapes may suit the machine better."
        )
    if waiting := [point.spec_id for point in points if point.launch_bound]:
        yield f"Open symbols wait for launches: {_listed(waiting)}."
    placed = {point.row for point in points}
    others = [row for n, row in enumerate(rows) if row.status in MEASURED_STATUSES and n not in placed]
    if others:
        yield f"Without a place under it: {_listed([row.spec_id for row in others])} ({_reasons(others)})."


def _table(points: Sequence[RoofPoint]) -> TextTable:
    ranked = sorted(points, key=lambda point: -point.share)
    half = _MOST_ROWS // 2
    shown = ranked if len(ranked) <= _MOST_ROWS else [*ranked[:half], *ranked[-half:]]
    of_more = "" if shown is ranked else f" Of {len(ranked)} models, the {half} nearest and {half} farthest."
    return TextTable(
        "roofline",
        "Attained and possible",
        "From the nearest to its ceiling to the farthest. MACs a byte are those of the whole batch; the "
        f"ceiling is the roof at that intensity.{of_more}",
        ("Model", "MAC/byte", "Attained [95 %]", "Ceiling", "Share of it [95 %]", "Limit"),
        tuple(map(_table_row, shown)),
    )


def _table_row(point: RoofPoint) -> tuple[str, ...]:
    low, high = (None if end is None else end / _GIGA for end in (point.low, point.high))
    return (
        point.spec_id,
        three_digits(point.macs_per_byte),
        f"{bracketed(point.macs_per_s / _GIGA, low, high)} GMAC/s",
        f"{three_digits(point.ceiling_macs_per_s / _GIGA)} GMAC/s",
        _share_text(point),
        f"{point.bound}, waits for launches" if point.launch_bound else point.bound,
    )


def _share_text(point: RoofPoint) -> str:
    low, high = (None if end is None else 100 * end for end in (point.share_low, point.share_high))
    return f"{bracketed(100 * point.share, low, high)} %"


def rate_text(macs_per_s: float) -> str:
    """A rate for people.

    >>> rate_text(51.6e9)
    '51.6 GMAC/s'
    """
    number, _, prefix = format_count(macs_per_s).partition(" ")
    return f"{number} {prefix}MAC/s"

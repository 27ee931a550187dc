"""What is read off a run's rows: exponents beside theory, predictors, and strategies at equal cost."""

from __future__ import annotations

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec

import scaleprof as sp
from scaleprof.records import Record
from scaleprof.reporting.analysis import analyse, estimate_of
from scaleprof.reporting.rows import MeasuredRow


def rows_of(*records: Record) -> list[MeasuredRow]:
    return sp.Run(make_log(*records)).rows


def test_the_power_that_latency_grows_with_is_fitted_for_each_strategy() -> None:
    # Latency doubles with MACs along both lines of the simulated family; `width` starts at the common base.
    found = {(one.line, one.quantity): one for one in analyse(sp.Run(family_log()).rows).exponents}
    compound = found["compound", "latency_ms"]
    assert compound.fitted.value == pytest.approx(1.0, abs=1e-6)
    assert compound.points == 4
    assert compound.theory is None
    assert found["width", "latency_ms"].fitted.value > 1.0


def test_counted_quantities_have_the_exponents_of_the_theory_beside_them() -> None:
    found = {(one.line, one.quantity): one.theory for one in analyse(sp.Run(family_log()).rows).exponents}
    assert found["width", "activations"] == 0.5
    assert found["width", "params"] == 1.0
    # d = 1.2, w = 1.1, r = 1.15 a step: params grow by d·w², MACs by d·w²·r².
    assert found["compound", "params"] == pytest.approx(0.572, abs=5e-4)


def test_theory_takes_the_bases_from_the_rows_factors_whether_matched_or_not() -> None:
    def along(match: str | None) -> float | None:
        records = [make_record(make_spec("base", 0, depth=1, width=1, resolution=1))]
        records += [
            make_record(
                make_spec("compound", n, channels=n, depth=1.5**n, width=1.2**n, resolution=1.0, match=match),
                macs=400_000_000 * 2**n,
            )
            for n in (1, 2)
        ]
        (one,) = [e for e in analyse(rows_of(*records)).exponents if e.quantity == "params"]
        return one.theory

    assert along(None) == 1.0  # without growing images, parameters grow as MACs do
    assert along("macs") == 1.0  # factors of a matched row are the same bases to another power


def test_strategies_are_read_at_equal_latency_and_at_equal_macs_inside_their_common_range() -> None:
    equals = analyse(sp.Run(family_log()).rows).equals
    at_macs = [one for one in equals if one.equal == "macs"]
    assert [one.at for one in at_macs] == pytest.approx([400e6 * 8**0.5, 400e6 * 8])
    values = {name: one.value for name, one in at_macs[1].readings.items()}
    compound, width = values["compound"], values["width"]
    assert compound is not None
    assert width is not None
    assert width.value / compound.value == pytest.approx(1.3)
    at_latency = [one for one in equals if one.equal == "latency_ms"][-1]
    assert all(reading.value is not None for reading in at_latency.readings.values())


def test_the_count_that_goes_best_with_time_is_ranked_first() -> None:
    records = [
        make_record(
            make_spec("width", n, channels=n), latency_s=0.001 * n, macs=10**6 * (n * n if n % 2 else n)
        )
        for n in range(1, 9)
    ]
    records = [
        msgspec.structs.replace(
            record, cost=msgspec.structs.replace(record.cost, activations=1000 * n, params=10 ** (9 - n % 3))
        )
        for n, record in enumerate(records, start=1)
        if record.cost is not None
    ]
    first = analyse(rows_of(*records)).predictors[0]
    assert (first.name, first.rank) == ("activations", 1)


def test_two_models_are_too_few_for_anything() -> None:
    analysis = analyse(rows_of(make_record(make_spec("width", 1))))
    assert (analysis.exponents, analysis.predictors, analysis.equals, analysis.volumes) == ((), (), (), None)


def test_a_failed_row_is_no_point() -> None:
    log = family_log()
    failed = make_record(make_spec("width", 9, channels=9), status="oom", reason="r", macs=10**12)
    assert analyse(rows_of(*log.records, failed)).equals == analyse(rows_of(*log.records)).equals


def test_counts_are_exact_and_what_is_missing_stays_so() -> None:
    (row,) = rows_of(make_record())
    macs = estimate_of(row, "macs")
    assert macs is not None
    assert macs.interval == (macs.value, macs.value)
    assert estimate_of(row, "energy_j") is None


def test_the_larger_hypervolume_is_that_of_the_faster_strategy() -> None:
    volumes = analyse(sp.Run(family_log()).rows).volumes
    assert volumes is not None
    assert volumes.by_name["compound"] > volumes.by_name["width"]

"""Rows, views and tables; the page itself is tested in a browser (test_page.py)."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path

import msgspec
import pytest
from builders import HOST, family_log, make_header, make_launch, make_log, make_record, make_spec
from rich.console import Console

import scaleprof as sp
from scaleprof.app.reporting import render
from scaleprof.errors import NothingToShowError, UsageError
from scaleprof.models import FAMILIES
from scaleprof.records import ModelSpec, Quoted, Record, RunLog, Sustained, Visit, Warmup, Workload
from scaleprof.reporting.cautions import Caution
from scaleprof.reporting.comparing import RunComparer
from scaleprof.reporting.facts import trust_facts
from scaleprof.reporting.metrics import METRICS
from scaleprof.reporting.page_data import line_styles
from scaleprof.reporting.rows import CostRow, MeasuredRow, cost_row, measured_row, to_json
from scaleprof.reporting.tables import growth_text, to_csv, to_markdown, to_terminal
from scaleprof.reporting.verdict import verdict
from scaleprof.reporting.view import view_runs
from scaleprof.scaling.results import RESULTS
from scaleprof.scaling.sweep import Sweep, expand, parse_phi
from scaleprof.store import RunWriter

COST_FIELDS = {
    *("spec_id", "model", "strategy", "phi", "also", "depth", "width", "resolution", "input_size", "shape"),
    *("requested_growth", "achieved_growth", "macs", "params", "activations", "weight_bytes"),
    *("rounding", "match", "matched_growth"),
    *("peak_activation_bytes", "uncounted", "status", "reason", "warnings"),
}
MEASURED_FIELDS = {
    *("device", "dtype", "batch_size", "threads", "mode", "runtime", "memory_format"),
    *("latency_ms", "latency_ci_low_ms", "latency_ci_high_ms", "latency_p95_ms", "cold_ms", "compile_s"),
    *("relative_latency", "throughput_per_s", "peak_memory_bytes", "energy_j", "energy_net_j"),
    *("gpu_ms", "graph_ms", "launch_bound_ratio", "launches", "rounds", "samples", "stop", "nulls"),
}


def row_of(record: Record | None = None) -> MeasuredRow:
    record = record or make_record()
    return measured_row(record, RunComparer(make_log(record)))


def test_rows_have_every_field_that_other_programs_read() -> None:
    cost, measured = (json.loads(to_json([row]))[0] for row in (cost_row(make_record()), row_of()))
    assert set(cost) >= COST_FIELDS
    assert set(measured) >= COST_FIELDS | MEASURED_FIELDS


def test_latency_is_in_milliseconds_with_its_interval() -> None:
    row = row_of()
    assert row.latency_ms == pytest.approx(10.1)
    assert row.latency_ci_low_ms is not None
    assert row.latency_ci_high_ms is not None
    assert row.latency_ci_low_ms < 10.1 < row.latency_ci_high_ms
    assert row.relative_latency == pytest.approx(10.1)
    assert row.peak_memory_bytes == 50_000_000
    assert row.cold_ms == 50


def test_every_null_measurement_has_its_reason() -> None:
    for record in (
        make_record(),
        make_record(status="oom", reason="memory ran out"),
        make_record(launches=1),
    ):
        row = row_of(record)
        measurements = MEASURED_FIELDS - {"stop", "launches", "rounds", "samples", "nulls", "device"}
        nulls = {name for name in measurements if getattr(row, name) is None}
        assert nulls == {name for name in row.nulls if name in measurements}
        assert all(row.nulls.values())


def test_a_row_is_compared_with_its_base_in_the_same_rounds() -> None:
    log = family_log()
    rows = sp.Run(log).rows
    assert rows[0].ratio_to_base == 1
    assert rows[1].ratio_to_base == pytest.approx(2)
    # Launches drift together, so that the ratio has no spread.
    assert rows[1].ratio_ci_low == pytest.approx(2)
    assert rows[1].ratio_ci_high == pytest.approx(2)
    assert row_of().nulls["ratio_to_base"] == "the model's base was not measured in the same rounds"


def test_drift_is_corrected_to_the_best_decile_of_the_run() -> None:
    row = row_of()
    assert row.relative_latency is not None
    assert row.drift_corrected_ms == pytest.approx(row.relative_latency * 1.0)


def test_a_launch_that_was_weighed_gives_all_of_them_their_memory() -> None:
    weighed, others = make_launch(), [make_launch(launch=n, peak_memory_bytes=None) for n in (1, 2)]
    row = row_of(msgspec.structs.replace(make_record(), launches=(weighed, *others)))
    assert row.peak_memory_bytes == 50_000_000
    assert "peak_memory_bytes" not in row.nulls


def test_throughput_is_of_the_passes_that_ran_back_to_back() -> None:
    ran = Sustained(10, (0.1,) * 20, energy_j=30.0, idle_power_w=5.0)
    launches = tuple(msgspec.structs.replace(make_launch(launch=n), sustained=ran) for n in range(3))
    row = row_of(msgspec.structs.replace(make_record(), launches=launches))
    assert row.throughput_per_s == pytest.approx(100)
    assert row.energy_j == pytest.approx(0.15)
    assert row.energy_net_j == pytest.approx(0.10)
    assert row_of().nulls["throughput_per_s"].startswith("it was not run back to back")


def disturbed(**fields: object) -> list[str]:
    launches = tuple(msgspec.structs.replace(make_launch(launch=n), **fields) for n in range(3))
    return [one.code for one in row_of(msgspec.structs.replace(make_record(), launches=launches)).warnings]


def visits(**fields: object) -> tuple[Visit, ...]:
    return tuple(msgspec.structs.replace(visit, **fields) for visit in make_launch().visits)


def test_each_disturbance_is_a_warning_with_its_own_code() -> None:
    assert disturbed(denormal_share=0.2) == ["denormals"]
    assert disturbed(output_std=1e-9) == ["output_scale"]
    assert disturbed(visits=visits(minor_faults=3000)) == ["page_faults"]
    assert disturbed(visits=visits(throttled_s=0.02)) == ["throttled"]
    assert disturbed(visits=visits(cpu_s=0.040, foreign_cpu_s=0.020)) == ["contended"]
    assert disturbed(visits=visits(cpu_s=0.040, foreign_cpu_s=0.004)) == []
    # A network that leaves its CPUs idle is not contended.
    assert disturbed(visits=visits(cpu_s=0.010, foreign_cpu_s=0.0)) == []
    assert disturbed(warmup=Warmup(60, 5.0, stationary=False)) == ["warmup_not_settled"]
    assert disturbed(complete=False) == ["incomplete_launch"]


def test_where_cpus_were_shared_ratios_are_as_wide_as_what_that_may_hide() -> None:
    log = family_log()
    shared = [
        msgspec.structs.replace(
            record,
            launches=tuple(
                msgspec.structs.replace(
                    launch,
                    visits=tuple(
                        msgspec.structs.replace(visit, cpu_s=0.02, foreign_cpu_s=0.02)
                        for visit in launch.visits
                    ),
                )
                for launch in record.launches
            ),
        )
        for record in log.records
    ]
    (view,) = view_runs([msgspec.structs.replace(log, records=tuple(shared))])
    quiet, wide = sp.Run(log).rows[1], sp.Run(make_log(*shared)).rows[1]
    assert wide.cpu_share == pytest.approx(0.5)
    for value, low, high in (
        ("ratio_to_base", "ratio_ci_low", "ratio_ci_high"),
        ("relative_latency", "relative_ci_low", "relative_ci_high"),
        ("drift_corrected_ms", "drift_corrected_ci_low_ms", "drift_corrected_ci_high_ms"),
    ):
        assert getattr(wide, value) == getattr(quiet, value)
        assert getattr(wide, low) == pytest.approx(getattr(quiet, low) / 2)
        assert getattr(wide, high) == pytest.approx(getattr(quiet, high) * 2)
    assert wide.latency_ci_high_ms == quiet.latency_ci_high_ms
    assert "The threads did not have their CPUs to themselves" in view.verdict[-1]
    (undisturbed,) = view_runs([log])
    assert "CPUs to themselves" not in undisturbed.verdict[-1]


def test_a_target_that_was_missed_is_a_warning_whose_remedy_knows_the_noise() -> None:
    launches = tuple(make_launch(0.01 * 1.1**n, launch=n) for n in range(3))
    (warning,) = row_of(msgspec.structs.replace(make_record(), launches=launches)).warnings
    assert warning.code == "target_missed"
    assert "--preset rigorous" in warning.remedy
    noisy = tuple(
        msgspec.structs.replace(
            launch,
            visits=tuple(
                msgspec.structs.replace(visit, matrix_product_s=(0.001 * (1 + visit.round),))
                for visit in launch.visits
            ),
        )
        for launch in launches
    )
    (warning,) = row_of(msgspec.structs.replace(make_record(), launches=noisy)).warnings
    assert "very noisy" in warning.remedy
    assert "scaleprof doctor" in warning.remedy


def test_a_dtype_that_the_processor_only_emulates_is_a_warning() -> None:
    host = msgspec.structs.replace(HOST, native_dtypes=("fp32",))
    record = make_record(workload=Workload("cpu", threads=2, dtype="fp16"))
    row = measured_row(record, RunComparer(RunLog(make_header(host=host), (record,))))
    assert [warning.code for warning in row.warnings] == ["emulated_dtype"]


def test_tables_have_a_column_for_each_axis_that_varies() -> None:
    workloads = [Workload("cpu", threads=n, dtype=dtype) for n in (1, 2) for dtype in ("fp32", "bf16")]
    rows = sp.Run(make_log(*(make_record(workload=one) for one in workloads))).rows
    header = to_markdown(rows).splitlines()[0]
    assert "| threads | dtype | latency" in header
    assert "batch" not in header
    views = view_runs([make_log(*(make_record(workload=one) for one in workloads))])
    assert [view.title.partition(" on ")[2] for view in views] == [
        "cpu at batch 1, 1 thread, fp32",
        "cpu at batch 1, 1 thread, bf16",
        "cpu at batch 1, 2 threads, fp32",
        "cpu at batch 1, 2 threads, bf16",
    ]


def test_a_failed_row_has_no_number_and_its_reason() -> None:
    row = row_of(make_record(status="killed", reason="the worker was ended by SIGKILL"))
    assert (row.status, row.reason) == ("killed", "the worker was ended by SIGKILL")
    assert (row.latency_ms, row.peak_memory_bytes, row.samples) == (None, None, 0)
    assert row.nulls["latency_ms"] == "killed: the worker was ended by SIGKILL"
    assert row.macs == 400_000_000


def test_a_single_launch_is_marked() -> None:
    assert [warning.code for warning in row_of(make_record(launches=1)).warnings] == ["single_launch"]
    assert row_of(make_record(launches=3)).warnings == ()


def test_the_first_screen_names_the_kinds_of_warnings_that_most_models_carry() -> None:
    codes = [("a_b", "c", "d"), ("a_b", "c"), ("a_b", "a_b"), ()]
    row = row_of(make_record(launches=3))
    rows = [
        msgspec.structs.replace(row, warnings=tuple(Caution(code, "", "") for code in each)) for each in codes
    ]
    *_, told = trust_facts(make_log(make_record()), rows)
    assert (told.label, told.value) == ("With warnings", "3 (a b 3, c 2, 1 more kind)")
    *_, told = trust_facts(make_log(make_record()), rows[3:])
    assert (told.value, told.more) == ("0", "")


def test_launches_that_disagree_by_a_factor_are_unstable_with_the_reason() -> None:
    launches = tuple(make_launch(0.01 * 1.5**n, launch=n) for n in range(3))
    row = row_of(msgspec.structs.replace(make_record(), launches=launches))
    assert row.status == "unstable"
    assert row.reason is not None
    assert "span factors of" in row.reason


def test_a_memory_that_could_not_be_read_is_null_with_the_workers_reason() -> None:
    record = msgspec.structs.replace(make_record(), launches=(make_launch(peak_memory_bytes=None),))
    assert row_of(record).nulls["peak_memory_bytes"] == "no high-water mark here"


def published_spec(name: str) -> ModelSpec:
    (spec,) = expand(Sweep(("efficientnet_b0",), ("published",), parse_phi(name)), FAMILIES)
    return spec


def test_published_accuracies_come_with_their_recipe_and_only_where_they_were_read() -> None:
    by_name = {name: row_of(make_record(published_spec(name))) for name in ("B3", "B8", "L2")}
    assert by_name["B3"].accuracy == 81.1
    assert by_name["B3"].accuracy_recipe is not None
    assert "Tan & Le 2019 (ICML), table 2" in by_name["B3"].accuracy_recipe
    assert (by_name["B8"].accuracy, by_name["L2"].accuracy) == (None, None)


def test_a_printed_result_joins_exactly_its_own_network() -> None:
    wide = make_spec("width", 2, model="mobilenet_v2", input_size=224, depth=1.0, width=2.0)
    assert row_of(make_record(wide)).accuracy == 76.4
    for other in (
        {"width": 2.01},
        {"input_size": 225},
        {"rounding": "pycls"},
        {"model": "mobilenet_v1", "depth": 2.0},
    ):
        assert row_of(make_record(msgspec.structs.replace(wide, **other))).accuracy is None, other


def test_a_solved_factor_a_hair_above_is_another_network() -> None:
    deep = make_spec("depth", 2, input_size=224, depth=4.0, width=1.0)
    assert row_of(make_record(deep)).accuracy == 79.0
    above = msgspec.structs.replace(deep, depth=4.0000000007)
    assert row_of(make_record(above)).accuracy is None


def test_a_printed_accuracy_whose_cost_does_not_reproduce_says_so() -> None:
    deep = make_spec("depth", 2, model="resnet50", input_size=224, depth=4.0, width=1.0)
    assert "look swapped" in (row_of(make_record(deep)).accuracy_recipe or "")


def test_a_result_whose_coefficients_are_a_guess_joins_nothing() -> None:
    guessed = [result for result in RESULTS if result.assumed]
    assert {result.name for result in guessed} == {"MobileNetV2 compound", "ResNet-50 compound"}
    for result in guessed:
        spec = make_spec(
            model=result.model, input_size=result.input_px, depth=result.depth, width=result.width
        )
        assert row_of(make_record(spec)).accuracy is None


def test_an_accuracy_that_came_with_the_model_is_the_one_shown() -> None:
    record = msgspec.structs.replace(make_record(), quoted=Quoted(70.5, "a recipe"))
    assert (row_of(record).accuracy, row_of(record).accuracy_recipe) == (70.5, "a recipe")


def test_a_matched_row_shows_both_growths_and_says_if_it_is_off() -> None:
    spec = make_spec("depth", 1, match="params")
    near = msgspec.structs.replace(make_record(spec), achieved_growth=1.7, matched_growth=2.03)
    far = msgspec.structs.replace(near, matched_growth=2.07)
    assert (row_of(near).requested_growth, row_of(near).matched_growth) == (2.0, 2.03)
    assert (growth_text(row_of(near)), growth_text(row_of(make_record()))) == ("2.03×", "1.00×")
    assert row_of(near).warnings == ()
    (caution,) = row_of(far).warnings
    assert caution.code == "match_off"
    assert "parameters grew by 2.07 where 2 was asked for" in caution.message


def test_outputs_of_an_odd_scale_are_a_caution() -> None:
    (launch,) = make_record(launches=1).launches
    record = msgspec.structs.replace(
        make_record(), launches=(msgspec.structs.replace(launch, output_std=1e-9),) * 3
    )
    assert [caution.code for caution in row_of(record).warnings] == ["output_scale"]


def test_csv_has_a_line_a_row_and_empty_cells_for_what_is_missing() -> None:
    rows = [row_of(), row_of(make_record(status="oom", reason="memory, and more"))]
    first, second = csv.DictReader(io.StringIO(to_csv(rows)))
    assert first["spec_id"] == "efficientnet_b0/compound/1"
    assert float(first["latency_ms"]) == pytest.approx(10.1)
    assert json.loads(first["shape"])["stem_channels"] == 32
    assert (second["latency_ms"], second["reason"]) == ("", "memory, and more")


def test_markdown_keeps_hostile_names_in_their_cells() -> None:
    spec = make_spec(model="a|b\n<img>")
    table = to_markdown([row_of(make_record(spec))]).splitlines()
    assert len(table) == 3
    assert table[2].startswith("| a\\|b &lt;img>/compound/1 |")


def test_the_terminal_table_shows_brackets_and_names_as_they_are() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(to_terminal([row_of(make_record(make_spec(model="[red]m[/red]")))]))
    text = console.export_text()
    assert "[red]m[/red]/compound/1" in text
    assert "10.1 ms [9.85–10.4]" in text


def test_a_narrow_terminal_still_holds_a_model_a_line() -> None:
    rows = view_runs([family_log()])[0].rows
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_terminal(rows, width=80))
    lines = console.export_text().splitlines()
    assert lines[0] == "efficientnet_b0"
    assert len(lines) == 2 + len(rows)
    assert lines[3].startswith("compound/1 ")


def test_fronts_are_there_for_every_pair_of_axes_but_a_quantity_against_itself() -> None:
    (view,) = view_runs([family_log()])
    pairs = {(front.x, front.y) for front in view.fronts}
    assert ("latency_ms", "macs") in pairs
    assert ("macs", "params") in pairs
    assert ("macs", "macs") not in pairs
    assert view.first is not None
    assert (view.first.x, view.first.y) == ("latency_ms", "macs")


def test_the_front_holds_the_faster_strategy_and_the_shared_base() -> None:
    (view,) = view_runs([family_log()])
    assert view.first is not None
    assert [name.split("/", 1)[1] for name in view.first.spec_ids] == [
        "base/0",
        "compound/1",
        "compound/2",
        "compound/3",
    ]
    assert "from the cheapest up: base, compound 1, compound 2, compound 3" in view.first.words


def test_the_verdict_names_the_faster_strategy_at_equal_macs_with_a_ratio() -> None:
    (view,) = view_runs([family_log()])
    sentence, ranges, doubts = view.verdict
    assert sentence.startswith("At 3.20 G MACs, compound is the fastest way to scale efficientnet_b0: ")
    assert "Width takes 1.30–1.30 times as long as compound (95 %, in the same rounds)" in sentence
    assert ranges == (
        "Fastest at equal MACs on cpu at batch 1: compound from 14.3 to 80.8 ms (566 M to 3.20 G MACs)."
    )
    assert "Accuracy is not part of this comparison" in doubts


def test_shrinking_strategies_are_compared_where_they_differ() -> None:
    log = family_log(range(-3, 0))
    (view,) = view_runs([log])
    assert view.verdict[0].startswith("At 50.0 M MACs, compound is the fastest")


def test_axes_that_cannot_be_drawn_are_refused_and_not_ignored() -> None:
    (view,) = view_runs([family_log()], x=METRICS["macs"])
    assert view.first is not None
    assert (view.first.x, view.first.y) == ("macs", "params")
    with pytest.raises(UsageError, match="--x macs and --y macs: no chart of these"):
        view_runs([family_log()], x=METRICS["macs"], y=METRICS["macs"])
    with pytest.raises(UsageError, match="--x gpu_ms: no chart of these"):
        view_runs([family_log()], x=METRICS["gpu_ms"])


def test_the_noise_of_the_machine_is_told() -> None:
    (view,) = view_runs([family_log()])
    assert next(fact.value for fact in view.trust if fact.label == "Machine") == "quiet (p90/p10 1.00)"


def test_where_a_noisy_machine_kept_intervals_wide_the_verdict_says_what_to_rely_on() -> None:
    log = family_log()
    comparer = RunComparer(log)
    rows = [measured_row(record, comparer) for record in log.records]
    late = [msgspec.structs.replace(row, stop="budget_exhausted") for row in rows]
    contrast = partial(comparer.contrast, log.records[0].workload)
    words = "The machine was noisy: milliseconds are rough, ratios taken in the same rounds hold better."
    assert words in verdict(late, contrast, 1.2)
    assert words not in verdict(late, contrast, 1.01)
    assert words not in verdict(rows, contrast, 1.2)


def test_one_report_holds_all_families_beyond_cnns_and_tells_their_lines_apart() -> None:
    log = sp.load(Path(__file__).parents[1] / "profiles" / "families-cpu.jsonl").log
    (view,) = view_runs([log])
    families = {
        *("vit_b_16", "swin_t", "transformer_encoder", "transformer_decoder", "lstm", "gru"),
        *("efficientdet_d0", "efficientdet_d0_nms", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large"),
    }
    measured = {row.model for row in view.rows if row.latency_ms is not None and -1 <= (row.phi or 0) <= 1}
    assert measured == families
    styles = line_styles(view)
    assert len({(style["colour"], style["symbol"]) for style in styles}) == len(styles)
    assert view.verdict[0].startswith("Fastest at the largest MACs that all strategies of a model reached: ")


def test_the_example_of_a_budget_is_met_by_some_of_the_models_and_missed_by_others() -> None:
    (view,) = view_runs([family_log()])
    bound = float(view.budget.example.partition(",")[0].removeprefix("latency_ms<="))
    latencies = [row.latency_ms for row in view.rows if row.latency_ms is not None]
    assert min(latencies) < bound < max(latencies)


def test_strategies_that_cannot_be_told_apart_are_undecided() -> None:
    log = family_log()
    same = [msgspec.structs.replace(r, launches=log.records[3].launches) for r in log.records[3::3]]
    twins = msgspec.structs.replace(log, records=(*log.records[:3], same[0], *log.records[4:6], same[1]))
    (view,) = view_runs([twins])
    assert "the strategies cannot be told apart for efficientnet_b0" in view.verdict[0]


def test_a_verdict_does_not_hide_a_strategy_that_failed() -> None:
    failed = make_record(make_spec("depth", 1, channels=999), status="failed", reason="it broke")
    (view,) = view_runs([make_log(*family_log().records, failed)])
    assert "Not among them, since nothing of it was measured: depth (failed)." in view.verdict


def test_accuracy_is_the_first_axis_only_if_every_model_has_one() -> None:
    records = [make_record(published_spec(f"B{n}"), latency_s=0.01 * (n + 1)) for n in range(3)]
    (view,) = view_runs([make_log(*records)])
    assert view.first is not None
    assert view.first.y == "accuracy"
    (mixed,) = view_runs([make_log(*records, make_record())])
    assert mixed.first is not None
    assert mixed.first.y == "macs"


def test_workloads_are_never_on_one_axis() -> None:
    one, many = make_record(), make_record(workload=Workload("cpu", batch_size=32, threads=2))
    views = view_runs([make_log(one, many)])
    assert [len(view.rows) for view in views] == [1, 1]
    assert [view.title.rsplit(" ", 1)[1] for view in views] == ["1", "32"]


def test_failures_are_counted_and_listed() -> None:
    (view,) = view_runs(
        [make_log(make_record(), make_record(make_spec("width", 2, channels=64), status="oom", reason="r"))]
    )
    failed = next(fact for fact in view.trust if fact.label == "Failed")
    assert (failed.value, failed.alarming) == ("1", True)
    assert [row.reason for row in view.failed] == ["r"]


def test_a_run_with_failures_only_still_has_a_view() -> None:
    (view,) = view_runs([make_log(make_record(status="timeout", reason="no answer"))])
    assert (view.first, view.fronts, view.curves) == (None, (), ())


def test_a_run_answers_from_python(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    log = family_log()
    with RunWriter.create(path, log.header) as writer:
        writer.append(log.records)
    run = sp.load(path)
    frame = run.to_frame()
    assert len(run) == len(frame) == 7
    assert list(run.front(x="latency_ms", y="macs")["strategy"]) == [
        "base",
        "compound",
        "compound",
        "compound",
    ]
    with pytest.raises(
        UsageError, match="x latency is not a metric for this axis: did you mean 'latency_ms'"
    ):
        run.front(x="latency")
    assert render(run, format="csv").startswith("spec_id,")
    assert sp.report(run, tmp_path / "page.html") == tmp_path / "page.html"


@pytest.mark.parametrize("format", ["html", "json", "csv", "markdown"])
def test_a_report_replaces_its_own_kind_and_nothing_else(tmp_path: Path, format: str) -> None:
    path = tmp_path / "report"
    run = sp.Run(family_log())
    for _ in range(2):
        sp.report(run, path, format=format)  # type: ignore[arg-type]
    path.write_text("<!doctype html><p>my page")
    with pytest.raises(UsageError, match="it is left alone"):
        sp.report(run, path, format=format)  # type: ignore[arg-type]
    assert path.read_text() == "<!doctype html><p>my page"


def test_a_run_without_rows_has_nothing_to_show(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    RunWriter.create(path, make_header()).close()
    with pytest.raises(NothingToShowError):
        sp.report(path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_metrics_are_written_with_their_units() -> None:
    texts = [
        METRICS[name].text(value)
        for name, value in (("latency_ms", 12.345), ("macs", 4e8), ("accuracy", 77.1))
    ]
    assert texts == ["12.3 ms", "400 M", "77.1 %"]
    assert METRICS["macs"].quality_label == "MACs (capacity proxy)"
    assert isinstance(cost_row(make_record()), CostRow)

"""Accuracies from a file: the table's grammar, what it joins, and what they decide."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec
from hypothesis import given
from hypothesis import strategies as st

import scaleprof as sp
from scaleprof.app.choosing import choose
from scaleprof.app.planning import SweepPlan, plan_sweep
from scaleprof.app.reporting import ReportOptions, compose, render
from scaleprof.app.sweeping import plan_with_batches
from scaleprof.cli import run as run_cli
from scaleprof.errors import UsageError
from scaleprof.measuring.presets import make_plan
from scaleprof.models import FAMILIES
from scaleprof.records import ModelSpec, Quoted, Record, RunLog, Workload
from scaleprof.reporting.accuracy import AccuracyRow, AccuracyTable, join, read_accuracies
from scaleprof.reporting.analysis import estimate_of
from scaleprof.reporting.budgets import parse_budgets
from scaleprof.reporting.fronts import Front
from scaleprof.reporting.recommending import recommend
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.view import view_runs
from scaleprof.scaling.sweep import Sweep, expand, parse_phi
from scaleprof.stats.intervals import Interval
from scaleprof.store import RunWriter, read_run

B0 = "efficientnet_b0"


def write_table(folder: Path, text: str) -> Path:
    path = folder / "acc.csv"
    path.write_text(text, encoding="utf-8")
    return path


def write_log(path: Path, log: RunLog) -> Path:
    with RunWriter.create(path, log.header) as writer:
        writer.append(log.records)
    return path


def specs_of(strategies: Sequence[str], phi: str) -> list[ModelSpec]:
    return expand(Sweep((B0,), tuple(strategies), parse_phi(phi)), FAMILIES)


def accuracies(run: sp.Run) -> dict[str, float | None]:
    return {row.spec_id.removeprefix(f"{B0}/"): row.accuracy for row in run.rows}


# ---- the table ----


def test_every_column_is_read_and_optional_ones_may_be_empty(tmp_path: Path) -> None:
    table = read_accuracies(
        write_table(
            tmp_path,
            "spec_id,accuracy,error,recipe\n"
            f'{B0}/compound/1, 78.5 ,0.4,"300 epochs, EMA"\n'
            "\n"
            f"{B0}/compound/2,80,,\n"
            f"{B0}/compound/3,81\n",
        )
    )
    assert [(row.line, row.name.removeprefix(f"{B0}/")) for row in table.rows] == [
        (2, "compound/1"),
        (4, "compound/2"),
        (5, "compound/3"),
    ]
    assert [row.quoted for row in table.rows] == [
        Quoted(78.5, "300 epochs, EMA", 0.4),
        Quoted(80, "from acc.csv"),
        Quoted(81, "from acc.csv"),
    ]


def test_a_model_is_named_in_one_column_or_in_three(tmp_path: Path) -> None:
    one = "spec_id,accuracy\n" + f"{B0}/compound/2,80\n{B0}/published/L2,88\n{B0}/d1_w2_r1/0.5,77\n"
    three = (
        "accuracy,phi,strategy,model\n"
        + f"80,2.0,compound,{B0}\n88,l2,published,{B0}\n77,5e-1,d1_w2_r1,{B0}\n"
    )
    names = [[row.name for row in read_accuracies(write_table(tmp_path, text)).rows] for text in (one, three)]
    assert names[0] == names[1] == [f"{B0}/compound/2", f"{B0}/published/L2", f"{B0}/d1_w2_r1/0.5"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "acc.csv"
    path.write_bytes("\ufeffspec_id,accuracy\r\n".encode() + f"{B0}/width/1,77\r\n".encode())
    assert [row.quoted.accuracy for row in read_accuracies(path).rows] == [77]


def test_a_row_is_told_by_the_line_where_it_begins(tmp_path: Path) -> None:
    text = f'spec_id,accuracy,recipe\n{B0}/width/1,77,"two\nlines"\n{B0}/width/2,78,\n'
    table = read_accuracies(write_table(tmp_path, text))
    assert [row.line for row in table.rows] == [2, 4]
    assert table.rows[0].quoted.recipe == "two lines"


HEAD = "spec_id,accuracy,error\n"
PARTS = "model,strategy,phi,accuracy\n"
WRONG = {
    "": " is empty: its first line names columns, such as spec_id,accuracy",
    HEAD: " holds no rows: below its header it has a line a model",
    "spec_id,acuracy\na/b/1,70\n": ":1 unknown column 'acuracy': did you mean 'accuracy'?",
    "spec_id;accuracy\na/b/1;70\n": ":1 unknown column 'spec_id;accuracy': separate columns by commas",
    "spec_id,accuracy,colour\n": ":1 unknown column 'colour' (known: spec_id, model, strategy, phi, accuracy",
    "spec_id,accuracy,accuracy\n": ":1 column accuracy stands there twice: keep one",
    "spec_id\na/b/1\n": ":1 no column accuracy: add one, in percent",
    "accuracy\n70\n": ":1 models are named by nothing: give either the column spec_id, or model, strategy",
    "model,accuracy\nm,70\n": ":1 models are named by model: give either the column spec_id, or model",
    "spec_id,model,accuracy\n": ":1 models are named by spec_id, model: give either the column spec_id",
    HEAD + "a/b/1,high,\n": ":2 column accuracy: 'high' is not a number: write percent, such as 76.3",
    HEAD + "a/b/1,,\n": ":2 column accuracy: '' is not a number: write percent, such as 76.3",
    HEAD + "a/b/1,nan,\n": ":2 column accuracy: 'nan' is not a number: write percent, such as 76.3",
    HEAD + "a/b/1,7_0,\n": ":2 column accuracy: '7_0' is not a number: write percent, such as 76.3",
    HEAD + "a/b/1,70,\na/b/2,101,\n": ":3 column accuracy: 101 is outside 0 to 100: write percent",
    HEAD + "a/b/1,-1,\n": ":2 column accuracy: -1 is outside 0 to 100: write percent, such as 76.3",
    HEAD + "a/b/1,70,x\n": ":2 column error: 'x' is not a number: write percentage points, such as 0.4, or",
    HEAD + "a/b/1,70,-0.1\n": ":2 column error: -0.1 is outside 0 to 100: write percentage points",
    HEAD + "a/b/1,0.76,\na/b/2,1,\n": " has no accuracy above 1: these are fractions, write percent (76.3)",
    HEAD + "b0,70,\n": ":2 column spec_id: 'b0' is not MODEL/STRATEGY/PHI",
    HEAD + "a/b/,70,\n": ":2 column spec_id: 'a/b/' is not MODEL/STRATEGY/PHI",
    HEAD + "a/b/1,70,1,EMA, 300 epochs\n": ":2 has 5 cells under 3 columns: a text with commas stands in",
    HEAD + 'a/b/1,70,"1\n': ":2 is not CSV: unexpected end of data",
    PARTS + "m,width,,70\n": ":2 column phi: it is empty, and a model is named by model, strategy, phi",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_table_is_told_with_file_line_and_column(tmp_path: Path, text: str) -> None:
    path = write_table(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_accuracies(path)
    assert str(error.value).startswith(f"{path}{WRONG[text]}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv cannot be read: No such file"):
        read_accuracies(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("spec_id,accuracy\nmodèle/b/1,70\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.csv is not text in UTF-8"):
        read_accuracies(tmp_path / "latin.csv")


# ---- what joins ----


def test_the_table_comes_before_what_was_published_and_other_rows_keep_theirs(tmp_path: Path) -> None:
    log = make_log(*(make_record(spec) for spec in specs_of(["published"], "B0,B1,B8")))
    table = write_table(tmp_path, f"spec_id,accuracy,error\n{B0}/published/1,79.5,0.3\n")
    before, run = sp.Run(log), sp.Run(log).with_accuracy(table)
    assert accuracies(before) == {"published/0": 76.3, "published/1": 78.8, "published/8": None}
    assert accuracies(run) == {"published/0": 76.3, "published/1": 79.5, "published/8": None}
    recipes = [row.accuracy_recipe for row in run.rows]
    assert recipes[0] is not None
    assert "Tan & Le 2019 (ICML), table 2" in recipes[0]
    assert recipes[1:] == ["from acc.csv", None]
    assert [row.accuracy_error for row in run.rows] == [None, 0.3, None]
    assert run.doubts == ("1 of 3 models are without an accuracy",)
    assert sp.Run(log).doubts == ()


def test_phi_0_of_any_formula_is_the_base_and_published_names_are_numbers(tmp_path: Path) -> None:
    specs = specs_of(["compound", "published"], "0..1")
    assert specs[0].also == (f"{B0}/published/0",)
    for name in ("base/0", "compound/0", "depth/0.0", "width/-0", "published/0", "published/b0"):
        table = read_accuracies(write_table(tmp_path, f"spec_id,accuracy\n{B0}/{name},70\n"))
        joined = join(table, [(spec, None) for spec in specs])
        assert [one and one.accuracy for one in joined.quoted] == [70, None, None], name


def test_a_row_joins_a_model_by_any_name_that_the_model_has(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(make_spec("width", 1), also=(f"{B0}/depth/1", f"{B0}/dw/0.5"))
    for name in ("width/1", "depth/1", "dw/0.5"):
        run = sp.Run(make_log(make_record(spec))).with_accuracy(
            write_table(tmp_path, f"spec_id,accuracy\n{B0}/{name},70\n")
        )
        assert (accuracies(run), run.doubts) == ({"width/1": 70}, ())


def test_every_workload_of_a_model_has_its_accuracy(tmp_path: Path) -> None:
    records = [make_record(workload=Workload("cpu", batch_size=size)) for size in (1, 8)]
    run = sp.Run(make_log(*records)).with_accuracy(
        write_table(tmp_path, f"spec_id,accuracy\n{B0}/compound/1,70\n")
    )
    assert [row.accuracy for row in run.rows] == [70, 70]
    assert run.doubts == ()


def test_rows_that_join_nothing_and_second_rows_of_a_model_are_listed_and_change_nothing(
    tmp_path: Path,
) -> None:
    twins = msgspec.structs.replace(make_spec("width", 1, channels=9), also=(f"{B0}/depth/1",))
    table = write_table(
        tmp_path,
        "spec_id,accuracy\n"
        f"{B0}/compond/1,70\n"
        f"{B0}/compound/1,71\n"
        f"{B0}/compound/1,72\n"
        f"{B0}/width/1,73\n"
        f"{B0}/depth/1,74\n"
        "zzz/base/0,1\n",
    )
    run = sp.Run(make_log(make_record(), make_record(twins))).with_accuracy(table)
    assert accuracies(run) == {"compound/1": 71, "width/1": 73}
    assert run.doubts == (
        f"{table}:2 '{B0}/compond/1' joins no model: did you mean '{B0}/compound/1'?",
        f"{table}:4 '{B0}/compound/1' is a model that line 3 has given 71 %: 72 % is left out",
        f"{table}:6 '{B0}/depth/1' is a model that line 5 has given 73 %: 74 % is left out",
        f"{table}:7 'zzz/base/0' joins no model",
    )


def test_rows_for_two_names_of_one_model_that_agree_are_no_doubt(tmp_path: Path) -> None:
    rows = "".join(f"{B0}/{name}/0,76.3\n" for name in ("compound", "width", "depth", "resolution"))
    run = sp.Run(family_log(range(1, 1))).with_accuracy(write_table(tmp_path, "spec_id,accuracy\n" + rows))
    assert (accuracies(run), run.doubts) == ({"base/0": 76.3}, ())


def test_one_name_written_twice_is_listed_even_where_both_agree(tmp_path: Path) -> None:
    table = write_table(tmp_path, "spec_id,accuracy\n" + f"{B0}/compound/1,70\n" * 2)
    assert sp.Run(make_log()).with_accuracy(table).doubts == (
        f"{table}:3 '{B0}/compound/1' is a model that line 2 has given 70 %: 70 % is left out",
    )


def test_many_doubtful_rows_are_ten_lines_and_a_count(tmp_path: Path) -> None:
    rows = "".join(f"other/width/{n},70\n" for n in range(1, 501))
    run = sp.Run(make_log()).with_accuracy(write_table(tmp_path, "spec_id,accuracy\n" + rows))
    assert len(run.doubts) == 12
    assert run.doubts[10].endswith(": … 490 more rows that are left out")
    assert run.doubts[11] == "1 of 1 models are without an accuracy"
    assert all(len(line) < 200 for line in run.doubts)


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_the_order_of_rows_changes_nothing_where_no_model_has_two(
    order: list[int], given_to: set[int]
) -> None:
    specs = [make_spec("width", phi, channels=phi) for phi in range(1, 7)]
    rows = [
        AccuracyRow(line, specs[n].spec_id, specs[n].spec_id, Quoted(60 + n, "r"))
        for line, n in enumerate(order, start=2)
        if n in given_to
    ]
    joined = join(AccuracyTable("acc.csv", tuple(rows)), [(spec, None) for spec in specs])
    assert [one and one.accuracy for one in joined.quoted] == [
        60 + n if n in given_to else None for n in range(6)
    ]
    lacking = len(specs) - len(given_to)
    assert joined.doubts == ((f"{lacking} of 6 models are without an accuracy",) if lacking else ())


def test_one_file_serves_several_runs_and_only_what_none_has_is_a_doubt(tmp_path: Path) -> None:
    first, second = make_log(make_record()), make_log(make_record(make_spec("width", 2)))
    table = write_table(tmp_path, f"spec_id,accuracy\n{B0}/compound/1,70\n{B0}/width/2,71\n{B0}/depth/3,72\n")
    document = compose([sp.Run(first), sp.Run(second)], ReportOptions(format="csv", accuracy=table))
    assert [row["accuracy"] for row in csv.DictReader(io.StringIO(document.text))] == ["70.0", "71.0"]
    assert document.doubts == (f"{table}:4 '{B0}/depth/3' joins no model: did you mean '{B0}/width/2'?",)


# ---- what it decides ----


def row_with(accuracy: float, error: float | None) -> MeasuredRow:
    record = msgspec.structs.replace(make_record(), quoted=Quoted(accuracy, "r", error))
    (row,) = sp.Run(make_log(record)).rows
    return row


@given(st.floats(0, 100), st.floats(0, 100))
def test_the_interval_is_the_error_to_both_sides_within_percent(accuracy: float, error: float) -> None:
    row = row_with(accuracy, error)
    assert row.accuracy_ci_low == max(0, accuracy - error)
    assert row.accuracy_ci_high == min(100, accuracy + error)
    estimate = estimate_of(row, "accuracy")
    assert estimate is not None
    assert estimate.interval == Interval(row.accuracy_ci_low, row.accuracy_ci_high)


@pytest.mark.parametrize("error", [math.nan, -1.0, math.inf])
def test_a_record_refuses_an_error_that_is_none(error: float) -> None:
    with pytest.raises(ValueError, match=r"accuracy"):
        Quoted(76.3, "r", error)


@pytest.mark.parametrize(
    ("error", "standing"), [(None, "meets"), (0.3, "meets"), (0.6, "undecided"), (0.0, "meets")]
)
def test_a_budget_of_accuracy_is_decided_by_the_error_and_without_one_by_the_value(
    error: float | None, standing: str
) -> None:
    (budget,) = parse_budgets("accuracy>=77")
    assert budget.standing(row_with(77.5, error)) == standing
    assert budget.standing(row_with(76.0, error)) == "misses"


def test_a_recommendation_tells_the_interval_of_an_accuracy_that_has_one() -> None:
    budgets = parse_budgets("accuracy>=77")
    texts = [recommend([row_with(77.5, error)], budgets).sentences[0] for error in (None, 0.3)]
    assert texts == [
        "Within accuracy>=77 for certain, the best by accuracy is compound/1, 77.5 % accuracy.",
        "Within accuracy>=77 for certain, the best by accuracy is compound/1, 77.5 % [77.2–77.8] accuracy.",
    ]


def front_with(*pairs: tuple[float, float | None]) -> Front:
    """The front of latency and accuracy of models that each take twice as long as the one before."""
    records = [
        msgspec.structs.replace(
            make_record(make_spec("width", n + 1, channels=n), latency_s=0.01 * 2**n),
            quoted=Quoted(accuracy, "r", error),
        )
        for n, (accuracy, error) in enumerate(pairs)
    ]
    (view,) = view_runs([make_log(*records)])
    assert view.first is not None
    assert (view.first.x, view.first.y) == ("latency_ms", "accuracy")
    return view.first


def test_a_place_on_the_front_is_certain_only_beyond_the_errors() -> None:
    exact = front_with((76.0, None), (77.0, None), (76.5, None))
    assert (len(exact.spec_ids), exact.likely, exact.undecided) == (2, (), ())
    apart = front_with((76.0, 0.2), (77.0, 0.2), (76.5, 0.2))
    assert (len(apart.spec_ids), apart.likely, apart.undecided) == (2, (), ())
    close = front_with((76.0, 0.2), (77.0, 0.9), (76.9, 0.2))
    assert close.likely == (f"{B0}/width/2",)
    assert close.undecided == (f"{B0}/width/3",)


def test_the_chart_in_words_names_three_recipes_and_counts_the_rest() -> None:
    records = [
        msgspec.structs.replace(
            make_record(make_spec("width", n, channels=n)), quoted=Quoted(70 + n, f"recipe {n}")
        )
        for n in range(1, 7)
    ]
    (view,) = view_runs([make_log(*records)])
    assert view.first is not None
    assert view.first.words.startswith("Accuracy against latency of 6 models.")
    assert view.first.words.endswith("Accuracy: recipe 3. Accuracy: 3 more recipes.")


# ---- formats and verbs ----


def test_rows_of_every_format_carry_the_error(tmp_path: Path) -> None:
    path = write_log(tmp_path / "run.jsonl", make_log())
    table = write_table(tmp_path, f"spec_id,accuracy,error,recipe\n{B0}/compound/1,70.5,0.25,mine\n")
    (row,) = json.loads(render(path, format="json", accuracy=table))
    names = ("accuracy", "accuracy_recipe", "accuracy_error", "accuracy_ci_low", "accuracy_ci_high")
    assert [row[name] for name in names] == [70.5, "mine", 0.25, 70.25, 70.75]
    (cells,) = csv.DictReader(io.StringIO(render(path, format="csv", accuracy=table)))
    assert [cells[name] for name in names] == ["70.5", "mine", "0.25", "70.25", "70.75"]
    assert "70.5 % [70.2–70.8]" in render(path, format="markdown", accuracy=table)
    assert sp.load(path).rows[0].accuracy is None


def test_report_lists_doubts_on_stderr_and_keeps_stdout_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "run.jsonl", family_log())
    write_table(tmp_path, f"spec_id,accuracy\n{B0}/compound/1,78\n{B0}/compound/9,99\n")
    assert run_cli(["report", "run.jsonl", "--format", "json", "--accuracy", "acc.csv"]) == 0
    out, err = capsys.readouterr()
    assert [row["accuracy"] for row in json.loads(out)][1:] == [78, *[None] * 5]
    assert err.splitlines() == [
        f"acc.csv:3 '{B0}/compound/9' joins no model: did you mean '{B0}/compound/3'?",
        "5 of 7 models are without an accuracy",
    ]
    assert run_cli(["report", "run.jsonl", "--format", "markdown", "--accuracy", "acc.csv"]) == 0
    assert f"- Accuracies: acc.csv:3 '{B0}/compound/9' joins no model" in capsys.readouterr().out


def test_the_page_lists_what_joins_nothing_among_the_doubts_of_the_first_run(tmp_path: Path) -> None:
    table = write_table(tmp_path, f"spec_id,accuracy\n{B0}/compound/1,78\n{B0}/compound/9,99\n")
    page = render([sp.Run(family_log()), sp.Run(family_log(range(1, 3)))], accuracy=table)
    doubts = page.partition('id="run1-doubts"')[2].partition("</section>")[0]
    assert "compound/9&#39; joins no model" in doubts
    assert "no number carries a warning" not in doubts
    assert page.count("joins no model") == 1


@pytest.mark.parametrize("verb", [["report", "run.jsonl"], ["sweep"], ["sweep", "--dry-run"]])
def test_a_mistake_in_the_table_is_exit_2_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "run.jsonl", family_log())
    write_table(tmp_path, f"spec_id,accuracy\n{B0}/compound/1,0.78\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run_cli([*verb, "--accuracy", "acc.csv"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "acc.csv has no accuracy above 1: these are fractions, write percent (76.3)" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_dry_run_shows_the_accuracies_and_lists_what_joins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path, f"spec_id,accuracy\n{B0}/width/0,75.5\n{B0}/width/2,78\n")
    arguments = ["sweep", "--dry-run", "--strategy", "width", "--phi", "0..1", "--device", "cpu"]
    assert run_cli([*arguments, "--format", "json", "--accuracy", "acc.csv"]) == 0
    out, err = capsys.readouterr()
    assert [row["accuracy"] for row in json.loads(out)] == [75.5, None]
    assert f"acc.csv:3 '{B0}/width/2' joins no model: did you mean '{B0}/width/1'?" in err
    assert "1 of 2 models are without an accuracy" in err


def planned_with(table: Path | None, known: Sequence[Record] = ()) -> SweepPlan:
    return plan_with_batches(
        choose("mobilenet_v1", "width", "0..1"),
        device="cpu",
        threads=1,
        plan=make_plan("quick"),
        known=known,
        accuracies=None if table is None else read_accuracies(table),
    )


def test_a_plan_gives_each_model_its_accuracy_before_anything_runs(tmp_path: Path) -> None:
    table = write_table(tmp_path, "spec_id,accuracy\nmobilenet_v1/width/1,71\nmobilenet_v1/depth/1,72\n")
    told: list[str] = []
    planned = plan_with_batches(
        choose("mobilenet_v1", "width", "0..1"),
        device="cpu",
        threads=1,
        accuracies=read_accuracies(table),
        on_doubts=told.extend,
    )
    quoted = {one.spec.strategy: one.quoted for one in planned.counted.values()}
    assert quoted["width"] == Quoted(71, "from acc.csv")
    assert told == list(planned.doubts)
    assert told[0].startswith(f"{table}:3 'mobilenet_v1/depth/1' joins no model")
    assert plan_sweep(choose("mobilenet_v1", "width", "0"), device="cpu", threads=1).doubts == ()


def test_a_resumed_run_keeps_accuracies_and_what_only_it_holds_is_no_doubt(tmp_path: Path) -> None:
    held = [
        msgspec.structs.replace(make_record(one.spec), quoted=Quoted(70 + n, "held"))
        for n, one in enumerate(planned_with(None).networks)
    ]
    kept = planned_with(None, known=held)
    assert [one.quoted for one in kept.networks] == [Quoted(70, "held"), Quoted(71, "held")]
    other = make_record(make_spec("depth", 1, model="mobilenet_v1"))
    table = write_table(tmp_path, "spec_id,accuracy\nmobilenet_v1/width/1,80\nmobilenet_v1/depth/1,81\n")
    renewed = planned_with(table, known=[*held, other])
    assert [one.quoted for one in renewed.networks] == [Quoted(70, "held"), Quoted(80, "from acc.csv")]
    assert renewed.doubts == ()


def test_a_finished_run_that_is_resumed_with_a_table_has_it_in_its_file(tmp_path: Path) -> None:
    table = write_table(tmp_path, "spec_id,accuracy,error\nmobilenet_v1/width/0,70.9,0.4\n")
    path = tmp_path / "run.jsonl"
    options = {"strategies": "width", "phi": 0, "device": "cpu", "threads": 1, "preset": "quick"}
    run = sp.sweep("mobilenet_v1", **options, output=path)  # type: ignore[arg-type]
    assert [row.accuracy_recipe == "from acc.csv" for row in run.rows] == [False]
    for _ in range(2):
        run = sp.sweep("mobilenet_v1", **options, output=path, accuracy=table, resume=True)  # type: ignore[arg-type]
        assert [row.accuracy_error for row in run.rows] == [0.4]
    # Without the file: the run has it. Written once, as the second time nothing had changed.
    assert [row.accuracy for row in sp.load(path).rows] == [70.9]
    assert len(path.read_bytes().splitlines()) == len(read_run(path).records) + 2

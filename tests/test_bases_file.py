"""Bases from a file: `--strategy @FILE.json` is compound with bases and a name of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scaleprof

import scaleprof as sp
from scaleprof.app.choosing import choose
from scaleprof.app.counting import count_choice, count_families
from scaleprof.errors import UsageError
from scaleprof.reporting.analysis import analyse
from scaleprof.scaling.rules import Bases, factors
from scaleprof.scaling.sweep import expand
from scaleprof.scaling.theory import growth_exponents
from scaleprof.store import read_bases, write_bases

MINE = Bases(1.3, 1.15, 1.05)


@pytest.fixture
def bases_file(tmp_path: Path) -> Path:
    path = tmp_path / "searches" / "mine.bases.json"
    write_bases(path, MINE, model="resnet18", target_growth=2.0, search="searches/mine.jsonl")
    return path


def test_bases_are_read_back_under_the_name_of_their_file(bases_file: Path) -> None:
    assert read_bases(bases_file) == ("@mine", MINE)
    assert [path.name for path in bases_file.parent.iterdir()] == ["mine.bases.json"]


def test_a_person_may_write_bases_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"kind": "bases", "schema": 1, "depth": 2, "width": 1, "resolution": 1}')
    assert read_bases(path) == ("@own", Bases(2, 1, 1))


def test_a_sweep_grows_by_the_files_bases_beside_compound_and_by_its_name(bases_file: Path) -> None:
    choice = choose("resnet18", f"compound,@{bases_file},width", "0..2")
    assert choice.sweep.strategies == ("compound", "@mine", "width")
    specs = {spec.spec_id: spec for spec in expand(choice.sweep, choice.models)}
    two = specs["resnet18/@mine/2"]
    assert (two.depth, two.width, two.resolution) == pytest.approx((1.3**2, 1.15**2, 1.05**2))
    assert specs["resnet18/compound/2"].depth == pytest.approx(1.2**2)
    assert "resnet18/width/2" in specs


def test_bases_equal_to_the_published_ones_name_the_same_networks(tmp_path: Path) -> None:
    path = tmp_path / "same.json"
    write_bases(path, Bases(), model=None, target_growth=None, search=None)
    rows = count_families("resnet18", strategies=["compound", f"@{path}"], phi="1")
    assert [(row.spec_id, row.also) for row in rows] == [("resnet18/compound/1", ("resnet18/@same/1",))]


def test_several_files_are_several_strategies_and_one_name_has_one_set_of_bases(
    tmp_path: Path, bases_file: Path
) -> None:
    other = tmp_path / "other.json"
    write_bases(other, Bases(1, 1.4, 1), model=None, target_growth=None, search=None)
    choice = choose("resnet18", [f"@{bases_file}", f"@{other}", f"@{bases_file}"], "1")
    assert choice.sweep.strategies == ("@mine", "@other")
    double = tmp_path / "mine.json"
    write_bases(double, Bases(1, 1.4, 1), model=None, target_growth=None, search=None)
    with pytest.raises(
        UsageError, match='two files of bases are called @mine: give one of them another "name"'
    ):
        choose("resnet18", [f"@{bases_file}", f"@{double}"], "1")


def test_a_matched_sweep_brings_the_files_bases_to_the_budget(bases_file: Path) -> None:
    choice = choose("resnet50", ["compound", f"@{bases_file}"], "1", match="macs")
    counted = {one.spec.spec_id: one for one in count_choice(choice)}
    mine = counted["resnet50/@mine/1"]
    assert mine.matched_growth == pytest.approx(2.0, rel=0.02)
    assert mine.spec.depth > 1


def test_bases_that_shrink_a_dimension_cannot_be_matched(tmp_path: Path) -> None:
    path = tmp_path / "thin.json"
    write_bases(path, Bases(3, 0.9, 1), model=None, target_growth=None, search=None)
    with pytest.raises(UsageError, match="--match macs needs compound bases of at least 1"):
        choose("resnet18", ["width", f"@{path}"], "1", match="macs")


def test_theory_follows_the_bases_of_the_file() -> None:
    named = growth_exponents("@mine", MINE)
    assert named is not None
    assert named == growth_exponents("compound", MINE)
    assert growth_exponents("@mine") is None  # of which nobody knows the bases
    assert factors("@mine", 1, MINE).depth == 1.3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "run"}, r"is no file of bases, such as scaleprof search writes \(kind: "),
        ({"depth": "deep"}, r"depth: expected `float`"),
        ({"more": 1}, r"Object contains unknown field `more`"),
        ({"schema": 2}, r"has schema 2, this scaleprof reads 1"),
        ({"depth": -2}, r"depth base -2 must be above 0"),
        ({"depth": 1}, r"do not grow the model"),
        ({"name": "a/b"}, r"the name 'a/b' must be at most 60 letters"),
    ],
)
def test_what_is_no_file_of_bases_is_a_usage_error_in_one_line(
    tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    path = tmp_path / "bad.json"
    whole = {"kind": "bases", "schema": 1, "depth": 2, "width": 1, "resolution": 1}
    path.write_text(json.dumps(whole | fields))
    with pytest.raises(UsageError, match=words) as caught:
        read_bases(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_a_name_that_is_none_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--strategy @.*none\.json cannot be read: No such file"):
        choose("resnet18", f"@{tmp_path / 'none.json'}", "1")
    with pytest.raises(UsageError, match=r"--strategy @ names no file"):
        choose("resnet18", "@", "1")


def test_a_sweep_with_bases_from_a_file_is_measured_resumed_and_drawn(
    scaleprof: Scaleprof, tmp_path: Path, bases_file: Path
) -> None:
    arguments = ["sweep", "-m", "mobilenet_v1", "--strategy", "@searches/mine.bases.json", "--phi", "0..2"]
    arguments += [
        "-d",
        "cpu",
        "--preset",
        "quick",
        "-o",
        "run.jsonl",
        "--report",
        "run.html",
        "--format",
        "json",
    ]
    done = scaleprof(*arguments, check=0)
    rows = {row["spec_id"]: row for row in json.loads(done.stdout)}
    assert rows["mobilenet_v1/@mine/1"]["strategy"] == "@mine"
    assert rows["mobilenet_v1/@mine/1"]["latency_ms"] > 0
    before = (tmp_path / "run.jsonl").read_bytes()
    scaleprof(*arguments, "--resume", check=0)
    assert len((tmp_path / "run.jsonl").read_bytes().splitlines()) == len(before.splitlines())
    assert "@mine" in (tmp_path / "run.html").read_text()
    log = sp.load(tmp_path / "run.jsonl")
    (params,) = [
        one for one in analyse(log.rows).exponents if (one.line, one.quantity) == ("@mine", "params")
    ]
    theory = growth_exponents("@mine", MINE)
    assert theory is not None
    assert params.theory == pytest.approx(theory.of_macs.params)


def test_a_bad_file_of_bases_ends_the_command_with_exit_code_2(scaleprof: Scaleprof, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    done = scaleprof("count", "--strategy", "@bad.json")
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "--strategy @bad.json is no file of bases" in done.stderr

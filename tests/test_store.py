"""Run files: whole lines, one writer, clear errors, nothing lost."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import msgspec
import pytest
from builders import HOST, family_log, make_header, make_launch, make_record, make_spec, make_visit

from scaleprof.errors import OutputError, RunFileError, UsageError
from scaleprof.records import Record
from scaleprof.store import RunWriter, read_run
from scaleprof.store.lines import TornLineWarning


def write_run(path: Path, *records: Record) -> Path:
    with RunWriter.create(path, make_header()) as writer:
        writer.append(records)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    log = family_log()
    path = write_run(tmp_path / "runs" / "run.jsonl", *log.records)
    assert read_run(path) == log


def test_the_file_is_one_json_value_a_line_beginning_with_the_header(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.jsonl", make_record())
    header, record = map(json.loads, path.read_text().splitlines())
    assert (header["kind"], header["schema"], header["host"]["cpu_model"]) == ("run", 1, HOST.cpu_model)
    assert record["kind"] == "record"
    assert record["launches"][0]["visits"][0]["samples_s"] == [0.01] * 3


def test_a_later_record_of_the_same_spec_and_workload_replaces_the_earlier(tmp_path: Path) -> None:
    first, other, second = (
        make_record(launches=1),
        make_record(make_spec("width", channels=64)),
        make_record(),
    )
    log = read_run(write_run(tmp_path / "run.jsonl", first, other, second))
    assert log.records == (other, second)


def test_every_record_is_on_disk_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run.jsonl", make_header()) as writer:
        writer.append([make_record()])
        assert len(read_run(writer.path).records) == 1


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_last_line_is_dropped_with_a_warning_and_removed_on_resume(tmp_path: Path, cut: int) -> None:
    path = write_run(tmp_path / "run.jsonl", make_record(), make_record(make_spec("width", channels=64)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with pytest.warns(TornLineWarning, match=r"run\.jsonl:3 was cut off"):
        assert len(read_run(path).records) == 1
    with pytest.warns(TornLineWarning), RunWriter.resume(path) as writer:
        writer.append([make_record(make_spec("depth", channels=72))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [record.spec.strategy for record in read_run(path).records] == ["compound", "depth"]


def spoil(path: Path, line: int, **changes: object) -> None:
    lines = path.read_text().splitlines()
    value = json.loads(lines[line - 1]) | changes
    lines[line - 1] = json.dumps(value)
    path.write_text("\n".join(lines) + "\n")


def test_a_bad_line_is_an_error_that_names_file_line_and_place(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.jsonl", make_record())
    spoil(path, 2, cost={"macs": "many"})
    with pytest.raises(
        RunFileError, match=r"run\.jsonl:2 is not a record \(cost\.macs: expected `int`, got `str`\)"
    ):
        read_run(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b'{"kind": "ru', "it has no whole line"),
        (b"spec_id,macs\nb0,1\n", "its first line is no run header"),
        (b'{"kind": "record"}\n', "its first line is no run header"),
        (b"\x80\x81\x00\n", "its first line is no run header"),
        (b"[1, 2]\n", "its first line is no run header"),
        (b'{"kind": "run", "schema": 99}\n', "has schema 99, this scaleprof reads 1"),
    ],
)
def test_a_foreign_file_is_named_as_such(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(RunFileError, match=message):
        read_run(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="cannot be read: No such file"):
        read_run(tmp_path / "none.jsonl")


def test_an_existing_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.jsonl", make_record())
    before = path.read_bytes()
    with pytest.raises(UsageError, match="--resume goes on with it, --overwrite replaces it"):
        RunWriter.create(path, make_header())
    assert path.read_bytes() == before
    RunWriter.create(path, make_header(), overwrite=True).close()
    assert read_run(path).records == ()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_is_no_run_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(UsageError, match="is not a scaleprof run: it is left alone"):
        RunWriter.create(path, make_header(), overwrite=overwrite)
    assert path.read_text() == "years of work"


def test_an_empty_file_may_become_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.touch()
    RunWriter.create(path, make_header()).close()
    assert read_run(path).records == ()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        RunWriter.create(tmp_path, make_header())


def test_two_writers_never_share_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunWriter.create(path, make_header()):
        with pytest.raises(UsageError, match="being written by another scaleprof"):
            RunWriter.resume(path)
        with pytest.raises(UsageError, match="being written by another scaleprof"):
            RunWriter.create(path, make_header(), overwrite=True)
    RunWriter.resume(path).close()


def test_resuming_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist: leave --resume out"):
        RunWriter.resume(tmp_path / "none.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path: Path) -> None:
    with (
        RunWriter(Path("/dev/full"), Path("/dev/full").open("ab")) as writer,
        pytest.raises(OutputError, match="No space"),
    ):
        writer.append([make_record()])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_times_that_are_no_times_are_refused_when_they_are_made(bad: float) -> None:
    with pytest.raises(ValueError, match="samples_s must"):
        make_visit(bad)


def test_a_missing_number_needs_its_reason() -> None:
    with pytest.raises(ValueError, match="needs its reason"):
        msgspec.structs.replace(make_launch(), peak_memory_bytes=None, peak_memory_missing=None)
    with pytest.raises(ValueError, match="reason is null for status ok"):
        make_record(status="failed", reason=None)

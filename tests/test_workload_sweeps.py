"""Sweeps over runtimes, training steps and batches, from the command line to the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaleprof.cli import run as run_cli

TINY = ("--phi", "0", "--device", "cpu", "--threads", "1", "--preset", "quick")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(stdout: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(stdout)
    return rows


def test_one_sweep_runs_a_network_by_every_runtime_with_checked_outputs(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtimes = ("--runtime", "eager,compile,onnxruntime,openvino,cudagraph")
    once = (*TINY, "--max-time", "1s")
    run_cli(["sweep", "-m", tiny, *once, *runtimes, "-o", "run.jsonl", "--format", "json"])
    rows = {row["runtime"]: row for row in rows_of(capsys.readouterr().out)}
    assert list(rows) == ["eager", "compile", "onnxruntime", "openvino", "cudagraph"]
    assert rows["cudagraph"]["status"] == "unsupported"
    assert "needs an NVIDIA GPU" in rows["cudagraph"]["reason"]
    for name in ("compile", "onnxruntime", "openvino"):
        row = rows[name]
        assert row["latency_ms"] > 0, row["reason"]
        assert row["compile_s"] > 0
        assert row["output_error"] <= row["output_error_allowed"] < 0.01
        assert row["runtime_version"]
        assert row["ratio_to_eager"] > 0
    for name in ("eager", "onnxruntime", "openvino"):
        assert rows[name]["peak_memory_bytes"] > 0
    assert "a process that compiles" in rows["compile"]["nulls"]["peak_memory_bytes"]
    assert rows["eager"]["nulls"]["compile_s"].startswith("eager makes nothing")
    page = (tmp_path / "reports" / "run.html").read_text()
    assert "Side by side: runtime" in page


def test_training_and_batches_are_swept_together(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    training = ("--mode", "train", "--batch-size", "2,8", "--target-ci", "99%")
    run_cli(["sweep", "-m", tiny, *TINY, *training, "-o", "run.jsonl", "--format", "json"])
    rows = rows_of(capsys.readouterr().out)
    assert [row["batch_size"] for row in rows] == [2, 8]
    for row in rows:
        assert row["mode"] == "train"
        assert row["throughput_per_s"] > 0
        assert min(row[part] for part in ("forward_ms", "backward_ms", "optimizer_ms")) > 0
        assert row["peak_memory_bytes"] > 0


def test_a_dry_run_says_up_to_which_batch_a_search_would_go(
    tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cli(["sweep", "-m", tiny, *TINY, "--batch-size", "max", "--dry-run"])
    assert "by the forecast of memory" in capsys.readouterr().err


def test_an_unknown_runtime_is_one_line(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["sweep", "-m", tiny, "--runtime", "onnxrutime"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == (
        "scaleprof: --runtime 'onnxrutime': did you mean 'onnxruntime'? "
        "(eager, compile, cudagraph, onnxruntime, openvino)"
    )

"""The command line as people and programs use it: codes, lines, files."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import pytest
import torch
from builders import TINY_NETWORK, family_log, make_header, make_record
from conftest import Scaleprof, all_unstable, clean_environment
from test_side_by_side import runtimes_log

import scaleprof as sp
from scaleprof.cli import cli
from scaleprof.cli import run as run_cli
from scaleprof.cli.concluding import conclude
from scaleprof.measuring.presets import make_plan
from scaleprof.measuring.references import PROTOCOL_VERSION
from scaleprof.records import RunLog
from scaleprof.store import RunWriter, read_run

# One thread waits for no other; a target that any machine meets and a time that is over at once leave the
# fewest rounds, where it is not the rounds that a test is about.
ONCE = ("sweep", "--device", "cpu", "--threads", "1", "--preset", "quick")
SMALL = (*ONCE, "--max-time", "1s", "--strategy", "resolution,width", "--phi", "-4..-3")
FEW_ROUNDS = (*ONCE, "--target-ci", "99%")


def all_measured(rows: list[dict[str, object]], models: int) -> bool:
    """Whether every model has its number; on a busy machine one may be called unstable."""
    return len(rows) == models and all(row["status"] in ("ok", "unstable") for row in rows)


def write_log(path: Path, log: RunLog) -> Path:
    with RunWriter.create(path, log.header) as writer:
        writer.append(log.records)
    return path


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from scaleprof.cli import run; code = run(['--help']); "
        "heavy = {'torch', 'pandas', 'plotly', 'torchvision', 'scipy', 'numpy', 'rich'} & set(sys.modules); "
        "assert code == 0 and not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd="/")


def test_reports_need_no_torch(tmp_path: Path) -> None:
    write_log(tmp_path / "run.jsonl", family_log())
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None; "
        "from scaleprof.cli import run; sys.exit(run(['report', 'run.jsonl']) or run(['show', 'run.jsonl']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / "run.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["sweep", "-m", "efficientnet_bo"],
            "unknown model 'efficientnet_bo': did you mean 'efficientnet_b0'?",
        ),
        (["sweep", "--phi", "7..0"], "--phi 7..0 is empty: the first value must not exceed the last"),
        (["sweep", "--phi", ""], "has an empty value"),
        (["sweep", "--phi", "-20", "--strategy", "resolution"], "at least 32 are needed"),
        (["sweep", "--strategy", "wide"], "unknown strategy 'wide'"),
        (["sweep", "--strategy", "published", "--phi", "9"], "has no published row 9"),
        (["sweep", "-b", "0"], "--batch-size 0 is not a list of whole numbers above zero"),
        (["sweep", "-b", "maxi"], "is not a list of whole numbers above zero, such as 1,32 or max"),
        (["sweep", "--threads", "9999"], "--threads 9999: this process may use 1 to"),
        (["sweep", "--device", "tpu"], "unknown device 'tpu': it is one of auto, cpu, cuda, cuda:N"),
        (["sweep", "--threads", "1,two"], "--threads 1,two is not a list of whole numbers above zero"),
        (["sweep", "--dtype", "fp32,fp61"], "--dtype 'fp61': did you mean 'fp16'? (fp32, bf16, fp16)"),
        (
            ["sweep", "--memory-format", "nhwc"],
            "--memory-format 'nhwc' is not known (contiguous, channels_last)",
        ),
        (["sweep", "--allocator", "jemalloc"], "is not one of"),
        (["sweep", "--preset", "fast"], "unknown preset 'fast'"),
        (["sweep", "--timeout", "soon"], "--timeout soon is not a duration above zero"),
        (["sweep", "--target-ci", "200%"], "--target-ci 200% is not a share"),
        (["sweep", "--depth-base", "0"], "--depth-base 0 must be above 0 and at most 10"),
        (["sweep", "--resume"], "--resume needs the run that is meant: give it with -o"),
        (["sweep", "--resume", "--overwrite", "-o", "x"], "exclude each other"),
        (["sweep", "--resume", "-o", "none.jsonl"], "none.jsonl does not exist"),
        (["sweep", "-o", "thesis.txt"], "thesis.txt exists and is not a scaleprof run"),
        (["sweep", "--overwrite", "-o", "thesis.txt"], "thesis.txt exists and is not a scaleprof run"),
        (["sweep", "-o", "run.jsonl"], "run.jsonl exists: --resume goes on with it, --overwrite replaces it"),
        (["sweep", "--report", "thesis.txt"], "thesis.txt exists and is no html report"),
        (["sweep", "-o", "new.jsonl", "--report", "new.jsonl"], "are one file: give the report another name"),
        (["sweep", "--timeout", "99999999999999h"], "30 days at most"),
        (["sweep", "--seed", "99999999999999999999"], "is not in the range"),
        (["sweep", "--width-base", "1e200"], "must be above 0 and at most 10"),
        (["sweep", "--no-such-flag"], "No such option"),
        (["count", "--phi", "1..0"], "is empty"),
        (["report", "none.jsonl"], "none.jsonl cannot be read"),
        (["report", "thesis.txt"], "thesis.txt is not a scaleprof run"),
        (
            ["report", "run.jsonl", "--x", "latency"],
            "--x latency is not a metric for this axis: did you mean 'latency_ms'?",
        ),
        (["report", "run.jsonl", "-o", "thesis.txt"], "thesis.txt exists and is no html report"),
        (
            ["report", "run.jsonl", "--budget", "latency<=10"],
            "'latency' is not a metric that can have a budget: did you mean 'latency_ms'?",
        ),
        (
            ["report", "run.jsonl", "--budget", "latency_ms<10"],
            "is not METRIC<=QUANTITY, nor METRIC>=QUANTITY",
        ),
        (["report", "run.jsonl", "--budget", ""], "budget '' is not METRIC<=QUANTITY, nor METRIC>=QUANTITY"),
        (
            ["show", "run.jsonl", "--budget", "latency_ms>=10"],
            "latency_ms is to be small: write latency_ms<=10",
        ),
        (["show", "run.jsonl", "--budget", "latency_ms<=soon"], "'soon' is not a quantity above zero"),
        (
            ["show", "run.jsonl", "--budget", "gpu_ms<=3"],
            "budget 'gpu_ms<=3': no model here has gpu_ms (measured on CUDA only): leave it out",
        ),
        (
            ["report", "run.jsonl", "--format", "csv", "--budget", "compile_s<=9"],
            "budget 'compile_s<=9': no model here has compile_s (eager",
        ),
        (["sweep", "--budget", "latency_ms"], "budget 'latency_ms' is not METRIC<=QUANTITY"),
        (["show", "thesis.txt"], "thesis.txt is not a scaleprof run"),
        (["models", "resnet"], "unknown model 'resnet'"),
        (["count", "--strategy", "published", "-m", "resnet18"], "resnet18 has no published coefficients"),
        (["count", "--strategy", "published", "-m", "efficientnet_lite0", "--phi", "5"], "takes 0..4 with"),
        (["count", "--match", "latency"], "is not one of"),
        (["count", "--rounding", "up"], "is not one of"),
        (["count", "-m", "torchvision:resnet_50"], "'resnet_50': did you mean 'resnet50'?"),
        (["count", "-m", "timm:resnet_50"], "timm has no model 'resnet_50': did you mean 'resnet50'?"),
        (["count", "-m", "none.py:build"], "none.py:build: there is no file none.py"),
        (["count", "-m", "thesis.txt:build"], "raised ModuleNotFoundError while it was loaded"),
        (["count", "-m", "nets.py"], "nets.py is a file: name the function in it, such as nets.py:build"),
        (["frobnicate"], "No such command"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work\n")
    write_log(tmp_path / "run.jsonl", family_log())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run_cli(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_says_what_torch_sees_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["sweep", "--device", "cuda"]) == 2
    err = capsys.readouterr().err
    assert "sees no NVIDIA GPU" in err
    assert "--device cpu" in err
    assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback_and_does_not_look_like_a_regression() -> None:
    code = (
        "import sys, scaleprof.cli as c\n"
        "def broken(*_): raise ZeroDivisionError('a bug')\n"
        "c.run = broken\n"
        "c.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


def test_an_empty_run_has_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.jsonl"
    RunWriter.create(path, make_header()).close()
    assert run_cli(["show", str(path)]) == 5
    assert run_cli(["report", str(path), "-o", str(tmp_path / "r.html")]) == 5
    assert "--resume" in capsys.readouterr().err


BUDGET = ("--budget", "latency_ms<=50")
RECOMMENDED = (
    "Within latency_ms<=50 for certain, the best by MACs (capacity proxy) is compound/2, 1.60 G MACs, 40.4 ms"
)


def test_a_budget_recommends_on_stderr_and_the_page_begins_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "run.jsonl", family_log())
    assert run_cli(["report", "run.jsonl", *BUDGET, "--budget", "peak_memory_bytes <= 2 GiB"]) == 0
    out, err = capsys.readouterr()
    advice, written = err.splitlines()
    assert out == ""
    assert advice.startswith("Within latency_ms<=50, peak_memory_bytes<=2GiB for certain, the best by MACs")
    assert written == "report: reports/run.html"
    page = (tmp_path / "reports" / "run.html").read_text(encoding="utf-8")
    assert 'value="latency_ms&lt;=50, peak_memory_bytes&lt;=2GiB"' in page


@pytest.mark.parametrize("format_", ["json", "csv"])
@pytest.mark.parametrize("verb", ["report", "show"])
def test_a_budget_leaves_the_data_on_stdout_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, format_: str
) -> None:
    path = write_log(tmp_path / "run.jsonl", family_log())
    assert run_cli([verb, str(path), "--format", format_]) == 0
    without = capsys.readouterr().out
    assert run_cli([verb, str(path), "--format", format_, *BUDGET]) == 0
    out, err = capsys.readouterr()
    assert out == without
    assert err.startswith(RECOMMENDED)
    assert err.count("\n") == 1


def test_a_markdown_report_has_the_recommendation_in_it_and_replaces_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = write_log(tmp_path / "run.jsonl", family_log()), tmp_path / "table.md"
    markdown = ["report", str(path), "--format", "markdown"]
    assert run_cli([*markdown, *BUDGET]) == 0
    out, err = capsys.readouterr()
    assert f"\n\n**Budget.** {RECOMMENDED}" in out
    assert err == ""
    for more in (BUDGET, BUDGET, (), ()):
        assert run_cli([*markdown, *more, "-o", str(table)]) == 0
    assert "Budget" not in table.read_text(encoding="utf-8")
    # Earlier versions wrote the rows alone.
    table.write_text("| model | input | asked | growth | MACs |\n")
    assert run_cli([*markdown, "-o", str(table)]) == 0
    assert table.read_text(encoding="utf-8").startswith("<!-- scaleprof report -->\n\n## scaleprof: ")


def test_several_runs_and_workloads_are_told_apart_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "one.jsonl", family_log())
    write_log(tmp_path / "two.jsonl", runtimes_log(compile=0.5))
    for format_ in ("html", "csv"):
        assert run_cli(["report", "one.jsonl", "two.jsonl", "--format", format_, *BUDGET]) == 0
        lines = capsys.readouterr().err.splitlines()
        named = [line.partition(": Within latency_ms<=50 for certain, ")[0] for line in lines[:3]]
        assert named == ["one", "two, eager", "two, compile"]


def test_budgets_come_from_a_file_and_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "run.jsonl", family_log())
    (tmp_path / "scaleprof.toml").write_text('[show]\nbudget = ["latency_ms<=50", "macs<=1T"]\n')
    assert run_cli(["show", "run.jsonl"]) == 0
    assert "Within latency_ms<=50, macs<=1T for certain, the best by" in capsys.readouterr().err
    monkeypatch.setenv("SCALEPROF_SHOW_BUDGET", "latency_ms <= 30, macs<=2T")
    assert run_cli(["show", "run.jsonl"]) == 0
    assert "Within latency_ms<=30, macs<=2T for certain, the best by" in capsys.readouterr().err


def test_a_sweep_ends_with_what_its_budget_recommends_and_loses_nothing_to_one_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, page = sp.Run(family_log()), tmp_path / "page.html"
    assert conclude(run, tmp_path / "run.jsonl", page, "csv", ["latency_ms<=50"]) == 0
    err = capsys.readouterr().err
    assert RECOMMENDED in err
    assert err.splitlines()[-1] == "7 of 7 models measured"
    assert 'value="latency_ms&lt;=50"' in page.read_text(encoding="utf-8")
    assert conclude(run, tmp_path / "run.jsonl", page, "csv", ["energy_j<=1"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 8
    assert "budget 'energy_j<=1': no model here has energy_j (it was not run back to back" in err
    assert 'id="run1-budget" value=""' in page.read_text(encoding="utf-8")


def test_a_torn_run_is_shown_with_a_one_line_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_log(tmp_path / "run.jsonl", family_log())
    path.write_bytes(path.read_bytes()[:-10])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run_cli(["show", str(path), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 6
    assert "was cut off while it was written" in err
    assert err.count("\n") == 1


def test_count_prints_the_same_rows_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["count", "--phi", "0..1", "--strategy", "width"]
    outputs = {}
    for format_ in ("json", "csv", "markdown", "table"):
        assert run_cli([*arguments, "--format", format_]) == 0
        outputs[format_] = capsys.readouterr().out
    rows = json.loads(outputs["json"])
    assert [(row["spec_id"], row["params"]) for row in rows] == [
        ("efficientnet_b0/base/0", 5_288_548),
        ("efficientnet_b0/width/1", 9_720_946),
    ]
    assert [row["spec_id"] for row in csv.DictReader(io.StringIO(outputs["csv"]))] == [
        row["spec_id"] for row in rows
    ]
    assert outputs["markdown"].count("\n") == 4
    assert "efficientnet_b0/width/1" in outputs["table"]


def test_own_bases_change_the_compound_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    bases = ["--depth-base", "2", "--width-base", "1", "--resolution-base", "1"]
    assert run_cli(["count", "--strategy", "compound", "--phi", "1", "--format", "json", *bases]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["shape"]["stage_repeats"] == [2, 4, 4, 6, 6, 8, 2]
    assert (row["requested_growth"], row["input_size"]) == (2.0, 224)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run.jsonl", family_log(range(1, 300)))
    command = f"{sys.executable} -m scaleprof show {log} --format json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


def test_every_option_has_the_environment_variable_of_its_flag() -> None:
    for name, command in cli.commands.items():
        for option in command.params:
            if isinstance(option, click.Option):
                flag = next(flag for flag in option.opts if flag.startswith("--"))
                expected = f"SCALEPROF_{name}_{flag[2:]}".replace("-", "_").upper()
                assert option.envvar == expected


def test_models_lists_and_shows_integers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["models"]) == 0
    assert "efficientnet_b0" in capsys.readouterr().out
    assert run_cli(["models", "efficientnet_b0", "--phi", "1", "--strategy", "compound"]) == 0
    out = capsys.readouterr().out
    assert "stage_repeats 2-3-3-4-4-5-2" in out
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, L2" in out
    assert run_cli(["models", "efficientnet_b0", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["specs"]) == 13


def test_env_tells_the_facts_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["env", "--device", "cpu", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["torch"] == torch.__version__
    assert facts["usable_cpus"] >= 1
    assert facts["memory_bytes"] > 2**30


def test_a_dry_run_shows_models_and_time_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli(["sweep", "--phi", "0..1", "--device", "cpu", "--dry-run", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 5
    assert "5 models on cpu: 3 launches, roughly" in err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_fit_is_marked_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base = ["sweep", "--phi", "0", "--device", "cpu"]
    assert run_cli([*base, "-b", "1,90000000", "--dry-run", "--format", "json"]) == 0
    small, large = json.loads(capsys.readouterr().out)
    assert (small["status"], large["status"]) == ("ok", "skipped")
    assert large["reason"].startswith("needs about")
    assert run_cli([*base, "-b", "90000000"]) == 3
    assert "no model can be measured: needs about" in capsys.readouterr().err


def test_the_default_sweep_measures_thirteen_models_and_writes_run_and_report(measured_sweep: Path) -> None:
    log = read_run(measured_sweep / "profiles" / "b0.jsonl")
    assert [record.status for record in log.records] == ["ok"] * 13
    assert log.records[0].spec.spec_id == "efficientnet_b0/base/0"
    for record in log.records:
        (launch,) = record.launches
        assert launch.complete
        assert len(launch.visits) >= 6
        assert all(
            len(visit.reference_network_s) == len(visit.matrix_product_s) == 6 for visit in launch.visits
        )
        assert launch.peak_memory_bytes is not None
        assert record.cost is not None
        assert launch.peak_memory_bytes > record.cost.weight_bytes
    assert (measured_sweep / "reports" / "b0.html").stat().st_size > 1_000_000


def test_a_sweep_prints_rows_on_stdout_and_talks_on_stderr(
    scaleprof: Scaleprof, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = scaleprof(*SMALL, "--format", "json", check=0)
    rows = json.loads(done.stdout)
    assert all_measured(rows, 4)
    (run_path,) = (tmp_path / "profiles").iterdir()
    (page,) = (tmp_path / "reports").iterdir()
    assert run_path.name.startswith("efficientnet_b0-cpu-")
    assert run_path.stem == page.stem
    assert f"run: profiles/{run_path.name}" in done.stderr
    assert f"report: reports/{page.name}" in done.stderr
    assert "4 of 4 models measured" in done.stderr.splitlines()[-1]  # "2 of them unstable" may follow
    monkeypatch.chdir(tmp_path)
    assert run_cli([*SMALL, "-o", f"profiles/{run_path.name}"]) == 2
    assert "--resume goes on with it" in capsys.readouterr().err


def test_axes_of_a_sweep_are_rows_of_their_own_with_every_number_or_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    axes = ("--dtype", "fp32,bf16", "--memory-format", "contiguous,channels_last")
    # Its weights are most of its memory: a peak without them would show.
    Path("heavy.py").write_text(TINY_NETWORK.replace("nn.Linear(channels, 10)", "nn.Linear(channels, 2**18)"))
    models = ("-m", "heavy.py:build", "--strategy", "width", "--phi", "0..1")
    code = run_cli([*FEW_ROUNDS, *models, *axes, "--no-report", "--format", "json"])
    out, err = capsys.readouterr()
    assert code == 0 or all_unstable(code, err)
    rows = json.loads(out)
    assert all_measured(rows, 8)
    workloads = {(row["dtype"], row["memory_format"]) for row in rows}
    assert len(workloads) == 4
    for row in rows:
        assert row["throughput_per_s"] > 0
        assert row["peak_memory_bytes"] > row["weight_bytes"]
        assert row["ratio_to_base"] > 0
        assert row["drift_corrected_ms"] > 0
        assert row["latency_p90_ms"] is None or row["latency_p90_upper_ms"] >= row["latency_p90_ms"]
        assert all(row["nulls"][name] for name in ("energy_j", "gpu_ms") if row[name] is None)
    fp32, bf16 = (next(row for row in rows if row["dtype"] == dtype) for dtype in ("fp32", "bf16"))
    assert bf16["weight_bytes"] == fp32["weight_bytes"] // 2


def start_sweep(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scaleprof", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        start_new_session=True,
    )


def worker_of(sweep: subprocess.Popen[str]) -> int:
    """The process id of the sweep's measuring worker, once it measures (its run file has its header)."""
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children")
    for _ in range(600):
        for child in children.read_text().split():
            if b"scaleprof.measuring.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.1)
    raise AssertionError("no worker came up")


def wait_for_run(folder: Path, *, lines: int = 1) -> None:
    """Until the run file has its header, or so many lines."""
    path = folder / "run.jsonl"
    for _ in range(3000):
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.1)
    raise AssertionError("no such run file came up")


def test_a_worker_killed_in_mid_sweep_loses_only_its_model_and_resume_completes_the_run(
    scaleprof: Scaleprof, tiny: str, tmp_path: Path
) -> None:
    arguments = (*FEW_ROUNDS, "-m", tiny, "--strategy", "width", "--phi", "0..2", "-o", "run.jsonl")
    sweep = start_sweep(tmp_path, *arguments, "--no-report")
    wait_for_run(tmp_path)
    worker = worker_of(sweep)
    time.sleep(1.5)
    os.kill(worker, signal.SIGKILL)
    out, err = sweep.communicate(timeout=300)
    assert sweep.returncode in (0, 3), err  # 3 where the others are all unstable
    by_status = sorted(record.status for record in read_run(tmp_path / "run.jsonl").records)
    assert by_status == ["killed", "ok", "ok"], (out, err)
    assert "1 failed" in err
    resumed = ("--resume", "--no-report", "--format", "json", "--max-time", "1s")
    done = scaleprof(*arguments, *resumed, check=0)
    assert all_measured(json.loads(done.stdout), 3)
    # The models that were measured before were not measured again.
    assert done.stderr.count(" ms") == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_saves_exits_130_and_goes_on(
    scaleprof: Scaleprof,
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: signal.Signals,
) -> None:
    models = ("-m", tiny, "--strategy", "width", "--phi", "0..1")
    quick = (*FEW_ROUNDS, *models, "-o", "run.jsonl", "--no-report")
    patient = (*quick, "--preset", "default")
    sweep = start_sweep(tmp_path, *patient)
    wait_for_run(tmp_path, lines=1 + 2)  # the header, and the first launch of two models
    os.kill(sweep.pid, how)
    _, err = sweep.communicate(timeout=300)
    assert sweep.returncode == 130, err
    assert "what was measured is in run.jsonl" in err
    assert "--resume" in err
    saved = read_run(tmp_path / "run.jsonl").records
    assert saved
    assert not any(len(record.launches) == 3 and record.launches[-1].complete for record in saved)
    if how is signal.SIGINT:  # by which signal it was stopped is in no file: going on is tried once
        monkeypatch.chdir(tmp_path)
        assert run_cli([*quick, "--resume"]) == 6
        assert "was measured with preset" in capsys.readouterr().err
        scaleprof(*patient, "--resume", check=0)
        log = read_run(tmp_path / "run.jsonl")
        assert [[launch.complete for launch in record.launches] for record in log.records] == [[True] * 3] * 2


def test_a_resumed_run_can_grow_and_knows_a_network_by_both_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = (*ONCE, "--max-time", "1s", "--no-report", "-o", "run.jsonl")
    run_cli([*quick, "--strategy", "published", "--phi", "0"])
    capsys.readouterr()
    run_cli([*quick, "--resume", "--strategy", "resolution", "--phi", "-4,0,17", "--format", "json"])
    rows = {row["spec_id"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {f"efficientnet_b0/{name}" for name in ("base/0", "resolution/-4", "resolution/17")}
    assert rows["efficientnet_b0/base/0"]["also"] == ["efficientnet_b0/published/0"]
    assert rows["efficientnet_b0/base/0"]["latency_ms"] is not None
    assert rows["efficientnet_b0/resolution/17"]["status"] == "skipped"


def test_a_resumed_name_that_means_another_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = (*ONCE, "--max-time", "1s", "--no-report", "-o", "run.jsonl", "--strategy", "compound")
    code = run_cli([*quick, "--phi", "-4"])
    assert code == 0 or all_unstable(code, capsys.readouterr().err)
    before = (tmp_path / "run.jsonl").read_bytes()
    assert run_cli([*quick, "--phi", "-4", "--resume", "--resolution-base", "1.3"]) == 2
    assert "run.jsonl holds another efficientnet_b0/compound/-4" in capsys.readouterr().err
    assert (tmp_path / "run.jsonl").read_bytes() == before


def test_a_run_of_another_protocol_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_log(tmp_path / "run.jsonl", family_log())
    before = path.read_bytes()
    assert run_cli([*SMALL, "--resume", "-o", "run.jsonl", "--no-report"]) == 6
    error = capsys.readouterr().err
    assert "run.jsonl was measured by protocol 1, this is 2: the two are not comparable" in error
    assert path.read_bytes() == before


def test_resuming_on_another_machine_is_refused_with_exit_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    header = make_header(plan=make_plan("quick"), protocol=PROTOCOL_VERSION)
    write_log(tmp_path / "run.jsonl", RunLog(header, (make_record(),)))
    before = (tmp_path / "run.jsonl").read_bytes()
    assert run_cli([*SMALL, "--phi", "-4,17", "-o", "run.jsonl", "--resume"]) == 6  # 17 cannot fit
    assert "was measured with cpu_model Test CPU, this is" in capsys.readouterr().err
    assert (tmp_path / "run.jsonl").read_bytes() == before


def test_options_come_from_file_environment_and_flag_in_rising_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scaleprof.toml").write_text(
        '[count]\nphi = "1"\nstrategy = ["width", "depth"]\nformat = "json"\n'
    )

    def counted(*flags: str) -> list[str]:
        assert run_cli(["count", *flags]) == 0
        return [row["spec_id"].split("/", 1)[1] for row in json.loads(capsys.readouterr().out)]

    assert counted() == ["width/1", "depth/1"]
    monkeypatch.setenv("SCALEPROF_COUNT_PHI", "0.5")
    assert counted() == ["width/0.5", "depth/0.5"]
    monkeypatch.setenv("SCALEPROF_COUNT_STRATEGY", "depth")
    assert counted() == ["depth/0.5"]
    assert counted("--phi", "-1", "--strategy", "width") == ["width/-1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[count]\nphy = "1"\n', "scaleprof.toml: [count] has no option 'phy': did you mean 'phi'?"),
        ("[cuont]\nphi = 1\n", "scaleprof.toml: [cuont] is no command: did you mean 'count'?"),
        ("[count\n", "scaleprof.toml is not valid TOML"),
    ],
)
def test_a_wrong_settings_file_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scaleprof.toml").write_text(text)
    assert run_cli(["count"]) == 2
    assert message in capsys.readouterr().err


def test_the_python_interface_sweeps_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = sp.sweep(model="efficientnet_b0", strategies=["resolution"], phi=[-4], device="cpu", preset="quick")
    (row,) = run.rows
    assert row.status in ("ok", "unstable")
    assert row.latency_ms is not None
    assert row.latency_ms > 0
    assert list(tmp_path.iterdir()) == []
    sp.report(run, "reports/b0.html")
    assert (tmp_path / "reports" / "b0.html").exists()

"""The documentation is true: commands exist, examples run, generated pages are current."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import scaleprof as sp
from scaleprof.app.counting import count_families
from scaleprof.cli import cli
from scaleprof.errors import ExitCode
from scaleprof.measuring.presets import PRESETS
from scaleprof.models import FAMILIES
from scaleprof.reporting.tables import latency_text

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shell_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [
        part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("scaleprof ")
    ]


@pytest.mark.parametrize("command", shell_commands())
def test_every_command_of_the_readme_parses(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    verb = cli.commands[name]
    context = verb.make_context(name, arguments, resilient_parsing=False)
    assert isinstance(context, click.Context)


def test_the_readme_has_its_two_lines_on_top() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)[0].splitlines()
    assert first.split("#")[0].strip() == "pip install . && scaleprof sweep --phi 0..3"
    assert second.split("#")[0].strip() == 'pip install ".[dev]" && pytest'


def test_every_name_of_the_python_example_exists() -> None:
    _, example = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {
        node.attr
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sp"
    }
    assert names == {"sweep", "report", "count", "load", "solve", "search_bases"}
    assert all(callable(getattr(sp, name)) for name in names)
    assert {"to_frame", "front"} <= set(dir(sp.Run))


def test_the_readmes_own_network_runs_as_it_stands(tmp_path: Path) -> None:
    example, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "readme_net.py").write_text(example)
    rows = count_families(f"{tmp_path / 'readme_net.py'}:build", phi="0..1")
    assert [row.status for row in rows] == ["ok"] * 5


def test_the_families_of_the_readme_are_those_there_are() -> None:
    table = README.partition("## Which networks")[2].partition("Your own network joins")[0]
    named = set(re.findall(r"`([a-z0-9_]+)`", table)) - {"timm"}
    assert named == set(FAMILIES)


def test_what_the_readme_prints_is_the_run_that_is_kept() -> None:
    rows = sp.load(ROOT / "profiles" / "efficientnet_b0-cpu.jsonl").rows
    assert len(rows) == 13
    for row in rows:
        (line,) = [
            line for line in README.splitlines() if line.startswith(row.spec_id + " ") and " px " in line
        ]
        assert latency_text(row) in line
        assert line.split()[-1] == row.status


def test_the_kept_report_is_of_the_kept_run() -> None:
    page = (ROOT / "reports" / "efficientnet_b0-cpu.html").read_text(encoding="utf-8")
    data = page.partition('id="scaleprof-data">')[2].partition("</script>")[0]
    (run,) = json.loads(data)
    rows = sp.load(ROOT / "profiles" / "efficientnet_b0-cpu.jsonl").rows
    assert run["rows"]["columns"]["spec_id"] == [row.spec_id for row in rows]
    assert run["rows"]["columns"]["latency_ms"] == pytest.approx([row.latency_ms for row in rows], rel=1e-6)
    assert all(f"<td>{latency_text(row)}</td>" in page for row in rows)


def test_the_page_on_reports_holds_the_table_of_its_benchmark() -> None:
    page = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    table = page.partition("<!-- report -->")[2].partition("<!-- /report -->")[0]
    assert re.findall(r"^\| ([0-9,]+) records", table, flags=re.MULTILINE) == ["13", "200", "2,000"]


def test_the_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert codes == set(ExitCode)


def test_the_command_line_reference_is_current() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], check=True)


def test_the_page_of_scaling_beyond_cnns_says_what_the_kept_runs_say() -> None:
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "families.py"), "--check"], check=True)


def test_the_page_of_what_reproduces_is_current() -> None:
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / "reproduce.py"), "--check"], check=True)


def test_the_readmes_counters_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "counting.md").read_text(encoding="utf-8")
    kept, shown = (
        text.partition("<!-- counters -->\n")[2].partition("<!-- /counters -->")[0] for text in (page, README)
    )
    assert shown.strip()
    assert kept == shown
    assert "NOT IDENTICAL" not in page


@pytest.mark.parametrize("name", ["coverage", "repeatability", "neighbour", "overhead"])
def test_the_page_on_measuring_holds_the_tables_of_its_benchmarks(name: str) -> None:
    page = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    table = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    assert table.count("\n| ") > 4
    assert (ROOT / "benchmarks" / f"{name}.py").exists()


def test_the_page_on_measuring_tells_the_presets_as_they_are() -> None:
    page = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    for plan in PRESETS.values():
        rounds = f"{plan.min_rounds} to {plan.max_rounds}"
        start = f"| `{plan.preset}` | {plan.launches} | {rounds} | ±{100 * plan.target_ci:g} % |"
        (line,) = [line for line in page.splitlines() if line.startswith(start)]
        assert f"until {plan.heavy_s:g} s" in line


def test_decisions_are_numbered_without_gaps() -> None:
    notes = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in notes] == list(range(1, len(notes) + 1))


CHECKING = (ROOT / "docs" / "checking.md").read_text(encoding="utf-8")


def checking_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", CHECKING, flags=re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("command", checking_commands())
def test_every_command_of_the_page_on_checking_parses(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    verb = cli.commands[name]
    assert isinstance(verb.make_context(name, arguments, resilient_parsing=False), click.Context)


def test_the_configuration_of_the_page_on_checking_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", CHECKING, flags=re.DOTALL)
    (tmp_path / "scaleprof.toml").write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "scaleprof", "check", "--against", "HEAD", "--dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "nets:build/base/0  latency 2 %  peak_memory_bytes<=1GiB  latency_ms<=20  macs<=500M",
        "nets:small/base/0  latency 5 %  peak_memory_bytes<=1GiB  latency_ms<=20  macs<=500M",
        "bench.serving:request  latency 2 %  peak_memory_bytes<=1GiB",
    ]


def test_the_exit_codes_of_the_page_on_checking_are_those_of_the_program() -> None:
    table = CHECKING.partition("## Exit codes")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)} == set(ExitCode)


def test_the_page_on_checking_has_a_place_for_the_table_of_its_benchmark() -> None:
    assert CHECKING.index("<!-- gate -->") < CHECKING.index("<!-- /gate -->")

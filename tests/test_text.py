"""No name becomes markup, a formula or a command, in whatever it is written."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from scaleprof.cli import run as run_cli
from scaleprof.reporting import table
from scaleprof.reporting.table import Table

HOSTILE = "a|b <img src=x> `c` =1+1 \x1b[2J\x07 <class 'int'> [bold]d[/bold] \n# e"


def shown(made: Table) -> str:
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(table.to_terminal(made))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_cell_is_one_cell_of_a_markdown_table_and_loses_nothing() -> None:
    text = table.to_markdown(Table(("model", "n"), [(HOSTILE, "1")], (0,)))
    *_, line = text.splitlines()
    assert len(text.splitlines()) == 3
    assert line.replace(r"\|", "").count("|") == 3
    assert "<img" not in text
    assert "&lt;img src=x>" in text
    assert "&lt;class 'int'>" in text


def test_a_terminal_gets_no_control_characters_and_no_markup_of_richs() -> None:
    text = shown(Table(("model", "n"), [(HOSTILE, "1")], (0,)))
    assert not {"\x1b", "\x07"} & set(text)
    assert "[bold]d[/bold]" in text


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_gets_no_formula(formula: str) -> None:
    text = table.to_csv(("name", "number", "nested"), [(formula, -1.5, {"a": formula})])
    _, (name, number, nested) = csv.reader(io.StringIO(text, newline=""))
    assert name == f"'{formula}".replace("\r", "\n")
    assert number == "-1.5"
    assert nested.startswith("{")


def test_a_model_named_like_a_tag_is_a_name_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net<img src=x>.py").write_text(
        "from torch import nn\ndef build(scale): return nn.Conv2d(3, int(8 * scale.width), 1)\n"
    )
    asked = ["count", "-m", "net<img src=x>.py:build", "--phi", "0", "--strategy", "width"]
    for view in ([], ["--by-operator"], ["--by-module", "1"]):
        assert run_cli([*asked, *view, "--format", "markdown"]) == 0
        text = capsys.readouterr().out
        assert "<img" not in text
        assert "net&lt;img src=x>" in text

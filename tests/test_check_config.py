"""The configuration of a check: options, tables, and what may not stand there."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from check_logs import STARTED_AT, make_check_header
from conftest import Scaleprof, clean_environment
from msgspec.structs import replace

from scaleprof.app.check_config import read_rules
from scaleprof.app.checking import Asked, acceptance_texts, limit_texts, list_targets
from scaleprof.errors import UsageError
from scaleprof.records import Workload
from scaleprof.reporting.checks_rules import Rules, parse_limit, parse_scoped_budget

TODAY = date.fromisoformat(STARTED_AT[:10])
CPU = Workload("cpu")
ACCEPTED = {"models": "net", "metric": "macs", "reason": "a third stage", "until": date(2026, 12, 31)}


def test_a_limit_for_a_pattern_counts_before_the_general_one() -> None:
    rules = read_rules(limits=["latency=2%"], tables={"limits": [{"models": "resnet*", "latency": "5%"}]})
    assert rules.limit("resnet18/base/0", "latency") == 0.05
    assert rules.limit("vgg/base/0", "latency") == 0.02


def test_a_typed_limit_counts_before_the_files_tables() -> None:
    tables = {"limits": [{"models": "resnet*", "latency": "5%"}]}
    rules = read_rules(limits=["latency=1%"], limits_win=True, tables=tables)
    assert rules.limit("resnet18/base/0", "latency") == 0.01


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("resnet18", True),
        ("resnet*", True),
        ("resnet18/width/*", True),
        ("resnet18/base/0", False),
        ("resnet1", False),
    ],
)
def test_a_pattern_names_a_target_by_its_whole_name_or_its_model(pattern: str, named: bool) -> None:
    rules = read_rules(tables={"limits": [{"models": pattern, "latency": "5%"}]})
    assert (rules.limit("resnet18/width/1", "latency") is not None) == named


def test_an_acceptance_counts_until_its_last_day_and_no_longer() -> None:
    rules = read_rules(tables={"accepted": [ACCEPTED]})
    accepted = rules.acceptance("net/base/0", "macs", date(2026, 12, 31))
    assert accepted is not None
    assert accepted.reason == "a third stage"
    assert rules.acceptance("net/base/0", "macs", date(2027, 1, 1)) is None
    assert rules.expired("net/base/0", "macs", date(2027, 1, 1)) == accepted
    assert rules.acceptance("net/base/0", "params", TODAY) is None
    assert rules.acceptance("other/base/0", "macs", TODAY) is None


def test_what_a_header_holds_reads_back_as_the_same_rules() -> None:
    rules = read_rules(
        limits=["latency=3%", "macs=0"],
        budgets=["latency_ms<=10, macs<=1G"],
        tables={
            "limits": [{"models": "a file.py:build/*", "peak_memory": "10%"}],
            "budgets": [{"models": "a file:build", "budget": ["peak_memory_bytes<=2GiB"]}],
            "accepted": [ACCEPTED | {"until": "2026-12-31"}],
        },
    )
    header = replace(
        make_check_header(),
        limits=limit_texts(rules),
        budgets=tuple(map(str, rules.budgets)),
        accepted=acceptance_texts(rules),
    )
    assert Rules.of(header) == rules


def test_budgets_of_a_pattern_and_of_all_add_up() -> None:
    rules = read_rules(
        budgets=["latency_ms<=10"], tables={"budgets": [{"models": "net", "budget": "macs<=1G"}]}
    )
    assert [str(one) for one in rules.budgets_of("net/base/0")] == ["latency_ms<=10", "macs<=1G"]
    assert [str(one) for one in rules.budgets_of("other/base/0")] == ["latency_ms<=10"]
    assert str(parse_scoped_budget("a net/* latency_ms <= 10")) == "a net/* latency_ms<=10"


def test_patterns_that_name_nothing_are_found() -> None:
    rules = read_rules(tables={"limits": [{"models": "resnte*", "latency": "5%"}, {"latency": "3%"}]})
    assert rules.idle_patterns(["resnet18/base/0"]) == ["resnte*"]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"limits": [{"models": "a", "lattency": "5%"}]}, "has no key 'lattency': did you mean 'latency'?"),
        ({"limits": [{"models": "a"}]}, r"\[\[check.limits\]\] for 'a' limits nothing"),
        ({"limits": [{"models": "a", "latency": "much"}]}, "--limit latency much is not a share"),
        ({"limits": [{"models": "", "latency": "5%"}]}, "write a pattern"),
        ({"budgets": [{"models": "a"}]}, r"\[\[check.budgets\]\] for 'a' needs budget ="),
        ({"budgets": [{"budget": "energy_j<=1"}]}, "check has no energy_j: it has latency_ms"),
        ({"budgets": [{"budget": "latency_ms<10"}]}, "is not METRIC<=QUANTITY"),
        ({"accepted": [ACCEPTED | {"reason": " "}]}, "for 'net' needs a reason"),
        ({"accepted": [ACCEPTED | {"until": "soon"}]}, "has 'soon', which is no day"),
        ({"accepted": [{"metric": "macs", "reason": "x"}]}, "has no day: write until = 2026-12-31"),
        (
            {"accepted": [ACCEPTED | {"metric": "mac"}]},
            "'mac' is not a metric of a check: did you mean 'macs'",
        ),
        ({"accepted": [ACCEPTED | {"expires": 1}]}, "has no key 'expires'"),
    ],
)
def test_a_table_that_cannot_be_is_named_with_the_way_out(
    tables: dict[str, list[dict[str, object]]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_rules(tables=tables)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency", "is not METRIC=SHARE: write latency=2%"),
        ("latnecy=2%", "'latnecy' is not a metric of a check: did you mean 'latency'?"),
        ("latency=0", "is not a share between 0 and 100 %"),
        ("operators=5%", "'operators' is not a metric of a check"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_limit(text)


def test_targets_have_the_names_that_a_sweep_gives_them() -> None:
    asked = Asked(
        models=("resnet18", "bench/net.py:build"),
        functions=("bench.net:serving",),
        strategies=("width", "depth"),
        phi="0..1",
    )
    assert [one.name for one in list_targets(asked, CPU)] == [
        "resnet18/base/0",
        "resnet18/width/1",
        "resnet18/depth/1",
        "net:build/base/0",
        "net:build/width/1",
        "net:build/depth/1",
        "bench.net:serving",
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(models=("resnet_18",)), "unknown model 'resnet_18': did you mean 'resnet18'?"),
        (Asked(models=("net.py:",)), "net.py: names no function: write net.py:build"),
        (Asked(models=("a/net.py:build", "b/net.py:build")), "two models are called net:build"),
        (Asked(models=("resnet18",), phi="2"), "--phi 2 needs a direction of growth: add --strategy"),
        (Asked(models=("resnet18",), strategies=("wide",)), "unknown strategy 'wide'"),
        (Asked(models=("resnet18",), strategies=("published",), phi="L2"), "a check takes rows by number"),
        (Asked(functions=("bench.net",)), "--target bench.net is no function"),
    ],
)
def test_a_target_that_cannot_be_is_refused(asked: Asked, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list_targets(asked, CPU)


CONFIG = """
[check]
model = ["nets.py:build", "nets.py:other"]
limit = ["latency=3%"]
device = "cpu"

[[check.limits]]
models = "nets:other"
latency = "10%"

[[check.budgets]]
models = "nets:build"
budget = "latency_ms<=20"
"""


def test_options_and_tables_of_the_file_are_what_a_check_goes_by(
    scaleprof: Scaleprof, tmp_path: Path
) -> None:
    (tmp_path / "scaleprof.toml").write_text(CONFIG)
    done = scaleprof("check", "--against", "HEAD", "--dry-run", check=0)
    assert done.stdout.splitlines() == [
        "nets:build/base/0  latency 3 %  latency_ms<=20",
        "nets:other/base/0  latency 10 %",
    ]
    assert "2 targets against HEAD; nothing was measured. It takes at most about 10 min" in done.stderr
    typed = scaleprof("check", "--against", "HEAD", "--dry-run", "--limit", "latency=1%", check=0)
    assert typed.stdout.count("latency 1 %") == 2


def test_a_race_that_names_nothing_of_ones_own_is_refused(scaleprof: Scaleprof) -> None:
    done = scaleprof("check", "--against", "HEAD", "--dry-run", check=2)
    assert "--against races your own code: name it by -m FILE.py:FACTORY" in done.stderr
    assert "efficientnet_b0/base/0" in scaleprof("check", "--self-test", "--dry-run", check=0).stdout


def test_in_scaleprofs_own_tree_its_family_is_what_is_raced() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scaleprof", "check", "--against", "HEAD", "--dry-run"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "efficientnet_b0/base/0" in done.stdout


def test_the_same_stands_in_pyproject(scaleprof: Scaleprof, tmp_path: Path) -> None:
    text = CONFIG.replace("[check]", "[tool.scaleprof.check]").replace("[[check.", "[[tool.scaleprof.check.")
    (tmp_path / "pyproject.toml").write_text(text)
    done = scaleprof("check", "--against", "HEAD", "--dry-run", check=0)
    assert "nets:other/base/0  latency 10 %" in done.stdout


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[check]\nlimts = 1\n", "scaleprof.toml: [check] has no option 'limts': did you mean 'limits'?"),
        ("[check]\nbudgets = 3\n", "check.budgets is a list of tables: write [[check.budgets]] above each"),
        (
            "[[check.accepted]]\nmodel = 'a'\n",
            "[[check.accepted]] has no key 'model': did you mean 'models'?",
        ),
    ],
)
def test_a_misspelt_configuration_is_an_error_with_a_suggestion(
    config: str, message: str, scaleprof: Scaleprof, tmp_path: Path
) -> None:
    (tmp_path / "scaleprof.toml").write_text(config)
    done = scaleprof("check", "--against", "HEAD", "--dry-run", check=2)
    assert message in done.stderr

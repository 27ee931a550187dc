"""What a check says: verdicts, exit codes, and the same in every format. Checks are made by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import HOST, make_header
from check_logs import COST, make_baseline_log, make_check_log, make_checked
from conftest import Scaleprof
from rich.console import Console

from scaleprof.app.checking import (
    STEP_SUMMARY,
    Checked,
    CheckFormat,
    add_step_summary,
    annotate,
    check_output,
    judge,
    render,
    replay,
    write_output,
)
from scaleprof.errors import ExitCode, OutputError, UsageError
from scaleprof.records import CheckedTarget, CheckLog, Workload
from scaleprof.reporting.checks import CheckView, Finding, Outcome, exit_code, parse_fail_on
from scaleprof.reporting.checks_baseline import differences
from scaleprof.reporting.checks_json import log_ratios
from scaleprof.reporting.checks_text import to_terminal
from scaleprof.reporting.checks_view import view_check

NET = "net:build/base/0"


def found(view: CheckView, metric: str, target: str = NET) -> Finding:
    (finding,) = [one for one in view.findings if (one.target, one.metric) == (target, metric)]
    return finding


def view_of(
    slowdowns: Mapping[str, float] | None = None,
    *,
    targets: Sequence[CheckedTarget] | None = None,
    header: Mapping[str, object] | None = None,
    **more: object,
) -> CheckView:
    return view_check(make_check_log(slowdowns, targets=targets, header=header, **more))  # type: ignore[arg-type]


def terminal(view: CheckView) -> str:
    console = Console(width=200)
    with console.capture() as text:
        console.print(to_terminal(view))
    return text.get()


def test_a_slowdown_beyond_the_limit_is_a_regression_and_is_named() -> None:
    view = view_of({NET: 0.0, "slow:build/base/0": 0.1})
    assert found(view, "latency").verdict == "PASS"
    assert found(view, "latency", "slow:build/base/0").verdict == "SLOWER"
    assert view.exit_code == ExitCode.REGRESSION
    assert "SLOWER slow:build/base/0: latency +9.9 %" in terminal(view)
    assert "1 regression in 2 targets (exit code 1)" in terminal(view)


def test_a_limit_for_the_target_lets_the_same_slowdown_pass() -> None:
    view = view_of({NET: 0.1}, header={"limits": (("net:build", "latency", 0.15),)})
    assert found(view, "latency").verdict == "PASS"
    assert view.exit_code == ExitCode.OK


def test_faster_is_told_and_no_regression() -> None:
    view = view_of({NET: -0.2})
    assert found(view, "latency").verdict == "FASTER"
    assert view.exit_code == ExitCode.OK
    assert "::notice title=FASTER net%3Abuild/base/0::latency" in annotate(Checked(make_check_log(), view))


def test_an_undecided_target_warns_says_what_would_decide_and_fails_only_if_asked() -> None:
    noisy: dict[str, Any] = {"noise": 0.3, "bias": 0.06, "pairs": 12, "ended": "looks"}
    view = view_of({NET: 0.02}, **noisy)
    latency = found(view, "latency")
    assert latency.verdict == "INCONCLUSIVE"
    assert latency.more_pairs is None or latency.more_pairs > 0
    assert "more (30 rounds each) would decide" in latency.words
    assert view.exit_code == ExitCode.OK
    failing = view_of({NET: 0.02}, header={"fail_on": ("inconclusive",)}, **noisy)
    assert failing.exit_code == ExitCode.INCONCLUSIVE


def test_a_target_that_was_hardly_measured_has_no_verdict() -> None:
    view = view_of(pairs=2, ended="time")
    assert found(view, "latency").verdict == "INVALID"
    assert "2 of the 3 pairs of processes that a verdict needs; the time was over" in terminal(view)
    assert view.exit_code == ExitCode.MISMATCH  # nothing timed could be compared: that is not green


def test_nothing_measured_is_a_failure_never_green_and_never_slower() -> None:
    view = view_of(pairs=0, ended="time")
    assert found(view, "latency").verdict == "INVALID"
    assert view.exit_code == ExitCode.FAILURE


def test_a_crash_in_one_arm_is_a_failure_and_names_the_arm() -> None:
    targets = [make_checked(after=None, invalid="working tree: killed by SIGKILL", invalid_arm="after")]
    view = view_of({}, targets=targets)
    assert found(view, "latency").words == "could not be timed: working tree: killed by SIGKILL"
    assert view.exit_code == ExitCode.FAILURE


def test_a_regression_counts_before_a_crash_beside_it() -> None:
    targets = [make_checked("slow:build/base/0"), make_checked(invalid="it raised", invalid_arm="after")]
    view = view_of({"slow:build/base/0": 0.1}, targets=targets)
    assert view.exit_code == ExitCode.REGRESSION


def grown(**fields: object) -> CheckedTarget:
    return make_checked(after=msgspec.structs.replace(COST, **fields))


@pytest.mark.parametrize(
    ("metric", "fields", "words"),
    [
        ("macs", {"macs": 1_000_001}, "1.00 M → 1.00 M MACs (+0.0001 %)"),
        ("params", {"params": 2_200}, "2.00 k → 2.20 k parameters (+10.0 %)"),
        ("activations", {"activations": 33_000}, "30.0 k → 33.0 k activations (+10.0 %)"),
        (
            "operators",
            {"operators": {"aten.convolution": 5, "aten.relu": 4, "aten.add": 1}},
            "more calls of aten.add (0 → 1), aten.convolution (4 → 5)",
        ),
    ],
)
def test_any_increase_of_an_exact_metric_is_a_regression(
    metric: str, fields: dict[str, object], words: str
) -> None:
    view = view_of(targets=[grown(**fields)], pairs=0, header={"exact_only": True})
    assert found(view, metric).verdict == "FAIL"
    assert found(view, metric).words == words
    assert view.exit_code == ExitCode.REGRESSION


def test_an_exact_decrease_is_told_and_no_regression() -> None:
    fewer = {"aten.convolution": 3, "aten.relu": 4}
    view = view_of(targets=[grown(macs=900_000, operators=fewer)], pairs=0, header={"exact_only": True})
    assert found(view, "macs").verdict == found(view, "operators").verdict == "LESS"
    assert view.exit_code == ExitCode.OK
    assert "1.00 M → 900 k MACs (-10.0 %)" in terminal(view)


def test_exact_metrics_alone_make_a_whole_check() -> None:
    view = view_of(pairs=0, header={"exact_only": True})
    assert {one.metric for one in view.findings} == {"macs", "params", "activations", "operators"}
    assert view.exit_code == ExitCode.OK
    assert view.resolution == "minimum detectable effect: unknown, nothing was to be timed"


def test_what_is_no_network_has_a_reason_instead_of_exact_metrics() -> None:
    missing = {"before": "it is no module", "after": "it is no module"}
    view = view_of(targets=[make_checked(before=None, after=None, missing=missing)])
    assert found(view, "macs").verdict == "INVALID"
    assert "exact metrics could not be had (before: it is no module; now: it is no module)" in terminal(view)
    assert view.exit_code == ExitCode.OK
    alone = view_of(
        targets=[make_checked(before=None, after=None, missing=missing)], pairs=0, header={"exact_only": True}
    )
    assert alone.exit_code == ExitCode.NOTHING


def test_an_accepted_change_is_no_regression_until_it_expires() -> None:
    accepted = ("net:build", "macs", "a third stage", "2026-06-15")  # the day of the check
    view = view_of(targets=[grown(macs=2_000_000)], header={"accepted": (accepted,)})
    assert found(view, "macs").accepted == "a third stage"
    assert view.exit_code == ExitCode.OK
    assert "accepted until 2026-06-15: a third stage" in terminal(view)
    expired = (*accepted[:3], "2026-06-14")
    view = view_of(targets=[grown(macs=2_000_000)], header={"accepted": (expired,)})
    assert view.exit_code == ExitCode.REGRESSION
    assert "its acceptance expired on 2026-06-14 (a third stage)" in found(view, "macs").words
    assert any("expired on 2026-06-14 and counts no more" in note for note in view.notes)


def test_an_accepted_slowdown_is_told_as_slower_and_accepted() -> None:
    accepted = ("*", "latency", "exact softmax", "2026-12-31")
    view = view_of({NET: 0.1}, header={"accepted": (accepted,)})
    assert found(view, "latency").verdict == "SLOWER"
    assert view.exit_code == ExitCode.OK
    assert "SLOWER (accepted)" in terminal(view)


def test_models_that_are_new_or_missing_are_listed_and_missing_fails_if_asked() -> None:
    targets = [
        make_checked(),
        make_checked("new:build/base/0", before=None, invalid="no file", invalid_arm="before", absent=True),
        make_checked("old:build/base/0", after=None, invalid="no file", invalid_arm="after", absent=True),
    ]
    view = view_of({NET: 0.0}, targets=targets)
    assert found(view, "model", "new:build/base/0").verdict == "NEW"
    assert found(view, "model", "old:build/base/0").verdict == "MISSING"
    assert view.exit_code == ExitCode.OK
    asked = view_of({NET: 0.0}, targets=targets, header={"fail_on": ("missing",)})
    assert asked.exit_code == ExitCode.NOTHING


def test_a_target_in_neither_arm_is_never_green() -> None:
    gone = {"before": None, "after": None, "invalid": "no file", "invalid_arm": "before", "absent": True}
    missing = {"missing": {"before": "no file"}}
    typo = make_checked("typo:build/base/0", **gone, **missing)  # type: ignore[arg-type]
    view = view_of({NET: 0.0}, targets=[make_checked(), typo])
    assert found(view, "model", "typo:build/base/0").verdict == "MISSING"
    assert view.exit_code == ExitCode.FAILURE
    assert view_of({}, targets=[typo]).exit_code == ExitCode.NOTHING


def test_where_everything_is_new_nothing_was_compared() -> None:
    targets = [make_checked(before=None, invalid="no file", invalid_arm="before", absent=True)]
    assert view_of({}, targets=targets).exit_code == ExitCode.NOTHING


@pytest.mark.parametrize(
    ("device", "memory", "verdict"),
    [
        ("cpu", (100 * 2**20, 112 * 2**20), "PASS"),  # 5 % and 8 MiB
        ("cpu", (100 * 2**20, 114 * 2**20), "FAIL"),
        ("cpu", (114 * 2**20, 100 * 2**20), "LESS"),
        ("cuda:0", (100 * 2**20, 102 * 2**20), "PASS"),  # 1 % and 1 MiB
        ("cuda:0", (100 * 2**20, 103 * 2**20), "FAIL"),
    ],
)
def test_peak_memory_has_the_slack_of_its_device(device: str, memory: tuple[int, int], verdict: str) -> None:
    target = make_checked()
    on_device = msgspec.structs.replace(target.target, workload=Workload(device))
    view = view_of(targets=[msgspec.structs.replace(target, target=on_device)], memory=memory)
    assert found(view, "peak_memory").verdict == verdict
    assert view.exit_code == (ExitCode.REGRESSION if verdict == "FAIL" else ExitCode.OK)


@pytest.mark.parametrize(
    ("budget", "verdict", "code"),
    [
        ("latency_ms<=50", "PASS", ExitCode.OK),
        ("latency_ms<=10.2", "WARN", ExitCode.OK),
        ("latency_ms<=2", "FAIL", ExitCode.REGRESSION),
        ("macs<=999999", "FAIL", ExitCode.REGRESSION),
        ("peak_memory_bytes<=1GiB", "PASS", ExitCode.OK),
        ("other latency_ms<=2", None, ExitCode.OK),
    ],
)
def test_a_budget_is_broken_only_where_the_whole_interval_is_beyond(
    budget: str, verdict: str | None, code: ExitCode
) -> None:
    view = view_of(header={"budgets": (budget,)}, noise=0.03, bias=0.02, pairs=5)
    verdicts = [one.verdict for one in view.findings if "<=" in one.metric]
    assert verdicts == ([verdict] if verdict else [])
    assert view.exit_code == code


def test_p95_is_told_and_decides_nothing() -> None:
    view = view_of({NET: 0.0})
    assert found(view, "latency_p95").outcome == "told"
    assert found(view, "latency_p95").after is not None


def test_every_timed_check_tells_the_least_slowdown_it_finds() -> None:
    quiet, noisy = view_of(noise=0.01), view_of(noise=0.2, bias=0.05)
    assert 0.02 < quiet.detectable[NET] < noisy.detectable[NET]
    for view in (quiet, noisy):
        assert f"{100 * view.detectable[NET]:.3g} % nine times in ten" in terminal(view)


def test_pairs_that_differ_by_far_more_than_was_believed_are_a_note() -> None:
    def noted(bias: float, **header: object) -> list[str]:
        return [
            note for note in view_of(bias=bias, header=header).notes if "pairs of processes differ" in note
        ]

    (note,) = noted(0.15)
    assert note.startswith(f"{NET}: ")
    assert "where 2 % was expected" in note
    assert "--pair-noise" in note
    assert noted(0.002) == []
    assert noted(0.15, tau_0=0.15) == []
    assert noted(0.15, mode="self_test") == []  # that tells it itself


def test_a_false_alarm_of_a_self_test_is_told_and_is_no_regression() -> None:
    view = view_of({NET: 0.1}, header={"mode": "self_test"})
    assert view.exit_code == ExitCode.OK
    assert "a false alarm: both arms are the same code" in terminal(view)
    assert any("fresh pairs of the same code differ by" in note for note in view.notes)


def test_arms_with_different_packages_are_told_apart() -> None:
    log = make_check_log()
    before = msgspec.structs.replace(log.header.before, packages={"torch": "2.10.0", "timm": "1.0"})
    header = msgspec.structs.replace(log.header, before=before)
    view = view_check(msgspec.structs.replace(log, header=header))
    assert "the arms have different packages: timm 1.0 → none, torch 2.10.0 → 2.11.0" in view.notes


OUTCOME_CODES: list[tuple[list[Outcome], str, ExitCode]] = [
    (["ok"], "", ExitCode.OK),
    (["told"], "", ExitCode.NOTHING),
    ([], "", ExitCode.NOTHING),
    (["ok", "regression", "failed"], "", ExitCode.REGRESSION),
    (["ok", "failed"], "", ExitCode.FAILURE),
    (["ok", "undecided"], "", ExitCode.OK),
    (["ok", "undecided"], "inconclusive", ExitCode.INCONCLUSIVE),
    (["mismatch"], "", ExitCode.MISMATCH),
    (["ok", "mismatch"], "", ExitCode.OK),
    (["ok", "mismatch"], "mismatch", ExitCode.MISMATCH),
    (["ok", "missing"], "", ExitCode.OK),
    (["ok", "missing"], "missing,inconclusive", ExitCode.NOTHING),
    (["missing"], "", ExitCode.NOTHING),
]


@pytest.mark.parametrize(("outcomes", "fail_on", "code"), OUTCOME_CODES)
def test_exit_codes_are_those_of_the_contract(outcomes: list[Outcome], fail_on: str, code: ExitCode) -> None:
    findings = [
        Finding(
            target=str(place),
            metric="latency",
            verdict="INVALID" if outcome == "mismatch" else "TOLD",
            outcome=outcome,
            words="",
        )
        for place, outcome in enumerate(outcomes)
    ]
    assert exit_code(findings, fail_on=parse_fail_on(fail_on)) == code


def test_exact_metrics_that_passed_do_not_hide_that_nothing_timed_was_comparable() -> None:
    exact = Finding(target="a", metric="macs", verdict="PASS", outcome="ok", words="")
    timed = Finding(target="a", metric="latency", verdict="INVALID", outcome="mismatch", words="")
    assert exit_code([exact, timed]) == ExitCode.MISMATCH


def test_what_fails_besides_is_checked() -> None:
    with pytest.raises(UsageError, match=r"--fail-on 'mising' is no such case: did you mean 'missing'\?"):
        parse_fail_on("mising")


EVIL = 'a,b:c%|<script>]]>\x07`"'


@pytest.fixture
def evil() -> Checked:
    targets = [
        make_checked(EVIL),
        make_checked("crash", invalid="it\nsaid\r::error::no", invalid_arm="after"),
    ]
    return judge(make_check_log({EVIL: 0.1}, targets=targets, header={"mode": "revision"}))


def test_annotations_are_one_line_each_whatever_a_name_holds(evil: Checked) -> None:
    lines = annotate(evil).splitlines()
    assert lines[0].startswith('::error title=SLOWER a%2Cb%3Ac%25|<script>]]>\x07`"::latency +')
    assert lines[1] == ("::error title=INVALID crash::could not be timed: it%0Asaid%0D::error::no")
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in lines)


def test_junit_has_failures_errors_and_skips_with_reasons() -> None:
    targets = [
        make_checked("slow"),
        make_checked("unclear"),
        make_checked("crash", invalid="killed", invalid_arm="after"),
        make_checked("gone", after=None, invalid="no file", invalid_arm="after", absent=True),
    ]
    log = make_check_log({"slow": 0.1, "unclear": 0.0}, targets=targets)
    unclear = msgspec.structs.replace(
        log, pairs=tuple(only(pair, "unclear") if pair.pair > 2 else pair for pair in log.pairs)
    )
    log = msgspec.structs.replace(
        unclear, pairs=tuple(only(pair, "slow") if pair.pair == 3 else pair for pair in log.pairs)
    )
    suite = ElementTree.fromstring(render(judge(log), "junit")).find("testsuite")
    assert suite is not None
    kinds = {
        (case.get("classname"), case.get("name"), kind.tag)
        for case in suite.iter("testcase")
        for kind in case
        if kind.tag != "system-out"
    }
    assert kinds == {
        ("slow", "latency", "failure"),
        ("unclear", "latency", "skipped"),
        ("crash", "latency", "error"),
        ("gone", "–", "skipped"),
    }
    assert [suite.get(name) for name in ("failures", "errors", "skipped")] == ["1", "1", "2"]
    assert int(suite.get("tests", "0")) == len(list(suite.iter("testcase")))
    assert all(kind.get("message") for kind in suite.iter("skipped"))


def only(pair: object, name: str) -> object:
    assert isinstance(pair, msgspec.Struct)
    targets = tuple(one for one in pair.targets if one.target == name)  # type: ignore[attr-defined]
    return msgspec.structs.replace(pair, targets=targets)


def test_junit_is_whole_xml_whatever_a_name_holds(evil: Checked) -> None:
    root = ElementTree.fromstring(render(evil, "junit"))
    assert next(root.iter("testcase")).get("classname") == EVIL.replace("\x07", "\ufffd")


def test_markdown_shows_names_as_they_are(evil: Checked) -> None:
    text = render(evil, "github")
    assert r"a,b:c%\|&lt;script>]]>" in text
    assert "<script>" not in text


def test_json_replays_to_the_same_verdict_and_exit_code(tmp_path: Path) -> None:
    log = make_check_log({NET: 0.0, "slow": 0.1}, header={"limits": (("*", "latency", 0.03),)})
    checked = judge(log)
    (tmp_path / "check.json").write_text(render(checked, "json"))
    assert replay(tmp_path / "check.json") == checked
    document = json.loads(render(checked, "json"))
    assert document["exit_code"] == 1
    assert document["minimum_detectable_effect"].keys() == {NET, "slow"}
    assert document["log_ratios"] == log_ratios(log)
    assert [len(pair) for pair in document["log_ratios"]["slow"]] == [30, 30, 30]
    assert document["record"]["pairs"][0]["seed"] == 0
    assert document["record"]["header"]["after"]["host"]["cpu_model"] == "Test CPU"


def test_replay_judges_by_limits_that_are_typed(scaleprof: Scaleprof, tmp_path: Path) -> None:
    (tmp_path / "check.json").write_text(render(judge(make_check_log({NET: 0.1})), "json"))
    assert "exit code 1" in scaleprof("check", "--replay", "check.json", check=1).stdout
    scaleprof("check", "--replay", "check.json", "--limit", "latency=20%", check=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "check.json is not a scaleprof check"),
        ("no json", "check.json is not a scaleprof check"),
        ('{"scaleprof_check": 99}', "check.json has schema 99, this scaleprof reads 1"),
        ('{"scaleprof_check": 1, "record": {"kind": "check"}}', "check.json is not a whole check ("),
    ],
)
def test_replaying_something_else_is_a_usage_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "check.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        replay(tmp_path / "check.json")
    assert message in str(caught.value)


def test_replay_of_a_truncated_file_is_a_usage_error(tmp_path: Path) -> None:
    text = render(judge(make_check_log()), "json")
    (tmp_path / "check.json").write_text(text[: len(text) // 2])
    with pytest.raises(UsageError, match="is not a scaleprof check"):
        replay(tmp_path / "check.json")


@pytest.mark.parametrize("format", ["text", "json", "github", "junit"])
def test_an_output_is_replaced_only_if_a_check_of_that_format_wrote_it(
    format: CheckFormat, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    check_output(path, format, overwrite=False)
    checked = judge(make_check_log())
    write_output(path, render(checked, format, text=terminal(checked.view)))
    with pytest.raises(UsageError, match="exists: --overwrite replaces it"):
        check_output(path, format, overwrite=False)
    check_output(path, format, overwrite=True)
    path.write_text("my thesis")
    with pytest.raises(UsageError, match=f"exists and is no {format} of a check: it is left alone"):
        check_output(path, format, overwrite=True)


@pytest.mark.parametrize(
    ("place", "reason"),
    [("/dev/full", "No space left on device"), ("/dev/null/check.json", "File exists")],
)
def test_an_output_that_cannot_be_written_is_told_with_the_reason(place: str, reason: str) -> None:
    with pytest.raises(OutputError, match=f"{place} could not be written: {reason}"):
        write_output(Path(place), "text")
    assert not Path(place).is_file()


def test_the_step_summary_is_appended_to_and_its_failure_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = judge(make_check_log())
    monkeypatch.delenv(STEP_SUMMARY, raising=False)
    assert add_step_summary(checked) is None
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv(STEP_SUMMARY, str(summary))
    assert add_step_summary(checked) is None
    assert summary.read_text() == "before\n" + render(checked, "github")
    monkeypatch.setenv(STEP_SUMMARY, str(tmp_path))
    assert "could not be written: Is a directory" in str(add_step_summary(checked))


def test_github_annotates_on_stdout_and_writes_the_markdown_to_the_output(
    scaleprof: Scaleprof, tmp_path: Path
) -> None:
    (tmp_path / "check.json").write_text(render(judge(make_check_log({NET: 0.1})), "json"))
    arguments = ("check", "--replay", "check.json", "--format", "github", "-o", "out/summary.md")
    done = scaleprof(*arguments, check=1)
    assert done.stdout.startswith("::error title=SLOWER net%3Abuild/base/0::")
    assert (tmp_path / "out" / "summary.md").read_text().startswith("<!-- scaleprof check -->")
    assert "out/summary.md exists: --overwrite replaces it" in scaleprof(*arguments, check=2).stderr
    scaleprof(*arguments, "--overwrite", check=1)


def test_a_check_without_anything_to_compare_with_names_the_ways(scaleprof: Scaleprof) -> None:
    done = scaleprof("check", check=2)
    assert all(way in done.stderr for way in ("--against REV", "--baseline RUN", "--self-test"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "HEAD", "--self-test"], "--against and --self-test exclude each other"),
        (["--against", "HEAD", "--update-baseline"], "--update-baseline needs the run that is meant"),
        (["--baseline", "x", "--update-baseline", "-m", "resnet18"], "leave out --exact-only and -m"),
        (["--self-test", "--exact-only"], "--self-test times, --exact-only does not"),
        (["--baseline", "x", "--target", "a:b"], "--target is for --against and --self-test"),
        (["--against", "HEAD", "--limit", "latency"], "--limit 'latency' is not METRIC=SHARE"),
        (
            ["--against", "HEAD", "--fail-on", "all"],
            "--fail-on 'all' is no such case (known: inconclusive, mismatch, missing)",
        ),
        (
            ["-m", "a.py:build", "--against", "HEAD", "--threads", "1,2", "-d", "cpu"],
            "--threads takes one value",
        ),
        (["--against", "HEAD", "--max-time", "soon"], "--max-time soon is not a duration"),
        (["--replay", "none.json"], "none.json cannot be read"),
        (["--baseline", "x", "--threads", "2"], "--threads has no say with --baseline"),
        (["--replay", "x", "-m", "resnet18"], "--model has no say with --replay"),
    ],
)
def test_usage_errors_exit_2_with_one_sentence(
    arguments: list[str], message: str, scaleprof: Scaleprof
) -> None:
    done = scaleprof("check", *arguments, check=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_and_replay_import_no_torch(tmp_path: Path, scaleprof: Scaleprof) -> None:
    import subprocess
    import sys

    (tmp_path / "check.json").write_text(render(judge(make_check_log()), "json"))
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['torchvision'] = None; "
        "from scaleprof.cli import run; sys.exit(run(['check', '--help']) or "
        "run(['check', '--replay', 'check.json', '--format', 'junit']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_log_of_a_check_reads_back_as_it_was() -> None:
    log = make_check_log({NET: 0.05})
    assert msgspec.json.decode(msgspec.json.encode(log), type=CheckLog) == log


def tripwire(now: float, **fields: object) -> CheckView:
    return view_check(make_baseline_log({NET: 0.010}, {NET: 0.010 * now}, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "verdict", "code"),
    [
        (1.0, "PASS", ExitCode.OK),
        (1.04, "WARN", ExitCode.OK),
        (1.10, "FAIL", ExitCode.REGRESSION),
        (0.80, "PASS", ExitCode.OK),
    ],
)
def test_a_kept_run_warns_from_3_percent_and_fails_from_5(now: float, verdict: str, code: ExitCode) -> None:
    view = tripwire(now)
    assert found(view, "latency").verdict == verdict
    assert view.exit_code == code
    assert 0.05 < view.detectable[NET] < 0.10
    assert "nine times in ten" in terminal(view)


def test_another_machine_is_never_slower_and_exact_metrics_still_count() -> None:
    mismatch = ("CPU A then, B now",)
    view = tripwire(2.0, mismatch=mismatch, candidate=None)
    assert found(view, "latency").verdict == "INVALID"
    assert found(view, "macs").verdict == "PASS"
    assert view.exit_code == ExitCode.MISMATCH
    assert "this is not the machine or software of the baseline: CPU A then, B now" in view.notes
    grew = tripwire(2.0, mismatch=mismatch, candidate=None, targets=(grown(macs=2_000_000),))
    assert grew.exit_code == ExitCode.REGRESSION


def test_too_few_launches_of_a_model_are_no_verdict() -> None:
    view = tripwire(1.5, launches=4)
    assert found(view, "latency").verdict == "INVALID"
    assert "4 launches in the baseline and 4 now: 5 on both sides are needed" in terminal(view)
    assert view.exit_code == ExitCode.MISMATCH


def test_another_input_is_another_measurement() -> None:
    log = make_baseline_log({NET: 0.01}, {NET: 0.02})
    (record,) = log.baseline.records
    spec = msgspec.structs.replace(record.spec, input_size=64)
    then = msgspec.structs.replace(log.baseline, records=(msgspec.structs.replace(record, spec=spec),))
    view = view_check(msgspec.structs.replace(log, baseline=then))
    assert "its input was 64 px, and is 258 px now" in found(view, "latency").words
    assert view.exit_code == ExitCode.MISMATCH


@pytest.mark.parametrize(
    ("raced", "verdict", "code", "words"),
    [
        (0.0, "PASS", ExitCode.OK, "not confirmed: latency ÷ reference network +"),
        (0.1, "FAIL", ExitCode.REGRESSION, "confirmed: latency ÷ reference network +"),
    ],
)
def test_a_race_against_the_runs_revision_has_the_last_word(
    raced: float, verdict: str, code: ExitCode, words: str
) -> None:
    view = tripwire(1.10, retested=make_check_log({NET: raced}))
    assert found(view, "latency").verdict == verdict
    assert found(view, "latency").words.startswith(words)
    assert view.exit_code == code
    assert "raced against HEAD~1 (1a2b3c4) in 3 pairs" in " ".join(view.notes)


def test_what_cannot_be_raced_keeps_its_flag_and_says_why() -> None:
    view = tripwire(1.10, not_retested="the run does not tell its revision")
    assert view.exit_code == ExitCode.REGRESSION
    assert any(note.endswith("could not be raced: the run does not tell its revision") for note in view.notes)


def test_a_check_against_a_kept_run_replays(tmp_path: Path) -> None:
    checked = judge(make_baseline_log({NET: 0.01}, {NET: 0.011}, retested=make_check_log({NET: 0.1})))
    (tmp_path / "check.json").write_text(render(checked, "json"))
    assert replay(tmp_path / "check.json") == checked
    assert checked.view.exit_code == ExitCode.REGRESSION


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"cpu_model": "Other"}, ("CPU Test CPU then, Other now",)),
        ({"torch": "2.12.0"}, ("torch 2.11.0 then, 2.12.0 now",)),
        ({"gpu_driver": "570.124"}, ()),
        ({"gpu_driver": "560.35"}, ("GPU driver branch 570 then, 560 now",)),
        ({"cuda": "12.8"}, ("CUDA unknown then, 12.8 now",)),
        ({"load_1m": 9.0, "governor": "powersave"}, ()),
    ],
)
def test_a_fingerprint_is_what_latency_depends_on_and_no_measured_speed(
    changed: dict[str, object], told: tuple[str, ...]
) -> None:
    header = make_header(host=msgspec.structs.replace(HOST, gpu_driver="570.86"))
    now = msgspec.structs.replace(HOST, **{"gpu_driver": "570.86"} | changed)
    assert differences(header, now, header.protocol) == told
    assert differences(header, header.host, header.protocol + 1) == ("protocol 1 then, 2 now",)

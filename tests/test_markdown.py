"""The report in Markdown: short whatever the run's size, the page's own decisions, and only text."""

from __future__ import annotations

import html
import random
import re

import msgspec
import pytest
from builders import family_log, make_log, make_record, make_spec
from hypothesis import given
from hypothesis import strategies as st
from test_side_by_side import runtimes_log

import scaleprof as sp
from scaleprof.app.reporting import ReportOptions, compose, render
from scaleprof.errors import UsageError
from scaleprof.records import Quoted, Record, RunLog, Status, Workload
from scaleprof.reporting import markdown
from scaleprof.reporting.view import view_runs
from scaleprof.text import for_markdown

# What GitHub takes, in characters.
_LIMIT = 65_536
HOSTILE = "</script><img src=x onerror=alert(1)>|a`b`*c*\n# d [e](http://f) ![g](h) _i_ <!-- \\| &lt;"


def text_of(*logs: RunLog, **options: object) -> str:
    return render([sp.Run(log) for log in logs], format="markdown", **options)


def blocks(text: str) -> list[str]:
    return text.rstrip("\n").split("\n\n")


def table_of(text: str, beside: str = "| model |  |") -> list[list[str]]:
    """The cells of the first table with this header, body only."""
    (table,) = [block for block in blocks(text) if block.startswith(beside)][:1]
    return [cells(line) for line in table.splitlines()[2:]]


def cells(line: str) -> list[str]:
    """As GitHub splits a line of a table: a sign after a backslash separates nothing."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    parts = re.findall(r"((?:\\.|[^\\|])*)\|", line[1:])
    return [part.strip() for part in parts]


def large_log(count: int, *, seed: int = 0) -> RunLog:
    """A run of many models: a base, and others at random; one in ten failed."""
    dice = random.Random(seed)
    records = [make_record(make_spec("base", 0, depth=1, width=1, resolution=1), launches=1)]
    for n in range(1, count):
        failed = n % 10 == 0
        records.append(
            make_record(
                make_spec(("compound", "width", "depth")[n % 3], n / 100, channels=n),
                latency_s=0.001 * dice.uniform(1, 100),
                macs=int(1e8 * dice.uniform(1, 100)),
                launches=1,
                status="failed" if failed else "ok",
                reason="it broke in its own way" if failed else None,
            )
        )
    return make_log(*records)


def test_it_begins_with_its_mark_and_a_title_and_has_what_a_reviewer_asks() -> None:
    text = text_of(family_log(), budget="latency_ms<=50")
    mark, title, trust, verdict, budget, front, table, *_ = blocks(text)
    assert mark == "<!-- scaleprof report -->"
    assert title == "## scaleprof: efficientnet_b0 on cpu at batch 1"
    assert trust.startswith("Device Test CPU (AVX2) · Workload 2 threads, forward pass, eager, fp32")
    assert "Models 7 in 2 strategies" in trust
    assert "\n" not in trust
    (view,) = view_runs([family_log()])
    assert verdict == "\n".join(f"- {sentence}" for sentence in view.verdict)
    assert budget.startswith(
        "**Budget.** Within latency_ms<=50 for certain, the best by MACs (capacity proxy) is compound/2"
    )
    assert "Against the baseline efficientnet_b0/base/0 (10.1 ms): 4.00 [" in budget
    assert front == "**Front** of MACs (capacity proxy) against latency: 4 of 7 models."
    assert table.startswith(
        "| model |  | Latency [95 %] | MACs (capacity proxy) | Peak memory [range] | Accuracy |"
    )


def test_the_table_is_the_front_with_the_base_and_what_is_recommended_by_cost() -> None:
    table = table_of(text_of(family_log(), budget="latency_ms<=50"))
    assert [line[:2] for line in table] == [
        ["efficientnet_b0/base/0", "base, front"],
        ["efficientnet_b0/compound/1", "runner-up, front"],
        ["efficientnet_b0/compound/2", "recommended, front"],
        ["efficientnet_b0/compound/3", "front"],
    ]
    assert [line[-1] for line in table] == ["1.00", *(f"{n}.00 [{n}.00–{n}.00]" for n in (2, 4, 8))]


def test_what_is_recommended_is_in_the_table_though_it_is_not_on_the_front() -> None:
    def small(name: str, phi: int, latency_s: float, macs: int, held_bytes: int) -> Record:
        record = make_record(make_spec(name, phi, channels=macs), latency_s=latency_s, macs=macs)
        launches = [
            msgspec.structs.replace(launch, peak_memory_bytes=held_bytes) for launch in record.launches
        ]
        return msgspec.structs.replace(record, launches=tuple(launches))

    log = make_log(
        small("width", 1, 0.010, 800, 100 * 2**20),
        small("depth", 1, 0.020, 700, 50 * 2**20),
        small("depth", 2, 0.015, 600, 50 * 2**20),
    )
    table = table_of(text_of(log, budget="peak_memory_bytes<=60MiB"))
    assert [line[:2] for line in table] == [
        ["efficientnet_b0/width/1", "front"],
        ["efficientnet_b0/depth/2", "runner-up"],
        ["efficientnet_b0/depth/1", "recommended"],
    ]


def test_a_baseline_that_was_asked_for_is_in_the_table_and_ratios_are_against_it() -> None:
    name = "efficientnet_b0/width/1"
    views = view_runs([family_log()], baseline=name)
    table = {line[0]: line for line in table_of(markdown.render(views))}
    assert (table[name][1], table[name][-1]) == ("baseline", "1.00")
    assert table["efficientnet_b0/compound/1"][-1].startswith("0.769")
    assert "÷ baseline [95 %]" in markdown.render(views)


@pytest.mark.parametrize("count", [31, 300, 2000])
def test_it_is_short_whatever_the_number_of_models(count: int) -> None:
    text = text_of(large_log(count), budget="latency_ms<=20")
    assert text.count("\n") < 60
    assert len(text) < _LIMIT / 6
    assert "<details>" not in text
    assert f"All {count} rows: `scaleprof report RUN --format csv`." in text


def test_a_long_front_is_told_from_end_to_end_with_the_number_left_out() -> None:
    specs = [make_spec("width", n, channels=n) for n in range(1, 101)]
    log = make_log(
        *(make_record(spec, latency_s=0.001 * n, macs=10**8 * n) for n, spec in enumerate(specs, start=1))
    )
    text = text_of(log)
    table = table_of(text)
    names = [line[0].rsplit("/", 1)[1] for line in table]
    assert (names[0], names[-1], len(names)) == ("1", "100", 12)
    assert names == sorted(names, key=int)
    assert "100 of 100 models" in text
    assert "88 left out here." in text


def test_few_rows_are_all_there_folded() -> None:
    text = text_of(family_log())
    assert "<details><summary>All 7 rows</summary>\n\n| model | input | asked |" in text
    assert text.endswith("|\n\n</details>\n")
    rows = table_of(text, "| model | input |")
    assert [line[0] for line in rows] == [record.spec.spec_id for record in family_log().records]


def test_what_was_not_measured_is_counted_with_the_first_reasons() -> None:
    statuses: tuple[Status, ...] = ("oom", "oom", "skipped", "failed", "oom")
    lost = [
        make_record(make_spec("depth", n, channels=500 + n), status=status, reason=f"reason {n}")
        for n, status in enumerate(statuses, start=1)
    ]
    text = text_of(make_log(*family_log().records, *lost))
    (missing,) = [block for block in blocks(text) if block.startswith("**Not ok**")]
    assert missing.splitlines() == [
        "**Not ok**, of 12: 3 oom, 1 skipped, 1 failed.",
        "- oom: efficientnet_b0/depth/1: reason 1",
        "- oom: efficientnet_b0/depth/2: reason 2",
        "- skipped: efficientnet_b0/depth/3: reason 3",
        "- … 2 more models",
    ]
    assert "Not ok" not in text_of(family_log())


def test_a_run_of_failures_has_no_front_and_says_why() -> None:
    text = text_of(make_log(make_record(status="oom", reason="memory ran out")))
    assert "**Front**" not in text
    assert "- oom: efficientnet_b0/compound/1: memory ran out" in text


def test_warnings_are_counted_by_kind() -> None:
    (warnings,) = [b for b in blocks(text_of(large_log(50))) if b.startswith("Warnings")]
    assert "single_launch 46" in warnings


def test_accuracies_have_their_recipes_and_at_most_three_of_them() -> None:
    records = [
        msgspec.structs.replace(
            make_record(make_spec("width", n, channels=n), latency_s=0.01 * n, macs=10**8 * n),
            quoted=Quoted(70 + n, f"recipe {n}", 0.4),
        )
        for n in range(1, 6)
    ]
    text = text_of(make_log(*records))
    assert "**Front** of Accuracy against latency: 5 of 5 models." in text
    assert "Accuracy, not measured here: recipe 1; recipe 2; recipe 3; 2 more." in text
    assert "| Accuracy [95 %] |" in text
    assert table_of(text)[0][3] == "71.0 % [70.6–71.4]"


def test_places_that_are_not_certain_are_marked_and_counted() -> None:
    pairs = ((76.0, 0.2), (77.0, 0.9), (76.9, 0.2))
    records = [
        msgspec.structs.replace(
            make_record(make_spec("width", n + 1, channels=n), latency_s=0.01 * 2**n),
            quoted=Quoted(accuracy, "r", error),
        )
        for n, (accuracy, error) in enumerate(pairs)
    ]
    text = text_of(make_log(*records))
    assert "2 of 3 models, 1 of them not certain, 1 more undecided." in text
    assert [line[1] for line in table_of(text)] == ["front", "front?"]


def test_several_runs_and_workloads_are_parts_by_name() -> None:
    text = text_of(family_log(), runtimes_log(compile=0.5))
    titles = [block for block in blocks(text) if block.startswith("#")]
    assert titles == [
        "## scaleprof: 2 runs, 3 workloads",
        "### Comparison",
        "### run 1: efficientnet_b0 on cpu at batch 1",
        "### run 2: efficientnet_b0 on cpu at batch 1, eager",
        "### run 2: efficientnet_b0 on cpu at batch 1, compile",
    ]
    alone = text_of(runtimes_log(compile=0.5))
    assert blocks(alone)[1] == "## scaleprof: 2 workloads"


def test_many_workloads_are_told_in_full_for_a_few_and_by_title_for_some() -> None:
    workloads = [Workload("cpu", batch_size=size) for size in range(1, 41)]
    records: list[Record] = [
        msgspec.structs.replace(record, workload=workload)
        for workload in workloads
        for record in family_log(range(1, 8)).records
    ]
    text = text_of(make_log(*records), budget="latency_ms<=50")
    assert len(text) < _LIMIT / 2
    assert text.count("\n### ") == 6
    assert "- **efficientnet_b0 on cpu at batch 7**" in text
    assert "- … 24 more workloads" in text


def test_many_runs_of_many_workloads_stay_short() -> None:
    def log_of(factor: float) -> RunLog:
        return make_log(
            *(
                make_record(
                    record.spec, latency_s=0.01 * factor * n, workload=Workload("cpu", batch_size=size)
                )
                for size in range(1, 12)
                for n, record in enumerate(family_log().records, start=1)
            )
        )

    text = text_of(*(log_of(1 + n / 10) for n in range(4)))
    assert len(text) < _LIMIT / 2
    assert re.search(r"\n\d+ more tables of models are in the page\.", text)


def test_axes_and_budgets_are_the_pages_and_mistakes_in_them_too() -> None:
    text = text_of(family_log(), x="peak_memory_bytes", y="params")
    assert "**Front** of Parameters (capacity proxy) against peak memory" in text
    with pytest.raises(UsageError, match="--x gpu_ms: no chart of these"):
        text_of(family_log(), x="gpu_ms")
    document = compose([sp.Run(family_log())], ReportOptions(format="markdown", budget="latency_ms<=50"))
    (view,) = view_runs([family_log()], budgets=[*sp.Run(family_log()).recommend("latency_ms<=50").budgets])
    assert view.budget.advice is not None
    assert document.advice == (view.budget.advice.words,)


# ---- names are only text ----


def hostile_log(name: str = HOSTILE) -> RunLog:
    def renamed(record: Record) -> Record:
        spec = msgspec.structs.replace(record.spec, model=name)
        return msgspec.structs.replace(record, spec=spec)

    lost = make_record(make_spec("depth", 1, channels=9), status="failed", reason=name)
    return make_log(*map(renamed, [*family_log().records, lost]))


def test_a_hostile_name_stays_in_its_cell_and_is_no_html() -> None:
    text = text_of(hostile_log(), budget="latency_ms<=50")
    tags = set(re.findall(r"(?<!\\)<[A-Za-z/!?][^>]*>", text))
    assert tags == {"<!-- scaleprof report -->", "<details>", "<summary>", "</summary>", "</details>"}
    for header in ("| model |  |", "| model | input |"):
        (table,) = [block for block in blocks(text) if block.startswith(header)]
        widths = {len(cells(line)) for line in table.splitlines()}
        assert len(widths) == 1
    assert text.count("\n# d") == 0
    assert "](http" not in text.replace("\\](http", "")


def test_runs_with_endless_names_are_still_short_enough() -> None:
    log = hostile_log(HOSTILE * 200)
    for logs in ([log], [log, log], [log] * 9):
        assert len(text_of(*logs, budget="latency_ms<=50")) < _LIMIT


# Signs that Markdown gives a meaning to, and some that it does not.
SIGNS = st.text(st.sampled_from([*"\\`*|~$![](){}:_<>&;#-=+.\n\t ab1é–"]), max_size=40)


def shown(text: str) -> str:
    """What a reader sees of a line that holds nothing but escapes and entities."""
    plain = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    return re.sub(r"&#?\w+;", lambda entity: html.unescape(entity[0]), plain)


@given(SIGNS)
def test_whatever_a_text_holds_it_is_shown_as_it_is_and_marks_nothing(text: str) -> None:
    inert = for_markdown(text)
    assert shown(inert) == " ".join(text.split())
    assert "\n" not in inert
    bare = re.sub(r"\\.", " ", inert)
    assert not set(bare) & set("\\`*|~$")
    assert not re.search(r"<[A-Za-z/!?]|!\[|\][(\[:]", bare)


def test_a_cut_text_says_so() -> None:
    assert for_markdown("a" * 50, 10) == "a" * 10 + "…"

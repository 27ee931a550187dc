"""Search files: recovered like run files; scores from tables; what a search's candidates cost."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest
from builders import HOST

from scaleprof.app.search_plan import candidate_at, plan_search, spec_at, transfer_candidates
from scaleprof.errors import RunFileError, UsageError
from scaleprof.models import FAMILIES, find_model
from scaleprof.records import DatasetFacts, SearchHeader, SearchLog, Trial
from scaleprof.scaling.candidates import PUBLISHED_BASES
from scaleprof.scaling.rules import Bases
from scaleprof.search.recipes import make_recipe
from scaleprof.store import (
    SearchWriter,
    bases_path,
    check_search_replaceable,
    checkpoint_folder,
    is_search,
    read_scores,
    read_search,
)
from scaleprof.store.lines import TornLineWarning

DIGITS = DatasetFacts("digits", 10, 1078, 360, 359, base_input_size=32, digest="abc")


@pytest.fixture(scope="module")
def header() -> SearchHeader:
    """A search of ResNet-18 on a coarse grid; nothing is run."""
    planned = plan_search(
        FAMILIES["resnet18"], grid_step=0.2, dataset=DIGITS, rounding="pycls", seeds=(0, 1), tolerance=0.2
    )
    return msgspec.structs.replace(planned.header, host=HOST)


def tried(header: SearchHeader, *, seed: int = 0, score: float = 80.0, phi: float = 1.0) -> Trial:
    first = next(one for one in header.candidates if one.excluded is None)
    return Trial(first.number, phi, seed, "ok", None, 1.0, "2026-01-01T00:00:00+00:00", score=score)


# ---- the file ----


def test_a_search_is_read_back_as_it_was_written(tmp_path: Path, header: SearchHeader) -> None:
    path = tmp_path / "searches" / "r18.jsonl"
    trials = (tried(header), tried(header, seed=1, score=81.5))
    with SearchWriter.create(path, header) as writer:
        for one in trials:
            writer.append(one)
    assert read_search(path) == SearchLog(header, trials)
    assert is_search(path)


def test_the_last_trial_of_a_candidate_phi_and_seed_counts(tmp_path: Path, header: SearchHeader) -> None:
    path = tmp_path / "r18.jsonl"
    with SearchWriter.create(path, header) as writer:
        writer.append(tried(header))
        writer.append(tried(header, score=90.0))
    assert [one.score for one in read_search(path).trials] == [90.0]


def test_a_torn_last_line_is_dropped_with_a_warning_and_resume_cuts_it_off(
    tmp_path: Path, header: SearchHeader
) -> None:
    path = tmp_path / "r18.jsonl"
    with SearchWriter.create(path, header) as writer:
        writer.append(tried(header))
    with path.open("ab") as file:
        file.write(b'{"kind":"trial","candi')
    with pytest.warns(TornLineWarning, match=r"r18\.jsonl:3 was cut off"):
        assert len(read_search(path).trials) == 1
    with pytest.warns(TornLineWarning):
        writer = SearchWriter.resume(path)
    with writer:
        assert writer.done is not None
        assert writer.done.trials == (tried(header),)
        writer.append(tried(header, seed=1))
    assert len(read_search(path).trials) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"kind":"trial"}', r"r18\.jsonl:2 is not a trial \(Object missing required field"),
        (b"nonsense", r"r18\.jsonl:2 is not a trial"),
    ],
)
def test_a_bad_line_is_an_error_that_names_it(
    tmp_path: Path, header: SearchHeader, line: bytes, words: str
) -> None:
    path = tmp_path / "r18.jsonl"
    SearchWriter.create(path, header).close()
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RunFileError, match=words):
        read_search(path)


def test_a_trial_of_nobody_is_an_error(tmp_path: Path, header: SearchHeader) -> None:
    path = tmp_path / "r18.jsonl"
    with SearchWriter.create(path, header) as writer:
        writer.append(msgspec.structs.replace(tried(header), candidate=999))
    with pytest.raises(RunFileError, match=r"r18\.jsonl:2 is a trial of candidate 999, which is none"):
        read_search(path)


def test_two_processes_never_write_one_search(tmp_path: Path, header: SearchHeader) -> None:
    path = tmp_path / "r18.jsonl"
    with (
        SearchWriter.create(path, header),
        pytest.raises(UsageError, match="is being written by another scaleprof"),
    ):
        SearchWriter.resume(path)


def test_what_is_no_search_is_left_alone(tmp_path: Path, header: SearchHeader) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind": "run", "schema": 1}\n')
    assert not is_search(path)
    with pytest.raises(RunFileError, match="is not a scaleprof search: its first line is no search header"):
        read_search(path)
    with pytest.raises(UsageError, match="is not a scaleprof search: it is left alone"):
        check_search_replaceable(path, overwrite=True)


def test_an_overwritten_search_takes_its_checkpoints_with_it(tmp_path: Path, header: SearchHeader) -> None:
    path = tmp_path / "r18.jsonl"
    SearchWriter.create(path, header).close()
    checkpoint_folder(path).mkdir()
    with pytest.raises(UsageError, match="--resume goes on with it, --overwrite replaces it"):
        SearchWriter.create(path, header)
    assert checkpoint_folder(path).exists()
    SearchWriter.create(path, header, overwrite=True).close()
    assert not checkpoint_folder(path).exists()
    assert bases_path(path) == tmp_path / "r18.bases.json"


# ---- scores from a table ----


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    return path


def test_a_table_of_scores_becomes_trials_by_bases(tmp_path: Path, header: SearchHeader) -> None:
    path = table(
        tmp_path,
        "depth,width,resolution,score,error\n2,1,1,70.5,0.5\n2,1,1,71.5,0.4\n1,1.4142,1,69,\n9,1,1,50,\n",
    )
    trials, doubts = read_scores(path, header)
    names = {one.number: one for one in header.candidates}
    assert [(names[t.candidate].depth, t.seed, t.score, t.error) for t in trials] == [
        (2.0, 0, 70.5, 0.5),
        (2.0, 1, 71.5, 0.4),
        (1.0, 0, 69.0, None),
    ]
    assert names[trials[2].candidate].width == pytest.approx(math.sqrt(2))
    assert doubts[0] == f"{path}:5 9/1/1 is left out: no such candidate"
    assert "candidates are without a score" in doubts[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no scores: its first line names columns"),
        ("depth,width,score\n1,1,1\n", r"scores.csv:1 no column resolution"),
        ("depth,width,resolution,scor\n1,1,1,1\n", r"unknown column 'scor': did you mean 'score'\?"),
        ("depth,width,resolution,score\n2,1,1,high\n", r"scores.csv:2 column score: 'high' is not a number"),
        ("depth,width,resolution,score\n2,1,1,nan\n", r"column score: 'nan' is not a number"),
        ("depth,width,resolution,score,seed\n2,1,1,70,0.5\n", r"column seed: 0.5 is not a whole number"),
        ("depth,width,resolution,score,error\n2,1,1,70,-1\n", r"column error: -1 is below 0"),
        (
            "depth,width,resolution,score,seed\n2,1,1,70,0\n2,1,1,71,0\n",
            r"scores.csv:3 2/1/1 has seed 0 twice",
        ),
        ("depth,width,resolution,score\n9,9,9,70\n", r"has no score of a candidate"),
    ],
)
def test_what_is_no_table_of_scores_is_a_usage_error(
    tmp_path: Path, header: SearchHeader, text: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        read_scores(table(tmp_path, text), header)


# ---- the plan ----


def test_candidates_cost_what_is_asked_and_the_excluded_say_why(header: SearchHeader) -> None:
    base = header.base_cost
    assert base is not None
    for one in header.candidates:
        assert one.cost is not None
        assert one.cost_growth == pytest.approx(one.cost / base)
        assert one.cost == one.macs
        if one.excluded is None and one.kind == "grid":
            assert one.cost / base == pytest.approx(2, rel=0.2)
    assert {one.kind for one in header.candidates if one.excluded is None} == {"grid", "control"}
    assert any(re.match(r".*× the base's MACs", one.excluded or "") for one in header.candidates)


def test_every_network_takes_the_data_at_the_candidates_resolution(header: SearchHeader) -> None:
    assert header.base.input_size == 32
    for one in header.candidates:
        # pycls' policy has pixels in fours.
        assert one.spec.input_size == round(32 * one.resolution / 4) * 4


def test_a_candidate_at_another_phi_raises_its_bases_to_it(header: SearchHeader) -> None:
    one = next(c for c in header.candidates if c.excluded is None and c.kind == "grid")
    spec = candidate_at(FAMILIES["resnet18"], header, one, 2)
    assert (spec.depth, spec.width, spec.resolution) == (one.depth**2, one.width**2, one.resolution**2)
    assert spec.phi == 2
    assert candidate_at(FAMILIES["resnet18"], header, one, 1) == one.spec


def test_transfer_takes_the_chosen_bases_the_published_ones_and_the_controls(header: SearchHeader) -> None:
    kept = [one for one in header.candidates if one.excluded is None]
    best = next(one for one in kept if one.kind == "grid")
    trials = tuple(
        Trial(one.number, 1.0, 0, "ok", None, 1.0, "now", score=90.0 if one is best else 80.0) for one in kept
    )
    taken = transfer_candidates(SearchLog(header, trials))
    assert best in taken
    assert {one.number for one in kept if one.kind == "control"} <= {one.number for one in taken}
    assert any(one.depth == PUBLISHED_BASES.depth for one in taken)
    assert transfer_candidates(SearchLog(header, ())) == ()


@pytest.mark.parametrize(
    ("name", "base", "resolution", "expected"),
    [
        ("mobilenet_v2", 32, 1.15, 37),
        ("vit_b_16", 64, 1.15, 80),  # 73.6 in patches of 16
        ("swin_t", 56, 1.4, 84),  # 78.4 in windows of 28
        ("transformer_encoder", 256, 1.25, 400),  # tokens · resolution²
        ("lstm", 20, 1.5, 45),
    ],
)
def test_the_datas_own_input_grows_in_the_steps_of_the_family(
    name: str, base: int, resolution: float, expected: int
) -> None:
    spec = spec_at(FAMILIES[name], Bases(1, 1, resolution), 1, "tf", base)
    assert spec.input_size == expected


def test_a_model_without_dials_has_nothing_to_search() -> None:
    with pytest.raises(UsageError, match=r"torchvision:resnet18 grows in resolution alone"):
        plan_search(find_model("torchvision:resnet18"))


def test_a_builder_that_ignores_a_dimension_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\n"
        "def build(scale):\n"
        "    c = scale.channels(16)\n"
        "    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 4))\n"
        "    return nn.Sequential(nn.Conv2d(3, c, 3), head)\n"
    )
    with pytest.raises(UsageError, match="ignores depth"):
        plan_search(find_model(f"{path}:build"))


def test_the_forecast_is_of_all_that_is_tried_and_halves_with_two_slots(header: SearchHeader) -> None:
    recipe = make_recipe(DIGITS, epochs=3)
    planned = plan_search(FAMILIES["resnet18"], grid_step=0.5, tolerance=0.3, dataset=DIGITS, recipe=recipe)
    assert set(planned.trial_s) == {one.number for one in planned.candidates}
    per_mac = {planned.trial_s[one.number] / (one.macs or 1) for one in planned.candidates}
    assert max(per_mac) == pytest.approx(min(per_mac))
    together = planned.expected_s()
    assert together is not None
    assert planned.expected_s(slots=2) == pytest.approx(together / 2)


def test_nobody_knows_how_long_a_persons_function_takes() -> None:
    planned = plan_search(FAMILIES["resnet18"], grid_step=0.5, tolerance=0.3, objective="score.py:score")
    assert planned.expected_s() is None

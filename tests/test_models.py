"""People's own models, networks as they are, and what is said when one cannot be had."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import torchvision
from builders import QUICK_FAMILIES
from conftest import all_unstable

import scaleprof as sp
from scaleprof import models
from scaleprof.app.choosing import LeftOutWarning, choose
from scaleprof.app.counting import count_choice, count_families
from scaleprof.cli import run as run_cli
from scaleprof.counting import count
from scaleprof.engines.local import LocalBench, open_worker
from scaleprof.errors import UsageError
from scaleprof.measuring.messages import Job
from scaleprof.measuring.rounds import JobFailedError
from scaleprof.models import find_model
from scaleprof.records import Workload
from scaleprof.scaling.sweep import Sweep, expand, parse_phi

EXAMPLES = Path(__file__).parents[1] / "examples"

GOOD = """
    from torch import nn

    def build(scale):
        '''A network of mine.'''
        c = scale.channels(16)
        layers = [nn.Conv2d(3, c, 3, stride=2)]
        layers += [nn.Conv2d(c, c, 3, padding=1) for _ in range(scale.repeats(2))]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))

    build.input_size = 32
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a person's own, with a good model in it; imports from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(tmp_path / "nets.py", GOOD)
    return tmp_path


def write(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))


def test_a_file_is_a_model_whose_spec_carries_its_name(folder: Path) -> None:
    rows = count_families("nets.py:build", phi="0..1")
    assert [row.spec_id for row in rows[:2]] == ["nets:build/base/0", "nets:build/compound/1"]
    base, wide = rows[0], next(row for row in rows if row.strategy == "width")
    assert (base.input_size, base.shape, base.params) == (32, None, (27 + 1) * 16 + 2 * 145 * 16 + 17 * 10)
    assert wide.params == (27 + 1) * 24 + 2 * 217 * 24 + 25 * 10


def test_a_module_is_a_model_too(folder: Path) -> None:
    write(folder / "package_of_mine" / "nets.py", GOOD)
    (row,) = count_families("package_of_mine.nets:build", phi=0)
    assert row.spec_id == "package_of_mine.nets:build/base/0"


def test_the_rounding_that_was_asked_for_reaches_the_builder(folder: Path) -> None:
    write(folder / "deep.py", GOOD.replace("repeats(2)", "repeats(5)"))
    params = {
        rounding: count_families("deep.py:build", strategies="depth", phi=0.3, rounding=rounding)[0].params
        for rounding in ("tf", "pycls")
    }
    assert params["tf"] == (params["pycls"] or 0) + 145 * 16  # 5 · 2^0.3 = 6.2
    assert params["tf"] is not None


def test_installed_packages_announce_models(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "announced_nets.py", GOOD)
    monkeypatch.syspath_prepend(str(folder))
    entry = EntryPoint("our_net", "announced_nets:build", "scaleprof.models")
    monkeypatch.setattr(models, "entry_points", lambda group: [entry] if group == entry.group else [])
    assert count_families("our_net", phi=0)[0].spec_id == "our_net/base/0"
    assert run_cli(["models"]) == 0
    assert "our_net (announced_nets:build)" in capsys.readouterr().out
    twin = EntryPoint("resnet18", "announced_nets:build", "scaleprof.models")
    monkeypatch.setattr(models, "entry_points", lambda group: [twin] if group == twin.group else [])
    with pytest.raises(UsageError, match="two models are called resnet18: scaleprof's own and announced"):
        find_model("resnet18")


BAD = {
    "raises": (
        "def build(scale): return 1 / 0",
        "raised ZeroDivisionError at depth 1, width 1",
    ),
    "returns_no_module": ("def build(scale): return [scale]", "returned list at depth 1"),
    "takes_nothing": ("def build(): pass", "raised TypeError at depth 1"),
    "does_not_load": ("import nonesuch", "raised ModuleNotFoundError while it was loaded: No module named"),
    "leaves": ("import sys; sys.exit('bye')", "raised SystemExit while it was loaded: bye"),
    "calls": (
        "from torch import nn\ndef build(scale):\n    return nn.Linear(1.5, 2)\n",
        "(calls.py:3)",
    ),
    "is_no_function": ("build = 3", "'build' is no function"),
    "has_no_build": ("def built(scale): pass", "there is no function 'build': did you mean 'built'?"),
    "odd_input": (GOOD.replace("= 32", "= 'big'"), "input_size 'big' must be a whole number of pixels"),
    "ignores_depth": (
        GOOD.replace("scale.repeats(2)", "2"),
        "or leave it out: --strategy width,resolution)",
    ),
    "ignores_width": (GOOD.replace("scale.channels(16)", "16"), "ignores width"),
    "ignores_resolution": (
        GOOD + "\n    import torch\n    def example_inputs(scale, n): return torch.randn(n, 3, 32, 32)\n",
        "ignores resolution",
    ),
    "odd_inputs": (GOOD + "\n    def example_inputs(scale, n): return 'image'\n", "returned str: it returns"),
    "no_inputs": (
        GOOD + "\n    def example_inputs(scale, n): return None\n",
        "returned NoneType: it returns",
    ),
    "inputs_without_tensors": (
        GOOD + "\n    def example_inputs(scale, n): return {'image': None, 'times': 3}\n",
        "returned no tensor: it returns at least one tensor",
    ),
    "inputs_by_number": (
        GOOD
        + "\n    import torch\n    def example_inputs(scale, n): return {0: torch.randn(n, 3, 32, 32)}\n",
        "returned a dictionary with the key 0: its keys are the names of keyword inputs",
    ),
    "inputs_raise": (GOOD + "\n    def example_inputs(scale): return 1\n", "example_inputs of inputs_raise"),
    "does_not_fit": (
        GOOD.replace("nn.Linear(c, 10)", "nn.Linear(7, 10)"),
        "cannot be counted: mat1 and mat2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_builder_that_is_no_good_is_told_of_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, message = BAD[name]
    write(folder / f"{name}.py", code)
    before = sorted(folder.rglob("*.jsonl"))
    assert run_cli(["sweep", "-m", f"{name}.py:build", "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert f"{name}.py:build" in err
    assert (err.count("\n"), out) == (1, "")
    assert sorted(folder.rglob("*.jsonl")) == before


def test_an_error_names_the_line_that_raised(folder: Path) -> None:
    write(folder / "late.py", "def build(scale):\n    raise ValueError('not\\ntoday')\n")
    with pytest.raises(UsageError) as caught:
        count_families("late.py:build")
    assert str(caught.value).endswith("resolution 1: not today (late.py:2)")


def test_a_factor_that_the_sweep_does_not_move_may_be_ignored(folder: Path) -> None:
    write(folder / "wide.py", GOOD.replace("scale.repeats(2)", "2"))
    rows = count_families("wide.py:build", strategies="width,resolution", phi="0..1")
    assert len(rows) == 3


def test_what_a_model_prints_is_no_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "loud.py", "print('loading')" + textwrap.dedent(GOOD).replace("c =", "print('hi'); c ="))
    assert run_cli(["count", "-m", "loud.py:build", "--phi", "0", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["spec_id"] == "loud:build/base/0"
    assert "loading" in err
    assert "hi" in err


def test_a_builder_that_needs_real_tensors_is_counted(folder: Path) -> None:
    real = "steps = __import__('torch').linspace(0, 1, 3)[1].item(); c ="
    write(folder / "real.py", GOOD.replace("c =", real))
    assert count_families("real.py:build", phi=0)[0].macs == count_families("nets.py:build", phi=0)[0].macs


def test_slips_of_the_finger_are_told_with_the_way_out(folder: Path) -> None:
    for reference, message in (
        ("nets", "name the function in the file, such as nets.py:build"),
        ("nets.py:", "names no function: write nets.py:build"),
        ("resnet18,resnet50", "repeat the option for several, -m resnet18 -m resnet50"),
    ):
        with pytest.raises(UsageError) as caught:
            choose(reference)
        assert message in str(caught.value)
    with pytest.raises(UsageError, match="a model is given by name, so that measuring workers"):
        choose(lambda scale: scale)  # type: ignore[arg-type]


def test_published_rows_are_not_matched_and_that_is_said() -> None:
    with pytest.warns(LeftOutWarning, match="--match macs does not move them"):
        choose(strategies="published", phi="1", match="macs")


def test_models_with_helpers_of_one_name_get_their_own(folder: Path) -> None:
    for name, width in (("a", 3), ("b", 5)):
        write(folder / name / "layers.py", f"WIDTH = {width}")
        write(
            folder / name / f"net_{name}.py",
            """
            from torch import nn
            from layers import WIDTH
            def build(scale): return nn.Conv2d(3, WIDTH, 1)
            """,
        )
    for order in (("a", "b"), ("b", "a")):
        rows = count_families(
            [f"{name}/net_{name}.py:build" for name in order], strategies="resolution", phi=0
        )
        assert [row.params for row in rows] == [{"a": 12, "b": 20}[name] for name in order]
    assert "layers" not in sys.modules


def test_a_builder_may_take_gradients(worker: LocalBench, folder: Path) -> None:
    write(
        folder / "trained.py",
        GOOD.replace("return nn", "layers[0].weight.sum().backward()\n        return nn"),
    )
    model = find_model("trained.py:build")
    (spec,) = expand(Sweep((model.name,), ("width",), parse_phi("0")), {model.name: model})
    assert worker.build(Job(98, spec, Workload("cpu", threads=1), model.locator)).cold_s > 0


def test_a_network_that_is_not_the_one_counted_is_not_timed(worker: LocalBench, folder: Path) -> None:
    model = find_model("nets.py:build")
    (spec,) = expand(Sweep((model.name,), ("width",), parse_phi("0")), {model.name: model})
    with pytest.raises(JobFailedError, match="parameters were built here and 7 counted before"):
        worker.build(Job(99, spec, Workload("cpu", threads=1), model.locator, params=7))


FORWARDS = {
    "a name that is missing": "return undefined(x)",
    "an import that is missing": "import nonesuch",
    "an error of its own": "raise type('Odd', (Exception,), {})('odd')",
}


@pytest.mark.parametrize("what", FORWARDS)
def test_a_forward_pass_that_raises_anything_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    write(
        folder / "odd.py",
        f"""
        from torch import nn
        class Net(nn.Module):
            def forward(self, x): print('talk'); {FORWARDS[what]}
        def build(scale): return Net()
        """,
    )
    assert run_cli(["count", "-m", "odd.py:build", "--phi", "0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "odd.py:build: Net cannot be counted: " in err


def test_two_models_of_one_name_are_refused(folder: Path) -> None:
    write(folder / "other" / "nets.py", GOOD)
    with pytest.raises(UsageError, match=r"two models are called nets:build: nets.py:build and other/nets"):
        choose(["nets.py:build", "other/nets.py:build"])
    assert list(choose(["nets.py:build", "./nets.py:build"]).models) == ["nets:build"]


def test_a_model_of_ones_own_is_matched_and_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = ("--threads", "1", "--preset", "quick", "--max-time", "1s")
    asked = ("-m", "nets.py:build", "--strategy", "width,depth", "--phi", "0..1", "--match", "macs")
    arguments = ["sweep", "-d", "cpu", *once, *asked, "-o", "run.jsonl", "--format", "json"]
    code = run_cli(arguments)
    out, err = capsys.readouterr()
    assert code == 0 or all_unstable(code, err)
    rows = json.loads(out)
    assert [row["latency_ms"] is not None for row in rows] == [True] * 3
    assert rows[1]["matched_growth"] == pytest.approx(2, rel=0.1)
    write(folder / "nets.py", GOOD.replace("channels(16)", "channels(24)"))
    assert run_cli([*arguments, "--resume"]) == 2
    assert "begin a new run" in capsys.readouterr().err
    write(folder / "nets.py", GOOD + "    # the same counts, and yet another text\n")
    assert run_cli([*arguments, "--resume"]) == 2
    assert "matching or code?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["own_cnn", "own_inputs"])
def test_the_worked_examples_count_in_every_strategy(name: str) -> None:
    rows = count_families(f"{EXAMPLES / name}.py:build", phi="0..1")
    assert [row.status for row in rows] == ["ok"] * 5
    assert all(row.uncounted == () for row in rows)


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalBench]:
    with open_worker(device="cpu", threads=1, seed=0, timeout_s=120) as bench:
        yield bench


@pytest.mark.parametrize(
    "reference",
    [
        *QUICK_FAMILIES,
        *(f"{EXAMPLES / name}.py:build" for name in ("own_cnn", "own_inputs")),
        "timm:resnet10t",
    ],
)
def test_every_model_runs_in_a_worker_with_outputs_of_order_one(worker: LocalBench, reference: str) -> None:
    model = find_model(reference)
    strategy = "compound" if "depth" in model.dimensions else "resolution"
    (spec,) = expand(Sweep((model.name,), (strategy,), parse_phi("-1")), {model.name: model})
    job = Job(hash(reference), spec, Workload("cpu", threads=1), model.locator)
    assert 1e-3 < worker.build(job).output_std < 1e3
    assert min(worker.visit(job).samples_s) > 0


def test_torchvisions_models_bring_their_accuracy_recipe_and_input() -> None:
    weights = torchvision.models.ResNet50_Weights.DEFAULT
    with pytest.warns(LeftOutWarning, match="grows in resolution only: compound, width, depth left out"):
        rows = count_families("torchvision:resnet50", phi="1")
    base, larger = rows
    assert (base.strategy, base.params, base.shape) == ("base", weights.meta["num_params"], {})
    assert base.accuracy == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert weights.meta["recipe"] in (base.accuracy_recipe or "")
    assert (larger.strategy, larger.input_size, larger.accuracy) == ("resolution", 317, None)


def test_a_vision_transformer_grows_in_whole_patches() -> None:
    rows = count_families("torchvision:vit_b_16", strategies="resolution", phi="0..1")
    assert [(row.input_size, row.status) for row in rows] == [(224, "ok"), (320, "ok")]


def test_an_architecture_that_fixes_its_input_is_unsupported_beyond_it() -> None:
    base, larger = count_families("timm:vit_tiny_patch16_224", strategies="resolution", phi="0..1")
    assert (base.status, larger.status) == ("ok", "unsupported")
    assert "doesn't match model (224)" in (larger.reason or "")


# It resizes each image to the size that it was made for.
RESIZING = "timm:crossvit_tiny_240"


def test_a_network_that_resizes_its_image_is_refused_where_the_sweep_moves_resolution(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (["count"], ["sweep", "-d", "cpu"], ["solve", "-d", "cpu", "--budget", "latency_ms<=10"]):
        for phi in ("0..2", "-1"):
            code = run_cli([*verb, "-m", RESIZING, "--strategy", "resolution", f"--phi={phi}"])
            out, err = capsys.readouterr()
            assert (code, out, err.count("\n")) == (2, "", 1), err
            assert f"{RESIZING} ignores resolution: 1.56 G MACs at twice its 240 px too (ask for it" in err
            assert "--phi 0 alone" in err
    # A solve moves whatever it starts from.
    solve = ["solve", "-d", "cpu", "--budget", "latency_ms<=10", "-m", RESIZING, "--strategy", "resolution"]
    assert run_cli([*solve, "--phi", "0"]) == 2
    assert "ignores resolution" in capsys.readouterr().err
    with pytest.raises(UsageError, match="ignores resolution"):
        count_families(RESIZING, strategies="resolution", phi="1", match="macs")
    assert list(folder.glob("*.jsonl")) == []


def test_a_network_that_resizes_its_image_stands_at_its_own_size() -> None:
    (row,) = count_families(RESIZING, strategies="resolution", phi="0")
    assert (row.status, row.input_size) == ("ok", 240)
    with pytest.warns(LeftOutWarning):
        ids = [row.spec_id for row in count_families(["resnet18", RESIZING], strategies="width", phi="1")]
    assert f"{RESIZING}/base/0" in ids


def test_a_builder_is_tried_where_the_sweep_moves_it(folder: Path) -> None:
    capped = (
        GOOD
        + """
    import torch
    def example_inputs(scale, n): return torch.randn(n, 3, *[min(scale.pixels(32), 32)] * 2)
    """
    )
    write(folder / "capped.py", capped)
    for phi in ("-1", "-2,0"):
        rows = count_families("capped.py:build", strategies="resolution", phi=phi)
        assert (rows[-1].achieved_growth or 1) < 1
    for phi in ("1", "-1..1"):
        with pytest.raises(UsageError, match="ignores resolution"):
            count_families("capped.py:build", strategies="resolution", phi=phi)
    write(folder / "shallow.py", GOOD.replace("repeats(2)", "repeats(1)"))
    (row,) = count_families("shallow.py:build", strategies="depth", phi="-1")
    assert row.status == "ok"  # a half of one layer is one


def test_a_network_of_equal_multiply_adds_and_other_activations_is_another_one(folder: Path) -> None:
    write(
        folder / "even.py",
        """
        import torch
        from torch import nn

        def build(scale):
            # 8 · 16 multiply-adds, and 8 · 4 + 4 · 24
            layers = [nn.Linear(8, 16)] if scale.depth < 2 else [nn.Linear(8, 4), nn.Linear(4, 24)]
            return nn.Sequential(*layers)

        def example_inputs(scale, n): return torch.randn(n, 8)
        """,
    )
    base, deep = count_families("even.py:build", strategies="depth", phi="0..1")
    assert (base.macs, deep.macs, deep.status) == (128, 128, "ok")


def test_a_network_without_multiply_adds_is_told_by_what_it_writes(folder: Path) -> None:
    write(
        folder / "pooling.py",
        """
        from torch import nn

        def build(scale): return nn.Sequential(nn.ReLU(), nn.Flatten())
        """,
    )
    (row,) = count_families("pooling.py:build", strategies="resolution", phi="1")
    assert (row.macs, row.status) == (0, "ok")
    with pytest.raises(UsageError, match="ignores depth: 0 MACs at twice"):
        count_families("pooling.py:build", strategies="depth", phi="1")


def test_without_timm_its_models_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'scaleprof\[timm\]'"):
        find_model("timm:resnet18")


def test_families_and_networks_as_they_are_stand_in_one_sweep() -> None:
    with pytest.warns(LeftOutWarning):
        choice = choose(["resnet18", "torchvision:resnet18"], "depth,resolution", "0..1")
    ids = [counted.spec.spec_id for counted in count_choice(choice)]
    assert ids == [
        *("resnet18/base/0", "resnet18/depth/1", "resnet18/resolution/1"),
        *("torchvision:resnet18/base/0", "torchvision:resnet18/resolution/1"),
    ]


def test_a_scale_is_what_people_build_with() -> None:
    scale = sp.Scale(depth=1.5, width=1.5, resolution=1.5)
    assert (scale.repeats(3), scale.channels(64), scale.pixels(224)) == (5, 96, 336)
    assert scale.channels(64, divisor=64) == 128
    assert isinstance(count(torch.nn.Linear(2, 2), torch.empty(1, 2)).macs, int)

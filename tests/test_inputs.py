"""Networks called with more than positional tensors, and those that return more than tensors."""

from __future__ import annotations

import collections
import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from conftest import all_unstable
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from scaleprof.app.counting import count_families
from scaleprof.cli import run as run_cli
from scaleprof.engines.local import LocalBench, open_worker
from scaleprof.errors import UsageError
from scaleprof.measuring.making import make_checked
from scaleprof.measuring.messages import Job
from scaleprof.measuring.passes import forward_pass, mean_square, recording
from scaleprof.measuring.preparing import Preparer
from scaleprof.measuring.runtimes import output_error
from scaleprof.models import FAMILIES, find_model
from scaleprof.models.adapting import Adapted, adapted, extended, tensors_of, with_tensors
from scaleprof.models.arguments import arguments_of
from scaleprof.models.family import Inputs, inputs_for
from scaleprof.models.tensors import found_in, tensors_in
from scaleprof.records import Mode, Runtime, Workload
from scaleprof.scaling.sweep import base_spec

# A network over token ids with a batch norm, whose positions have no batch dimension; `{returned}` is an
# expression, and `{inputs}` what `example_inputs` returns.
NETWORK = """
import collections
import dataclasses

import torch
from torch import nn
from torch.distributions import Independent, Normal

TOKENS = 6


@dataclasses.dataclass
class Answer:
    scores: torch.Tensor
    text: str = "no tensor"


class Network(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.embed = nn.Embedding(40, width)
        self.place = nn.Embedding(TOKENS, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 5)

    def forward(self, ids, positions, mask=None, times=1, caches=None, name="full"):
        if mask is not None or times != 2 or name != "short" or len(caches) != 1:
            raise ValueError("these are not the inputs of the example")
        hidden = self.embed(ids) + self.place(positions) + caches[0]["state"]
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        scores = self.head(self.norm(hidden.mean(1) * times))
        caches.append(None)
        return {returned}


def build(scale):
    return Network(scale.channels(16), scale.repeats(2))


def example_inputs(scale, batch_size):
    ids = torch.randint(0, 40, (batch_size, TOKENS))
    positions = torch.arange(TOKENS)
    caches = [dict(state=torch.randn(batch_size, 1, scale.channels(16)))]
    return {inputs}
"""
BY_KEYWORD = "dict(ids=ids, positions=positions, mask=None, times=2, caches=caches, name='short')"
BY_POSITION = "(ids, positions, None, 2, caches, 'short')"
OUTPUTS = {
    "a tensor": "scores",
    "a dataclass": "Answer(scores)",
    "a distribution": "Independent(Normal(scores, scores.exp()), 1)",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalBench]:
    with open_worker(device="cpu", threads=1, seed=0, timeout_s=120) as bench:
        yield bench


def write_network(folder: Path, name: str, inputs: str = BY_KEYWORD, returned: str = "scores") -> str:
    (folder / f"{name}.py").write_text(
        NETWORK.replace("{inputs}", inputs).replace("{returned}", returned).strip()
    )
    return f"{name}.py:build"


def make_job(reference: str, **axes: Any) -> Job:
    model = find_model(reference)
    workload = Workload("cpu", threads=1, **axes)
    return Job(abs(hash((reference, workload))), base_spec(model), workload, model.locator)


def by_keyword() -> Inputs:
    """Keyword inputs with a container and plain values."""
    return Inputs(
        (), {"values": torch.randn(2, 3), "parts": [(torch.randn(2, 3), None)], "times": 3, "name": None}
    )


class Keywords(nn.Module):
    """Takes `by_keyword`, and changes the list that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, values: Any, parts: Any = (), times: int = 1, name: str | None = "none") -> Any:
        if name is not None or len(parts) != 1:
            raise ValueError("these are not the inputs of the example")
        scores = self.layer(values * times + parts[0][0])
        parts.append(scores)
        return {"scores": scores}


def test_the_inputs_of_a_family_are_positional_tensors_as_ever() -> None:
    inputs = inputs_for(FAMILIES["mobilenet_v1"], base_spec(FAMILIES["mobilenet_v1"]), 2, "infer")
    (images,) = inputs
    assert (images.shape[0], inputs.keywords) == (2, {})
    caches = inputs_for(
        FAMILIES["transformer_decoder"], base_spec(FAMILIES["transformer_decoder"]), 1, "decode"
    )
    assert isinstance(caches, Inputs)


def test_inputs_keep_their_keywords_when_they_are_copied() -> None:
    inputs = copy.deepcopy(Inputs((1,), {"scale": 2}))
    assert (tuple(inputs), inputs.keywords) == ((1,), {"scale": 2})


@pytest.mark.parametrize(
    ("made", "positional", "keywords"),
    [
        (1.5, (1.5,), {}),
        ([1.5, None], (1.5, None), {}),
        ({"a": 1.5, "b": {0: (True, "x")}}, (), {"a": 1.5, "b": {0: (True, "x")}}),
        (collections.OrderedDict(a=1.5), (), {"a": 1.5}),
        (({"a": 1.5},), ({"a": 1.5},), {}),
    ],
)
def test_what_example_inputs_returns_becomes_arguments(
    made: Any, positional: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    tensor = torch.ones(1)

    def filled(value: Any) -> Any:
        """The value with a tensor in place of 1.5."""
        if isinstance(value, dict):
            return type(value)((key, filled(part)) for key, part in value.items())
        if isinstance(value, (list, tuple)):
            return type(value)(filled(part) for part in value)
        return tensor if value == 1.5 else value

    got = arguments_of(filled(made), "f")
    assert (tuple(got), got.keywords) == (filled(positional), filled(keywords))


def test_a_named_tuple_among_the_inputs_stays_one() -> None:
    pair = collections.namedtuple("pair", "left right")
    ((got,), one) = arguments_of(({"pair": pair(torch.ones(1), None)},), "f"), torch.ones(1)
    assert torch.equal(got["pair"].left, one)


REFUSED: dict[str, tuple[Any, str]] = {
    "an array": (np.ones(2), "f returned ndarray: it returns a tensor, a tuple of positional inputs or a"),
    "an array inside": (
        {"ids": torch.ones(1), "extra": [np.ones(2)]},
        "f returned ndarray at ['extra'][0]: it returns",
    ),
    "an object": ((torch.ones(1), object()), "f returned object at [1]: it returns"),
    "no tensor": ({"ids": None, "times": 3}, "f returned no tensor: it returns at least one tensor"),
    "nothing": ((), "f returned nothing: it returns at least one tensor"),
    "a number as a keyword": ({0: torch.ones(1)}, "with the key 0: its keys are the names of keyword inputs"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_an_input_is_refused_with_its_place(what: str) -> None:
    made, words = REFUSED[what]
    with pytest.raises(UsageError) as caught:
        arguments_of(made, "f")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positional_tensors_get_no_module_in_front_of_their_network() -> None:
    network = nn.Linear(3, 4)
    assert adapted(network, Inputs((torch.randn(2, 3),))) is network


def test_an_adapted_network_is_called_as_in_its_example() -> None:
    network, inputs = Keywords(), by_keyword()
    tensors = tensors_of(inputs)
    wrapped = adapted(network, inputs)
    assert [tensor.shape for tensor in tensors] == [(2, 3), (2, 3)]
    expected = network.layer(tensors[0] * 3 + tensors[1])
    assert torch.equal(wrapped(*tensors)["scores"], expected)
    call = forward_pass(wrapped, tensors, Workload("cpu"))
    for _ in range(2):  # each pass has a list of its own, whatever the network does to it
        assert torch.equal(call()["scores"], expected)  # type: ignore[index]
    assert len(inputs.keywords["parts"]) == 1


def test_an_adapted_network_without_containers_is_called_directly() -> None:
    class Scaled(nn.Module):
        """Multiplies by a number."""

        def forward(self, values: torch.Tensor, times: int) -> torch.Tensor:
            return values * times

    wrapped = adapted(Scaled(), Inputs((torch.ones(2), 3)))
    assert isinstance(wrapped, Adapted)
    wrapped.forward = None  # type: ignore[method-assign,assignment]
    assert wrapped.bound((torch.ones(2),))().tolist() == [3, 3]  # type: ignore[attr-defined]


def test_an_adapted_network_can_be_exported() -> None:
    inputs = by_keyword()
    wrapped, tensors = adapted(Keywords().eval(), inputs), tensors_of(inputs)
    program = torch.export.export(wrapped, tensors)
    assert output_error(wrapped(*tensors), program.module()(*tensors)) < 1e-6


def test_tensors_are_changed_wherever_they_are_and_nothing_else_is() -> None:
    inputs = with_tensors(by_keyword(), lambda tensor: tensor.to(torch.float16))
    assert {tensor.dtype for tensor in tensors_of(inputs)} == {torch.float16}
    assert (inputs.keywords["times"], inputs.keywords["name"]) == (3, None)


def test_a_larger_batch_begins_with_the_samples_of_the_smaller_one() -> None:
    few = Inputs((torch.zeros(1, 2),), {"positions": torch.zeros(5), "batch": 1})
    many = Inputs((torch.ones(2, 2),), {"positions": torch.ones(5), "batch": 2})
    got = extended(few, many)
    assert got[0].tolist() == [[0, 0], [1, 1]]
    assert got.keywords["positions"].tolist() == [0] * 5
    assert got.keywords["batch"] == 2
    other = Inputs((torch.ones(2, 2),))
    assert extended(few, other) is other
    assert extended(Inputs((torch.zeros(1, 3), None)), Inputs((torch.ones(2, 2), None)))[0].shape == (2, 2)


@dataclasses.dataclass(slots=True)
class SlottedOutput:
    """Fields in slots."""

    scores: Any
    text: str = "no tensor"


class StructOutput(msgspec.Struct):
    """Fields of msgspec."""

    scores: Any
    more: Any = None


class Holder:
    """Attributes of a plain object, which holds its network, and itself."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.network, self.kind, self.me = nn.Linear(2, 2), Holder, self
        self.scores = scores

    @property
    def computed(self) -> torch.Tensor:
        raise AssertionError("a property is not an output")


def test_tensors_are_found_in_whatever_holds_them() -> None:
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    for values in (
        [one, {"b": (two, None)}],
        collections.UserDict(a=one, b=two),
        collections.deque([one, two]),
        SlottedOutput([one, two]),
        StructOutput(one, two),
        Normal(one, two, validate_args=False),
        Independent(Normal(one.reshape(1), two.reshape(1)), 1),
        [Holder(one), Holder(two)],
    ):
        assert [float(tensor) for tensor in tensors_in(values)] == [1, 2], values
    assert tensors_in([nn.Linear(2, 2), nn.Linear, "text", 3, None, range(10**12)]) == []
    assert len(tensors_in(Categorical(logits=torch.zeros(3)))) == 2  # the logits, and the same as parameter


def test_a_list_in_two_places_counts_twice_and_an_object_once() -> None:
    several, holder = [torch.ones(1)], Holder(torch.ones(1))
    assert len(tensors_in({"a": several, "b": several})) == 2
    assert len(tensors_in({"a": holder, "b": holder})) == 1


def test_values_that_hold_themselves_end() -> None:
    several: list[Any] = [torch.ones(1)]
    several += [several, several, {"again": several}]
    assert len(tensors_in(several)) == 1


def test_arrays_are_found_where_they_are_asked_for() -> None:
    values = {"a": np.ones(1), "b": torch.ones(1), "c": np.float32(3)}
    assert len(tensors_in(values)) == 1
    assert len(found_in(values, (torch.Tensor, np.ndarray, np.generic))) == 3


def test_the_loss_is_of_every_tensor_that_an_output_holds() -> None:
    weight = torch.full((2,), 3.0, requires_grad=True)
    assert mean_square(SlottedOutput([weight, weight])).item() == 18
    mean_square(Normal(weight * 2, weight.exp())).backward()
    assert weight.grad is not None


@pytest.mark.parametrize("inputs", [BY_KEYWORD, BY_POSITION], ids=["by keyword", "by position"])
def test_a_network_of_other_inputs_is_counted_like_any_other(folder: Path, inputs: str) -> None:
    reference = write_network(folder, "net", inputs)
    base, *_, deep = count_families(reference, strategies="width,depth", phi="0..1")
    assert (base.macs, base.status) == (6 * 2 * 16 * 16 + 16 * 5, "ok")
    assert deep.macs == 6 * 4 * 16 * 16 + 16 * 5
    for view in (["--by-operator"], ["--by-module", "1"], ["--cross-check", "fvcore"]):
        assert run_cli(["count", "-m", reference, "--phi", "0", *view]) == 0


@pytest.mark.parametrize("returned", OUTPUTS)
def test_a_training_step_is_counted_whatever_a_network_returns(folder: Path, returned: str) -> None:
    reference = write_network(folder, "net", returned=OUTPUTS[returned])
    infer, train = (count_families(reference, phi="0", mode=mode)[0] for mode in ("infer", "train"))
    assert train.macs is not None
    assert train.macs > 2 * (infer.macs or 0)


@pytest.mark.parametrize("inputs", [BY_KEYWORD, BY_POSITION], ids=["by keyword", "by position"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_a_network_of_other_inputs_is_prepared_and_settled(
    folder: Path, inputs: str, batch_size: int, mode: Mode
) -> None:
    batch_size += mode == "train"  # a batch norm needs two samples then
    job = make_job(write_network(folder, "net", inputs), batch_size=batch_size, dtype="bf16", mode=mode)
    preparer = Preparer("cpu", 0)
    with recording(mode):
        prepared = preparer.prepare(job)
        outputs = prepared.call()()
    assert [tensor.dtype for tensor in prepared.inputs] == [torch.int64, torch.int64, torch.bfloat16]
    assert prepared.input_bytes == batch_size * 6 * 8 + 6 * 8 + batch_size * 16 * 2
    assert [one.shape for one in preparer.inputs(job)] == [one.shape for one in prepared.inputs]
    assert isinstance(outputs, torch.Tensor)
    assert outputs.shape == (batch_size, 5)
    assert prepared.network.training == (mode == "train")


@pytest.mark.parametrize("returned", OUTPUTS)
def test_a_worker_trains_whatever_a_network_returns(worker: LocalBench, folder: Path, returned: str) -> None:
    name = f"trained_{list(OUTPUTS).index(returned)}"
    job = make_job(write_network(folder, name, returned=OUTPUTS[returned]), batch_size=2, mode="train")
    built = worker.build(job)
    assert built.output_std > 0
    assert built.peak_memory_bytes
    visited = worker.visit(job)
    assert visited.parts is not None
    assert min(visited.parts.backward_s) > 0


@pytest.mark.parametrize("runtime", ["onnxruntime", "compile"])
def test_runtimes_take_keyword_inputs(folder: Path, runtime: Runtime) -> None:
    job = make_job(write_network(folder, "net", returned=OUTPUTS["a dataclass"]), runtime=runtime)
    with recording("infer"):
        checked = make_checked(Preparer("cpu", 0).prepare(job), folder / "exported")
    assert checked.compiled.output_error is not None
    assert checked.compiled.output_error < 1e-4


def test_a_sweep_measures_a_network_of_keyword_inputs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = write_network(folder, "net")
    quick = ("-d", "cpu", "--threads", "1", "--preset", "quick", "--max-time", "1s")
    code = run_cli(["sweep", "-m", reference, "--phi", "0", *quick, "-o", "run.jsonl", "--format", "json"])
    out, err = capsys.readouterr()
    assert code == 0 or all_unstable(code, err)
    (row,) = json.loads(out)
    assert row["macs"] == 6 * 2 * 16 * 16 + 16 * 5
    assert row["latency_ms"] > 0
    assert row["peak_memory_bytes"] > 0

"""Real exports and compilations of small networks, held against eager's outputs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from scaleprof.measuring.runtimes import (
    Agreement,
    CompiledNetwork,
    OutputsDifferError,
    OutputStructureError,
    RuntimeUnsupportedError,
    allowed_error,
    check_outputs,
    make_runnable,
    open_artifact,
    output_error,
    prime_compiler,
    refusing,
    rounding_error,
    why_unsupported,
)
from scaleprof.measuring.runtimes.runnable import reason
from scaleprof.records import DType, Runtime, Workload

EXPORTED: tuple[Runtime, ...] = ("onnxruntime", "openvino")
Inputs = tuple[torch.Tensor, ...]


class Images(nn.Module):
    """A tiny convolutional network with a batch norm, which exporters fold into the convolution."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 5),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)  # type: ignore[no-any-return]


class TwoInputs(nn.Module):
    """A vector and token ids."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(50, 16), nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.mix(values) + self.embed(ids).mean(1)))  # type: ignore[no-any-return]


class Answers(nn.Module):
    """Outputs in a dict, with a list, whole numbers and what is no tensor; one input is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, values: torch.Tensor, unused: torch.Tensor) -> dict[str, object]:
        scores = self.layer(values)
        return {
            "scores": scores,
            "parts": [scores.exp(), values],
            "top": scores.argmax(1),
            "n": 4,
            "no": None,
        }


class DataDependent(nn.Module):
    """What it does next depends on what came out: no exporter can write that down."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(values)
        if hidden.sum().item() > 0:
            hidden = hidden * 2
        return self.layer(hidden)  # type: ignore[no-any-return]


class Sequences(nn.Module):
    """One encoder layer of a transformer over token ids."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.layer(self.embed(ids))  # type: ignore[no-any-return]


class Apart(nn.Module):
    """Told not to be compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layer(values)  # type: ignore[no-any-return]


class Case(NamedTuple):
    network: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]


CASES: dict[str, Case] = {
    "images": Case(Images, lambda: (torch.randn(2, 3, 16, 16),)),
    "lstm": Case(lambda: nn.LSTM(8, 16, 2, batch_first=True), lambda: (torch.randn(2, 6, 8),)),
    "two inputs": Case(TwoInputs, lambda: (torch.randn(2, 8), torch.randint(0, 50, (2, 7)))),
    "dict": Case(Answers, lambda: (torch.randn(6, 2).t(), torch.randn(3))),
    "transformer": Case(Sequences, lambda: (torch.randint(0, 30, (2, 7)),)),
}


def workload(runtime: Runtime, dtype: DType = "fp32") -> Workload:
    return Workload("cpu", threads=1, dtype=dtype, runtime=runtime)


def made(case: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Inputs]:
    torch.manual_seed(0)
    network = CASES[case].network().eval().to(dtype)
    inputs = CASES[case].inputs()
    return network, tuple(one.to(dtype) if one.is_floating_point() else one for one in inputs)


@pytest.fixture(autouse=True)
def _as_the_worker_runs() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("runtime", EXPORTED)
@pytest.mark.parametrize("case", CASES)
def test_exported_networks_put_out_what_eager_puts_out(case: str, runtime: Runtime, tmp_path: Path) -> None:
    network, inputs = made(case)
    expected = network(*inputs)
    runnable = make_runnable(runtime, network, inputs, workload(runtime), tmp_path)
    assert output_error(expected, runnable.call()) < 1e-5
    assert output_error(expected, runnable.call()) < 1e-5
    name, version = runnable.version.split()
    assert name.lower() == runtime
    assert version[0].isdigit()
    assert runnable.artifact is not None
    assert runnable.artifact.is_relative_to(tmp_path)
    assert runnable.artifact.stat().st_size > 0


@pytest.mark.parametrize("runtime", EXPORTED)
def test_what_was_exported_runs_without_the_network(runtime: Runtime, tmp_path: Path) -> None:
    network, inputs = made("dict")
    expected = network(*inputs)
    artifact = make_runnable(runtime, network, inputs, workload(runtime), tmp_path).artifact
    del network
    assert artifact is not None
    assert output_error(expected, open_artifact(runtime, artifact, inputs, workload(runtime))()) < 1e-5


def test_two_exports_into_one_folder_are_two_files(tmp_path: Path) -> None:
    network, inputs = made("images")
    files = [
        make_runnable("onnxruntime", network, inputs, workload("onnxruntime"), tmp_path).artifact
        for _ in range(2)
    ]
    assert files[0] != files[1]


def test_eager_has_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="eager makes no file"):
        open_artifact("eager", tmp_path, (), workload("eager"))


def test_eager_is_the_network_itself(tmp_path: Path) -> None:
    network, inputs = made("images")
    runnable = make_runnable("eager", network, inputs, workload("eager"), tmp_path)
    assert output_error(network(*inputs), runnable.call()) == 0
    assert runnable.version == f"torch {torch.__version__}"


def test_a_network_in_fp16_runs_in_onnxruntime(tmp_path: Path) -> None:
    network, inputs = made("images", torch.float16)
    expected = network(*inputs)
    runnable = make_runnable("onnxruntime", network, inputs, workload("onnxruntime", "fp16"), tmp_path)
    assert output_error(expected, runnable.call()) <= allowed_error(workload("onnxruntime", "fp16"))


def test_onnxruntime_has_no_bf16_on_the_cpu_and_says_so_in_its_own_words(tmp_path: Path) -> None:
    network, inputs = made("two inputs", torch.bfloat16)
    with pytest.raises(
        RuntimeUnsupportedError, match=r"onnxruntime cannot take it: .*Could not find an impl"
    ):
        make_runnable("onnxruntime", network, inputs, workload("onnxruntime", "bf16"), tmp_path)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_openvino_computes_in_the_dtype_that_was_asked_for_or_not_at_all(
    dtype: DType, tmp_path: Path
) -> None:
    network, inputs = made("images", torch.float16 if dtype == "fp16" else torch.bfloat16)
    expected = network(*inputs)
    try:
        runnable = make_runnable("openvino", network, inputs, workload("openvino", dtype), tmp_path)
    except RuntimeUnsupportedError as error:
        assert f"on this processor when asked for {dtype}" in str(error)  # noqa: PT017 - both are right
    else:
        error_of_wider = output_error(network.float()(inputs[0].float()), runnable.call())
        assert output_error(expected, runnable.call()) <= allowed_error(workload("openvino", dtype))
        assert error_of_wider > 1e-5  # fp32 would have no such distance


def test_openvino_runs_with_its_threads_or_not_at_all(tmp_path: Path) -> None:
    network, inputs = made("images")
    many = Workload("cpu", threads=4096, runtime="openvino")
    with pytest.raises(RuntimeUnsupportedError, match=r"when asked for 4096: use --threads \d+"):
        make_runnable("openvino", network, inputs, many, tmp_path)


@pytest.mark.parametrize("runtime", EXPORTED)
def test_a_network_that_cannot_be_exported_is_unsupported_in_one_line(
    runtime: Runtime, tmp_path: Path
) -> None:
    network, inputs = DataDependent().eval(), (torch.ones(2, 4),)
    with pytest.raises(
        RuntimeUnsupportedError, match=r"torch.onnx.export cannot take it: .*data-dependent"
    ) as caught:
        make_runnable(runtime, network, inputs, workload(runtime), tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_an_operation_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    class Determinant(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.det(values)

    with pytest.raises(RuntimeUnsupportedError, match=r"OpenVINO cannot take it: .*Det"):
        make_runnable("openvino", Determinant(), (torch.randn(3, 3),), workload("openvino"), tmp_path)


@pytest.mark.parametrize(
    ("runtime", "missing", "extra"),
    [
        ("onnxruntime", "onnxruntime", "onnx"),
        ("onnxruntime", "onnxscript", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("openvino", "onnx", "openvino"),
    ],
)
def test_a_package_that_is_not_installed_is_told_with_its_extra(
    runtime: Runtime, missing: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # the import then fails as if it were not there
    network, inputs = made("images")
    with pytest.raises(RuntimeUnsupportedError) as caught:
        make_runnable(runtime, network, inputs, workload(runtime), tmp_path)
    assert missing in str(caught.value)
    assert f'pip install "scaleprof[{extra}]"' in str(caught.value)


def test_openvino_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    code = """
        import sys, torch
        from torch import nn
        from scaleprof.measuring.runtimes import openvino_runtime
        openvino_runtime._openvino()
        print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry")))
    """
    home = {**os.environ, "HOME": str(tmp_path), "CI": "false"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=home, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_a_compiled_network_puts_out_what_eager_puts_out(tmp_path: Path) -> None:
    network, inputs = made("two inputs")
    expected = network(*inputs)
    prime_compiler(workload("compile"))
    runnable = make_runnable("compile", network, inputs, workload("compile"), tmp_path)
    assert output_error(expected, runnable.call()) < 1e-5
    assert (runnable.graphs, runnable.artifact) == (1, None)
    assert runnable.version == f"torch {torch.__version__} inductor"


def test_a_network_compiled_in_pieces_says_in_how_many(tmp_path: Path) -> None:
    network, inputs = DataDependent().eval(), (torch.ones(2, 4),)
    expected = network(*inputs)
    runnable = make_runnable("compile", network, inputs, workload("compile"), tmp_path)
    assert output_error(expected, runnable.call()) < 1e-5
    assert runnable.graphs == 2


def test_every_network_of_a_class_is_compiled(tmp_path: Path) -> None:
    inputs = (torch.randn(2, 4),)
    # Beyond its limit of eight torch would run the rest in eager.
    networks = [nn.Sequential(nn.Linear(4, 4 + scale), nn.ReLU()).eval() for scale in range(10)]
    graphs = [make_runnable("compile", one, inputs, workload("compile"), tmp_path).graphs for one in networks]
    assert graphs == [1] * 10


def test_a_network_of_which_nothing_is_compiled_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnsupportedError, match="compiled none of it"):
        make_runnable("compile", Apart().eval(), (torch.ones(2, 4),), workload("compile"), tmp_path)


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    network, inputs = made("images")
    with pytest.raises(RuntimeUnsupportedError, match=r"no no-such-compiler: install g\+\+"):
        make_runnable("compile", network, inputs, workload("compile"), tmp_path)


def test_compiling_that_is_switched_off_is_not_timed_as_eager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    network, inputs = made("images")
    with pytest.raises(RuntimeUnsupportedError, match="unset TORCH_COMPILE_DISABLE"):
        make_runnable("compile", network, inputs, workload("compile"), tmp_path)


def test_a_compiled_network_trains() -> None:
    with torch.inference_mode(False):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).train()
        inputs = torch.randn(3, 4)
        network(inputs).square().mean().backward()
        expected = [parameter.grad for parameter in network.parameters()]
        network.zero_grad()
        compiled = CompiledNetwork(network, workload("compile"))
        with pytest.raises(RuntimeUnsupportedError, match="compiled none of it"):
            compiled.require_compiled()
        outputs = compiled(inputs)
        assert isinstance(outputs, torch.Tensor)
        outputs.square().mean().backward()
        compiled.require_compiled()
        assert output_error(expected, [parameter.grad for parameter in network.parameters()]) < 1e-5


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Workload("cpu", runtime="cudagraph"), "needs an NVIDIA GPU"),
        (Workload("cuda", runtime="onnxruntime"), "on the CPU only: use --device cpu"),
        (Workload("cpu", runtime="openvino", mode="train"), "does not train: use --runtime eager or compile"),
        (Workload("cuda", runtime="cudagraph", mode="train"), "does not train"),
        (Workload("cpu", runtime="onnxruntime", dtype="bf16", cast="autocast"), "use --cast weights"),
        (Workload("cpu", runtime="openvino", memory_format="channels_last"), "--memory-format contiguous"),
    ],
)
def test_workloads_that_a_runtime_cannot_run_are_refused_before_anything_is_made(
    wanted: Workload, why: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeUnsupportedError, match=why):
        make_runnable(wanted.runtime, nn.Identity(), (), wanted, tmp_path)


@pytest.mark.parametrize(
    "wanted",
    [
        Workload("cpu", dtype="bf16", cast="autocast", memory_format="channels_last", mode="train"),
        Workload("cpu", runtime="compile", dtype="bf16", cast="autocast", mode="train"),
        Workload("cuda", runtime="cudagraph", memory_format="channels_last"),
        Workload("cpu", runtime="onnxruntime", dtype="fp16"),
    ],
)
def test_other_workloads_are_tried(wanted: Workload) -> None:
    assert why_unsupported(wanted.runtime, wanted) is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that torch can use")
def test_a_captured_network_puts_out_what_eager_puts_out(tmp_path: Path) -> None:
    network, inputs = made("images")
    network, on_gpu = network.cuda(), tuple(one.cuda() for one in inputs)
    expected = network(*on_gpu)
    graphs = Workload("cuda:0", threads=1, runtime="cudagraph")
    runnable = make_runnable("cudagraph", network, on_gpu, graphs, tmp_path)
    assert output_error(expected, runnable.call()) < 1e-3
    waits = DataDependent().eval().cuda()
    with pytest.raises(RuntimeUnsupportedError, match="cannot be captured"):
        make_runnable("cudagraph", waits, (torch.ones(2, 4, device="cuda"),), graphs, tmp_path)


def test_the_error_is_the_distance_over_the_size_of_the_worst_output() -> None:
    expected = {"large": torch.tensor([300.0, 400.0]), "small": [torch.tensor([1.0, 1.0]), "text"]}
    got = [np.array([300.0, 400.0]), torch.tensor([1.0, 0.0])]
    assert output_error(expected, got) == pytest.approx(0.5**0.5)


def test_whole_numbers_count_where_there_is_nothing_else() -> None:
    scores, other = torch.tensor([0.5, 0.5]), torch.tensor([3])
    assert output_error([scores, torch.tensor([4])], [scores, other]) == 0
    assert output_error(torch.tensor([4]), other) == 0.25


def test_complex_numbers_and_empty_outputs_are_compared() -> None:
    waves = torch.tensor([3 + 4j])
    assert output_error([waves, torch.zeros(0)], [waves.conj(), torch.zeros(0)]) == pytest.approx(1.6)


@pytest.mark.parametrize("got", [torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf, 1.0])])
def test_numbers_that_are_not_finite_are_infinitely_far_off(got: torch.Tensor) -> None:
    assert output_error(torch.ones(2), got) == torch.inf


@pytest.mark.parametrize(
    ("expected", "got", "why"),
    [
        ([torch.ones(2), torch.ones(2)], [torch.ones(2)], "2 tensors, and it 1"),
        (torch.ones(2, 3), torch.ones(3, 2), r"shape \[2, 3\] in eager, and \[3, 2\]"),
        ({"a": None}, [], "no numbers"),
    ],
)
def test_outputs_of_another_structure_cannot_be_compared(expected: object, got: object, why: str) -> None:
    with pytest.raises(OutputStructureError, match=why):
        output_error(expected, got)


def test_the_page_on_runtimes_tells_what_is_allowed() -> None:
    page = (Path(__file__).parents[1] / "docs" / "runtimes.md").read_text(encoding="utf-8")
    dtypes: tuple[DType, ...] = ("fp32", "fp16", "bf16")
    for dtype in dtypes:
        always, own_error = allowed_error(workload("eager", dtype)), 0.04
        times = allowed_error(workload("eager", dtype), own_error) / own_error
        assert f"| {dtype} | {always:g} | {times:g} |" in page


def never_asked() -> float | None:
    raise AssertionError("the outputs are near enough without it")


def test_near_outputs_pass_without_another_look() -> None:
    expected = torch.tensor([1.0, 2.0])
    assert check_outputs(expected, expected.clone(), workload("eager"), never_asked) == Agreement(0.0, 1e-4)


def test_outputs_may_be_further_off_where_eagers_own_are() -> None:
    expected, got = torch.ones(4), torch.full((4,), 1.01)
    agreement = check_outputs(expected, got, workload("eager"), lambda: 0.002)
    assert agreement == pytest.approx(Agreement(0.01, 0.02), rel=1e-5)
    with pytest.raises(OutputsDifferError, match=r"by 0.01 of their size; 0.005 is .* own are off by 0.0005"):
        check_outputs(expected, got, workload("eager"), lambda: 0.0005)


@pytest.mark.parametrize("own_error", [None, 0.0, 0.3, 10.0])
def test_zeros_never_pass_for_outputs(own_error: float | None) -> None:
    for dtype in ("fp32", "fp16", "bf16"):
        with pytest.raises(OutputsDifferError):
            check_outputs(torch.ones(4), torch.zeros(4), workload("eager", dtype), lambda: own_error)


@pytest.mark.parametrize("runtime", EXPORTED)
def test_a_network_with_another_detail_is_caught(runtime: Runtime, tmp_path: Path) -> None:
    network, inputs = made("images")
    expected = network(*inputs)
    other, _ = made("images")
    assert isinstance(other, Images)
    other.layers[2] = nn.GELU()
    wrong = make_runnable(runtime, other, inputs, workload(runtime), tmp_path)
    own_error = rounding_error(network, inputs, workload(runtime), expected)
    with pytest.raises(OutputsDifferError, match="is allowed in fp32, where eager's own are off by"):
        check_outputs(expected, wrong.call(), workload(runtime), lambda: own_error)


def test_a_network_computed_in_a_coarser_dtype_is_caught() -> None:
    network, inputs = made("images")
    expected = network(*inputs)
    own_error = rounding_error(network, inputs, workload("eager"), expected)
    coarse = network.bfloat16()(inputs[0].bfloat16())
    with pytest.raises(OutputsDifferError):
        check_outputs(expected, coarse, workload("eager"), lambda: own_error)


@pytest.mark.parametrize(
    ("dtype", "kind", "least", "most"),
    [("fp32", torch.float32, 1e-9, 1e-5), ("bf16", torch.bfloat16, 1e-4, 4e-2)],
)
def test_eagers_own_error_is_that_of_its_rounding(
    dtype: DType, kind: torch.dtype, least: float, most: float
) -> None:
    network, inputs = made("images", kind)
    expected = network(*inputs)
    own_error = rounding_error(network, inputs, workload("eager", dtype), expected)
    assert own_error is not None
    assert least < own_error < most
    assert {parameter.dtype for parameter in network.parameters()} == {kind}


def test_a_network_that_runs_in_one_dtype_only_has_no_known_error() -> None:
    class Stubborn(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values @ torch.ones(2, 2, dtype=torch.float32)

    assert rounding_error(Stubborn(), (torch.ones(2, 2),), workload("eager"), torch.ones(2, 2)) is None


def test_a_lack_of_memory_is_not_told_as_a_limit_of_the_runtime() -> None:
    with pytest.raises(MemoryError), refusing("it"):
        raise MemoryError
    with pytest.raises(torch.OutOfMemoryError), refusing("it"):
        raise torch.OutOfMemoryError("no more")


def test_the_reason_is_what_began_it_in_one_plain_line() -> None:
    error = RuntimeError("\x1b[96mstep 3\x1b[0m failed")
    error.__cause__ = NotImplementedError("\n[ONNXRuntimeError] : 9 : no kernel for Foo\nand more")
    assert reason(error) == "NotImplementedError: no kernel for Foo"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("x" * 1000))) == 160

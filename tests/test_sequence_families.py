"""Families of sequences: their costs by closed forms, their networks against torch's own, and decoding."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import make_log, make_record
from builders import make_spec as record_spec
from closed_forms_sequences import SEQUENCE_FORMS, decoder_step
from torch import nn

import scaleprof as sp
from scaleprof.app.choosing import choose
from scaleprof.app.costs import CostBook
from scaleprof.app.matching import Matcher
from scaleprof.cli import run as run_cli
from scaleprof.counting.families import count_spec, trace_spec
from scaleprof.errors import UsageError
from scaleprof.measuring.making import make_checked
from scaleprof.measuring.messages import Job
from scaleprof.measuring.passes import TrainingStep, recording
from scaleprof.measuring.preparing import Preparer
from scaleprof.measuring.runtimes import output_error
from scaleprof.models import FAMILIES
from scaleprof.models.family import inputs_for, many
from scaleprof.models.transformer_modules import Block, Decoder
from scaleprof.records import Cost, Mode, ModelSpec, Record, Workload
from scaleprof.reporting.analysis import analyse
from scaleprof.reporting.analysis_tables import analysis_tables
from scaleprof.reporting.rows import MeasuredRow
from scaleprof.reporting.view import view_runs
from scaleprof.reporting.workloads import words as workload_words
from scaleprof.scaling.laws import law_of
from scaleprof.scaling.rounding import ROUNDINGS, RoundingName, Scale
from scaleprof.scaling.sweep import base_spec, make_spec
from scaleprof.scaling.theory import powers_at_base

TRANSFORMERS = ("transformer_encoder", "transformer_decoder")
RECURRENT = ("lstm", "gru")
BASE, LARGER, SMALLER = Scale(), Scale(1.4, 1.2, 1.3), Scale(0.6, 0.7, 0.8)
TINY = Scale(depth=0.25, width=0.1, resolution=0.2)
HEADS_OF_128 = 2


def spec_at(name: str, scale: Scale = BASE) -> ModelSpec:
    return make_spec(FAMILIES[name], "d1_w1_r1", 1, scale)


def counts(cost: Cost) -> tuple[int, int, int]:
    return cost.macs, cost.params, cost.activations


def tiny_job(name: str, workload: Workload) -> Job:
    return Job(0, spec_at(name, TINY if name in TRANSFORMERS else Scale(0.5, 0.05, 0.3)), workload, name)


# Costs


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("transformer_encoder", 109_482_240),  # BERT-base with its pooler: Devlin et al. print 110 M
        ("transformer_decoder", 124_439_808),  # GPT-2 small, its output embedding tied: 124 M
        ("lstm", 66_034_000),  # Zaremba et al. print 66 M
    ],
)
def test_a_base_has_the_parameters_that_its_authors_have(name: str, params: int) -> None:
    assert count_spec(FAMILIES[name], base_spec(FAMILIES[name])).params == params


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_table_of_positions_grows_only_beyond_its_published_rows(name: str) -> None:
    rows = {}
    for tokens in (64, 512, 1024, 2048):
        scale = Scale(resolution=math.sqrt(tokens / FAMILIES[name].base_input_size))
        with torch.device("meta"):
            network = FAMILIES[name].build(spec_at(name, scale))
        rows[tokens] = network.get_parameter("positions.weight").shape[0]
    published = {"transformer_encoder": 512, "transformer_decoder": 1024}[name]
    assert rows == {tokens: max(published, tokens) for tokens in rows}


@pytest.mark.parametrize("scale", [BASE, LARGER, SMALLER], ids=["base", "larger", "smaller"])
def test_decoding_costs_one_token_against_the_whole_cache(scale: Scale) -> None:
    spec = spec_at("transformer_decoder", scale)
    cost = count_spec(FAMILIES["transformer_decoder"], spec, "decode")
    form: Callable[..., tuple[int, int, int]] = decoder_step
    assert counts(cost) == form(spec.input_size, **spec.shape or {})
    assert cost.uncounted == ()


def test_the_memory_of_decoding_holds_the_cache() -> None:
    base = spec_at("transformer_decoder")
    cost = count_spec(FAMILIES["transformer_decoder"], base, "decode")
    cache_bytes = 4 * 2 * 12 * 12 * 1024 * 64  # keys and values, layers, heads
    assert cache_bytes < cost.peak_activation_bytes < 1.05 * cache_bytes
    assert cost.forecast_bytes == cost.weight_bytes + cost.peak_activation_bytes


@pytest.mark.parametrize(
    ("name", "gates"), [("transformer_encoder", 0), ("transformer_decoder", 0), ("lstm", 4), ("gru", 3)]
)
def test_a_training_step_is_three_passes_but_for_gradients_of_first_states(name: str, gates: int) -> None:
    """Embeddings multiply nothing: every product has two gradients, but for that of a state of zeros."""
    spec = spec_at(name, SMALLER)
    infer, train = (trace_spec(FAMILIES[name], spec, mode).cost for mode in ("infer", "train"))
    (layers,), (channels,) = (many(spec.shape or {}, f"stage_{key}") for key in ("repeats", "channels"))
    assert train.macs == 3 * infer.macs - layers * gates * channels**2
    assert (train.uncounted, train.activations, train.params) == ((), infer.activations, infer.params)


# Integers


@pytest.mark.parametrize(
    ("name", "rounding", "integers", "tokens"),
    [
        ("transformer_encoder", "tf", {"stage_channels": (896,), "stage_repeats": (17,), "heads": 14}, 216),
        (
            "transformer_encoder",
            "pycls",
            {"stage_channels": (896,), "stage_repeats": (17,), "heads": 14},
            216,
        ),
        ("transformer_decoder", "tf", {"stage_channels": (896,), "stage_repeats": (17,), "heads": 14}, 1731),
        ("lstm", "tf", {"stage_channels": (1800,), "stage_repeats": (3,)}, 59),
        ("gru", "pycls", {"stage_channels": (1800,), "stage_repeats": (3,)}, 59),
    ],
)
def test_integers_are_whole_heads_layers_and_tokens(
    name: str, rounding: RoundingName, integers: dict[str, Any], tokens: int
) -> None:
    # 921.6 channels lie between 14 and 15 heads of 64; 128 · 1.3², 1024 · 1.3² and 35 · 1.3² tokens.
    shape, size = FAMILIES[name].integers(Scale(1.4, 1.2, 1.3, rounding))
    sized = {"input_size": tokens} if name in TRANSFORMERS else {}
    assert (shape, size) == (integers | sized, tokens)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", SEQUENCE_FORMS)
def test_tokens_are_the_bases_times_the_square_of_resolution(name: str, rounding: RoundingName) -> None:
    base = FAMILIES[name].base_input_size
    for factor in (0.5, 1.1, 3.0):
        _, tokens = FAMILIES[name].integers(Scale(resolution=factor, rounding=rounding))
        assert abs(tokens - base * factor**2) <= 0.5


@pytest.mark.parametrize(
    ("name", "scale", "words"),
    [
        ("transformer_encoder", Scale(width=0.05), "768 channels, and 64 (one head) is the least"),
        ("transformer_decoder", Scale(depth=0.05), "12 layers, and 1 is the least"),
        ("transformer_decoder", Scale(resolution=0.01), "makes the input 0 tokens, at least 1 is needed"),
        ("lstm", Scale(depth=0.4), "2 layers, and 1 is the least"),
        ("gru", Scale(resolution=0.1), "makes the input 0 tokens, at least 1 is needed"),
    ],
)
def test_a_scale_that_cannot_be_says_what_the_least_is(name: str, scale: Scale, words: str) -> None:
    with pytest.raises(UsageError) as told:
        FAMILIES[name].integers(scale)
    assert words in str(told.value)


def test_matching_macs_finds_the_number_of_tokens() -> None:
    family, costs = FAMILIES["transformer_encoder"], CostBook()
    choice = choose(family.name, "resolution", "-1", match="macs")
    spec = Matcher(choice, "macs", costs).place(family, "resolution", -1)

    def missed_by(tokens: int) -> int:
        other = make_spec(family, "resolution", -1, Scale(), input_size=tokens)
        return abs(2 * costs.cost(family, other).macs - costs.cost(family, base_spec(family)).macs)

    assert (spec.unmatched, spec.input_size) == (None, 65)
    assert missed_by(65) < min(missed_by(64), missed_by(66))


def test_no_context_halves_the_macs_of_decoding() -> None:
    """Four fifths of them are in weights that a token needs however few came before it."""
    family = FAMILIES["transformer_decoder"]
    choice = choose(family.name, "resolution", "-1", match="macs")
    spec = Matcher(choice, "macs", CostBook("decode")).place(family, "resolution", -1)
    assert "the least MACs that resolution can have are 124 M" in (spec.unmatched or "")


# Networks


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_block_computes_what_torchs_own_layer_does(pre_norm: bool) -> None:
    torch.manual_seed(0)
    block = Block(128, causal=pre_norm, pre_norm=pre_norm, eps=1e-5, gelu="none").eval()
    theirs = nn.TransformerEncoderLayer(
        128, HEADS_OF_128, 512, activation="gelu", batch_first=True, norm_first=pre_norm
    ).eval()
    pairs: list[tuple[nn.Linear | nn.LayerNorm, nn.Module, str]] = [
        (block.attention.queries_keys_values, theirs.self_attn, "in_proj_"),
        (block.attention.mix, theirs.self_attn.out_proj, ""),
        (block.attention_norm, theirs.norm1, ""),
        (block.expand, theirs.linear1, ""),
        (block.project, theirs.linear2, ""),
        (block.mlp_norm, theirs.norm2, ""),
    ]
    with torch.no_grad():
        for ours, part, prefix in pairs:
            part.get_parameter(f"{prefix}weight").copy_(ours.weight.normal_(std=0.1))
            part.get_parameter(f"{prefix}bias").copy_(ours.bias.normal_(std=0.1))
        states = torch.randn(2, 7, 128)
        mask = nn.Transformer.generate_square_subsequent_mask(7) if pre_norm else None
        torch.testing.assert_close(block(states), theirs(states, mask), rtol=1e-4, atol=1e-5)


def test_decoding_the_last_token_gives_the_logits_that_the_whole_context_gives_it() -> None:
    torch.manual_seed(0)
    network = Decoder(3, 128, vocabulary=50, positions=16).eval()
    ids, caches = torch.randint(50, (2, 9)), list[torch.Tensor]()
    for layer in range(3):
        network.get_submodule(f"blocks.{layer}.attention.queries_keys_values").register_forward_hook(
            lambda _module, _inputs, out: caches.extend(
                part.reshape(2, -1, HEADS_OF_128, 64).transpose(1, 2).clone()
                for part in out.chunk(3, dim=-1)[1:]
            )
        )
    with torch.no_grad():
        whole = network(ids)
        context = list(caches)
        held = [cache.clone() for cache in context]
        for cache in context:
            cache[:, :, -1] = math.nan  # the place of the new token, which the pass fills
        step = network(ids[:, -1:], *context)
    torch.testing.assert_close(step[:, 0], whole[:, -1], rtol=1e-4, atol=1e-5)
    for cache, before in zip(context, held, strict=True):
        torch.testing.assert_close(cache, before, rtol=1e-4, atol=1e-5)


def test_a_decoder_sees_nothing_that_comes_later() -> None:
    torch.manual_seed(0)
    network = Decoder(2, 128, vocabulary=50, positions=16).eval()
    ids = torch.randint(50, (1, 8))
    other = ids.clone()
    other[:, -1] = (ids[:, -1] + 1) % 50
    with torch.no_grad():
        before, after = network(ids), network(other)
    torch.testing.assert_close(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1])


def test_inputs_of_decoding_are_one_id_a_sample_and_a_cache_for_each_layer() -> None:
    spec = spec_at("transformer_decoder", TINY)
    ids, *caches = inputs_for(FAMILIES["transformer_decoder"], spec, 3, "decode")
    assert (ids.shape, ids.dtype) == ((3, 1), torch.int64)
    assert [cache.shape for cache in caches] == [(3, 2, 41, 64)] * (2 * 3)


# Measuring


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SEQUENCE_FORMS)
def test_a_family_trains_in_its_dtype_and_its_ids_stay_whole(name: str, dtype: Any) -> None:
    with recording("train"):
        prepared = Preparer("cpu", 0).prepare(tiny_job(name, Workload("cpu", mode="train", dtype=dtype)))
        step = prepared.call()
        outputs = step()
    assert isinstance(step, TrainingStep)
    assert prepared.inputs[0].dtype == torch.int64
    assert all(parameter.dtype == prepared_dtype(dtype) for parameter in prepared.network.parameters())
    first = outputs if isinstance(outputs, torch.Tensor) else outputs[0]  # type: ignore[index]
    assert torch.isfinite(first).all()


def prepared_dtype(dtype: str) -> torch.dtype:
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]


def test_caches_are_cast_and_keep_their_layout() -> None:
    job = tiny_job(
        "transformer_decoder", Workload("cpu", mode="decode", dtype="bf16", memory_format="channels_last")
    )
    ids, *caches = Preparer("cpu", 0).prepare(job).inputs
    assert ids.dtype == torch.int64
    assert all(cache.dtype == torch.bfloat16 and cache.is_contiguous() for cache in caches)


# One direction that leaves every family small: two layers of LSTM, three heads, a few tokens.
SMALL = ["--strategy", "d1_w6_r3", "--phi", "-8", "--device", "cpu", "--threads", "1", "--preset", "quick"]


def sweep_small(path: Path, *options: str) -> list[MeasuredRow]:
    assert run_cli(["sweep", *SMALL, "--max-time", "1s", "-o", str(path), "--no-report", *options]) == 0
    return sp.load(path).rows


def test_every_family_sweeps_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sweep_small(tmp_path / "run.jsonl", *(part for name in SEQUENCE_FORMS for part in ("-m", name)))
    assert [(row.model, row.status, row.input_unit) for row in rows] == [
        (name, "ok", "tokens") for name in SEQUENCE_FORMS
    ]
    assert all(row.latency_ms is not None for row in rows)
    assert "24 tokens" in capsys.readouterr().out


def test_decoding_sweeps_end_to_end_beside_a_network_that_cannot(tmp_path: Path) -> None:
    rows = sweep_small(tmp_path / "run.jsonl", "-m", "transformer_decoder", "-m", "lstm", "--mode", "decode")
    found = {row.model: row for row in rows}
    decoder, lstm = found["transformer_decoder"], found["lstm"]
    assert (decoder.status, decoder.mode, lstm.status) == ("ok", "decode", "unsupported")
    assert lstm.reason == "lstm has no one-token pass against a key–value cache: use --mode infer"
    layers, heads, tokens = 7, 3, 194
    assert (decoder.input_size, decoder.input_bytes) == (tokens, 8 + layers * 2 * 4 * heads * tokens * 64)
    assert decoder.nulls["forward_ms"] == "only training has these parts (--mode train)"


def test_an_exported_decoder_gives_eagers_logits_in_each_pass(tmp_path: Path) -> None:
    job = tiny_job("transformer_decoder", Workload("cpu", mode="decode", runtime="onnxruntime"))
    with recording("decode"):
        prepared = Preparer("cpu", 0).prepare(job)
        expected = prepared.call()()
        made = make_checked(prepared, tmp_path)
        for _ in range(2):
            assert output_error(expected, made.call()) < 1e-4


# Words


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "infer") for name in SEQUENCE_FORMS), ("transformer_decoder", "decode")]
)
def test_a_familys_own_law_has_the_powers_of_its_closed_form_at_the_base(name: str, mode: Mode) -> None:
    law, shape = law_of(name, mode), FAMILIES[name].shape_at(Scale())
    assert law is not None
    form = decoder_step if mode == "decode" else SEQUENCE_FORMS[name]
    base = (many(shape, "stage_repeats")[0], many(shape, "stage_channels")[0], FAMILIES[name].base_input_size)

    def at(layers: int, channels: int, tokens: int) -> tuple[int, int, int]:
        sized = {"heads": channels // 64, "input_size": tokens} if name in TRANSFORMERS else {}
        return form(tokens, stage_channels=(channels,), stage_repeats=(layers,), **sized)

    # Of a polynomial of the second degree the central difference is the slope, whatever the step.
    for place, step in enumerate((1, 64, 1)):
        less, more = (at(*(n + sign * step * (i == place) for i, n in enumerate(base))) for sign in (-1, 1))
        slopes = [(high - low) / (2 * step) for low, high in zip(less, more, strict=True)]
        powers = [slope * base[place] / value for slope, value in zip(slopes, at(*base), strict=True)]
        squared = 2 if place == 2 else 1  # tokens grow with the square of resolution
        told = [powers_at_base(terms)[place] for terms in (law.macs, law.params, law.activations)]
        assert told == pytest.approx([squared * power for power in powers], abs=0.01)


def line_of(model: str, strategy: str, **fields: Any) -> list[Record]:
    steps = [record_spec("base", 0, model=model, depth=1, width=1, resolution=1, **fields)]
    steps += [record_spec(strategy, n, model=model, channels=n, **fields) for n in (1, 2)]
    return [make_record(spec, macs=10**9 * 2**n) for n, spec in enumerate(steps)]


def growth_caption(records: list[Record]) -> str:
    (table,) = [
        table
        for table in analysis_tables(analyse(sp.Run(make_log(*records)).rows))
        if table.topic == "growth"
    ]
    return table.caption


def test_the_report_shows_the_theory_of_the_family_itself() -> None:
    records = line_of("transformer_decoder", "resolution")
    found = {one.quantity: one.theory for one in analyse(sp.Run(make_log(*records)).rows).exponents}
    assert found["activations"] == pytest.approx(1.33, abs=0.005)  # its scores grow with tokens²
    assert found["latency_ms"] is None


def test_the_growth_table_says_whose_theory_it_is() -> None:
    own, plain = line_of("lstm", "width"), line_of("resnet18", "width")
    assert "Theory of lstm is the family's own" in growth_caption(own)
    assert "convolutions" not in growth_caption(own)
    assert "Theory is that of plain convolutions" in growth_caption(plain)
    assert "Theory of the others is that of plain convolutions" in growth_caption([*own, *plain])


def test_models_says_what_follows_from_recurrence_and_from_decoding(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, words in (
        ("lstm", "a token waits for the one before it"),
        ("transformer_decoder", "--mode decode is one new token a sample"),
    ):
        assert run_cli(["models", name, "--phi", "0"]) == 0
        out = capsys.readouterr().out
        assert words in out
        assert "resolution^" in out
        assert run_cli(["models", name, "--phi", "0", "--format", "json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert words in facts["note"]
        assert ("decode" in facts["modes"]) == (name == "transformer_decoder")


def test_what_cannot_decode_is_a_row_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["-m", "resnet18", "-m", "transformer_encoder", "-m", "transformer_decoder"]
    assert run_cli(["count", *names, "--mode", "decode", "--phi", "0", "--format", "json"]) == 0
    *others, decoder = json.loads(capsys.readouterr().out)
    assert [(row["status"], row["macs"]) for row in others] == [("unsupported", None)] * 2
    assert "resnet18 has no one-token pass" in others[0]["reason"]
    assert (decoder["status"], decoder["mode"]) == ("ok", "decode")


def test_a_title_says_that_it_decodes() -> None:
    record = make_record(workload=Workload("cpu", mode="decode"))
    (view,) = view_runs([make_log(record)])
    assert "decoding one token" in view.title
    assert workload_words(record.workload, ["mode"]) == ["one token"]

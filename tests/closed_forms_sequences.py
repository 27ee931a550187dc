"""MACs, parameters and activations of sequence networks for one sample, as in `closed_forms`.

Derived from the papers; nothing here runs a network or knows scaleprof. A look-up in a table multiplies
nothing. Every function takes the tokens and the family's integers; `decoder_step` is of one token whose
keys and values, and those of all before it, are `tokens` in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from closed_forms import Counted, Layers, norm, total

HEAD = 64


def product(rows: int, c_in: int, c_out: int, *, bias: bool = True) -> Counted:
    """A matrix product with weights, for so many rows."""
    return rows * c_in * c_out, c_in * c_out + c_out * bias, rows * c_out


def table(entries: int, channels: int) -> Counted:
    """Parameters alone."""
    return 0, entries * channels, 0


def attention(queries: int, tokens: int, channels: int) -> Counted:
    """A score for each query, token and head, though half of them be masked; then the weighted values."""
    scores = queries * tokens * (channels // HEAD)
    return scores * HEAD + queries * tokens * channels, 0, scores + queries * channels


def layer(queries: int, tokens: int, channels: int) -> Layers:
    """Vaswani et al. 2017: attention with its four products, an MLP four times as wide, and two norms."""
    for _ in range(3):
        yield product(queries, channels, channels)
    yield attention(queries, tokens, channels)
    yield product(queries, channels, channels)
    yield product(queries, channels, 4 * channels)
    yield product(queries, 4 * channels, channels)
    yield norm(channels)
    yield norm(channels)


@total
def encoder(
    tokens: int,
    *,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    heads: int,
    input_size: int,
) -> Layers:
    """Devlin et al. 2019, BERT with its pooler: 512 positions, or as many as there are tokens."""
    (channels,), (layers,) = stage_channels, stage_repeats
    assert (heads * HEAD, input_size) == (channels, tokens)
    yield table(30_522, channels)
    yield table(max(512, tokens), channels)
    yield table(2, channels)
    yield norm(channels)
    for _ in range(layers):
        yield from layer(tokens, tokens, channels)
    yield product(1, channels, channels)


def gpt2(queries: int, tokens: int, channels: int, layers: int) -> Layers:
    """Radford et al. 2019: 1,024 positions, or as many as there are tokens; logits by the embeddings."""
    yield table(max(1024, tokens), channels)
    for _ in range(layers):
        yield from layer(queries, tokens, channels)
    yield norm(channels)
    yield product(queries, channels, 50_257, bias=False)


@total
def decoder(
    tokens: int,
    *,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    heads: int,
    input_size: int,
) -> Layers:
    """Every token of a context."""
    (channels,), (layers,) = stage_channels, stage_repeats
    assert (heads * HEAD, input_size) == (channels, tokens)
    yield from gpt2(tokens, tokens, channels, layers)


@total
def decoder_step(
    tokens: int,
    *,
    stage_channels: Sequence[int],
    stage_repeats: Sequence[int],
    heads: int,
    input_size: int,
) -> Layers:
    """The last token of a context alone."""
    (channels,), (layers,) = stage_channels, stage_repeats
    assert (heads * HEAD, input_size) == (channels, tokens)
    yield from gpt2(1, tokens, channels, layers)


def recurrent(tokens: int, gates: int, stage_channels: Sequence[int], stage_repeats: Sequence[int]) -> Layers:
    """Zaremba et al. 2014: a gate multiplies the input and the state, and torch adds a bias to each."""
    (channels,), (layers,) = stage_channels, stage_repeats
    yield table(10_000, channels)
    for _ in range(layers * gates):
        yield product(tokens, channels, channels)
        yield product(tokens, channels, channels)
    yield product(tokens, channels, 10_000)


@total
def lstm(tokens: int, *, stage_channels: Sequence[int], stage_repeats: Sequence[int]) -> Layers:
    """Input, forget and output gate, and the candidate."""
    yield from recurrent(tokens, 4, stage_channels, stage_repeats)


@total
def gru(tokens: int, *, stage_channels: Sequence[int], stage_repeats: Sequence[int]) -> Layers:
    """Reset and update gate, and the candidate."""
    yield from recurrent(tokens, 3, stage_channels, stage_repeats)


SEQUENCE_FORMS: dict[str, Callable[..., Counted]] = {
    "transformer_encoder": encoder,
    "transformer_decoder": decoder,
    "lstm": lstm,
    "gru": gru,
}

"""The base networks of the sequence families as integers, and how their costs grow.

Tokens are `base · resolution²`. With d, w and r the factors and h, t, V the base's hidden size, tokens and
vocabulary, a layer's products cost `h²·t` MACs (`d·w²·r²`, as a stack of convolutions); attention costs
`t²·h` beside them (`d·w·r⁴`), and a vocabulary `V·h·t` (`w·r²`), which no depth repeats. Biases, norms and
position tables are left out: together they are below one percent.
"""

from __future__ import annotations

from typing import NamedTuple

from scaleprof.scaling.rounding import Scale, round_px
from scaleprof.scaling.theory import Law, Term

HEAD_CHANNELS = 64
MLP_RATIO = 4

ENCODER_NAME = "transformer_encoder"
DECODER_NAME = "transformer_decoder"
LSTM_NAME = "lstm"
GRU_NAME = "gru"


class SequenceBase(NamedTuple):
    """A base network: layers, hidden size, tokens, and the tables that do not scale."""

    layers: int
    hidden: int
    tokens: int
    vocabulary: int
    positions: int = 0


# Devlin et al. 2019, BERT-base, uncased; latencies of it are mostly printed for 128 tokens.
ENCODER = SequenceBase(layers=12, hidden=768, tokens=128, vocabulary=30_522, positions=512)
# Radford et al. 2019, the smallest of GPT-2; its context is the whole of its position table.
DECODER = SequenceBase(layers=12, hidden=768, tokens=1024, vocabulary=50_257, positions=1024)
# Zaremba et al. 2014, the large network for the Penn Treebank, unrolled over 35 tokens.
RECURRENT = SequenceBase(layers=2, hidden=1500, tokens=35, vocabulary=10_000)

# Gates of a layer: each multiplies the input and the state by a matrix of its own.
LSTM_GATES = 4
GRU_GATES = 3


def tokens_at(base: int, scale: Scale) -> int:
    """Whole tokens at a scale, to the nearest under every rounding.

    >>> tokens_at(128, Scale(resolution=2)), tokens_at(128, Scale(resolution=0.5, rounding="pycls"))
    (512, 32)
    """
    return round_px(base * scale.resolution**2)


def sequence_laws() -> dict[tuple[str, str], Law]:
    """The laws of growth of the sequence families, by family and mode."""
    return {
        (ENCODER_NAME, "infer"): _encoding(ENCODER),
        (DECODER_NAME, "infer"): _prefill(DECODER),
        (DECODER_NAME, "decode"): _decoding(DECODER),
        (LSTM_NAME, "infer"): _recurring(RECURRENT, LSTM_GATES),
        (GRU_NAME, "infer"): _recurring(RECURRENT, GRU_GATES),
    }


def _encoding(base: SequenceBase) -> Law:
    layers, h = base.layers, base.hidden
    return Law(
        macs=(*attending_macs(*base[:3]), Term(h * h, 0, 2, 0)),
        params=(
            Term(layer_weights(h) * layers, 1, 2, 0),
            Term(h * h, 0, 2, 0),
            Term((base.vocabulary + base.positions) * h, 0, 1, 0),
        ),
        activations=(*attending_activations(*base[:3], base.hidden // HEAD_CHANNELS), Term(h, 0, 1, 0)),
    )


def _prefill(base: SequenceBase) -> Law:
    h, t, vocabulary = base.hidden, base.tokens, base.vocabulary
    return Law(
        macs=(*attending_macs(*base[:3]), Term(vocabulary * h * t, 0, 1, 2)),
        params=_decoder_params(base),
        activations=(
            *attending_activations(*base[:3], base.hidden // HEAD_CHANNELS),
            Term(vocabulary * t, 0, 0, 2),
        ),
    )


def _decoding(base: SequenceBase) -> Law:
    """One token against a cache of `t`: tokens are in attention alone."""
    layers, h, t, vocabulary = base.layers, base.hidden, base.tokens, base.vocabulary
    return Law(
        macs=(
            Term(layer_weights(h) * layers, 1, 2, 0),
            Term(2 * h * t * layers, 1, 1, 2),
            Term(vocabulary * h, 0, 1, 0),
        ),
        params=_decoder_params(base),
        activations=(
            Term(layer_outputs(h) * layers, 1, 1, 0),
            Term(h // HEAD_CHANNELS * t * layers, 1, 1, 2),
            Term(vocabulary, 0, 0, 0),
        ),
    )


def _recurring(base: SequenceBase, gates: int) -> Law:
    layers, h, t, vocabulary = base.layers, base.hidden, base.tokens, base.vocabulary
    return Law(
        macs=(Term(2 * gates * h * h * t * layers, 1, 2, 2), Term(vocabulary * h * t, 0, 1, 2)),
        params=(Term(2 * gates * h * h * layers, 1, 2, 0), Term(2 * vocabulary * h, 0, 1, 0)),
        activations=(Term(2 * gates * h * t * layers, 1, 1, 2), Term(vocabulary * t, 0, 0, 2)),
    )


def _decoder_params(base: SequenceBase) -> tuple[Term, ...]:
    h = base.hidden
    return (
        Term(layer_weights(h) * base.layers, 1, 2, 0),
        Term((base.vocabulary + base.positions) * h, 0, 1, 0),
    )


def attending_macs(layers: int, hidden: int, tokens: int) -> tuple[Term, Term]:
    """Of layers over all tokens: products, and attention's full square."""
    products = layer_weights(hidden) * tokens * layers
    return Term(products, 1, 2, 2), Term(2 * hidden * tokens**2 * layers, 1, 1, 4)


def attending_activations(layers: int, hidden: int, tokens: int, heads: int) -> tuple[Term, Term]:
    """Outputs of the layers' products, and attention's scores, one a head, query and token."""
    outputs = layer_outputs(hidden) * tokens * layers
    return Term(outputs, 1, 1, 2), Term(heads * tokens**2 * layers, 1, 1, 4)


def layer_weights(hidden: int) -> int:
    """Weights of a layer: queries, keys, values, their mixing, and an MLP of two products."""
    return (4 + 2 * MLP_RATIO) * hidden**2


def layer_outputs(hidden: int) -> int:
    """What a layer's products put out for a token: those above, and attention's weighted sum of values."""
    return (3 + 1 + 1 + MLP_RATIO + 1) * hidden

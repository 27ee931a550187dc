"""Recurrent language models: stacked LSTM and GRU between an embedding and a product with a vocabulary.

The base is the large LSTM of Zaremba et al. 2014 for the Penn Treebank: two layers of 1,500, ten thousand
words, 35 tokens; the GRU has the same sizes. The hidden size comes in multiples of 4, of which 1,500 is one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from scaleprof.models.family import ModelFamily, many
from scaleprof.models.transformer import token_batch
from scaleprof.records import Shape
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.sequences import GRU_NAME, LSTM_NAME, RECURRENT, tokens_at

if TYPE_CHECKING:
    from torch import nn

_CHANNEL_DIVISOR = 4
_TOKENS = "tokens are 35 · resolution², each computed after the one before"
_NOTE = (
    "a token waits for the one before it, and a layer for the one below: tokens and depth lengthen a chain "
    "of steps that no further core shortens, while width makes each step larger. But each token reads all "
    "weights of a layer again, so that width is cheap while these stay in a cache, and dear where they do not"
)


def shape_at(scale: Scale) -> Shape:
    """Layers and hidden size.

    >>> shape_at(Scale(width=1.1, depth=1.2))
    {'stage_channels': (1652,), 'stage_repeats': (3,)}
    """
    return {
        "stage_channels": (scale.channels(RECURRENT.hidden, divisor=_CHANNEL_DIVISOR),),
        "stage_repeats": (scale.repeats(RECURRENT.layers),),
    }


def construct_lstm(shape: Shape) -> nn.Module:
    """Layers of LSTM: ids `[batch, tokens]` to logits `[batch, tokens, vocabulary]`."""
    from torch.nn import LSTM

    return _language_model(LSTM, shape)


def construct_gru(shape: Shape) -> nn.Module:
    """Layers of GRU: ids `[batch, tokens]` to logits `[batch, tokens, vocabulary]`."""
    from torch.nn import GRU

    return _language_model(GRU, shape)


def _language_model(kind: type[nn.LSTM | nn.GRU], shape: Shape) -> nn.Module:
    from scaleprof.models.recurrent_modules import LanguageModel

    (layers,), (hidden,) = many(shape, "stage_repeats"), many(shape, "stage_channels")
    return LanguageModel(kind, layers, hidden, vocabulary=RECURRENT.vocabulary)


LSTM = ModelFamily(
    name=LSTM_NAME,
    title="LSTM language model, scaled from the large one for the Penn Treebank",
    depth_means="stacked layers",
    width_means="hidden size and embedding, in multiples of 4; the vocabulary stays",
    resolution_means=_TOKENS,
    note=_NOTE,
    source="Zaremba et al. 2014, arXiv:1409.2329",
    shape_at=shape_at,
    construct=construct_lstm,
    last_block=None,
    base_input_size=RECURRENT.tokens,
    min_input_size=1,
    input_unit="tokens",
    size_at=partial(tokens_at, RECURRENT.tokens),
    make_inputs=partial(token_batch, vocabulary=RECURRENT.vocabulary),
    channel_divisor=_CHANNEL_DIVISOR,
)
GRU = msgspec.structs.replace(
    LSTM,
    name=GRU_NAME,
    title="GRU language model, of the sizes of the LSTM",
    source="Cho et al. 2014, arXiv:1406.1078; sizes of Zaremba et al. 2014, arXiv:1409.2329",
    construct=construct_gru,
)

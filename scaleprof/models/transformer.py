"""Transformers over tokens: BERT's encoder and GPT-2's decoder, scaled from their published base sizes.

Width is the hidden size in whole heads of 64, the MLP four times as wide; depth is layers; tokens are
`base · resolution²`. Vocabularies stay, and the table of positions grows only where there are more tokens
than it has rows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scaleprof.models.family import ModelFamily, many, one
from scaleprof.records import ModelSpec, Shape
from scaleprof.scaling.rounding import Scale
from scaleprof.scaling.sequences import (
    DECODER,
    DECODER_NAME,
    ENCODER,
    ENCODER_NAME,
    HEAD_CHANNELS,
    SequenceBase,
    tokens_at,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

_HEADS = "hidden size, in whole heads of 64, the MLP four times as wide; the vocabulary stays"


def shape_at(scale: Scale) -> Shape:
    """Layers, hidden size and heads; both families have the same.

    >>> shape_at(Scale(width=1.1, depth=1.2))
    {'stage_channels': (832,), 'stage_repeats': (15,), 'heads': 13}
    """
    hidden = scale.channels(ENCODER.hidden, divisor=HEAD_CHANNELS)
    return {
        "stage_channels": (hidden,),
        "stage_repeats": (scale.repeats(ENCODER.layers),),
        "heads": hidden // HEAD_CHANNELS,
    }


def last_block(shape: Shape, stage: int) -> tuple[str, ...]:
    """The path of the last layer; there is one stage."""
    return (f"blocks.{many(shape, 'stage_repeats')[stage] - 1}",)


def construct_encoder(shape: Shape) -> nn.Module:
    """BERT: ids `[batch, tokens]` to states `[batch, tokens, hidden]` and the first one pooled."""
    from scaleprof.models.transformer_modules import Encoder

    return Encoder(
        *_layers_and_hidden(shape), vocabulary=ENCODER.vocabulary, positions=_positions(ENCODER, shape)
    )


def construct_decoder(shape: Shape) -> nn.Module:
    """GPT-2: ids `[batch, tokens]` to logits `[batch, tokens, vocabulary]`; or one token, with caches."""
    from scaleprof.models.transformer_modules import Decoder

    return Decoder(
        *_layers_and_hidden(shape), vocabulary=DECODER.vocabulary, positions=_positions(DECODER, shape)
    )


def token_batch(spec: ModelSpec, batch_size: int, *, vocabulary: int) -> tuple[torch.Tensor, ...]:
    """Random ids for a spec, `[batch, tokens]`, on torch's default device."""
    import torch

    if spec.input_size is None:
        raise TypeError(f"{spec.spec_id} has no input size")
    return (torch.randint(vocabulary, (batch_size, spec.input_size)),)


def decode_batch(spec: ModelSpec, batch_size: int) -> tuple[torch.Tensor, ...]:
    """A random id a sample, `[batch, 1]`, and caches as long as the context, its own place the last in them.

    Keys and values of each layer in turn, `[batch, heads, context, 64]`.
    """
    import torch

    if spec.input_size is None or spec.shape is None:
        raise TypeError(f"{spec.spec_id} has no input size")
    (layers,), heads = many(spec.shape, "stage_repeats"), one(spec.shape, "heads")
    ids = torch.randint(DECODER.vocabulary, (batch_size, 1))
    held = (torch.randn(batch_size, heads, spec.input_size, HEAD_CHANNELS) for _ in range(2 * layers))
    return (ids, *held)


def _layers_and_hidden(shape: Shape) -> tuple[int, int]:
    (layers,), (hidden,) = many(shape, "stage_repeats"), many(shape, "stage_channels")
    return layers, hidden


def _positions(base: SequenceBase, shape: Shape) -> int:
    """Rows of the table of positions: the published ones, or as many as there are tokens."""
    return max(base.positions, one(shape, "input_size"))


TRANSFORMER_ENCODER = ModelFamily(
    name=ENCODER_NAME,
    title="transformer encoder, scaled from BERT-base",
    depth_means="layers of attention and MLP",
    width_means=_HEADS,
    resolution_means="tokens are 128 · resolution²; beyond 512 the table of positions grows with them",
    note="attention costs tokens² where products cost tokens: 3 % of all MACs at 128 tokens, more beyond",
    source="Devlin et al. 2019, arXiv:1810.04805",
    shape_at=shape_at,
    construct=construct_encoder,
    last_block=last_block,
    base_input_size=ENCODER.tokens,
    min_input_size=1,
    input_unit="tokens",
    size_at=partial(tokens_at, ENCODER.tokens),
    is_sized=True,
    make_inputs=partial(token_batch, vocabulary=ENCODER.vocabulary),
    channel_divisor=HEAD_CHANNELS,
    least_channels_mean="one head",
)
TRANSFORMER_DECODER = ModelFamily(
    name=DECODER_NAME,
    title="transformer decoder, scaled from GPT-2 small",
    depth_means="layers of causal attention and MLP",
    width_means=_HEADS,
    resolution_means="context, 1024 · resolution² tokens; beyond 1024 the table of positions grows with it",
    note="--mode infer is a prefill: logits of the whole context. --mode decode is one new token a sample "
    "against a key–value cache of the context: tokens then cost attention and cache alone, and weights are "
    "read for each pass, so that memory is what it waits for",
    source="Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    shape_at=shape_at,
    construct=construct_decoder,
    last_block=last_block,
    base_input_size=DECODER.tokens,
    min_input_size=1,
    input_unit="tokens",
    size_at=partial(tokens_at, DECODER.tokens),
    is_sized=True,
    make_inputs=partial(token_batch, vocabulary=DECODER.vocabulary),
    make_decode_inputs=decode_batch,
    channel_divisor=HEAD_CHANNELS,
    least_channels_mean="one head",
)

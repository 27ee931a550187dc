"""The networks of the transformer families: blocks over torch's fused attention, and what stands around them.

They are plain modules, so that eval mode takes no fused path that hides its products, and a cache can be
handed to each layer.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from scaleprof.scaling.sequences import HEAD_CHANNELS, MLP_RATIO

# A layer's cache: keys and values of all tokens, the new one included, `[batch, heads, context, 64]` each.
Cache = tuple[torch.Tensor, torch.Tensor]

# Both papers': weights at first, and dropout of embeddings, attention and what each half of a layer adds.
_INITIAL_STD = 0.02
_DROPOUT = 0.1
_BERT_EPS = 1e-12
_GPT2_EPS = 1e-5


class SelfAttention(nn.Module):
    """Attention in heads of 64; queries, keys and values come from one product."""

    def __init__(self, hidden: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = hidden // HEAD_CHANNELS, causal
        self.queries_keys_values = nn.Linear(hidden, 3 * hidden)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, states: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """`[batch, tokens, hidden]` to the same; with a cache, of its last token alone.

        The cache is as long as the context, and its last place is the new token's: that is written here, as a
        server appends to a cache that it has allocated. So every pass does the same.
        """
        batch, tokens, hidden = states.shape
        split = self.queries_keys_values(states).view(batch, tokens, 3, self.heads, HEAD_CHANNELS)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind()
        if cache is not None:
            for held, new in zip(cache, (keys, values), strict=True):
                held[:, :, -1:] = new
            keys, values = cache
        attended = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            dropout_p=_DROPOUT if self.training else 0.0,
            is_causal=self.causal and cache is None,
        )
        mixed: torch.Tensor = self.mix(attended.transpose(1, 2).reshape(batch, tokens, hidden))
        return mixed


class Block(nn.Module):
    """Attention and an MLP, each added to what comes in; normalised before (GPT-2) or after that (BERT)."""

    def __init__(self, hidden: int, *, causal: bool, pre_norm: bool, eps: float, gelu: str) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = SelfAttention(hidden, causal=causal)
        self.attention_norm = nn.LayerNorm(hidden, eps=eps)
        self.expand = nn.Linear(hidden, MLP_RATIO * hidden)
        self.gelu = nn.GELU(approximate=gelu)
        self.project = nn.Linear(MLP_RATIO * hidden, hidden)
        self.mlp_norm = nn.LayerNorm(hidden, eps=eps)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, states: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """`[batch, tokens, hidden]` to the same."""
        if self.pre_norm:
            states = states + self.dropout(self.attention(self.attention_norm(states), cache))
            states = states + self.dropout(self.mlp(self.mlp_norm(states)))
        else:
            states = self.attention_norm(states + self.dropout(self.attention(states)))
            states = self.mlp_norm(states + self.dropout(self.mlp(states)))
        return states

    def mlp(self, states: torch.Tensor) -> torch.Tensor:
        """Each token by itself."""
        projected: torch.Tensor = self.project(self.gelu(self.expand(states)))
        return projected


class Encoder(nn.Module):
    """BERT's encoder with its embeddings and its pooler, without the heads of its training tasks."""

    def __init__(self, layers: int, hidden: int, *, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(positions, hidden)
        self.segments = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden, eps=_BERT_EPS)
        self.dropout = nn.Dropout(_DROPOUT)
        self.blocks = nn.ModuleList(
            Block(hidden, causal=False, pre_norm=False, eps=_BERT_EPS, gelu="none") for _ in range(layers)
        )
        self.pooler = nn.Linear(hidden, hidden)
        _initialise(self)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids `[batch, tokens]`, of one segment, to `[batch, tokens, hidden]` and the first one pooled."""
        places = self.positions.weight[: ids.shape[1]]
        states = self.dropout(self.norm(self.tokens(ids) + places + self.segments.weight[0]))
        for block in self.blocks:
            states = block(states)
        return states, torch.tanh(self.pooler(states[:, 0]))


class Decoder(nn.Module):
    """GPT-2: logits are products with the embeddings of the tokens themselves."""

    def __init__(self, layers: int, hidden: int, *, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(positions, hidden)
        self.dropout = nn.Dropout(_DROPOUT)
        blocks = [
            Block(hidden, causal=True, pre_norm=True, eps=_GPT2_EPS, gelu="tanh") for _ in range(layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(hidden, eps=_GPT2_EPS)
        _initialise(self)
        # Radford et al. 2019, section 2.3: what adds up over layers starts smaller.
        std = _INITIAL_STD / math.sqrt(2 * layers)
        for block in blocks:
            nn.init.normal_(block.attention.mix.weight, std=std)
            nn.init.normal_(block.project.weight, std=std)

    def forward(self, ids: torch.Tensor, *caches: torch.Tensor) -> torch.Tensor:
        """Logits `[batch, tokens, vocabulary]` of ids `[batch, tokens]`.

        With caches, keys and values of each layer in turn, ids are one new token a sample, `[batch, 1]`, at
        the last place of the caches' context.
        """
        context = caches[0].shape[2] if caches else ids.shape[1]
        places = self.positions.weight[context - ids.shape[1] : context]
        states = self.dropout(self.tokens(ids) + places)
        held = zip(caches[::2], caches[1::2], strict=True) if caches else [None] * len(self.blocks)
        for block, cache in zip(self.blocks, held, strict=True):
            states = block(states, cache)
        return functional.linear(self.norm(states), self.tokens.weight)


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=_INITIAL_STD)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

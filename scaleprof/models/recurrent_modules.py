"""The network of the recurrent families: a language model whose layers are torch's own."""

from __future__ import annotations

import torch
from torch import nn

# Zaremba et al. 2014, section 4.1, of the large network: nowhere but between layers and around them.
_DROPOUT = 0.65


class LanguageModel(nn.Module):
    """Ids to embeddings, through layers of LSTM or GRU, to logits of the next id at each token."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], layers: int, hidden: int, *, vocabulary: int) -> None:
        super().__init__()
        between = _DROPOUT if layers > 1 else 0.0
        self.tokens = nn.Embedding(vocabulary, hidden)
        self.dropout = nn.Dropout(_DROPOUT)
        self.layers = kind(hidden, hidden, layers, dropout=between, batch_first=True)
        self.logits = nn.Linear(hidden, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids `[batch, tokens]` to logits `[batch, tokens, vocabulary]`, from a state of zeros."""
        states, _ = self.layers(self.dropout(self.tokens(ids)))
        logits: torch.Tensor = self.logits(self.dropout(states))
        return logits

"""Questions as token ids of the pretrained static embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from r2t2.embedders import wordllama
from r2t2.models.mini.network import LONGEST


def tokenise(questions: Sequence[str]) -> Int[Tensor, "questions tokens"]:
    """Token ids, cut to the network's length and padded with 0; letter case does not count."""
    _, tokenizer = wordllama()
    encoded = tokenizer.encode_batch([q.lower() for q in questions], add_special_tokens=False)
    tokens = torch.zeros(len(questions), LONGEST, dtype=torch.long)
    for row, one in zip(tokens, encoded, strict=True):
        ids = torch.tensor(one.ids[:LONGEST], dtype=torch.long)
        row[: len(ids)] = ids
    return tokens


@cache
def word_table() -> Float[Tensor, "vocabulary embedding"]:
    """The frozen token embeddings at unit scale; the padding token's is zero."""
    table = wordllama()[0].clone()
    table[0] = 0
    return table / table[1:].std()

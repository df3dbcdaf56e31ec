"""The embedded model's network: a question reads a scene through a routed, narrow channel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r2t2.models.mini.perception import CELLS, CODE, EXPERTS

BLOCKS = 3
WIDTH = 64
HEADS = 4
HIDDEN = 160
QUERIES = 4
CHANNEL = 6
LONGEST = 24


class Attention(nn.Module):
    """A transformer block whose tokens may also read a context that it leaves alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch others width"] | None = None,
        mask: Bool[Tensor, "batch all"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        batch, tokens, _ = x.shape
        read = self.norm1(x if context is None else torch.cat([x, context], 1))
        q = self.q(read[:, :tokens]).view(batch, tokens, HEADS, -1).transpose(1, 2)
        k, v = self.kv(read).view(batch, read.shape[1], 2, HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(
            q, k, v, attn_mask=None if mask is None else mask[:, None, None, :]
        )
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, WIDTH))
        return x + self.mlp(self.norm2(x))


class Language(nn.Module):
    """A question's token embeddings -> query tokens."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, WIDTH)
        self.position = nn.Parameter(torch.randn(LONGEST, WIDTH) * 0.1)
        self.near = nn.ModuleList([nn.Conv1d(WIDTH, WIDTH, 3, padding=1) for _ in range(2)])
        self.queries = nn.Parameter(torch.randn(QUERIES, WIDTH) * 0.3)
        self.block = Attention()

    def forward(
        self, words: Float[Tensor, "batch tokens embedding"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch queries width"]:
        # Padding stays zero throughout, so that a question's result does not depend on how far
        # its batch is padded.
        x = (self.project(words) + self.position[: words.shape[1]]) * mask[..., None]
        for conv in self.near:
            x = x + F.gelu(conv(x.transpose(1, 2))).transpose(1, 2) * mask[..., None]
        queries = self.queries.expand(len(x), -1, -1)
        return self.block(queries, x, F.pad(mask, (QUERIES, 0), value=True))


class Router(nn.Module):
    """The mean of the question's token embeddings and of the base stream -> `r`."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(embedding + CODE, 48), nn.GELU(), nn.Linear(48, BLOCKS * len(EXPERTS))
        )

    def forward(
        self, gist: Float[Tensor, "batch features"]
    ) -> Float[Tensor, "batch sites experts"]:
        return F.softmax(self.gate(gist).view(-1, BLOCKS, len(EXPERTS)), -1)


class Network(nn.Module):
    """Blocks that add the experts' messages, weighted by `r`, to the cells' tokens."""

    def __init__(self, answers: int, embedding: int) -> None:
        super().__init__()
        self.language = Language(embedding)
        self.base = nn.Linear(CODE, WIDTH)
        # One matrix per block and expert into the channel that all experts share.
        self.message = nn.Parameter(torch.randn(BLOCKS, len(EXPERTS), CODE, CHANNEL) * CODE**-0.5)
        self.norm = nn.ModuleList([nn.LayerNorm(CHANNEL) for _ in range(BLOCKS)])
        self.up = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(CHANNEL, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
                for _ in range(BLOCKS)
            ]
        )
        self.blocks = nn.ModuleList([Attention() for _ in range(BLOCKS)])
        self.head = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, answers)
        )

    def encode(
        self,
        words: Float[Tensor, "batch tokens embedding"],
        mask: Bool[Tensor, "batch tokens"],
        base: Float[Tensor, "batch cells code"],
        seen: Float[Tensor, "batch cells experts code"],
    ) -> dict[str, Tensor]:
        """All that does not depend on `r`: queries, cells, every expert's messages, the gist."""
        gist = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return {
            "queries": self.language(words, mask),
            "cells": self.base(base),
            "messages": torch.einsum("bcef,lefm->blecm", seen, self.message).flatten(3),
            "gist": torch.cat([gist, base.mean(1)], -1),
        }

    def forward(
        self, encoded: dict[str, Tensor], r: Float[Tensor, "batch sites experts"]
    ) -> Float[Tensor, "batch answers"]:
        """Logits of the answers under `r`."""
        queries, cells = encoded["queries"], encoded["cells"]
        mixed = torch.einsum("ble,blef->blf", r, encoded["messages"])
        mixed = mixed.view(len(r), BLOCKS, CELLS, CHANNEL)
        for i, block in enumerate(self.blocks):
            cells = cells + self.up[i](self.norm[i](mixed[:, i]))
            if i == BLOCKS - 1:
                # The head reads one query alone.
                queries = block(queries[:, :1], torch.cat([queries[:, 1:], cells], 1))
            else:
                both = block(torch.cat([queries, cells], 1))
                queries, cells = both[:, :QUERIES], both[:, QUERIES:]
        return self.head(queries[:, 0])


def words(
    tokens: Int[Tensor, "batch tokens"], table: Float[Tensor, "vocabulary embedding"]
) -> tuple[Float[Tensor, "batch tokens embedding"], Bool[Tensor, "batch tokens"]]:
    """Token ids (0 is padding) -> their embeddings and which of them are there."""
    return table[tokens], tokens > 0

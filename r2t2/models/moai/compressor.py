"""MoAI's compressor: what auxiliary models found, as a few tokens (a Perceiver resampler)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from r2t2.models.moai.config import Config


class Reading(nn.Module):
    """Latents read tokens and each other."""

    def __init__(self, width: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm_media, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, width, bias=False)

    def forward(
        self,
        latents: Float[Tensor, "batch latents d"],
        x: Float[Tensor, "batch tokens d"],
        mask: Bool[Tensor, "batch 1 1 both"],
    ) -> Float[Tensor, "batch latents d"]:
        latents = self.norm_latents(latents)
        keys, values = self.to_kv(torch.cat([self.norm_media(x), latents], 1)).chunk(2, -1)
        q, k, v = (
            tokens.unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for tokens in (self.to_q(latents), keys, values)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.to_out(seen.transpose(1, 2).flatten(2))


class Compressor(nn.Module):
    """Tokens, however many -> latents."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes, width = config.resampler, config.hidden_size
        inner = sizes.ff_mult * width
        self.latents = nn.Parameter(torch.randn(sizes.num_latents, width))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Reading(width, sizes.heads, sizes.dim_head),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, inner, bias=False),
                        nn.GELU(),
                        nn.Linear(inner, width, bias=False),
                    ),
                ]
            )
            for _ in range(sizes.depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Float[Tensor, "batch tokens d"],
        there: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch latents d"]:
        """The latents of tokens, those alone that are there (None: all)."""
        latents = self.latents.expand(len(x), -1, -1)
        if there is None:
            there = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        mask = F.pad(there, (0, latents.shape[1]), value=True)[:, None, None]
        for layer in self.layers:
            reading, feed_forward = layer.children()
            latents = latents + reading(latents, x, mask)
            latents = latents + feed_forward(latents)
        return self.norm(latents)

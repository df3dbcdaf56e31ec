"""Co-DETR's ViT-L backbone (arXiv 2211.12860): EVA-02 (arXiv 2303.11331) in windows, as ViTDet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from r2t2.models.mova.layers import ChannelNorm, Rope, SwiGLU
from r2t2.models.mova.sam import EPS, Patchify, windowed


@dataclass(frozen=True)
class CoDetrShape:
    """Sizes; the defaults are the published ones.

    Parameters
    ----------
    image_size : that pictures are brought to.
    span : the position after the last token of a row, whatever the size: what it was trained at.
    every : each so many-th layer sees everything, the others their windows.
    out : tokens in a row of what comes out.
    """

    image_size: int = 1280
    patch_size: int = 16
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    window_size: int = 16
    span: int = 16
    every: int = 6
    output_channels: int = 256
    out: int = 37


class CoDetr(nn.Module):
    """Pictures -> a square of tokens."""

    def __init__(self, shape: CoDetrShape) -> None:
        super().__init__()
        self.shape = shape
        width, out = shape.hidden_size, shape.output_channels
        side = shape.image_size // shape.patch_size
        self.patch_embed = Patchify(shape.patch_size, width)
        # The first position is the class token's, which a backbone does without.
        self.pos_embed = nn.Parameter(torch.zeros(1, side**2 + 1, width))
        head = width // shape.num_attention_heads
        self.rope_win = Rope(shape.window_size, head, shape.span, kept=False)
        self.rope_glb = Rope(side, head, shape.span, kept=False)
        self.blocks = nn.ModuleList(
            Block(shape, 0 if layer % shape.every == shape.every - 1 else shape.window_size)
            for layer in range(shape.num_hidden_layers)
        )
        self.out_norm = nn.LayerNorm(width)
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, 1, bias=False),
            ChannelNorm(out, EPS),
            nn.GELU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            ChannelNorm(out, EPS),
        )

    def forward(
        self, pixels: Float[Tensor, "images 3 size size"]
    ) -> Float[Tensor, "images tokens channels"]:
        x = self.patch_embed(F.interpolate(pixels, (self.shape.image_size,) * 2))
        x = x + self.pos_embed[:, 1:].view(1, *x.shape[1:])
        for block in self.blocks:
            x = block(x, self.rope_win if block.window else self.rope_glb)
        x = self.neck(self.out_norm(x).movedim(-1, 1))
        exact = x if x.dtype == torch.float64 else x.float()
        made = F.interpolate(exact, (self.shape.out,) * 2, mode="bilinear").to(x.dtype)
        return made.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Attention, in windows unless `window` is 0, and a gated feed-forward layer."""

    def __init__(self, shape: CoDetrShape, window: int) -> None:
        super().__init__()
        width = shape.hidden_size
        self.window = window
        self.norm1 = nn.LayerNorm(width, EPS)
        self.attn = Attention(width, shape.num_attention_heads)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp = SwiGLU(width, 8 * width // 3, EPS)

    def forward(
        self, x: Float[Tensor, "images rows columns c"], rope: Rope
    ) -> Float[Tensor, "images rows columns c"]:
        x = x + windowed(lambda part: self.attn(part, rope), self.norm1(x), self.window)
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Attention with rotary positions; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "images rows columns c"], rope: Rope
    ) -> Float[Tensor, "images rows columns c"]:
        tokens = x.flatten(1, 2)
        q, k, v = (
            made.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for made in (
                self.q_proj(tokens) + self.q_bias,
                self.k_proj(tokens),
                self.v_proj(tokens) + self.v_bias,
            )
        )
        seen = F.scaled_dot_product_attention(rope(q), rope(k), v)
        return self.proj(seen.transpose(1, 2).flatten(2)).view_as(x)

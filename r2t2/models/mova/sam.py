"""The image encoder of Segment Anything as Vary has it (arXiv 2304.02643, 2312.06109).

A ViTDet: attention in windows but for a few layers that see everything, with relative positions in
rows and columns; then a neck of two convolutions, and Vary's own that halves the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from r2t2.models.mova.layers import ChannelNorm

EPS = 1e-6


@dataclass(frozen=True)
class SamShape:
    """Sizes; the defaults are SAM-base's with Vary's last convolution."""

    image_size: int = 1024
    patch_size: int = 16
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    mlp_ratio: int = 4
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    output_channels: int = 256
    halved_channels: int = 512

    @property
    def side(self) -> int:
        """Patches in a row."""
        return self.image_size // self.patch_size


class Sam(nn.Module):
    """Pictures -> a square of tokens half as wide as the square of patches."""

    def __init__(self, shape: SamShape) -> None:
        super().__init__()
        width, side, out = shape.hidden_size, shape.side, shape.output_channels
        self.patch_embed = Patchify(shape.patch_size, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, width))
        self.blocks = nn.ModuleList(
            Block(shape, 0 if layer in shape.global_attn_indexes else shape.window_size)
            for layer in range(shape.num_hidden_layers)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out, 1, bias=False),
            ChannelNorm(out, EPS),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            ChannelNorm(out, EPS),
        )
        self.net_2 = nn.Conv2d(out, shape.halved_channels, 3, stride=2, padding=1, bias=False)

    def forward(
        self, pixels: Float[Tensor, "images 3 size size"]
    ) -> Float[Tensor, "images tokens channels"]:
        x = self.patch_embed(pixels) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.net_2(self.neck(x.movedim(-1, 1))).flatten(2).transpose(1, 2)


class Patchify(nn.Module):
    """Patches as vectors."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, size, stride=size)

    def forward(
        self, pixels: Float[Tensor, "images 3 h w"]
    ) -> Float[Tensor, "images rows columns c"]:
        return self.proj(pixels).movedim(1, -1)


class Block(nn.Module):
    """Attention, in windows unless `window` is 0, and a feed-forward layer."""

    def __init__(self, shape: SamShape, window: int) -> None:
        super().__init__()
        width = shape.hidden_size
        self.window = window
        self.norm1 = nn.LayerNorm(width, EPS)
        self.attn = Attention(width, shape.num_attention_heads, window or shape.side)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp = FeedForward(width, width * shape.mlp_ratio)

    def forward(
        self, x: Float[Tensor, "images rows columns c"]
    ) -> Float[Tensor, "images rows columns c"]:
        x = x + windowed(self.attn, self.norm1(x), self.window)
        return x + self.mlp(self.norm2(x))


class FeedForward(nn.Module):
    """Two maps and a GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch c"]:
        return self.lin2(F.gelu(self.lin1(x)))


class Attention(nn.Module):
    """Attention in a square of tokens, with learnt relative positions of rows and of columns."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(
        self, x: Float[Tensor, "images rows columns c"]
    ) -> Float[Tensor, "images rows columns c"]:
        q, k, v = (
            self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        square = q.unflatten(2, (self.side, self.side))
        at = torch.arange(self.side, device=x.device)
        apart = at[:, None] - at + self.side - 1
        rows = torch.einsum("bnhwc,hkc->bnhwk", square, self.rel_pos_h[apart])
        columns = torch.einsum("bnhwc,wkc->bnhwk", square, self.rel_pos_w[apart])
        bias = (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(seen.transpose(1, 2).flatten(2).view_as(x))


def windowed(
    inner: Callable[[Tensor], Tensor], x: Float[Tensor, "images rows columns c"], window: int
) -> Float[Tensor, "images rows columns c"]:
    """A module applied to each window by itself; the last ones are filled up with zeros.

    Parameters
    ----------
    window : tokens in a window's row; 0 for one window of everything.
    """
    if not window:
        return inner(x)
    images, rows, columns, channels = x.shape
    x = F.pad(x, (0, 0, 0, -columns % window, 0, -rows % window))
    many = (x.shape[1] // window, x.shape[2] // window)
    parts = x.unflatten(2, (many[1], window)).unflatten(1, (many[0], window))
    made = inner(parts.transpose(2, 3).reshape(-1, window, window, channels))
    whole = made.view(images, *many, window, window, channels).transpose(2, 3)
    return whole.flatten(3, 4).flatten(1, 2)[:, :rows, :columns]

"""Layers that MoV-Adapter, SAM and Co-DETR's ViT have in common."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

BASE = 10000


class Rope(nn.Module):
    """Rotary positions in two dimensions, as EVA-02 (arXiv 2303.11331) has them.

    The first half of each head's dimensions turns with the row, the other with the column.
    Neighbouring dimensions are turned together, each pair by its own frequency.

    Parameters
    ----------
    side : tokens in a row and in a column.
    width : dimensions of a head.
    span : the position after the last token of a row; `side` if not given.
    kept : whether a checkpoint holds the angles.
    """

    freqs_cos: Tensor
    freqs_sin: Tensor

    def __init__(self, side: int, width: int, span: int | None = None, kept: bool = True) -> None:
        super().__init__()
        frequencies = BASE ** -(torch.arange(0, width // 2, 2) / (width // 2))
        positions = torch.arange(side) / side * (span or side)
        angles = torch.outer(positions, frequencies).repeat_interleave(2, -1)
        rows, columns = angles[:, None].expand(-1, side, -1), angles[None].expand(side, -1, -1)
        both = torch.cat([rows, columns], -1).flatten(0, 1)
        self.register_buffer("freqs_cos", both.cos(), persistent=kept)
        self.register_buffer("freqs_sin", both.sin(), persistent=kept)

    def forward(
        self, x: Float[Tensor, "*batch tokens width"]
    ) -> Float[Tensor, "*batch tokens width"]:
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([-odd, even], -1).flatten(-2)
        return (x * self.freqs_cos + turned * self.freqs_sin).to(x.dtype)


class SwiGLU(nn.Module):
    """A gated feed-forward layer with a norm inside."""

    def __init__(self, width: int, inner: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, inner)
        self.w2 = nn.Linear(width, inner)
        self.ffn_ln = nn.LayerNorm(inner, eps)
        self.w3 = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of pictures."""

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)

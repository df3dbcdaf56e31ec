"""Rotary positions in two dimensions, as EVA-02 has them: of MoV-Adapter and of Co-DETR's ViT."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

BASE = 10000


class Rope(nn.Module):
    """Turns the first half of each head's dimensions with the row, the other with the column.

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

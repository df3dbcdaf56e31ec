"""What routing weights from outside mean to gates that act per token: a shift of their logits."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# What a weight must at least be for its logarithm to be taken: an expert at 0 is as good as off.
FLOOR = 1e-6


def shift(
    r: Float[Tensor, "batch sites experts"],
    r0: Float[Tensor, "batch sites experts"],
    core: int,
) -> Float[Tensor, "batch sites experts"]:
    """log r - log r0 for the `core` experts that r0 gives most weight to, and 0 for the others.

    Where r equals r0 it is exactly 0.
    """
    moved = r.clamp_min(FLOOR).log() - r0.clamp_min(FLOOR).log()
    if core >= r0.shape[-1]:
        return moved
    kept = torch.zeros_like(r0, dtype=torch.bool)
    kept.scatter_(-1, r0.topk(core, -1).indices, True)
    return torch.where(kept, moved, 0.0)

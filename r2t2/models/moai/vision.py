"""The CLIP tower that looks at pictures and panoptic maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from r2t2.models.moai.config import Config, Vision

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Tower(nn.Module):
    """CLIP's last hidden state without the class token.

    The checkpoint's table of positions is the one already interpolated to 35 x 35.
    """

    def __init__(self, config: Vision) -> None:
        super().__init__()
        tower = CLIPVisionModel(CLIPVisionConfig(**asdict(config)))
        # Of no checkpoint, so not to be left on the meta device with the rest.
        positions = torch.arange(config.tokens + 1, device="cpu")[None]
        tower.embeddings.position_ids = nn.Buffer(positions, persistent=False)
        self.vision_tower = nn.ModuleDict({"vision_model": tower})

    def forward(
        self, pixels: Float[Tensor, "batch 3 side side"]
    ) -> Float[Tensor, "batch tokens width"]:
        return self.vision_tower["vision_model"](pixels).last_hidden_state[:, 1:]


def projector(config: Config) -> nn.Sequential:
    """From the tower's width to the language model's."""
    return nn.Sequential(
        nn.Linear(config.vision_config.hidden_size, config.hidden_size),
        nn.GELU(),
        nn.Linear(config.hidden_size, config.hidden_size),
    )


def pixels(images: Sequence[Image.Image], side: int) -> Float[Tensor, "batch 3 side side"]:
    """Pictures, squeezed into a square and normalised as CLIP's."""
    return _normalised(images, side, Image.Resampling.BILINEAR, 1 / 255)


def map_pixels(maps: Sequence[Image.Image], side: int) -> Float[Tensor, "batch 3 side side"]:
    """Panoptic maps as the public evaluation code gives them to the tower.

    There their colours lie between 0 and 1, yet are normalised as if between 0 and 255.
    """
    return _normalised(maps, side, Image.Resampling.NEAREST, 1 / 255**2)


def _normalised(
    images: Sequence[Image.Image], side: int, method: Image.Resampling, scale: float
) -> Float[Tensor, "batch 3 side side"]:
    squares = [image.convert("RGB").resize((side, side), method) for image in images]
    values = np.stack([np.asarray(square, np.float32) for square in squares]) * scale
    return torch.from_numpy(((values - MEAN) / STD).astype(np.float32)).movedim(-1, 1)

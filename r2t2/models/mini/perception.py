"""The embedded model's eyes: seven specialised experts and one weak general encoder.

Each looks at the 16 cells of a 64 x 64 thumbnail in its own way, was trained on one attribute
and says only what it believes of that attribute, as class posteriors written in a random code.
So each holds information that the others lack (`docs/mini.md` shows the probes).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn

from r2t2.data.scenes import COLOURS, GRID, SHAPES, SIZES, TEXTURES, WORDS, Scene

THUMBNAIL = 64
PATCH = THUMBNAIL // GRID
CELLS = GRID * GRID
CODE = 16
BASE_NOISE = 0.3


@dataclass(frozen=True)
class Sense:
    """What an encoder is trained to tell and how it sees the pixels.

    Parameters
    ----------
    view : "colour" (a 4 x 4 colour thumbnail of the cell), "grey" or "blurred grey".
    labels : the attributes it is trained on.
    hidden : width of its two hidden layers.
    steps : training steps.
    """

    view: str
    labels: tuple[str, ...]
    hidden: int = 160
    steps: int = 2000


# Every attribute's last class is "nothing of the kind here".
CLASSES = {
    "colour": len(COLOURS) + 1,
    "shape": len(SHAPES) + 2,
    "texture": len(TEXTURES) + 1,
    "size": len(SIZES) + 1,
    "text": len(WORDS) + 1,
    "object": 3,
}
SENSES = {
    "COLOUR": Sense("colour", ("colour",), hidden=64, steps=1200),
    "SHAPE": Sense("blurred grey", ("shape",), steps=3000),
    "TEXTURE": Sense("grey", ("texture",), steps=2000),
    "SIZE": Sense("grey", ("size",), steps=2000),
    "TEXT": Sense("grey", ("text",), steps=2000),
    "OBJECT": Sense("grey", ("object",), steps=1000),
}
BASE = Sense("noisy thumbnail", ("colour", "shape"), hidden=48, steps=1200)
EXPERTS = (*SENSES, "POSITION")


def thumbnails(images: Sequence[Image.Image]) -> UInt8[np.ndarray, "images 64 64 3"]:
    """Images of any size, reduced to what the model sees."""
    return np.stack(
        [
            np.asarray(image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
            for image in images
        ]
    )


def labels(scene: Scene) -> Int[np.ndarray, "16 attributes"]:
    """The class of every attribute in every cell, in the order of `CLASSES`."""
    table = np.tile([count - 1 for count in CLASSES.values()], (CELLS, 1))
    nothing = table[0].copy()
    for thing in scene.things:
        table[thing.cell] = (
            COLOURS.index(thing.colour),
            SHAPES.index(thing.shape),
            TEXTURES.index(thing.texture),
            SIZES.index(thing.size),
            nothing[4],
            0,
        )
    for sign in scene.signs:
        colour, word = COLOURS.index(sign.colour), WORDS.index(sign.word)
        table[sign.cell] = (colour, len(SHAPES), nothing[2], nothing[3], word, 1)
    return table


def patches(pixels: UInt8[np.ndarray, "images 64 64 3"]) -> Float[Tensor, "images 16 3 16 16"]:
    """The thumbnails' cells, row by row, in [0, 1]."""
    grid = torch.from_numpy(pixels).view(-1, GRID, PATCH, GRID, PATCH, 3)
    return grid.permute(0, 1, 3, 5, 2, 4).reshape(-1, CELLS, 3, PATCH, PATCH).float() / 255


def base_noise(pixels: UInt8[np.ndarray, "images 64 64 3"]) -> Float[Tensor, "images 16 48"]:
    """The noise on what the general encoder sees; a function of the image alone."""
    draws = [
        np.random.default_rng(zlib.crc32(image.tobytes())).standard_normal((CELLS, 48), np.float32)
        for image in pixels
    ]
    return torch.from_numpy(np.stack(draws)) * BASE_NOISE


class Encoder(nn.Module):
    """One sense: a view of a cell -> posteriors of its classes -> their code."""

    def __init__(self, sense: Sense) -> None:
        super().__init__()
        self.sense = sense
        inputs = 48 if sense.view in ("colour", "noisy thumbnail") else PATCH * PATCH
        width = sense.hidden
        self.body = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.heads = nn.ModuleList([nn.Linear(width, CLASSES[name]) for name in sense.labels])
        for i, name in enumerate(sense.labels):
            self.register_buffer(f"code{i}", torch.randn(CLASSES[name], CODE))

    def logits(
        self,
        x: Float[Tensor, "cells 3 16 16"],
        noise: Float[Tensor, "cells 48"] | None = None,
    ) -> list[Float[Tensor, "cells classes"]]:
        """What it believes of each of its attributes."""
        hidden = self.body(self._view(x, noise))
        return [head(hidden) for head in self.heads]

    def forward(
        self,
        x: Float[Tensor, "cells 3 16 16"],
        noise: Float[Tensor, "cells 48"] | None = None,
    ) -> Float[Tensor, "cells 16"]:
        """Its belief, in code."""
        beliefs = [F.softmax(logits, -1) for logits in self.logits(x, noise)]
        return sum(
            (b @ self.get_buffer(f"code{i}") for i, b in enumerate(beliefs)),
            start=x.new_zeros(()),
        )

    def _view(
        self, x: Float[Tensor, "cells 3 16 16"], noise: Float[Tensor, "cells 48"] | None
    ) -> Float[Tensor, "cells inputs"]:
        if self.sense.view in ("colour", "noisy thumbnail"):
            small = F.avg_pool2d(x, PATCH // 4).flatten(1)
            return (small if noise is None else small + noise) * 2 - 1
        # Brightness without colour, stretched so that light and paint do not matter.
        grey = x.amax(1)
        low = grey.amin((1, 2), keepdim=True)
        grey = (grey - low) / (grey.amax((1, 2), keepdim=True) - low + 0.05)
        if self.sense.view == "blurred grey":
            grey = F.avg_pool2d(grey[:, None], 3, 1, 1)[:, 0]
        return grey.flatten(1) * 2 - 1


class Perception(nn.Module):
    """All encoders together."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Encoder(BASE)
        self.encoders = nn.ModuleDict({name: Encoder(sense) for name, sense in SENSES.items()})
        row, column = torch.arange(CELLS) // GRID, torch.arange(CELLS) % GRID
        place = 0.3 * torch.randn(CELLS, CODE)
        place[:, 0], place[:, 1] = row - (GRID - 1) / 2, column - (GRID - 1) / 2
        self.register_buffer("place", place)

    def forward(
        self, x: Float[Tensor, "images 16 3 16 16"], noise: Float[Tensor, "images 16 48"]
    ) -> tuple[Float[Tensor, "images 16 16"], Float[Tensor, "images 16 experts 16"]]:
        """What the base stream and what each expert sees of every cell."""
        n, flat = len(x), x.flatten(0, 1)
        base = self.base(flat, noise.flatten(0, 1)).view(n, CELLS, CODE)
        seen = [encoder(flat).view(n, CELLS, CODE) for encoder in self.encoders.values()]
        seen.append(self.get_buffer("place").expand(n, CELLS, CODE))
        return base, torch.stack(seen, 2)

"""Pictures as the vision experts take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.pix2struct.image_processing_pil_pix2struct import (
    Pix2StructImageProcessorPil,
)

Colour = tuple[float, float, float]
CLIP_MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Colour = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
IMAGENET_STD: Colour = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class View:
    """Pictures of one size, their shorter side scaled to it and the rest cropped.

    Parameters
    ----------
    size : in pixels, of each side.
    mean, std : of each colour, between 0 and 1.
    pad : whether pictures are first made square, the mean colour around them.
    """

    size: int
    mean: Colour
    std: Colour
    pad: bool

    def __call__(self, images: Sequence[Image.Image]) -> Float[Tensor, "images 3 size size"]:
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": self.size},
            crop_size={"height": self.size, "width": self.size},
            image_mean=list(self.mean),
            image_std=list(self.std),
        )
        shown = [squared(image, self.mean) if self.pad else image for image in images]
        return processor(shown, return_tensors="pt")["pixel_values"]


@dataclass(frozen=True)
class Patches:
    """Pictures as a square of patches, each with its row and column, as Pix2Struct takes them.

    Parameters
    ----------
    side : patches in a row and in a column.
    pad : as for a `View`; a picture that is not square does not fill all patches.
    """

    side: int
    pad: bool

    def __call__(self, images: Sequence[Image.Image]) -> Float[Tensor, "images patches values"]:
        options: dict[str, Any] = {"max_patches": self.side**2}
        processor = Pix2StructImageProcessorPil(**options)
        shown = [squared(image, CLIP_MEAN) if self.pad else image for image in images]
        return processor(shown, return_tensors="pt")["flattened_patches"]


def squared(image: Image.Image, colour: Colour) -> Image.Image:
    """A picture in the middle of a square of a colour."""
    side = max(image.size)
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), tuple(int(255 * part) for part in colour))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def resized(
    pixels: Float[Tensor, "images 3 _ _"], size: int
) -> Float[Tensor, "images 3 size size"]:
    """Pixels at another size, bilinearly and without smoothing, as MoVA does it."""
    if pixels.shape[-1] == size:
        return pixels
    made = torch.nn.functional.interpolate(pixels.float(), (size, size), mode="bilinear")
    return made.to(pixels.dtype)

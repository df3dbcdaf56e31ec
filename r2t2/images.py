"""Pictures from outside, decoded under limits: bytes -> one upright RGB image."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 40_000_000
# A side of the perceptual hash, and the contrast below which there is nothing to tell apart.
_SIDE, _FLAT = 16, 2.0
_DAMAGED = "the picture is truncated or damaged: copy or download it again, or save it anew"


def decode(data: bytes) -> Image.Image:
    """A PNG, JPEG or WebP as an RGB image: EXIF turned, transparency laid on white.

    Raises
    ------
    ValueError : too many bytes or pixels, several frames, another format, or damaged; the
        message says what to do.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"the file has {len(data) / 2**20:.1f} MB; the limit is {MAX_BYTES // 2**20} MB: "
            "save the picture smaller"
        )
    try:
        # Only the header is read here; `formats` keeps a disguised file from any other decoder.
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        pixels, frames = image.width * image.height, _frames(image)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except Exception as error:  # Pillow raises many kinds for files that are not pictures
        if _begins_well(data):
            raise ValueError(_DAMAGED) from error
        raise ValueError(
            "the file is not a PNG, JPEG or WebP picture, whatever its name says: open it in a "
            "picture viewer and save it as PNG"
        ) from error
    if pixels > MAX_PIXELS:
        raise _too_large()
    if frames > 1:
        raise ValueError(f"the file is an animation of {frames} frames: save one of them as PNG")
    try:
        image.load()
        return _flatten(ImageOps.exif_transpose(image))
    except Exception as error:
        raise ValueError(_DAMAGED) from error


def picture_hash(image: Image.Image) -> str:
    """A perceptual hash, alike for alike pictures: 64 hexadecimal digits; "" for a plain colour."""
    import imagehash

    small = image.convert("L")
    small.thumbnail((512, 512))
    if np.asarray(small).std() < _FLAT:
        return ""  # of a plain colour, the hash would be that of every other one
    return str(imagehash.phash(small, hash_size=_SIDE))


def _begins_well(data: bytes) -> bool:
    return data.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff")) or data[8:12] == b"WEBP"


def _frames(image: Image.Image) -> int:
    # Some cameras put previews behind the picture in a JPEG; that is no animation.
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _too_large() -> ValueError:
    return ValueError(
        f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels: save it smaller"
    )


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow clips 16 bits to 8 instead of scaling them.
        grey = np.asarray(image, np.float32) / 257
        image = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white

"""What people upload is decoded, or refused with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from r2t2 import images
from r2t2.images import decode


def saved(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_give_rgb(format):
    image = decode(saved(Image.new("RGB", (8, 6), "red"), format))
    assert (image.mode, image.size) == ("RGB", (8, 6))


def test_a_picture_taken_sideways_is_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(Image.new("RGB", (8, 6)), "JPEG", exif=exif)).size == (6, 8)


def test_transparent_pixels_become_white():
    assert decode(saved(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))).getpixel((0, 0)) == (255,) * 3


def test_half_transparent_pixels_are_mixed_with_white():
    assert decode(saved(Image.new("LA", (2, 2), (0, 128)))).getpixel((0, 0)) == (127,) * 3


def test_a_palette_with_transparency_is_laid_on_white():
    image = Image.new("P", (2, 2), 0)
    image.putpalette([0, 0, 255])
    assert decode(saved(image, transparency=0)).getpixel((0, 0)) == (255,) * 3


def test_cmyk_becomes_rgb():
    red = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).getpixel((4, 4))
    assert red[0] > 200
    assert max(red[1:]) < 60


def test_sixteen_bits_are_scaled_and_not_clipped():
    grey = Image.fromarray(np.full((2, 2), 32896, np.uint16))
    assert decode(saved(grey)).getpixel((0, 0)) == (128,) * 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_png_becomes_rgb(mode):
    assert decode(saved(Image.new(mode, (4, 4)))).mode == "RGB"


def test_sixteen_bits_of_colour_are_scaled_too():
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0" + struct.pack(">HHH", 65535, 32896, 0))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel)
    assert decode(data + chunk(b"IEND", b"")).getpixel((0, 0)) == (255, 128, 0)


def test_an_alpha_channel_in_webp_is_laid_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert decode(saved(clear, "WEBP", lossless=True)).getpixel((4, 4)) == (255,) * 3


def test_a_cameras_previews_behind_a_jpeg_are_no_animation():
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    data = saved(red, "MPO", save_all=True, append_images=[blue])
    assert decode(data).getpixel((4, 4))[0] > 200


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0"])
def test_damaged_exif_does_not_spoil_a_picture(exif):
    assert decode(saved(Image.new("RGB", (8, 6)), "JPEG", exif=exif)).size == (8, 6)


def test_bytes_behind_a_picture_are_ignored():
    image = decode(saved(Image.new("RGB", (4, 4), "red")) + b"<script>alert(1)</script>")
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_an_animation_is_refused():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    animated = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="animation of 2 frames"):
        decode(animated)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_file_is_refused(format):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    data = saved(Image.fromarray(noise), format)
    with pytest.raises(ValueError, match="truncated or damaged"):
        decode(data[: len(data) // 2])
    with pytest.raises(ValueError, match="truncated or damaged"):
        decode(data[:16])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        saved(Image.new("RGB", (4, 4)), "GIF"),
        saved(Image.new("RGB", (4, 4)), "TIFF"),
        saved(Image.new("RGB", (4, 4)), "PDF"),
    ],
    ids=["empty", "svg", "gif", "tiff", "pdf"],
)
def test_other_formats_are_refused_whatever_their_name(data):
    with pytest.raises(ValueError, match="not a PNG, JPEG or WebP"):
        decode(data)


def test_too_many_bytes_are_refused_unread(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="the limit is"):
        decode(b"x" * 11)


@pytest.mark.parametrize("side", [7_000, 60_000], ids=["large", "bomb"])
def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_unpacked(side):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 99))
    with pytest.raises(ValueError, match="million pixels"):
        decode(bomb)

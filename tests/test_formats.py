"""All forms of the image formats against Pillow: its pixels, or a reason that names the format."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from conftest import encoded, picture
from rezoo.data import images
from rezoo.data.image_files import UnreadableImageError, decode_file, unreadable_reason

PHOTO, OTHER = picture(1, (37, 23)), picture(2, (37, 23))
GREY, FEW = PHOTO.convert("L"), PHOTO.quantize(32)
RANDOM = np.random.default_rng(0)
RAMP = Image.linear_gradient("L").resize(PHOTO.size)
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0"
# 16x12 pixels, coded arithmetically
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQ"
    "c1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSk"
    "pKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/yQARCAAMABADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIR"
    "AxEAPwDREK9hefyhZQndzsJfx5Fz8w9LlwX4VkdaBb5LXxcXXpYW6viHZaIg8Aa59wB6V8+6fYD/2Q=="
)


def with_alpha(alpha: Image.Image | int) -> Image.Image:
    image = PHOTO.copy()
    image.putalpha(alpha)
    return image


def cmyk(marker: bytes | None) -> bytes:
    """A JPEG of four inks, with Adobe's marker, without, or with another transform in it."""
    inks = np.asarray(PHOTO.convert("CMYK")).copy()
    inks[..., 3] = np.linspace(0, 255, 37)
    content = encoded(Image.fromarray(inks, "CMYK"), quality=95)
    start = content.index(b"\xff\xee")
    return content[:start] + (marker or b"") + content[start + 16 :]


def png(depth: int, kind: int, pixels: np.ndarray, *more: bytes, passes: bool = False) -> bytes:
    """A PNG of big-endian pixels `(H, W[, C])`, plain or in Adam7's seven passes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    parts = [pixels[a::c, b::d] for a, b, c, d in (*steps, (1, 0, 2, 1))] if passes else [pixels]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    size = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), depth, kind, 0, 0, passes)
    body = chunk(b"IHDR", size) + b"".join(more) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def gif(size: tuple[int, int], left: int, top: int, hidden: int | None = None) -> bytes:
    """A GIF of four colours whose first picture, 8x6, lies anywhere on its canvas."""
    colours = bytes((200, 30, 40, 10, 220, 60, 70, 80, 240, 250, 250, 5))
    control = b"" if hidden is None else b"!\xf9\x04" + bytes((1, 0, 0, hidden, 0))
    codes = [4, *(c for i in range(48) for c in ((4, i % 4) if i % 2 == 0 else (i // 5 % 4,))), 5]
    bits = sum(code << 3 * i for i, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    picture = struct.pack("<cHHHHB", b",", left, top, 8, 6, 0) + b"\2" + bytes([len(data)]) + data
    start = b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 1, 0) + colours
    return start + 2 * (control + picture + b"\0") + b";"


def bmp(
    bits: int, *, data: bytes = b"", packing: int = 0, down: bool = False, masks=(), head: int = 40
) -> bytes:
    """A bitmap of 37x23 pixels."""
    stride = (37 * bits + 31) // 32 * 4
    data = data or np.random.default_rng(bits).bytes(stride * 23)
    places = range(1 << bits if bits <= 8 else 0)
    table = b"".join(bytes((i, 255 - i, i * 7 % 256, 0)) for i in places)
    table = struct.pack(f"<{len(masks)}I", *masks) + table
    size = struct.pack("<IiiHHIIiiII", 40, 37, -23 if down else 23, 1, bits, packing, 0, 0, 0, 0, 0)
    if head == 12:
        size = struct.pack("<IHHHH", 12, 37, 23, 1, bits)
    start = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + len(size) + len(table))
    return start + size + table + data


RUNS_8 = b"".join(bytes((30, i * 9)) + b"\0\x05abcde\0" + b"\2\7\0\0" for i in range(23)) + b"\0\1"
RUNS_4 = b"".join(bytes((20, 0x4A, 0, 5, 18, 52, 80, 0, 12, i, 0, 0)) for i in range(23)) + b"\0\1"
SIXTEEN = np.random.default_rng(1).integers(0, 65536, (23, 37, 3)).astype(">u2")
ANIMATED = {"save_all": True, "append_images": [OTHER]}
EXIF = Image.Exif()
EXIF[0x0112] = 6

EQUAL = {
    "JPEG progressive": encoded(PHOTO, progressive=True),
    "JPEG grey": encoded(GREY),
    "JPEG RGB, transform 0": encoded(PHOTO, quality=95)[:2] + ADOBE + b"\0" + encoded(PHOTO)[2:],
    "JPEG RGB, named so": encoded(PHOTO, keep_rgb=True),
    "JPEG arithmetic": ARITHMETIC,
    "JPEG and more bytes": encoded(PHOTO) + b"more" * 99,
    "PNG palette": encoded(FEW, "PNG"),
    "PNG palette, tRNS": encoded(FEW, "PNG", transparency=3),
    "PNG palette of 16": encoded(PHOTO.quantize(16), "PNG", bits=4),
    "PNG RGB, tRNS": encoded(PHOTO, "PNG", transparency=PHOTO.getpixel((0, 0))),
    "PNG alpha 0": encoded(with_alpha(0), "PNG"),
    "PNG LA": encoded(with_alpha(RAMP).convert("LA"), "PNG"),
    "PNG 1 bit": encoded(PHOTO.convert("1"), "PNG"),
    "PNG 16 bits RGB": png(16, 2, SIXTEEN),
    "PNG 16 bits LA": png(16, 4, np.ascontiguousarray(SIXTEEN[..., :2])),
    "PNG interlaced": png(8, 2, np.asarray(PHOTO), passes=True),
    "PNG interlaced 16 bits": png(16, 2, SIXTEEN, passes=True),
    "PNG and more bytes": encoded(PHOTO, "PNG") + b"more" * 99,
    "APNG": encoded(PHOTO, "PNG", **ANIMATED),
    "APNG, other default": encoded(PHOTO, "PNG", default_image=True, **ANIMATED),
    "GIF": encoded(FEW, "GIF"),
    "GIF interlaced": encoded(FEW, "GIF", interlace=True),
    "GIF animated": encoded(FEW, "GIF", save_all=True, append_images=[OTHER.quantize(32)]),
    "GIF transparent": encoded(FEW, "GIF", transparency=5),
    "GIF hidden colour": gif((8, 6), 0, 0, hidden=2),
    "GIF on a part": gif((12, 10), 2, 3),
    "GIF on a part, hidden colour": gif((12, 10), 2, 3, hidden=1),
    "GIF beyond its canvas": gif((6, 4), 1, 1),
    "BMP 1 bit": bmp(1),
    "BMP 4 bits": bmp(4),
    "BMP 8 bits": bmp(8),
    "BMP 8 bits, top down": bmp(8, down=True),
    "BMP 16 bits": bmp(16),
    "BMP 565": bmp(16, packing=3, masks=(0xF800, 0x7E0, 0x1F)),
    "BMP 24 bits": bmp(24),
    "BMP 24 bits, top down": bmp(24, down=True),
    "BMP 24 bits, OS/2": bmp(24, head=12),
    "BMP 32 bits": bmp(32),
    "BMP 32 bits, masks": bmp(32, packing=3, masks=(0xFF0000, 0xFF00, 0xFF)),
    "BMP RLE8": bmp(8, packing=1, data=RUNS_8),
    "BMP RLE4": bmp(4, packing=2, data=RUNS_4),
    "WebP lossy": encoded(PHOTO, "WEBP"),
    "WebP lossless": encoded(PHOTO, "WEBP", lossless=True),
    "WebP alpha, lossy": encoded(with_alpha(RAMP), "WEBP", exact=True),
    "WebP alpha, lossless": encoded(with_alpha(RAMP), "WEBP", lossless=True, exact=True),
    "WebP alpha 0": encoded(with_alpha(0), "WEBP", lossless=True, exact=True),
    "WebP animated, lossy": encoded(PHOTO, "WEBP", **ANIMATED),
    "WebP animated, lossless": encoded(PHOTO, "WEBP", lossless=True, exif=EXIF, **ANIMATED),
    "WebP animated, alpha": encoded(with_alpha(RAMP), "WEBP", exact=True, **ANIMATED),
    "WebP and more bytes": encoded(PHOTO, "WEBP") + b"123",
    "TIFF": encoded(PHOTO, "TIFF"),
    "TIFF, deflate": encoded(PHOTO, "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, JPEG": encoded(PHOTO, "TIFF", compression="jpeg"),
    "TIFF grey": encoded(GREY, "TIFF"),
    "TIFF palette": encoded(FEW, "TIFF"),
    "TIFF 1 bit": encoded(PHOTO.convert("1"), "TIFF", compression="group4"),
    "TIFF alpha": encoded(with_alpha(RAMP), "TIFF"),
    "TIFF CMYK": encoded(PHOTO.convert("CMYK"), "TIFF"),
    "TIFF of two pages": encoded(PHOTO, "TIFF", **ANIMATED),
    "TIFF turned": encoded(PHOTO, "TIFF", exif=EXIF),
    "AVIF": encoded(PHOTO, "AVIF"),
    "AVIF alpha": encoded(with_alpha(RAMP), "AVIF"),
    "AVIF animated": encoded(PHOTO, "AVIF", **ANIMATED),
    "AVIF turned": encoded(PHOTO, "AVIF", exif=EXIF),
}


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def in_graph(content):
    return images.decode(content, 3)


def pillows(content: bytes) -> np.ndarray:
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    return np.asarray(upright.convert("RGB"))


@pytest.mark.parametrize("content", EQUAL.values(), ids=list(EQUAL))
def test_pixels_are_those_of_pillow(content):
    for decoded in (in_graph(content), images.decode(content, 3)):
        np.testing.assert_array_equal(decoded.numpy(), pillows(content))
    grey = images.decode(content, 1).numpy()
    assert grey.shape == (*pillows(content).shape[:2], 1)
    stored = Image.open(io.BytesIO(content))
    stored.draft("L", stored.size)  # the grey levels of a JPEG: RGB may be clipped
    luma = np.asarray(ImageOps.exif_transpose(stored).convert("RGB").convert("L"), int)
    assert np.abs(grey[..., 0] - luma).max() <= 3


@pytest.mark.parametrize("marker", [None, ADOBE + b"\0", ADOBE + b"\2"], ids=["none", "0", "YCCK"])
def test_four_inks_are_adobes(marker):
    content = cmyk(marker)
    np.testing.assert_array_equal(in_graph(content), pillows(content))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, big-endian"])
def test_sixteen_bits_of_grey_are_scaled(kind):
    """Pillow's conversion to RGB clips them at 255."""
    content = png(16, 0, np.ascontiguousarray(SIXTEEN[..., 0]))
    if kind.startswith("TIFF"):
        levels = SIXTEEN[..., 0].astype(">u2" if kind.endswith("big-endian") else "<u2")
        content = encoded(Image.fromarray(levels), "TIFF")
    np.testing.assert_array_equal(in_graph(content).numpy()[..., 1], SIXTEEN[..., 0] >> 8)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_have_no_range(mode):
    content = encoded(GREY.convert(mode), "TIFF")
    assert unreadable_reason(content) == "32 bits per channel: convert it to 8 or 16 bits"
    with pytest.raises(tf.errors.InvalidArgumentError, match="convert it to 8 or 16 bits"):
        in_graph(content)


def test_the_first_picture_of_a_webp_on_a_part_of_its_canvas():
    content = bytearray(encoded(PHOTO, "WEBP", lossless=True, **ANIMATED))
    start = content.index(b"VP8X") + 12
    content[start : start + 6] = (59).to_bytes(3, "little") + (39).to_bytes(3, "little")
    frame = content.index(b"ANMF") + 8
    content[frame : frame + 6] = (5).to_bytes(3, "little") + (4).to_bytes(3, "little")
    decoded = in_graph(bytes(content)).numpy()
    np.testing.assert_array_equal(decoded, pillows(bytes(content)))
    assert decoded.shape == (40, 60, 3)


def bad_crc(name: bytes) -> bytes:
    content = bytearray(encoded(PHOTO, "PNG"))
    content[content.index(name) + 4 + (0 if name == b"IEND" else 5)] ^= 1
    return bytes(content)


DAMAGED = {
    "JPEG cut": encoded(PHOTO)[:-20],
    "JPEG cut in half": encoded(PHOTO)[:500],
    "PNG cut": encoded(PHOTO, "PNG")[:900],
    "PNG without its end": encoded(PHOTO, "PNG")[:-12],
    "PNG, bad pixels": bad_crc(b"IDAT"),
    "PNG, bad header": bad_crc(b"IHDR"),
    "PNG, bad end": bad_crc(b"IEND"),
    "GIF cut": encoded(FEW, "GIF")[:500],
    "BMP cut": bmp(24)[:900],
    "BMP 8 bits, cut": bmp(8)[:-30],
    "WebP cut": encoded(PHOTO, "WEBP")[:-20],
    "WebP animated, cut": encoded(PHOTO, "WEBP", **ANIMATED)[:-20],
    "TIFF cut": encoded(PHOTO, "TIFF", compression="tiff_adobe_deflate")[:900],
    "AVIF cut": encoded(PHOTO, "AVIF")[:-200],
    "before a JPEG": b"\0\0" + encoded(PHOTO),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_damaged_files_are_refused(content):
    for decode in (in_graph, lambda content: images.decode(content, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(content)


@pytest.mark.parametrize("content", [*EQUAL.values(), *DAMAGED.values()], ids=[*EQUAL, *DAMAGED])
def test_whatever_is_cut_off_nothing_breaks(content):
    for end in range(0, min(len(content), 2000), 97):
        with contextlib.suppress(UnreadableImageError):
            decode_file(content[:end], 3)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (encoded(PHOTO, "PPM"), "a PNM image: convert it to JPEG or PNG"),
        (encoded(PHOTO, "ICO"), "a Windows icon: convert it to JPEG or PNG"),
        (encoded(PHOTO, "DDS"), "a DDS texture: convert it to JPEG or PNG"),
        (b"\0\0\0\x20ftypheic", "an HEIC image: convert it to JPEG or PNG"),
        (b"\0\0\0\x20ftypisom", "a video: export its frames as JPEG or PNG"),
        (b"\xff\x0a\xfa", "a JPEG XL image: convert it to JPEG or PNG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image: convert it to JPEG or PNG"),
        (b"<!DOCTYPE html><html>", "a web page: it was saved in place of the image"),
        (b"<?xml version='1.0'?>\n<svg>", "an SVG drawing: convert it to PNG"),
        (b"PK\3\4", "an archive: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: `git lfs pull`"),
        (ARITHMETIC.replace(b"\xff\xc9", b"\xff\xc3"), "a lossless JPEG: convert it to PNG"),
        (encoded(PHOTO).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "a JPEG of 12 bits"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_other_formats_are_named(content, name):
    assert unreadable_reason(content).startswith(name)
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(content)


def test_d3_pictures_larger_than_their_canvas():
    """A header of 8x6 pixels does not bring in a picture of four gigabytes."""
    content = gif((8, 6), 0, 0).replace(
        struct.pack("<HHHH", 0, 0, 8, 6), struct.pack("<HHHH", 0, 0, 65535, 65535)
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="megapixels; at most 67 are decoded"):
        in_graph(content)

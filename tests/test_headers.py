"""Headers of image files against Pillow's reading, orientation, and bombs."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from conftest import encoded, picture
from rezoo.data import images
from rezoo.data.headers import MAX_PIXELS, Header, read_header


def with_exif(orientation: int, kind: str, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(1, (37, 23)), kind, exif=exif, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"lossless": False}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (37, 23), (300, 2)])
def test_sizes_are_those_of_pillow(kind, options, size):
    content = encoded(picture(1, size), kind, **options)
    assert read_header(content) == Header(kind.lower(), *size)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
def test_exif_orientation_is_applied_as_pillow_does(kind, options, orientation):
    content = with_exif(orientation, kind, **options)
    assert read_header(content).orientation == orientation
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(images.decode(content, 3).numpy(), np.asarray(wanted))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", [0, 9, 6])
def test_orientations_that_are_none_are_ignored(order, value):
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    exif = head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
    content = encoded(picture(1), "JPEG", exif=b"Exif\0\0" + exif)
    assert read_header(content).orientation == (6 if value == 6 else 1)


def test_cut_headers_are_no_headers():
    """Whatever is cut off, the answer is a header or None."""
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        content = (
            with_exif(6, kind) if kind in ("JPEG", "PNG", "WEBP") else encoded(picture(1), kind)
        )
        for end in range(min(len(content), 200)):
            assert read_header(content[:end]) is None or end >= 10
    assert read_header(b"") is None
    assert read_header(b"GIF8" + b"\xff" * 3) is None
    random = np.random.default_rng(0)
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF"):
        for _ in range(300):
            read_header(magic + random.bytes(120))  # anything but a crash


def png_bomb(width: int, height: int) -> bytes:
    """A small PNG that claims many pixels."""

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(b"\0" * (1 + width)) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_d3_bombs_are_refused_before_they_are_decoded():
    bomb = png_bomb(9000, 9000)
    assert len(bomb) < 200_000
    assert read_header(bomb).pixels > MAX_PIXELS
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 67108864 pixels"):
        images.decode(bomb, 3)


def test_d3_a_bomb_in_a_folder_is_named(photographs, call):
    folder = photographs({"cat": 60, "dog": 60})
    (folder / "cat" / "bomb.png").write_bytes(png_bomb(9000, 9000))
    answer = call(
        *("train", "test_resnet", "--dataset", f"folder:{folder}", "--epochs", "1"),
        *("--image-size", "16", "--output", folder.parent / "run"),
    )
    assert answer.rc == 0, answer
    assert "bomb.png" in answer.err
    assert "9000x9000 are 81 megapixels; at most 67 are decoded" in answer.err

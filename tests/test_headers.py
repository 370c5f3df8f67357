"""What is known of an image file before it is decoded: orientation, and bombs."""

from __future__ import annotations

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
from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.data.image_files import MAX_PIXELS, UnreadableImageError, decode_file, open_image
from rezoo.errors import DataWarning


def with_exif(orientation: int, kind: str, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(1, (37, 23)), kind, exif=exif, **options)


@tf.function(input_signature=[tf.TensorSpec((), tf.string)])
def in_graph(content):
    return images.decode(content, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {})],
)
def test_exif_orientation_is_applied_as_pillow_does(kind, options, orientation):
    content = with_exif(orientation, kind, **options)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert wanted.shape[:2] == ((37, 23) if orientation >= 5 else (23, 37))
    np.testing.assert_array_equal(in_graph(content), wanted)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", [0, 9, 6])
def test_orientations_that_do_not_exist_are_ignored(order, value):
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    exif = head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
    content = encoded(picture(1, (37, 23)), "JPEG", exif=b"Exif\0\0" + exif)
    assert in_graph(content).shape == ((37, 23, 3) if value == 6 else (23, 37, 3))


def test_orientation_at_the_end_of_a_png():
    """The chunk eXIf may follow the pixels."""
    content = with_exif(6, "PNG")
    start = content.index(b"eXIf") - 4
    length = 12 + struct.unpack(">I", content[start : start + 4])[0]
    chunk, rest = content[start : start + length], content[:start] + content[start + length :]
    moved = rest[:-12] + chunk + rest[-12:]
    np.testing.assert_array_equal(in_graph(moved), in_graph(content))


def test_cut_headers_raise_one_kind_of_error():
    random = np.random.default_rng(0)
    contents = [
        encoded(picture(1), kind)[:end]
        for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
        for end in range(0, 200, 3)
    ]
    magics = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF", b"II*\0")
    contents += [magic + random.bytes(120) for magic in magics for _ in range(100)]
    for content in contents:
        with contextlib.suppress(UnreadableImageError):
            open_image(content)
            decode_file(content, 3)


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
    assert MAX_PIXELS < 81_000_000
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 67 are decoded"):
        in_graph(bomb)


def test_d3_bombs_that_pillow_refuses_itself():
    content = bytearray(png_bomb(16, 16))
    content[16:24] = struct.pack(">II", 65_000, 65_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(UnreadableImageError, match="4225 megapixels; at most 67 are decoded"):
        decode_file(bytes(content), 3)


def test_d3_a_bomb_in_a_folder_is_named(photographs):
    folder = photographs({"cat": 6, "dog": 6})
    (folder / "cat" / "bomb.png").write_bytes(png_bomb(9000, 9000))
    reason = "bomb.png': 9000x9000 are 81 megapixels; at most 67 are decoded"
    with pytest.warns(DataWarning, match=reason):
        load_dataset(f"folder:{folder}", DataOptions(bad_limit=0.5))

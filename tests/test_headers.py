"""What is known of an image file before it is decoded: orientation, and bombs."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from conftest import encoded, picture
from rezoo.data import image_files, images, transforms
from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.data.image_files import MAX_PIXELS, UnreadableImageError, decode_file, open_image
from rezoo.errors import DataWarning
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing


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


def tiff_of_one_tile(side: int) -> bytes:
    """A TIFF of 16x16 pixels in one tile of many."""
    pixels = zlib.compress(bytes(768))
    tags = [(256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, side), (323, 4, side), (324, 4, 8), (325, 4, len(pixels))]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = struct.pack("<4sI", b"II*\0", 8 + len(pixels))
    return start + pixels + struct.pack("<H", len(tags)) + table + bytes(4)


def test_d3_tiles_that_are_larger_than_their_image():
    """The decoder of TIFF takes memory for a whole tile: 1 GB for these 158 bytes."""
    with pytest.raises(UnreadableImageError, match="a tile has 1074 megapixels; at most 17 are"):
        open_image(tiff_of_one_tile(32768))
    assert decode_file(tiff_of_one_tile(16), 1).shape == (16, 16, 1)


def test_d3_webp_takes_four_copies():
    """A WebP of 34 bytes may claim 67 megapixels, for which Pillow takes 1 GB."""
    content = encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True)
    at = content.index(b"VP8L") + 9
    sides = (
        (8191 - 1) | (8191 - 1) << 14 | int.from_bytes(content[at : at + 4], "little") >> 28 << 28
    )
    large = content[:at] + sides.to_bytes(4, "little") + content[at + 4 :]
    with pytest.raises(UnreadableImageError, match="8191x8191 are 67 megapixels; at most 34 are"):
        open_image(large)


def rle_bomb(side: int) -> bytes:
    """A BMP whose pixels are all skipped."""
    body = b"\0\2\xff\xff" * (side // 255 + 1) + b"\0\1"
    start = struct.pack("<2sIHHI", b"BM", 1078 + len(body), 0, 0, 1078)
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 0, 0)
    return start + header + bytes(1024) + body


_DECODE = """
import resource, sys
from rezoo.data.image_files import decode_file
content = open(sys.argv[1], "rb").read()
from PIL import Image; Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode_file(content, 3)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("RLE", 130),
        pytest.param("PNG", 130, marks=pytest.mark.ci),
        pytest.param("GIF", 130, marks=pytest.mark.ci),
        pytest.param("TIFF", 130, marks=pytest.mark.ci),
        pytest.param("AVIF", 220, marks=pytest.mark.ci),
        pytest.param("WEBP", 320, marks=pytest.mark.ci),
    ],
)
def test_d3_memory_for_16_megapixels_from_few_bytes(tmp_path, kind, most):
    """50 MB are the pixels themselves; conversion in one piece took 180 MB, WebP 350."""
    image = Image.new("1" if kind in ("PNG", "TIFF") else "L", (4096, 4096))
    options = {"TIFF": {"compression": "group4"}, "WEBP": {"lossless": True, "method": 0}}
    options["AVIF"] = {"quality": 1, "speed": 10}
    image = image.convert("RGB") if kind in ("WEBP", "AVIF") else image
    content = rle_bomb(4096) if kind == "RLE" else encoded(image, kind, **options.get(kind, {}))
    (tmp_path / "bomb").write_bytes(content)
    command = [sys.executable, "-c", _DECODE, str(tmp_path / "bomb")]
    taken = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(taken.stdout) < most


@pytest.mark.parametrize("orientation", [1, *range(2, 9)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_bands_give_the_pixels_of_the_whole(monkeypatch, mode, orientation):
    monkeypatch.setattr(image_files, "_BAND_PIXELS", 37 * 5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(1, (37, 23)).convert(mode), "JPEG", exif=exif)
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    for channels, into in ((3, "RGB"), (1, "L")):
        wanted = np.asarray(whole.convert(into)).reshape(whole.height, whole.width, channels)
        found = decode_file(content, channels)
        if mode == "RGB" and channels == 1:  # the grey levels that the file stores
            assert np.abs(found.astype(int) - wanted).max() <= 3
        else:
            np.testing.assert_array_equal(found, wanted)


def test_cmyk_jpeg_for_a_network_of_grey_images():
    image = picture(1).convert("CMYK")
    content = encoded(image, "JPEG")
    wanted = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    np.testing.assert_array_equal(images.decode(content, 1)[..., 0], wanted)
    assert wanted.std() > 10


@pytest.mark.ci
def test_cmyk_jpeg_in_training_of_grey_images():
    content = encoded(picture(1).convert("CMYK"), "JPEG")
    grey = Preprocessing(input_size=(1, 16, 16), mean=(0.0,), std=(1.0,))
    recipe = Recipe(name="test", epochs=1, batch_size=1)
    transform = transforms.train_transform(grey, recipe, encoded=True)
    result = tf.function(transform)(tf.constant(content), tf.constant([1, 2], tf.int64))
    assert 25 < result.numpy().mean() < 230

"""Reading a part of an image file: the same pixels as those of the whole."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from PIL import Image

from rezoo.data import crops, images, transforms
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

WHOLE = Recipe(name="test", crop_scale=(1.0, 1.0), crop_ratio=(0.01, 100.0), flip=0.0)


def photograph(size: tuple[int, int], **options) -> bytes:
    """A real photograph, resized and encoded anew."""
    image = Image.fromarray(sklearn.datasets.load_sample_image("china.jpg")).resize(size)
    stream = io.BytesIO()
    image.convert(options.pop("mode", "RGB")).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "options",
    [{"subsampling": s} for s in (0, 1, 2)] + [{"progressive": True}, {"mode": "L"}],
    ids=str,
)
def test_parts_are_those_of_the_whole(options, channels):
    content = photograph((201, 163), **options)
    whole = tf.io.decode_jpeg(content, channels=channels, dct_method="INTEGER_ACCURATE").numpy()
    random = np.random.default_rng(0)
    for _ in range(12):
        height, width = random.integers(1, (164, 202))
        top, left = random.integers(0, (164 - height, 202 - width))
        part = crops.decode_part(
            content,
            channels,
            tf.constant([163, 201]),
            tf.constant([top, left], tf.int32),
            tf.constant([height, width], tf.int32),
        )
        wanted = whole[top : top + height, left : left + width]
        np.testing.assert_array_equal(part.numpy(), wanted)


def test_large_parts_are_averaged():
    """A part of five times the wanted size is decoded at a quarter, about a mean of 4x4 pixels."""
    content = photograph((1000, 800), quality=95)
    part = crops.read_crop(content, 3, WHOLE, (160, 160), tf.constant([1, 2], tf.int64)).numpy()
    assert part.shape == (200, 250, 3)
    whole = np.asarray(Image.open(io.BytesIO(content)), np.float32)
    means = whole.reshape(200, 4, 250, 4, 3).mean((1, 3))
    assert np.abs(part - means).mean() < 1.0


def test_small_images_and_other_kinds_are_decoded_whole():
    seed = tf.constant([1, 2], tf.int64)
    for content in (photograph((250, 250)), _as_png(photograph((500, 400)))):
        part = crops.read_crop(content, 3, WHOLE, (50, 50), seed).numpy()
        np.testing.assert_array_equal(part, images.decode(content, 3).numpy())


def _as_png(content: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(content)).save(stream, "PNG")
    return stream.getvalue()


def test_turned_photographs_are_turned_first():
    image = Image.open(io.BytesIO(photograph((400, 300))))
    exif = image.getexif()
    exif[274] = 6
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    part = crops.read_crop(stream.getvalue(), 3, WHOLE, (200, 200), tf.constant([1, 2], tf.int64))
    assert part.shape == (400, 300, 3)


def test_too_many_pixels_are_refused():
    """The frame header claims 9000x9000 pixels."""
    content = bytearray(photograph((300, 300)))
    frame = content.index(b"\xff\xc0") + 5
    content[frame : frame + 4] = (9000).to_bytes(2, "big") * 2
    content = bytes(content)
    assert not images.plain_jpeg(content)[0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="9000x9000 are 81 megapixels"):
        crops.read_crop(content, 3, WHOLE, (50, 50), tf.constant([1, 2], tf.int64))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_training_pixels_are_near_those_of_pillow(interpolation):
    """One part of a photograph, shrunk 1.7 times: antialiasing is a matter of a few levels."""
    content = photograph((640, 427), quality=95)
    pre = Preprocessing(
        input_size=(3, 224, 224), interpolation=interpolation, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    recipe = dataclasses.replace(WHOLE, crop_scale=(0.5, 0.5), crop_ratio=(1.0, 1.0))
    seed = tf.constant([3, 4], tf.int64)
    ours = transforms.train_transform(pre, recipe, encoded=True)(content, seed).numpy().astype(int)
    start, sides = crops.random_crop(tf.constant([427, 640]), recipe, seed)
    (top, left), (height, width) = start.numpy().tolist(), sides.numpy().tolist()
    kind = Image.Resampling[interpolation.upper()]
    image = Image.open(io.BytesIO(content)).crop((left, top, left + width, top + height))
    wanted = np.asarray(image.resize((224, 224), kind), np.float32)
    assert np.abs(ours - wanted).mean() < 5


def test_padded_crop_moves_the_image_and_fills_with_the_mean():
    """Every move from -2 to 2 occurs in both directions; what comes in is the mean."""
    pre = Preprocessing(input_size=(3, 8, 8), crop_pct=1.0, mean=(0.5, 0.25, 0.125))
    recipe = dataclasses.replace(WHOLE, crop_padding=2)
    transform = transforms.train_transform(pre, recipe, encoded=False)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    mean = np.array([128, 64, 32])  # 127.5, 63.75 and 31.875
    padded = np.pad(image - mean, ((2, 2), (2, 2), (0, 0))) + mean
    moves = set()
    for number in range(150):
        found = transform(tf.constant(image), tf.constant([3, number], tf.int64)).numpy()
        fits = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(found, padded[top : top + 8, left : left + 8])
        ]
        assert len(fits) == 1
        moves.update(fits)
    assert len(moves) == 25


def test_padded_crop_of_files_is_that_of_their_pixels():
    content = photograph((40, 32), quality=95)
    pixels = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
    pre, recipe = Preprocessing(input_size=(3, 32, 32)), dataclasses.replace(WHOLE, crop_padding=4)
    seed = tf.constant([5, 6], tf.int64)
    from_file, from_pixels = (
        transforms.train_transform(pre, recipe, encoded=kind)(data, seed).numpy()
        for kind, data in ((True, tf.constant(content)), (False, pixels))
    )
    np.testing.assert_array_equal(from_file, from_pixels)

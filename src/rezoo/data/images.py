"""From the bytes of an image file to the input of a network, as TensorFlow graphs.

Images are `(H, W, C)`, C = 1 or 3 (RGB). The test transform is the one that published
accuracies assume: antialiased resize of the shorter side, centre crop, normalization. The
training transform draws everything from a seed, so one example is a pure function of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import headers
from rezoo.data.draws import Stream, uniform
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

_CROP_TRIES = 10
_LONGEST = 16  # times the shorter side
# EXIF data come first in a JPEG, behind at most a few short segments.
_EXIF_WITHIN = 4096
_EXIF = r"\C*Exif\x00\x00\C*"  # \C is any byte

Transform = Callable[[Any], Any]
RandomTransform = Callable[[Any, Any], Any]


def decode(contents: Any, channels: int) -> Any:
    """Decode JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `(H, W, channels)`, upright.

    JPEG goes through the accurate DCT, which gives Pillow's pixels to the bit; the default
    one differs by 1.2 grey levels on average. EXIF orientation is applied. 16 bits a channel
    are scaled to 8, transparency is dropped.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no whole image of these kinds, or the
            header claims more than `headers.MAX_PIXELS` pixels.
    """

    def jpeg() -> Any:
        return tf.io.decode_jpeg(contents, channels=channels, dct_method="INTEGER_ACCURATE")

    def other() -> Any:
        # GIF and BMP know no grey: decode colour and reduce.
        image = tf.io.decode_image(contents, channels=3, expand_animations=False)
        image.set_shape((None, None, 3))
        return tf.image.rgb_to_grayscale(image) if channels == 1 else image

    is_jpeg = tf.io.is_jpeg(contents)
    pixels, orientation = _look(contents, is_jpeg)
    bound = tf.debugging.assert_less_equal(
        pixels, np.int64(headers.MAX_PIXELS), message=f"more than {headers.MAX_PIXELS} pixels"
    )
    with tf.control_dependencies([bound] if bound is not None else []):
        image = tf.cond(is_jpeg, jpeg, other)
    image = tf.cond(orientation == 1, lambda: image, lambda: _upright(image, orientation))
    image.set_shape((None, None, channels))
    return image


def _look(contents: Any, is_jpeg: Any) -> tuple[Any, Any]:
    """Return pixels and orientation of an image file; 0 and 1 where its header does not tell.

    Going through Python costs a quarter of the time of a decode, so that a JPEG without EXIF
    data, which most are, is looked at by TensorFlow alone.
    """

    def by_python() -> Any:
        return tf.ensure_shape(tf.numpy_function(_read, [contents], tf.int64), (2,))

    def by_tensorflow() -> Any:
        shape = tf.cast(tf.image.extract_jpeg_shape(contents), tf.int64)
        return tf.stack([shape[0] * shape[1], 1])

    start = tf.strings.substr(contents, 0, _EXIF_WITHIN)
    plain = is_jpeg & ~tf.strings.regex_full_match(start, _EXIF)
    looked = tf.cond(plain, by_tensorflow, by_python)
    return looked[0], looked[1]


def _read(contents: Any) -> np.ndarray:
    # bytes in a graph, an array of them where operations run at once
    content = contents.item() if isinstance(contents, np.ndarray) else contents
    header = headers.read_header(content)
    found = (header.pixels, header.orientation) if header else (0, 1)
    return np.array(found, np.int64)


def _upright(image: Any, orientation: Any) -> Any:
    """Undo an EXIF orientation of 2 to 8 (Exif 2.32, table 4: where row 0 and column 0 lie)."""

    def flipped(x: Any, *axes: int) -> Any:
        return tf.reverse(x, axes)

    turned = tf.transpose(image, (1, 0, 2))
    return tf.switch_case(
        tf.cast(orientation - 2, tf.int32),
        [
            lambda: flipped(image, 1),
            lambda: flipped(image, 0, 1),
            lambda: flipped(image, 0),
            lambda: turned,
            lambda: flipped(turned, 1),
            lambda: flipped(turned, 0, 1),
            lambda: flipped(turned, 0),
        ],
    )


def test_transform(preprocessing: Preprocessing, *, encoded: bool) -> Transform:
    """Return the deterministic transform: an image to float32 `(height, width, channels)`.

    Args:
        preprocessing: Geometry and normalization.
        encoded: Whether the transform takes the bytes of a file or uint8 `(H, W, C)`.
    """

    def transform(image: Any) -> Any:
        image = _not_too_thin(_pixels(image, preprocessing.channels, encoded))
        image = _resize_shorter_side(image, preprocessing)
        return _normalize(_centre_crop(image, preprocessing.size), preprocessing)

    return transform


def train_transform(
    preprocessing: Preprocessing, recipe: Recipe, *, encoded: bool
) -> RandomTransform:
    """Return the augmenting transform: `(image, seed)` to float32 `(height, width, channels)`.

    A random-resized crop (Szegedy et al. 2014, arXiv:1409.4842, section 6) and a mirror
    image with probability `recipe.flip`. `seed` is int64 `(2,)`: one example in one epoch.
    """

    def transform(image: Any, seed: Any) -> Any:
        image = _pixels(image, preprocessing.channels, encoded)
        top, left, height, width = _random_crop(tf.shape(image)[:2], recipe, seed)
        image = tf.image.crop_to_bounding_box(image, top, left, height, width)
        image = _resize(image, preprocessing.size, preprocessing.interpolation)
        mirror = uniform(seed, Stream.FLIP, ()) < recipe.flip
        image = tf.cond(mirror, lambda: tf.reverse(image, [1]), lambda: image)
        return _normalize(image, preprocessing)

    return transform


def _pixels(image: Any, channels: int, encoded: bool) -> Any:
    if encoded:
        return decode(image, channels)
    if image.shape[-1] == channels:
        return image
    return tf.image.rgb_to_grayscale(image) if channels == 1 else tf.image.grayscale_to_rgb(image)


def _not_too_thin(image: Any) -> Any:
    """Keep the centre of an image that is over sixteen times as long as wide.

    The crop that follows takes at most a square from there; resizing all of a 1x3000 image
    would take gigabytes.
    """
    sides = tf.shape(image)[:2]
    kept = tf.minimum(sides, _LONGEST * tf.reduce_min(sides))
    start = (sides - kept) // 2
    return tf.image.crop_to_bounding_box(image, start[0], start[1], kept[0], kept[1])


def _resize_shorter_side(image: Any, preprocessing: Preprocessing) -> Any:
    """Resize so that the crop is `crop_pct` of the image, keeping the aspect ratio.

    For square crops this is torchvision's and timm's geometry: the shorter side becomes
    floor(size / crop_pct), the longer one is rounded down.
    """
    height, width = preprocessing.size
    sides = tf.shape(image)[:2]
    target = tf.constant(
        [int(height / preprocessing.crop_pct), int(width / preprocessing.crop_pct)], tf.int32
    )
    # whichever side is the tighter fit decides the scale; integers, so nothing is off by one
    rows_decide = sides[0] * target[1] <= sides[1] * target[0]
    size = tf.cond(
        rows_decide,
        lambda: tf.stack([target[0], sides[1] * target[0] // sides[0]]),
        lambda: tf.stack([sides[0] * target[1] // sides[1], target[1]]),
    )
    return _resize(image, size, preprocessing.interpolation)


def _resize(image: Any, size: Any, interpolation: str) -> Any:
    """Resize with antialiasing to whole grey levels 0..255 (as float32), as Pillow stores them."""
    image = tf.image.resize(image, size, method=interpolation, antialias=True)
    return tf.clip_by_value(tf.round(image), 0.0, 255.0)


def _centre_crop(image: Any, size: tuple[int, int]) -> Any:
    room = tf.shape(image)[:2] - tf.constant(size, tf.int32)
    # round half to even, as torchvision's and timm's int(round(x / 2.0)) does
    start = tf.cast(tf.round(tf.cast(room, tf.float32) / 2.0), tf.int32)
    return tf.image.crop_to_bounding_box(image, start[0], start[1], size[0], size[1])


def _normalize(image: Any, preprocessing: Preprocessing) -> Any:
    image = tf.cast(image, tf.float32) / 255.0
    image = (image - tf.constant(preprocessing.mean)) / tf.constant(preprocessing.std)
    image.set_shape((*preprocessing.size, preprocessing.channels))
    return image


def _random_crop(sides: Any, recipe: Recipe, seed: Any) -> tuple[Any, Any, Any, Any]:
    """Draw `(top, left, height, width)`: the first of ten tries that fits, else the centre."""
    rows, columns = tf.cast(sides[0], tf.float32), tf.cast(sides[1], tf.float32)
    low, high = recipe.crop_scale
    area = rows * columns * uniform(seed, Stream.CROP_AREA, (_CROP_TRIES,), low, high)
    log_low, log_high = (tf.math.log(tf.constant(r)) for r in recipe.crop_ratio)
    ratio = tf.exp(uniform(seed, Stream.CROP_RATIO, (_CROP_TRIES,), log_low, log_high))
    widths, heights = tf.round(tf.sqrt(area * ratio)), tf.round(tf.sqrt(area / ratio))
    fits = (widths >= 1) & (heights >= 1) & (widths <= columns) & (heights <= rows)
    first = tf.argmax(tf.cast(fits, tf.int32))
    # the largest centre crop whose ratio is allowed
    bounded = tf.clip_by_value(columns / rows, *recipe.crop_ratio)
    whole_width = tf.clip_by_value(tf.round(rows * bounded), 1.0, columns)
    whole_height = tf.clip_by_value(tf.round(columns / bounded), 1.0, rows)
    any_fits = tf.reduce_any(fits)
    width = tf.where(any_fits, widths[first], whole_width)
    height = tf.where(any_fits, heights[first], whole_height)
    place = tf.where(any_fits, uniform(seed, Stream.CROP_PLACE, (2,)), tf.constant([0.5, 0.5]))
    top = tf.floor(place[0] * (rows - height + 1.0))
    left = tf.floor(place[1] * (columns - width + 1.0))
    top = tf.clip_by_value(top, 0.0, rows - height)
    left = tf.clip_by_value(left, 0.0, columns - width)
    return tuple(tf.cast(v, tf.int32) for v in (top, left, height, width))

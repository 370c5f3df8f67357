"""Random crops: which part of an image becomes the input, and how it is decoded.

The random-resized crop is a part of random area and shape, resized (Szegedy et al. 2014,
arXiv:1409.4842, section 6). The padded crop is for tiny images: see `padded_crop`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rezoo.data.images import decode, plain_jpeg
from rezoo.data.rng import Stream, uniform
from rezoo.recipes.recipe import Recipe

SMALL_PIXELS = 65_536
"""Images of at most this many pixels (256x256) are decoded whole: see `read_crop`."""
_TRIES = 10
_RATIOS = (1, 2, 4, 8)  # a JPEG can be decoded at 1 / ratio of its size
# Pixels around the part that are decoded, too: colour is interpolated between neighbours.
_MARGIN = 4


def random_crop(sides: Any, recipe: Recipe, seed: Any) -> tuple[Any, Any]:
    """Draw a part of an image: the first of ten tries that fits, else the centre.

    Args:
        sides: int32 `(2,)`: height and width of the image.
        recipe: `crop_scale` and `crop_ratio`.
        seed: int64 `(2,)`.

    Returns:
        `(top, left)` and `(height, width)`, int32 `(2,)` each.
    """
    rows, columns = tf.cast(sides[0], tf.float32), tf.cast(sides[1], tf.float32)
    low, high = recipe.crop_scale
    area = rows * columns * uniform(seed, Stream.CROP_AREA, (_TRIES,), low, high)
    log_low, log_high = (tf.math.log(tf.constant(r)) for r in recipe.crop_ratio)
    ratio = tf.exp(uniform(seed, Stream.CROP_RATIO, (_TRIES,), log_low, log_high))
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
    place = tf.where(any_fits, uniform(seed, Stream.CROP_PLACE, (2,)), 0.5)
    extent = tf.stack([height, width])
    room = tf.stack([rows, columns]) - extent
    start = tf.clip_by_value(tf.floor(place * (room + 1.0)), 0.0, room)
    return tf.cast(start, tf.int32), tf.cast(extent, tf.int32)


def read_crop(
    contents: Any, channels: int, recipe: Recipe, size: tuple[int, int], seed: Any
) -> Any:
    """Decode a random part of an image file.

    In a plain JPEG the rows and columns outside the part are skipped, which changes no pixel. A
    part of at least twice the required size is decoded at a half, a quarter or an eighth, which
    averages pixels as antialiasing does. Images of at most `SMALL_PIXELS` pixels and all other
    files are decoded whole and cropped.

    Args:
        contents: tf.string scalar.
        channels: 1 or 3.
        recipe: As for `random_crop`.
        size: `(height, width)` to which the part will be resized.
        seed: int64 `(2,)`.

    Returns:
        uint8 `(h, w, channels)`, of any height and width.
    """
    plain, shape = plain_jpeg(contents)
    part = plain & (tf.reduce_prod(shape) > SMALL_PIXELS)
    image = tf.cond(
        part,
        lambda: _shrunk_part(contents, channels, shape, *random_crop(shape, recipe, seed), size),
        lambda: cut(decode(contents, channels), recipe, seed),
    )
    image.set_shape((None, None, channels))
    return image


def decode_part(
    contents: Any, channels: int, shape: Any, start: Any, sides: Any, *, ratio: int = 1
) -> Any:
    """Decode a part of a JPEG; its pixels equal those of the whole image.

    Args:
        contents: tf.string scalar for which `images.plain_jpeg` is true.
        channels: 1 or 3.
        shape: int32 `(2,)`: height and width of the whole image.
        start: int32 `(2,)`: top and left of the part.
        sides: int32 `(2,)`: its height and width.
        ratio: 1, 2, 4 or 8: decode at 1 / ratio of the size. `start` and `sides` are in pixels of
            that size.

    Returns:
        uint8 `(*sides, channels)`.
    """
    whole = (shape + ratio - 1) // ratio
    low = tf.maximum(start - _MARGIN, 0)
    high = tf.minimum(start + sides + _MARGIN, whole)
    image = tf.io.decode_and_crop_jpeg(
        contents,
        tf.concat([low, high - low], 0),
        channels=channels,
        ratio=ratio,
        dct_method="INTEGER_ACCURATE",
    )
    inside = start - low
    return tf.slice(image, [inside[0], inside[1], 0], [sides[0], sides[1], channels])


def cut(image: Any, recipe: Recipe, seed: Any) -> Any:
    """Return a random part of an image `(H, W, C)`; see `random_crop`."""
    start, sides = random_crop(tf.shape(image)[:2], recipe, seed)
    return tf.image.crop_to_bounding_box(image, *tf.unstack(start), *tf.unstack(sides))


def padded_crop(image: Any, padding: int, fill: Any, seed: Any) -> Any:
    """Move an image by up to `padding` pixels in both directions.

    Pixels are added on all four sides, and a random part of the original size is cropped (He et
    al. 2015, arXiv:1512.03385, section 4.2).

    Args:
        image: uint8 `(height, width, C)`, sides known.
        padding: Number of pixels to add on each side.
        fill: uint8 `(C,)`: the colour of the added pixels; None for the reflection of the image,
            without its border.
        seed: int64 `(2,)`.
    """
    around = tf.constant([[padding, padding], [padding, padding], [0, 0]])
    place = uniform(seed, Stream.CROP_PLACE, (2,), 0.0, 2.0 * padding + 1.0)
    top, left = tf.unstack(tf.minimum(tf.cast(place, tf.int32), 2 * padding))
    if fill is None:
        return tf.slice(tf.pad(image, around, "REFLECT"), [top, left, 0], image.shape)
    # whole grey levels are subtracted and added modulo 256
    moved = tf.slice(tf.pad(image - fill, around), [top, left, 0], image.shape)
    return moved + fill


def _shrunk_part(
    contents: Any, channels: int, shape: Any, start: Any, sides: Any, size: tuple[int, int]
) -> Any:
    fold = tf.reduce_min(sides // tf.constant(size))  # by which whole factor it is too large

    def at(ratio: int) -> Any:
        return decode_part(contents, channels, shape, start // ratio, sides // ratio, ratio=ratio)

    which = tf.reduce_sum(tf.cast(fold >= tf.constant(_RATIOS[1:]), tf.int32))
    return tf.switch_case(which, [lambda ratio=ratio: at(ratio) for ratio in _RATIOS])

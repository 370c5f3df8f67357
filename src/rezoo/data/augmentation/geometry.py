"""Operations that move pixels: uint8 `(H, W, C)`, C = 1 or 3, to uint8 of the same shape.

Directions and centres are those of Pillow's `Image.transform` and `Image.rotate`. With nearest
neighbours the pixels are Pillow's, 16-bit fixed-point positions included. With bilinear weights
the levels are Pillow's to 1, but where the image ends: there, within one pixel, ours fades into
the fill and Pillow's is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

Geometry = Callable[..., Any]
_FIXED = 65536.0


def shear_x(image: Any, factor: Any, *, fill: Any, bilinear: bool) -> Any:
    """Move each row to the left by `factor` times its distance from the top.

    Args:
        image: uint8 `(H, W, C)`.
        factor: A scalar; negative: to the right.
        fill: uint8 `(C,)`: what comes in from outside.
        bilinear: Whether the four nearest pixels are weighted or the nearest is taken.
    """
    return _affine(image, (1.0, factor, 0.0, 0.0, 1.0, 0.0), fill, bilinear)


def shear_y(image: Any, factor: Any, *, fill: Any, bilinear: bool) -> Any:
    """Move each column up by `factor` times its distance from the left; else as `shear_x`."""
    return _affine(image, (1.0, 0.0, 0.0, factor, 1.0, 0.0), fill, bilinear)


def translate_x(image: Any, pixels: Any, *, fill: Any, bilinear: bool) -> Any:
    """Move the image to the left by `pixels`, a scalar; else as `shear_x`."""
    return _translate(image, pixels, 1, fill, bilinear)


def translate_y(image: Any, pixels: Any, *, fill: Any, bilinear: bool) -> Any:
    """Move the image up by `pixels`, a scalar; else as `shear_x`."""
    return _translate(image, pixels, 0, fill, bilinear)


def rotate(image: Any, degrees: Any, *, fill: Any, bilinear: bool) -> Any:
    """Turn the image counter-clockwise around its centre; else as `shear_x`."""
    sides = tf.cast(tf.shape(image)[:2], tf.float64)
    y, x = sides[0] / 2.0, sides[1] / 2.0
    angle = tf.cast(degrees, tf.float64) * (-math.pi / 180.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    matrix = (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
    return _affine(image, matrix, fill, bilinear)


def _affine(image: Any, matrix: Any, fill: Any, bilinear: bool) -> Any:
    """Fill each place (x, y) with what is at (a x + b y + c, d x + e y + f), centres at 0.5."""
    a, b, c, d, e, f = (tf.cast(v, tf.float64) for v in matrix)
    c, f = c + (a + b) * 0.5, f + (d + e) * 0.5
    if bilinear:
        return _weighted(image, (a, b, c, d, e, f), fill)
    sides = tf.shape(image)
    x = _positions(a, b, c, sides, tf.cast(sides[1], tf.float64))
    y = _positions(d, e, f, sides, tf.cast(sides[0], tf.float64))
    # the frame is one pixel wide: row and column 0 are outside
    place = (y + 1.0) * tf.cast(sides[1] + 2, tf.float64) + (x + 1.0)
    pixels = tf.reshape(_framed(image, fill), (-1, image.shape[-1]))
    return _shaped(tf.gather(pixels, tf.cast(place, tf.int32)), image)


def _positions(per_x: Any, per_y: Any, start: Any, sides: Any, end: Any) -> Any:
    """Return whole positions -1 (outside) to `end` (outside), float64 `(H, W)`."""
    per_x, per_y, start = (tf.floor(v * _FIXED + 0.5) / _FIXED for v in (per_x, per_y, start))
    along_x = per_x * tf.cast(tf.range(sides[1]), tf.float64) + start
    along_y = per_y * tf.cast(tf.range(sides[0]), tf.float64)
    return tf.floor(tf.clip_by_value(along_x + along_y[:, tf.newaxis], -1.0, end))


def _weighted(image: Any, matrix: tuple[Any, ...], fill: Any) -> Any:
    a, b, c, d, e, f = matrix
    # the op below counts from the centre of the frame's first pixel
    transform = tf.cast(tf.stack([a, b, c + 0.5, d, e, f + 0.5, 0.0, 0.0]), tf.float32)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=_framed(image, fill)[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return _shaped(moved[0], image)


def _translate(image: Any, pixels: Any, axis: int, fill: Any, bilinear: bool) -> Any:
    pixels = tf.cast(pixels, tf.float64)
    if not bilinear:
        return _moved(image, tf.floor(pixels + 0.5), axis, fill)
    whole = tf.floor(pixels)
    fraction = tf.cast(pixels - whole, tf.float32)
    near = _moved(image, whole, axis, fill)

    def between() -> Any:
        first = tf.cast(near, tf.float32)
        second = tf.cast(_moved(image, whole + 1.0, axis, fill), tf.float32)
        return tf.cast(first + (second - first) * fraction, tf.uint8)

    return _shaped(tf.cond(fraction > 0.0, between, lambda: near), image)


def _moved(image: Any, pixels: Any, axis: int, fill: Any) -> Any:
    """Move by whole pixels: to the left (axis 1) or up (axis 0)."""
    sides = tf.shape(image)
    side = sides[axis]
    limit = tf.cast(side, tf.float64)
    shift = tf.cast(tf.clip_by_value(pixels, -limit, limit), tf.int32)
    before, after = tf.maximum(-shift, 0), tf.maximum(shift, 0)

    def block(length: Any) -> Any:
        shape = (length, sides[1]) if axis == 0 else (sides[0], length)
        return tf.broadcast_to(fill, tf.stack([*shape, sides[2]]))

    kept = image[after : side - before] if axis == 0 else image[:, after : side - before]
    return _shaped(tf.concat([block(before), kept, block(after)], axis), image)


def _framed(image: Any, fill: Any) -> Any:
    """Put one pixel of `fill` around the image."""
    sides = tf.shape(image)
    beside = tf.broadcast_to(fill, tf.stack([sides[0], 1, sides[2]]))
    above = tf.broadcast_to(fill, tf.stack([1, sides[1] + 2, sides[2]]))
    return tf.concat([above, tf.concat([beside, image, beside], 1), above], 0)


def _shaped(result: Any, image: Any) -> Any:
    return tf.ensure_shape(result, image.shape)

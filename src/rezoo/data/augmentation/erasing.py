"""Random erasing (Zhong et al. 2017, arXiv:1708.04896): a rectangle of the image is blanked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rezoo.data.rng import Stream, uniform

_APPLIED = Stream.ERASE
_AREA = Stream.ERASE + 1
_RATIO = Stream.ERASE + 2
_PLACE = Stream.ERASE + 3

_AREAS = (0.02, 0.33)  # share of the image
_RATIOS = (0.3, 3.3)  # height / width
_TRIES = 10


def random_erasing(probability: float, *, fill: Sequence[int]) -> Callable[[Any, Any], Any]:
    """Return the transform `(image, seed)` to image, uint8 `(H, W, C)`.

    As in torchvision, area and logarithm of the ratio are uniform. The first of ten tries that is
    smaller than the image in both directions gets one colour.
    `seed` is int64 `(2,)`: one example in one epoch.

    Args:
        probability: Probability of erasing, 0 to 1.
        fill: C grey levels, 0 to 255: the colour. That of torchvision and timm is the mean of the
            dataset.
    """
    colour = tf.constant(tuple(fill), tf.uint8)

    def transform(image: Any, seed: Any) -> Any:
        sides = tf.shape(image)[:2]
        applied = uniform(seed, _APPLIED) < probability
        height, width = _draw_size(tf.cast(sides, tf.float32), seed)

        def erased() -> Any:
            return _erase(image, height, width, uniform(seed, _PLACE, (2,)), colour)

        return tf.cond(applied & (height > 0), erased, lambda: tf.identity(image))

    return transform


def _draw_size(sides: Any, seed: Any) -> tuple[Any, Any]:
    """Return int32 height and width of the first try that fits, else 0 and 0."""
    area = sides[0] * sides[1] * uniform(seed, _AREA, (_TRIES,), *_AREAS)
    ratio = tf.exp(uniform(seed, _RATIO, (_TRIES,), *(math.log(r) for r in _RATIOS)))
    heights, widths = tf.round(tf.sqrt(area * ratio)), tf.round(tf.sqrt(area / ratio))
    fits = (heights < sides[0]) & (widths < sides[1])
    first = tf.argmax(tf.cast(fits, tf.int32))
    size = tf.stack([heights[first], widths[first]])
    size = tf.cast(tf.where(tf.reduce_any(fits), size, tf.zeros_like(size)), tf.int32)
    return size[0], size[1]


def _erase(image: Any, height: Any, width: Any, place: Any, colour: Any) -> Any:
    sides = tf.shape(image)
    room = sides[:2] - tf.stack([height, width])
    start = tf.cast(tf.floor(place * tf.cast(room + 1, tf.float32)), tf.int32)
    start = tf.minimum(start, room)
    end = start + tf.stack([height, width])
    left, right = image[start[0] : end[0], : start[1]], image[start[0] : end[0], end[1] :]
    blank = tf.broadcast_to(colour, tf.stack([height, width, sides[2]]))
    middle = tf.concat([left, blank, right], 1)
    return tf.ensure_shape(tf.concat([image[: start[0]], middle, image[end[0] :]], 0), image.shape)

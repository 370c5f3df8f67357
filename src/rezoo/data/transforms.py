"""From an image to the input of a network, as TensorFlow graphs.

Images are `(H, W, C)`, C = 1 or 3 (RGB). Published accuracies assume the test transform:
antialiased resize of the shorter side, centre crop, normalization. The training transform draws
all random numbers from a seed, so its output is a pure function of image and seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.augmentation.auto_augment import policy_transform
from rezoo.data.augmentation.colour import colour_jitter
from rezoo.data.augmentation.erasing import random_erasing
from rezoo.data.crops import cut, decode_part, padded_crop, read_crop
from rezoo.data.images import decode, plain_jpeg
from rezoo.data.resize import Read, resized_crop
from rezoo.data.rng import Stream, uniform
from rezoo.recipes.policies import parse_policy
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

LONGEST = 16  # the longest side that is resized, in units of the shorter side

Transform = Callable[[Any], Any]
RandomTransform = Callable[[Any, Any], Any]


@lru_cache(maxsize=8)  # its graph is traced once
def test_transform(preprocessing: Preprocessing, *, encoded: bool) -> Transform:
    """Return the deterministic transform: an image to float32 `(height, width, channels)`.

    It runs on the CPU, even if there is an accelerator.

    Args:
        preprocessing: Geometry and normalization.
        encoded: Whether the image is the bytes of a file; otherwise uint8 `(H, W, C)`.
    """
    channels = preprocessing.channels
    normalize = _normalization(preprocessing)

    def transform(image: Any) -> Any:
        with tf.device("CPU:0"):
            sides, read = _opened(image, channels) if encoded else _held(image, channels)
            start, sides = _not_too_thin(sides)
            levels = resized_crop(
                lambda top, extent: read(start + top, extent),
                sides,
                size=_resized(sides, preprocessing),
                crop=preprocessing.size,
                channels=channels,
                interpolation=preprocessing.interpolation,
            )
            return normalize(levels)

    # without tf.function, an eager call would take ten times as long
    kind = (
        tf.TensorSpec((), tf.string) if encoded else tf.TensorSpec((None, None, channels), tf.uint8)
    )
    compiled = tf.function(transform, input_signature=[kind], autograph=False)
    return compiled if encoded else lambda image: compiled(with_channels(image, channels))


def train_transform(
    preprocessing: Preprocessing, recipe: Recipe, *, encoded: bool
) -> RandomTransform:
    """Return the augmenting transform: `(image, seed)` to float32 `(height, width, channels)`.

    The steps in order: random-resized or padded crop, mirror image with probability
    `recipe.flip`, colour jitter, automatic augmentation, normalization, random erasing. `seed` is
    int64 `(2,)`: one example in one epoch.
    """
    channels, size = preprocessing.channels, preprocessing.size
    normalize = _normalization(preprocessing)
    fill = tf.constant([255.0 * mean for mean in preprocessing.mean])
    on_levels = _on_levels(recipe, preprocessing)
    erase = random_erasing(recipe.random_erase) if recipe.random_erase else None

    def transform(image: Any, seed: Any) -> Any:
        if recipe.crop_padding:
            part = decode(image, channels) if encoded else with_channels(image, channels)
        elif encoded:
            part = read_crop(image, channels, recipe, size, seed)
        else:
            part = cut(with_channels(image, channels), recipe, seed)
        image = _resize_part(part, size, preprocessing.interpolation)
        if recipe.crop_padding:
            image = padded_crop(image, recipe.crop_padding, fill, seed)
        mirror = uniform(seed, Stream.FLIP) < recipe.flip
        image = tf.cond(mirror, lambda: tf.reverse(image, [1]), lambda: image)
        if on_levels:
            levels = tf.cast(tf.round(image), tf.uint8)
            for change in on_levels:
                levels = change(levels, seed)
            image = tf.cast(levels, tf.float32)
        image = normalize(image)
        return erase(image, seed) if erase else image

    return transform


def _on_levels(recipe: Recipe, preprocessing: Preprocessing) -> list[RandomTransform]:
    """Return the augmentations of whole grey levels (uint8), in their order."""
    changes = []
    if recipe.color_jitter:
        changes.append(colour_jitter(recipe.color_jitter))
    if recipe.auto_augment:
        fill = [round(255 * mean) for mean in preprocessing.mean]
        changes.append(policy_transform(parse_policy(recipe.auto_augment), fill=fill))
    return changes


def _resize_part(image: Any, size: tuple[int, int], interpolation: str) -> Any:
    """Resize to float32 grey levels, with antialiasing if the image is at least twice too large.

    Otherwise antialiasing changes little and takes as long as decoding. Most parts of a large
    JPEG are averaged before; see `crops.read_crop`.
    """
    fold = tf.reduce_min(tf.shape(image)[:2] // tf.constant(size))
    image = tf.cond(
        fold >= 2,
        lambda: tf.image.resize(image, size, method=interpolation, antialias=True),
        lambda: tf.image.resize(image, size, method=interpolation),
    )
    return image if interpolation == "bilinear" else tf.clip_by_value(image, 0.0, 255.0)


def with_channels(image: Any, channels: int) -> Any:
    """Return pixels as grey or RGB, as the network requires."""
    if image.shape[-1] == channels:
        return image
    return tf.image.rgb_to_grayscale(image) if channels == 1 else tf.image.grayscale_to_rgb(image)


def _held(image: Any, channels: int) -> tuple[Any, Read]:
    """Return the sides of an image uint8 `(H, W, C)`, and a function that reads a part of it."""

    def read(start: Any, sides: Any) -> Any:
        return tf.slice(image, [start[0], start[1], 0], [sides[0], sides[1], channels])

    return tf.shape(image)[:2], read


def _opened(contents: Any, channels: int) -> tuple[Any, Read]:
    """Return the sides of an image file, and a function that decodes a part of it."""
    plain, shape = plain_jpeg(contents)
    nothing = tf.zeros((0, 0, channels), tf.uint8)
    image = tf.cond(plain, lambda: nothing, lambda: decode(contents, channels))
    image.set_shape((None, None, channels))
    whole, of_whole = _held(image, channels)

    def read(start: Any, sides: Any) -> Any:
        return tf.cond(
            plain,
            lambda: decode_part(contents, channels, shape, start, sides),
            lambda: of_whole(start, sides),
        )

    return tf.where(plain, shape, whole), read


def _not_too_thin(sides: Any) -> tuple[Any, Any]:
    """Return the start and sides of the centre of an image over sixteen times as long as wide.

    The crop that follows takes at most a square of it. To resize all of a 1x3000 image would take
    gigabytes.
    """
    kept = tf.minimum(sides, LONGEST * tf.reduce_min(sides))
    return (sides - kept) // 2, kept


def _resized(sides: Any, preprocessing: Preprocessing) -> Any:
    """Return int32 `(2,)`: the size at which the crop is `crop_pct` of the image.

    As in torchvision and timm, the side that fits more tightly becomes floor(size / crop_pct);
    the other one is rounded down.
    """
    height, width = preprocessing.size
    target = tf.constant(
        [int(height / preprocessing.crop_pct), int(width / preprocessing.crop_pct)], tf.int32
    )
    # the side that fits more tightly gives the scale; integers avoid an error by one
    rows_decide = sides[0] * target[1] <= sides[1] * target[0]
    return tf.cond(
        rows_decide,
        lambda: tf.stack([target[0], sides[1] * target[0] // sides[0]]),
        lambda: tf.stack([sides[0] * target[1] // sides[1], target[1]]),
    )


def _normalization(preprocessing: Preprocessing) -> Transform:
    """Return the function from grey levels 0..255 `(height, width, C)` to a network's input."""
    # As large as the image: to broadcast three values takes longer than all the rest. With one
    # product and one sum, no graph optimizer can change the order.
    shape = (*preprocessing.size, preprocessing.channels)
    mean, std = (
        np.asarray(values, np.float64) for values in (preprocessing.mean, preprocessing.std)
    )
    factor = np.broadcast_to((1.0 / (255.0 * std)).astype(np.float32), shape)
    summand = np.broadcast_to((-mean / std).astype(np.float32), shape)
    return lambda levels: tf.ensure_shape(levels * factor + summand, shape)

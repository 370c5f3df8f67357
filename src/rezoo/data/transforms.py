"""From an image to whole grey levels of the size that a network takes, as TensorFlow graphs.

Images are `(H, W, C)`, C = 1 or 3 (RGB). Published accuracies assume the test transform:
antialiased resize of the shorter side, centre crop, normalization. The training transform draws
all random numbers from a seed, so its output is a pure function of image and seed. Batches are
normalized on the device; see `rezoo.models.normalization`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import tensorflow as tf

from rezoo.data.augmentation.auto_augment import policy_transform
from rezoo.data.augmentation.colour import colour_jitter
from rezoo.data.augmentation.erasing import random_erasing
from rezoo.data.crops import cut, decode_part, padded_crop, read_crop
from rezoo.data.images import decode, plain_jpeg
from rezoo.data.resize import Crop, Read, resized_crop
from rezoo.data.rng import Stream, uniform
from rezoo.models.normalization import normalized
from rezoo.recipes.policies import parse_policy
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

LONGEST = 16  # the longest side that is cropped, in units of the shorter side
LONGEST_WHOLE = 65_536  # the longest side that is resized whole, in pixels

Transform = Callable[[Any], Any]
RandomTransform = Callable[[Any, Any], Any]


@lru_cache(maxsize=8)  # its graph is traced once
def test_transform(preprocessing: Preprocessing, *, encoded: bool) -> Transform:
    """Return the deterministic transform: an image to the input of a network.

    The result is float32 `(height, width, channels)`. The transform runs on the CPU, even if there
    is an accelerator.

    Args:
        preprocessing: Geometry and normalization.
        encoded: Whether the image is the bytes of a file; otherwise uint8 `(H, W, C)`.
    """
    return _compiled(preprocessing, lambda levels: normalized(levels, preprocessing), encoded)


@lru_cache(maxsize=8)
def test_levels(
    preprocessing: Preprocessing,
    *,
    encoded: bool,
    crop: Crop = resized_crop,  # noqa: PT028 - no test
) -> Transform:
    """Return the same without the normalization: an image to uint8 `(height, width, channels)`.

    Args:
        preprocessing: Geometry.
        encoded: Whether the image is the bytes of a file; otherwise uint8 `(H, W, C)`.
        crop: What is cropped from the resized image: `resize.resized_crop`, the centre, or
            `corners.five_crops`, whose result is uint8 `(5, height, width, channels)`.
    """
    return _compiled(preprocessing, lambda levels: tf.cast(levels, tf.uint8), encoded, crop)


def _compiled(
    preprocessing: Preprocessing, last: Transform, encoded: bool, crop: Crop = resized_crop
) -> Transform:
    """Return the test transform; `last` is applied to its whole grey levels, in float32."""
    channels = preprocessing.channels

    def transform(image: Any) -> Any:
        with tf.device("CPU:0"):
            sides, read = _opened(image, channels) if encoded else _held(image, channels)
            start, sides = _not_too_thin(sides, whole=preprocessing.crop_mode != "center")
            levels = crop(
                lambda top, extent: read(start + top, extent),
                sides,
                size=_resized(sides, preprocessing),
                crop=preprocessing.size,
                channels=channels,
                interpolation=preprocessing.interpolation,
                fill=mean_colour(preprocessing) if preprocessing.crop_mode == "border" else None,
            )
            return last(levels)

    # without tf.function, an eager call would take ten times as long
    kind = (
        tf.TensorSpec((), tf.string) if encoded else tf.TensorSpec((None, None, channels), tf.uint8)
    )
    compiled = tf.function(transform, input_signature=[kind], autograph=False)
    return compiled if encoded else lambda image: compiled(with_channels(image, channels))


def train_transform(
    preprocessing: Preprocessing, recipe: Recipe, *, encoded: bool
) -> RandomTransform:
    """Return the augmenting transform: `(image, seed)` to uint8 `(height, width, channels)`.

    The steps in order: random-resized or padded crop, mirror image with probability
    `recipe.flip`, colour jitter, automatic augmentation, random erasing. The result of the resize
    is rounded to whole grey levels, as Pillow's is. What is added or erased has the mean colour
    of the dataset, rounded as well: after the normalization it is at most half a grey level from
    0. `seed` is int64 `(2,)`: one example in one epoch.
    """
    channels, size = preprocessing.channels, preprocessing.size
    fill = mean_colour(preprocessing)
    changes = _changes(recipe, fill)

    def transform(image: Any, seed: Any) -> Any:
        if recipe.crop_padding:
            part = decode(image, channels) if encoded else with_channels(image, channels)
        elif encoded:
            part = read_crop(image, channels, recipe, size, seed)
        else:
            part = cut(with_channels(image, channels), recipe, seed)
        image = _resize_part(part, size, preprocessing.interpolation)
        if recipe.crop_padding:
            image = padded_crop(image, recipe.crop_padding, tf.constant(fill, tf.uint8), seed)
        mirror = uniform(seed, Stream.FLIP) < recipe.flip
        image = tf.cond(mirror, lambda: tf.reverse(image, [1]), lambda: image)
        for change in changes:
            image = change(image, seed)
        return image

    return transform


def _changes(recipe: Recipe, fill: list[int]) -> list[RandomTransform]:
    """Return the augmentations that follow crop and mirror image, in their order."""
    changes = []
    if recipe.color_jitter:
        changes.append(colour_jitter(recipe.color_jitter))
    if recipe.auto_augment:
        changes.append(policy_transform(parse_policy(recipe.auto_augment), fill=fill))
    if recipe.random_erase:
        changes.append(random_erasing(recipe.random_erase, fill=fill))
    return changes


def _resize_part(image: Any, size: tuple[int, int], interpolation: str) -> Any:
    """Resize to whole grey levels, with antialiasing if the image is at least twice too large.

    Otherwise antialiasing changes little and takes as long as decoding. Most parts of a large
    JPEG are averaged before; see `crops.read_crop`.
    """
    fold = tf.reduce_min(tf.shape(image)[:2] // tf.constant(size))
    image = tf.cond(
        fold >= 2,
        lambda: tf.image.resize(image, size, method=interpolation, antialias=True),
        lambda: tf.image.resize(image, size, method=interpolation),
    )
    if interpolation != "bilinear":
        image = tf.clip_by_value(image, 0.0, 255.0)
    return tf.cast(image + 0.5, tf.uint8)  # cuts the fraction; tf.round takes three times as long


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


def _not_too_thin(sides: Any, *, whole: bool) -> tuple[Any, Any]:
    """Return the start and sides of the centre of an image that is much longer than wide.

    A crop takes at most a square of an image that is over sixteen times as long as wide, and to
    resize all of 1x3000 pixels would take gigabytes. The weights of a resize of millions of pixels
    to the size of a network would, too.
    """
    kept = tf.minimum(sides, LONGEST_WHOLE if whole else LONGEST * tf.reduce_min(sides))
    return (sides - kept) // 2, kept


def mean_colour(preprocessing: Preprocessing) -> list[int]:
    """Return the mean of each channel in whole grey levels, as timm fills borders."""
    return [min(max(round(255 * mean), 0), 255) for mean in preprocessing.mean]


def resize_target(preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the height and width of which the crop is `crop_pct`."""
    height, width = (int(side / preprocessing.crop_pct) for side in preprocessing.size)
    return height, width


def _resized(sides: Any, preprocessing: Preprocessing) -> Any:
    """Return int32 `(2,)`: height and width of the whole image after the resize.

    As in timm: one side becomes that of the target, and the other one keeps the proportion. For a
    square crop of the centre it is rounded down, as in torchvision; otherwise to the nearest.
    """
    goal, mode = resize_target(preprocessing), preprocessing.crop_mode
    target = tf.constant(goal, tf.int32)
    if mode == "squash":
        return target
    if mode == "center" and goal[0] == goal[1]:
        # the shorter side decides; integers avoid an error by one
        return goal[0] * sides // tf.reduce_min(sides)
    ratios = tf.cast(sides, tf.float64) / tf.cast(target, tf.float64)
    ratio = tf.reduce_max(ratios) if mode == "border" else tf.reduce_min(ratios)
    nearest = tf.round(tf.cast(sides, tf.float64) / ratio)  # half to even, as in Python
    return tf.maximum(tf.cast(nearest, tf.int32), 1)

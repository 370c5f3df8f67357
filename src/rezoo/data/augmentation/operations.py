"""Operations on grey levels: uint8 `(H, W, C)`, C = 1 or 3 (RGB), to uint8 of the same shape.

They give Pillow's values: its `ImageOps` and `ImageEnhance`, with the rounding that these have.
Magnitudes are scalars, numbers or tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

_TOP = 255
_LEVELS = _TOP + 1
# ITU-R 601-2 luma in 1/65536, as in Pillow; sums stay below 2^24, so float32 is exact
_LUMA = np.array([19595, 38470, 7471], np.float32) / 65536
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32)


def invert(image: Any) -> Any:
    """Return the negative."""
    return tf.bitwise.invert(image)


def posterize(image: Any, bits: Any) -> Any:
    """Keep the upper `bits` bits of each level: 0 (black) to 8 (no change); a fraction is cut."""
    bits = tf.clip_by_value(tf.cast(bits, tf.int32), 0, 8)
    mask = tf.bitwise.left_shift(_TOP, 8 - bits) % _LEVELS
    return tf.bitwise.bitwise_and(image, tf.cast(mask, tf.uint8))


def solarize(image: Any, threshold: Any) -> Any:
    """Invert the levels from `threshold` on: 0 (all) to 256 (none)."""
    first = tf.cast(tf.math.ceil(tf.cast(threshold, tf.float64)), tf.int32)
    inverted = image >= tf.cast(tf.clip_by_value(first, 0, _TOP), tf.uint8)
    # XOR with 255 inverts; four times as fast as choosing between two images
    return tf.bitwise.bitwise_xor(image, _masked(inverted, tf.where(first > _TOP, 0, _TOP)))


def solarize_add(image: Any, addition: Any) -> Any:
    """Add `addition`, 0 to 128, to the levels below 128; a fraction is cut."""
    return image + _masked(image < 128, tf.clip_by_value(tf.cast(addition, tf.int32), 0, 128))


def _masked(mask: Any, level: Any) -> Any:
    return tf.cast(mask, tf.uint8) * tf.cast(level, tf.uint8)


def autocontrast(image: Any) -> Any:
    """Stretch each channel to the levels 0 to 255; one of a single level stays."""
    low = tf.cast(tf.reduce_min(image, (0, 1)), tf.float64)
    high = tf.cast(tf.reduce_max(image, (0, 1)), tf.float64)
    flat = high <= low
    scale = tf.where(
        flat, tf.ones_like(low), float(_TOP) / tf.where(flat, tf.ones_like(low), high - low)
    )
    offset = tf.where(flat, tf.zeros_like(low), -low * scale)
    rows = tf.cast(_rows(image), tf.float64)
    # float64, first the product and then the sum: the values are cut, not rounded
    stretched = rows * _row(scale, image) + _row(offset, image)
    return tf.reshape(_to_levels(stretched), tf.shape(image))


def equalize(image: Any) -> Any:
    """Make each channel's histogram as even as whole levels allow."""
    channels = image.shape[-1]
    place = tf.cast(_rows(image), tf.int32) + _row(tf.range(channels) * _LEVELS, image)
    size = channels * _LEVELS
    counts = tf.math.bincount(tf.reshape(place, (-1,)), minlength=size, maxlength=size)
    counts = tf.reshape(counts, (channels, _LEVELS))
    last = tf.reduce_max(tf.where(counts > 0, tf.range(_LEVELS), 0), axis=1)
    total = tf.reduce_sum(counts, axis=1)
    step = (total - tf.gather(counts, last, batch_dims=1)) // _TOP
    step = step[:, tf.newaxis]
    levels = (step // 2 + tf.cumsum(counts, axis=1, exclusive=True)) // tf.maximum(step, 1)
    # a step of 0: one level, or fewer pixels than would fill the scale
    levels = tf.where(step > 0, tf.minimum(levels, _TOP), tf.range(_LEVELS))
    table = tf.cast(tf.reshape(levels, (-1,)), tf.uint8)
    return tf.reshape(tf.gather(table, place), tf.shape(image))


def brightness(image: Any, factor: Any) -> Any:
    """Multiply by `factor`: 0 black, 1 no change."""
    return _to_levels(tf.cast(image, tf.float32) * tf.cast(factor, tf.float32))


def contrast(image: Any, factor: Any) -> Any:
    """Blend with the mean grey level: 0 all grey, 1 no change."""
    levels = tf.cast(image, tf.float32)
    mean = tf.reduce_mean(tf.cast(_grey(levels, 1), tf.float64))
    return _blend(levels, tf.cast(tf.floor(mean + 0.5), tf.float32), factor)


def saturation(image: Any, factor: Any) -> Any:
    """Blend with the grey image: 0 grey, 1 no change; a grey image stays as it is."""
    if image.shape[-1] == 1:
        return image
    levels = tf.cast(image, tf.float32)
    return _blend(levels, _grey(levels, image.shape[-1]), factor)


def sharpness(image: Any, factor: Any) -> Any:
    """Blend with the image smoothed by a 3x3 kernel: 0 smooth, 1 no change, 2 sharp.

    The outermost rows and columns stay as they are.
    """
    levels = tf.cast(image, tf.float32)
    kernel = np.repeat(_SMOOTH[:, :, np.newaxis, np.newaxis], image.shape[-1], axis=2)
    sums = tf.nn.depthwise_conv2d(levels[tf.newaxis], kernel, (1, 1, 1, 1), "SAME")[0]
    smooth = tf.floor(sums[1:-1, 1:-1] / float(_SMOOTH.sum()) + 0.5)
    difference = levels[1:-1, 1:-1] - smooth
    after = tf.shape(image)[:2] - tf.shape(difference)[:2] - 1
    difference = tf.pad(difference, ((1, after[0]), (1, after[1]), (0, 0)))
    return _blend(levels, levels - difference, factor)


def _blend(levels: Any, other: Any, factor: Any) -> Any:
    return _to_levels(other + tf.cast(factor, tf.float32) * (levels - other))


def _to_levels(values: Any) -> Any:
    """Cut to whole levels 0 to 255, as Pillow's blend does; nothing is rounded."""
    return tf.cast(tf.clip_by_value(values, 0.0, float(_TOP)), tf.uint8)


def _grey(levels: Any, channels: int) -> Any:
    """Return whole grey levels, float32 `(H, W, channels)`, the same in each channel."""
    if levels.shape[-1] == 1:
        return levels
    luma = np.repeat(_LUMA[:, np.newaxis], channels, axis=1)
    return tf.floor(tf.tensordot(levels, tf.constant(luma), 1) + 0.5)


def _rows(image: Any) -> Any:
    """Return `(H, W * C)`: adding a row is several times as fast as adding C numbers per pixel."""
    size = tf.shape(image)
    return tf.reshape(image, (size[0], size[1] * size[2]))


def _row(values: Any, image: Any) -> Any:
    """Repeat the C `values` for each pixel of a row: `(W * C,)`."""
    return tf.tile(values, [tf.shape(image)[1]])

"""Five crops of an image: the four corners and the centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rezoo.data.resize import Read, centred, resized_crop


def five_crops(
    read: Read,
    sides: Any,
    *,
    size: Any,
    crop: tuple[int, int],
    channels: int,
    interpolation: str,
    fill: Sequence[int] | None = None,
) -> Any:
    """Return crops of a resized image: top left, top right, bottom left, bottom right, centre.

    They are those of Krizhevsky et al. 2012, section 4.1, and in the order of torchvision's
    `FiveCrop`. The corners are those of the whole resized image, which need not be square. A side
    with a border is in the middle of all five.

    Args:
        read: Returns a part of the image; all of it is read once.
        sides: int32 `(2,)`: height and width of the image.
        size: int32 `(2,)`: height and width of the whole image after the resize; at least `crop`
            unless there is a border.
        crop: Height and width of a crop.
        channels: Number of channels of the image.
        interpolation: `"bilinear"` or `"bicubic"`.
        fill: As for `resized_crop`.

    Returns:
        Whole grey levels, float32 `(5, *crop, channels)`.
    """
    image = read(tf.zeros(2, tf.int32), sides)

    def part(start: Any, extent: Any) -> Any:
        return tf.slice(image, [start[0], start[1], 0], [extent[0], extent[1], channels])

    centre = centred(size, crop)
    top, left = tf.unstack(tf.minimum(centre, 0))
    bottom, right = tf.unstack(tf.maximum(size - tf.constant(crop), centre))
    places = ((top, left), (top, right), (bottom, left), (bottom, right))
    crops = [
        resized_crop(
            part,
            sides,
            size=size,
            crop=crop,
            channels=channels,
            interpolation=interpolation,
            first=first,
            fill=fill,
        )
        for first in (*map(tf.stack, places), centre)
    ]
    return tf.stack(crops)

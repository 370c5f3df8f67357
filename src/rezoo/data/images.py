"""Decode image files inside TensorFlow graphs.

Plain JPEGs and 8-bit PNGs, which nearly all photographs are, are decoded by TensorFlow itself:
its threads do not wait for Python. Every other file is decoded by Pillow.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from rezoo.data.image_files import MAX_PIXELS, UnreadableImageError, decode_file
from rezoo.models.settings import share_gpus

if TYPE_CHECKING:
    import numpy as np

share_gpus()  # whatever reads images with TensorFlow imports this module, before any work

# Metadata come first in a JPEG, after at most a few short segments.
_JPEG_METADATA_BYTES = 4096
# Regular expressions of RE2, in which \C is any byte.
_JPEG_ORIENTATION = r"\C*(Exif\x00\x00|tiff:Orientation)\C*"
_PNG_ORIENTATION = r"\C*(eXIf|Raw profile type|XML:com\.adobe\.xmp)\C*"
# 8 bits; both sides are below 8192, so that their product is at most MAX_PIXELS.
_PNG_HEADER_BYTES = 26
_PLAIN_PNG = r"\CPNG\r\n\x1a\n\C{4}IHDR(\x00\x00[\x00-\x1f]\C){2}\x08"
_PNG_COLOURS = {1: r"\x00", 3: r"[\x00\x02]"}  # 0 is grey, 2 is RGB


class NoImageError(tf.errors.InvalidArgumentError, ValueError):
    """Bytes that cannot be decoded. A graph turns a ValueError into an InvalidArgumentError."""

    def __init__(self, message: str) -> None:
        super().__init__(None, None, message)


def stated_reason(error: tf.errors.OpError) -> str:
    """Return the message of the `NoImageError` that an error of a graph is due to, or `""`."""
    found = re.search(r"NoImageError: (.*)", error.message)
    return found[1] if found else ""


def decode(contents: Any, channels: int) -> Any:
    """Decode an image file to uint8 `(H, W, channels)`, upright by its EXIF orientation.

    JPEGs are decoded by the accurate DCT, which gives Pillow's pixels exactly; TensorFlow's
    default differs by 1.2 grey levels on average. See `rezoo.data.image_files.decode_file` for
    colours, alpha, 16 bits and animations.

    Args:
        contents: tf.string scalar: the bytes of the file.
        channels: 1 for grey, 3 for RGB.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are not an image that can be decoded, or it has
            more than `image_files.MAX_PIXELS` pixels.
    """
    plain = plain_jpeg(contents)[0] | _is_plain_png(contents, channels)
    image = tf.cond(
        plain,
        # this operation decodes a PNG, too; a second one would cost time even if it is not run
        lambda: tf.io.decode_jpeg(contents, channels=channels, dct_method="INTEGER_ACCURATE"),
        lambda: _decode_by_pillow(contents, channels),
    )
    image.set_shape((None, None, channels))
    return image


def plain_jpeg(contents: Any) -> tuple[Any, Any]:
    """Return whether a file is a JPEG of which TensorFlow can decode any part, and its sides.

    That is a grey or RGB JPEG without metadata that may turn it, of at most
    `image_files.MAX_PIXELS` pixels.

    Returns:
        A bool scalar, and int32 `(2,)`: height and width, or zeros if the bool is false.
    """
    start = tf.strings.substr(contents, 0, _JPEG_METADATA_BYTES)
    upright = ~tf.strings.regex_full_match(start, _JPEG_ORIENTATION)
    nothing = tf.zeros(3, tf.int32)
    shape = tf.cond(
        tf.io.is_jpeg(contents) & upright,
        lambda: tf.image.extract_jpeg_shape(contents),
        lambda: nothing,
    )
    allowed = tf.reduce_prod(tf.cast(shape[:2], tf.int64)) <= MAX_PIXELS
    return allowed & ((shape[2] == 1) | (shape[2] == 3)), shape[:2]


def _is_plain_png(contents: Any, channels: int) -> Any:
    """Return whether a file is an 8-bit PNG, grey or RGB, without metadata that may turn it."""
    start = tf.strings.substr(contents, 0, _PNG_HEADER_BYTES)
    never = tf.constant(False)
    return tf.cond(
        tf.strings.regex_full_match(start, _PLAIN_PNG + _PNG_COLOURS[channels]),
        lambda: ~tf.strings.regex_full_match(contents, _PNG_ORIENTATION),
        lambda: never,
    )


def _decode_by_pillow(contents: Any, channels: int) -> Any:
    run = functools.partial(_decode_file, channels=channels)
    if tf.executing_eagerly():  # numpy_function would cut off zeros at the end
        return tf.constant(run(tf.convert_to_tensor(contents).numpy()))
    return tf.numpy_function(run, [contents], tf.uint8)


def _decode_file(content: bytes, *, channels: int) -> np.ndarray:
    try:
        return decode_file(content, channels)
    except UnreadableImageError as error:
        raise NoImageError(str(error)) from error

"""From the bytes of an image file to pixels, as TensorFlow graphs.

Images are `(H, W, C)`, C = 1 or 3 (RGB), uint8.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import headers
from rezoo.data.unusual import Simple, simplify

# EXIF data come first in a JPEG, behind at most a few short segments.
_EXIF_WITHIN = 4096
_TOO_MANY = f"more than {headers.MAX_PIXELS} pixels"
_EXIF = r"\C*Exif\x00\x00\C*"  # \C is any byte


class NoImageError(tf.errors.InvalidArgumentError, ValueError):
    """Bytes that cannot be decoded. In a graph, what is a ValueError becomes the other."""

    def __init__(self, message: str) -> None:
        super().__init__(None, None, message)


def decode(contents: Any, channels: int) -> Any:
    """Decode JPEG, PNG, GIF, BMP or WebP bytes to uint8 `(H, W, channels)`, upright.

    JPEG goes through the accurate DCT, which gives Pillow's pixels to the bit; the default
    one differs by 1.2 grey levels on average. EXIF orientation is applied. 16 bits a channel
    are scaled to 8, transparency is dropped, of an animation the first picture is taken. What
    TensorFlow reads wrong is rewritten first: see `rezoo.data.unusual`.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no whole image of these kinds, or the
            header claims more than `headers.MAX_PIXELS` pixels.
    """
    plain, sides = is_plain_jpeg(contents)

    def at_once() -> Any:
        bound = tf.debugging.assert_less_equal(
            tf.reduce_prod(tf.cast(sides, tf.int64)),
            np.int64(headers.MAX_PIXELS),
            message=_TOO_MANY,
        )
        with tf.control_dependencies([bound] if bound is not None else []):
            return _decode_jpeg(contents, channels)

    def by_python() -> Any:
        any_file = functools.partial(_decode_any, channels=channels)
        if tf.executing_eagerly():  # numpy_function would cut off zeros at the end
            return tf.constant(any_file(tf.convert_to_tensor(contents).numpy()))
        # one operation, however little: whatever else stands in this branch costs a plain JPEG
        # a tenth of its time, although it is not run
        return tf.numpy_function(any_file, [contents], tf.uint8)

    image = tf.cond(plain, at_once, by_python)
    image.set_shape((None, None, channels))
    return image


def _decode_jpeg(contents: Any, channels: int) -> Any:
    return tf.io.decode_jpeg(contents, channels=channels, dct_method="INTEGER_ACCURATE")


def _decode_any(content: bytes, *, channels: int) -> np.ndarray:
    """Decode what is no plain JPEG, uint8 `(H, W, channels)`.

    Raises:
        tf.errors.InvalidArgumentError: As `decode`.
    """
    header = headers.read_header(content)
    if header is None and (named := headers.format_of(content)):
        # TensorFlow might read it, whatever its size
        raise NoImageError(f"Unknown image file format: {named}")
    simple = _simplified(content, header) if header else Simple(content)
    with tf.device("CPU:0"):
        try:
            if simple.content.startswith(b"\xff\xd8\xff"):
                image = _decode_jpeg(simple.content, channels).numpy()
            else:
                image = tf.io.decode_image(simple.content, channels=3, expand_animations=False)
                image = _on_canvas(image.numpy(), simple)
                # GIF and BMP know no grey: colour is decoded and reduced
                image = tf.image.rgb_to_grayscale(image).numpy() if channels == 1 else image
        except tf.errors.InvalidArgumentError as error:
            raise NoImageError(error.message) from error
    return _upright(image, header.orientation) if header else image


def _simplified(content: bytes, header: headers.Header) -> Simple:
    """Return a file that TensorFlow reads right, no part of it larger than allowed."""
    pixels = header.pixels
    if pixels <= headers.MAX_PIXELS:
        simple = simplify(content, header.kind)
        inside = headers.read_header(simple.content) or header
        pixels = max(inside.pixels, simple.canvas[0] * simple.canvas[1])
    if pixels > headers.MAX_PIXELS:
        raise NoImageError(_TOO_MANY)
    return simple


def _has_exif(contents: Any) -> Any:
    return tf.strings.regex_full_match(tf.strings.substr(contents, 0, _EXIF_WITHIN), _EXIF)


def is_plain_jpeg(contents: Any) -> tuple[Any, Any]:
    """Return whether bytes are a grey or RGB JPEG that no EXIF data turn, and its sides.

    Returns:
        A bool scalar and int32 `(2,)`: height and width, 0 where it is none.
    """
    nothing = tf.zeros(3, tf.int32)
    shape = tf.cond(
        tf.io.is_jpeg(contents) & ~_has_exif(contents),
        lambda: tf.image.extract_jpeg_shape(contents),
        lambda: nothing,
    )
    return (shape[2] == 1) | (shape[2] == 3), shape[:2]


def _on_canvas(image: np.ndarray, simple: Simple) -> np.ndarray:
    """Lay a picture `(h, w, 3)` on its canvas `(H, W, 3)`, if that is larger."""
    (width, height), (left, top) = simple.canvas, simple.place
    if not width:
        return image
    whole = np.empty((height, width, 3), np.uint8)
    whole[:] = simple.fill
    whole[top : top + len(image), left : left + image.shape[1]] = image
    return whole


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (Exif 2.32, table 4: where row 0 and column 0 lie)."""
    if orientation >= 5:  # rows and columns are exchanged
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)

"""Put pictures and words onto one large picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.audit.font import HEIGHT, fitted, text_mask

_PAPER, _INK, _HOLE = 255, (26, 34, 51), (226, 229, 237)


class Canvas:
    """A white picture to draw on.

    Attributes:
        pixels: uint8 `(H, W, 3)`.
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.full((height, width, 3), _PAPER, np.uint8)

    def write(self, text: str, left: int, top: int, *, width: int, scale: int = 1) -> None:
        """Write one line that is at most `width` pixels wide."""
        mask = text_mask(fitted(text, width, scale), scale)
        place = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        place[mask[: place.shape[0], : place.shape[1]]] = _INK

    def place(self, picture: np.ndarray | None, left: int, top: int, side: int) -> None:
        """Put a picture, uint8 `(H, W, 3)`, into the middle of a square; None leaves it grey."""
        if picture is None:
            self.pixels[top : top + side, left : left + side] = _HOLE
            return
        height, width = picture.shape[:2]
        top, left = top + (side - height) // 2, left + (side - width) // 2
        self.pixels[top : top + height, left : left + width] = picture

    def to_png(self) -> bytes:
        """Return the picture as a PNG file."""
        return bytes(tf.io.encode_png(self.pixels).numpy())


def line_height(scale: int) -> int:
    """Return the height of a line of text in pixels, with a gap."""
    return (HEIGHT + 1) * scale


def fit(picture: Any, side: int) -> np.ndarray:
    """Return a picture as uint8 `(H, W, 3)` whose longer side is `side`, or nearly so.

    A small one is enlarged by a whole number, so that its pixels stay squares.
    """
    array = np.asarray(picture)
    if array.shape[-1] == 1:
        array = array.repeat(3, -1)
    longer = max(array.shape[:2])
    if longer <= side:
        return array.repeat(side // longer, 0).repeat(side // longer, 1)
    size = [max(n * side // longer, 1) for n in array.shape[:2]]
    small = tf.image.resize(array, size, antialias=True).numpy()
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)

"""Class activation maps: the part of each position of a picture in a logit.

"Learning Deep Features for Discriminative Localization", arXiv:1512.04150, section 2.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from PIL import Image

_COLOURS = "inferno"
_OPACITY = 0.75  # of the largest value


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay a map over its picture: grey where it is zero or negative, coloured where it is positive.

    The map is enlarged with bicubic interpolation. Colour and opacity grow with the values, from 0
    to the largest one.

    Args:
        pixels: The picture, uint8 `(H, W, 3)` or `(H, W, 1)`.
        values: The map, float `(h, w)`.

    Returns:
        RGB, uint8 `(H, W, 3)`.
    """
    height, width = pixels.shape[:2]
    small = Image.fromarray(np.asarray(values, np.float32))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    most = max(float(large.max()), np.finfo(np.float32).tiny)
    strength = np.clip(large / most, 0, 1)
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    grey = np.asarray(picture.convert("L"), np.float32)[:, :, None]
    colours = 255 * matplotlib.colormaps[_COLOURS](strength)[:, :, :3]
    opacity = _OPACITY * strength[:, :, None]
    return np.rint((1 - opacity) * grey + opacity * colours).astype(np.uint8)

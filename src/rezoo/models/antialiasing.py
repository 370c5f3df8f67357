"""Anti-aliased downsampling: a block of stride 2 filters its features before it subsamples them.

The 3x3 convolution of the block then has stride 1, and one of these functions follows its ReLU.
`(N, H, W, C)` becomes `(N, ceil(H / 2), ceil(W / 2), C)`.
"""

from __future__ import annotations

from typing import Any

import keras

from rezoo.models.primitives import ReflectionPadding2D


def average(x: Any, *, name: str) -> Any:
    """Average over 2x2. If a side is odd, the last average covers the remaining pixels."""
    return keras.layers.AveragePooling2D(2, padding="same", name=name)(x)


def blur(x: Any, *, name: str) -> Any:
    """Blur with the filter of the binomials 1, 2, 1 and stride 2; the border is reflected.

    "Making Convolutional Networks Shift-Invariant Again", arXiv:1904.11486, section 3.2,
    "Triangle-3". An average over 2x2 of averages over 2x2 is this filter.
    """
    x = ReflectionPadding2D(name=f"{name}.pad")(x)
    x = keras.layers.AveragePooling2D(2, strides=1, name=f"{name}.first")(x)
    return keras.layers.AveragePooling2D(2, name=name)(x)

"""Stems of residual networks, and what pools after them: functions on tensors `(N, H, W, C)`.

A stem brings the image to the width of the first stage. Most stems halve its sides, and so do most
pools.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from rezoo.models.antialiasing import blur
from rezoo.models.layers import conv, max_pool, norm, relu


def plain_stem(x: Any, width: int, *, norm: Callable[..., Any] = norm) -> Any:
    """Apply one 7x7 convolution of stride 2 (arXiv:1512.03385, table 1)."""
    x = conv(x, width, 7, stride=2, name="conv1")
    return relu(norm(x, name="bn1"), name="act1")


def small_stem(x: Any, width: int, *, norm: Callable[..., Any] = norm) -> Any:
    """Apply one 3x3 convolution of stride 1, for 32-pixel images (arXiv:1512.03385, 4.2)."""
    x = conv(x, width, 3, name="conv1")
    return relu(norm(x, name="bn1"), name="act1")


def deep_stem(
    x: Any, first: int, second: int, third: int, *, norm: Callable[..., Any] = norm
) -> Any:
    """Apply three 3x3 convolutions of the given widths, the first of stride 2.

    ResNet-C of "Bag of Tricks for Image Classification with CNNs", arXiv:1812.01187, figure 2.
    The numbers in names are positions in PyTorch's `Sequential`; 2 and 5 are ReLUs.
    """
    x = conv(x, first, 3, stride=2, name="conv1.0")
    x = relu(norm(x, name="conv1.1"), name="conv1.2")
    x = conv(x, second, 3, name="conv1.3")
    x = relu(norm(x, name="conv1.4"), name="conv1.5")
    x = conv(x, third, 3, name="conv1.6")
    return relu(norm(x, name="bn1"), name="act1")


def max_pooling(x: Any, *, norm: Callable[..., Any] = norm) -> Any:
    """Max-pool 3x3 with stride 2 (arXiv:1512.03385, table 1); see `layers.max_pool`."""
    return max_pool(x, name="maxpool")


def no_pooling(x: Any, *, norm: Callable[..., Any] = norm) -> Any:
    """Return `x`: networks for images of 32 pixels do not pool after the stem."""
    return x


def average_pooling(x: Any, *, norm: Callable[..., Any] = norm) -> Any:
    """Average over 2x2; of an odd side, the last row or column is not used."""
    return keras.layers.AveragePooling2D(2, name="maxpool")(x)


def blurred_max_pooling(x: Any, *, norm: Callable[..., Any] = norm) -> Any:
    """Max-pool 3x3 with stride 1, then blur with stride 2 (arXiv:1904.11486, section 3.2)."""
    return blur(max_pool(x, stride=1, name="maxpool.0"), name="maxpool.1")


def convolution_pooling(x: Any, *, norm: Callable[..., Any] = norm) -> Any:
    """Apply a 3x3 convolution of stride 2, as timm builds ResNet-RS (arXiv:2103.07579).

    In the paper (section 4.1), the first 3x3 of the next block has the stride. The numbers in names
    are positions in PyTorch's `Sequential`.
    """
    x = conv(x, x.shape[-1], 3, stride=2, name="maxpool.0")
    return relu(norm(x, name="maxpool.1"), name="maxpool.2")

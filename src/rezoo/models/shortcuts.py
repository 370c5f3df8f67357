"""Shortcuts of residual blocks: functions from the input of a block to what its branch is added to.

Each takes `(N, H, W, C)` and returns `(N, ceil(H / stride), ceil(W / stride), filters)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from rezoo.models.layers import conv, norm
from rezoo.models.primitives import PaddedShortcut


def projection_shortcut(
    x: Any,
    filters: int,
    *,
    stride: int,
    kernel: int = 1,
    norm: Callable[..., Any] = norm,
    name: str,
) -> Any:
    """Return `x`, or its projection if the shape changes (arXiv:1512.03385, option B).

    Args:
        x: Input tensor.
        filters: Number of output channels.
        stride: Stride of the block.
        kernel: Side of the kernel of a projection with a stride; others have 1x1.
        norm: The normalization, such as `layers.norm`.
        name: Name of the block.
    """
    if stride == 1 and x.shape[-1] == filters:
        return x
    kernel = kernel if stride > 1 else 1
    x = conv(x, filters, kernel, stride=stride, name=f"{name}.downsample.0")
    return norm(x, name=f"{name}.downsample.1")


def pooled_shortcut(
    x: Any, filters: int, *, stride: int, norm: Callable[..., Any] = norm, name: str
) -> Any:
    """Return `x`, or its average over 2x2 and projection if the shape changes.

    Unlike a projection of stride 2, the average uses every pixel (ResNet-D, arXiv:1812.01187,
    figure 2). If a side is odd, the last average covers the remaining pixels. The numbers in names
    are positions in PyTorch's `Sequential`; without pooling, position 0 is an identity.
    """
    if stride == 1 and x.shape[-1] == filters:
        return x
    if stride > 1:
        x = keras.layers.AveragePooling2D(stride, padding="same", name=f"{name}.downsample.0")(x)
    x = conv(x, filters, 1, name=f"{name}.downsample.1")
    return norm(x, name=f"{name}.downsample.2")


def padded_shortcut(
    x: Any, filters: int, *, stride: int, norm: Callable[..., Any] = norm, name: str
) -> Any:
    """Return `x`, or every `stride`-th pixel of it padded with zero channels up to `filters`.

    It has no parameters (arXiv:1512.03385, section 3.3, option A). Half of the zero channels come
    before the others and half after.
    """
    if stride == 1 and x.shape[-1] == filters:
        return x
    return PaddedShortcut(filters, stride, name=f"{name}.downsample")(x)


def no_shortcut(
    x: Any, filters: int, *, stride: int, norm: Callable[..., Any] = norm, name: str
) -> None:
    """Return None: blocks without shortcuts make the plain networks of the paper."""

"""Blocks of residual networks: functions on Keras tensors `(N, H, W, C)`.

The parts of a block are functions that are passed: its shortcut (`shortcuts`), its normalization
(`layers`), its channel attention (`attention`) and its anti-aliasing (`antialiasing`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras

from rezoo.models.drop_path import DropPath, add
from rezoo.models.layers import conv, norm, relu
from rezoo.models.shortcuts import projection_shortcut


def basic_block(
    x: Any,
    width: int,
    *,
    stride: int,
    shortcut: Callable[..., Any] = projection_shortcut,
    norm: Callable[..., Any] = norm,
    attention: Callable[..., Any] | None = None,
    antialias: Callable[..., Any] | None = None,
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply two 3x3 convolutions and a shortcut (arXiv:1512.03385, figure 5 left).

    Returns `(N, ceil(H / stride), ceil(W / stride), width)`. For the arguments, see
    `bottleneck_block`.
    """
    y = strided_conv(x, width, stride=stride, antialias=antialias, norm=norm, name=name, place=1)
    y = conv(y, width, 3, name=f"{name}.conv2")
    identity = shortcut(x, width, stride=stride, norm=norm, name=name)
    y = norm(y, zero_gamma=identity is not None, name=f"{name}.bn2")
    return join(y, identity, attention=attention, drop_path=drop_path, name=name)


def bottleneck_block(
    x: Any,
    width: int,
    *,
    stride: int,
    stride_in: Literal["1x1", "3x3"] = "3x3",
    groups: int = 1,
    base_width: int = 64,
    reduce_first: int = 1,
    shortcut: Callable[..., Any] = projection_shortcut,
    norm: Callable[..., Any] = norm,
    attention: Callable[..., Any] | None = None,
    antialias: Callable[..., Any] | None = None,
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply 1x1, 3x3 and 1x1 convolutions and a shortcut (arXiv:1512.03385, figure 5 right).

    Returns `(N, ceil(H / stride), ceil(W / stride), 4 * width)`.

    Args:
        x: Input tensor.
        width: A quarter of the number of output channels.
        stride: Stride of the block.
        stride_in: The convolution with the stride: the first `"1x1"` (v1, the paper) or the
            `"3x3"` (v1.5, torchvision and timm).
        groups: Groups of channels of the 3x3 convolution ("Aggregated Residual Transformations for
            Deep Neural Networks", arXiv:1611.05431).
        base_width: Inner width of a group in a block of width 64; it grows with `width`. More than
            64 in one group makes a wide network ("Wide Residual Networks", arXiv:1605.07146).
        reduce_first: Divisor of the width between the first two convolutions.
        shortcut: One of the functions of `shortcuts`.
        norm: The normalization, such as `layers.norm`.
        attention: One of the functions of `attention`, before the sum; None for none.
        antialias: One of the functions of `antialiasing`, if the 3x3 has a stride; None for none.
        drop_path: Stochastic depth of this block; None for none.
        name: Prefix of the names of the layers.
    """
    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
    inner = width * base_width // 64 * groups
    y = conv(x, inner // reduce_first, 1, stride=first, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    y = strided_conv(
        y,
        inner,
        stride=second,
        groups=groups,
        antialias=antialias,
        norm=norm,
        name=name,
        place=2,
    )
    y = conv(y, 4 * width, 1, name=f"{name}.conv3")
    y = norm(y, zero_gamma=True, name=f"{name}.bn3")
    identity = shortcut(x, 4 * width, stride=stride, norm=norm, name=name)
    return join(y, identity, attention=attention, drop_path=drop_path, name=name)


def pooled_block(x: Any, width: int, *, name: str) -> Any:
    """Halve the sides by max pooling between two 3x3 convolutions, the second with a shortcut.

    Returns `(N, H // 2, W // 2, width)`. The pooling comes before batch normalization and ReLU
    (arXiv:2404.00498, section 3.1), so they take a quarter of the time. The convolutions start as
    the identity of their channels (section 3.3).
    """
    x = conv(x, width, 3, identity=True, name=f"{name}.conv1")
    x = keras.layers.MaxPooling2D(2, name=f"{name}.pool")(x)
    x = relu(norm(x, name=f"{name}.bn1"), name=f"{name}.act1")
    y = norm(conv(x, width, 3, identity=True, name=f"{name}.conv2"), name=f"{name}.bn2")
    return join(y, x, name=name)


def strided_conv(
    x: Any,
    filters: int,
    *,
    stride: int,
    groups: int = 1,
    antialias: Callable[..., Any] | None = None,
    norm: Callable[..., Any] = norm,
    name: str,
    place: int,
) -> Any:
    """Apply a 3x3 convolution, normalization and ReLU, the `place`-th of a block.

    With anti-aliasing, the convolution has no stride, and `antialias` subsamples after the ReLU.
    """
    if stride == 1:
        antialias = None
    conv_stride = 1 if antialias else stride
    x = conv(x, filters, 3, stride=conv_stride, groups=groups, name=f"{name}.conv{place}")
    x = relu(norm(x, name=f"{name}.bn{place}"), name=f"{name}.act{place}")
    return antialias(x, name=f"{name}.aa") if antialias else x


def join(
    residual: Any,
    identity: Any | None,
    *,
    attention: Callable[..., Any] | None = None,
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """End a block: scale its branch by `attention`, add the shortcut, apply a ReLU.

    Args:
        residual: The branch, normalized.
        identity: What the shortcut returned; None in plain networks.
        attention: One of the functions of `attention`, or None.
        drop_path: Stochastic depth of this block; None for none.
        name: Name of the block.
    """
    if attention is not None:
        residual = attention(residual, name=f"{name}.se")
    if identity is None:
        return relu(residual, name=f"{name}.act")
    return relu(add(residual, identity, drop_path, name=f"{name}.add"), name=f"{name}.act")

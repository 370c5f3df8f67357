"""Blocks and shortcuts of pre-activation networks: functions on Keras tensors `(N, H, W, C)`.

"Identity Mappings in Deep Residual Networks", arXiv:1603.05027: normalization and activation come
before each convolution, and nothing follows the sum, so the identity reaches from the first block
to the last. The shortcut of a block that changes the shape reads the activated input; an identity
is the input itself. Names are those of timm's `resnetv2`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras

from rezoo.models import layers
from rezoo.models.drop_path import DropPath, add
from rezoo.models.norms import EvoNorm
from rezoo.models.preactivation_layers import StandardizedConv2D
from rezoo.models.primitives import ReflectionPadding2D
from rezoo.models.shortcuts import padded_shortcut

GROUPS = 32  # of group normalization and EvoNorm


class Operations(NamedTuple):
    """The convolution and the activation that all blocks of a network have.

    Attributes:
        conv: As `layers.conv`, with the class of the layer fixed.
        activate: Normalization and activation: `activate(x, name=…)`.
    """

    conv: Callable[..., Any]
    activate: Callable[..., Any]


def _batch_norm_relu(x: Any, *, name: str) -> Any:
    return layers.relu(layers.norm(x, name=name), name=f"{name}.act")


def _group_norm_relu(x: Any, *, name: str) -> Any:
    return layers.relu(layers.group_norm(x, groups=GROUPS, name=name), name=f"{name}.act")


def _evo_norm(x: Any, *, name: str) -> Any:
    return EvoNorm(GROUPS, epsilon=layers.BN_EPSILON, name=name)(x)


PARTS: dict[str, Operations] = {
    "batch_norm": Operations(layers.conv, _batch_norm_relu),
    "group_norm": Operations(layers.conv, _group_norm_relu),
    "evo_norm": Operations(layers.conv, _evo_norm),
    "standardized": Operations(partial(layers.conv, layer=StandardizedConv2D), _group_norm_relu),
}


def plain_stem(x: Any, width: int, *, parts: Operations) -> Any:
    """Apply one 7x7 convolution of stride 2."""
    return parts.conv(x, width, 7, stride=2, name="stem.conv")


def small_stem(x: Any, width: int, *, parts: Operations) -> Any:
    """Apply one 3x3 convolution of stride 1, for 32-pixel images, and activate the result.

    The first block then has no activation of its own at its start (arXiv:1603.05027, appendix).
    """
    return parts.activate(parts.conv(x, width, 3, name="stem.conv"), name="stem.norm")


def deep_stem(x: Any, first: int, second: int, third: int, *, parts: Operations) -> Any:
    """Apply three 3x3 convolutions of the given widths, the first of stride 2; see `layers`."""
    x = parts.conv(x, first, 3, stride=2, name="stem.conv1")
    x = parts.conv(parts.activate(x, name="stem.norm1"), second, 3, name="stem.conv2")
    return parts.conv(parts.activate(x, name="stem.norm2"), third, 3, name="stem.conv3")


def max_pool(x: Any) -> Any:
    """Max-pool 3x3 with stride 2, as with a padding of minus infinity: `x` may be negative.

    The reflected pixels beyond the border are in their window already: they change no maximum.
    """
    x = ReflectionPadding2D(name="stem.pool.pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="stem.pool")(x)


def zero_padded_max_pool(x: Any) -> Any:
    """Max-pool 3x3 with stride 2 and a padding of zeros, as BiT does without a ReLU before it."""
    return layers.max_pool(x, name="stem.pool")


def no_pool(x: Any) -> Any:
    """Return `x`: networks for 32-pixel images keep their size."""
    return x


def projection(x: Any, filters: int, *, stride: int, parts: Operations, name: str) -> Any:
    """Apply a 1x1 convolution without normalization, which the next block begins with."""
    return parts.conv(x, filters, 1, stride=stride, name=f"{name}.downsample.conv")


def pooled_projection(x: Any, filters: int, *, stride: int, parts: Operations, name: str) -> Any:
    """Average over 2x2 if the side changes, then apply a 1x1 convolution (ResNet-D)."""
    if stride > 1:
        pool = keras.layers.AveragePooling2D(stride, padding="same", name=f"{name}.downsample.pool")
        x = pool(x)
    return parts.conv(x, filters, 1, name=f"{name}.downsample.conv")


def padding(x: Any, filters: int, *, stride: int, parts: Operations, name: str) -> Any:
    """Keep every `stride`-th pixel and add channels of zeros (option A of arXiv:1512.03385)."""
    return padded_shortcut(x, filters, stride=stride, name=name)


def basic_block(
    x: Any,
    filters: int,
    *,
    stride: int,
    activated: bool,
    shortcut: Callable[..., Any],
    parts: Operations,
    drop_path: DropPath | None,
    name: str,
) -> Any:
    """Apply two 3x3 convolutions (arXiv:1603.05027, figure 4e) and a shortcut.

    The shortcut is the identity unless the shape changes. For the arguments, see
    `bottleneck_block`.
    """
    active = x if activated else parts.activate(x, name=f"{name}.norm1")
    if stride > 1 or x.shape[-1] != filters:
        x = shortcut(active, filters, stride=stride, parts=parts, name=name)
    y = parts.conv(active, filters, 3, stride=stride, name=f"{name}.conv1")
    y = parts.activate(y, name=f"{name}.norm2")
    y = parts.conv(y, filters, 3, name=f"{name}.conv2")
    return add(y, x, drop_path, name=f"{name}.add")


def bottleneck_block(
    x: Any,
    filters: int,
    *,
    stride: int,
    activated: bool,
    shortcut: Callable[..., Any],
    parts: Operations,
    drop_path: DropPath | None,
    stride_in: str = "3x3",
    name: str,
) -> Any:
    """Apply 1x1, 3x3 and 1x1 convolutions and a shortcut.

    Returns `(N, ceil(H / stride), ceil(W / stride), filters)`.

    Args:
        x: Input tensor.
        filters: Number of output channels, four times those of the 3x3 convolution.
        stride: Stride of the block.
        activated: Whether `x` is activated already, as behind `small_stem`.
        shortcut: A shortcut function of this module, for blocks that change the shape.
        parts: Convolution and activation.
        drop_path: Stochastic depth of this block; None for none.
        stride_in: The convolution with the stride: `"1x1"` (the paper) or `"3x3"` (timm).
        name: Prefix of the names of the layers.
    """
    width = filters // 4
    in_1x1, in_3x3 = (stride, 1) if stride_in == "1x1" else (1, stride)
    active = x if activated else parts.activate(x, name=f"{name}.norm1")
    if stride > 1 or x.shape[-1] != filters:
        x = shortcut(active, filters, stride=stride, parts=parts, name=name)
    y = parts.conv(active, width, 1, stride=in_1x1, name=f"{name}.conv1")
    y = parts.activate(y, name=f"{name}.norm2")
    y = parts.conv(y, width, 3, stride=in_3x3, name=f"{name}.conv2")
    y = parts.activate(y, name=f"{name}.norm3")
    y = parts.conv(y, filters, 1, name=f"{name}.conv3")
    return add(y, x, drop_path, name=f"{name}.add")


# Specs name these functions, so that specs load without Keras.
STEMS: dict[str, Callable[..., Any]] = {
    "plain": plain_stem,
    "deep": deep_stem,
    "small": small_stem,
}
POOLS: dict[str, Callable[..., Any]] = {
    "max": max_pool,
    "zero_padded_max": zero_padded_max_pool,
    "none": no_pool,
}
SHORTCUTS: dict[str, Callable[..., Any]] = {
    "projection": projection,
    "pooled": pooled_projection,
    "padded": padding,
}
BLOCKS: dict[str, Callable[..., Any]] = {
    "basic": basic_block,
    "bottleneck": bottleneck_block,
    "bottleneck_v1": partial(bottleneck_block, stride_in="1x1"),
}

"""Blocks, stems and shortcuts of residual networks: functions on Keras tensors `(N, H, W, C)`.

The name of each layer is the prefix of its tensors in a PyTorch file (`layer1.0.conv1`), so weights
need no mapping table. Strided layers have explicit, symmetric padding, unlike `padding="same"`, and
batch normalization has PyTorch's constants.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import keras

from rezoo.models.drop_path import Add, DropPath
from rezoo.models.primitives import (
    BatchNormalization,
    Conv2D,
    IdentityFilters,
    PaddedShortcut,
    ReLU,
)

BN_EPSILON = 1e-5
BN_MOMENTUM = 0.9  # PyTorch's 0.1
PROBABILITIES = "prob"  # name of the layer after the logits, if there is one


def conv(
    x: Any,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    bias: bool = False,
    identity: bool = False,
    name: str,
) -> Any:
    """Convolve `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.

    The kernel has He initialization from the fan-out (arXiv:1502.01852, section 2.2).

    Args:
        x: Input tensor.
        filters: Number of output channels.
        kernel: Side of the odd, square kernel.
        stride: Stride in both directions.
        padding: Zeros on each of the four sides; half the kernel if None.
        bias: Whether to add a bias. Not needed before batch normalization.
        identity: Whether the first filters start as the identity of their channels.
        name: Name of the layer.
    """
    padding = kernel // 2 if padding is None else padding
    same = stride == 1 and padding == kernel // 2
    if padding and not same:
        x = keras.layers.ZeroPadding2D(padding, name=f"{name}.pad")(x)
    return Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if same else "valid",
        use_bias=bias,
        kernel_initializer=(IdentityFilters if identity else keras.initializers.VarianceScaling)(
            2.0, "fan_out", "untruncated_normal"
        ),
        name=name,
    )(x)


def norm(x: Any, *, zero_gamma: bool = False, name: str) -> Any:
    """Batch-normalize; `zero_gamma` starts a residual branch at zero (arXiv:1706.02677, 5.1)."""
    return BatchNormalization(
        epsilon=BN_EPSILON,
        momentum=BN_MOMENTUM,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=name,
    )(x)


def relu(x: Any, *, name: str) -> Any:
    """Apply a ReLU."""
    return ReLU(name=name)(x)


def max_pool(x: Any, *, name: str) -> Any:
    """Max-pool 3x3 with stride 2 and a padding of one; `x` must not be negative.

    The padding is zero rather than minus infinity, which is equivalent only after a ReLU.
    """
    x = keras.layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)


def plain_stem(x: Any, width: int) -> Any:
    """Apply one 7x7 convolution of stride 2 (arXiv:1512.03385, table 1)."""
    x = conv(x, width, 7, stride=2, name="conv1")
    return relu(norm(x, name="bn1"), name="act1")


def small_stem(x: Any, width: int) -> Any:
    """Apply one 3x3 convolution of stride 1, for 32-pixel images (arXiv:1512.03385, 4.2)."""
    x = conv(x, width, 3, name="conv1")
    return relu(norm(x, name="bn1"), name="act1")


def deep_stem(x: Any, first: int, second: int, third: int) -> Any:
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


def projection_shortcut(x: Any, filters: int, *, stride: int, name: str) -> Any:
    """Return `x`, or its projection if the shape changes (arXiv:1512.03385, option B)."""
    if stride == 1 and x.shape[-1] == filters:
        return x
    x = conv(x, filters, 1, stride=stride, name=f"{name}.downsample.0")
    return norm(x, name=f"{name}.downsample.1")


def pooled_shortcut(x: Any, filters: int, *, stride: int, name: str) -> Any:
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


def padded_shortcut(x: Any, filters: int, *, stride: int, name: str) -> Any:
    """Return `x`, or every `stride`-th pixel of it padded with zero channels up to `filters`.

    It has no parameters (arXiv:1512.03385, section 3.3, option A). Half of the zero channels come
    before the others and half after.
    """
    if stride == 1 and x.shape[-1] == filters:
        return x
    return PaddedShortcut(filters, stride, name=f"{name}.downsample")(x)


def no_shortcut(x: Any, filters: int, *, stride: int, name: str) -> None:
    """Return None: blocks without shortcuts make the plain networks of the paper."""


def basic_block(
    x: Any,
    width: int,
    *,
    stride: int,
    shortcut: Callable[..., Any] = projection_shortcut,
    drop_path: DropPath | None = None,
    name: str,
) -> Any:
    """Apply two 3x3 convolutions and a shortcut (arXiv:1512.03385, figure 5 left).

    Returns `(N, ceil(H / stride), ceil(W / stride), width)`. For the arguments, see
    `bottleneck_block`.
    """
    y = conv(x, width, 3, stride=stride, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    y = conv(y, width, 3, name=f"{name}.conv2")
    identity = shortcut(x, width, stride=stride, name=name)
    y = norm(y, zero_gamma=identity is not None, name=f"{name}.bn2")
    return _join(y, identity, drop_path, name=name)


def bottleneck_block(
    x: Any,
    width: int,
    *,
    stride: int,
    stride_in: Literal["1x1", "3x3"] = "3x3",
    widen: int = 1,
    shortcut: Callable[..., Any] = projection_shortcut,
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
        widen: Channels of the first two convolutions as a multiple of `width` ("Wide Residual
            Networks", arXiv:1605.07146).
        shortcut: One of the shortcut functions of this module.
        drop_path: Stochastic depth of this block; None for none.
        name: Prefix of the names of the layers.
    """
    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
    y = conv(x, widen * width, 1, stride=first, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    y = conv(y, widen * width, 3, stride=second, name=f"{name}.conv2")
    y = relu(norm(y, name=f"{name}.bn2"), name=f"{name}.act2")
    y = conv(y, 4 * width, 1, name=f"{name}.conv3")
    y = norm(y, zero_gamma=True, name=f"{name}.bn3")
    identity = shortcut(x, 4 * width, stride=stride, name=name)
    return _join(y, identity, drop_path, name=name)


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
    return _join(y, x, None, name=name)


def classifier(x: Any, num_classes: int, *, activation: str | None) -> Any:
    """Average over all positions and classify: `(N, H, W, C)` to `(N, num_classes)`, float32.

    If `num_classes` is 0, returns the averaged features `(N, C)`.
    """
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    if num_classes == 0:
        return x
    x = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",  # logits stay float32 under mixed precision
        name="fc",
    )(x)
    if activation is None:
        return x
    return keras.layers.Activation(activation, dtype="float32", name=PROBABILITIES)(x)


def _join(residual: Any, identity: Any | None, drop_path: DropPath | None, *, name: str) -> Any:
    if identity is None:
        return relu(residual, name=f"{name}.act")
    if drop_path is None:
        add = keras.layers.Add(name=f"{name}.add")
    else:
        add = Add(rate=drop_path.rate, seed=drop_path.seed, name=f"{name}.add")
    return relu(add([residual, identity]), name=f"{name}.act")


# Specs name these functions, so that specs load without Keras.
STEMS: dict[str, Callable[..., Any]] = {
    "plain": plain_stem,
    "deep": deep_stem,
    "small": small_stem,
}
SHORTCUTS: dict[str, Callable[..., Any]] = {
    "projection": projection_shortcut,
    "pooled": pooled_shortcut,
    "padded": padded_shortcut,
    "none": no_shortcut,
}
BLOCKS: dict[str, Callable[..., Any]] = {
    "basic": basic_block,
    "bottleneck": bottleneck_block,
    "bottleneck_v1": partial(bottleneck_block, stride_in="1x1"),
    "bottleneck_2x": partial(bottleneck_block, widen=2),
}

"""The layers of convolutional networks: functions on Keras tensors `(N, H, W, C)`.

`stems`, `blocks` and `shortcuts` are made of them. The name of each layer is the prefix of its
tensors in a PyTorch file (`layer1.0.conv1`), so weights need no mapping table. Strided layers have
explicit, symmetric padding, unlike `padding="same"`, and batch normalization has PyTorch's
constants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from rezoo.errors import SpecError
from rezoo.models.norms import BatchNormalization, GroupNormalization
from rezoo.models.primitives import Conv2D, IdentityFilters, ReLU

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
    groups: int = 1,
    dilation: int = 1,
    bias: bool = False,
    identity: bool = False,
    layer: Callable[..., Any] = Conv2D,
    name: str,
) -> Any:
    """Convolve `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.

    The kernel has He initialization from the fan-out (arXiv:1502.01852, section 2.2).

    Args:
        x: Input tensor.
        filters: Number of output channels.
        kernel: Side of the odd, square kernel.
        stride: Stride in both directions.
        padding: Zeros on each of the four sides; half the dilated kernel if None.
        groups: Number of groups of channels; a filter reads those of its group.
        dilation: Distance of the pixels that a kernel reads.
        bias: Whether to add a bias. Not needed before batch normalization.
        identity: Whether the first filters start as the identity of their channels.
        layer: Class of the layer.
        name: Name of the layer.

    Raises:
        SpecError: The groups do not divide the input channels or the filters.
    """
    if x.shape[-1] % groups or filters % groups:
        raise SpecError(
            f"{name}: {groups} groups do not divide {x.shape[-1]} channels into {filters} filters",
            hint="both widths must be multiples of the number of groups.",
        )
    half = dilation * (kernel // 2)
    padding = half if padding is None else padding
    same = stride == 1 and padding == half
    if padding and not same:
        x = keras.layers.ZeroPadding2D(padding, name=f"{name}.pad")(x)
    return layer(
        filters,
        kernel,
        strides=stride,
        padding="same" if same else "valid",
        groups=groups,
        dilation_rate=dilation,
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


def group_norm(x: Any, *, groups: int = 32, zero_gamma: bool = False, name: str) -> Any:
    """Normalize each image over its positions and groups of channels (arXiv:1803.08494, 3.1).

    Has no running statistics. For `zero_gamma`, see `norm`.
    """
    return GroupNormalization(
        groups,
        epsilon=BN_EPSILON,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=name,
    )(x)


def relu(x: Any, *, name: str) -> Any:
    """Apply a ReLU."""
    return ReLU(name=name)(x)


def conv_norm(
    x: Any,
    filters: int,
    kernel: int,
    *,
    activate: bool = True,
    norm: Callable[..., Any] = norm,
    zero_gamma: bool = False,
    name: str,
    **options: Any,
) -> Any:
    """Convolve, normalize and apply a ReLU, named as timm's `ConvNormAct`.

    Args:
        x: Input tensor.
        filters: Number of output channels.
        kernel: Side of the kernel.
        activate: Whether to apply the ReLU.
        norm: The normalization, such as `norm`.
        zero_gamma: As for `norm`.
        name: Prefix of the names of the layers.
        **options: Arguments of `conv`.
    """
    x = conv(x, filters, kernel, name=f"{name}.conv", **options)
    x = norm(x, zero_gamma=zero_gamma, name=f"{name}.bn")
    return relu(x, name=f"{name}.act") if activate else x


def average_pool(x: Any, *, stride: int, name: str) -> Any:
    """Average over 3x3 with a padding of zeros, which count: of a corner, four values by nine."""
    x = keras.layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return keras.layers.AveragePooling2D(3, strides=stride, name=name)(x)


def divisible(width: float, divisor: int, *, least: int, part: float = 0.9) -> int:
    """Round a width to a multiple of `divisor`, at least `least` and at least `part` of it."""
    rounded = max(least, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < part * width else rounded


def max_pool(x: Any, *, stride: int = 2, name: str) -> Any:
    """Max-pool 3x3 with a padding of one; `x` must not be negative.

    The padding is zero rather than minus infinity, which is equivalent only after a ReLU.
    """
    x = keras.layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return keras.layers.MaxPooling2D(3, strides=stride, name=name)(x)


def classifier(
    x: Any,
    num_classes: int,
    *,
    activation: str | None,
    layer: Callable[..., Any] = keras.layers.Dense,
    norm: Callable[..., Any] | None = None,
    name: str = "fc",
) -> Any:
    """Average over all positions and classify: `(N, H, W, C)` to `(N, num_classes)`, float32.

    Args:
        x: The last feature map.
        num_classes: Width of the head; if it is 0, returns the averaged features `(N, C)`.
        activation: Activation after the logits, or None.
        layer: Class of the head, `keras.layers.Dense` or a subclass.
        norm: A function that normalizes the averaged features, of `(x, name=…)`; None for none.
        name: Name of the head, one of `naming.HEADS`.
    """
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    if norm is not None:
        x = norm(x, name=f"{name.removesuffix('fc')}norm")
    if num_classes == 0:
        return x
    x = layer(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",  # logits stay float32 under mixed precision
        name=name,
    )(x)
    if activation is None:
        return x
    return keras.layers.Activation(activation, dtype="float32", name=PROBABILITIES)(x)

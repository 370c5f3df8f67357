"""Layers and blocks of residual networks, as functions on Keras tensors `(N, H, W, C)`.

Each layer's name is the prefix of its tensors in a PyTorch file (`layer1.0.conv1`), so
weights need no mapping table. Padding of strided layers is explicit and symmetric, which
`padding="same"` is not, and batch normalization has PyTorch's constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal

import keras

from rezoo.errors import IncompatibleError
from rezoo.models.drop_path import addition
from rezoo.models.primitives import Conv2D, PaddedShortcut, ReLU

BN_EPSILON = 1e-5
BN_MOMENTUM = 0.9  # PyTorch calls this 0.1
_weights_follow: ContextVar[bool] = ContextVar("weights_follow", default=False)


@keras.saving.register_keras_serializable(package="rezoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization that uses TensorFlow's fused kernel where that is the backend.

    Variables and results are those of the Keras layer, but for the moving variance: the
    fused kernel keeps it unbiased (Bessel's correction), as PyTorch does. Other backends,
    masks, synchronised statistics and inputs that are not `(N, H, W, C)` take Keras's path.

    Attributes:
        statistics_frozen: Whether training leaves the moving statistics alone and normalizes
            with them; gamma and beta are trained all the same.
    """

    statistics_frozen = False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize `inputs`; see `keras.layers.BatchNormalization.call`."""
        training = bool(training) and not self.statistics_frozen
        plain = (
            keras.config.backend() != "tensorflow"
            or mask is not None
            or self.synchronized
            or self.renorm
            or self.axis not in (-1, 3)
            or len(inputs.shape) != 4
        )
        if plain:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        learn = bool(training) and self.trainable
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=[] if learn else tf.convert_to_tensor(self.moving_mean),
            variance=[] if learn else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learn,
        )
        if learn:
            rate = 1.0 - self.momentum
            self.moving_mean.assign_sub((self.moving_mean - mean) * rate)
            self.moving_variance.assign_sub((self.moving_variance - variance) * rate)
        return outputs


def freeze_statistics(model: keras.Model) -> None:
    """Let all batch normalization keep its statistics in training, and train gamma and beta.

    Raises:
        IncompatibleError: A layer is Keras's own, which can only be frozen as a whole.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            freeze_statistics(layer)
        elif isinstance(layer, BatchNormalization):
            layer.statistics_frozen = True
        elif isinstance(layer, keras.layers.BatchNormalization):
            raise IncompatibleError(
                f"the statistics of layer {layer.name} cannot be frozen: it is Keras's own",
                hint="build the network with rezoo.models.layers.norm.",
            )


@contextmanager
def weights_follow() -> Iterator[None]:
    """Let convolutions inside the block start from zeros: their weights come from a file.

    Drawing random numbers only to overwrite them takes a quarter of the time of loading.
    """
    token = _weights_follow.set(True)
    try:
        yield
    finally:
        _weights_follow.reset(token)


def conv(
    x: Any,
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    bias: bool = False,
    name: str,
) -> Any:
    """Convolve `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.

    Args:
        x: Input tensor.
        filters: Number of output channels.
        kernel: Side of the odd, square kernel.
        stride: Step in both directions.
        padding: Zeros on each of the four sides; half the kernel where not given.
        bias: Whether it has one; batch normalization needs none.
        name: Name of the layer.

    He initialization from the fan-out
    (arXiv:1502.01852, section 2.2).
    """
    padding = kernel // 2 if padding is None else padding
    same = stride == 1 and padding == kernel // 2
    if padding and not same:
        x = keras.layers.ZeroPadding2D(padding, name=f"{name}.pad")(x)
    drawn = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    layer = Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if same else "valid",
        use_bias=bias,
        kernel_initializer="zeros" if _weights_follow.get() else drawn,
        name=name,
    )
    x = layer(x)
    layer.kernel_initializer = drawn  # what a copy of the layer starts from
    return x


def norm(x: Any, *, zero_gamma: bool = False, name: str) -> Any:
    """Batch-normalize; `zero_gamma` starts a residual branch at zero (arXiv:1706.02677, 5.1)."""
    return BatchNormalization(
        epsilon=BN_EPSILON,
        momentum=BN_MOMENTUM,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=name,
    )(x)


def relu(x: Any, *, name: str) -> Any:
    """Rectify."""
    return ReLU(name=name)(x)


def max_pool(x: Any, *, name: str) -> Any:
    """Pool 3x3 with stride 2 and one row of padding; `x` must not be negative.

    Zeros stand in for minus infinity, which is right only after a ReLU.
    """
    x = keras.layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)


def plain_stem(x: Any, width: int) -> Any:
    """One 7x7 convolution of stride 2 (arXiv:1512.03385, table 1)."""
    x = conv(x, width, 7, stride=2, name="conv1")
    return relu(norm(x, name="bn1"), name="act1")


def small_stem(x: Any, width: int) -> Any:
    """One 3x3 convolution of stride 1, for images of 32 pixels (arXiv:1512.03385, section 4.2)."""
    x = conv(x, width, 3, name="conv1")
    return relu(norm(x, name="bn1"), name="act1")


def deep_stem(x: Any, first: int, second: int, third: int) -> Any:
    """Three 3x3 convolutions of these widths, the first of stride 2.

    "Bag of Tricks for Image Classification with CNNs", arXiv:1812.01187, figure 2
    (ResNet-C). Names count places in PyTorch's sequence: 2 and 5 are its ReLUs.
    """
    x = conv(x, first, 3, stride=2, name="conv1.0")
    x = relu(norm(x, name="conv1.1"), name="conv1.2")
    x = conv(x, second, 3, name="conv1.3")
    x = relu(norm(x, name="conv1.4"), name="conv1.5")
    x = conv(x, third, 3, name="conv1.6")
    return relu(norm(x, name="bn1"), name="act1")


def projection_shortcut(x: Any, filters: int, *, stride: int, name: str) -> Any:
    """Return `x` itself, or its projection where the shape changes (He et al. 2015, option B)."""
    if stride == 1 and x.shape[-1] == filters:
        return x
    x = conv(x, filters, 1, stride=stride, name=f"{name}.downsample.0")
    return norm(x, name=f"{name}.downsample.1")


def pooled_shortcut(x: Any, filters: int, *, stride: int, name: str) -> Any:
    """Like `projection_shortcut`, with an average over 2x2 instead of its step of two.

    So every pixel counts (arXiv:1812.01187, figure 2, ResNet-D). At odd sides the last
    average is over the pixels that are there. Names count places in PyTorch's sequence:
    where nothing is pooled, an identity is in place 0.
    """
    if stride == 1 and x.shape[-1] == filters:
        return x
    if stride > 1:
        x = keras.layers.AveragePooling2D(stride, padding="same", name=f"{name}.downsample.0")(x)
    x = conv(x, filters, 1, name=f"{name}.downsample.1")
    return norm(x, name=f"{name}.downsample.2")


def padded_shortcut(x: Any, filters: int, *, stride: int, name: str) -> Any:
    """Return every `stride`-th pixel of `x`, with channels of zeros up to `filters`.

    It has no parameters (He et al. 2015, section 3.3, option A). Half of the zeros come before
    the channels and half behind.
    """
    if stride == 1 and x.shape[-1] == filters:
        return x
    return PaddedShortcut(filters, stride, name=f"{name}.downsample")(x)


def no_shortcut(x: Any, filters: int, *, stride: int, name: str) -> None:
    """Return nothing: a block without a shortcut is one of the paper's plain networks."""


def basic_block(
    x: Any,
    width: int,
    *,
    stride: int,
    shortcut: Callable[..., Any] = projection_shortcut,
    name: str,
) -> Any:
    """Two 3x3 convolutions and a shortcut (arXiv:1512.03385, figure 5 left).

    Returns `(N, ceil(H / stride), ceil(W / stride), width)`; see `bottleneck_block`.
    """
    y = conv(x, width, 3, stride=stride, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    y = conv(y, width, 3, name=f"{name}.conv2")
    identity = shortcut(x, width, stride=stride, name=name)
    y = norm(y, zero_gamma=identity is not None, name=f"{name}.bn2")
    return _join(y, identity, name=name)


def bottleneck_block(
    x: Any,
    width: int,
    *,
    stride: int,
    stride_in: Literal["1x1", "3x3"] = "3x3",
    widen: int = 1,
    shortcut: Callable[..., Any] = projection_shortcut,
    name: str,
) -> Any:
    """1x1, 3x3 and 1x1 convolutions and a shortcut (arXiv:1512.03385, figure 5 right).

    The output has four times `width` channels: `(N, ceil(H / stride), ceil(W / stride),
    4 * width)`.

    Args:
        x: Input tensor.
        width: A quarter of the output's channels.
        stride: Step of the block.
        stride_in: Which convolution takes the step: the first, `"1x1"` (the paper, called
            v1), or `"3x3"` (called v1.5; torchvision, timm).
        widen: Channels of the first two convolutions, in widths ("Wide Residual Networks",
            arXiv:1605.07146).
        shortcut: `projection_shortcut` or `pooled_shortcut`.
        name: Prefix of the block's layers.
    """
    first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
    y = conv(x, widen * width, 1, stride=first, name=f"{name}.conv1")
    y = relu(norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    y = conv(y, widen * width, 3, stride=second, name=f"{name}.conv2")
    y = relu(norm(y, name=f"{name}.bn2"), name=f"{name}.act2")
    y = conv(y, 4 * width, 1, name=f"{name}.conv3")
    y = norm(y, zero_gamma=True, name=f"{name}.bn3")
    return _join(y, shortcut(x, 4 * width, stride=stride, name=name), name=name)


def classifier(x: Any, num_classes: int, *, activation: str | None) -> Any:
    """Average over space and classify: `(N, H, W, C)` to `(N, num_classes)`, float32.

    With `num_classes=0` the averaged features `(N, C)` are returned.
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
    return keras.layers.Activation(activation, dtype="float32", name="prob")(x)


def _join(residual: Any, identity: Any | None, *, name: str) -> Any:
    if identity is None:
        return relu(residual, name=f"{name}.act")
    x = addition(f"{name}.add")([residual, identity])
    return relu(x, name=f"{name}.act")


# Parts by the names that specs give them, so that specs load without Keras.
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

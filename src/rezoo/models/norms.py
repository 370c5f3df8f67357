"""Normalizations: Keras layers with the results of Keras's own, except for rounding.

`BatchNormalization` and `GroupNormalization` have the names, variables and configuration of Keras's
layers, so the fingerprint of a network is the same with either.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import keras

from rezoo.errors import IncompatibleError
from rezoo.models.primitives import trains_on_cpu


@keras.saving.register_keras_serializable(package="rezoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with TensorFlow's fused kernel.

    The moving variance is unbiased (Bessel's correction), as in PyTorch. On other backends, with
    masks, synchronized statistics or inputs that are not `(N, H, W, C)`, it is the Keras layer.

    Attributes:
        statistics_frozen: Whether training normalizes with the moving statistics and does not
            update them. Gamma and beta are trained in either case.
    """

    statistics_frozen = False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize `inputs`; see `keras.layers.BatchNormalization.call`."""
        frozen_on_gpu = self.statistics_frozen and training and not trains_on_cpu(training)
        training = bool(training) and not self.statistics_frozen
        unsupported = (
            keras.config.backend() != "tensorflow"
            or frozen_on_gpu  # the gradient of the fused kernel is not deterministic there
            or mask is not None
            or self.synchronized
            or self.renorm
            or self.axis not in (-1, 3)
            or len(inputs.shape) != 4
        )
        if unsupported:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        update = training and self.trainable
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=[] if update else tf.convert_to_tensor(self.moving_mean),
            variance=[] if update else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=update,
        )
        if update:
            rate = 1.0 - self.momentum
            self.moving_mean.assign_sub((self.moving_mean - mean) * rate)
            self.moving_variance.assign_sub((self.moving_variance - variance) * rate)
        return outputs


def freeze_statistics(model: keras.Model, names: Container[str] | None = None) -> None:
    """Freeze the moving statistics of batch normalizations; gamma and beta may still train.

    Args:
        model: The network.
        names: Names of its layers; None for all.

    Raises:
        IncompatibleError: A layer is `keras.layers.BatchNormalization`, which can only be frozen
            as a whole.
    """
    for layer in model.layers:
        if names is not None and layer.name not in names:
            continue
        if isinstance(layer, keras.Model):
            freeze_statistics(layer)
        elif isinstance(layer, BatchNormalization):
            layer.statistics_frozen = True
        elif isinstance(layer, keras.layers.BatchNormalization):
            raise IncompatibleError(
                f"the statistics of layer {layer.name} cannot be frozen: it is a "
                "keras.layers.BatchNormalization",
                hint="build the network with rezoo.models.layers.norm.",
            )


@keras.saving.register_keras_serializable(package="rezoo")
class GroupNormalization(keras.layers.GroupNormalization):
    """Group normalization by `group_moments`: more exact and faster than the Keras layer.

    For inputs that are not `(N, H, W, C)`, or without gamma or beta, it is the Keras layer.
    """

    def call(self, inputs: Any) -> Any:
        """Normalize `inputs`; see `keras.layers.GroupNormalization`."""
        images = len(inputs.shape) == 4 and self.axis in (-1, 3)
        if not (images and self.scale and self.center):
            return super().call(inputs)
        x = keras.ops.cast(inputs, "float32")
        mean, variance = group_moments(x, self.groups)
        scale = keras.ops.rsqrt(variance + self.epsilon) * self.gamma
        return keras.ops.cast(x * scale + (self.beta - mean * scale), self.compute_dtype)


def group_moments(x: Any, groups: int) -> tuple[Any, Any]:
    """Return mean and biased variance of groups of channels, for each image and channel.

    Rows are averaged first, then the columns, then the channels of a group. Keras adds the numbers
    of a group one after the other. On a CPU that takes up to four times as long, and rounds ten
    times as much where an image has 100 x 100 positions.

    Args:
        x: Features `(N, H, W, C)` in float32.
        groups: Number of groups of neighbouring channels.

    Returns:
        Two tensors `(N, 1, 1, C)`; all channels of a group have the same numbers.
    """
    channels = x.shape[-1]
    members = channels // groups

    def average(values: Any) -> Any:
        return keras.ops.mean(keras.ops.mean(values, axis=1, keepdims=True), axis=2, keepdims=True)

    def of_groups(values: Any) -> Any:
        grouped = keras.ops.reshape(values, (-1, groups, members))
        mean = keras.ops.mean(grouped, axis=2, keepdims=True)
        return keras.ops.reshape(keras.ops.repeat(mean, members, axis=2), (-1, 1, 1, channels))

    means = average(x)  # of each channel
    mean = of_groups(means)
    spread = average(keras.ops.square(x - means)) + keras.ops.square(means - mean)
    return mean, of_groups(spread)


@keras.saving.register_keras_serializable(package="rezoo")
class EvoNorm(keras.layers.Layer):
    """EvoNorm-S0: normalization and activation in one (arXiv:2004.02967).

    y = x sigmoid(v x) / sqrt(variance + epsilon) · gamma + beta, where the biased variance is that
    of a group of channels of one image.

    Args:
        groups: Number of groups of neighbouring channels.
        epsilon: Added to the variance.
        **options: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, groups: int, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(**options)
        self.groups, self.epsilon = groups, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create gamma, beta and v, each `(C,)`."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.v = self.add_weight(name="v", shape=shape, initializer="ones")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Normalize and activate `(N, H, W, C)`."""
        _, variance = group_moments(keras.ops.cast(inputs, "float32"), self.groups)
        scale = keras.ops.rsqrt(variance + self.epsilon)
        active = inputs * keras.ops.sigmoid(inputs * self.v)
        return active * keras.ops.cast(scale, self.compute_dtype) * self.gamma + self.beta

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}

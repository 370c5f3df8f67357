"""Keras layers that residual networks need and Keras lacks or computes more slowly.

`Conv2D`, `ReLU` and `BatchNormalization` have the variables, configuration and results of the Keras
layers, except for rounding. Their classes have the same names, so the fingerprint of a network is
the same with either. They differ in the kernels that TensorFlow runs in training; at inference, on
other backends and in exports they are the Keras layers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError


@keras.saving.register_keras_serializable(package="rezoo")
class Conv2D(keras.layers.Conv2D):
    """A convolution with faster gradients on a CPU; see `rezoo.models.cpu_kernels`."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve `(N, H, W, C)`; see `keras.layers.Conv2D`."""
        unsupported = (
            self.use_bias
            or self.groups > 1
            or self.dilation_rate != (1, 1)
            or self.strides[0] != self.strides[1]
            or self.data_format != "channels_last"
            or self.activation not in (None, keras.activations.linear)
        )
        if unsupported or not _trains_on_cpu(training):
            return super().call(inputs)
        import tensorflow as tf

        from rezoo.models import cpu_kernels

        kernel = tf.convert_to_tensor(self.kernel)
        return cpu_kernels.convolve(inputs, kernel, self.strides[0], self.padding.upper())


@keras.saving.register_keras_serializable(package="rezoo")
class ReLU(keras.layers.ReLU):
    """A ReLU that a CPU computes in one pass with the sum before it, gradient included."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Rectify; see `keras.layers.ReLU`."""
        unsupported = self.negative_slope or self.threshold or self.max_value is not None
        if unsupported or not _trains_on_cpu(training):
            return super().call(inputs)
        from rezoo.models import cpu_kernels

        return cpu_kernels.relu(inputs)


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
        frozen_on_gpu = self.statistics_frozen and training and not _trains_on_cpu(training)
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


@keras.saving.register_keras_serializable(package="rezoo")
class IdentityFilters(keras.initializers.VarianceScaling):
    """Kernels `(h, w, C, F)` whose first min(C, F) filters return their own channel.

    The other filters are random, as in `keras.initializers.VarianceScaling`. Initialization of the
    first C filters by `torch.nn.init.dirac_` (arXiv:2404.00498, section 3.3).
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return the initial kernel of `shape`."""
        height, width, channels, filters = shape
        count = min(channels, filters)
        identity = np.zeros(shape, np.float32)
        identity[height // 2, width // 2, range(count), range(count)] = 1.0
        random = super().__call__(shape, dtype)
        first = np.arange(filters) < count
        return keras.ops.where(first, keras.ops.cast(identity, random.dtype), random)


def freeze_statistics(model: keras.Model) -> None:
    """Freeze the moving statistics of every batch normalization; gamma and beta still train.

    Raises:
        IncompatibleError: A layer is `keras.layers.BatchNormalization`, which can only be frozen
            as a whole.
    """
    for layer in model.layers:
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
class PaddedShortcut(keras.layers.Layer):
    """Every `stride`-th pixel, with zero channels before and after, up to `filters` channels.

    `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.
    """

    def __init__(self, filters: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.stride = filters, stride

    def call(self, inputs: Any) -> Any:
        """Subsample `(N, H, W, C)` and pad its channels."""
        more = self.filters - inputs.shape[-1]
        pixels = inputs[:, :: self.stride, :: self.stride]
        return keras.ops.pad(pixels, ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        batch, *sides, _ = input_shape
        halved = (None if side is None else -(-side // self.stride) for side in sides)
        return (batch, *halved, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}


def _trains_on_cpu(training: bool | None) -> bool:
    if not training or keras.config.backend() != "tensorflow":
        return False
    from rezoo.models import cpu_kernels

    return cpu_kernels.on_cpu()

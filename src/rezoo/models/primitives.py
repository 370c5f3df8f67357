"""Keras layers that residual networks need and Keras lacks or computes more slowly.

`Conv2D`, `ReLU` and `BatchNormalization` have the variables, configuration and results of the Keras
layers, except for rounding. Their classes have the same names, so the fingerprint of a network is
the same with either. They differ in the kernels that TensorFlow runs in training; at inference, on
other backends and in exports they are the Keras layers.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import keras
import numpy as np

from rezoo.errors import IncompatibleError


@keras.saving.register_keras_serializable(package="rezoo")
class Conv2D(keras.layers.Conv2D):
    """A convolution with faster gradients on a CPU; see `rezoo.models.cpu_kernels`.

    On TensorFlow, groups are those of its own operation. Keras compiles them with XLA, which takes
    over a hundred times as long on a CPU and cannot be exported to ONNX.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve `(N, H, W, C)`; see `keras.layers.Conv2D`."""
        unsupported = (
            self.use_bias
            or self.dilation_rate != (1, 1)
            or self.strides[0] != self.strides[1]
            or self.data_format != "channels_last"
            or self.activation not in (None, keras.activations.linear)
        )
        if unsupported or not _trains_on_cpu(training):
            return super().call(inputs)
        import tensorflow as tf

        from rezoo.models import cpu_kernels

        kernel, (stride, _) = tf.convert_to_tensor(self.convolution_kernel()), self.strides
        padding = self.padding.upper()
        if self.groups > 1:
            return cpu_kernels.convolve_groups(inputs, kernel, self.groups, stride, padding)
        return cpu_kernels.convolve(inputs, kernel, stride, padding)

    def convolution_kernel(self) -> Any:
        """Return the filters, `(H, W, C / groups, filters)`; subclasses change them."""
        return self.kernel

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve without bias and activation; see `keras.layers.Conv2D`."""
        own = self.groups > 1 and self.data_format == "channels_last"
        if not own or keras.config.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        kernel = tf.convert_to_tensor(kernel)
        padding, dilations = self.padding.upper(), self.dilation_rate
        return tf.nn.conv2d(inputs, kernel, self.strides, padding, dilations=dilations)


@keras.saving.register_keras_serializable(package="rezoo")
class ChannelConvolution(keras.layers.Conv1D):
    """A convolution along the channels: `(N, 1, 1, C)` to the same shape, zeros at both ends.

    Args:
        kernel_size: Odd number of channels that it reads.
        **options: Arguments of `keras.layers.Conv1D`.
    """

    def __init__(self, kernel_size: int, **options: Any) -> None:
        fixed = {"filters": 1, "padding": "same", "use_bias": False}
        # as PyTorch starts a convolution along one axis
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        super().__init__(kernel_size=kernel_size, **{"kernel_initializer": start} | options | fixed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel `(kernel_size, 1, 1)`."""
        super().build((input_shape[0], input_shape[-1], 1))
        self.input_spec = keras.layers.InputSpec(shape=(None, 1, 1, input_shape[-1]))

    def call(self, inputs: Any) -> Any:
        """Convolve `(N, 1, 1, C)`."""
        channels = inputs.shape[-1]
        outputs = super().call(keras.ops.reshape(inputs, (-1, channels, 1)))
        return keras.ops.reshape(outputs, (-1, 1, 1, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, that of the input."""
        return input_shape


@keras.saving.register_keras_serializable(package="rezoo")
class ReflectionPadding2D(keras.layers.Layer):
    """One more pixel on each of the four sides: those next to the border, reflected.

    `(N, H, W, C)` to `(N, H + 2, W + 2, C)`; H and W are at least 2.
    """

    def call(self, inputs: Any) -> Any:
        """Pad `(N, H, W, C)`."""
        return keras.ops.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        batch, *sides, channels = input_shape
        padded = (None if side is None else side + 2 for side in sides)
        return (batch, *padded, channels)


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


@keras.saving.register_keras_serializable(package="rezoo")
class LayerScale(keras.layers.Layer):
    """A trained factor for each channel of a residual branch (arXiv:2103.17239, section 2).

    Its tensor is called as in timm: the layer `stages.0.blocks.0` has `stages.0.blocks.0.gamma`.

    Args:
        initial: Initial value of all factors.
        **options: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, initial: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        self.initial = initial

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the factors, `(C,)`."""
        start = keras.initializers.Constant(self.initial)
        self.layer_scale = self.add_weight(
            name="layer_scale", shape=input_shape[-1:], initializer=start
        )

    def call(self, inputs: Any) -> Any:
        """Multiply `(…, C)`."""
        return inputs * keras.ops.cast(self.layer_scale, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "initial": self.initial}


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

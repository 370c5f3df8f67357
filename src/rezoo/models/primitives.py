"""Keras layers that residual networks need and Keras lacks or computes more slowly.

`Conv2D` and `ReLU` have the variables, configuration and results of the Keras layers, except for
rounding. Their classes have the same names, so the fingerprint of a network is the same with
either. They differ in the kernels that TensorFlow runs in training; at inference, on other backends
and in exports they are the Keras layers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


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
        if unsupported or not trains_on_cpu(training):
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
        if unsupported or not trains_on_cpu(training):
            return super().call(inputs)
        from rezoo.models import cpu_kernels

        return cpu_kernels.relu(inputs)


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


def trains_on_cpu(training: bool | None) -> bool:
    """Return whether a step of training runs TensorFlow's kernels on a CPU."""
    if not training or keras.config.backend() != "tensorflow":
        return False
    from rezoo.models import cpu_kernels

    return cpu_kernels.on_cpu()

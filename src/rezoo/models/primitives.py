"""Layers that Keras has otherwise, or not at all.

Its convolution and ReLU train on a CPU with the kernels of `rezoo.models.cpu_kernels`. Variables,
configuration and results are those of the Keras layers, and so are the names of the classes: a
network has the same fingerprint with either. At inference, in exports and on other backends and
devices they are the layers of Keras. The shortcut without parameters is not in Keras.
"""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="rezoo")
class Conv2D(keras.layers.Conv2D):
    """A convolution whose gradients are fast in bfloat16 on a CPU, too."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Convolve; see `keras.layers.Conv2D`."""
        plain = (
            not _trains_on_cpu(training)
            or self.use_bias
            or self.groups > 1
            or self.dilation_rate != (1, 1)
            or self.strides[0] != self.strides[1]
            or self.data_format != "channels_last"
            or self.activation not in (None, keras.activations.linear)
        )
        if plain:
            return super().call(inputs)
        import tensorflow as tf

        from rezoo.models import cpu_kernels

        kernel = tf.convert_to_tensor(self.kernel)
        return cpu_kernels.convolve(inputs, kernel, self.strides[0], self.padding.upper())


@keras.saving.register_keras_serializable(package="rezoo")
class ReLU(keras.layers.ReLU):
    """A ReLU that on a CPU is one with the sum before it, and whose gradient is fast there."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Rectify; see `keras.layers.ReLU`."""
        changed = self.negative_slope or self.threshold or self.max_value is not None
        if changed or not _trains_on_cpu(training):
            return super().call(inputs)
        from rezoo.models import cpu_kernels

        return cpu_kernels.relu(inputs)


@keras.saving.register_keras_serializable(package="rezoo")
class PaddedShortcut(keras.layers.Layer):
    """Every `stride`-th pixel, with channels of zeros before and behind, up to `filters`.

    `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`.
    """

    def __init__(self, filters: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.stride = filters, stride

    def call(self, inputs: Any) -> Any:
        """Take pixels and add channels."""
        more = self.filters - inputs.shape[-1]
        pixels = inputs[:, :: self.stride, :: self.stride]
        return keras.ops.pad(pixels, ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the result."""
        batch, *sides, _ = input_shape
        halved = (None if side is None else -(-side // self.stride) for side in sides)
        return (batch, *halved, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}


def _trains_on_cpu(training: bool | None) -> bool:
    if not training or keras.config.backend() != "tensorflow":
        return False
    from rezoo.models import cpu_kernels

    return cpu_kernels.on_cpu()

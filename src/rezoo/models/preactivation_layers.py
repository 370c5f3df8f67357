"""Keras layers of pre-activation networks that Keras lacks."""

from __future__ import annotations

from typing import Any

import keras

from rezoo.models.primitives import Conv2D


@keras.saving.register_keras_serializable(package="rezoo")
class StandardizedConv2D(Conv2D):
    """A convolution whose filters have mean 0 and variance 1 (arXiv:1903.10520).

    The filters are standardized in float32, under mixed precision too.

    Args:
        *sizes: Filters and kernel size, as of `keras.layers.Conv2D`.
        epsilon: Added to the variance of a filter, which is the biased one.
        **options: Arguments of `keras.layers.Conv2D`.
    """

    def __init__(self, *sizes: Any, epsilon: float = 1e-8, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.epsilon = epsilon

    def add_weight(self, *arguments: Any, **options: Any) -> Any:
        """Add a variable that mixed precision does not cast."""
        return super().add_weight(*arguments, **{**options, "autocast": False})

    def convolution_kernel(self) -> Any:
        """Return the standardized filters, `(H, W, C / groups, filters)`."""
        kernel = keras.ops.convert_to_tensor(self.kernel)
        mean, variance = keras.ops.moments(kernel, axes=(0, 1, 2), keepdims=True)
        standardized = (kernel - mean) * keras.ops.rsqrt(variance + self.epsilon)
        return keras.ops.cast(standardized, self.compute_dtype)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the standardized filters; see `keras.layers.Conv2D`."""
        return super().convolution_op(inputs, self.convolution_kernel())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


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
        _, height, width, channels = keras.ops.shape(inputs)
        members = channels // self.groups
        grouped = keras.ops.reshape(inputs, (-1, height * width, self.groups, members))
        variance = keras.ops.var(keras.ops.cast(grouped, "float32"), axis=(1, 3), keepdims=True)
        scale = keras.ops.rsqrt(variance + self.epsilon)  # (N, 1, groups, 1)
        scale = keras.ops.reshape(keras.ops.repeat(scale, members, axis=3), (-1, 1, 1, channels))
        active = inputs * keras.ops.sigmoid(inputs * self.v)
        return active * keras.ops.cast(scale, self.compute_dtype) * self.gamma + self.beta

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="rezoo")
class Dense1x1(keras.layers.Dense):
    """A dense layer that timm has as a 1x1 convolution: its tensor is `(out, in, 1, 1)`."""

    def add_weight(self, *arguments: Any, **options: Any) -> Any:
        """Add a variable; the name of the kernel's is that of its layout in `models.tensors`."""
        if options.get("name") == "kernel":
            options["name"] = "kernel_1x1"
        return super().add_weight(*arguments, **options)

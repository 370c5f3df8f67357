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
class Dense1x1(keras.layers.Dense):
    """A dense layer that timm has as a 1x1 convolution: its tensor is `(out, in, 1, 1)`."""

    def add_weight(self, *arguments: Any, **options: Any) -> Any:
        """Add a variable; the name of the kernel's is that of its layout in `models.tensors`."""
        if options.get("name") == "kernel":
            options["name"] = "kernel_1x1"
        return super().add_weight(*arguments, **options)

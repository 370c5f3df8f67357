"""Layers that take features apart by channels, weigh the parts, and add them up."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="rezoo")
class ChannelSlice(keras.layers.Layer):
    """Some consecutive channels: `(N, H, W, C)` to `(N, H, W, size)`.

    Args:
        start: The first of the channels.
        size: Their number.
        **options: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, start: int, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.start, self.size = start, size

    def call(self, inputs: Any) -> Any:
        """Return the channels of `(N, H, W, C)`."""
        return inputs[..., self.start : self.start + self.size]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (*input_shape[:-1], self.size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "start": self.start, "size": self.size}


@keras.saving.register_keras_serializable(package="rezoo")
class PartsSum(keras.layers.Layer):
    """The sum of equal parts of the channels: `(N, H, W, parts * C)` to `(N, H, W, C)`.

    Args:
        parts: Their number.
        **options: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, parts: int, **options: Any) -> None:
        super().__init__(**options)
        self.parts = parts

    def call(self, inputs: Any) -> Any:
        """Add the parts of `(N, H, W, parts * C)`."""
        width = inputs.shape[-1] // self.parts
        first, *others = (inputs[..., i * width : (i + 1) * width] for i in range(self.parts))
        return sum(others, first)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape of the output."""
        return (*input_shape[:-1], input_shape[-1] // self.parts)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "parts": self.parts}


@keras.saving.register_keras_serializable(package="rezoo")
class PartsSoftmax(keras.layers.Layer):
    """Weights of equal parts of the channels, which add up to 1: `(N, 1, 1, C)` to the same shape.

    The input has the parts of the first group of channels, then those of the second, and so on. The
    output has the first part of all groups, then the second, as `PartsSum` adds them.

    Args:
        parts: Number of parts.
        groups: Number of groups.
        **options: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, parts: int, groups: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.parts, self.groups = parts, groups

    def call(self, inputs: Any) -> Any:
        """Return the weights of `(N, 1, 1, C)`."""
        channels = inputs.shape[-1]
        apart = (-1, self.groups, self.parts, channels // (self.groups * self.parts))
        x = keras.ops.transpose(keras.ops.reshape(inputs, apart), (0, 2, 1, 3))
        return keras.ops.reshape(keras.ops.softmax(x, axis=1), (-1, 1, 1, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output, that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "parts": self.parts, "groups": self.groups}

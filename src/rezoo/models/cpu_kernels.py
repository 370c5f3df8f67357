"""Faster gradients of convolutions, sums and ReLUs for training with TensorFlow on a CPU.

Values and gradients equal those of TensorFlow's operations, except for rounding. For the gain, see
`examples/benchmarks/train_step.py` and docs/concepts/speed.md.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import tensorflow as tf

_FEW = 14 * 14  # output positions; with more, oneDNN's gradient of a 3x3 filter is as fast
_FEW_PLAIN = 7 * 7  # the same in float32 without a stride


@cache
def on_cpu() -> bool:
    """Return whether TensorFlow computes on a CPU."""
    return {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}


def convolve(x: Any, kernel: Any, stride: int, padding: str) -> Any:
    """Convolve `(N, H, W, C)`, with gradients as matrix products if those are faster.

    In bfloat16, oneDNN's gradient of a 1x1 filter, or of a 3x3 filter on few positions, takes
    three to four times as long as the convolution, and a matrix product does not. In float32, the
    difference is smaller and limited to a stride of two and very few positions.
    """
    if not _as_products(x, kernel.shape, stride, padding):
        return tf.nn.conv2d(x, kernel, stride, padding)

    @tf.custom_gradient
    def convolution(x: Any, kernel: Any) -> Any:
        def gradient(above: Any) -> Any:
            return (
                _input_gradient(x, kernel, above, stride, padding),
                _kernel_gradient(x, kernel, above, stride, padding),
            )

        return tf.nn.conv2d(x, kernel, stride, padding), gradient

    return convolution(x, kernel)


def convolve_groups(x: Any, kernel: Any, groups: int, stride: int, padding: str) -> Any:
    """Convolve groups of channels, each on its own if TensorFlow lacks the gradient."""
    if _has_grouped_gradients():
        return tf.nn.conv2d(x, kernel, stride, padding)
    parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    return tf.concat([tf.nn.conv2d(one, k, stride, padding) for one, k in parts], -1)


@cache
def _has_grouped_gradients() -> bool:
    """Return whether a CPU has gradients of grouped convolutions: only with oneDNN."""
    with tf.init_scope():
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=(1, 1, 1, 2),
                filter=tf.ones((1, 1, 1, 2)),
                out_backprop=tf.ones((1, 1, 1, 2)),
                strides=(1, 1, 1, 1),
                padding="VALID",
            )
        except tf.errors.InvalidArgumentError:
            return False
    return True


def relu(x: Any) -> Any:
    """Apply a ReLU, in one pass with the sum if `x` is a sum."""
    terms = _terms(x)
    return _rectified_sum(*terms) if terms else _rectified(x)


def _as_products(x: Any, kernel: Any, stride: int, padding: str) -> bool:
    height, width = x.shape[1:3]
    if None in (height, width) or height % stride or width % stride:
        return False
    plain = x.dtype != tf.bfloat16 and stride == 1
    if kernel[:2] != (3, 3):
        return kernel[:2] == (1, 1) and not plain
    border = 0 if padding == "SAME" else 2
    positions = (height - border) * (width - border) / stride**2
    return positions <= (_FEW_PLAIN if plain else _FEW)


def _kernel_gradient(x: Any, kernel: Any, above: Any, stride: int, padding: str) -> Any:
    """Return the gradient of the kernel: at each position, its input pixels times `above`."""
    side, _, channels, filters = kernel.shape
    if side > 1 and padding == "SAME":
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    height, width = above.shape[1:3]
    above = tf.reshape(above, (-1, filters))
    places = [(row, column) for row in range(side) for column in range(side)]
    seen = [_seen(x, place, (height, width), stride) for place in places]
    products = [tf.matmul(tf.reshape(s, (-1, channels)), above, transpose_a=True) for s in seen]
    return tf.reshape(tf.stack(products), kernel.shape)


def _seen(x: Any, place: tuple[int, int], size: tuple[int, int], stride: int) -> Any:
    """Return every `stride`-th pixel, starting at `place`: `(N, *size, C)`."""
    if stride > 1:  # slicing an axis of length `stride` is faster than a strided slice
        _, height, width, channels = x.shape
        x = tf.reshape(x, (-1, height // stride, stride, width // stride, stride, channels))
        x = x[:, :, place[0] % stride, :, place[1] % stride]
    top, left = place[0] // stride, place[1] // stride
    return x[:, top : top + size[0], left : left + size[1]]


def _input_gradient(x: Any, kernel: Any, above: Any, stride: int, padding: str) -> Any:
    sparse = stride > 1 and kernel.shape[:2] == (1, 1)
    step = 1 if sparse else stride
    gradient = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x) // [1, stride, stride, 1] if sparse else tf.shape(x),
        filter=kernel,
        out_backprop=above,
        strides=[1, step, step, 1],
        padding=padding,
    )
    if not sparse:
        return gradient
    height, width, channels = x.shape[1:]
    gradient = tf.reshape(gradient, (-1, height // stride, 1, width // stride, 1, channels))
    between = [0, stride - 1]  # pixels that the strided convolution skips
    gradient = tf.pad(gradient, [[0, 0], [0, 0], between, [0, 0], between, [0, 0]])
    return tf.reshape(gradient, (-1, height, width, channels))


def _terms(x: Any) -> list[Any]:
    """Return the two terms of `x`, or an empty list if `x` is not a sum of equal shapes.

    The sum is then unused, and TensorFlow removes it from the graph.
    """
    operation = None if tf.executing_eagerly() else x.op
    if operation is None or operation.type not in ("AddV2", "AddN") or len(operation.inputs) != 2:
        return []
    terms = list(operation.inputs)
    return terms if all(t.shape == x.shape for t in terms) else []


@tf.custom_gradient
def _rectified(x: Any) -> Any:
    y = tf.nn.relu(x)  # TensorFlow fuses it with the batch normalization before it
    return y, lambda above: _where_positive(y, above)


@tf.custom_gradient
def _rectified_sum(one: Any, other: Any) -> Any:
    y = _relu_of_sum(one, other)

    def gradient(above: Any) -> Any:
        below = _where_positive(y, above)
        return below, below

    return y, gradient


def _where_positive(y: Any, above: Any) -> Any:
    terms = _terms(above)
    return _sum_where_positive(y, *terms) if terms else _one_where_positive(y, above)


# XLA compiles each function to one loop with this processor's vector instructions; TensorFlow's
# kernels use older ones. XLA's convolutions and reductions are slower, so it computes nothing else.


@tf.function(jit_compile=True, autograph=False)
def _relu_of_sum(one: Any, other: Any) -> Any:
    return tf.nn.relu(one + other)


@tf.function(jit_compile=True, autograph=False)
def _one_where_positive(y: Any, above: Any) -> Any:
    return tf.where(y > 0, above, tf.zeros_like(above))


@tf.function(jit_compile=True, autograph=False)
def _sum_where_positive(y: Any, one: Any, other: Any) -> Any:
    return tf.where(y > 0, one + other, tf.zeros_like(one))

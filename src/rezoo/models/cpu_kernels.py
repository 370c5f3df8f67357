"""What TensorFlow trains faster another way on a CPU: gradients of convolutions, sums, ReLUs.

Values and gradients are those of TensorFlow's own operations but for rounding.
`examples/benchmarks/train_step.py` measures what it gains, docs/concepts/speed.md tells it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import tensorflow as tf

_FEW = 14 * 14  # output positions; with more, oneDNN's gradient of a 3x3 filter is as fast
_FEW_PLAIN = 7 * 7  # the same in float32 without a stride


@cache
def on_cpu() -> bool:
    """Whether TensorFlow computes on a CPU here."""
    return {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}


def convolve(x: Any, kernel: Any, stride: int, padding: str) -> Any:
    """Convolve `(N, H, W, C)`, and compute gradients as products of matrices where that is faster.

    In bfloat16 oneDNN takes three to four times as long for the gradient of a 1x1 filter, or of a
    3x3 filter on few positions, as for the convolution itself; for a product of matrices not. In
    float32 the same holds, much less, for a stride of two and for very few positions.
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


def relu(x: Any) -> Any:
    """Rectify; where `x` is a sum, in one pass with it."""
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
    """Return for each place of the kernel the pixels that it saw times the gradient above."""
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
    """Return every `stride`-th pixel from a place on: `(N, *size, C)`."""
    if stride > 1:  # plain slices of an axis for the step are faster than slices with a step
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
    between = [0, stride - 1]  # the pixels that were not seen
    gradient = tf.pad(gradient, [[0, 0], [0, 0], between, [0, 0], between, [0, 0]])
    return tf.reshape(gradient, (-1, height, width, channels))


def _terms(x: Any) -> list[Any]:
    """Return what `x` is the sum of, two tensors of one shape; nothing where it is no sum.

    The sum itself is then needed by nobody, and the graph leaves it out.
    """
    operation = None if tf.executing_eagerly() else x.op
    if operation is None or operation.type not in ("AddV2", "AddN") or len(operation.inputs) != 2:
        return []
    terms = list(operation.inputs)
    return terms if all(t.shape == x.shape for t in terms) else []


@tf.custom_gradient
def _rectified(x: Any) -> Any:
    y = tf.nn.relu(x)  # TensorFlow joins it with the batch normalization before it
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


# XLA makes one loop of each, for this processor's vectors, where TensorFlow's are for old ones.
# Used for nothing else, because its convolutions and sums over an axis are slower.


@tf.function(jit_compile=True, autograph=False)
def _relu_of_sum(one: Any, other: Any) -> Any:
    return tf.nn.relu(one + other)


@tf.function(jit_compile=True, autograph=False)
def _one_where_positive(y: Any, above: Any) -> Any:
    return tf.where(y > 0, above, tf.zeros_like(above))


@tf.function(jit_compile=True, autograph=False)
def _sum_where_positive(y: Any, one: Any, other: Any) -> Any:
    return tf.where(y > 0, one + other, tf.zeros_like(one))

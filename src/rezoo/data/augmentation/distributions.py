"""Beta and Dirichlet numbers inside a graph: pure functions of a seed, as in `rezoo.data.rng`.

Both are computed from gamma numbers of shape alpha. With a small alpha such as 0.2 these are too
small for a float, so their logarithms are used: log G(a) = log G(a + 1) + log(U) / a.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rezoo.data.rng import integers, uniform

STREAMS = 2  # used by one call


def beta(seed: Any, stream: int, alpha: float) -> Any:
    """Return a float32 scalar of the Beta(alpha, alpha) distribution.

    Args:
        seed: int64 `(2,)`.
        stream: The first of `STREAMS` streams.
        alpha: Above 0.
    """
    logarithms = _log_gamma(seed, stream, alpha, 2)
    return tf.sigmoid(logarithms[0] - logarithms[1])


def dirichlet(seed: Any, stream: int, alpha: float, size: int) -> Any:
    """Return `size` float32 numbers that sum to 1: a Dirichlet distribution, each alpha the same.

    Args:
        seed: int64 `(2,)`.
        stream: The first of `STREAMS` streams.
        alpha: Above 0.
        size: Number of values.
    """
    return tf.nn.softmax(_log_gamma(seed, stream, alpha, size))


def _log_gamma(seed: Any, stream: int, alpha: float, size: int) -> Any:
    own = integers(seed, stream, (2,), below=2**31 - 1)
    above_one = tf.random.stateless_gamma((size,), own, alpha + 1.0)
    # 1 - U: never 0
    return tf.math.log(above_one) + tf.math.log(1.0 - uniform(seed, stream + 1, (size,))) / alpha

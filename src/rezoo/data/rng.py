"""Random numbers inside a graph: pure functions of a seed, the same on every machine.

An example in one epoch has one seed. Each random decision about it has its own stream, so adding
or removing a decision does not change the others.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import tensorflow as tf

_STREAMS = 64  # new streams do not change the numbers of the others
# A CPU, where tf.data runs, selects Philox. Named "philox", each draw has 45 operations in place
# of 3: the same numbers, but twice the time, and three times the time for the graph.
_PHILOX = "auto_select"


class Stream(IntEnum):
    """The random decisions; a gap of eight leaves room for the parts of one decision."""

    CROP_AREA = 0
    CROP_RATIO = 1
    CROP_PLACE = 2
    FLIP = 3
    COLOUR = 8
    POLICY = 16
    ERASE = 32
    MIX = 40


def uniform(
    seed: Any, stream: int, shape: tuple[int, ...] = (), low: Any = 0.0, high: Any = 1.0
) -> Any:
    """Return uniform float32 numbers of `shape`, in `[low, high)`.

    Args:
        seed: int64 `(2,)`: the epoch's key and the example's index.
        stream: 0 to 63; see `Stream`.
        shape: Of the result.
        low: The lower bound.
        high: The upper bound.
    """
    return tf.random.stateless_uniform(shape, _own(seed, stream), low, high, alg=_PHILOX)


def normal(seed: Any, stream: int, shape: tuple[int, ...] = ()) -> Any:
    """Return float32 numbers of `shape` with mean 0 and standard deviation 1."""
    return tf.random.stateless_normal(shape, _own(seed, stream), alg=_PHILOX)


def integers(seed: Any, stream: int, shape: tuple[int, ...] = (), *, below: int) -> Any:
    """Return int32 numbers of `shape`, 0 to `below - 1`."""
    own = _own(seed, stream)
    return tf.random.stateless_uniform(shape, own, 0, below, tf.int32, alg=_PHILOX)


def _own(seed: Any, stream: int) -> Any:
    return tf.constant([1, _STREAMS], tf.int64) * seed + tf.constant([0, int(stream)], tf.int64)

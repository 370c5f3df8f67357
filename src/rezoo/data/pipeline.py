"""From examples to batches with tf.data: order and augmentation are functions of a seed.

What the network sees at step `s` of epoch `e` depends on `(seed, e, s)` alone: not on the
parallelism, and not on whether the run started there or at the beginning.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import splits, transforms
from rezoo.data.examples import Examples
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

# What is mapped has no Python branches on tensors for AutoGraph to rewrite.
_plain = tf.autograph.experimental.do_not_convert


def train_batches(
    examples: Examples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    first_epoch: int = 0,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Return the batches of a run from a given step to its end.

    Each epoch visits the examples in its own order and leaves out the last incomplete
    batch, so it has `len(examples) // recipe.batch_size` steps.

    Args:
        examples: The training split.
        preprocessing: Size and normalization of the network's input.
        recipe: Augmentation, batch size, number of epochs and seed.
        first_epoch: Where to start, from 0.
        first_step: Where to start in that epoch, from 0.

    Returns:
        A dataset of `(images, labels)`: float32 `(B, H, W, C)` and int32 `(B,)`.
    """
    batch, seed = recipe.batch_size, recipe.seed
    kept = len(examples) // batch * batch

    def order(epoch: int) -> np.ndarray:
        skipped = first_step * batch if epoch == first_epoch else 0
        return splits.epoch_order(len(examples), seed=seed, epoch=int(epoch))[skipped:kept]

    def epoch_indices(epoch: Any) -> Any:
        indices = tf.ensure_shape(tf.numpy_function(order, [epoch], tf.int64), (None,))
        key = tf.numpy_function(
            lambda e: np.int64(splits.epoch_key(seed, int(e))), [epoch], tf.int64
        )
        keys = tf.fill(tf.shape(indices), tf.ensure_shape(key, ()))
        return tf.data.Dataset.from_tensor_slices((indices, keys))

    transform = transforms.train_transform(preprocessing, recipe, encoded=examples.encoded)

    @_plain
    def example(index: Any, key: Any) -> tuple[Any, Any]:
        image, label = examples.fetch(index)
        return transform(image, tf.stack([key, index])), label

    stream = tf.data.Dataset.range(first_epoch, recipe.epochs).flat_map(epoch_indices)
    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return stream.batch(batch, drop_remainder=True).prefetch(2)


def test_batches(
    examples: Examples, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Return all examples once, in order; the last batch may be smaller.

    Returns:
        A dataset of `(images, labels)`: float32 `(B, H, W, C)` and int32 `(B,)`.
    """
    transform = transforms.test_transform(preprocessing, encoded=examples.encoded)

    @_plain
    def example(index: Any) -> tuple[Any, Any]:
        image, label = examples.fetch(index)
        return transform(image), label

    stream = tf.data.Dataset.range(len(examples))
    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return stream.batch(batch_size).prefetch(2)

"""From examples to batches with tf.data: order and augmentation are functions of a seed.

The input of the network at step `s` of epoch `e` depends only on `(seed, e, s)`: not on the
parallelism, the number of hosts, the number of micro-batches, or the step at which the run
started. Starting in the middle of an epoch costs the same as at its beginning: the order of an
epoch is computed, and no example before the start is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import splits, transforms
from rezoo.data.augmentation.mixing import mixing
from rezoo.data.examples import Examples
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import Segment, segments
from rezoo.specs import Preprocessing

# The mapped functions have no Python branches on tensors for AutoGraph to rewrite.
_plain = tf.autograph.experimental.do_not_convert


def epoch_indices(
    count: int, recipe: Recipe, epoch: int, *, without: Set[int] = frozenset()
) -> np.ndarray:
    """Return the indices of the examples in the batches of an epoch, one batch after another.

    Each epoch has its own order and leaves out the last incomplete batch, so it has
    `count // recipe.batch_size` steps. With repeated augmentation (Hoffer et al. 2020,
    arXiv:1901.09335) an epoch has a part of the examples, each several times in one batch. The
    repetitions are apart, so that an example is not mixed with itself.

    Args:
        count: Number of examples.
        recipe: Batch size, repetitions and seed.
        epoch: From 0.
        without: Examples that cannot be read: the following ones move up.

    Returns:
        int64 `(steps * batch_size,)`.
    """
    order = splits.epoch_order(count, seed=recipe.seed, epoch=epoch)
    if without:
        order = order[~np.isin(order, list(without))]
    steps, distinct = count // recipe.batch_size, _distinct(recipe)
    chosen = np.resize(order, steps * distinct).reshape(steps, distinct)
    repeated = np.tile(chosen, (1, recipe.repeated_augmentation))
    return repeated[:, : recipe.batch_size].reshape(-1)


def _distinct(recipe: Recipe) -> int:
    """Return the number of different examples in a batch; the last may be repeated once less."""
    return -(-recipe.batch_size // recipe.repeated_augmentation)


def train_batches(
    examples: Examples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    classes: int = 0,
    first_epoch: int = 0,
    first_step: int = 0,
    first_part: int = 0,
    without: Set[int] = frozenset(),
    host: int = 0,
    hosts: int = 1,
) -> tf.data.Dataset:
    """Return the micro-batches of a run from a given step to its end.

    A step has `recipe.accumulation` micro-batches, one after the other; together they equal the
    batch of a step without accumulation. Epochs of different training sizes follow each other in
    one dataset; see `rezoo.recipes.sizes`.

    Args:
        examples: The training split.
        preprocessing: Size and normalization of the network's input.
        recipe: Augmentation, batch size, training sizes, number of epochs and seed.
        classes: Number of classes; needed if the recipe mixes examples.
        first_epoch: The first epoch, from 0.
        first_step: The first step in that epoch, from 0.
        first_part: The first micro-batch of that step, from 0.
        without: Examples that cannot be read; see `epoch_indices`.
        host: Number of the part of each batch to return, from 0. Its micro-batches divide it.
        hosts: Number of equal parts of a batch.

    Returns:
        A dataset of `(images, labels)`: float32 `(B, H, W, C)` and int32 `(B,)`, or float32
        `(B, classes)` if examples are mixed or have several labels;
        `B = recipe.micro_batch_size // hosts`.

    Raises:
        SpecError: A batch cannot be divided into so many parts.
    """
    size = _micro_share(recipe, hosts)
    share = size * recipe.accumulation
    places = np.arange(host * share, (host + 1) * share)
    per_epoch = len(examples) // recipe.batch_size

    def rows(epoch: np.int64) -> tuple[np.ndarray, ...]:
        at_start = epoch == first_epoch
        steps = np.arange(first_step if at_start else 0, per_epoch)
        found = _rows(len(examples), recipe, int(epoch), steps, places, without)
        return tuple(values[first_part * size if at_start else 0 :] for values in found)

    def segment_batches(segment: Segment) -> tf.data.Dataset:
        stream = _stream(rows, range(segment.first, segment.end))
        return _batched(stream, examples, preprocessing.at(segment.size), recipe, size, classes)

    first, *others = map(segment_batches, segments(recipe, first_epoch))
    return reduce(tf.data.Dataset.concatenate, others, first).prefetch(2)


def _stream(rows: Callable[[np.int64], tuple[np.ndarray, ...]], epochs: range) -> tf.data.Dataset:
    """Return the rows of some epochs, each computed when it begins."""

    def of_epoch(epoch: Any) -> Any:
        values = tf.numpy_function(rows, [epoch], [tf.int64] * 4)
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.ensure_shape(value, (None,)) for value in values)
        )

    return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(of_epoch)


def chosen_batches(
    examples: Examples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    epoch: int,
    steps: Sequence[int],
    classes: int = 0,
) -> tf.data.Dataset:
    """Return the whole batches of some steps of an epoch; see `train_batches`."""
    places = np.arange(recipe.batch_size)
    rows = _rows(len(examples), recipe, epoch, np.asarray(steps), places, frozenset())
    stream = tf.data.Dataset.from_tensor_slices(rows)
    preprocessing = preprocessing.at(segments(recipe, epoch)[0].size)
    return _batched(stream, examples, preprocessing, recipe, recipe.batch_size, classes)


def _rows(
    count: int,
    recipe: Recipe,
    epoch: int,
    steps: np.ndarray,
    places: np.ndarray,
    without: Set[int],
) -> tuple[np.ndarray, ...]:
    """Return the rows of some steps of an epoch and some places in each batch.

    A row is an example's index, the key of its draws, the step and the key of the epoch, int64.
    """
    indices = epoch_indices(count, recipe, epoch, without=without).reshape(-1, recipe.batch_size)
    key = splits.epoch_key(recipe.seed, epoch)
    keys = splits.repetition_keys(key, places // _distinct(recipe))
    mine = indices[steps[:, None], places]
    return (
        mine.reshape(-1),
        np.broadcast_to(keys, mine.shape).reshape(-1),
        np.broadcast_to(steps[:, None], mine.shape).reshape(-1),
        np.full(mine.size, key, np.int64),
    )


def _batched(
    stream: tf.data.Dataset,
    examples: Examples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    size: int,
    classes: int,
) -> tf.data.Dataset:
    """Return batches of the examples in a stream of `_rows`."""
    transform = transforms.train_transform(preprocessing, recipe, encoded=examples.encoded)

    @_plain
    def example(index: Any, key: Any, step: Any, epoch_key: Any) -> tuple[Any, Any, Any]:
        image, label = examples.fetch(index)
        return transform(image, tf.stack([key, index])), label, tf.stack([epoch_key, step])

    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return stream.batch(size, drop_remainder=True).map(_finish(recipe, classes))


def _micro_share(recipe: Recipe, hosts: int) -> int:
    """Return the number of examples of a micro-batch on one host."""
    parts = hosts * recipe.accumulation
    size, rest = divmod(recipe.batch_size, parts)
    if rest or (recipe.mixes and parts > 1 and size % 2):
        even = ", an even number each, since neighbours are mixed" if recipe.mixes else ""
        into = f" in {recipe.accumulation} parts each" if recipe.accumulation > 1 else ""
        raise SpecError(
            f"a batch of {recipe.batch_size} cannot be divided between {hosts} hosts{into}{even}",
            hint="choose another --batch-size.",
        )
    return size


def _finish(recipe: Recipe, classes: int) -> Any:
    """Return the function of a whole batch: mixing if the recipe has it."""
    if not recipe.mixes:
        return lambda images, labels, seeds: (images, labels)
    if not classes:
        raise SpecError("a recipe that mixes examples needs the number of classes")
    mix = mixing(recipe.mixup_alpha, recipe.cutmix_alpha)

    @_plain
    def finish(images: Any, labels: Any, seeds: Any) -> tuple[Any, Any]:
        targets = labels if labels.shape.rank == 2 else tf.one_hot(labels, classes)
        return mix(images, targets, seeds[0])

    return finish


def test_batches(
    examples: Examples, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Return all examples once, in order; the last batch may be smaller.

    Returns:
        A dataset of `(images, labels)`: float32 `(B, H, W, C)` and int32 `(B,)`, or float32
        `(B, classes)` if examples have several labels.
    """
    transform = transforms.test_transform(preprocessing, encoded=examples.encoded)

    @_plain
    def example(index: Any) -> tuple[Any, Any]:
        image, label = examples.fetch(index)
        return transform(image), label

    stream = tf.data.Dataset.range(len(examples))
    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return stream.batch(batch_size).prefetch(2)

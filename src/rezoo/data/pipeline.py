"""From examples to batches with tf.data: order and augmentation are functions of a seed.

The input of the network at step `s` of epoch `e` depends only on `(seed, e, s)`: not on the
parallelism, the number of hosts, the number of micro-batches, or the step at which the run
started. Starting in the middle of an epoch costs the same as at its beginning: the order of an
epoch is computed, and no example before the start is read.

Images stay whole grey levels, uint8, to the end; see `rezoo.models.normalization`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data import order, transforms
from rezoo.data.augmentation.mixing import mixing
from rezoo.data.examples import Examples
from rezoo.data.labels import label_check
from rezoo.data.resize import Crop, resized_crop
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.sizes import Segment, segments
from rezoo.specs import Preprocessing

INPUT_PIPELINE = 2
"""Raised when the same seed gives other batches; a run records it."""
# The mapped functions have no Python branches on tensors for AutoGraph to rewrite.
_plain = tf.autograph.experimental.do_not_convert


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
        preprocessing: Size of the network's input, and its mean, which is the colour of fills.
        recipe: Augmentation, batch size, training sizes, number of epochs and seed.
        classes: Number of classes; needed if the recipe mixes examples.
        first_epoch: The first epoch, from 0.
        first_step: The first step in that epoch, from 0.
        first_part: The first micro-batch of that step, from 0.
        without: Examples that cannot be read; see `epoch_indices`.
        host: Number of the part of each micro-batch to return, from 0.
        hosts: Number of equal parts of a micro-batch.

    Returns:
        A dataset of `(images, labels)`: uint8 `(B, H, W, C)` and int32 `(B,)`, or float32
        `(B, classes)` if examples are mixed or have several labels;
        `B = recipe.micro_batch_size // hosts`.

    Raises:
        SpecError: A batch cannot be divided into so many parts.
    """
    stream = TrainingStream(
        examples, preprocessing, recipe, classes=classes, epoch=first_epoch, host=host, hosts=hosts
    )
    return stream.at(first_epoch, first_step, first_part, without=without)


class TrainingStream:
    """The micro-batches of a run: one dataset, built once, that starts anywhere.

    Args:
        examples: The training split.
        preprocessing: Size of the network's input, and its mean, which is the colour of fills.
        recipe: Augmentation, batch size, training sizes, number of epochs and seed.
        classes: Number of classes; needed if the recipe mixes examples.
        epoch: The first epoch that is asked for, from 0.
        host: Number of the part of each micro-batch, from 0.
        hosts: Number of equal parts of a micro-batch.

    Raises:
        SpecError: A batch cannot be divided into so many parts.
    """

    def __init__(
        self,
        examples: Examples,
        preprocessing: Preprocessing,
        recipe: Recipe,
        *,
        classes: int = 0,
        epoch: int = 0,
        host: int = 0,
        hosts: int = 1,
    ) -> None:
        self._count, self._recipe = len(examples), recipe
        self._size = _micro_share(recipe, hosts)
        of_micro_batches = np.arange(recipe.accumulation)[:, None] * recipe.micro_batch_size
        self._places = (of_micro_batches + host * self._size + np.arange(self._size)).reshape(-1)
        self._start = (epoch, 0, 0)
        self._without: Set[int] = frozenset()

        def segment_batches(segment: Segment) -> tf.data.Dataset:
            stream = _stream(self._rows, range(segment.first, segment.end))
            sized = preprocessing.at(segment.size)
            return _batched(stream, examples, sized, recipe, self._size, classes)

        first, *others = map(segment_batches, segments(recipe, epoch))
        self._dataset = reduce(tf.data.Dataset.concatenate, others, first).prefetch(2)

    def at(self, epoch: int, step: int, part: int, *, without: Set[int]) -> tf.data.Dataset:
        """Return the dataset, whose next iterator starts at an epoch, a step and a micro-batch.

        For the arguments see `train_batches`. Iterators from earlier calls must not be used.
        """
        self._start, self._without = (epoch, step, part), without
        return self._dataset

    def _rows(self, epoch: np.int64) -> tuple[np.ndarray, ...]:
        """Return the rows of an epoch from the start on; none of earlier epochs."""
        at, step, part = self._start
        if epoch < at:
            return (np.zeros(0, np.int64),) * order.COLUMNS
        first_step, first_row = (step, part * self._size) if epoch == at else (0, 0)
        steps = np.arange(first_step, self._count // self._recipe.batch_size)
        places, without = self._places, self._without
        found = order.rows(self._count, self._recipe, int(epoch), steps, places, without)
        return tuple(values[first_row:] for values in found)


def _stream(of: Callable[[np.int64], tuple[np.ndarray, ...]], epochs: range) -> tf.data.Dataset:
    """Return the rows of some epochs, each computed when it begins."""

    def of_epoch(epoch: Any) -> Any:
        values = tf.numpy_function(of, [epoch], [tf.int64] * order.COLUMNS)
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
    found = order.rows(len(examples), recipe, epoch, np.asarray(steps), places, frozenset())
    stream = tf.data.Dataset.from_tensor_slices(found)
    preprocessing = preprocessing.at(segments(recipe, epoch)[0].size)
    return _batched(stream, examples, preprocessing, recipe, recipe.batch_size, classes)


def _batched(
    stream: tf.data.Dataset,
    examples: Examples,
    preprocessing: Preprocessing,
    recipe: Recipe,
    size: int,
    classes: int,
) -> tf.data.Dataset:
    """Return batches of the examples in a stream of `order.rows`."""
    transform = transforms.train_transform(preprocessing, recipe, encoded=examples.encoded)

    @_plain
    def example(
        index: Any, key: Any, step: Any, epoch: Any, epoch_key: Any
    ) -> tuple[Any, Any, Any]:
        image, label = examples.fetch(index)
        image = transform(image, tf.stack([key, index]), epoch)
        return image, label, tf.stack([epoch_key, step])

    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.batch(size, drop_remainder=True)
    if classes and examples.labels() is None:
        check = label_check(classes)
        stream = stream.map(lambda images, labels, seeds: (images, check(labels), seeds))
    return stream.map(_finish(recipe, classes))


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
    examples: Examples,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    classes: int = 0,  # noqa: PT028 - no test
    indices: Callable[[], np.ndarray] | None = None,  # noqa: PT028
    crop: Crop = resized_crop,  # noqa: PT028
) -> tf.data.Dataset:
    """Return all examples once, in order; the last batch may be smaller.

    Args:
        examples: The split.
        preprocessing: Size of the network's input.
        batch_size: Images per batch.
        classes: Number of classes: labels that are known only by reading are checked; 0 if not.
        indices: Called when an iterator begins: the examples to return, int64 `(M,)`.
        crop: As for `transforms.test_levels`; with five crops, images are `(B, 5, H, W, C)`.

    Returns:
        A dataset of `(images, labels)`: uint8 `(B, H, W, C)` and int32 `(B,)`, or float32
        `(B, classes)` if examples have several labels.
    """
    transform = transforms.test_levels(preprocessing, encoded=examples.encoded, crop=crop)

    @_plain
    def example(index: Any) -> tuple[Any, Any]:
        image, label = examples.fetch(index)
        return transform(image), label

    stream = tf.data.Dataset.range(len(examples))
    if indices is not None:

        @_plain
        def chosen(_: Any) -> Any:
            found = tf.numpy_function(indices, [], tf.int64)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(found, (None,)))

        stream = tf.data.Dataset.range(1).flat_map(chosen)
    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.batch(batch_size)
    if classes and examples.labels() is None:
        check = label_check(classes)
        stream = stream.map(lambda images, labels: (images, check(labels)))
    return stream.prefetch(2)

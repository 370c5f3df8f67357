"""Batches for training and evaluation; examples that cannot be read are left out on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.datasets import DataOptions, Dataset
from rezoo.data.order import epoch_indices
from rezoo.data.pipeline import TrainingStream, test_batches
from rezoo.data.resize import Crop, resized_crop
from rezoo.data.unreadable import Faults
from rezoo.errors import IntegrityError
from rezoo.models.normalization import normalized
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

# errors of TensorFlow on an image that cannot be read
UNREADABLE = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.DataLossError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
    tf.errors.UnknownError,
)


def training(
    faults: Faults,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    classes: int,
    epoch: int = 0,
    step: int = 0,
    convert: Callable[[Any], Iterable[Any]] = lambda batches: batches,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[Any]:
    """Return the micro-batches of a run from a step on; see `pipeline.train_batches`.

    A step has `recipe.accumulation` micro-batches. If one of them has an example that cannot be
    read, it is made again without it; the earlier ones of the same step stay as they are. Examples
    that are added to `faults` in another way are left out from the next micro-batch on.

    Args:
        faults: The training split, and its unreadable examples as far as they are known.
        preprocessing: Of the network.
        recipe: Augmentation, batch size, number of epochs and seed.
        classes: Number of classes.
        epoch: The first epoch, from 0.
        step: The first step in it, in steps of the optimizer.
        convert: Converts a `tf.data.Dataset` to an iterable of the backend's batches.
        host: Number of the part of each micro-batch to return, from 0.
        hosts: Number of equal parts of a micro-batch.

    Raises:
        IntegrityError: More examples are unreadable than the options of `faults` allow.
        IncompatibleError: The label of an example is not a class.
        SpecError: A batch cannot be divided into so many parts.
    """
    count, size, parts = len(faults.examples), recipe.micro_batch_size, recipe.accumulation
    per_epoch, share = count // recipe.batch_size * parts, size // hosts

    stream = TrainingStream(
        faults.examples,
        preprocessing,
        recipe,
        classes=classes,
        epoch=epoch,
        host=host,
        hosts=hosts,
    )

    def open_at(position: int, without: frozenset[int]) -> Iterable[Any]:
        at_epoch, rest = divmod(position, per_epoch)
        at_step, part = divmod(rest, parts)
        return convert(stream.at(at_epoch, at_step, part, without=without))

    def indices_at(position: int, without: frozenset[int]) -> np.ndarray:
        first = position % per_epoch * size + host * share
        indices = epoch_indices(count, recipe, position // per_epoch, without=without)
        return np.unique(indices[first : first + share])

    first = epoch * per_epoch + step * parts
    return _skipping(open_at, indices_at, faults, preprocessing.channels, position=first)


class InOrder:
    """Every readable example once, in order, at each iteration; see `pipeline.test_batches`.

    The `tf.data.Dataset` is built once.

    Args:
        faults: The split, and its unreadable examples as far as they are known.
        preprocessing: Of the network.
        batch_size: Images per batch; the last batch may be smaller.
        convert: Converts a `tf.data.Dataset` to an iterable of the backend's batches.
        crop: As for `transforms.test_levels`.
    """

    def __init__(
        self,
        faults: Faults,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        convert: Callable[[Any], Iterable[Any]] = lambda batches: batches,
        crop: Crop = resized_crop,
    ) -> None:
        self._faults, self._preprocessing, self._size = faults, preprocessing, batch_size
        self._convert, self._crop = convert, crop
        self._start: tuple[int, frozenset[int]] = (0, frozenset())

    @cached_property
    def _dataset(self) -> tf.data.Dataset:
        return test_batches(
            self._faults.examples,
            self._preprocessing,
            batch_size=self._size,
            classes=len(self._faults.class_names),
            indices=lambda: self._rest(*self._start),
            crop=self._crop,
        )

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches; a new iterator ends the use of earlier ones.

        Raises:
            IntegrityError: More examples are unreadable than the options of `faults` allow.
            IncompatibleError: The label of an example is not a class.
        """
        channels = self._preprocessing.channels
        return _skipping(self._open_at, self._indices_at, self._faults, channels)

    def _open_at(self, position: int, without: frozenset[int]) -> Iterable[Any]:
        self._start = position, without
        return self._convert(self._dataset)

    def _indices_at(self, position: int, without: frozenset[int]) -> np.ndarray:
        return self._rest(position, without)[: self._size]

    def _rest(self, position: int, without: frozenset[int]) -> np.ndarray:
        readable = np.setdiff1d(np.arange(len(self._faults.examples)), list(without))
        return readable[position * self._size :]


def as_dataset(
    data: Dataset, split: str, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Return the readable examples of a split in order, as a network takes them.

    The result is a `tf.data.Dataset`, its images float32 `(B, H, W, C)`, normalized.

    Args:
        data: The dataset.
        split: Name of the split.
        preprocessing: Size and normalization of the network's input.
        batch_size: Images per batch; the last batch may be smaller.
    """
    faults = Faults(
        data.examples(split), DataOptions(), f"{data.reference} ({split})", data.class_names
    )
    batches = InOrder(faults, preprocessing, batch_size=batch_size)
    sides = (None, *preprocessing.size, preprocessing.channels)
    several = data.splits.multi_label
    labels = (None, len(data.class_names)) if several else (None,)
    signature = (
        tf.TensorSpec(sides, tf.uint8),
        tf.TensorSpec(labels, tf.float32 if several else tf.int32),
    )
    kind = signature[1].dtype
    levels = tf.data.Dataset.from_generator(
        lambda: ((images, tf.cast(labels, kind)) for images, labels in batches),
        output_signature=signature,
    )
    return levels.map(
        lambda images, labels: (normalized(tf.cast(images, tf.float32), preprocessing), labels)
    )


def _skipping(
    open_at: Callable[[int, frozenset[int]], Iterable[Any]],
    indices_at: Callable[[int, frozenset[int]], np.ndarray],
    faults: Faults,
    channels: int,
    *,
    position: int = 0,
) -> Iterator[Any]:
    """Yield batches; if one cannot be read, its unreadable examples are found and left out.

    Args:
        open_at: Returns the batches from a position on, without some examples.
        indices_at: Returns the indices of the examples in the batch at a position, without some.
        faults: The known unreadable examples; those that are found are added.
        channels: Of the network's input.
        position: Number of the first batch.

    Raises:
        IntegrityError: A batch cannot be read, and each of its examples can.
    """
    without = frozenset(faults.reasons)
    source = iter(open_at(position, without))
    while True:
        if len(without) != len(faults.reasons):
            without = frozenset(faults.reasons)
            source = iter(open_at(position, without))
        try:
            batch = next(source, None)
        except UNREADABLE as error:
            if not faults.find(indices_at(position, without), channels):
                first = re.sub(r"\{\{.*?\}\}", "", error.message).strip().partition("\n")[0]
                raise IntegrityError(
                    f"an image of {faults.what} could not be read: {first}",
                    hint="the files changed after they were checked, or the prepared data is "
                    "damaged.",
                ) from error
            continue
        if batch is None:
            return
        position += 1
        yield batch

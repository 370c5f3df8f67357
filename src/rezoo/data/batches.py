"""Batches for training and evaluation; examples that cannot be read are left out on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from rezoo.data.pipeline import epoch_indices, test_batches, train_batches
from rezoo.data.unreadable import Faults, unreadable
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing

# errors of TensorFlow on an image that cannot be read
UNREADABLE = (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.DataLossError)


def training(
    faults: Faults,
    preprocessing: Preprocessing,
    recipe: Recipe,
    *,
    classes: int,
    epoch: int = 0,
    step: int = 0,
    convert: Callable[[Any], Iterable[Any]] = lambda batches: batches,
) -> Iterator[Any]:
    """Return the micro-batches of a run from a step on; see `pipeline.train_batches`.

    A step has `recipe.accumulation` micro-batches. If one of them has an example that cannot be
    read, it is made again without it; the earlier ones of the same step stay as they are.

    Args:
        faults: The training split, and its unreadable examples as far as they are known.
        preprocessing: Size and normalization of the network's input.
        recipe: Augmentation, batch size, number of epochs and seed.
        classes: Number of classes.
        epoch: The first epoch, from 0.
        step: The first step in it, in steps of the optimizer.
        convert: Converts a `tf.data.Dataset` to an iterable of the backend's batches.

    Raises:
        IntegrityError: More examples are unreadable than the options of `faults` allow.
    """
    count, size, parts = len(faults.examples), recipe.micro_batch_size, recipe.accumulation
    per_epoch = count // recipe.batch_size * parts

    def open_at(position: int, without: frozenset[int]) -> Iterable[Any]:
        at_epoch, rest = divmod(position, per_epoch)
        at_step, part = divmod(rest, parts)
        start = {"first_epoch": at_epoch, "first_step": at_step, "first_part": part}
        examples = faults.examples
        return convert(
            train_batches(
                examples, preprocessing, recipe, classes=classes, without=without, **start
            )
        )

    def indices_at(position: int, without: frozenset[int]) -> np.ndarray:
        first = position % per_epoch * size
        indices = epoch_indices(count, recipe, position // per_epoch, without=without)
        return np.unique(indices[first : first + size])

    return _skipping(open_at, indices_at, faults, position=epoch * per_epoch + step * parts)


class InOrder:
    """Every readable example once, in order, at each iteration; see `pipeline.test_batches`.

    The `tf.data.Dataset` is built once, and again if unreadable examples were found.

    Args:
        faults: The split, and its unreadable examples as far as they are known.
        preprocessing: Size and normalization of the network's input.
        batch_size: Images per batch; the last batch may be smaller.
        convert: Converts a `tf.data.Dataset` to an iterable of the backend's batches.
    """

    def __init__(
        self,
        faults: Faults,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        convert: Callable[[Any], Iterable[Any]] = lambda batches: batches,
    ) -> None:
        self._faults, self._preprocessing, self._size = faults, preprocessing, batch_size
        self._convert = convert
        self._built: tuple[Any, tf.data.Dataset] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches.

        Raises:
            IntegrityError: More examples are unreadable than the options of `faults` allow.
        """
        return _skipping(self._open_at, self._indices_at, self._faults)

    def _open_at(self, position: int, without: frozenset[int]) -> Iterable[Any]:
        key = (position, without)
        if self._built is None or self._built[0] != key:
            examples = self._faults.examples.select(self._rest(position, without))
            dataset = test_batches(examples, self._preprocessing, batch_size=self._size)
            self._built = key, dataset
        return self._convert(self._built[1])

    def _indices_at(self, position: int, without: frozenset[int]) -> np.ndarray:
        return self._rest(position, without)[: self._size]

    def _rest(self, position: int, without: frozenset[int]) -> np.ndarray:
        readable = np.setdiff1d(np.arange(len(self._faults.examples)), list(without))
        return readable[position * self._size :]


def _skipping(
    open_at: Callable[[int, frozenset[int]], Iterable[Any]],
    indices_at: Callable[[int, frozenset[int]], np.ndarray],
    faults: Faults,
    *,
    position: int = 0,
) -> Iterator[Any]:
    """Yield batches; if one cannot be read, its unreadable examples are found and left out.

    Args:
        open_at: Returns the batches from a position on, without some examples.
        indices_at: Returns the indices of the examples in the batch at a position, without some.
        faults: The known unreadable examples; those that are found are added.
        position: Number of the first batch.
    """
    source = iter(open_at(position, frozenset(faults.reasons)))
    while True:
        try:
            batch = next(source, None)
        except UNREADABLE:
            indices = indices_at(position, frozenset(faults.reasons))
            found = unreadable(faults.examples.select(indices))
            if not found:
                raise
            faults.add({int(indices[place]): reason for place, reason in found.items()})
            source = iter(open_at(position, frozenset(faults.reasons)))
            continue
        if batch is None:
            return
        position += 1
        yield batch

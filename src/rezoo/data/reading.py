"""Batches for runs and evaluations: what cannot be read is left out on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from rezoo.data.checks import Faults, skipping
from rezoo.data.pipeline import epoch_indices, test_batches, train_batches
from rezoo.recipes.recipe import Recipe
from rezoo.specs import Preprocessing


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
    """Return the batches of a run from a step on; see `pipeline.train_batches`.

    Args:
        faults: The training split, and what is known to be unreadable in it.
        preprocessing: Of the network's input.
        recipe: Of the run.
        classes: Number of classes.
        epoch: Where to start.
        step: Where to start in it.
        convert: Turns a `tf.data.Dataset` into what the backend takes.
    """
    count, batch = len(faults.examples), recipe.batch_size
    steps = count // batch

    def open_at(position: int, without: frozenset[int]) -> Iterable[Any]:
        batches = train_batches(
            faults.examples,
            preprocessing,
            recipe,
            classes=classes,
            first_epoch=position // steps,
            first_step=position % steps,
            without=without,
        )
        return convert(batches)

    def batch_at(position: int, without: frozenset[int]) -> np.ndarray:
        first = position % steps * batch
        indices = epoch_indices(count, recipe, position // steps, without=without)
        return np.unique(indices[first : first + batch])

    return skipping(open_at, batch_at, faults, step=epoch * steps + step)


def in_order(
    faults: Faults,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    convert: Callable[[Any], Iterable[Any]] = lambda batches: batches,
) -> Iterator[Any]:
    """Return every readable example once, in order; see `pipeline.test_batches`."""

    def rest(position: int, without: frozenset[int]) -> np.ndarray:
        readable = np.setdiff1d(np.arange(len(faults.examples)), list(without))
        return readable[position * batch_size :]

    def open_at(position: int, without: frozenset[int]) -> Iterable[Any]:
        whole = not position and not without
        examples = faults.examples if whole else faults.examples.select(rest(position, without))
        return convert(test_batches(examples, preprocessing, batch_size=batch_size))

    def batch_at(position: int, without: frozenset[int]) -> np.ndarray:
        return rest(position, without)[:batch_size]

    return skipping(open_at, batch_at, faults)

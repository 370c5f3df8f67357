"""Batches for runs and evaluations: what cannot be read is left out on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from rezoo.data.pipeline import epoch_indices, test_batches, train_batches
from rezoo.data.unreadable import Faults, skipping
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
    """Return the micro-batches of a run from a step on; see `pipeline.train_batches`.

    Each step has `recipe.accumulation` of them; one whose examples cannot be read begins anew
    without these, and the ones before it in the step stay as they are.

    Args:
        faults: The training split, and what is known to be unreadable in it.
        preprocessing: Of the network's input.
        recipe: Of the run.
        classes: Number of classes.
        epoch: Where to start, from 0.
        step: Where to start in it, in steps of the optimizer.
        convert: Turns a `tf.data.Dataset` into what the backend takes.
    """
    count, size, parts = len(faults.examples), recipe.micro_batch_size, recipe.accumulation
    per_epoch = count // recipe.batch_size * parts

    def open_at(position: int, without: frozenset[int]) -> Iterable[Any]:
        at_epoch, rest = divmod(position, per_epoch)
        at_step, part = divmod(rest, parts)
        batches = train_batches(
            faults.examples,
            preprocessing,
            recipe,
            classes=classes,
            first_epoch=at_epoch,
            first_step=at_step,
            first_part=part,
            without=without,
        )
        return convert(batches)

    def batch_at(position: int, without: frozenset[int]) -> np.ndarray:
        first = position % per_epoch * size
        indices = epoch_indices(count, recipe, position // per_epoch, without=without)
        return np.unique(indices[first : first + size])

    return skipping(open_at, batch_at, faults, step=epoch * per_epoch + step * parts)


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

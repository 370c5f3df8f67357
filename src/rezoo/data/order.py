"""The order of a run: which example is at which place of which batch, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from rezoo.data import splits
from rezoo.recipes.recipe import Recipe

COLUMNS = 5
"""Of a row; see `rows`."""


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
    steps, each = count // recipe.batch_size, distinct(recipe)
    chosen = np.resize(order, steps * each).reshape(steps, each)
    repeated = np.tile(chosen, (1, recipe.repeated_augmentation))
    return repeated[:, : recipe.batch_size].reshape(-1)


def distinct(recipe: Recipe) -> int:
    """Return the number of different examples in a batch; the last may be repeated once less."""
    return -(-recipe.batch_size // recipe.repeated_augmentation)


def rows(
    count: int,
    recipe: Recipe,
    epoch: int,
    steps: np.ndarray,
    places: np.ndarray,
    without: Set[int],
) -> tuple[np.ndarray, ...]:
    """Return the rows of some steps of an epoch and some places in each batch.

    A row is an example's index, the key of its draws, the step, and the number of the epoch and its
    key, int64.
    """
    indices = epoch_indices(count, recipe, epoch, without=without).reshape(-1, recipe.batch_size)
    key = splits.epoch_key(recipe.seed, epoch)
    keys = splits.repetition_keys(key, places // distinct(recipe))
    mine = indices[steps[:, None], places]
    return (
        mine.reshape(-1),
        np.broadcast_to(keys, mine.shape).reshape(-1),
        np.broadcast_to(steps[:, None], mine.shape).reshape(-1),
        np.full(mine.size, epoch, np.int64),
        np.full(mine.size, key, np.int64),
    )

"""Scaling of a recipe to another batch size, and to a shorter run.

With k = new / old batch size, the learning rate of `sgd` and `lars` is multiplied by k (Goyal et
al. 2017, arXiv:1706.02677, section 2.1), that of `adamw`, `lamb` and `muon` by the square root of k
(You et al. 2019, arXiv:1904.00962, section 4). Numbers of steps are divided by k, so that the
number of images stays the same; numbers of epochs stay. The weight decay stays, too, since it is
multiplied by the rate. The decoupled one of `sgd` is not, so it is multiplied by k.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rezoo.recipes.describe import as_text
from rezoo.recipes.recipe import Recipe

_LINEAR = ("sgd", "lars")
WARMUP_PART = 0.1  # of a run that is shorter than its recipe, at most
_DIGITS = 10  # significant digits of a rate, so that 0.1 * 3 is 0.3


def scaling(recipe: Recipe, batch_size: int) -> dict[str, Any]:
    """Return the keys that change with the batch size, and their new values.

    Args:
        recipe: The recipe with its own batch size.
        batch_size: The new batch size, 1 or more.
    """
    k = batch_size / recipe.batch_size
    if k == 1:
        return {}
    factor = k if recipe.optimizer in _LINEAR else k**0.5
    values: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": _rounded(recipe.learning_rate * factor),
        "min_learning_rate": _rounded(recipe.min_learning_rate * factor),
        "warmup_steps": round(recipe.warmup_steps / k),
        # the average has the same memory in images
        "ema_decay": recipe.ema_decay**k if recipe.ema_decay else 0.0,
        "accumulation": _parts(recipe, batch_size),
    }
    if recipe.optimizer == "sgd" and recipe.decoupled_weight_decay:
        values["weight_decay"] = _rounded(recipe.weight_decay * k)
    if recipe.steps is not None:
        values["steps"] = max(round(recipe.steps / k), 1)
    return {key: value for key, value in values.items() if value != getattr(recipe, key)}


def scaled(recipe: Recipe, batch_size: int) -> Recipe:
    """Return the recipe for another batch size.

    Raises:
        SpecError: The other keys do not allow this batch size.
    """
    return dataclasses.replace(recipe, **scaling(recipe, batch_size))


def describe_scaling(recipe: Recipe, values: Mapping[str, Any]) -> str:
    """Return a description of the changes by `scaling`.

    Args:
        recipe: The recipe before.
        values: Keys and values as returned by `scaling`.
    """
    kind = "linear" if recipe.optimizer in _LINEAR else "square-root"
    changed = {key: value for key, value in values.items() if key != "batch_size"}
    return (
        f"{describe_changes(recipe, changed)}: batch_size {values['batch_size']} instead of "
        f"{recipe.batch_size}, {kind} scaling"
    )


def shortening(recipe: Recipe, asked: Recipe) -> dict[str, Any]:
    """Return the keys that change with fewer epochs or steps than the recipe's, and their values.

    Otherwise a short run would end in its warm-up, and images would never reach their full size.
    The warm-up becomes at most a tenth of the run, or the recipe's own share if that is larger.
    `grow_epochs` shrink in proportion.

    Args:
        recipe: With its own length.
        asked: With the length that the user set.
    """
    values: dict[str, Any] = {}
    if recipe.steps is None and asked.steps is None and 0 < asked.epochs < recipe.epochs:
        part = asked.epochs / recipe.epochs
        longest = max(WARMUP_PART * asked.epochs, part * recipe.warmup_epochs)
        values["warmup_epochs"] = _rounded(min(recipe.warmup_epochs, longest))
        first, last = recipe.grow_epochs
        values["grow_epochs"] = (_rounded(part * first), _rounded(part * last))
    elif recipe.steps is not None and asked.steps is not None and asked.steps < recipe.steps:
        part = asked.steps / recipe.steps
        longest = max(WARMUP_PART * asked.steps, part * recipe.warmup_steps)
        values["warmup_steps"] = min(recipe.warmup_steps, int(longest))
    return {key: value for key, value in values.items() if value != getattr(recipe, key)}


def describe_changes(recipe: Recipe, values: Mapping[str, Any]) -> str:
    """Return keys with their values before, in `recipe`, and after."""
    return ", ".join(
        f"{key} {as_text(getattr(recipe, key))} → {as_text(value)}" for key, value in values.items()
    )


def _parts(recipe: Recipe, batch_size: int) -> int:
    """Return the recipe's number of micro-batches if the batch size is a multiple, else 1."""
    parts = recipe.accumulation
    even = 2 if recipe.mixes and parts > 1 else 1  # neighbours are mixed
    return parts if batch_size % (parts * even) == 0 else 1


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")

"""What a recipe leaves open until the data and the machine are known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

from rezoo.artifacts.run_files import RECIPE, read_recipe_of_run
from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe
from rezoo.recipes.scaling import describe_scaling, scaling
from rezoo.utils import device

# Keys that may follow from the machine; a run that is resumed elsewhere keeps its own.
FROM_MACHINE = ("precision", "accumulation", "epochs", "warmup_epochs", "grow_epochs")


def settle(
    recipe: Recipe, *, count: int, chosen: Collection[str], before: Recipe | None = None
) -> tuple[Recipe, list[str]]:
    """Return the recipe with nothing left open, and in words what was decided.

    A batch of the recipe's that is larger than the data becomes the largest power of two that the
    data have, and the learning rate follows (`rezoo.recipes.scaling`). `steps` become epochs,
    rounded up. The precision `auto` becomes the device's.

    Args:
        recipe: As names and options resolve it.
        count: Training images.
        chosen: Keys that the user set: these are not changed.
        before: The run that is resumed; what it took from its machine holds.

    Raises:
        SpecError: The user's batch is larger than the data.
    """
    notes: list[str] = []
    if recipe.batch_size > count:
        recipe, note = _smaller_batch(recipe, count, chosen)
        notes.append(note)
    if recipe.steps is not None:
        epochs = max(math.ceil(recipe.steps / (count // recipe.batch_size)), 1)
        notes.append(f"{recipe.steps} steps are {epochs} epochs of these data")
        recipe = dataclasses.replace(recipe, epochs=epochs, steps=None)
    if before is not None:
        kept = {k: getattr(before, k) for k in FROM_MACHINE if k not in chosen}
        return dataclasses.replace(recipe, **kept), notes
    if recipe.precision == "auto":
        precision = device.precision("auto")
        notes.append(f"precision {precision}: this device's")
        recipe = dataclasses.replace(recipe, precision=precision)
    return recipe, notes


def _smaller_batch(recipe: Recipe, count: int, chosen: Collection[str]) -> tuple[Recipe, str]:
    size = 2 ** (count.bit_length() - 1)
    if "batch_size" in chosen:
        raise SpecError(
            f"batch_size {recipe.batch_size} is larger than train, which has {count} images",
            hint=f"set --batch-size to {count} or less.",
        )
    values = {k: v for k, v in scaling(recipe, size).items() if k not in chosen}
    words = describe_scaling(recipe, values)
    return dataclasses.replace(recipe, **values), f"{words}; train has {count} images"


def read_run(folder: Path) -> Recipe | None:
    """Return the recipe of the run in a folder; None where there is none."""
    values = read_recipe_of_run(folder)
    return Recipe.from_dict(values, origin=str(folder / RECIPE)) if values else None

"""The side of training images in each epoch: constant or growing.

Smaller images in the first epochs make a run shorter and cost little accuracy. The size of an
epoch follows the rule of FFCV's ImageNet recipes (libffcv, `ffcv-imagenet`, `get_resolution`).
"""

from __future__ import annotations

from dataclasses import dataclass

from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe

STEP = 32
"""Sizes between the first and the last are multiples of this, in pixels."""


@dataclass(frozen=True)
class Segment:
    """Consecutive epochs with the same image size: `first <= epoch < end`.

    Attributes:
        first: First epoch, from 0.
        end: Last epoch plus one.
        size: Height and width of training images in pixels; None for that of the network's input.
    """

    first: int
    end: int
    size: int | None


def training_size(recipe: Recipe, epoch: int) -> int:
    """Return the side in pixels of the training images of an epoch, counted from 0.

    Up to epoch `grow_epochs[0]` it is `start_size`, from `grow_epochs[1]` on `train_size`.
    Between them it is linear in the epoch, rounded to the nearest multiple of 32, half to even.

    Raises:
        SpecError: The recipe has neither `train_size` nor `image_size`.
    """
    last = recipe.train_size or recipe.image_size
    if last is None:
        raise SpecError(
            f"recipe {recipe.name} has no image_size: it is that of the data or the weights"
        )
    first = recipe.start_size or last
    begin, end = recipe.grow_epochs
    if first == last:
        return last
    if epoch <= begin:
        return first
    if epoch >= end:
        return last
    grown = first + (last - first) * (epoch - begin) / (end - begin)
    return min(max(round(grown / STEP) * STEP, first), last)


def segments(recipe: Recipe, first_epoch: int = 0) -> list[Segment]:
    """Return the epochs from `first_epoch` to the end of the run, grouped by image size.

    The size is None if the recipe has neither `train_size` nor `start_size`.
    """
    if recipe.train_size is None and recipe.start_size is None:
        return [Segment(first_epoch, recipe.epochs, None)]
    found: list[Segment] = []
    for epoch in range(first_epoch, recipe.epochs):
        size = training_size(recipe, epoch)
        if found and found[-1].size == size:
            found[-1] = Segment(found[-1].first, epoch + 1, size)
        else:
            found.append(Segment(epoch, epoch + 1, size))
    return found or [Segment(first_epoch, recipe.epochs, recipe.train_size)]


def has_one_size(recipe: Recipe) -> bool:
    """Return whether training images always have the size of test images."""
    return {recipe.train_size, recipe.start_size} <= {None, recipe.image_size}

"""The side of training images in each epoch: one for all, or one that grows.

Smaller images at first make a run shorter and cost little accuracy; the last epochs have the
full size. Which epoch has which size is the rule of FFCV's ImageNet recipes (libffcv,
`ffcv-imagenet`, `get_resolution`).
"""

from __future__ import annotations

from dataclasses import dataclass

from rezoo.errors import SpecError
from rezoo.recipes.recipe import Recipe

STEP = 32
"""Sizes between the first and the last are multiples of this, in pixels."""


@dataclass(frozen=True)
class Segment:
    """Epochs that follow each other and have one size: `first <= epoch < end`.

    Attributes:
        first: The first epoch, from 0.
        end: The epoch behind the last.
        size: Height and width of training images in pixels; None for that of the network's input.
    """

    first: int
    end: int
    size: int | None


def training_size(recipe: Recipe, epoch: int) -> int:
    """Return height and width in pixels of the training images of an epoch, from 0.

    Up to and in the epoch `grow_epochs[0]` it is `start_size`, from `grow_epochs[1]` on
    `train_size`; between them it is linear in the epoch and rounded to the nearest multiple of
    32, half to even, within these two.

    Raises:
        SpecError: The recipe says neither `train_size` nor `image_size`.
    """
    last = recipe.train_size or recipe.image_size
    if last is None:
        raise SpecError(f"recipe {recipe.name} has no image_size yet: data or weights decide")
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
    """Return the epochs from `first_epoch` to the end of the run, those of one size together.

    The size is None where the recipe has neither `train_size` nor `start_size`.
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
    """Whether training images are always of the size that the network is tested with."""
    return {recipe.train_size, recipe.start_size} <= {None, recipe.image_size}

"""Values of recipe keys that exclude each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rezoo.errors import SpecError

if TYPE_CHECKING:
    from rezoo.recipes.recipe import Recipe


def check(recipe: Recipe) -> None:
    """Check the keys of a recipe against each other; each value alone is allowed.

    Raises:
        SpecError: Two of them exclude each other.
    """
    if not recipe.epochs and recipe.head_start != "probe":
        raise SpecError("recipe key epochs = 0; allowed is 1 or more, or 0 with head_start = probe")
    _check_batch(recipe)
    _check_augmentation(recipe)
    _check_sizes(recipe)


def _check_batch(recipe: Recipe) -> None:
    if recipe.batch_size % recipe.accumulation:
        raise SpecError(
            f"batch_size = {recipe.batch_size} is not a multiple of "
            f"accumulation = {recipe.accumulation}"
        )
    if recipe.mixes and recipe.accumulation > 1 and recipe.micro_batch_size % 2:
        raise SpecError(
            f"batch_size = {recipe.batch_size} in {recipe.accumulation} micro-batches: "
            "an odd number each",
            hint="neighbours are mixed, so each must have an even number of images.",
        )


def _check_augmentation(recipe: Recipe) -> None:
    side, padding = recipe.start_size or recipe.train_size or recipe.image_size, recipe.crop_padding
    if recipe.crop_fill == "reflection" and not padding:
        raise SpecError(
            "crop_fill = reflection without crop_padding",
            hint="set crop_padding to the number of pixels to add on each side.",
        )
    if recipe.crop_fill == "reflection" and side is not None and padding >= side:
        raise SpecError(
            f"crop_padding = {padding}: the reflection of {side} pixels has at most {side - 1}",
            hint=f"set crop_padding to {side - 1} or less, or crop_fill to mean.",
        )
    if recipe.flip_order == "alternate" and recipe.flip not in (0, 0.5):
        raise SpecError(
            f"flip_order = alternate with flip = {recipe.flip:g}: it mirrors half of the images",
            hint="set flip_order to random, or flip to 0.5, or to 0 for no mirror images.",
        )
    if recipe.flip_order == "alternate" and recipe.repeated_augmentation > 1:
        raise SpecError(
            f"flip_order = alternate with repeated_augmentation = {recipe.repeated_augmentation}: "
            "the copies of an image in a batch would all be mirrored, or none",
            hint="set flip_order to random, or repeated_augmentation to 1.",
        )


def _check_sizes(recipe: Recipe) -> None:
    start, (first, last) = recipe.start_size, recipe.grow_epochs
    full = recipe.train_size or recipe.image_size
    if start is None and last:
        raise SpecError(
            f"grow_epochs = [{first:g}, {last:g}] without start_size",
            hint="set start_size, from which training images grow to train_size.",
        )
    if start is None or full is None or start == full:
        return
    if start > full:
        name = "train_size" if recipe.train_size else "image_size"
        raise SpecError(
            f"start_size = {start} is larger than {name} = {full}",
            hint="training images grow: set start_size to that or less.",
        )
    if not last:
        raise SpecError(
            f"start_size = {start}, but no grow_epochs",
            hint="set grow_epochs to [first, last], between which training images grow.",
        )

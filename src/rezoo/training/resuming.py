"""Whether a run can go on: with the same data, and with the same recipe but for more epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from rezoo.data.differences import differences
from rezoo.data.identity import Identity
from rezoo.errors import IncompatibleError
from rezoo.recipes.recipe import Recipe
from rezoo.training.schedules import schedule

if TYPE_CHECKING:
    from rezoo.training.checkpoints import Progress
    from rezoo.training.setup import Setup

# Keys that may change with more epochs: they set the learning rate, and no state depends on them.
_OF_THE_RATE = ("schedule", "learning_rate", "min_learning_rate", "poly_power", "step_at")
_ANEW = "start a new run with --overwrite or another --output."


def check_data(folder: Path, now: Identity) -> str:
    """Compare data with those of the run in a folder; return a note for the user, or empty text.

    Raises:
        IncompatibleError: They are other data; the message says what differs.
        IntegrityError: The record of the run's data is damaged.
    """
    before = Identity.read(folder)
    if before is None:
        return "the run does not record which data it has: they are not compared"
    if before.sha256 != now.sha256:
        found = differences(before, now) or ["the images are in another order"]
        raise IncompatibleError(
            f"the run in {folder} was started with other data: {'; '.join(found)}",
            hint=f"resume it with its own data, {before.reference}, or {_ANEW}",
        )
    if before.reference == now.reference:
        return ""
    return f"the run was started with the same images in {before.reference}"


def check_recipe(folder: Path, before: Recipe, now: Recipe, chosen: Collection[str]) -> None:
    """Check that a run can go on with a recipe: its own, or one with more epochs.

    More epochs are allowed if the learning rate is constant, or if the user sets the schedule.

    Args:
        folder: The run folder.
        before: The recipe of the run.
        now: The recipe to go on with.
        chosen: Keys that the user set.

    Raises:
        IncompatibleError: Other keys differ, or the user has to say how the learning rate goes on.
    """
    keys = [field.name for field in dataclasses.fields(Recipe)]
    changed = {key for key in keys if getattr(before, key) != getattr(now, key)}
    more = now.epochs > before.epochs and changed <= {"epochs", *_OF_THE_RATE}
    constant = before.schedule == now.schedule == "constant"
    if not changed or (more and (constant or "schedule" in chosen)):
        return
    if more:
        raise IncompatibleError(
            f"epochs = {now.epochs}: the run in {folder} has {before.epochs}, "
            f"and its learning rate, schedule {before.schedule}, has its last value there",
            hint="add --set schedule=constant and --lr for a rate that stays, or "
            f"--set schedule={now.schedule} for the rate that a run of {now.epochs} epochs has "
            f"from there on; or {_ANEW}",
        )
    listed = ", ".join(
        f"{key} = {getattr(now, key)!r} in place of {getattr(before, key)!r}"
        for key in keys
        if key in changed
    )
    raise IncompatibleError(
        f"the run in {folder} was started with another recipe: {listed}",
        hint=f"resume with the options it was started with (see its recipe.toml), or {_ANEW}",
    )


def describe_more_epochs(setup: Setup, progress: Progress) -> str:
    """Return in words how the learning rate of a run goes on that gets more epochs."""
    before, now = setup.before or setup.recipe, setup.recipe
    at = progress.epoch * setup.steps_per_epoch + progress.step
    old, new = (
        float(keras.ops.convert_to_numpy(schedule(recipe, setup.steps_per_epoch)(step)))
        for recipe, step in ((before, max(at - 1, 0)), (now, at))
    )
    course = f"stays {new:.3g}" if old == new else f"goes on at {new:.3g} after {old:.3g}"
    text = f"epochs {before.epochs} → {now.epochs}: the learning rate {course}"
    return text if now.schedule == "constant" else f"{text} (schedule {now.schedule})"

"""The setup of a run, shortened if it has a time limit."""

from __future__ import annotations

import dataclasses
import time

from rezoo.data.datasets import DataOptions
from rezoo.models.devices import ONE, Devices
from rezoo.recipes.recipe import Recipe
from rezoo.training.estimate import end_s, fitted, measure
from rezoo.training.network import agreed
from rezoo.training.reporters import Reporter
from rezoo.training.request import LENGTH, Request
from rezoo.training.setup import Setup
from rezoo.utils.gpu_faults import warn_of_gpu_faults


def set_up(
    request: Request,
    options: DataOptions,
    reporter: Reporter,
    max_time_s: float | None,
    began: float,
    before: Recipe | None = None,
    devices: Devices = ONE,
) -> tuple[Setup, float]:
    """Return the setup, its epochs reduced to the time, and the seconds that the end takes."""
    warn_of_gpu_faults()
    if request.opened is None:
        reporter.status(f"opening {request.dataset}")
    if max_time_s and before is not None:
        asked = request.recipe.epochs if "epochs" in request.chosen else before.epochs
        request = dataclasses.replace(request, chosen=request.chosen - {*LENGTH})
        setup = Setup.of(request, options, before=before, devices=devices)
        if asked != before.epochs:
            note = f"epochs stay {before.epochs}: with a time limit, a run keeps its length"
            setup = setup.with_recipe(setup.recipe, note)
        with setup.memory_errors():
            return setup, end_s(setup)
    setup = Setup.of(request, options, before=before, devices=devices)
    if not max_time_s:
        return setup, 0.0
    reporter.status("timing a few steps")
    with setup.memory_errors():
        times = measure(setup, setup.new_step())
    left_s = max_time_s - (time.monotonic() - began)
    recipe = fitted(setup.recipe, times, setup.steps_per_epoch, left_s=left_s)
    recipe = agreed(recipe, devices)
    if recipe != setup.recipe:
        note = f"{recipe.epochs} epochs instead of {setup.recipe.epochs} fit into the time"
        setup = setup.with_recipe(recipe, note)
    return setup, times.finish_s

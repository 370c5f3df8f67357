"""What a run would cost, from a few of its steps. Names are resolved before TensorFlow loads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo.data.datasets import DataOptions, Dataset
from rezoo.models.devices import joined
from rezoo.recipes.recipe import Recipe
from rezoo.sources.references import Reference
from rezoo.training.reporters import Plan, Reporter
from rezoo.training.request import Request

if TYPE_CHECKING:
    from rezoo.training.estimate import Estimate


def dry_run(
    model: Reference,
    dataset: str | Dataset,
    *,
    pretrained: bool = False,
    recipe: str | Path | Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    max_time_s: float | None = None,
    devices: int | str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    reporter: Reporter | None = None,
) -> tuple[Plan, Estimate]:
    """Build everything that `train` would, do a few real steps, and estimate the run's costs.

    Nothing is written. Arguments and errors are those of `rezoo.train`.
    """
    began = time.monotonic()
    reporter = reporter or Reporter()
    request = Request.of(
        model, dataset, pretrained=pretrained, recipe=recipe, changes=changes, output=output
    )
    request = request.with_files(options)
    with joined(devices, None) as team:
        with reporter.loading():
            from rezoo.training.estimate import estimate
            from rezoo.training.time_limit import set_up
        setup, _ = set_up(request, options, reporter, max_time_s, began, devices=team)
        reporter.status("timing a few steps")
        with setup.memory_errors():
            found = estimate(setup, setup.new_step(), request.folder)
        return setup.plan(request), found

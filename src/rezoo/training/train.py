"""`train`: a model, a dataset and a recipe become a run folder.

Names are resolved before TensorFlow is imported, so a wrong one is reported at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo.artifacts.run_files import CHECKPOINT
from rezoo.data.datasets import DataOptions, Dataset
from rezoo.recipes.recipe import Recipe
from rezoo.sources.references import Reference
from rezoo.training import old_run
from rezoo.training.reporters import Plan, Reporter, Several, TensorBoard
from rezoo.training.request import Request, read_run
from rezoo.utils.lock import locked

if TYPE_CHECKING:
    from rezoo.training.estimate import Estimate
    from rezoo.training.setup import Setup


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of `train`.

    Attributes:
        folder: The run folder; a model reference like any other.
        metrics: The content of `metrics.json`: the best epoch's validation figures, times.
    """

    folder: Path
    metrics: dict[str, Any]


def train(
    model: Reference,
    dataset: str | Dataset,
    *,
    pretrained: bool = False,
    recipe: str | Path | Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    max_time_s: float | None = None,
    tensorboard: bool = False,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    reporter: Reporter | None = None,
) -> Run:
    """Train a network; the weights with the best validation figure are the run's result.

    That figure is top-1 accuracy, or mean average precision for multi-label data. A tenth of train
    (or the dataset's own part) is used for validation; test is not used. The random state of the
    process is left as it was.

    Args:
        model: The name of an architecture starts from random weights. Weights of the catalogue, a
            repository of the Hub and a folder with weights are fine-tuned. They get a new head
            unless their classes are the dataset's.
        dataset: A dataset reference, or an opened dataset.
        pretrained: Start an architecture from its default published weights.
        recipe: A recipe, its name or a `.toml` file; by default chosen by weights and dataset.
        changes: Recipe keys with other values. `batch_size="auto"` keeps the recipe's batch and
            divides it into micro-batches that fit into memory.
        output: The run folder; by default `runs/<model>-<dataset>`.
        resume: Continue the run in that folder from its last checkpoint, to the same bits.
        overwrite: Replace the run in that folder. Files that rezoo did not write stay.
        max_time_s: Seconds that the whole run may take. A few steps are timed first, and the
            schedule gets as many epochs as fit, at most the recipe's.
        tensorboard: Also write event files to `events` in the run folder.
        options: How to treat unreadable images, what to leave out, and what to keep in memory.
            Only the first and the last apply to an opened dataset.
        reporter: Receives the events of the run.

    Raises:
        UnknownNameError: No such model, dataset or recipe.
        SpecError: A recipe key, the folder or the data does not allow it; the time is too short.
        RunLockedError: Another process changes the run folder.
        DivergedError: The loss is not finite, or no gradient is finite in float16.
        Interrupted: Ctrl-C or SIGTERM; the state has been saved.
    """
    began = time.monotonic()
    request = Request.of(
        model, dataset, pretrained=pretrained, recipe=recipe, changes=changes, output=output
    )
    request.check_folder(resume=resume, overwrite=overwrite)
    with locked(request.folder, what="training"):
        old_run.check(request.folder, resume=resume, overwrite=overwrite)
        return _train(
            request,
            options,
            reporter or Reporter(),
            began=began,
            resume=resume,
            overwrite=overwrite,
            max_time_s=max_time_s,
            tensorboard=tensorboard,
        )


def _train(
    request: Request,
    options: DataOptions,
    reporter: Reporter,
    *,
    began: float,
    resume: bool,
    overwrite: bool,
    max_time_s: float | None,
    tensorboard: bool,
) -> Run:
    """Train in the run folder, which is locked and may be written."""
    folder = request.folder
    with reporter.loading():
        from rezoo.training import run_folder
        from rezoo.training.loop import Loop
    resumed = resume and (folder / CHECKPOINT).exists()
    before = read_run(folder) if resumed else None
    setup, finish_s = _set_up(request, options, reporter, max_time_s, began, before)
    notes = ["nothing to resume: a new run"] if resume and not resumed else []
    if overwrite:
        notes += old_run.remove(folder)
    plan = _plan(request, setup, notes)
    step = setup.new_step()
    if tensorboard:
        reporter = Several(reporter, TensorBoard())
    deadline = began + max_time_s - finish_s if max_time_s else None
    loop = Loop(setup, step, folder, reporter, deadline=deadline)
    run_folder.write_plan(folder, plan)
    reporter.started(plan, loop.progress.epoch, loop.progress.step)
    try:
        progress = loop.run()
    finally:
        reporter.finished()
    with step.averaged():
        metrics = run_folder.finish(folder, setup, plan, progress, loop.forward)
    return Run(folder=folder, metrics=metrics)


def dry_run(
    model: Reference,
    dataset: str | Dataset,
    *,
    pretrained: bool = False,
    recipe: str | Path | Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    max_time_s: float | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    reporter: Reporter | None = None,
) -> tuple[Plan, Estimate]:
    """Build everything that `train` would, do a few real steps, and estimate the run's costs.

    Nothing is written. Arguments and errors are those of `train`.
    """
    began = time.monotonic()
    reporter = reporter or Reporter()
    request = Request.of(
        model, dataset, pretrained=pretrained, recipe=recipe, changes=changes, output=output
    )
    with reporter.loading():
        from rezoo.training.estimate import estimate
    setup, _ = _set_up(request, options, reporter, max_time_s, began)
    reporter.status("timing a few steps")
    found = estimate(setup, setup.new_step(), request.folder)
    return _plan(request, setup), found


def _set_up(
    request: Request,
    options: DataOptions,
    reporter: Reporter,
    max_time_s: float | None,
    began: float,
    before: Recipe | None = None,
) -> tuple[Setup, float]:
    """Return the setup, its epochs reduced to the time, and the seconds that the end takes."""
    from rezoo.training.estimate import FINISH_S, fitted, measure
    from rezoo.training.setup import Setup

    reporter.status(f"opening {request.dataset}")
    setup = Setup.of(request, options, before=before)
    if not max_time_s or before is not None:
        return setup, FINISH_S
    reporter.status("timing a few steps")
    times = measure(setup, setup.new_step())
    left_s = max_time_s - (time.monotonic() - began)
    recipe = fitted(setup.recipe, times, setup.steps_per_epoch, left_s=left_s)
    if recipe != setup.recipe:
        note = f"{recipe.epochs} epochs instead of {setup.recipe.epochs} fit into the time"
        setup = setup.with_recipe(recipe, note)
    return setup, times.finish_s


def _plan(request: Request, setup: Setup, notes: Sequence[str] = ()) -> Plan:
    return Plan(
        model=request.source.reference,
        dataset=request.dataset,
        recipe=setup.recipe,
        recipe_reason=request.recipe_reason,
        folder=str(request.folder),
        steps_per_epoch=setup.steps_per_epoch,
        sizes={split: len(part) for split, part in setup.data.splits.parts.items()},
        notes=(*setup.data.splits.notes, *request.notes, *setup.notes, *notes),
        task=setup.task,
    )

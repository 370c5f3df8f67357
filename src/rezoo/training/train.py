"""`train`: a model, a dataset and a recipe become a run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.data.datasets import DataOptions, load_dataset
from rezoo.evaluation.evaluate import readable_errors
from rezoo.sources.references import Source
from rezoo.training import checkpoints, run_folder
from rezoo.training.estimate import FINISH_S, Estimate, estimate, fitted, measure
from rezoo.training.events import Events
from rezoo.training.reporters import Plan, Reporter, Several
from rezoo.training.request import Request
from rezoo.training.running import Run, run
from rezoo.training.settling import read_run
from rezoo.training.setup import Setup


def train(
    model: str | Source,
    dataset: str,
    *,
    pretrained: bool = False,
    recipe: str | None = None,
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

    That figure is top-1, or of several labels the mean average precision.

    A tenth of train (or what the dataset says) validates; test is not touched.

    Args:
        model: An architecture's name starts from random weights; weights of the catalogue, a
            repository of the Hub or a folder with weights are fine-tuned, with a new head
            unless their classes are the dataset's.
        dataset: A dataset reference.
        pretrained: Start a bare architecture from its default published weights.
        recipe: A recipe's name or a `.toml` file; chosen by weights and dataset where not given.
        changes: Recipe keys with other values. `batch_size="auto"` keeps the recipe's batch and
            divides it into parts that fit into memory.
        output: The run folder; `runs/<model>-<dataset>` where not given.
        resume: Continue the run in that folder from its last checkpoint, to the same bits.
        overwrite: Replace the run in that folder.
        max_time_s: Seconds that the run may take in all. A few steps are timed first, and the
            schedule gets as many epochs as fit, at most the recipe's.
        tensorboard: Write event files to `events` in the run folder, too; see
            `rezoo.training.events.Events`.
        options: What happens to images that cannot be read, what is left out, what is kept in
            memory.
        reporter: Hears of the progress.

    Raises:
        UnknownNameError: No such model, dataset or recipe.
        SpecError: A recipe key, the folder, or the data does not allow it; the time is too short.
        DivergedError: The loss is not finite, or no gradient in float16.
        Interrupted: Ctrl-C or SIGTERM; the state has been saved first.
    """
    begun = time.monotonic()
    reporter = reporter or Reporter()
    request = Request.of(
        model,
        dataset,
        pretrained=pretrained,
        recipe=recipe,
        changes=changes or {},
        output=output,
    )
    folder = request.folder
    run_folder.check_output(folder, resume=resume, overwrite=overwrite)
    reporter.status(f"opening {dataset}")
    data = load_dataset(dataset, options)
    goes_on = resume and (folder / checkpoints.LAST).exists()
    before = read_run(folder) if goes_on else None
    setup = Setup.of(request, data, options, before=before)
    finish_s = FINISH_S
    if max_time_s and before is None:
        reporter.status("timing a few steps")
        setup, finish_s = _shortened(setup, max_time_s, begun)
    run_folder.occupy(folder, overwrite=overwrite)
    anew_note = ("nothing to resume there: a new run",) if resume and not goes_on else ()
    plan = _plan(request, setup, anew_note)
    deadline = begun + max_time_s - finish_s if max_time_s else None
    reporter = Several(reporter, Events()) if tensorboard else reporter
    return run(setup, folder, plan, reporter, deadline)


def dry_run(
    model: str | Source,
    dataset: str,
    *,
    pretrained: bool = False,
    recipe: str | None = None,
    changes: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    max_time_s: float | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    reporter: Reporter | None = None,
) -> tuple[Plan, Estimate]:
    """Build all that `train` would, do a few real steps, and tell what the run would cost.

    Nothing is written. Arguments and errors are those of `train`.
    """
    begun = time.monotonic()
    reporter = reporter or Reporter()
    request = Request.of(
        model,
        dataset,
        pretrained=pretrained,
        recipe=recipe,
        changes=changes or {},
        output=output,
    )
    reporter.status(f"opening {dataset}")
    setup = Setup.of(request, load_dataset(dataset, options), options)
    reporter.status("doing a few steps")
    if max_time_s:
        setup, _ = _shortened(setup, max_time_s, begun)
    with readable_errors(dataset):
        found = estimate(setup, setup.new_step(), request.folder)
    return _plan(request, setup), found


def _shortened(setup: Setup, max_time_s: float, begun: float) -> tuple[Setup, float]:
    """Return the setup with as many epochs as there is time for, and what the end will take."""
    with readable_errors(setup.data.reference):
        times = measure(setup, setup.new_step())
    left_s = max_time_s - (time.monotonic() - begun)
    recipe = fitted(setup.recipe, times, setup.steps_per_epoch, left_s=left_s)
    if recipe != setup.recipe:
        note = f"{recipe.epochs} epochs in place of {setup.recipe.epochs} fit the time"
        setup = setup.with_recipe(recipe, note)
    return setup, times.finish_s


def _plan(request: Request, setup: Setup, notes: tuple[str, ...] = ()) -> Plan:
    return Plan(
        model=request.source.reference,
        dataset=setup.data.reference,
        recipe=setup.recipe,
        recipe_reason=request.recipe_reason,
        folder=str(request.folder),
        steps_per_epoch=setup.steps_per_epoch,
        sizes={split: len(part) for split, part in setup.data.splits.parts.items()},
        notes=(*setup.data.splits.notes, *request.notes, *setup.notes, *notes),
        task=setup.task,
    )

"""`train`: a model, a dataset and a recipe become a run folder."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo import artifacts, recipes, records
from rezoo.configs import CONFIG, LOCAL
from rezoo.data.loading import load_dataset
from rezoo.data.options import DataOptions
from rezoo.evaluation.evaluate import readable_errors
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.scoring import AnyScores, measure
from rezoo.files import write_bytes, write_json
from rezoo.references import Source
from rezoo.sealing import unseal_folder
from rezoo.training import checkpoints, planning, runs
from rezoo.training.checkpoints import Progress
from rezoo.training.events import Events
from rezoo.training.loop import Loop
from rezoo.training.planning import Estimate, estimate
from rezoo.training.reporting import Plan, Reporter, Several
from rezoo.training.request import Request
from rezoo.training.results import write_results
from rezoo.training.schedules import schedule
from rezoo.training.settling import read_run
from rezoo.training.setup import Setup
from rezoo.training.starting import fit_head
from rezoo.training.steps import TrainingStep, training_step
from rezoo.training.watching import Watch


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of `train`.

    Attributes:
        folder: The run folder; a model reference like any other.
        metrics: What `metrics.json` holds: the best epoch's validation figures, times.
    """

    folder: Path
    metrics: dict[str, Any]


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
    runs.check_output(folder, resume=resume, overwrite=overwrite)
    reporter.status(f"opening {dataset}")
    data = load_dataset(dataset, options)
    goes_on = resume and (folder / checkpoints.LAST).exists()
    before = read_run(folder) if goes_on else None
    setup = Setup.of(request, data, options, before=before)
    finish_s = planning.FINISH_S
    if max_time_s and before is None:
        reporter.status("timing a few steps")
        setup, finish_s = _shortened(setup, max_time_s, begun)
    runs.occupy(folder, overwrite=overwrite)
    anew_note = ("nothing to resume there: a new run",) if resume and not goes_on else ()
    plan = _plan(request, setup, anew_note)
    deadline = begun + max_time_s - finish_s if max_time_s else None
    reporter = Several(reporter, Events()) if tensorboard else reporter
    return _run(setup, folder, plan, reporter, deadline)


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
        found = estimate(setup, _step(setup), request.folder)
    return _plan(request, setup), found


def _shortened(setup: Setup, max_time_s: float, begun: float) -> tuple[Setup, float]:
    """Return the setup with as many epochs as there is time for, and what the end will take."""
    with readable_errors(setup.data.reference):
        times = planning.measure(setup, _step(setup))
    left_s = max_time_s - (time.monotonic() - begun)
    recipe = planning.fitted(setup.recipe, times, setup.steps_per_epoch, left_s=left_s)
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


def _step(setup: Setup) -> TrainingStep:
    return training_step(
        setup.network,
        setup.groups,
        setup.recipe,
        setup.task,
        steps_per_epoch=setup.steps_per_epoch,
        objective=setup.objective,
    )


def _run(setup: Setup, folder: Path, plan: Plan, reporter: Reporter, deadline: float | None) -> Run:
    network, recipe = setup.network, setup.recipe
    step = _step(setup)
    progress = checkpoints.restore(folder, step.state(), setup.signature) or Progress()
    setup.train.reasons.update(dict.fromkeys(progress.left_out, "found before"))
    _write_beginnings(setup, folder, plan)
    forward = compiled_forward(network)
    rate = schedule(recipe, setup.steps_per_epoch)
    earlier_s = progress.wall_time_s
    title = f"{setup.config.architecture}, {recipe.epochs} epochs"

    def validate() -> AnyScores:
        return measure(setup.task, forward, setup.validation_batches())

    def save(state: Progress) -> None:
        state.left_out = sorted(setup.train.reasons)
        checkpoints.save(folder, step.state(), state, setup.signature)

    def start() -> dict[str, Any]:
        return fit_head(setup, step, progress, reporter)

    def left_s() -> float:
        return (deadline or math.inf) - time.monotonic() - earlier_s

    loop = Loop(
        task=setup.task,
        step=step,
        batches=setup.train_batches,
        validate=validate,
        learning_rate=lambda step: float(keras.ops.convert_to_numpy(rate(step))),
        save=save,
        keep_best=lambda: artifacts.save_model(network, setup.config, folder),
        log=lambda history: runs.write_history(folder, history, title, setup.task),
        epochs=recipe.epochs,
        steps_per_epoch=setup.steps_per_epoch,
        batch_size=recipe.batch_size,
        reporter=reporter,
        watch=_watch(setup, progress),
        patience=recipe.early_stopping_epochs,
        start=start if setup.starts_with_probe else None,
        left_s=left_s if deadline else None,
    )
    reporter.started(plan, progress.epoch, progress.step)
    try:
        with readable_errors(plan.dataset):
            progress = loop.run(progress)
    finally:
        reporter.finished()
    with step.averaged():
        metrics = write_results(setup, folder, plan, progress, forward)
    return Run(folder=folder, metrics=metrics)


def _watch(setup: Setup, progress: Progress) -> Watch:
    labels, most = setup.train.examples.labels(), None
    if labels is not None and labels.ndim == 1:
        most = float(np.bincount(labels).max() / len(labels))
    return Watch(
        setup.recipe,
        classes=setup.config.num_classes,
        steps_per_epoch=setup.steps_per_epoch,
        multi_label=setup.task.multi_label,
        most=most,
        memory=progress.watched,
    )


def _write_beginnings(setup: Setup, folder: Path, plan: Plan) -> None:
    if (folder / CONFIG).exists():  # resumed: its files are about to change
        unseal_folder(folder)
    write_bytes(folder / records.RECIPE, recipes.recipe_to_toml(setup.recipe).encode())
    runs.write_environment(folder)
    write_json(folder / LOCAL, {"model": plan.model, "dataset": plan.dataset})

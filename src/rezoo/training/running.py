"""A run from its setup to its folder: the loop, and what it reads and writes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo import recipes
from rezoo.artifacts import run_files, weights
from rezoo.artifacts.config import CONFIG, LOCAL
from rezoo.artifacts.manifest import unseal_folder
from rezoo.evaluation.evaluate import readable_errors
from rezoo.evaluation.forward import Forward, compiled_forward
from rezoo.evaluation.metrics import AnyScores, measure
from rezoo.training import checkpoints, run_folder
from rezoo.training.checkpoints import Progress
from rezoo.training.loop import Loop
from rezoo.training.reporters import Plan, Reporter
from rezoo.training.results import run_title, write_results
from rezoo.training.schedules import schedule
from rezoo.training.setup import Setup
from rezoo.training.starting import fit_head
from rezoo.training.step import TrainingStep
from rezoo.training.watching import Watch
from rezoo.utils.files import write_bytes, write_json


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of `train`.

    Attributes:
        folder: The run folder; a model reference like any other.
        metrics: What `metrics.json` holds: the best epoch's validation figures, times.
    """

    folder: Path
    metrics: dict[str, Any]


def run(setup: Setup, folder: Path, plan: Plan, reporter: Reporter, deadline: float | None) -> Run:
    """Train from the last checkpoint of the folder, or from the start, to the end.

    Args:
        setup: What is computed with.
        folder: The run folder, which is the run's own.
        plan: For whoever watches.
        reporter: Hears of the progress.
        deadline: Of `time.monotonic()`: no epoch begins that would end after it.
    """
    step = setup.new_step()
    progress = checkpoints.restore(folder, step.state(), setup.signature) or Progress()
    setup.train.reasons.update(dict.fromkeys(progress.left_out, "found before"))
    _write_beginnings(setup, folder, plan)
    forward = compiled_forward(setup.network)
    loop = _loop(setup, step, folder, progress, forward, reporter, deadline)
    reporter.started(plan, progress.epoch, progress.step)
    try:
        with readable_errors(plan.dataset):
            progress = loop.run(progress)
    finally:
        reporter.finished()
    with step.averaged():
        metrics = write_results(setup, folder, plan, progress, forward)
    return Run(folder=folder, metrics=metrics)


def _loop(
    setup: Setup,
    step: TrainingStep,
    folder: Path,
    progress: Progress,
    forward: Forward,
    reporter: Reporter,
    deadline: float | None,
) -> Loop:
    network, recipe = setup.network, setup.recipe
    rate = schedule(recipe, setup.steps_per_epoch)
    earlier_s = progress.wall_time_s
    title = run_title(setup)

    def validate() -> AnyScores:
        return measure(setup.task, forward, setup.validation_batches())

    def save(state: Progress) -> None:
        state.left_out = sorted(setup.train.reasons)
        checkpoints.save(folder, step.state(), state, setup.signature)

    def start() -> dict[str, Any]:
        return fit_head(setup, step, progress, reporter)

    def left_s() -> float:
        return (deadline or math.inf) - time.monotonic() - earlier_s

    return Loop(
        task=setup.task,
        step=step,
        batches=setup.train_batches,
        validate=validate,
        learning_rate=lambda step: float(keras.ops.convert_to_numpy(rate(step))),
        save=save,
        keep_best=lambda: weights.save_model(network, setup.config, folder),
        log=lambda history: run_folder.write_history(folder, history, title, setup.task),
        epochs=recipe.epochs,
        steps_per_epoch=setup.steps_per_epoch,
        batch_size=recipe.batch_size,
        reporter=reporter,
        watch=_watch(setup, progress),
        patience=recipe.early_stopping_epochs,
        start=start if setup.starts_with_probe else None,
        left_s=left_s if deadline else None,
    )


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
        scaled=setup.config.base is None,
        memory=progress.watched,
    )


def _write_beginnings(setup: Setup, folder: Path, plan: Plan) -> None:
    if (folder / CONFIG).exists():  # resumed: its files are about to change
        unseal_folder(folder)
    write_bytes(folder / run_files.RECIPE, recipes.recipe_to_toml(setup.recipe).encode())
    run_folder.write_environment(folder)
    write_json(folder / LOCAL, {"model": plan.model, "dataset": plan.dataset})

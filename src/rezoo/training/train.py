"""`train`: a model, a dataset and a recipe become a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

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
from rezoo.training import checkpoints, optimizers, runs
from rezoo.training.checkpoints import Progress
from rezoo.training.loop import Loop
from rezoo.training.reporting import Plan, Reporter
from rezoo.training.request import Request
from rezoo.training.results import write_results
from rezoo.training.setup import Setup
from rezoo.training.steps import training_step


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
        changes: Recipe keys with other values.
        output: The run folder; `runs/<model>-<dataset>` where not given.
        resume: Continue the run in that folder from its last checkpoint, to the same bits.
        overwrite: Replace the run in that folder.
        options: What happens to images that cannot be read, what is left out, what is kept in
            memory.
        reporter: Hears of the progress.

    Raises:
        UnknownNameError: No such model, dataset or recipe.
        SpecError: A recipe key, the folder, or the data does not allow it.
        DivergedError: The loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state has been saved first.
    """
    reporter = reporter or Reporter()
    request = Request.of(
        model,
        dataset,
        pretrained=pretrained,
        recipe=recipe,
        changes=changes or {},
        output=output,
    )
    runs.check_output(request.folder, resume=resume, overwrite=overwrite)
    reporter.status(f"opening {dataset}")
    data = load_dataset(dataset, options)
    setup = Setup.of(request, data, options)
    runs.occupy(request.folder, overwrite=overwrite)
    anew = resume and not (request.folder / checkpoints.LAST).exists()
    anew_note = ("nothing to resume there: a new run",) if anew else ()
    plan = Plan(
        model=request.source.reference,
        dataset=dataset,
        recipe=request.recipe,
        recipe_reason=request.recipe_reason,
        folder=str(request.folder),
        steps_per_epoch=setup.steps_per_epoch,
        sizes={split: len(part) for split, part in data.splits.parts.items()},
        notes=(*data.splits.notes, *request.notes, *setup.notes, *anew_note),
        task=setup.task,
    )
    return _run(setup, request.folder, plan, reporter)


def _run(setup: Setup, folder: Path, plan: Plan, reporter: Reporter) -> Run:
    network, recipe = setup.network, setup.recipe
    progress = checkpoints.restore(folder, network, setup.groups, setup.signature) or Progress()
    setup.train.reasons.update(dict.fromkeys(progress.left_out, "found before"))
    _write_beginnings(setup, folder, plan)
    forward = compiled_forward(network)
    rate = optimizers.schedule(recipe, setup.steps_per_epoch)

    def validate() -> AnyScores:
        return measure(setup.task, forward, setup.validation_batches())

    def save(state: Progress) -> None:
        state.left_out = sorted(setup.train.reasons)
        checkpoints.save(folder, network, setup.groups, state, setup.signature)

    loop = Loop(
        task=setup.task,
        step=training_step(network, setup.groups, recipe, setup.task),
        batches=setup.train_batches,
        validate=validate,
        learning_rate=lambda step: float(keras.ops.convert_to_numpy(rate(step))),
        save=save,
        keep_best=lambda: artifacts.save_model(network, setup.config, folder),
        log=lambda history: runs.write_history(folder, history),
        epochs=recipe.epochs,
        steps_per_epoch=setup.steps_per_epoch,
        batch_size=recipe.batch_size,
        reporter=reporter,
    )
    reporter.started(plan, progress.epoch, progress.step)
    try:
        with readable_errors(plan.dataset):
            progress = loop.run(progress)
    finally:
        reporter.finished()
    return Run(folder=folder, metrics=write_results(setup, folder, plan, progress, forward))


def _write_beginnings(setup: Setup, folder: Path, plan: Plan) -> None:
    if (folder / CONFIG).exists():  # resumed: its files are about to change
        unseal_folder(folder)
    write_bytes(folder / records.RECIPE, recipes.recipe_to_toml(setup.recipe).encode())
    runs.write_environment(folder)
    write_json(folder / LOCAL, {"model": plan.model, "dataset": plan.dataset})

"""`train`: a model, a dataset and a recipe become a run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rezoo import artifacts, recipes
from rezoo.configs import LOCAL
from rezoo.data import pipeline
from rezoo.data.loading import Dataset, load_dataset
from rezoo.errors import SpecError
from rezoo.evaluation.evaluate import readable_errors
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.metrics import Scores, score
from rezoo.loading import HEAD
from rezoo.models.factory import create_model
from rezoo.recipes.recipe import Recipe
from rezoo.references import Source
from rezoo.specs import ModelConfig
from rezoo.training import card, checkpoints, optimizers, runs
from rezoo.training.checkpoints import Progress
from rezoo.training.loop import Loop
from rezoo.training.report import report
from rezoo.training.reporting import Plan, Reporter
from rezoo.training.request import Request
from rezoo.training.steps import training_step

REFERENCE_IMAGES = 4


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
    model: str,
    dataset: str,
    *,
    recipe: str | None = None,
    changes: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Train a network; the weights with the best validation top-1 are the run's result.

    A tenth of train (or what the dataset says) validates; test is not touched.

    Args:
        model: An architecture's name starts from random weights; a folder with weights is
            fine-tuned, with a new head unless its classes are the dataset's.
        dataset: A dataset reference.
        recipe: A recipe's name or a `.toml` file; chosen by weights and dataset where not given.
        changes: Recipe keys with other values.
        output: The run folder; `runs/<model>-<dataset>` where not given.
        resume: Continue the run in that folder from its last checkpoint, to the same bits.
        overwrite: Replace the run in that folder.
        reporter: Hears of the progress.

    Raises:
        UnknownNameError: No such model, dataset or recipe.
        SpecError: A recipe key, the folder, or the data does not allow it.
        DivergedError: The loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state has been saved first.
    """
    reporter = reporter or Reporter()
    request = Request.of(model, dataset, recipe=recipe, changes=changes or {}, output=output)
    runs.check_output(request.folder, resume=resume, overwrite=overwrite)
    reporter.status(f"opening {dataset}")
    data = load_dataset(dataset)
    _check_data(data, request.recipe)
    setup = _Setup.of(request, data)
    runs.occupy(request.folder, overwrite=overwrite)
    anew = resume and not (request.folder / checkpoints.LAST).exists()
    anew_note = ("nothing to resume there: a new run",) if anew else ()
    plan = Plan(
        model=model,
        dataset=dataset,
        recipe=request.recipe,
        recipe_reason=request.recipe_reason,
        folder=str(request.folder),
        steps_per_epoch=setup.steps_per_epoch,
        sizes={split: len(part) for split, part in data.splits.parts.items()},
        notes=(*data.splits.notes, *request.notes, *setup.notes, *anew_note),
    )
    return _run(setup, request.folder, plan, reporter)


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """Everything that a run computes with."""

    network: keras.Model
    config: ModelConfig
    data: Dataset
    recipe: Recipe
    groups: list[optimizers.Group]
    steps_per_epoch: int
    signature: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, request: Request, data: Dataset) -> _Setup:
        recipe, source = request.recipe, request.source
        config = ModelConfig(
            architecture=source.config.architecture,
            num_classes=len(data.class_names),
            preprocessing=request.preprocessing,
            class_names=data.class_names,
            class_descriptions=data.splits.class_descriptions,
            licence=source.config.licence,
        )
        keras.utils.set_random_seed(recipe.seed)
        with _dtype_policy(recipe.precision):
            network = create_model(
                config.architecture,
                num_classes=config.num_classes,
                input_shape=(*config.preprocessing.size, config.preprocessing.channels),
            )
        notes = _start_from(source, network, config)
        count = len(data.examples("train"))
        steps = count // recipe.batch_size
        identity = [recipe.to_dict(), config.architecture, data.class_names, count]
        return cls(
            network=network,
            config=config,
            data=data,
            recipe=recipe,
            groups=optimizers.groups(network, recipe, steps, head=HEAD),
            steps_per_epoch=steps,
            signature=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            notes=notes,
        )


def _start_from(source: Source, network: keras.Model, config: ModelConfig) -> tuple[str, ...]:
    """Fill the network from the source's weights, if any; say what happened to the head."""
    if source.folder is None:
        return ()
    keep_head = bool(config.class_names) and source.config.class_names == config.class_names
    artifacts.load_weights(network, source.folder, new_head="" if keep_head else HEAD)
    if keep_head:
        return ("the weights' head is kept: the classes are the same",)
    return (f"new head for {config.num_classes} classes; all else from {source.reference}",)


def _run(setup: _Setup, folder: Path, plan: Plan, reporter: Reporter) -> Run:
    network, recipe = setup.network, setup.recipe
    progress = checkpoints.restore(folder, network, setup.groups, setup.signature) or Progress()
    _write_beginnings(setup, folder, plan)
    forward = compiled_forward(network)
    rate = optimizers.schedule(recipe, setup.steps_per_epoch)

    def validate() -> Scores:
        return score(forward, _validation(setup))

    loop = Loop(
        step=training_step(network, setup.groups, recipe),
        batches=lambda epoch, step: _as_backend(
            pipeline.train_batches(
                setup.data.examples("train"),
                setup.config.preprocessing,
                recipe,
                first_epoch=epoch,
                first_step=step,
            )
        ),
        validate=validate,
        learning_rate=lambda step: float(keras.ops.convert_to_numpy(rate(step))),
        save=lambda state: checkpoints.save(folder, network, setup.groups, state, setup.signature),
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
    return Run(folder=folder, metrics=_write_results(setup, folder, plan, progress))


def _write_beginnings(setup: _Setup, folder: Path, plan: Plan) -> None:
    artifacts.write_bytes(folder / runs.RECIPE, recipes.recipe_to_toml(setup.recipe).encode())
    runs.write_environment(folder)
    artifacts.write_json(folder / LOCAL, {"model": plan.model, "dataset": plan.dataset})


def _write_results(setup: _Setup, folder: Path, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Keep the last weights, measure the best ones as they are in the file, write the report."""
    network = setup.network
    artifacts.save_model(network, setup.config, folder / runs.LAST_WEIGHTS)
    artifacts.load_weights(network, folder)
    forward = compiled_forward(network)
    scores = score(forward, _validation(setup))
    images = next(iter(_validation(setup, REFERENCE_IMAGES)))[0]
    runs.write_reference(folder, np.asarray(images), forward(images))
    metrics = {
        "architecture": setup.config.architecture,
        "dataset": setup.data.spec.name.partition(":")[0],
        "num_classes": setup.config.num_classes,
        "images": plan.sizes,
        "best_epoch": progress.best_epoch,
        "epochs": setup.recipe.epochs,
        "val": scores.to_dict(),
        "wall_time_s": progress.wall_time_s,
    }
    artifacts.write_json(folder / runs.METRICS, metrics)
    text = card.model_card(setup.config, setup.recipe, setup.data.spec, metrics)
    artifacts.write_bytes(folder / runs.CARD, text.encode())
    page = report(setup.config, setup.recipe, metrics, progress.history, scores)
    artifacts.write_bytes(folder / runs.REPORT, page.encode())
    return metrics


def _validation(setup: _Setup, batch_size: int = 0) -> Any:
    return _as_backend(
        pipeline.test_batches(
            setup.data.examples("val"),
            setup.config.preprocessing,
            batch_size=batch_size or setup.recipe.batch_size,
        )
    )


def _as_backend(batches: Any) -> Any:
    """Return tf.data batches as what the backend takes: TensorFlow's tensors, or NumPy's arrays."""
    return batches if keras.config.backend() == "tensorflow" else batches.as_numpy_iterator()


def _check_data(data: Dataset, recipe: Recipe) -> None:
    train = data.examples("train")
    if len(data.class_names) < 2:
        raise SpecError(
            f"{data.reference} has one class only, {data.class_names[0]!r}; it takes two or more",
            hint="a folder of photographs has one folder for each class.",
        )
    if recipe.batch_size > len(train):
        raise SpecError(
            f"batch_size {recipe.batch_size} is larger than train, which has {len(train)} images",
            hint=f"set --batch-size to {len(train)} or less.",
        )
    if "val" not in data.splits.parts:
        raise SpecError(
            f"{data.reference} has no image to validate with",
            hint="each class needs at least two training images.",
        )


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Build layers under a precision and leave the user's own setting as it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

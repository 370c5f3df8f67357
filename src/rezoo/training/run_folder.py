"""The files of a run folder: recipe and environment first, then history, then results."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from rezoo import recipes
from rezoo.artifacts import run_files, weights
from rezoo.artifacts.card import model_card, written_by_hand
from rezoo.artifacts.config import CONFIG, WEIGHTS
from rezoo.artifacts.manifest import remove_manifest, write_manifest
from rezoo.artifacts.safetensors import TensorFile
from rezoo.data.identity import Identity
from rezoo.data.pipeline import INPUT_PIPELINE
from rezoo.errors import DivergedError
from rezoo.evaluation.logits import Forward
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.recording import recorded_scores, remove_predictions
from rezoo.evaluation.reference_batch import choose_pictures, write_reference
from rezoo.evaluation.report.run_report import write_report
from rezoo.evaluation.report.training_curves import curves
from rezoo.evaluation.scoring.measured import as_json, figures_of
from rezoo.evaluation.scoring.metrics import AnyScores, scored
from rezoo.evaluation.setting import in_words
from rezoo.sources.references import resolve
from rezoo.training import input_wait
from rezoo.training.checkpoints import Progress
from rezoo.training.recorded import Recorded
from rezoo.training.reporters import Plan
from rezoo.training.setup import Setup
from rezoo.utils import device
from rezoo.utils.files import record as record_of
from rezoo.utils.files import write_bytes, write_json

_DRAW_EVERY_S = 30.0  # during a run; a drawing takes 0.2 s
_PACKAGES = ("rezoo", "keras", "tensorflow", "numpy", "tensorflow-datasets", "jax")


def write_plan(folder: Path, plan: Plan, identity: Identity, recorded: Recorded) -> None:
    """Write what the run is started with, which data it has, the recipe, and the environment.

    The names come first: by them, `rezoo.training.old_run` finds that the folder holds a run.
    """
    recorded.write(folder)
    identity.save(folder)
    if (folder / CONFIG).exists():  # resumed: its files are about to change
        remove_manifest(folder)
    write_bytes(folder / run_files.RECIPE, recipes.recipe_to_toml(plan.recipe).encode())
    if not (folder / run_files.ENVIRONMENT).exists():
        write_json(folder / run_files.ENVIRONMENT, environment())


def environment() -> dict[str, Any]:
    """Return what a run was started on, without names or paths of the user."""
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "backend": keras.config.backend(),
        "devices": device.names(),
        "input_pipeline": INPUT_PIPELINE,
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
    }


def _version(package: str) -> str:
    if package == "jax" and keras.config.backend() != "jax":
        return ""  # it may be imported, but computes nothing
    try:
        return version(package)
    except ImportError:
        return ""


def record_changes(folder: Path, changes: Sequence[str], progress: Progress) -> None:
    """Add changes to `environment.json`, and replace the rest of it.

    Args:
        folder: The run folder.
        changes: In words.
        progress: Where the run goes on.
    """
    before = run_files.read_environment(folder)
    entry = {
        "changed_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "epochs": progress.epoch,
        "steps": progress.step,
        "changes": list(changes),
    }
    kept = {key: before[key] for key in ("started_utc",) if key in before}
    entries = [*before.get("changes", []), entry]
    write_json(folder / run_files.ENVIRONMENT, {**environment(), **kept, "changes": entries})


def record(
    setup: Setup, progress: Progress, epoch: int, figures: Mapping[str, Any], scores: AnyScores
) -> dict[str, Any]:
    """Return the line of `history.csv` for an epoch."""
    hits = setup.task.hits.key
    return {
        "epoch": epoch,
        "train_loss": figures["loss"],
        f"train_{hits}": figures[hits],
        "val_loss": scores.loss,
        **{f"val_{key}": value for key, value in scores.columns().items()},
        **{key: figures[key] for key in ("gradient_norm", "learning_rate", "images_per_s")},
        input_wait.KEY: figures.get(input_wait.KEY),
        "wall_time_s": progress.wall_time_s,
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_history(folder: Path, setup: Setup, history: Sequence[Mapping[str, Any]]) -> None:
    """Write `history.csv`, one line for each completed epoch; draw the curves every 30 s.

    The time is that of training, without validation.
    """
    text = io.StringIO()
    columns = list(dict.fromkeys(key for record in history for key in record))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_bytes(folder / run_files.HISTORY, text.getvalue().encode())
    before, now = ([0.0] + [row["wall_time_s"] for row in history])[-2:]
    if now // _DRAW_EVERY_S > before // _DRAW_EVERY_S:  # drawing takes 0.2 s
        _write_curves(folder, setup, history)


def _write_curves(folder: Path, setup: Setup, history: Sequence[Mapping[str, Any]]) -> None:
    title = f"{setup.config.architecture}, {setup.recipe.epochs} epochs"
    write_bytes(folder / run_files.CURVES, curves(title, setup.task, history))


def finish(
    folder: Path, setup: Setup, plan: Plan, progress: Progress, forward: Forward
) -> dict[str, Any]:
    """Write the last weights, measure the best ones from their file, and write the manifest.

    Args:
        folder: The run folder.
        setup: Its network receives the best weights.
        plan: Of the run.
        progress: At the end of the run.
        forward: The compiled forward pass of the network.

    Returns:
        The content of `metrics.json`.
    """
    network, config = setup.network, setup.config
    last = folder / run_files.LAST_WEIGHTS
    weights.save_model(network, config, last)
    write_manifest(last)
    with TensorFile(folder / WEIGHTS) as best:
        weights.load_weights(network, best)
    predictions = _predictions(folder, setup, forward)
    metrics = _metrics(setup, plan, progress, predictions)
    if measured := recorded_scores(folder):  # a finished run that was resumed
        metrics |= measured
    else:
        remove_predictions(folder)
    predictions.write(folder / run_files.PREDICTIONS["val"])
    write_json(folder / run_files.METRICS, metrics)
    images, what = choose_pictures(
        setup.data.spec,
        setup.data.examples("val").select(setup.val.readable()),
        config.preprocessing,
    )
    in_float32 = forward if setup.recipe.precision == "float32" else None
    write_reference(folder, resolve(folder), images, what, forward=in_float32)
    _write_curves(folder, setup, progress.history)
    write_report(resolve(folder), predictions, setup.data, network)
    if not written_by_hand(folder):
        write_bytes(folder / run_files.CARD, model_card(folder).encode())
    write_manifest(folder)
    return metrics


def _predictions(folder: Path, setup: Setup, forward: Forward) -> Predictions:
    """Return the predictions for the validation split."""
    try:
        found = collect(setup.task, forward, setup.validation_batches)
    except DivergedError:  # its scores show it; what was trained is not lost
        found = collect(setup.task, forward, setup.validation_batches, keep_logits=False)
    data, config = setup.data, setup.config
    facts = {
        "model": str(folder),
        "dataset": data.reference,
        "split": "val",
        "preprocessing": in_words(config.preprocessing.for_test()),
        "weights_sha256": record_of(folder / WEIGHTS).sha256,
    }
    examples = setup.val.examples
    return dataclasses.replace(
        found,
        keys=tuple(examples.key(int(i)) for i in setup.val.readable()),
        labels=tuple(map(config.label, range(config.num_classes))),
        facts=facts,
    )


def _metrics(
    setup: Setup, plan: Plan, progress: Progress, predictions: Predictions
) -> dict[str, Any]:
    spec, scores = setup.data.spec, scored(predictions)
    kind, colon, _ = spec.name.partition(":")
    name = spec.name if not colon or kind == "tfds" else kind
    lost = (note for faults in (setup.train, setup.val) for note in faults.lost_classes())
    return {
        "architecture": setup.config.architecture,
        "dataset": kind,
        "data": {
            "name": name,
            "licence": spec.licence,
            "hub_id": spec.hub_id,
            "private": bool(colon) and kind != "tfds",
        },
        **({"multi_label": True} if setup.task.multi_label else {}),
        "num_classes": setup.config.num_classes,
        "images": plan.sizes,
        "images_left_out": {"train": len(setup.train.reasons), "val": len(setup.val.reasons)},
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "val": {
            "count": len(predictions),
            **as_json(figures_of(predictions, scores)),
            "worst_classes": scores.worst(setup.config.label),
        },
        "wall_time_s": progress.wall_time_s,
        input_wait.KEY: input_wait.of_run(progress.history),
        "warnings": [
            *input_wait.warnings(progress.history),
            *progress.watched.get("given", {}).values(),
            *(note.replace(setup.data.reference, name) for note in lost),  # which may be a path
        ],
    }

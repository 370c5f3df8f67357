"""What a finished run leaves: figures of its best weights, their proof, a report and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rezoo.artifacts import run_files, weights
from rezoo.artifacts.card import model_card
from rezoo.artifacts.config import WEIGHTS
from rezoo.artifacts.manifest import seal_folder
from rezoo.artifacts.safetensors import TensorFile
from rezoo.evaluation.forward import Forward
from rezoo.evaluation.metrics import AnyScores, measure
from rezoo.evaluation.reference_batch import choose_pictures, write_reference
from rezoo.evaluation.report import report, write_curves
from rezoo.sources.references import resolve
from rezoo.training.checkpoints import Progress
from rezoo.training.reporters import Plan
from rezoo.training.setup import Setup
from rezoo.utils.files import write_bytes, write_json


def write_results(
    setup: Setup, folder: Path, plan: Plan, progress: Progress, forward: Forward
) -> dict[str, Any]:
    """Keep the last weights, measure the best ones as they are in the file, and seal the folder.

    `forward` is the compiled pass of the run's network. Returns what `metrics.json` holds.
    """
    network = setup.network
    last = folder / run_files.LAST_WEIGHTS
    weights.save_model(network, setup.config, last)
    seal_folder(last)
    with TensorFile(folder / WEIGHTS) as best:
        weights.load_weights(network, best)
    scores = measure(setup.task, forward, setup.validation_batches())
    metrics = _metrics(setup, plan, progress, scores)
    write_json(folder / run_files.METRICS, metrics)
    pictures, what = choose_pictures(
        setup.data.spec, setup.data.examples("val"), setup.config.preprocessing
    )
    write_reference(folder, resolve(str(folder)), pictures, what)
    write_curves(folder / run_files.CURVES, run_title(setup), setup.task, progress.history)
    page = report(setup.config, setup.recipe, metrics, progress.history, scores)
    write_bytes(folder / run_files.REPORT, page.encode())
    write_bytes(folder / run_files.CARD, model_card(folder).encode())
    run_files.seal(folder)
    return metrics


def run_title(setup: Setup) -> str:
    """Return the title of the curves of a run."""
    return f"{setup.config.architecture}, {setup.recipe.epochs} epochs"


def _metrics(setup: Setup, plan: Plan, progress: Progress, scores: AnyScores) -> dict[str, Any]:
    spec = setup.data.spec
    kind, colon, _ = spec.name.partition(":")
    return {
        "architecture": setup.config.architecture,
        "dataset": kind,
        "data": {
            "name": spec.name if not colon or kind == "tfds" else kind,
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
        "val": {**scores.to_dict(), "worst_classes": scores.worst(setup.config.label)},
        "wall_time_s": progress.wall_time_s,
        "warnings": list(progress.watched.get("given", {}).values()),
    }

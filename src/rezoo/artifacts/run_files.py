"""The files of a run folder: their names, which of them are published, and how to read them."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import CONFIG, WEIGHTS
from rezoo.utils.documents import read_document

RECIPE = "recipe.toml"
METRICS = "metrics.json"
HISTORY = "history.csv"
ENVIRONMENT = "environment.json"
REFERENCE = "reference.safetensors"
CARD = "README.md"
REPORT = "report.html"
CURVES = "curves.svg"
EVENTS = "events"  # a folder for TensorBoard
CHECKPOINTS = "checkpoints"
DATA = f"{CHECKPOINTS}/data.safetensors"  # which images the run has (`rezoo.data.identity`)
# The last weights as a model folder; the run folder itself has the best ones.
LAST_WEIGHTS = f"{CHECKPOINTS}/last"
# The files in the manifest. These and config.json are pushed, and no others.
LISTED = (WEIGHTS, REFERENCE, RECIPE, METRICS, HISTORY, ENVIRONMENT, CARD, REPORT, CURVES)
PUBLISHED = (CONFIG, *LISTED)
EXPORTS = "exports"  # a folder for each format
OWN = (*PUBLISHED, CHECKPOINTS, EVENTS, EXPORTS)


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return `metrics.json`, empty if the folder is not a finished run."""
    return _read(folder / METRICS)


def read_environment(folder: Path) -> dict[str, Any]:
    """Return `environment.json`, empty if there is none."""
    return _read(folder / ENVIRONMENT)


def read_recipe_of_run(folder: Path) -> dict[str, Any]:
    """Return `recipe.toml`, empty if there is none."""
    return _read(folder / RECIPE)


def kept_weights(metrics: Mapping[str, Any]) -> str:
    """Return in words which epoch of a run has the weights that are its result."""
    best, epochs = metrics["best_epoch"], metrics["epochs"]
    if best:
        return f"epoch {best} of {epochs}"
    fitted = "the linear probe on the features of the weights"
    return f"{fitted}, before {epochs} epochs" if epochs else fitted


def how_chosen(metrics: Mapping[str, Any]) -> str:
    """Return in words what chose the weights of a run; `kept_weights` are its subject."""
    if metrics["epochs"]:
        return "selected on the validation split"
    return "its regularization chosen by cross-validation on the training split"


def read_history(folder: Path) -> list[dict[str, str]]:
    """Return the rows of `history.csv`, empty if there is none."""
    try:
        text = (folder / HISTORY).read_text("utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text.splitlines()))


def _read(path: Path) -> dict[str, Any]:
    return read_document(path) if os.path.lexists(path) else {}

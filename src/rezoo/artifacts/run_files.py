"""The files of a run folder: their names, which of them are published, and how to read them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts.config import CONFIG, WEIGHTS
from rezoo.errors import IncompatibleError, IntegrityError, RezooError
from rezoo.specs import MAX_CLASS_NAME, MAX_CLASSES
from rezoo.tasks import task_of
from rezoo.utils.documents import MAX_TEXT, read_document, short
from rezoo.utils.files import read_regular
from rezoo.utils.schemas import (
    FLAG,
    Constraint,
    Schema,
    Table,
    conform,
    integer,
    optional,
    real,
    text,
)

RECIPE = "recipe.toml"
METRICS = "metrics.json"
HISTORY = "history.csv"
ENVIRONMENT = "environment.json"
REFERENCE = "reference.safetensors"
CARD = "README.md"
CALIBRATION = "calibration.safetensors"  # the class means that images are compared with
REPORT = "report.html"
CURVES = "curves.svg"
PREDICTIONS = {split: f"predictions-{split}.npz" for split in ("train", "val", "test", "all")}
EVENTS = "events"  # a folder for TensorBoard
CHECKPOINTS = "checkpoints"
LOCAL = f"{CHECKPOINTS}/local.json"  # what the run was started with: paths of this machine
DATA = f"{CHECKPOINTS}/data.safetensors"  # which data the run has; see rezoo.data.identity
CHECKPOINT = f"{CHECKPOINTS}/last.safetensors"  # the complete state, to resume from
PREVIOUS = f"{CHECKPOINTS}/previous.safetensors"  # the one before, for when that is damaged
# The last weights as a model folder; the run folder itself has the best ones.
LAST_WEIGHTS = f"{CHECKPOINTS}/last"
# The files in the manifest. These and config.json are pushed, and no others.
LISTED = (
    *(WEIGHTS, REFERENCE, CALIBRATION, RECIPE, METRICS, HISTORY, ENVIRONMENT),
    *(CARD, REPORT, CURVES),
)
PUBLISHED = (CONFIG, *LISTED)
CORRUPTIONS = "corruptions"  # key of metrics.json
EXPORTS = "exports"  # a folder for each format, with a passport
PASSPORT = "passport.json"

# What cards and commands use of the records of a run, which may come from elsewhere.
_COUNT = integer(0, 10**12)
_FRACTION = real(0, 1)
_TEXT = text()
_NAME = text(MAX_CLASS_NAME)
_INTERVAL = Constraint(
    lambda v: (
        v in (None, [None, None])
        or (isinstance(v, list) and len(v) == 2 and all(map(_FRACTION.allowed, v)))
    ),
    "two fractions, [low, high], or null",
)
_CLASS: dict[bool, Schema] = {
    False: {
        "name": _NAME,
        "count": _COUNT,
        "right": _COUNT,
        "taken_for": [{"name": _NAME, "count": _COUNT}],
    },
    True: {"name": _NAME, "count": _COUNT, "ap": _FRACTION},
}
_METRICS: Schema = {
    "data?": {"name": _TEXT, "licence": _TEXT, "hub_id?": _TEXT, "private?": FLAG},
    "num_classes?": integer(0, MAX_CLASSES),
    "multi_label?": FLAG,
    "images?": Table(_COUNT),
    "best_epoch?": optional(_COUNT),
    "epochs?": _COUNT,
    "wall_time_s?": real(0, 1e10),
}
_DATE = r"\d{4}-\d\d-\d\d(T[\d:.+-]*Z?)?"
_ANY = Constraint(lambda v: True, "")
_WITH = {  # key of metrics.json → the others that it needs
    "val": ("data", "num_classes"),
    "test": ("data", "num_classes"),
    "data": ("images",),
    "best_epoch": ("epochs",),
}
_ENVIRONMENT: Schema = {
    "devices?": [_TEXT],
    "cpus?": optional(integer(1, 10**6)),
    "packages?": Table(_TEXT),
    "input_pipeline?": integer(1, 10**6),
    "changes?": [{"changed_utc": _TEXT, "epochs": _COUNT, "steps": _COUNT, "changes": [_ANY]}],
}
_PLAIN = (str, bool, int, float)
_RECIPE: Schema = Table(
    Constraint(
        lambda v: (
            len(v) <= 100 and all(isinstance(x, _PLAIN) and len(str(x)) <= MAX_TEXT for x in v)
            if isinstance(v, list)
            else isinstance(v, _PLAIN) and len(str(v)) <= MAX_TEXT
        ),
        "a text, a number, true or false, or a list of these",
    )
)
_MAX_HISTORY_BYTES = 64 * 1024 * 1024  # the lines of 100,000 epochs, the most of a recipe


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run folder has a file to resume from."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def local_facts(folder: Path) -> dict[str, str]:
    """Return the model and dataset references that a run was started with, if it is a run."""
    try:
        facts = read_document(folder / LOCAL)
    except RezooError:
        return {}
    return {key: value for key, value in facts.items() if isinstance(value, str)}


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return `metrics.json`, empty if the folder is not a finished run.

    Raises:
        NotFoundError: The file cannot be read.
        IntegrityError: It is not valid JSON.
        IncompatibleError: A value is not allowed; the message names the key.
    """
    path = folder / METRICS
    metrics = _read(path, _METRICS)
    for key, others in _WITH.items():
        if key in metrics:
            conform(metrics, dict.fromkeys(others, _ANY), path)
    for split in ("val", "test"):
        if split in metrics:
            schema = _scores(metrics.get("multi_label", False), metrics["num_classes"])
            conform(metrics[split], schema, path, split)
    if "test" in metrics:  # the card says when it was measured
        conform(metrics["test"], {"measured_utc": _ANY}, path, "test")
    return metrics


def _scores(multi_label: bool, num_classes: int) -> Schema:
    """Return the schema of the scores on a split."""
    figures = task_of(multi_label).figures
    return {
        "count": _COUNT,
        "measured_utc?": text(40, pattern=_DATE, words="a date, such as 2026-01-31"),
        **{f.key: _FRACTION for f in figures if num_classes > f.above},
        **{f"{f.key}_interval?": _INTERVAL for f in figures},
        "worst_classes?": [_CLASS[multi_label]],
    }


def read_environment(folder: Path) -> dict[str, Any]:
    """Return `environment.json`, empty if there is none; raises as `read_metrics`."""
    return _read(folder / ENVIRONMENT, _ENVIRONMENT)


def read_recipe_of_run(folder: Path) -> dict[str, Any]:
    """Return `recipe.toml`, empty if there is none; raises as `read_metrics`."""
    return _read(folder / RECIPE, _RECIPE)


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
    """Return the rows of `history.csv`, empty if there is none; raises as `read_metrics`."""
    path = folder / HISTORY
    if not os.path.lexists(path):
        return []
    content = read_regular(path, most=_MAX_HISTORY_BYTES)
    try:
        rows = list(csv.DictReader(content.decode().splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:  # a cell has at most 128 KB
        raise IntegrityError(f"{path} is damaged: {error}") from error
    for line, row in enumerate(rows, start=2):
        if not re.fullmatch(r"\d{1,12}", row.get("epoch") or ""):
            found = short(row.get("epoch"))
            raise IncompatibleError(f"{path}, line {line}: epoch is {found}; it must be an integer")
    return rows


def _read(path: Path, schema: Schema) -> dict[str, Any]:
    if not os.path.lexists(path):
        return {}
    content = read_document(path)
    conform(content, schema, path)
    return content

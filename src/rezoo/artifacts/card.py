"""The model card: a README.md that describes a network and its training.

All values come from the records in the folder, the text from the template `card.md`, which
escapes every value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts import run_files
from rezoo.artifacts.config import CONFIG, WEIGHTS, read_config
from rezoo.errors import IncompatibleError, RezooError
from rezoo.registry import architectures
from rezoo.specs import ModelConfig
from rezoo.tasks import Task, task_of
from rezoo.utils.files import read_regular
from rezoo.utils.pages import render

_G_CO2_PER_KWH = 473  # world average of 2024: Ember, Global Electricity Review 2025
_MOST_CLASSES = 100
_MAX_CARD_BYTES = 4 * 1024 * 1024
MARK = "<!-- written by rezoo from the records in this folder -->"


def model_card(folder: Path, *, repo: str = "", licence: str = "") -> str:
    """Return the model card of a folder: Markdown with the Hub's metadata at the top.

    Args:
        folder: Folder with a network, such as a run folder.
        repo: Repository on the Hub, `owner/name`; if empty, examples show a path.
        licence: Licence of these weights; if empty, that of the base weights.

    Raises:
        NotFoundError: The folder has no `config.json`.
        IntegrityError: A record is damaged.
        IncompatibleError: A value in a record is not allowed; the message names the key.
    """
    import yaml

    config = read_config(folder)
    task, registered = task_of(config.multi_label), config.architecture in architectures.names()
    metrics = run_files.read_metrics(folder)
    _check_same_network(folder / run_files.METRICS, metrics, config)
    licence = licence or config.licence or (config.base.licence if config.base else "")
    head = _head(config, metrics, licence, name=repo.partition("/")[2] or config.architecture)
    place = re.sub(r"[^\w./@-]", "", repo)  # it is also shown in blocks of code
    return render(
        "card.md",
        front=yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000),
        mark=MARK,
        config=config,
        calibration=config.calibration,
        spec=architectures.get(config.architecture) if registered else None,
        task=task,
        reference=f"hf://{place}" if place else "path/to/this/folder",
        timm_reference=f"hf-hub:{place}" if place else "local-dir:path/to/this/folder",
        licence=licence,
        classes=[config.label(i) for i in range(min(config.num_classes, _MOST_CLASSES))],
        data=_data(metrics),
        scores=[(split, metrics[split]) for split in ("test", "val") if split in metrics],
        worst=_worst(task, metrics),
        weights_kept=run_files.kept_weights(metrics) if "best_epoch" in metrics else "",
        how_chosen=run_files.how_chosen(metrics) if "best_epoch" in metrics else "",
        chosen_on_val=bool(metrics.get("epochs")),
        pre=config.preprocessing.for_test(),
        training=_training(folder, metrics),
        on_imagenet=config.base and "in1k" in f"{config.base.repo}{config.tag}",
        has_weights=(folder / WEIGHTS).is_file(),
    )


def _check_same_network(path: Path, metrics: Mapping[str, Any], config: ModelConfig) -> None:
    """Raise `IncompatibleError` if the metrics are those of another network."""
    facts = {"num_classes": config.num_classes, "multi_label": config.multi_label}
    found = {"multi_label": False, **metrics} if metrics else facts
    for key, wanted in facts.items():
        if found.get(key, wanted) != wanted:
            raise IncompatibleError(f"{path}: key {key} is {found[key]}; {CONFIG} says {wanted}")


def _head(
    config: ModelConfig, metrics: Mapping[str, Any], licence: str, *, name: str
) -> dict[str, Any]:
    """Return the Hub's metadata."""
    data, task = metrics.get("data", {}), task_of(config.multi_label)
    public = not data.get("private", True)
    head: dict[str, Any] = {
        "library_name": "rezoo",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "keras", "tensorflow", "resnet", "rezoo"],
        "metrics": list(dict.fromkeys(figure.hub_type for figure in task.figures)),
    }
    if licence:
        head["license"] = licence.lower()
    if public:
        head["datasets"] = [data.get("hub_id") or data["name"]]
    if config.base and config.base.repo:
        head["base_model"] = config.base.repo
        head["base_model_relation"] = "finetune"
    results = [_hub_result(task, metrics, split) for split in ("test", "val") if split in metrics]
    if results and public:
        head["model-index"] = [{"name": name, "results": results}]
    return head


def _hub_result(task: Task, metrics: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return the scores on a split as an entry of the Hub's `model-index`."""
    data, scores = metrics["data"], metrics[split]
    figures = [shown.figure for shown in task.shown(scores, metrics["num_classes"])]
    kind = "Multi-label image classification" if task.multi_label else "Image classification"
    return {
        "task": {"type": "image-classification", "name": kind},
        "dataset": {
            "type": data.get("hub_id") or data["name"],
            "name": data["name"],
            "split": split,
        },
        "metrics": [
            {"type": f.hub_type, "name": f.name, "value": round(scores[f.key], 6)} for f in figures
        ],
    }


def _data(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return name, licence and numbers of images of the dataset; empty if not recorded."""
    data = metrics.get("data")
    if not data:
        return {}
    return {
        "name": "photographs that are not public" if data.get("private") else data["name"],
        "licence": data["licence"],
        "images": ", ".join(f"{count:,} {split}" for split, count in metrics["images"].items()),
    }


def _worst(task: Task, metrics: Mapping[str, Any]) -> tuple[str, list[list[str]]] | None:
    """Return the split and the rows of a table of the worst classes, or None if there are none."""
    for split in ("test", "val"):
        if entries := metrics.get(split, {}).get("worst_classes"):
            return split, [[entry["name"], *task.worst_cells(entry)] for entry in entries]
    return None


def _training(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return recipe, machine, duration and energy of the run; empty if there is no recipe."""
    recipe = run_files.read_recipe_of_run(folder)
    if not recipe:
        return {}
    environment = run_files.read_environment(folder)
    hours = metrics.get("wall_time_s", 0.0) / 3600
    kwh = hours * 0.1
    return {
        "recipe": recipe,
        "minutes": f"{hours * 60:.1f}",
        "devices": ", ".join(environment.get("devices", [])),
        "cpus": environment.get("cpus", "?"),
        "packages": ", ".join(f"{k} {v}" for k, v in environment.get("packages", {}).items()),
        "epochs": sum(row.get("epoch") != "0" for row in run_files.read_history(folder)),
        "curves": (folder / run_files.CURVES).is_file(),
        "kwh": f"{kwh:.3g}",
        "g_co2": f"{kwh * _G_CO2_PER_KWH:.2g}",
        "g_co2_per_kwh": _G_CO2_PER_KWH,
    }


def written_by_hand(folder: Path) -> bool:
    """Return whether a folder has a README.md that rezoo did not write; a link is none."""
    path = folder / run_files.CARD
    if path.is_symlink() or not path.is_file():
        return False
    try:
        return MARK.encode() not in read_regular(path, most=_MAX_CARD_BYTES)
    except RezooError:
        return True

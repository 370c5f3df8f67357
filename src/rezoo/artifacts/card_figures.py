"""The parts of a model card that hold figures: what was measured, and where it goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rezoo.artifacts.run_files import kept_weights
from rezoo.tasks import Task
from rezoo.utils.markdown import plain, table


def hub_result(task: Task, metrics: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return what a split has in the Hub's `model-index`."""
    data, scores = metrics["data"], metrics[split]
    found = [
        {"type": figure.hub_type, "name": figure.name, "value": round(scores[figure.key], 6)}
        for figure in (shown.figure for shown in task.shown(scores, metrics["num_classes"]))
    ]
    kind = "Multi-label image classification" if task.multi_label else "Image classification"
    return {
        "task": {"type": "image-classification", "name": kind},
        "dataset": {
            "type": data.get("hub_id") or data["name"],
            "name": data["name"],
            "split": split,
        },
        "metrics": found,
    }


def measured(task: Task, metrics: Mapping[str, Any], num_classes: int) -> str:
    """Return the section of figures; empty where nothing was measured."""
    rows = []
    for split in filter(metrics.__contains__, ("test", "val")):
        scores = metrics[split]
        rows += [
            [split, shown.figure.name, shown.value, shown.interval, f"{scores['count']:,}"]
            for shown in task.shown(scores, num_classes)
        ]
    if not rows:
        return ""
    text = table(["split", "metric", "value", "95 % interval", "images"], rows)
    how = [
        task.intervals,
        "Each image is measured once, with the preprocessing below.",
    ]
    if "test" in metrics:
        day = metrics["test"]["measured_utc"][:10]
        how.append(f"The test split was not used in training; it was measured on {day}.")
    else:
        how.append("No test split has been measured yet: `rezoo eval` does it.")
    if "val" in metrics and "best_epoch" in metrics:
        how.append(
            f"The validation split chose these weights ({kept_weights(metrics)}), so its figure "
            "is flattered."
        )
    return f"## Accuracy\n\n{text}\n\n{' '.join(how)}\n"


def worst(task: Task, metrics: Mapping[str, Any]) -> str:
    """Return the section of the classes that go wrong; empty where none does."""
    split = next((s for s in ("test", "val") if metrics.get(s, {}).get("worst_classes")), None)
    if split is None:
        return ""
    rows = [
        [plain(entry["name"]), *task.worst_cells(entry, plain)]
        for entry in metrics[split]["worst_classes"]
    ]
    text = table(["class", *task.worst_columns], rows)
    head = f"### Where it goes wrong\n\nThe classes that are {task.worst_of}, {split} split:"
    return f"{head}\n\n{text}\n"

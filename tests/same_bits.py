"""Runs that are compared to the bit: with every part of a recipe, and everything but times."""

from __future__ import annotations

import json
from pathlib import Path

from rezoo.artifacts.run_files import read_history
from rezoo.training.generations import read_whole

EVERYTHING = {
    "batch_size": 128, "image_size": 8, "epochs": 2, "warmup_epochs": 0.5, "random_erase": 0.3,
    "color_jitter": 0.4, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "repeated_augmentation": 2,
    "label_smoothing": 0.1, "ema_decay": 0.99, "accumulation": 2, "clip_norm": 1.0,
}  # fmt: skip
TIMES = {"wall_time_s", "images_per_s", "input_wait_share", "finished_utc"}


def state(folder: Path) -> tuple[dict[str, bytes], dict]:
    """Return the bits of a run's state, and its position without times."""
    last = read_whole(folder / "checkpoints/last.safetensors")
    progress = json.loads(last.metadata["rezoo"])
    for key in ("wall_time_s", "total_s", "epoch_began_s", "epoch_s"):
        del progress[key]
    history = [{k: v for k, v in r.items() if k not in TIMES} for r in progress.pop("history")]
    return {name: v.tobytes() for name, v in last.values.items()}, {**progress, "h": history}


def different(one: Path, other: Path) -> set[str]:
    """Return the names of what differs: tensors of the state, weights, position, history."""
    names = {"model.safetensors", "checkpoints/last/model.safetensors"}
    found = {name for name in names if (one / name).read_bytes() != (other / name).read_bytes()}
    rows = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in read_history(folder)]
        for folder in (one, other)
    ]
    found |= {"history.csv"} if rows[0] != rows[1] else set()
    (values, position), (others, at) = map(state, (one, other))
    found |= {key for key in position | at if position.get(key) != at.get(key)}
    return found | {name for name in values | others if values.get(name) != others.get(name)}

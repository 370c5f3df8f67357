"""The end of `rezoo train`, and the names of `rezoo.cli.console` for the other commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo.artifacts.run_files import kept_weights
from rezoo.cli.console import counter, fields, lines, open_console, status, table
from rezoo.tasks import task_of

if TYPE_CHECKING:
    from rezoo.training.reporters import Reporter

__all__ = ["counter", "fields", "lines", "status", "table", "trained", "training_display"]


def trained(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Print the folder of a run, its score, its files and the next commands."""
    val, task = metrics["val"], task_of(metrics.get("multi_label", False))
    best = task.shown(val, metrics["num_classes"])[0]
    place = shlex.quote(str(folder))
    lines(
        f"val {best.figure.name} {best.value} ({best.interval}, {val['count']} images), "
        f"{kept_weights(metrics)}, {metrics['wall_time_s']:.0f} s of training"
    )
    lines(f"run folder   {folder}", style="bold")
    lines(
        "  model.safetensors  best weights; with config.json, in timm's layout",
        "  report.html        curves, classes and recipe on one page",
        "  curves.svg         the curves alone",
        "  checkpoints/       last state, for --resume; checkpoints/last has the last weights",
        "next",
        f"  rezoo eval {place}",
        f"  rezoo predict {place} IMAGE…",
    )


def training_display() -> Reporter:
    """Return a live display on a terminal, plain lines without one."""
    from rezoo.cli.display import Lines, LiveDisplay

    console = open_console(stderr=True)
    return LiveDisplay(console) if console.is_terminal else Lines(console)

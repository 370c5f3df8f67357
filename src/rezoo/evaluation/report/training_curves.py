"""The curves of a run: its figures over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rezoo.tasks import Task
from rezoo.utils import figures
from rezoo.utils.figures import Chart, Line, points


def curves(title: str, task: Task, history: Sequence[Mapping[str, Any]]) -> bytes:
    """Return an SVG file with all charts of a run; see `run_charts`."""
    return figures.sheet(title, run_charts(task, history)).encode()


def run_charts(task: Task, history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the charts of a run.

    Args:
        task: Task of the network; it defines the charts of the scores.
        history: Rows of `history.csv`. The x axis is their column `epoch`; values that are
            missing or not finite are left out.
    """

    def lines(*columns: str, names: Sequence[str] = ("",)) -> tuple[Line, ...]:
        pairs = zip(columns, names, strict=True)
        return tuple(Line(points(history, "epoch", column), name) for column, name in pairs)

    losses = lines("train_loss", "val_loss", names=("train", "val"))
    scores = [(title, lines(*columns, names=names)) for title, columns, names in task.charts]
    return [
        Chart("loss", losses, may_be_log=True),
        *(Chart(title, drawn, percent=True) for title, drawn in scores),
        Chart("learning rate", lines("learning_rate")),
        Chart("gradient norm", lines("gradient_norm"), may_be_log=True),
        Chart("training images/s", lines("images_per_s")),
    ]

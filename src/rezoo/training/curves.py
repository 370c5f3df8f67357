"""`curves.svg`: what a run has done so far, as lines over its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rezoo.tasks import Task
from rezoo.utils.charts import Chart, Line, points, sheet


def run_charts(task: Task, history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the charts of a run, from the lines of its `history.csv`.

    A value that is missing or not finite leaves a gap in the points of its line; the x axis is
    the column `epoch`.
    """

    def lines(keys: Sequence[str], names: Sequence[str]) -> tuple[Line, ...]:
        pairs = zip(keys, names, strict=True)
        return tuple(Line(points(history, "epoch", key), name) for key, name in pairs)

    return [
        Chart("loss", lines(("train_loss", "val_loss"), ("train", "val")), may_be_log=True),
        *(Chart(title, lines(keys, names), percent=True) for title, keys, names in task.charts),
        Chart("learning rate", lines(("learning_rate",), ("",))),
        Chart("gradient norm", lines(("gradient_norm",), ("",)), may_be_log=True),
        Chart("training images/s", lines(("images_per_s",), ("",))),
    ]


def curves(title: str, task: Task, history: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the SVG file with all charts of a run; see `run_charts`."""
    return sheet(title, run_charts(task, history)).encode()

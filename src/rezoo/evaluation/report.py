"""`report.html` and `curves.svg` of a run: its figures, and their course over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rezoo.artifacts.run_files import how_chosen, kept_weights
from rezoo.evaluation.metrics import AnyScores
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig
from rezoo.tasks import Task, task_of
from rezoo.utils import figures
from rezoo.utils.figures import Chart, Line, points
from rezoo.utils.pages import render

_MOST_CLASSES = 10


def report(
    config: ModelConfig,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    scores: AnyScores,
) -> str:
    """Return the report of a finished run as HTML, without scripts and links.

    Args:
        config: Config of the network.
        recipe: Recipe of the run, with every key.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
        scores: Scores on the validation split.
    """
    val, task = metrics["val"], task_of(config.multi_label)
    return render(
        "report.html",
        title=f"{config.architecture} on {metrics['dataset']}",
        figures=[s for s in task.shown(val, config.num_classes) if s.figure.in_report],
        val=val,
        weights=f"{kept_weights(metrics)}, {how_chosen(metrics)}",
        minutes=metrics["wall_time_s"] / 60,
        charts=[(chart.title, figures.draw(chart)) for chart in run_charts(task, history)],
        warnings=metrics.get("warnings", ()),
        worst=task.worst,
        classes=scores.table(config.label, most=_MOST_CLASSES),
        recipe=recipe.to_dict(),
    )


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

"""`report.html`: a run on one page that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rezoo.artifacts.run_files import kept_weights
from rezoo.evaluation.scoring import AnyScores
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig
from rezoo.tasks import Task, task_of
from rezoo.training.curves import run_charts
from rezoo.utils.charts import chart
from rezoo.utils.html import page, table

_WORST = 10


def report(
    config: ModelConfig,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    scores: AnyScores,
) -> str:
    """Return the page as HTML; every name is escaped and nothing outside is referred to."""
    title = f"{config.architecture} on {metrics['dataset']}"
    val, task = metrics["val"], task_of(config.multi_label)
    drawn = "".join(chart(content) for content in run_charts(task, history))
    figures = [
        *_figures(task, val, config.num_classes),
        ("validation loss", f"{val['loss']:.4f}"),
        ("validation images", val["count"]),
        ("weights", f"{kept_weights(metrics)}, the best by these"),
        ("training", f"{metrics['wall_time_s'] / 60:.1f} minutes"),
    ]
    return page(
        title,
        f"""{table(figures)}
<h2>Epochs</h2>
<div>{drawn}</div>
{_warnings(metrics)}<h2>Classes, {task.worst} first</h2>
{table(scores.table(config.label, most=_WORST))}
<h2>Recipe</h2>
{table(list(recipe.to_dict().items()))}""",
    )


def _warnings(metrics: Mapping[str, Any]) -> str:
    texts = metrics.get("warnings", ())
    return f"<h2>Warnings</h2>\n{table([(text,) for text in texts])}\n" if texts else ""


def _figures(task: Task, val: Mapping[str, Any], num_classes: int) -> list[tuple[str, str]]:
    return [
        (
            f"validation {shown.figure.name}",
            f"{shown.value}, 95 % interval {shown.interval}" if shown.interval else shown.value,
        )
        for shown in task.shown(val, num_classes)
        if shown.figure.in_report
    ]

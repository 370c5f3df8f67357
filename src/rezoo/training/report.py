"""`report.html`: a run on one page that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rezoo.evaluation.scoring import AnyScores
from rezoo.html import page, table
from rezoo.recipes.recipe import Recipe
from rezoo.specs import ModelConfig
from rezoo.tasks import Task, task_of

_WIDTH, _HEIGHT, _MARGIN = 420, 220, 56
_COLOURS = ("#2f5ec4", "#d1601c")
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
    curves = "".join(
        _chart(name, [[row[key] for row in history] for key in keys], labels)
        for name, keys, labels in (
            ("loss", ("train_loss", "val_loss"), ("train", "val")),
            *task.charts,
            ("learning rate", ("learning_rate",), ("",)),
            ("images/s", ("images_per_s",), ("",)),
        )
    )
    figures = [
        *_figures(task, val, config.num_classes),
        ("validation loss", f"{val['loss']:.4f}"),
        ("validation images", val["count"]),
        ("weights of epoch", f"{metrics['best_epoch']} of {metrics['epochs']}, the best by these"),
        ("training", f"{metrics['wall_time_s'] / 60:.1f} minutes"),
    ]
    return page(
        title,
        f"""{table(figures)}
<h2>Epochs</h2>
<div>{curves}</div>
<h2>Classes, {task.worst} first</h2>
{table(scores.table(config.label, most=_WORST))}
<h2>Recipe</h2>
{table(list(recipe.to_dict().items()))}""",
    )


def _figures(task: Task, val: Mapping[str, Any], num_classes: int) -> list[tuple[str, str]]:
    return [
        (
            f"validation {shown.figure.name}",
            f"{shown.value}, 95 % interval {shown.interval}" if shown.interval else shown.value,
        )
        for shown in task.shown(val, num_classes)
        if shown.figure.in_report
    ]


def _chart(name: str, series: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
    """Draw lines over the epochs as SVG, the axis from 0 or the lowest value to the highest."""
    values = [v for line in series for v in line if v == v]
    low, high = min(0.0, *values, 0.0), max(*values, 1e-12)
    right, bottom = _WIDTH - 12, _HEIGHT - 28

    def point(index: int, value: float, count: int) -> str:
        x = _MARGIN + (right - _MARGIN) * (index / max(count - 1, 1))
        y = bottom - (bottom - 28) * (value - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    drawn = []
    for number, (line, colour) in enumerate(zip(series, _COLOURS, strict=False)):
        points = [point(i, v, len(line)) for i, v in enumerate(line) if v == v]
        x, y = points[-1].split(",") if points else ("-9", "-9")
        path, place = " ".join(points), right - 70 + 40 * number
        label = f'x="{place}" y="18" style="fill:{colour}">{escape(labels[number])}'
        drawn += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>',
            f"<text {label}</text>",
        ]
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f'<text x="{_MARGIN}" y="18">{escape(name)}</text>'
        f'<path d="M{_MARGIN} 28V{bottom}H{right}" fill="none" stroke="#9aa5ba"/>'
        f'<text x="{_MARGIN - 6}" y="36" text-anchor="end">{high:.3g}</text>'
        f'<text x="{_MARGIN - 6}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{_MARGIN}" y="{bottom + 18}">1</text>'
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">epoch {len(series[0])}</text>'
        f"{''.join(drawn)}</svg>"
    )

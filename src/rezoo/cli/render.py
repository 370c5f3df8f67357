"""What the commands' answers look like; only files of this folder import Rich.

Answers go to stdout, progress to stderr. Without a terminal there are plain lines instead
of bars. Text from files and plugins is never read as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from rezoo.artifacts.run_files import kept_weights
from rezoo.cli.console import escaped, new_grid, open_console
from rezoo.tasks import task_of

if TYPE_CHECKING:
    from rezoo.evaluation.evaluate import Evaluation
    from rezoo.evaluation.predict import Prediction
    from rezoo.models.profile import Profile
    from rezoo.recipes.recipe import Recipe

_RIGHT = ("params", "MACs", "top-1")  # figures that come as text


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print records as a table; the keys of the first are the columns."""
    console = open_console()
    if not rows:
        console.print(f"{title}: none")
        return
    grid = new_grid(console, title)
    for key in rows[0]:
        numeric = key in _RIGHT or all(isinstance(row[key], (int, float, NoneType)) for row in rows)
        grid.add_column(
            key,
            justify="right" if numeric else "left",
            no_wrap=key == "name",
            style="bold" if key == "name" else "",
        )
    for row in rows:
        grid.add_row(*(escaped(_cell(value)) for value in row.values()))
    console.print(grid)


def lines(*texts: str) -> None:
    """Print lines of text."""
    console = open_console()
    for text in texts:
        console.print(escaped(text))


def fields(content: Mapping[str, Any]) -> None:
    """Print keys and values, one a line; nested ones below each other."""
    console = open_console()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines = [f"{k}: {_cell(v)}" for k, v in value.items()] or ["none"]
            grid.add_row(key, escaped("\n".join(lines)))
        else:
            grid.add_row(key, escaped(_cell(value)))
    console.print(grid)


def recipe(recipe: Recipe, rows: Sequence[tuple[str, str]]) -> None:
    """Print a recipe in words, a heading a line."""
    summary = f": {recipe.summary}" if recipe.summary else ""
    open_console().print(escaped(f"{recipe.name}{summary}", style="bold"))
    fields(dict(rows))


def network(document: Mapping[str, Any], profile: Profile) -> None:
    """Print the layer table of an architecture and its counts."""
    console = open_console()
    console.print(escaped(f"{document['name']}: {document['summary']}", style="bold"))
    console.print(escaped(document["source"]))
    grid = new_grid(console)
    for column in ("stage", "output", "layers"):
        grid.add_column(column, no_wrap=column != "layers")
    for column in ("weighted layers", "parameters", "MACs"):
        grid.add_column(column, justify="right")
    for stage in profile.stages():
        grid.add_row(
            stage.name,
            "×".join(map(str, stage.output_shape)),
            escaped(stage.contents),
            str(stage.weighted_layers or ""),
            f"{stage.params:,}" if stage.params else "",
            f"{stage.macs:,}" if stage.macs else "",
        )
    grid.add_section()
    grid.add_row(
        "all", "", "", str(profile.weighted_layers), f"{profile.params:,}", f"{profile.macs:,}"
    )
    console.print(grid)
    height, width, channels = profile.input_shape
    for line in (
        (
            f"for one image of {height}×{width}×{channels}: {profile.macs / 1e9:.2f} GMACs = "
            f"{profile.flops / 1e9:.2f} GFLOPs (1 MAC, a multiply-add, is 2 FLOPs; the paper's "
            '"FLOPs" are MACs)'
        ),
        (
            f"{profile.params:,} trained parameters, {profile.statistics:,} running statistics; "
            f"{profile.activations:,} outputs of convolutions and fc"
        ),
        "weighted layers are convolutions and fc outside projection shortcuts",
        *_weights_lines(document),
    ):
        console.print(escaped(line))


def _weights_lines(document: Mapping[str, Any]) -> Iterator[str]:
    if "licence" in document:
        where = document["repository"] or "a local folder"
        seal = "sealed" if document["sealed"] else "not sealed"
        yield f"weights: {where}, licence {document['licence'] or 'not stated'}, {seal}"


def evaluation(result: Evaluation) -> None:
    """Print accuracies with their intervals, and the classes that went worst."""
    console, scores = open_console(), result.scores
    console.print(
        escaped(f"{result.model} on {result.dataset}, {result.split} split", style="bold")
    )
    rows = [
        {
            "metric": shown.figure.name,
            "value": shown.value,
            "95 % interval": shown.interval,
            "images": scores.count,
        }
        for shown in result.task.shown(scores.to_dict(), result.num_classes)
    ]
    table("", rows)
    console.print(escaped(f"loss {scores.loss:.4f}; input {result.preprocessing}"))
    if weakest := result.task.weakest(result.classes):
        console.print(escaped(weakest))
    for note in result.notes:
        open_console(stderr=True).print(escaped(f"Note: {note}."))


def predictions(results: Sequence[Prediction]) -> None:
    """Print the most likely classes of each image."""
    console = open_console()
    grid = new_grid(console)
    grid.add_column("image", overflow="fold")
    grid.add_column("class", overflow="fold")
    grid.add_column("probability", justify="right")
    for result in results:
        first = escaped(result.path)
        if result.error:
            grid.add_row(first, escaped(result.error), "")
        for label, probability in zip(result.labels, result.probabilities, strict=True):
            grid.add_row(first, escaped(label), f"{probability:.1%}")
            first = escaped("")
    console.print(grid)


def trained(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Print where a run is, what it reached, and the next commands."""
    val, task = metrics["val"], task_of(metrics.get("multi_label", False))
    best = task.shown(val, metrics["num_classes"])[0]
    console = open_console()
    console.print(
        escaped(
            f"val {best.figure.name} {best.value} ({best.interval}, {val['count']} images), "
            f"{kept_weights(metrics)}, "
            f"{metrics['wall_time_s']:.0f} s of training"
        )
    )
    console.print(escaped(f"run folder   {folder}", style="bold"))
    for name, what in (
        ("model.safetensors", "best weights; config.json beside it, both in timm's layout"),
        ("report.html", "curves and classes; metrics.json, history.csv, recipe.toml beside it"),
        ("curves.svg", "the curves alone"),
        ("checkpoints/", "last state, for --resume; checkpoints/last has the last weights"),
    ):
        console.print(escaped(f"  {name:<18} {what}"))
    console.print(escaped("next"))
    console.print(escaped(f"  rezoo eval {_shell(folder)}"))
    console.print(escaped(f"  rezoo predict {_shell(folder)} IMAGE…"))


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Show what takes time, on a terminal only; yields what to call with the next text."""
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status(escaped(text)) as shown:
        yield lambda text: shown.update(escaped(text))


@contextmanager
def counter(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of images done, on a terminal only; yields what to call with done and total."""
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(text, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {_cell(v)}" for k, v in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _shell(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))

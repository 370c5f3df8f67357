"""What the commands' answers look like: the only file that imports Rich.

Answers go to stdout, progress to stderr. Without a terminal there are plain lines instead
of bars. Text from files and plugins is never read as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text as RichText

from rezoo.cli.display import Lines, LiveDisplay
from rezoo.names import printable

if TYPE_CHECKING:
    from rezoo.evaluation.evaluate import Evaluation
    from rezoo.evaluation.predict import Prediction
    from rezoo.profiling import Profile
    from rezoo.publishing.plans import PushPlan
    from rezoo.publishing.sending import Pushed
    from rezoo.training.reporting import Reporter
    from rezoo.verification import Verification

_WIDE = 160  # columns of a table that no terminal limits


def _text(content: str, style: str = "") -> RichText:
    """Return text without markup and without control characters."""
    return RichText(printable(content), style)


def _console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else _WIDE,
    )


def _grid(console: Console, title: str = "") -> Table:
    unicode = console.encoding.startswith("utf")
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD if unicode else box.ASCII,
        pad_edge=False,
    )


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print records as a table; the keys of the first are the columns."""
    console = _console()
    if not rows:
        console.print(f"{title}: none")
        return
    grid = _grid(console, title)
    for key in rows[0]:
        numeric = all(isinstance(row[key], (int, float, type(None))) for row in rows)
        grid.add_column(
            key,
            justify="right" if numeric else "left",
            no_wrap=key == "name",
            style="bold" if key == "name" else "",
        )
    for row in rows:
        grid.add_row(*(_text(_cell(value)) for value in row.values()))
    console.print(grid)


def fields(content: Mapping[str, Any]) -> None:
    """Print keys and values, one a line; nested ones below each other."""
    console = _console()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines = [f"{k}: {_cell(v)}" for k, v in value.items()] or ["none"]
            grid.add_row(key, _text("\n".join(lines)))
        else:
            grid.add_row(key, _text(_cell(value)))
    console.print(grid)


def network(document: Mapping[str, Any], profile: Profile) -> None:
    """Print the layer table of an architecture and its counts."""
    console = _console()
    console.print(_text(f"{document['name']}: {document['summary']}", style="bold"))
    console.print(_text(document["source"]))
    grid = _grid(console)
    for column in ("stage", "output", "layers"):
        grid.add_column(column, no_wrap=column != "layers")
    for column in ("weighted layers", "parameters", "MACs"):
        grid.add_column(column, justify="right")
    for stage in profile.stages():
        grid.add_row(
            stage.name,
            "×".join(map(str, stage.output_shape)),
            _text(stage.contents),
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
    ):
        console.print(_text(line))


def evaluation(result: Evaluation) -> None:
    """Print accuracies with their intervals, and the classes that went worst."""
    console, scores = _console(), result.scores
    console.print(_text(f"{result.model} on {result.dataset}, {result.split} split", style="bold"))
    rows = [
        {
            "metric": name,
            "value": f"{value:.2%}",
            "95 % interval": f"{low:.2%} to {high:.2%}",
            "images": scores.count,
        }
        for name, value, (low, high) in (
            ("top-1", scores.top1, scores.top1_interval),
            ("top-5", scores.top5, scores.top5_interval),
        )
        if name == "top-1" or result.num_classes > 5
    ]
    table("", rows)
    console.print(_text(f"loss {scores.loss:.4f}; input {result.preprocessing}"))
    worst = sorted((r / n, -n, name, n, r) for name, n, r in result.classes if r < n)[:5]
    if worst:
        named = ", ".join(f"{name} {right}/{count}" for _, _, name, count, right in worst)
        console.print(_text(f"least right: {named}"))
    for note in result.notes:
        _console(stderr=True).print(_text(f"Note: {note}."))


def predictions(results: Sequence[Prediction]) -> None:
    """Print the most likely classes of each image."""
    console = _console()
    grid = _grid(console)
    grid.add_column("image", overflow="fold")
    grid.add_column("class", overflow="fold")
    grid.add_column("probability", justify="right")
    for result in results:
        first = _text(result.path)
        if result.error:
            grid.add_row(first, _text(result.error), "")
        for label, probability in zip(result.labels, result.probabilities, strict=True):
            grid.add_row(first, _text(label), f"{probability:.1%}")
            first = _text("")
    console.print(grid)


def trained(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Print where a run is, what it reached, and the next commands."""
    val = metrics["val"]
    low, high = val["top1_interval"]
    console = _console()
    console.print(
        _text(
            f"val top-1 {val['top1']:.2%} ({low:.2%} to {high:.2%}, {val['count']} images), "
            f"epoch {metrics['best_epoch']} of {metrics['epochs']}, "
            f"{metrics['wall_time_s']:.0f} s of training"
        )
    )
    console.print(_text(f"run folder   {folder}", style="bold"))
    for name, what in (
        ("model.safetensors", "best weights; config.json beside it, both in timm's layout"),
        ("report.html", "curves and classes; metrics.json, history.csv, recipe.toml beside it"),
        ("checkpoints/", "last state, for --resume; checkpoints/last has the last weights"),
    ):
        console.print(_text(f"  {name:<18} {what}"))
    console.print(_text("next"))
    console.print(_text(f"  rezoo eval {_shell(folder)}"))
    console.print(_text(f"  rezoo predict {_shell(folder)} IMAGE…"))


def verification(result: Verification) -> None:
    """Print what was compared, and whether all of it holds."""
    console = _console()
    grid = _grid(console)
    grid.add_column("what", no_wrap=True, style="bold")
    grid.add_column("holds", no_wrap=True)
    grid.add_column("found", overflow="fold")
    words = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("-", "dim")}
    for check in result.checks:
        grid.add_row(_text(check.what), _text(*words[check.holds]), _text(check.found))
    console.print(_text(result.reference, "bold"))
    console.print(grid)
    if result.origin:
        console.print(_text(f"weights: {result.origin}"))
    console.print(_text(f"computed on {result.backend}"))
    failed = [check.what for check in result.checks if check.holds is False]
    if failed:
        console.print(_text(f"Does not hold: {', '.join(failed)}.", "bold red"))
    else:
        console.print(_text("Everything that is recorded holds.", "bold"))


def push_plan(plan: PushPlan, *, with_card: bool = False, to_stderr: bool = False) -> None:
    """Print what a push is about to do."""
    console = _console(stderr=to_stderr)
    where = {True: "is there", False: "will be created", None: "was not reached"}[plan.exists]
    kind = "private" if plan.private else "public"
    console.print(_text(f"{plan.folder} to hf://{plan.repo} ({kind}), which {where}", "bold"))
    if plan.note:
        console.print(_text(f"Note: {plan.note}."))
    grid = _grid(console)
    grid.add_column("file", style="bold")
    grid.add_column("bytes", justify="right")
    grid.add_column("")
    for upload in plan.uploads:
        grid.add_row(_text(upload.name), f"{upload.size:,}", upload.state)
    grid.add_section()
    grid.add_row("all", f"{sum(upload.size for upload in plan.uploads):,}", "")
    console.print(grid)
    if with_card:
        console.print(_text("README.md", "bold"))
        console.print(_text(plan.card))


def pushed(result: Pushed) -> None:
    """Print what is on the Hub now, and how others use it."""
    console = _console()
    if not result.changed:
        console.print(_text(f"{result.url} has all of it already, at {result.commit}"))
        return
    console.print(_text(f"pushed to {result.url}", "bold"))
    console.print(_text(f"commit {result.commit}"))
    console.print(_text("for everyone who may read it"))
    console.print(_text(f'  rezoo.load("{result.reference}")'))
    console.print(_text(f"  rezoo verify {result.reference}"))


def downloading(name: str, done: int, total: int | None) -> None:
    """Show how far a download is: a bar on a terminal, a line at its end elsewhere."""
    console = _console(stderr=True)
    if not console.is_terminal:
        if done == total:
            console.print(_text(f"downloaded {name}, {done:,} bytes"))
        return
    if "bars" not in _download:
        _download["bars"] = bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        _download["task"] = bars.add_task(name, total=total)
        bars.start()
    _download["bars"].update(_download["task"], completed=done, total=total)
    if done == total:
        _download.pop("bars").stop()


_download: dict[str, Any] = {}


def training_display() -> Reporter:
    """Return a live display on a terminal, plain lines elsewhere."""
    console = _console(stderr=True)
    return LiveDisplay(console) if console.is_terminal else Lines(console)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show what takes time, on a terminal only."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(_text(text)):
        yield


@contextmanager
def counter(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of images done, on a terminal only; yields what to call with done and total."""
    console = _console(stderr=True)
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

"""The progress of a run as text: the plan, a line for each epoch, and one that is overwritten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, TextIO

from rezoo.tasks import SINGLE_LABEL, Task
from rezoo.training import input_wait
from rezoo.training.reporters import Plan, Reporter
from rezoo.utils.live_line import LiveLine
from rezoo.utils.names import count_of, listed, printable

_LISTED = 20  # classes of which each is named


class Lines(Reporter):
    """Prints the plan, then a line for each epoch.

    On a terminal and in a notebook, the figures of the current epoch stand in a last line.

    Attributes:
        epochs: Of the run.
        task: Single-label or multi-label.

    Args:
        stream: As of `LiveLine`.
        live: Likewise.
    """

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        self._line = LiveLine(stream, live=live)
        self._steps, self._began, self._first = 0, time.monotonic(), 0
        self.epochs = 0
        self.task = SINGLE_LABEL

    def status(self, text: str) -> None:
        """Print what takes time now."""
        self.note(text)

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Print the plan."""
        self.epochs, self.task = plan.recipe.epochs, plan.task
        self._steps, self._began = plan.steps_per_epoch, time.monotonic()
        self._first = epoch * self._steps + step
        for name, text in describe(plan):
            self.note(f"{name:<9}{text}")
        if epoch or step:
            self.note(f"resuming at epoch {epoch + 1}, step {step + 1}")

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Overwrite the last line with the figures of the epoch so far."""
        done = epoch * self._steps + step
        rate = (time.monotonic() - self._began) / max(done - self._first, 1)
        self._line.show(
            f"epoch {epoch + 1}/{self.epochs}",
            f"step {step}/{self._steps}",
            *figures_line(figures, self.task).split("  "),
            f"{duration(rate * (self.epochs * self._steps - done))} left",
        )

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Print the figures of an epoch."""
        self.note(epoch_line(record, self.epochs, best=best, task=self.task))

    def note(self, text: str) -> None:
        """Print one line."""
        self._line.print(printable(text))

    def warning(self, text: str) -> None:
        """Print one line that begins with `warning`."""
        self.note(f"warning: {text}")

    def finished(self) -> None:
        """End the line that is overwritten."""
        self._line.keep()


def describe(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield a plan in a few lines: a heading and a text."""
    recipe = plan.recipe
    reason = f" (default: {plan.recipe_reason})" if plan.recipe_reason else ""
    sizes = ", ".join(f"{name} {count:,}" for name, count in plan.sizes.items())
    yield "model", plan.model
    yield "dataset", f"{plan.dataset}: {sizes}"
    yield from (("classes" if n == 0 else "", t) for n, t in enumerate(class_lines(plan)))
    yield "recipe", f"{recipe.name}{reason}: {recipe.summary}"
    yield "", f"{_course(plan)}, {recipe.precision}, seed {recipe.seed}"
    yield "output", plan.folder
    yield from (("note", note) for note in plan.notes)


def _course(plan: Plan) -> str:
    recipe = plan.recipe
    if not recipe.epochs:
        return f"linear probe on the features of the weights, no epochs, {recipe.image_size} px"
    return (
        f"{count_of(recipe.epochs, 'epoch')} of {count_of(plan.steps_per_epoch, 'step')}, "
        f"batch {recipe.batch_size}, "
        f"{recipe.image_size} px, {recipe.optimizer} lr {recipe.learning_rate:g}"
    )


def class_lines(plan: Plan) -> Iterator[str]:
    """Yield the classes with their training images, and the classes that a split lacks."""
    names, counts = plan.classes, plan.class_counts.get("train", ())
    shown = [f"{n} {c:,}" for n, c in zip(names, counts, strict=True)] if counts else [*names]
    words = ", ".join(shown) if len(names) <= _LISTED else f"{shown[0]} … {shown[-1]}"
    unknown = "images are counted only by reading the data"
    yield f"{len(names):,}, {'images in train' if counts else unknown}: {words}"
    for split, found in plan.class_counts.items():
        missing = [name for name, count in zip(names, found, strict=True) if not count]
        if missing:
            yield f"{split} has no image of {listed(missing, _LISTED)}"


def figures_line(figures: dict[str, float], task: Task) -> str:
    """Return the figures of an epoch so far in a few words."""
    hits = task.hits
    return (
        f"loss {figures['loss']:.3f}  {hits.name} {figures[hits.key]:.1%}  "
        f"{figures['images_per_s']:.0f} img/s"
    )


def epoch_line(
    record: dict[str, Any], epochs: int, *, best: bool, task: Task = SINGLE_LABEL
) -> str:
    """Return the figures of an epoch in one line."""
    hits, val = task.hits, task.chosen_by
    head = f"epoch {record['epoch']:>3}/{epochs}" if epochs else "linear probe"
    share = record.get(input_wait.KEY) or 0.0
    waiting = f", {share:.0%} waiting for images" if share > input_wait.LIMIT else ""
    rate = f"lr {record['learning_rate']:.2g}  " if record["epoch"] else ""
    return (
        f"{head}  "
        f"loss {record['train_loss']:.4f}  {hits.name} {record[f'train_{hits.key}']:6.2%}  "
        f"val loss {record['val_loss']:.4f}  val {val.name} {record[f'val_{val.key}']:6.2%}  "
        f"{rate}{record['images_per_s']:.0f} img/s{waiting}" + ("  best" if best and epochs else "")
    )


def duration(seconds: float) -> str:
    """Return a time with its unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"

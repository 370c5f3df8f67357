"""The progress of a run: bars and figures on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rezoo.cli.console import escaped, open_console
from rezoo.cli.options import quietly
from rezoo.tasks import SINGLE_LABEL, Task
from rezoo.training.reporters import Plan, Reporter
from rezoo.utils.names import printable

_WIDE = 100  # columns from which long bars fit


def reporter() -> Reporter:
    """Return a live display on a terminal, plain lines elsewhere; both write to stderr."""
    console = open_console(stderr=True)
    return LiveDisplay(console) if console.is_terminal else Lines(console)


class Lines(Reporter):
    """Plain lines: the plan, then one for each epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.epochs = 0
        self.task = SINGLE_LABEL

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep the start-up lines of TensorFlow off stderr."""
        with quietly():
            yield

    def status(self, text: str) -> None:
        """Print what takes time now."""
        self.note(text)

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Print the plan."""
        self.epochs, self.task = plan.recipe.epochs, plan.task
        for name, text in describe(plan):
            self.note(f"{name:<9}{text}")
        if epoch or step:
            self.note(f"resuming at epoch {epoch + 1}, step {step + 1}")

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Print the figures of an epoch."""
        self.note(epoch_line(record, self.epochs, best=best, task=self.task))

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print(Text(printable(text)))

    def warning(self, text: str) -> None:
        """Print one line in another colour."""
        self.console.print(Text(printable(f"warning: {text}"), style="yellow"))


class LiveDisplay(Lines):
    """Bars of the run and the epoch, with figures so far and the time left, in 80 columns."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28 if console.width >= _WIDE else 8),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            speed_estimate_period=120,
        )
        self.whole: TaskID | None = None
        self.part: TaskID | None = None
        self.steps = 0

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Show what takes time, and keep the start-up lines of TensorFlow off stderr."""
        with self.console.status(escaped("starting TensorFlow")), quietly():
            yield

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Print the plan and show the bars."""
        super().started(plan, epoch, step)
        self.steps = plan.steps_per_epoch
        # counted in steps, so that the time left is known during the first epoch
        self.whole = self.bars.add_task(
            "run  ",
            total=plan.recipe.epochs * self.steps,
            completed=epoch * self.steps + step,
            figures="compiling the first step",
        )
        self.part = self.bars.add_task("epoch", total=self.steps, completed=step, figures="")
        self.bars.start()

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Move the bars."""
        if self.whole is None or self.part is None:
            return
        hits = self.task.hits
        run = (
            f"epoch {epoch + 1}  lr {figures['learning_rate']:.2g}  "
            f"grad norm {figures['gradient_norm']:.2g}"
        )
        text = (
            f"loss {figures['loss']:.3f}  {hits.name} {figures[hits.key]:.1%}  "
            f"{figures['images_per_s']:.0f} img/s"
        )
        self.bars.update(self.whole, completed=epoch * self.steps + step, figures=run)
        self.bars.update(self.part, completed=step, figures=text)

    def finished(self) -> None:
        """Stop the bars; they stay on the terminal."""
        self.bars.stop()


def describe(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield a plan in a few lines: a heading and a text."""
    recipe = plan.recipe
    reason = f" (default: {plan.recipe_reason})" if plan.recipe_reason else ""
    sizes = ", ".join(f"{name} {count:,}" for name, count in plan.sizes.items())
    yield "model", plan.model
    yield "dataset", f"{plan.dataset}: {sizes}"
    yield "recipe", f"{recipe.name}{reason}: {recipe.summary}"
    text = (
        f"{recipe.epochs} epochs of {plan.steps_per_epoch} steps, batch {recipe.batch_size}, "
        f"{recipe.image_size} px, {recipe.optimizer} lr {recipe.learning_rate:g}, "
        f"{recipe.precision}, seed {recipe.seed}"
    )
    yield "", text
    yield "output", plan.folder
    yield from (("note", note) for note in plan.notes)


def epoch_line(
    record: dict[str, Any], epochs: int, *, best: bool, task: Task = SINGLE_LABEL
) -> str:
    """Return the figures of an epoch in one line."""
    hits, val = task.hits, task.chosen_by
    return (
        f"epoch {record['epoch']:>3}/{epochs}  "
        f"loss {record['train_loss']:.4f}  {hits.name} {record[f'train_{hits.key}']:6.2%}  "
        f"val loss {record['val_loss']:.4f}  val {val.name} {record[f'val_{val.key}']:6.2%}  "
        f"lr {record['learning_rate']:.2g}  {record['images_per_s']:.0f} img/s"
        + ("  best" if best else "")
    )

"""The progress of a run: bars and figures on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
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

from rezoo.artifacts.run_files import has_checkpoint
from rezoo.cli.console import escaped, is_live, open_console
from rezoo.cli.quiet import quietly
from rezoo.training.printing import Lines, figures_line
from rezoo.training.reporters import Plan, Reporter, Several
from rezoo.utils.hosts import Worker
from rezoo.utils.live_line import fitting
from rezoo.utils.names import printable

_WIDE = 120  # columns from which long bars fit
_OTHER = 25  # columns of description, time left and gaps
_FIRST = "compiling the first step"


def reporter() -> Reporter:
    """Return a live display on a terminal, plain lines elsewhere; both write to stderr."""
    console, worker = open_console(stderr=True), Worker.of_environment()
    shown = LiveDisplay(console) if is_live(console) else PlainLines()
    return shown if worker is None else Several(shown, KeptHint(worker))


class KeptHint(Reporter):
    """Tells the supervisors of a run how to continue it, once there is a checkpoint."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.folder = worker, ""

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Take the folder from the plan of the run."""
        self.folder = plan.folder

    def step(self, epoch: int, step: int, figures: Mapping[str, Any]) -> None:
        """Look for the checkpoint until there is one."""
        if self.folder and has_checkpoint(Path(self.folder)):
            from rezoo.training.resuming import command_to_resume

            command = command_to_resume(self.folder)
            self.worker.keeps(f"the last checkpoint is kept; continue with {command} on all hosts")
            self.folder = ""


class PlainLines(Lines):
    """Plain lines: the plan, then one for each epoch."""

    def __init__(self) -> None:
        super().__init__(sys.stderr, live=False)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep the start-up lines of TensorFlow off stderr."""
        with quietly():
            yield


class LiveDisplay(PlainLines):
    """Bars of the run and the epoch, with figures so far and the time left, in 80 columns."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.bar_width = 28 if console.width >= _WIDE else 8
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=self.bar_width),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            speed_estimate_period=120,
        )
        self.whole: TaskID | None = None
        self.part: TaskID | None = None
        self.steps = self.total = 0

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Show what takes time, and keep the start-up lines of TensorFlow off stderr."""
        with self.console.status(escaped("starting TensorFlow")), quietly():
            yield

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Print the plan and show the bars."""
        super().started(plan, epoch, step)
        if epoch >= plan.recipe.epochs:  # a finished run; a probe has no steps
            return
        self.steps, self.total = plan.steps_per_epoch, plan.recipe.epochs * plan.steps_per_epoch
        # counted in steps, so that the time left is known during the first epoch
        self.whole = self.bars.add_task(
            "run  ",
            total=self.total,
            completed=epoch * self.steps + step,
            figures=_FIRST,
        )
        self.part = self.bars.add_task("epoch", total=self.steps, completed=step, figures="")
        self.bars.start()

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Move the bars."""
        if self.whole is None or self.part is None:
            return
        run = (
            f"epoch {epoch + 1}",
            f"lr {figures['learning_rate']:.2g}",
            f"grad norm {figures['gradient_norm']:.2g}",
        )
        epochs = figures_line(figures, self.task).split("  ")
        room = self.console.width - self.bar_width - len(f"{self.total}/{self.total}") - _OTHER
        self.bars.update(
            self.whole, completed=epoch * self.steps + step, figures=fitting(run, room)
        )
        self.bars.update(self.part, completed=step, figures=fitting(epochs, room))

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self.console.print(Text(printable(text)))

    def warning(self, text: str) -> None:
        """Print one line in another colour."""
        self.console.print(Text(printable(f"warning: {text}"), style="yellow"))

    def finished(self) -> None:
        """Stop the bars; they stay on the terminal."""
        if self.whole is not None:
            if self.bars.tasks[0].fields["figures"] == _FIRST:  # it ended before its first report
                self.bars.update(self.whole, figures="")
            self.bars.stop()

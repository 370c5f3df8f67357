"""What a run tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rezoo.recipes.recipe import Recipe
from rezoo.tasks import SINGLE_LABEL, Task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is about to be trained.

    Attributes:
        model: The model reference.
        dataset: The dataset reference.
        recipe: With every key set.
        recipe_reason: Why this recipe, where the user named none.
        folder: The run folder.
        steps_per_epoch: Of the training split.
        sizes: Split name → number of images.
        notes: What else the user should know.
        task: What the network is asked.
    """

    model: str
    dataset: str
    recipe: Recipe
    recipe_reason: str
    folder: str
    steps_per_epoch: int
    sizes: dict[str, int]
    notes: tuple[str, ...]
    task: Task = SINGLE_LABEL


class Reporter:
    """Receives the events of a run; this one ignores them all."""

    def status(self, text: str) -> None:
        """Say what takes time now: opening data, building, compiling."""

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Receive the plan, and the position that the run starts from."""

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Receive a position and the epoch's figures so far.

        They are loss, gradient_norm, learning_rate, images_per_s, and top1, or of several labels
        hit1; with `recent_` before it, loss, gradient_norm (NaN where no step has a finite one) and
        top1 or hit1 are means of the steps since the report before.
        """

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Receive the record of a completed epoch, as `history.csv` has it."""

    def note(self, text: str) -> None:
        """Hear what the user should know, while the run goes on or at its end."""

    def warning(self, text: str) -> None:
        """Hear, once in a run, what is probably wrong with it and why; here it is a note."""
        self.note(text)

    def finished(self) -> None:
        """Learn that no more events come."""


class Several(Reporter):
    """Passes all events on to several others, in their order."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = reporters

    def status(self, text: str) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.status(text)

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.started(plan, epoch, step)

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.step(epoch, step, figures)

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.epoch(record, best=best)

    def note(self, text: str) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.note(text)

    def warning(self, text: str) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.warning(text)

    def finished(self) -> None:
        """Pass it on."""
        for reporter in self.reporters:
            reporter.finished()

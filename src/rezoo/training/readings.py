"""The figures of steps: read from the device, added to the progress of the run, and averaged."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import keras

from rezoo.errors import DivergedError
from rezoo.training import input_wait
from rezoo.training.checkpoints import Progress
from rezoo.training.health import Health
from rezoo.training.schedules import schedule
from rezoo.training.setup import Setup
from rezoo.training.step import Figures, Outcome
from rezoo.training.timetable import Clock


class Readings:
    """Adds the figures of steps to the progress of a run and to its health.

    They are read when they are needed, because reading waits for the device.

    Attributes:
        any: Whether a step was added.
    """

    def __init__(self, setup: Setup, progress: Progress, health: Health) -> None:
        self._setup, self._progress, self._health = setup, progress, health
        self._rate = schedule(setup.recipe, setup.steps_per_epoch)
        self._pending: list[Outcome] = []
        self.any = False

    def add(self, outcome: Outcome) -> None:
        """Add a step that has been started; it is the last one of the progress."""
        self._pending.append(outcome)
        self.any = True

    def wait(self) -> None:
        """Wait until the device has done all steps; they stay to be read."""
        if self._pending:
            self._pending[-1].read()

    @property
    def last_read(self) -> int:
        """The last step of the epoch whose figures were read, counted from 1; 0 before it."""
        return self._progress.step - len(self._pending)

    def read(self, unread: int = 0) -> dict[str, float]:
        """Read all figures but the last ones, which waits for the device.

        Returns:
            The means of those that are new; nothing if there is none.
        """
        progress, pending, first = self._progress, self._pending, self.last_read
        count, key = max(len(pending) - unread, 0), self._setup.task.hits.key
        figures = [outcome.read() for outcome in pending[:count]]
        del pending[:count]
        if not figures:
            return {}
        norms = [f.gradient_norm for f in figures if math.isfinite(f.gradient_norm)]
        for step, found in enumerate(figures, first):
            self._check(found, step)
            self._health.add(found.loss, found.hits, found.gradient_norm)
            progress.loss_sum += found.loss  # one by one: the same bits at any interval
            progress.hits += found.hits
        for norm in norms:
            progress.norm_sum += norm
        progress.norms += len(norms)
        hits = sum(f.hits for f in figures) / self._setup.recipe.batch_size
        return {
            "recent_loss": fmean(f.loss for f in figures),
            f"recent_{key}": hits / len(figures),
            "recent_gradient_norm": fmean(norms) if norms else math.nan,
        }

    def means(self, clock: Clock) -> dict[str, Any]:
        """Return the means of the epoch up to the last step that was read."""
        progress, size, step = self._progress, self._setup.recipe.batch_size, self.last_read
        return {
            "loss": progress.loss_sum / step,
            self._setup.task.hits.key: progress.hits / (step * size),
            "gradient_norm": progress.norm_sum / max(progress.norms, 1),
            "learning_rate": self._learning_rate(step - 1),
            "images_per_s": clock.images / max(clock.elapsed_s(), 1e-9),
            **({} if (share := clock.input_wait_share) is None else {input_wait.KEY: share}),
        }

    def _check(self, figures: Figures, step: int) -> None:
        """Raise an error if training has failed at a step of the epoch, counted from 0."""
        if math.isfinite(figures.loss) and figures.loss_scale >= 1:
            return
        what = f"the loss is {figures.loss}"
        if math.isfinite(figures.loss):
            what = "no gradient is finite in float16, at any loss scale"
        cause = self._health.cause(figures.loss)
        raise DivergedError(
            f"{what} at epoch {self._progress.epoch + 1}, step {step + 1}, learning rate "
            f"{self._learning_rate(step):.3g}{cause and f'; {cause}'}",
            hint="lower --lr or lengthen the warm-up (--set warmup_epochs=5).",
        )

    def _learning_rate(self, step: int) -> float:
        at = self._progress.epoch * self._setup.steps_per_epoch + step
        return float(keras.ops.convert_to_numpy(self._rate(at)))

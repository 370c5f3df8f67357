"""The events of a run, for a terminal, TensorBoard or a program."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rezoo.artifacts.run_files import EVENTS
from rezoo.errors import ResourceError
from rezoo.recipes.recipe import Recipe
from rezoo.tasks import SINGLE_LABEL, Task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is about to be trained.

    Attributes:
        model: The model reference.
        dataset: The dataset reference.
        recipe: With every key set.
        recipe_reason: Why this recipe was chosen; empty if the user named one.
        folder: The run folder.
        steps_per_epoch: Optimizer steps in one pass over the training split.
        sizes: Split name → number of images.
        classes: Names of the classes, as they are shown.
        class_counts: Split name → images of each class, in that order; a split whose labels are
            known only from reading is missing.
        notes: For the user: what was decided.
        task: Single-label or multi-label.
    """

    model: str
    dataset: str
    recipe: Recipe
    recipe_reason: str
    folder: str
    steps_per_epoch: int
    sizes: dict[str, int]
    classes: tuple[str, ...]
    class_counts: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]
    task: Task = SINGLE_LABEL

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe, the notes and the classes as JSON values."""
        counts = self.class_counts.get("train", ())
        named = len(set(self.classes)) == len(self.classes)
        names = self.classes if named else [f"{i} {n}" for i, n in enumerate(self.classes)]
        return {
            "recipe": self.recipe.to_dict(),
            "notes": list(self.notes),
            "classes": dict(zip(names, counts, strict=False)),
        }


class Reporter:
    """Receives the events of a run. This base class ignores them all.

    Attributes:
        interval_s: Seconds between two calls of `step`; 0 for every step. Each call waits for
            the device.
    """

    interval_s: float = 0.25

    def loading(self) -> AbstractContextManager[object]:
        """Return the context in which TensorFlow is imported, which takes seconds."""
        return nullcontext()

    def built(self, network: Any, optimizer: Any) -> None:
        """Receive the network of the run and its optimizer, before the plan."""

    def status(self, text: str) -> None:
        """Receive what takes time now: opening data, timing steps."""

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Receive the plan, and the position at which the run starts."""

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Receive a position and the epoch's figures so far.

        The keys are loss, gradient_norm, learning_rate, images_per_s, and top1, or hit1 for
        multi-label data. With the prefix `recent_`, loss, gradient_norm and top1 or hit1 are means
        of the steps since the previous call; a norm is NaN if no step has a finite one.
        input_wait_share is missing until a wait has been timed.
        """

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Receive the record of a completed epoch, a line of `history.csv`."""

    def note(self, text: str) -> None:
        """Receive a note during the run or at its end."""

    def warning(self, text: str) -> None:
        """Receive what is probably wrong and why, once in a run; by default it is a note."""
        self.note(text)

    def reason_to_end(self) -> str:
        """Return why the run should end after this epoch; empty if it should go on."""
        return ""

    def finished(self) -> None:
        """Release resources: no more events follow."""


def _for_each(name: str) -> Callable[..., None]:
    def method(self: Several, *args: Any, **keys: Any) -> None:
        for reporter in self.reporters:
            getattr(reporter, name)(*args, **keys)

    return method


class Several(Reporter):
    """Passes all events on to several reporters, in their order."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = reporters
        self.interval_s = min(reporter.interval_s for reporter in reporters)

    def loading(self) -> AbstractContextManager[object]:
        """Return that of the first reporter."""
        return self.reporters[0].loading()

    def reason_to_end(self) -> str:
        """Return the first of theirs."""
        return next(filter(None, (reporter.reason_to_end() for reporter in self.reporters)), "")

    built = _for_each("built")
    status = _for_each("status")
    started = _for_each("started")
    step = _for_each("step")
    epoch = _for_each("epoch")
    note = _for_each("note")
    warning = _for_each("warning")
    finished = _for_each("finished")


_RECENT = "recent_"
# Tags of the figures of steps; all others are `train/…`.
_TAGS = {
    "gradient_norm": "optimizer/gradient_norm",
    "learning_rate": "optimizer/learning_rate",
    "images_per_s": "speed/images_per_s",
    "input_wait_share": "speed/input_wait_share",
}


class TensorBoard(Reporter):
    """Writes a run's figures with `tf.summary` to the folder `events` of the run.

    Steps are the optimizer's. Every few seconds, `train/loss`, `train/top1` (`train/hit1` for
    multi-label data) and `optimizer/gradient_norm` are means of the steps since the previous
    record, `optimizer/learning_rate` is that of the last step, and `speed/images_per_s` and
    `speed/input_wait_share` are those of the epoch so far. After each epoch, the columns `val_…`
    of `history.csv` follow as `val/…`. A resumed run continues in a new file, with a mark from
    which step on the older files are outdated. TensorBoard itself need not be installed.

    Attributes:
        every_s: Seconds between two records of figures of steps.

    Raises:
        ResourceError: The folder cannot be written.
    """

    def __init__(self, every_s: float = 5.0) -> None:
        self.every_s = every_s
        self._writer: Any = None
        self._steps_per_epoch = 0
        self._written_s = 0.0
        self._at = 0  # the step of the last report
        self._sums: dict[str, tuple[float, int]] = {}  # tag → sum, and number of steps

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Open a file for this part of the run."""
        import tensorflow as tf

        self._steps_per_epoch = plan.steps_per_epoch
        self._at = epoch * plan.steps_per_epoch + step
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        event = tf.compat.v1.Event(wall_time=time.time(), step=self._at + 1, session_log=start)
        folder = Path(plan.folder) / EVENTS
        try:
            self._writer = tf.summary.create_file_writer(str(folder))
            # tf.summary has no function for the mark that makes TensorBoard drop later steps
            tf.raw_ops.ImportEvent(writer=self._writer._resource, event=event.SerializeToString())
            self._writer.flush()
        except tf.errors.OpError as error:
            raise ResourceError(f"cannot write {folder}: {error.message}") from error
        self._written_s = time.monotonic()

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Add figures; they are written every few seconds and at the end of an epoch."""
        at = epoch * self._steps_per_epoch + step
        for key, value in figures.items():
            name = key.removeprefix(_RECENT)
            tag = _TAGS.get(name, f"train/{name}")
            if key.startswith(_RECENT) and math.isfinite(value):
                total, count = self._sums.get(tag, (0.0, 0))
                self._sums[tag] = total + value * (at - self._at), count + at - self._at
            elif f"{_RECENT}{key}" not in figures:
                self._sums[tag] = value, 1
        self._at = at
        due = time.monotonic() - self._written_s >= self.every_s
        if due or step == self._steps_per_epoch:
            self._write_means()

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Write the validation figures."""
        found = {
            key.replace("val_", "val/", 1): value
            for key, value in record.items()
            if key.startswith("val_") and isinstance(value, (int, float)) and math.isfinite(value)
        }
        self._write(record["epoch"] * self._steps_per_epoch, found)

    def finished(self) -> None:
        """Write the remaining figures and close the file."""
        if self._writer is not None:
            self._write_means()
            self._writer.close()
            self._writer = None

    def _write_means(self) -> None:
        self._write(self._at, {tag: total / n for tag, (total, n) in self._sums.items() if n})
        self._sums, self._written_s = {}, time.monotonic()

    def _write(self, step: int, values: dict[str, float]) -> None:
        import tensorflow as tf

        if self._writer is None or not values:
            return
        found = [
            tf.compat.v1.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()
        ]
        summary = tf.compat.v1.Summary(value=found)  # tf.summary.scalar would need TensorBoard
        try:
            with self._writer.as_default():
                tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise ResourceError(f"cannot write the event file: {error.message}") from error

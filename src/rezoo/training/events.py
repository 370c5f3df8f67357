"""Event files for TensorBoard, in the folder `events` of a run.

The files are those that TensorFlow writes (records of `Event` messages) and name neither the
machine nor its user. TensorBoard itself is not needed to write them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts.run_files import EVENTS
from rezoo.errors import ResourceError
from rezoo.training.reporters import Plan, Reporter

EVERY_S = 5.0  # between two records of a step's figures
_RECENT = "recent_"
# the tags of what a report of steps has; all else is of the training images
_TAGS = {
    "gradient_norm": "optimizer/gradient_norm",
    "learning_rate": "optimizer/learning_rate",
    "images_per_s": "speed/images_per_s",
}


class Events(Reporter):
    """Writes a run's figures for TensorBoard; the steps are those of the optimizer.

    Every few seconds, `train/loss`, `train/top1` (of several labels `train/hit1`) and
    `optimizer/gradient_norm` are means of the steps since the record before,
    `optimizer/learning_rate` is that of the last of them, and `speed/images_per_s` that of the
    epoch so far. After each epoch come the columns `val_…` of `history.csv` as `val/…`. A run
    that is resumed goes on in a new file, which tells TensorBoard from which step on the files
    before it no longer hold.

    Raises:
        ResourceError: The folder cannot be written.
    """

    def __init__(self) -> None:
        self._writer: Any = None
        self._steps_per_epoch = 0
        self._written_s = 0.0
        self._at = 0  # the step of the last report
        self._sums: dict[str, float] = {}
        self._weights: dict[str, int] = {}

    def started(self, plan: Plan, epoch: int, step: int) -> None:
        """Open a file of its own."""
        import tensorflow as tf

        self._steps_per_epoch = plan.steps_per_epoch
        self._at = epoch * plan.steps_per_epoch + step
        folder = Path(plan.folder) / EVENTS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.iterdir()))
            name = f"events.out.tfevents.{int(time.time()):010d}.rezoo.{number}"
            self._writer = tf.io.TFRecordWriter(str(folder / name))
        except (OSError, tf.errors.OpError) as error:
            raise ResourceError(f"cannot write {folder}: {error}") from error
        self._write(file_version="brain.Event:2")
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._write(step=self._at + 1, session_log=start)
        self._written_s = time.monotonic()

    def step(self, epoch: int, step: int, figures: dict[str, float]) -> None:
        """Take in figures; they are written every few seconds and at the end of an epoch."""
        at = epoch * self._steps_per_epoch + step
        for key, value in figures.items():
            tag = _tag(key.removeprefix(_RECENT))
            if key.startswith(_RECENT) and math.isfinite(value):
                self._sums[tag] = self._sums.get(tag, 0.0) + value * (at - self._at)
                self._weights[tag] = self._weights.get(tag, 0) + at - self._at
            elif f"{_RECENT}{key}" not in figures:
                self._sums[tag], self._weights[tag] = value, 1
        self._at = at
        due = time.monotonic() - self._written_s >= EVERY_S
        if due or step == self._steps_per_epoch:
            self._means()

    def epoch(self, record: dict[str, Any], *, best: bool) -> None:
        """Write what validation found."""
        found = {
            key.replace("val_", "val/", 1): value
            for key, value in record.items()
            if key.startswith("val_") and isinstance(value, (int, float)) and math.isfinite(value)
        }
        self._scalars(record["epoch"] * self._steps_per_epoch, found)

    def finished(self) -> None:
        """Write what is left, and close the file."""
        if self._writer is not None:
            self._means()
            self._writer.close()
            self._writer = None

    def _means(self) -> None:
        found = {tag: self._sums[tag] / n for tag, n in self._weights.items() if n}
        self._scalars(self._at, found)
        self._sums, self._weights, self._written_s = {}, {}, time.monotonic()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorflow.compat.v1 import Summary

        found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        if found:
            self._write(step=step, summary=Summary(value=found))

    def _write(self, **content: Any) -> None:
        import tensorflow as tf

        if self._writer is None:
            return
        event = tf.compat.v1.Event(wall_time=time.time(), **content)
        try:
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except tf.errors.OpError as error:
            raise ResourceError(f"cannot write the event file: {error.message}") from error


def _tag(key: str) -> str:
    return _TAGS.get(key, f"train/{key}")
